//! A rate limiter: a bucket of tokens, which the cluster's time fills.

use concoord::prelude::*;

/// Parts of a token: the bucket gets as many a microsecond as it gets tokens a second.
const PARTS: u64 = 1_000_000;

/// A bucket of tokens that starts full.
#[concoord::object]
#[derive(Debug, Serialize, Deserialize)]
pub struct RateLimiter {
    per_second: u32,
    burst: u32,
    /// Parts that were there at the time `filled`.
    parts: u64,
    filled: Timestamp,
    waiting: WaitQueue<(), u32>,
}

/// Why nothing was taken.
#[concoord::data]
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateLimiterError {
    /// There are not enough tokens for this and for those who wait.
    #[error("there are enough in {us} us")]
    RetryAfter {
        /// Microseconds until there are, if nobody else comes.
        us: u64,
    },
    /// The bucket never has as many.
    #[error("there are at most {burst} at once")]
    TooMany {
        /// How many it has at most.
        burst: u32,
    },
}

#[concoord::methods]
impl RateLimiter {
    /// Gets `per_second` tokens a second, and holds `burst` of them.
    pub fn new(per_second: u32, burst: u32) -> Result<Self, String> {
        if per_second == 0 || burst == 0 {
            return Err("per_second and burst are at least 1".into());
        }
        let (parts, filled, waiting) = (parts(burst), Timestamp(0), WaitQueue::default());
        Ok(RateLimiter { per_second, burst, parts, filled, waiting })
    }

    /// Takes `n` tokens if there are as many and nobody waits.
    pub fn try_take(&mut self, cx: &mut Context, n: u32) -> Result<(), RateLimiterError> {
        self.check(n)?;
        self.serve(cx);
        let wanted = self.waiting.iter().fold(parts(n), |sum, n| sum.saturating_add(parts(*n)));
        if wanted > self.parts {
            return Err(RateLimiterError::RetryAfter { us: self.us_until(wanted) });
        }
        self.parts -= parts(n);
        Ok(())
    }

    /// Waits until there are `n` tokens and nobody came before, and takes them.
    pub fn take(&mut self, cx: &mut Context, n: u32, waiter: Waiter<()>) -> Result<(), RateLimiterError> {
        self.check(n)?;
        self.waiting.push_with(waiter, n);
        self.serve(cx);
        Ok(())
    }

    /// How many tokens there are.
    pub fn available(&self, cx: &mut Context) -> u32 {
        (self.parts_at(cx.now()) / PARTS) as u32
    }

    fn session_closed(&mut self, cx: &mut Context, _: SessionId) {
        self.serve(cx);
    }

    fn cancelled(&mut self, cx: &mut Context, _: CallId) {
        self.serve(cx);
    }

    fn timer(&mut self, cx: &mut Context, _: u64) {
        self.serve(cx);
    }

    fn serve(&mut self, cx: &mut Context) {
        (self.parts, self.filled) = (self.parts_at(cx.now()), cx.now());
        self.waiting.serve(cx, |_, _, n| {
            self.parts = self.parts.checked_sub(parts(*n))?;
            Some(())
        });
        if let Some(n) = self.waiting.iter().next() {
            cx.set_timer(0, Timestamp(cx.now().0 + self.us_until(parts(*n))));
        }
    }

    fn parts_at(&self, now: Timestamp) -> u64 {
        let came = (now.0 - self.filled.0).saturating_mul(self.per_second.into());
        self.parts.saturating_add(came).min(parts(self.burst))
    }

    fn us_until(&self, parts: u64) -> u64 {
        parts.saturating_sub(self.parts).div_ceil(self.per_second.into())
    }

    fn check(&self, n: u32) -> Result<(), RateLimiterError> {
        (n <= self.burst).then_some(()).ok_or(RateLimiterError::TooMany { burst: self.burst })
    }
}

fn parts(tokens: u32) -> u64 {
    u64::from(tokens) * PARTS
}

#[cfg(test)]
mod tests {
    use concoord::testing::{Step, Table};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const SECOND: u64 = 1_000_000;

    fn limiter(per_second: u32, burst: u32) -> Table<RateLimiter> {
        Table::new(RateLimiter::new(per_second, burst).expect("above zero"))
    }

    fn available(table: &mut Table<RateLimiter>) -> u32 {
        table.call(9, "available", &()).returned()
    }

