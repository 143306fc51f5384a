//! A condition variable and the lock that belongs to it.

use concoord::prelude::*;

/// A lock that one session holds at a time, and may give up until another notifies it.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Condition {
    lock: Permits,
    waiting: WaitQueue<u64>,
}

#[concoord::methods]
impl Condition {
    /// Waits until the lock is free and takes it, until it is released or the session ends. Gives its token.
    pub fn acquire(&mut self, cx: &mut Context, waiter: Waiter<u64>) {
        self.lock.acquire(cx, waiter, 1);
    }

    /// Releases the lock, by its token where one is given: the one that waits longest gets it.
    pub fn release(&mut self, cx: &mut Context, token: Option<u64>) -> Result<(), GrantError> {
        self.lock.release(cx, token)
    }

    /// Releases the lock, waits to be notified, and takes the lock again. Gives the new token.
    pub fn wait(&mut self, cx: &mut Context, waiter: Waiter<u64>) -> Result<(), GrantError> {
        self.release(cx, None)?;
        self.waiting.push(waiter);
        Ok(())
    }

    /// Notifies the `n` that wait longest, or one: they get the lock in turn, behind those that wait for it already.
    pub fn notify(&mut self, cx: &mut Context, n: Option<u32>) -> Result<(), GrantError> {
        self.lock.check_held(cx)?;
        for _ in 0..n.unwrap_or(1) {
            let Some(waiter) = self.waiting.pop() else { break };
            self.lock.acquire(cx, waiter, 1);
        }
        Ok(())
    }

    /// Notifies all that wait.
    #[allow(non_snake_case, reason = "the name by which it is known")]
    pub fn notifyAll(&mut self, cx: &mut Context) -> Result<(), GrantError> {
        self.notify(cx, Some(u32::MAX))
    }

    /// Who holds the lock, if anybody does.
    pub fn holders(&self) -> Vec<Held> {
        self.lock.holders()
    }

    /// The sessions that wait for the lock, in order, and behind them those that wait to be notified.
    pub fn waiters(&self) -> Vec<String> {
        [self.lock.waiters(), self.waiting.sessions()].concat()
    }

    /// Takes the lock from whoever holds it by this token.
    pub fn revoke(&mut self, cx: &mut Context, token: u64) -> Result<(), GrantError> {
        self.lock.revoke(cx, Some(token))
    }

    fn session_closed(&mut self, cx: &mut Context, session: SessionId) {
        self.lock.end(cx, session);
    }
}

#[cfg(test)]
mod tests {
    use concoord::testing::{Table, id};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn not_held(step: &concoord::testing::Step) {
        assert_eq!(step.failed::<GrantError>(), GrantError::NotHeld);
    }

    /// Sessions 1 to `n` wait to be notified, in this order.
    fn waiting(n: u64) -> Table<Condition> {
        let mut table = Table::new(Condition::default());
        for of in 1..=n {
            table.call(of, "acquire", &());
            assert!(table.call(of, "wait", &()).waits());
        }
        table
    }

    #[test]
    fn who_is_notified_gets_the_lock_in_turn_with_a_new_token() {
        let mut table = waiting(3);
        assert_eq!(table.object.waiters(), ["1-0", "2-0", "3-0"]);
        assert_eq!(table.call(4, "acquire", &()).returned::<u64>(), 7);
        assert!(table.call(5, "acquire", &()).waits());
        assert!(table.call(4, "notify", &Some(2_u32)).answered.is_empty(), "the lock is held");
        assert_eq!(table.object.waiters(), ["5-0", "1-0", "2-0", "3-0"]);
        assert_eq!(table.call(4, "release", &Some(7_u64)).woken::<u64>(), [(5, 10)], "it came before");
        assert_eq!(table.call(5, "wait", &()).woken::<u64>(), [(1, 12)]);
        assert_eq!(table.object.holders(), [Held { token: 12, session: "1-0".into() }]);
        assert_eq!(table.call(1, "release", &None::<u64>).woken::<u64>(), [(2, 14)]);
        table.call(2, "notifyAll", &()).returned::<()>();
        assert_eq!(table.call(2, "release", &None::<u64>).woken::<u64>(), [(3, 17)]);
        assert_eq!(table.call(9, "revoke", &17_u64).woken::<u64>(), [(5, 19)]);
    }

