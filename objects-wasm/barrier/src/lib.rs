//! A barrier: so many wait for each other, and go on together.

use concoord::prelude::*;

/// As many as can be let go together.
const PARTIES_MAX: u32 = concoord::wire::limits::ANSWERED_MAX as u32;

/// A number of parties that wait for each other, again and again.
#[concoord::object]
#[derive(Debug, Serialize, Deserialize)]
pub struct Barrier {
    parties: u32,
    waiting: WaitQueue<u32>,
}

#[concoord::methods]
impl Barrier {
    /// Is for so many parties.
    pub fn new(parties: u32) -> Result<Self, String> {
        if !(1..=PARTIES_MAX).contains(&parties) {
            return Err(format!("a barrier has 1 to {PARTIES_MAX} parties"));
        }
        Ok(Barrier { parties, waiting: WaitQueue::default() })
    }

    /// Waits until all parties do. Gives how many of them came before, from 0.
    pub fn wait(&mut self, cx: &mut Context, waiter: Waiter<u32>) {
        self.waiting.push(waiter);
        if self.n_waiting() == self.parties {
            for index in 0..self.parties {
                self.waiting.pop().into_iter().for_each(|waiter| waiter.answer(cx, &index));
            }
        }
    }

    /// How many have to wait.
    pub fn parties(&self) -> u32 {
        self.parties
    }

    /// How many wait.
    pub fn n_waiting(&self) -> u32 {
        self.waiting.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use concoord::testing::Table;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn the_last_lets_all_go_and_the_next_round_begins() {
        let mut table = Table::new(Barrier::new(3).expect("three"));
        for round in 0..3 {
            assert!(table.call(1, "wait", &()).waits() && table.call(2, "wait", &()).waits(), "round {round}");
            assert_eq!((table.object.parties(), table.object.n_waiting()), (3, 2));
            assert_eq!(table.call(3, "wait", &()).got::<u32>(), [(1, 0), (2, 1), (3, 2)], "round {round}");
            assert_eq!(table.object.n_waiting(), 0);
        }
        assert_eq!(Table::new(Barrier::new(1).expect("one")).call(1, "wait", &()).returned::<u32>(), 0);
    }

    #[test]
    fn a_number_that_can_not_be_let_go_together_is_refused() {
        assert!(Barrier::new(PARTIES_MAX).is_ok());
        for refused in [0, PARTIES_MAX + 1, u32::MAX] {
            assert_eq!(Barrier::new(refused).map(drop), Err("a barrier has 1 to 4096 parties".into()));
        }
        let mut table = Table::new(Barrier::new(PARTIES_MAX).expect("the most"));
        let all = (0..PARTIES_MAX).map(|of| table.call(of.into(), "wait", &()).answered.len()).max();
        assert_eq!(all, Some(4095));
    }

    #[test]
    fn generated_schedules_let_go_those_that_are_there_in_the_order_in_which_they_came() {
        for seed in 0..300 {
            let mut chance = StdRng::seed_from_u64(seed);
            let parties = chance.random_range(1..5);
            let mut table = Table::new(Barrier::new(parties as u32).expect("some"));
            let mut waiting = Vec::<CallId>::new();
            for _ in 0..60 {
                let of = chance.random_range(1..7);
                match chance.random_range(0..5) {
                    0 => {
                        assert!(table.close(of).answered.is_empty(), "seed {seed}");
                        waiting.retain(|call| call.session.slot.0 != of);
                    }
                    1 if !waiting.is_empty() => {
                        let call = waiting.remove(chance.random_range(0..waiting.len()));
                        assert!(table.cancel(call).answered.is_empty(), "seed {seed}");
                    }
                    _ => {
                        let step = table.call(of, "wait", &());
                        waiting.push(step.call());
                        if waiting.len() == parties {
                            let indexes = (0_u32..).zip(waiting.drain(..));
                            let expected: Vec<_> = indexes.map(|(index, call)| (call.session.slot.0, index)).collect();
                            assert_eq!(step.got::<u32>(), expected, "seed {seed}");
                        } else {
                            assert!(step.waits() && step.answered.is_empty(), "seed {seed}");
                        }
                    }
                }
                assert_eq!(table.object.n_waiting() as usize, waiting.len(), "seed {seed}");
            }
        }
    }
}
