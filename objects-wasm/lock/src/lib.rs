//! A lock: one session holds it at a time, and others wait for it in the order in which they came.

use concoord::prelude::*;

/// A lock that one session holds at a time.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Lock {
    held: Grants,
    waiting: WaitQueue<u64>,
}

/// Why a lock was not released.
#[concoord::data]
#[derive(Debug, PartialEq, Eq)]
pub enum LockError {
    /// The session does not hold it, or not by this token.
    NotHeld,
}

#[concoord::methods]
impl Lock {
    /// Waits until the lock is free and takes it, until it is released or the session ends. Gives the fencing token, which is
    /// larger than that of every holder before.
    pub fn acquire(&mut self, cx: &mut Context, waiter: Waiter<u64>) {
        self.waiting.push(waiter);
        self.pass_on(cx);
    }

    /// Releases the lock, by the token that it was acquired with: the one that waits longest gets it.
    pub fn release(&mut self, cx: &mut Context, token: u64) -> Result<(), LockError> {
        if !self.held.release(cx, token) {
            return Err(LockError::NotHeld);
        }
        self.pass_on(cx);
        Ok(())
    }

    /// The token of whoever holds the lock.
    pub fn holder(&self) -> Option<u64> {
        self.held.iter().map(|(token, _)| token).next()
    }

    /// How many wait for it.
    pub fn waiters(&self) -> u64 {
        self.waiting.len() as u64
    }

    fn session_closed(&mut self, cx: &mut Context, session: SessionId) {
        self.held.end(session);
        self.pass_on(cx);
    }

    fn pass_on(&mut self, cx: &mut Context) {
        if self.held.is_empty()
            && let Some(next) = self.waiting.pop()
        {
            self.held.grant(cx, next);
        }
    }
}

#[cfg(test)]
mod tests {
    use concoord::wire::abi::{Answer, Invocation, Outcome, Reply, Trigger};
    use concoord::wire::codec::{from_bytes, to_bytes};
    use concoord::wire::{Position, Slot};

    use super::*;

    /// A lock, the sessions that call it, and how far everything is.
    #[derive(Default)]
    struct Table {
        lock: Lock,
        position: u64,
    }

    fn session(number: u64) -> SessionId {
        SessionId { slot: Slot(number), index: 0 }
    }

    impl Table {
        fn input(&mut self, call: Option<CallId>, trigger: Trigger<'_>, arguments: &[u8]) -> Outcome {
            self.position += 1;
            let (position, now) = (Position(self.position), Timestamp(0));
            let caller = call.map(|call| call.session);
            self.lock.dispatch(&Invocation { position, now, seed: 1, call, caller, trigger }, arguments)
        }

        /// The call's own number is that of its input.
        fn call(&mut self, of: u64, method: &str, arguments: &[u8]) -> Outcome {
            let call = CallId { session: session(of), sequence: self.position + 1 };
            self.input(Some(call), Trigger::Call { method }, arguments)
        }

        fn release(&mut self, of: u64, token: u64) -> Outcome {
            self.call(of, "release", &to_bytes(&token))
        }
    }

    fn token(answer: &Answer) -> u64 {
        let Answer::Returned(bytes) = answer else { panic!("{answer:?}") };
        from_bytes(bytes).expect("a token")
    }

    /// Sessions that were granted the lock by calls that waited, with their tokens.
    fn granted(outcome: &Outcome) -> Vec<(SessionId, u64)> {
        outcome.answered.iter().map(|(call, answer)| (call.session, token(answer))).collect()
    }

    #[test]
    fn who_comes_first_gets_it_at_once_and_the_others_in_turn_with_rising_tokens() {
        let mut table = Table::default();
        let Reply::Now(first) = table.call(1, "acquire", &[]).reply else { panic!("it is free") };
        assert_eq!(token(&first), 1);
        for waits in [2, 3] {
            assert_eq!(table.call(waits, "acquire", &[]).reply, Reply::Parked);
        }
        let refused = table.release(2, 1);
        assert_eq!(
            (refused.reply, refused.answered),
            (Reply::Now(Answer::Failed(to_bytes(&LockError::NotHeld))), vec![])
        );
        assert_eq!(granted(&table.release(1, 1)), [(session(2), 5)]);
        assert_eq!(table.lock.holder(), Some(5));
        assert_eq!(granted(&table.release(2, 5)), [(session(3), 6)]);
        assert_eq!(
            table.release(2, 5).reply,
            Reply::Now(Answer::Failed(to_bytes(&LockError::NotHeld))),
            "an old token"
        );
        assert_eq!(granted(&table.release(3, 6)), []);
        assert_eq!((table.lock.holder(), table.lock.waiters()), (None, 0));
    }

    #[test]
    fn whoever_is_gone_holds_nothing_and_is_granted_nothing() {
        let mut table = Table::default();
        table.call(1, "acquire", &[]);
        for waits in [2, 3, 4] {
            table.call(waits, "acquire", &[]);
        }
        let cancelled = CallId { session: session(2), sequence: 2 };
        assert_eq!(table.input(None, Trigger::Cancelled { call: cancelled }, &[]), Outcome::default());
        assert_eq!(table.input(None, Trigger::SessionClosed { session: session(3) }, &[]), Outcome::default());
        assert_eq!(table.lock.waiters(), 1);
        let ended = table.input(None, Trigger::SessionClosed { session: session(1) }, &[]);
        assert_eq!(granted(&ended), [(session(4), 7)]);
    }

    #[test]
    fn generated_schedules_exclude_each_other_and_serve_in_order() {
        for seed in 1..300_u64 {
            let mut random = seed;
            let mut draw = |below: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % below
            };
            let (mut table, mut queue, mut last) = (Table::default(), Vec::new(), 0);
            let mut holder: Option<(SessionId, u64)> = None;
            for _ in 0..60 {
                let of = 1 + draw(5);
                let outcome = match (draw(4), holder) {
                    (0, _) => {
                        queue.retain(|waits| *waits != session(of));
                        holder = holder.filter(|(held, _)| *held != session(of));
                        table.input(None, Trigger::SessionClosed { session: session(of) }, &[])
                    }
                    (1, Some((held, token))) => {
                        holder = None;
                        table.release(held.slot.0, token)
                    }
                    _ => {
                        queue.push(session(of));
                        table.call(of, "acquire", &[])
                    }
                };
                let own = match &outcome.reply {
                    Reply::Now(Answer::Returned(bytes)) if !bytes.is_empty() => {
                        Some((session(of), from_bytes(bytes).expect("a token")))
                    }
                    _ => None,
                };
                for (to, token) in granted(&outcome).into_iter().chain(own) {
                    assert_eq!((holder, queue.remove(0)), (None, to), "seed {seed}: held by one, and in order");
                    assert!(token > last, "seed {seed}: {token} after {last}");
                    (holder, last) = (Some((to, token)), token);
                }
                assert!(holder.is_some() || queue.is_empty(), "seed {seed}: free while somebody waits");
                table.lock = Lock::import(&table.lock.export()).expect("its own export");
            }
        }
    }
}
