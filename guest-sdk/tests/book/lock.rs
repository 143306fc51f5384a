//! The standard lock, but for its errors.

use concoord::prelude::*;

/// A lock that one session holds at a time.
#[concoord::object]
#[derive(Default, Serialize, Deserialize)]
pub struct Lock {
    permits: Permits,
}

#[concoord::methods]
impl Lock {
    /// Waits until the lock is free and takes it, until it is released or the session ends. Gives the fencing token.
    pub fn acquire(&mut self, cx: &mut Context, waiter: Waiter<u64>) {
        self.permits.acquire(cx, waiter, 1);
    }

    /// Releases the lock, by its token where one is given: the one that waits longest gets it.
    pub fn release(&mut self, cx: &mut Context, token: Option<u64>) -> Result<(), GrantError> {
        self.permits.release(cx, token)
    }

    /// Who holds the lock, if anybody does.
    pub fn holders(&self) -> Vec<Held> {
        self.permits.holders()
    }

    /// The sessions that wait for it, in order.
    pub fn waiters(&self) -> Vec<String> {
        self.permits.waiters()
    }

    /// Takes the lock from whoever holds it by this token.
    pub fn revoke(&mut self, cx: &mut Context, token: u64) -> Result<(), GrantError> {
        self.permits.revoke(cx, Some(token))
    }

    fn session_closed(&mut self, cx: &mut Context, session: SessionId) {
        self.permits.end(cx, session);
    }
}