    #[test]
    fn without_the_lock_nobody_waits_or_notifies() {
        let mut table = waiting(1);
        for method in ["wait", "notifyAll"] {
            not_held(&table.call(2, method, &()));
        }
        not_held(&table.call(2, "notify", &None::<u32>));
        not_held(&table.call(2, "revoke", &1_u64));
        table.call(2, "acquire", &());
        not_held(&table.call(1, "release", &None::<u64>));
        table.call(2, "notify", &None::<u32>).returned::<()>();
        table.call(2, "notify", &None::<u32>).returned::<()>();
        assert!(table.object.waiting.is_empty(), "a notification of nobody is none of the next");
    }

    #[test]
    fn who_is_gone_is_neither_notified_nor_has_the_lock() {
        let mut table = waiting(3);
        let first = table.parked().next().expect("three wait");
        table.cancel(first);
        table.call(4, "acquire", &());
        table.call(4, "notifyAll", &());
        assert!(table.close(2).answered.is_empty());
        assert_eq!(table.close(4).woken::<u64>(), [(3, 11)]);
        assert!(table.close(3).answered.is_empty() && table.object.holders().is_empty());
    }

    /// What the model knows: who waits for the lock, and who to be notified.
    #[test]
    fn generated_schedules_exclude_each_other_and_lose_nobody() {
        for seed in 0..300 {
            let mut chance = StdRng::seed_from_u64(seed);
            let (mut table, mut last) = (Table::new(Condition::default()), 0);
            let (mut queue, mut waiting) = (Vec::<CallId>::new(), Vec::<CallId>::new());
            let mut holder: Option<(u64, u64)> = None;
            for _ in 0..60 {
                let of = chance.random_range(1..6);
                let is_holder = holder.is_some_and(|(held, _)| held == of);
                let step = match chance.random_range(0..9) {
                    0 => {
                        queue.retain(|call| call.session != id(of));
                        waiting.retain(|call| call.session != id(of));
                        holder = holder.filter(|_| !is_holder);
                        table.close(of)
                    }
                    1 if !queue.is_empty() || !waiting.is_empty() => {
                        let parked: Vec<CallId> = table.parked().collect();
                        let call = parked[chance.random_range(0..parked.len())];
                        queue.retain(|waits| *waits != call);
                        waiting.retain(|waits| *waits != call);
                        table.cancel(call)
                    }
                    2 if holder.is_some() => {
                        let (_, token) = holder.take().expect("held");
                        table.call(9, "revoke", &token)
                    }
                    3 if holder.is_some() => {
                        let (held, _) = holder.take().expect("held");
                        table.call(held, "release", &None::<u64>)
                    }
                    4 | 5 => {
                        let step = table.call(of, "wait", &());
                        if is_holder {
                            holder = None;
                            waiting.push(step.call());
                        } else {
                            not_held(&step);
                        }
                        step
                    }
                    6 => {
                        let n = chance.random_range(0..4_u32);
                        let step = table.call(of, "notify", &Some(n));
                        if is_holder {
                            let all = waiting.len().min(n as usize);
                            queue.extend(waiting.drain(..all));
                        } else {
                            not_held(&step);
                        }
                        step
                    }
                    _ => {
                        let step = table.call(of, "acquire", &());
                        queue.push(step.call());
                        if holder.is_none() {
                            (holder, last) = (Some((of, step.returned())), step.returned());
                            queue.pop();
                        }
                        step
                    }
                };
                for (to, token) in step.woken::<u64>() {
                    assert_eq!((holder, queue.remove(0).session), (None, id(to)), "seed {seed}: by one, in order");
                    assert!(token > last, "seed {seed}: {token} after {last}");
                    (holder, last) = (Some((to, token)), token);
                }
                assert!(holder.is_some() || queue.is_empty(), "seed {seed}: free while somebody waits for it");
                assert_eq!(table.object.holders().len(), usize::from(holder.is_some()), "seed {seed}");
                let waiters: Vec<_> = queue.iter().chain(&waiting).map(|call| call.session.to_string()).collect();
                assert_eq!(table.object.waiters(), waiters, "seed {seed}");
            }
        }
    }
}
