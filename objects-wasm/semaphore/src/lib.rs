//! A semaphore: a number of permits, which sessions take and give back.

use concoord::prelude::*;

/// A number of permits.
#[concoord::object]
#[derive(Debug, Serialize, Deserialize)]
pub struct Semaphore {
    permits: Permits,
}

#[concoord::methods]
impl Semaphore {
    /// Starts with `count` permits, or one.
    pub fn new(count: Option<u32>) -> Self {
        Semaphore { permits: Permits::new(count.unwrap_or(1).into()) }
    }

    /// Waits until a permit is free and takes it, until it is released or the session ends. Gives its token.
    pub fn acquire(&mut self, cx: &mut Context, waiter: Waiter<u64>) {
        self.permits.acquire(cx, waiter, 1);
    }

    /// Takes a permit if one is free, and gives its token.
    pub fn try_acquire(&mut self, cx: &mut Context) -> Option<u64> {
        self.permits.try_acquire(cx, 1)
    }

    /// Gives back the permit of this token or the session's oldest. A session that has none adds one.
    pub fn release(&mut self, cx: &mut Context, token: Option<u64>) -> Result<(), GrantError> {
        let released = self.permits.release(cx, token);
        released.or_else(|error| token.is_none().then(|| self.permits.free(cx, 1)).ok_or(error))
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

    fn tokens(table: &Table<Semaphore>) -> Vec<u64> {
        table.object.holders().iter().map(|held| held.token).collect()
    }

    #[test]
    fn so_many_hold_it_and_the_others_wait() {
        let mut table = Table::new(Semaphore::new(Some(2)));
        assert_eq!(table.call(1, "acquire", &()).returned::<u64>(), 1);
        assert_eq!(table.call(1, "try_acquire", &()).returned::<Option<u64>>(), Some(2));
        assert_eq!(table.call(2, "try_acquire", &()).returned::<Option<u64>>(), None);
        for waits in [2, 3, 4] {
            assert!(table.call(waits, "acquire", &()).waits());
        }
        assert_eq!((table.object.value(), table.object.waiters().len()), (0, 3));
        assert_eq!(table.call(1, "release", &Some(2_u64)).woken::<u64>(), [(2, 7)]);
        assert_eq!(table.call(1, "release", &Some(2_u64)).failed::<GrantError>(), GrantError::NotHeld);
        assert_eq!(table.call(9, "revoke", &1_u64).woken::<u64>(), [(3, 10)]);
        assert_eq!(table.call(9, "revoke", &1_u64).failed::<GrantError>(), GrantError::NotHeld);
        assert_eq!(tokens(&table), [7, 10]);
    }

    #[test]
    fn who_holds_nothing_signals_by_a_release() {
        let mut table = Table::new(Semaphore::new(Some(0)));
        assert!(table.call(1, "acquire", &()).waits());
        assert_eq!(table.call(2, "release", &None::<u64>).woken::<u64>(), [(1, 2)]);
        table.call(2, "release", &None::<u64>);
        assert_eq!((table.object.value(), Semaphore::new(None).value()), (1, 1));
    }

    #[test]
    fn an_end_gives_back_all_that_a_session_has() {
        let mut table = Table::new(Semaphore::new(Some(2)));
        for of in [1, 1, 2, 3, 4] {
            table.call(of, "acquire", &());
        }
        assert_eq!(table.close(1).woken::<u64>(), [(2, 6), (3, 7)], "tokens differ");
        assert_eq!(table.object.waiters(), ["4-0"]);
    }

    #[test]
    fn more_than_one_input_may_answer_are_answered_by_several() {
        let mut table = Table::new(Semaphore::new(Some(1500)));
        for of in [1, 2] {
            for _ in 0..1500 {
                table.call(of, "acquire", &());
            }
        }
        let served = table.close(1).answered.len();
        assert!(served < 1500, "{served} at once");
        assert_eq!((served + table.advance(10_000).answered.len(), table.object.value()), (1500, 0));
    }

    #[test]
    fn generated_schedules_keep_count_and_serve_in_order() {
        for seed in 0..300 {
            let mut chance = StdRng::seed_from_u64(seed);
            let mut free = chance.random_range(0..4);
            let mut table = Table::new(Semaphore::new(Some(free as u32)));
            let (mut held, mut queue, mut last) = (Vec::<(u64, u64)>::new(), Vec::<CallId>::new(), 0);
            for _ in 0..60 {
                let of = chance.random_range(1..5);
                let granted = match chance.random_range(0..8) {
                    0 => {
                        queue.retain(|call| call.session != id(of));
                        free += held.extract_if(.., |(session, _)| *session == of).count();
                        table.close(of).woken()
                    }
                    1 if !queue.is_empty() => {
                        let call = queue.remove(chance.random_range(0..queue.len()));
                        table.cancel(call).woken()
                    }
                    2 if !held.is_empty() => {
                        let (_, token) = held.remove(chance.random_range(0..held.len()));
                        free += 1;
                        table.call(9, "revoke", &token).woken()
                    }
                    3 => {
                        held.iter().position(|(session, _)| *session == of).map(|at| held.remove(at));
                        free += 1;
                        table.call(of, "release", &None::<u64>).woken()
                    }
                    4 if !held.is_empty() => {
                        let (session, token) = held.remove(chance.random_range(0..held.len()));
                        free += 1;
                        table.call(session, "release", &Some(token)).woken()
                    }
                    5 => {
                        let token = table.call(of, "try_acquire", &()).returned::<Option<u64>>();
                        assert_eq!(token.is_some(), free > 0, "seed {seed}");
                        free -= usize::from(token.is_some());
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
                    assert!(queue.remove(0).session == id(to) && free > 0, "seed {seed}: in order, and free");
                    assert!(token > last, "seed {seed}: {token} after {last}");
                    free -= 1;
                    held.push((to, token));
                    last = token;
                }
                assert!(free == 0 || queue.is_empty(), "seed {seed}: {free} free while somebody waits");
                assert_eq!(table.object.value(), free as u64, "seed {seed}");
                assert!(tokens(&table).iter().eq(held.iter().map(|(_, token)| token)), "seed {seed}");
            }
        }
    }
}
