//! A lock for many readers or one writer, who wait for it in one queue.

use concoord::prelude::*;

/// What a writer takes: all that there is. A reader takes one.
const ALL: u64 = u64::MAX;

/// A lock that many sessions hold to read, or one to write.
#[concoord::object]
#[derive(Debug, Serialize, Deserialize)]
pub struct RwLock {
    permits: Permits,
}

impl Default for RwLock {
    fn default() -> RwLock {
        RwLock { permits: Permits::new(ALL) }
    }
}

#[concoord::methods]
impl RwLock {
    /// Waits until nobody writes and nobody came before, and holds the lock beside other readers. Gives the token.
    pub fn read(&mut self, cx: &mut Context, waiter: Waiter<u64>) {
        self.permits.acquire(cx, waiter, 1);
    }

    /// Waits until nobody else holds the lock and nobody came before, and holds it alone. Gives the token.
    pub fn write(&mut self, cx: &mut Context, waiter: Waiter<u64>) {
        self.permits.acquire(cx, waiter, ALL);
    }

    /// As `read`, but only if that needs no waiting.
    pub fn try_read(&mut self, cx: &mut Context) -> Option<u64> {
        self.permits.try_acquire(cx, 1)
    }

    /// As `write`, but only if that needs no waiting.
    pub fn try_write(&mut self, cx: &mut Context) -> Option<u64> {
        self.permits.try_acquire(cx, ALL)
    }

    /// Releases what the session holds by this token, or has held longest.
    pub fn release(&mut self, cx: &mut Context, token: Option<u64>) -> Result<(), GrantError> {
        self.permits.release(cx, token)
    }

    /// Who holds the lock, the oldest first.
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

    fn cancelled(&mut self, cx: &mut Context, _: CallId) {
        self.permits.serve(cx);
    }

    fn timer(&mut self, cx: &mut Context, _: u64) {
        self.permits.serve(cx);
    }
}

#[cfg(test)]
mod tests {
    use concoord::testing::{Step, Table, id};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn not_held(step: &Step) {
        assert_eq!(step.failed::<GrantError>(), GrantError::NotHeld);
    }

    fn tried(table: &mut Table<RwLock>, method: &str) -> Option<u64> {
        table.call(8, method, &()).returned()
    }

    #[test]
    fn readers_share_it_and_nobody_overtakes_a_writer() {
        let mut table = Table::new(RwLock::default());
        assert_eq!([1, 2].map(|of| table.call(of, "read", &()).returned::<u64>()), [1, 2]);
        for (of, method) in [(3, "write"), (4, "read"), (5, "read"), (6, "write"), (7, "read")] {
            assert!(table.call(of, method, &()).waits());
        }
        assert_eq!((tried(&mut table, "try_read"), tried(&mut table, "try_write")), (None, None));
        not_held(&table.call(3, "release", &None::<u64>));
        assert!(table.call(1, "release", &None::<u64>).answered.is_empty());
        assert_eq!(table.call(2, "release", &Some(2_u64)).woken::<u64>(), [(3, 12)]);
        assert_eq!(table.call(3, "release", &Some(12_u64)).woken::<u64>(), [(4, 14), (5, 15)], "together");
        assert_eq!(table.object.waiters(), ["6-0", "7-0"]);
        not_held(&table.call(9, "revoke", &12_u64));
        assert!(table.call(9, "revoke", &14_u64).answered.is_empty());
        assert_eq!(table.close(5).woken::<u64>(), [(6, 19)]);
        assert_eq!(table.call(6, "release", &None::<u64>).woken::<u64>(), [(7, 21)]);
        assert_eq!((tried(&mut table, "try_read"), tried(&mut table, "try_write")), (Some(23), None));
    }

    #[test]
    fn who_waits_behind_a_writer_that_is_gone_enters() {
        for is_cancelled in [false, true] {
            let mut table = Table::new(RwLock::default());
            table.call(1, "read", &());
            let writer = table.call(2, "write", &()).call();
            table.call(3, "read", &());
            let gone = if is_cancelled { table.cancel(writer) } else { table.close(2) };
            assert_eq!(gone.woken::<u64>(), [(3, 4)], "cancelled: {is_cancelled}");
        }
    }

    #[test]
    fn more_readers_than_one_input_may_let_in_enter_by_several() {
        let mut table = Table::new(RwLock::default());
        table.call(1, "write", &());
        for _ in 0..1500 {
            table.call(2, "read", &());
        }
        let entered = table.call(1, "release", &None::<u64>).answered.len();
        assert!(entered < 1500 && entered + table.advance(10_000).answered.len() == 1500, "{entered} at once");
    }

    #[test]
    fn generated_schedules_keep_writers_alone_and_serve_in_order() {
        for seed in 0..300 {
            let mut chance = StdRng::seed_from_u64(seed);
            let (mut table, mut queue, mut last) = (Table::new(RwLock::default()), Vec::<(CallId, bool)>::new(), 0);
            let mut held = Vec::<(u64, u64, bool)>::new();
            for _ in 0..60 {
                let (of, writes) = (chance.random_range(1..6), chance.random_bool(0.3));
                let may_enter = |held: &[(u64, u64, bool)], writes: bool| {
                    held.is_empty() || !writes && held.iter().all(|(_, _, writes)| !writes)
                };
                let granted = match chance.random_range(0..8) {
                    0 => {
                        queue.retain(|(call, _)| call.session != id(of));
                        held.retain(|(session, ..)| *session != of);
                        table.close(of).woken()
                    }
                    1 if !queue.is_empty() => {
                        let (call, _) = queue.remove(chance.random_range(0..queue.len()));
                        table.cancel(call).woken()
                    }
                    2 if !held.is_empty() => {
                        let (_, token, _) = held.remove(chance.random_range(0..held.len()));
                        table.call(9, "revoke", &token).woken()
                    }
                    3 | 4 if !held.is_empty() => {
                        let (session, token, _) = held.remove(chance.random_range(0..held.len()));
                        table.call(session, "release", &Some(token)).woken()
                    }
                    5 => {
                        let method = if writes { "try_write" } else { "try_read" };
                        let token = table.call(of, method, &()).returned::<Option<u64>>();
                        assert_eq!(token.is_some(), queue.is_empty() && may_enter(&held, writes), "seed {seed}");
                        held.extend(token.map(|token| (of, token, writes)));
                        last = token.unwrap_or(last);
                        vec![]
                    }
                    _ => {
                        let step = table.call(of, if writes { "write" } else { "read" }, &());
                        queue.push((step.call(), writes));
                        step.got::<u64>()
                    }
                };
                for (to, token) in granted {
                    let (call, writes) = queue.remove(0);
                    assert!(call.session == id(to) && token > last, "seed {seed}: in order, and {token} after {last}");
                    assert!(may_enter(&held, writes), "seed {seed}: {held:?}");
                    held.push((to, token, writes));
                    last = token;
                }
                let is_stuck = queue.first().is_some_and(|(_, writes)| may_enter(&held, *writes));
                assert!(!is_stuck, "seed {seed}: the first waits for nothing");
                let tokens = table.object.holders().into_iter().map(|held| held.token);
                assert!(tokens.eq(held.iter().map(|(_, token, _)| *token)), "seed {seed}");
            }
        }
    }
}
