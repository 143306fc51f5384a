//! A latch: callers wait until something has happened so many times.

use concoord::prelude::*;

/// A count that goes down to zero, where the latch is open for ever.
#[concoord::object]
#[derive(Debug, Serialize, Deserialize)]
pub struct Latch {
    count: u64,
    waiting: WaitQueue<()>,
}

#[concoord::methods]
impl Latch {
    /// Starts at `count`; at 0 it is open from the start.
    pub fn new(count: u64) -> Self {
        Latch { count, waiting: WaitQueue::default() }
    }

    /// Takes one from the count, unless it is zero.
    pub fn count_down(&mut self, cx: &mut Context) {
        self.count = self.count.saturating_sub(1);
        self.serve(cx);
    }

    /// Waits until the count is zero.
    pub fn wait(&mut self, cx: &mut Context, waiter: Waiter<()>) {
        self.waiting.push(waiter);
        self.serve(cx);
    }

    /// The count.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn timer(&mut self, cx: &mut Context, _: u64) {
        self.serve(cx);
    }

    fn serve(&mut self, cx: &mut Context) {
        self.waiting.serve(cx, |_, _, ()| (self.count == 0).then_some(()));
    }
}

#[cfg(test)]
mod tests {
    use concoord::testing::Table;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn at_zero_all_go_on_and_nobody_waits_again() {
        let mut table = Table::new(Latch::new(2));
        assert!(table.call(1, "wait", &()).waits() && table.call(2, "wait", &()).waits());
        assert!(table.call(3, "count_down", &()).answered.is_empty());
        assert_eq!(table.object.count(), 1);
        assert_eq!(table.call(3, "count_down", &()).woken(), [(1, ()), (2, ())]);
        table.call(3, "count_down", &()).returned::<()>();
        assert_eq!(table.object.count(), 0);
        table.call(1, "wait", &()).returned::<()>();
        Table::new(Latch::new(0)).call(1, "wait", &()).returned::<()>();
    }

    #[test]
    fn more_than_one_input_may_answer_are_let_go_by_several() {
        let mut table = Table::new(Latch::new(1));
        for _ in 0..1500 {
            table.call(1, "wait", &());
        }
        let gone = table.call(2, "count_down", &()).answered.len();
        assert!(gone < 1500 && gone + table.advance(10_000).answered.len() == 1500, "{gone} at once");
    }

    #[test]
    fn generated_schedules_let_go_whoever_is_there_at_zero() {
        for seed in 0..300 {
            let mut chance = StdRng::seed_from_u64(seed);
            let mut count = chance.random_range(0..8);
            let (mut table, mut waiting) = (Table::new(Latch::new(count)), Vec::<CallId>::new());
            for _ in 0..40 {
                let of = chance.random_range(1..5);
                let step = match chance.random_range(0..5) {
                    0 => {
                        waiting.retain(|call| call.session.slot.0 != of);
                        table.close(of)
                    }
                    1 if !waiting.is_empty() => table.cancel(waiting.remove(chance.random_range(0..waiting.len()))),
                    2 => {
                        count = count.saturating_sub(1);
                        table.call(of, "count_down", &())
                    }
                    _ => {
                        let step = table.call(of, "wait", &());
                        waiting.push(step.call());
                        step
                    }
                };
                assert_eq!(table.object.count(), count, "seed {seed}");
                if count == 0 {
                    let all = waiting.drain(..).all(|call| step.answer_to(call) == Some(()));
                    assert!(all, "seed {seed}: {step:?}");
                }
                assert!(table.parked().count() == waiting.len(), "seed {seed}");
            }
        }
    }
}
