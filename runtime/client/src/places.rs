//! How many requests may be outstanding at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Places for requests. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    taken: Arc<AtomicUsize>,
    limit: usize,
}

/// One of the places, which is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Places {
    pub(crate) fn new(limit: usize) -> Places {
        Places { taken: Arc::default(), limit }
    }

    /// `None` when all are taken.
    pub(crate) fn take(&self) -> Option<Place> {
        let one_more = |taken| (taken < self.limit).then_some(taken + 1);
        // Only the number counts: nothing else is passed from one thread to another by it.
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Place(Arc::clone(&self.taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_the_limit_says() {
        let places = Places::new(2);
        let (first, second) = (places.take(), places.clone().take());
        assert!(first.is_some() && second.is_some());
        assert!(places.take().is_none());
        assert!(places.take().is_none(), "who got none takes none");
        drop(first);
        assert!(places.take().is_some());
        assert!(Places::new(0).take().is_none());
    }
}
