//! A semaphore with a bound: a number of permits, which sessions take and give back, and never more.

use concoord::prelude::*;

/// A number of permits that stays the same.
#[concoord::object]
#[derive(Debug, Serialize, Deserialize)]
pub struct BoundedSemaphore {
    permits: Permits,
}

#[concoord::methods]
impl BoundedSemaphore {
    /// Starts with `count` permits, or one.
    pub fn new(count: Option<u32>) -> Self {
        BoundedSemaphore { permits: Permits::new(count.unwrap_or(1).into()) }
    }

    /// Waits until a permit is free and takes it, until it is released or the session ends. Gives its token.
    pub fn acquire(&mut self, cx: &mut Context, waiter: Waiter<u64>) {
        self.permits.acquire(cx, waiter, 1);
    }

    /// Takes a permit if one is free, and gives its token.
    pub fn try_acquire(&mut self, cx: &mut Context) -> Option<u64> {
        self.permits.try_acquire(cx, 1)
    }

    /// Gives back the permit of this token or the session's oldest. A session that has none gives back the oldest of all.
    pub fn release(&mut self, cx: &mut Context, token: Option<u64>) -> Result<(), GrantError> {
        let released = self.permits.release(cx, token);
        released.or_else(|error| if token.is_none() { self.permits.revoke(cx, None) } else { Err(error) })
    }

    /// How many permits are free.
    pub fn value(&self) -> u64 {
        self.permits.available()
    }

    /// Who has permits, the oldest first.
    pub fn holders(&self) -> Vec<Held> {
        self.permits.holders()
    }

    /// The sessions that wait for one, in order.
    pub fn waiters(&self) -> Vec<String> {
        self.permits.waiters()
    }

    /// Takes the permit of this token from whoever has it.
    pub fn revoke(&mut self, cx: &mut Context, token: u64) -> Result<(), GrantError> {
        self.permits.revoke(cx, Some(token))
    }

    fn session_closed(&mut self, cx: &mut Context, session: SessionId) {
        self.permits.end(cx, session);
    }

    fn timer(&mut self, cx: &mut Context, _: u64) {
        self.permits.serve(cx);
    }
}

#[cfg(test)]
mod tests {
    use concoord::testing::{Table, id};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn tokens(table: &Table<BoundedSemaphore>) -> Vec<u64> {
        table.object.holders().iter().map(|held| held.token).collect()
    }

    #[test]
    fn a_release_never_makes_more_of_it() {
        let mut table = Table::new(BoundedSemaphore::new(None));
        let over = table.call(1, "release", &None::<u64>);
        assert_eq!(over.failed::<GrantError>(), GrantError::NotHeld);
        assert_eq!(table.call(1, "acquire", &()).returned::<u64>(), 2);
        let other = table.call(2, "release", &Some(2_u64));
        assert_eq!(other.failed::<GrantError>(), GrantError::NotHeld);
        assert!(table.call(3, "acquire", &()).waits());
        assert_eq!(table.call(2, "release", &None::<u64>).woken::<u64>(), [(3, 5)], "that of another");
        assert_eq!(tokens(&table), [5]);
        assert_eq!(table.call(9, "revoke", &2_u64).failed::<GrantError>(), GrantError::NotHeld);
        table.call(9, "revoke", &5_u64).returned::<()>();
        assert_eq!((table.object.value(), table.object.waiters()), (1, vec![]));
    }

    #[test]
    fn generated_schedules_keep_the_bound_and_serve_in_order() {
        for seed in 0..300 {
            let mut chance = StdRng::seed_from_u64(seed);
            let bound = chance.random_range(1..4);
            let mut table = Table::new(BoundedSemaphore::new(Some(bound as u32)));
            let (mut held, mut queue, mut last) = (Vec::<(u64, u64)>::new(), Vec::<CallId>::new(), 0);
            for _ in 0..60 {
                let of = chance.random_range(1..5);
                let granted = match chance.random_range(0..8) {
                    0 => {
                        queue.retain(|call| call.session != id(of));
                        held.retain(|(session, _)| *session != of);
                        table.close(of).woken()
                    }
                    1 if !queue.is_empty() => {
                        let call = queue.remove(chance.random_range(0..queue.len()));
                        table.cancel(call).woken()
                    }
                    2 if !held.is_empty() => {
                        let (_, token) = held.remove(chance.random_range(0..held.len()));
                        table.call(9, "revoke", &token).woken()
                    }
                    3 => {
                        let released = table.call(of, "release", &None::<u64>);
                        if held.is_empty() {
                            let over = released.failed::<GrantError>();
                            assert_eq!(over, GrantError::NotHeld, "seed {seed}");
                        } else {
                            held.remove(held.iter().position(|(session, _)| *session == of).unwrap_or(0));
                        }
                        released.woken()
                    }
                    4 if !held.is_empty() => {
                        let (session, token) = held.remove(chance.random_range(0..held.len()));
                        table.call(session, "release", &Some(token)).woken()
                    }
                    5 => {
                        let token = table.call(of, "try_acquire", &()).returned::<Option<u64>>();
                        assert_eq!(token.is_some(), held.len() < bound, "seed {seed}");
                        held.extend(token.map(|token| (of, token)));
                        last = token.unwrap_or(last);
                        vec![]
                    }
                    _ => {
                        let acquired = table.call(of, "acquire", &());
                        queue.push(acquired.call());
                        acquired.got::<u64>()
                    }
                };
                for (to, token) in granted {
                    assert_eq!(queue.remove(0).session, id(to), "seed {seed}: in order");
                    assert!(token > last, "seed {seed}: {token} after {last}");
                    held.push((to, token));
                    last = token;
                }
                assert!(held.len() == bound || queue.is_empty(), "seed {seed}: free while somebody waits");
                assert_eq!(table.object.value() as usize + held.len(), bound, "seed {seed}");
                assert!(tokens(&table).iter().eq(held.iter().map(|(_, token)| token)), "seed {seed}");
            }
        }
    }
}
