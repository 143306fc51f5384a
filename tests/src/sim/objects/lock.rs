//! A lock that never waits, for histories with locks granted twice in them.

use concoord::prelude::*;

/// Who holds the lock, and under which token.
#[concoord::data]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// As given by whoever acquired it.
    pub owner: u32,
    /// Above all tokens before it.
    pub token: u64,
}

/// A lock with growing tokens.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Lock {
    last_token: u64,
    held: Option<Grant>,
}

#[concoord::methods]
impl Lock {
    /// Takes the lock if it is free; the token to release it with.
    pub fn acquire(&mut self, owner: u32) -> Option<u64> {
        if self.held.is_some() {
            return None;
        }
        self.last_token += 1;
        self.held = Some(Grant { owner, token: self.last_token });
        Some(self.last_token)
    }

    /// Frees the lock if it is held under this token; whether it was.
    pub fn release(&mut self, token: u64) -> bool {
        let held = self.held.is_some_and(|grant| grant.token == token);
        if held {
            self.held = None;
        }
        held
    }

    /// Who holds it.
    pub fn holder(&self) -> Option<Grant> {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_granted_once_and_freed_by_its_token() {
        let mut lock = Lock::default();
        assert_eq!(lock.acquire(7), Some(1));
        assert_eq!(lock.acquire(8), None);
        assert!(!lock.release(2));
        assert!(lock.release(1));
        assert!(!lock.release(1));
        assert_eq!(lock.acquire(8), Some(2));
        assert_eq!(lock.holder(), Some(Grant { owner: 8, token: 2 }));
    }
}
