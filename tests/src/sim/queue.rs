//! What is going to happen, in order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::world::Event;

/// Events by time, and in the order of their scheduling where the time is the same.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Time, number, and where the event is: the heap moves these and not the events.
    order: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    pushed: u64,
    taken: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at_us: u64, event: Event) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[place] = Some(event);
        self.pushed += 1;
        self.order.push(Reverse((at_us, self.pushed, place)));
    }

    /// The next event, and its time.
    pub(super) fn pop(&mut self) -> Option<(u64, Event)> {
        let Reverse((at_us, _, place)) = self.order.pop()?;
        self.free.push(place);
        self.taken += 1;
        Some((at_us, self.events[place].take()?))
    }

    /// All that is still to happen, in no order.
    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().flatten()
    }

    /// How many events were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_events_by_time_and_then_by_age() {
        let mut queue = Queue::default();
        for (at_us, client) in [(5, 0), (3, 1), (5, 2), (3, 3), (9, 4)] {
            queue.push(at_us, Event::WakeClient { client });
        }
        let mut taken = Vec::new();
        while let Some((at_us, event)) = queue.pop() {
            let Event::WakeClient { client } = event else { panic!("only these were put in") };
            taken.push((at_us, client));
            if client == 1 {
                queue.push(4, Event::WakeClient { client: 5 });
            }
        }
        assert_eq!(taken, [(3, 1), (3, 3), (4, 5), (5, 0), (5, 2), (9, 4)]);
        assert_eq!(queue.taken(), 6);
    }
}