    fn retry_after(step: &Step) -> u64 {
        match step.failed() {
            RateLimiterError::RetryAfter { us } => us,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_burst_is_there_at_once_and_then_the_rate() {
        let mut table = limiter(3, 5);
        table.call(1, "try_take", &5_u32).returned::<()>();
        assert_eq!(retry_after(&table.call(1, "try_take", &1_u32)), 333_334, "rounded up");
        table.advance(333_333);
        assert_eq!((available(&mut table), retry_after(&table.call(1, "try_take", &1_u32))), (0, 1));
        table.advance(1);
        table.call(1, "try_take", &1_u32).returned::<()>();
        table.advance(SECOND);
        assert_eq!(available(&mut table), 3);
        table.advance(1000 * SECOND);
        assert_eq!(available(&mut table), 5, "never more");
        let too_many = table.call(1, "try_take", &6_u32);
        assert_eq!(too_many.failed::<RateLimiterError>(), RateLimiterError::TooMany { burst: 5 });
        assert_eq!(table.call(1, "take", &6_u32).failed::<RateLimiterError>(), RateLimiterError::TooMany { burst: 5 });
        for (per_second, burst) in [(0, 1), (1, 0)] {
            assert!(RateLimiter::new(per_second, burst).is_err());
        }
    }

    #[test]
    fn who_waits_is_woken_in_turn_and_not_overtaken() {
        let mut table = limiter(10, 4);
        table.call(1, "take", &4_u32).returned::<()>();
        assert!(table.call(2, "take", &3_u32).waits() && table.call(3, "take", &1_u32).waits());
        table.advance(200_000);
        assert_eq!(retry_after(&table.call(4, "try_take", &1_u32)), 300_000, "behind the others");
        assert_eq!(table.advance(100_000).woken(), [(2, ())]);
        assert_eq!(table.advance(100_000).woken(), [(3, ())]);
    }

    #[test]
    fn who_is_gone_takes_nothing_and_holds_nobody_up() {
        let mut table = limiter(1, 10);
        table.call(1, "take", &8_u32).returned::<()>();
        let first = table.call(2, "take", &10_u32).call();
        for of in [3, 4, 5] {
            assert!(table.call(of, "take", &1_u32).waits());
        }
        assert_eq!(table.cancel(first).woken(), [(3, ()), (4, ())]);
        assert_eq!(table.advance(SECOND).woken(), [(5, ())]);
    }

    #[test]
    fn the_largest_numbers_fit() {
        let mut table = limiter(u32::MAX, u32::MAX);
        table.call(1, "take", &u32::MAX).returned::<()>();
        assert!(table.call(1, "take", &u32::MAX).waits());
        assert_eq!(table.advance(u64::MAX / 2).woken(), [(1, ())]);
        assert_eq!(available(&mut table), u32::MAX);
    }

    /// What was taken is at most the burst and what the time since the start has brought, and nobody waits who need not: a timer
    /// runs a thousandth of a second after it was set at the earliest.
    #[test]
    fn generated_schedules_keep_the_rate_and_serve_in_order() {
        for seed in 0..300 {
            let mut chance = StdRng::seed_from_u64(seed);
            let (per_second, burst) = (chance.random_range(1..9), chance.random_range(1..9));
            let (mut table, mut queue, mut taken) = (limiter(per_second, burst), Vec::<(CallId, u32)>::new(), 0);
            for _ in 0..60 {
                let (of, n) = (chance.random_range(1..5), chance.random_range(1..=burst));
                let step = match chance.random_range(0..7) {
                    0 => {
                        queue.retain(|(call, _)| call.session.slot.0 != of);
                        table.close(of)
                    }
                    1 if !queue.is_empty() => {
                        let (call, _) = queue.remove(chance.random_range(0..queue.len()));
                        table.cancel(call)
                    }
                    2 => {
                        let there = available(&mut table);
                        let step = table.call(of, "try_take", &n);
                        if queue.is_empty() && n <= there {
                            step.returned::<()>();
                            taken += parts(n);
                        } else if queue.is_empty() {
                            table.advance(retry_after(&step));
                            assert_eq!(available(&mut table), n, "seed {seed}: there are as many then");
                        }
                        step
                    }
                    3 => table.advance(chance.random_range(1..SECOND)),
                    _ => {
                        let step = table.call(of, "take", &n);
                        queue.push((step.call(), n));
                        step
                    }
                };
                let served = queue.iter().take_while(|(call, _)| step.answer_to(*call) == Some(())).count();
                taken += queue.drain(..served).map(|(_, n)| parts(n)).sum::<u64>();
                assert_eq!(table.parked().count(), queue.len(), "seed {seed}: in order, and nobody else");
                let brought = parts(burst) + table.now().0 * u64::from(per_second);
                assert!(taken <= brought, "seed {seed}: {taken} of {brought}");
                let there = table.object.parts_at(table.now()).saturating_sub(1000 * u64::from(per_second));
                let is_stuck = queue.first().is_some_and(|(_, n)| parts(*n) < there);
                assert!(!is_stuck, "seed {seed}: {there} parts are there");
            }
        }
    }
}
