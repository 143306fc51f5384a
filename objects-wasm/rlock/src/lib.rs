//! A lock that its holder may acquire again: one session holds it at a time, and as often as it likes.

use concoord::prelude::*;

/// A lock that one session holds at a time, which may acquire it again.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RLock {
    /// With how often it is to be released.
    held: Grants<u64>,
    waiting: WaitQueue<u64>,
}

#[concoord::methods]
impl RLock {
    /// Waits until the lock is free and takes it. Gives the fencing token; who holds the lock gets the same one again, at once.
    pub fn acquire(&mut self, cx: &mut Context, waiter: Waiter<u64>) {
        self.waiting.push(waiter);
        self.pass_on(cx);
    }

    /// Takes back one acquiring. After as many as there were, the one that waits longest gets the lock.
    pub fn release(&mut self, cx: &mut Context, token: Option<u64>) -> Result<(), GrantError> {
        let grant = self.held.own(cx, token)?;
        grant.with -= 1;
        if grant.with == 0 {
            self.held.release(cx, token)?;
            self.pass_on(cx);
        }
        Ok(())
    }

    /// Who holds the lock, if anybody does.
    pub fn holders(&self) -> Vec<Held> {
        self.held.list()
    }

    /// The sessions that wait for it, in order.
    pub fn waiters(&self) -> Vec<String> {
        self.waiting.sessions()
    }

    /// Takes the lock from whoever holds it by this token, however often it was acquired.
    pub fn revoke(&mut self, cx: &mut Context, token: u64) -> Result<(), GrantError> {
        self.held.revoke(Some(token)).map(|_| self.pass_on(cx))
    }

    fn session_closed(&mut self, cx: &mut Context, session: SessionId) {
        self.held.end(session);
        self.pass_on(cx);
    }

    fn timer(&mut self, cx: &mut Context, _: u64) {
        self.pass_on(cx);
    }

    /// All calls of the session that holds the lock have it.
    fn pass_on(&mut self, cx: &mut Context) {
        if self.held.is_empty()
            && let Some(next) = self.waiting.first()
        {
            self.held.add(cx, next, 0);
        }
        self.waiting.serve_any(cx, |session, ()| {
            let grant = self.held.iter_mut().find(|grant| grant.session == session)?;
            grant.with += 1;
            Some(grant.token)
        });
    }
}

#[cfg(test)]
mod tests {
    use concoord::testing::{Table, id};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn release(table: &mut Table<RLock>, of: u64) -> Vec<(u64, u64)> {
        let released = table.call(of, "release", &None::<u64>);
        released.returned::<()>();
        released.woken()
    }

    #[test]
    fn who_holds_it_acquires_it_again_and_releases_it_as_often() {
        let mut table = Table::new(RLock::default());
        for _ in 0..3 {
            assert_eq!(table.call(1, "acquire", &()).returned::<u64>(), 1, "the same token");
        }
        assert!(table.call(2, "acquire", &()).waits());
        assert_eq!(table.call(2, "release", &Some(1_u64)).failed::<GrantError>(), GrantError::NotHeld);
        assert_eq!(table.call(1, "release", &Some(4_u64)).failed::<GrantError>(), GrantError::NotHeld);
        assert_eq!(table.object.holders(), [Held { token: 1, session: "1-0".into() }]);
        assert_eq!((release(&mut table, 1), release(&mut table, 1)), (vec![], vec![]));
        assert_eq!(table.object.waiters(), ["2-0"]);
        assert_eq!(release(&mut table, 1), [(2, 9)]);
        assert_eq!(table.call(1, "release", &None::<u64>).failed::<GrantError>(), GrantError::NotHeld);
    }

    /// Else a session that waits by two calls would wait for itself.
    #[test]
    fn all_calls_of_a_session_that_wait_get_it_together() {
        let mut table = Table::new(RLock::default());
        table.call(1, "acquire", &());
        for waits in [2, 3, 2] {
            assert!(table.call(waits, "acquire", &()).waits());
        }
        assert_eq!(release(&mut table, 1), [(2, 5), (2, 5)]);
        assert_eq!((release(&mut table, 2), release(&mut table, 2)), (vec![], vec![(3, 9)]));
    }

    #[test]
    fn an_end_or_an_operator_takes_all_of_it() {
        let mut table = Table::new(RLock::default());
        for of in [1, 1, 2, 2, 3] {
            table.call(of, "acquire", &());
        }
        assert_eq!(table.close(1).woken::<u64>(), [(2, 6), (2, 6)]);
        assert_eq!(table.call(9, "revoke", &1_u64).failed::<GrantError>(), GrantError::NotHeld);
        assert_eq!(table.call(9, "revoke", &6_u64).woken::<u64>(), [(3, 10)]);
    }

    /// Each session counts for itself how often it has the lock.
    #[test]
    fn generated_schedules_exclude_other_sessions_and_serve_in_order() {
        for seed in 0..300 {
            let mut chance = StdRng::seed_from_u64(seed);
            let (mut table, mut queue, mut last) = (Table::new(RLock::default()), Vec::<CallId>::new(), 0);
            let mut holder: Option<(u64, u64, u64)> = None;
            for _ in 0..60 {
                let of = chance.random_range(1..5);
                let granted = match (chance.random_range(0..9), holder) {
                    (0, _) => {
                        queue.retain(|call| call.session != id(of));
                        holder = holder.filter(|(held, ..)| *held != of);
                        table.close(of).woken()
                    }
                    (1, _) if !queue.is_empty() => {
                        let call = queue.remove(chance.random_range(0..queue.len()));
                        table.cancel(call).woken()
                    }
                    (2, Some((_, token, _))) => {
                        holder = None;
                        table.call(9, "revoke", &token).woken()
                    }
                    (3..6, Some((held, token, times))) => {
                        let released = table.call(of, "release", &chance.random_bool(0.5).then_some(token));
                        if held == of {
                            holder = (times > 1).then_some((held, token, times - 1));
                        } else {
                            assert_eq!(released.failed::<GrantError>(), GrantError::NotHeld, "seed {seed}");
                        }
                        released.woken()
                    }
                    _ => {
                        let acquired = table.call(of, "acquire", &());
                        queue.push(acquired.call());
                        acquired.got::<u64>()
                    }
                };
                for (to, token) in granted {
                    let at = queue.iter().position(|call| call.session == id(to)).expect("it waits");
                    queue.remove(at);
                    match &mut holder {
                        Some((held, same, times)) => {
                            assert_eq!((*held, *same), (to, token), "seed {seed}: by one");
                            *times += 1;
                        }
                        None => {
                            assert!(at == 0 && token > last, "seed {seed}: in order, and {token} after {last}");
                            (holder, last) = (Some((to, token, 1)), token);
                        }
                    }
                }
                let is_stuck = |call: &CallId| holder.is_none_or(|(held, ..)| call.session == id(held));
                assert!(!queue.iter().any(is_stuck), "seed {seed}: somebody waits for nothing");
                let held = holder.map(|(session, token, _)| Held { token, session: id(session).to_string() });
                assert_eq!(table.object.holders(), Vec::from_iter(held), "seed {seed}");
            }
        }
    }
}
