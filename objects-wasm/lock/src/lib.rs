//! A lock: one session holds it at a time, and others wait for it in the order in which they came.

use concoord::prelude::*;

/// A lock that one session holds at a time.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
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

#[cfg(test)]
mod tests {
    use concoord::testing::{Table, id};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn who_comes_first_gets_it_at_once_and_the_others_in_turn_with_rising_tokens() {
        let mut table = Table::new(Lock::default());
        assert_eq!(table.call(1, "acquire", &()).returned::<u64>(), 1);
        for waits in [2, 3] {
            assert!(table.call(waits, "acquire", &()).waits());
        }
        assert_eq!(table.object.waiters(), ["2-0", "3-0"]);
        for not_held in [Some(1_u64), None] {
            let refused = table.call(2, "release", &not_held);
            assert_eq!((refused.failed(), refused.answered), (GrantError::NotHeld, vec![]));
        }
        assert_eq!(table.call(1, "release", &Some(1_u64)).woken::<u64>(), [(2, 6)]);
        assert_eq!(table.object.holders(), [Held { token: 6, session: "2-0".into() }]);
        assert_eq!(table.call(2, "release", &None::<u64>).woken::<u64>(), [(3, 8)]);
        assert_eq!(table.call(2, "release", &Some(6_u64)).failed::<GrantError>(), GrantError::NotHeld, "an old token");
        assert!(table.call(3, "release", &Some(8_u64)).answered.is_empty());
        assert_eq!((table.object.holders(), table.object.waiters()), (vec![], vec![]));
    }

    #[test]
    fn whoever_is_gone_holds_nothing_and_is_granted_nothing() {
        let mut table = Table::new(Lock::default());
        table.call(1, "acquire", &());
        let waits = [2, 3, 4].map(|waits| table.call(waits, "acquire", &()).call());
        assert!(table.cancel(waits[0]).answered.is_empty());
        assert!(table.close(3).answered.is_empty());
        assert_eq!(table.object.waiters(), ["4-0"]);
        assert_eq!(table.close(1).woken::<u64>(), [(4, 7)]);
    }

    #[test]
    fn an_operator_takes_it_from_its_holder() {
        let mut table = Table::new(Lock::default());
        table.call(1, "acquire", &());
        table.call(2, "acquire", &());
        assert_eq!(table.call(9, "revoke", &2_u64).failed::<GrantError>(), GrantError::NotHeld);
        assert_eq!(table.call(9, "revoke", &1_u64).woken::<u64>(), [(2, 4)]);
        assert_eq!(table.call(1, "release", &None::<u64>).failed::<GrantError>(), GrantError::NotHeld);
    }

    #[test]
    fn generated_schedules_exclude_each_other_and_serve_in_order() {
        for seed in 0..300 {
            let mut chance = StdRng::seed_from_u64(seed);
            let (mut table, mut queue, mut last) = (Table::new(Lock::default()), Vec::<CallId>::new(), 0);
            let mut holder: Option<(u64, u64)> = None;
            for _ in 0..60 {
                let of = chance.random_range(1..6);
                let (granted, own) = match (chance.random_range(0..7), holder) {
                    (0, _) => {
                        queue.retain(|call| call.session != id(of));
                        holder = holder.filter(|(held, _)| *held != of);
                        (table.close(of).woken::<u64>(), None)
                    }
                    (1, _) if !queue.is_empty() => {
                        let call = queue.remove(chance.random_range(0..queue.len()));
                        (table.cancel(call).woken(), None)
                    }
                    (2, Some((_, token))) => {
                        holder = None;
                        (table.call(of, "revoke", &token).woken(), None)
                    }
                    (3 | 4, Some((held, token))) => {
                        let given = chance.random_bool(0.5).then_some(token);
                        let released = table.call(of, "release", &given);
                        if held == of {
                            holder = None;
                        } else {
                            assert_eq!(released.failed::<GrantError>(), GrantError::NotHeld, "seed {seed}");
                        }
                        (released.woken(), None)
                    }
                    _ => {
                        let acquired = table.call(of, "acquire", &());
                        queue.push(acquired.call());
                        (vec![], (!acquired.waits()).then(|| (of, acquired.returned::<u64>())))
                    }
                };
                for (to, token) in granted.into_iter().chain(own) {
                    assert_eq!((holder, queue.remove(0).session), (None, id(to)), "seed {seed}: by one, in order");
                    assert!(token > last, "seed {seed}: {token} after {last}");
                    (holder, last) = (Some((to, token)), token);
                }
                assert!(holder.is_some() || queue.is_empty(), "seed {seed}: free while somebody waits");
                let held = holder.map(|(session, token)| Held { token, session: id(session).to_string() });
                assert_eq!(table.object.holders(), Vec::from_iter(held), "seed {seed}");
                let waiters: Vec<_> = queue.iter().map(|call| call.session.to_string()).collect();
                assert_eq!(table.object.waiters(), waiters, "seed {seed}");
            }
        }
    }
}
