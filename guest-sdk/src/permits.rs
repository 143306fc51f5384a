//! What so many may hold at once, for which the others wait in order.

use concoord_wire::SessionId;
use serde::{Deserialize, Serialize};

use crate::{Context, Ended, GrantError, Grants, Held, WaitQueue, Waiter, Waits};

/// A number of permits: sessions hold some, and others wait for some, in the order in which they came. Nobody overtakes, so who
/// needs many gets them too. A lock has one permit, and that is the default.
///
/// An object has `session_closed` call [`Permits::end`]. Where sessions may hold more than one, it has `timer` call
/// [`Permits::serve`], and where they may wait for more than one, `cancelled` too.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permits {
    free: u64,
    held: Grants<u64>,
    waiting: WaitQueue<u64, u64>,
}

impl Default for Permits {
    fn default() -> Permits {
        Permits::new(1)
    }
}

impl Permits {
    /// So many, all of them free.
    #[must_use]
    pub fn new(count: u64) -> Permits {
        Permits { free: count, held: Grants::default(), waiting: WaitQueue::default() }
    }

    /// Answers `waiter` with a token once it has so many permits.
    pub fn acquire(&mut self, cx: &mut Context, waiter: Waiter<u64>, count: u64) {
        self.waiting.push_with(waiter, count);
        self.serve(cx);
    }

    /// Gives so many permits to the session that calls, if they are free and nobody waits.
    pub fn try_acquire(&mut self, cx: &Context, count: u64) -> Option<u64> {
        let caller = cx.caller().filter(|_| self.waiting.is_empty())?;
        self.free = self.free.checked_sub(count)?;
        Some(self.held.add(cx, caller, count))
    }

    /// Takes back what the session that calls got with this token, or what it has had longest.
    ///
    /// # Errors
    /// [`GrantError::NotHeld`].
    pub fn release(&mut self, cx: &mut Context, token: Option<u64>) -> Result<(), GrantError> {
        let released = self.held.release(cx, token)?;
        self.free(cx, released.with);
        Ok(())
    }

    /// Takes back what anybody got with this token, or the oldest of all grants.
    ///
    /// # Errors
    /// [`GrantError::NotHeld`].
    pub fn revoke(&mut self, cx: &mut Context, token: Option<u64>) -> Result<(), GrantError> {
        let revoked = self.held.revoke(token)?;
        self.free(cx, revoked.with);
        Ok(())
    }

    /// Takes back all that a session has.
    pub fn end(&mut self, cx: &mut Context, session: SessionId) {
        let ended = self.held.end(session);
        self.free(cx, ended.iter().map(|grant| grant.with).sum());
    }

    /// So many more are free.
    pub fn free(&mut self, cx: &mut Context, count: u64) {
        self.free += count;
        self.serve(cx);
    }

    /// Gives what is free to those who wait.
    pub fn serve(&mut self, cx: &mut Context) {
        self.waiting.serve(cx, |cx, session, count| {
            self.free = self.free.checked_sub(*count)?;
            Some(self.held.add(cx, session, *count))
        });
    }

    /// Refuses a session that calls and has none.
    ///
    /// # Errors
    /// [`GrantError::NotHeld`].
    pub fn check_held(&mut self, cx: &Context) -> Result<(), GrantError> {
        self.held.own(cx, None).map(drop)
    }

    /// How many are free.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.free
    }

    /// Who has some, oldest first.
    #[must_use]
    pub fn holders(&self) -> Vec<Held> {
        self.held.list()
    }

    /// The sessions that wait for some, in order.
    #[must_use]
    pub fn waiters(&self) -> Vec<String> {
        self.waiting.sessions()
    }
}

impl Waits for Permits {
    fn keep(&mut self, ended: Ended) -> bool {
        self.waiting.keep(ended)
    }
}
