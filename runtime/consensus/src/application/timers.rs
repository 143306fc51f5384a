//! When objects are to be woken.
//!
//! A timer is known by its object and its token; setting it again moves it. It fires before the commands of the first batch
//! whose time has come to it, in the order of due time, object and token.
//!
//! **Invariant:** `by_due` holds each timer exactly once.

use std::collections::{BTreeMap, BTreeSet};

use concoord_wire::abi::Timer;
use concoord_wire::{ObjectId, Timestamp};

use super::digest::Digest;
use super::snapshot::{Reader, RestoreError, Writer};
use crate::limits::{OBJECTS_MAX, TIMERS_OF_OBJECT_MAX};

/// All timers.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<(ObjectId, u64), Timestamp>,
    by_due: BTreeSet<(Timestamp, ObjectId, u64)>,
}

impl Timers {
    /// Whether an object may set these too.
    ///
    /// # Errors
    /// A sentence for its author.
    pub(super) fn room(&self, object: ObjectId, more: &[Timer]) -> Result<(), String> {
        let held = self.of_object(object).count() + more.len();
        if more.is_empty() || held <= TIMERS_OF_OBJECT_MAX {
            return Ok(());
        }
        Err(format!("it would have {held} timers, and may have {TIMERS_OF_OBJECT_MAX}"))
    }

    pub(super) fn set(&mut self, object: ObjectId, timer: Timer) {
        let Timer { token, due } = timer;
        if let Some(before) = self.due.insert((object, token), due) {
            self.by_due.remove(&(before, object, token));
        }
        self.by_due.insert((due, object, token));
    }

    /// The one that is due first.
    pub(super) fn first(&self) -> Option<(Timestamp, ObjectId, u64)> {
        self.by_due.first().copied()
    }

    pub(super) fn remove(&mut self, object: ObjectId, token: u64) {
        if let Some(due) = self.due.remove(&(object, token)) {
            self.by_due.remove(&(due, object, token));
        }
    }

    pub(super) fn forget_object(&mut self, object: ObjectId) {
        let tokens: Vec<u64> = self.of_object(object).collect();
        tokens.into_iter().for_each(|token| self.remove(object, token));
    }

    fn of_object(&self, object: ObjectId) -> impl Iterator<Item = u64> {
        self.due.range((object, 0)..=(object, u64::MAX)).map(|((_, token), _)| *token)
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.put(&self.due);
    }

    /// Reads what [`Timers::write`] wrote.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Timers, RestoreError> {
        let count = from.count("timers", OBJECTS_MAX * TIMERS_OF_OBJECT_MAX)?;
        let mut timers = Timers::default();
        for _ in 0..count {
            let ((object, token), due): ((ObjectId, u64), Timestamp) = from.take("a timer")?;
            if timers.due.last_key_value().is_some_and(|(last, _)| *last >= (object, token)) {
                return Err(from.damaged("a timer out of order"));
            }
            timers.set(object, Timer { token, due });
        }
        Ok(timers)
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = ObjectId> {
        self.due.keys().map(|(object, _)| *object)
    }

    pub(super) fn digest(&self, digest: Digest) -> Digest {
        digest.with(&self.due)
    }
}
