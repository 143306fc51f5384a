//! A queue: what was put first is got first, and who comes too early waits.

use std::collections::VecDeque;

use concoord::prelude::*;

/// A queue of strings that starts empty.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Queue {
    /// 0 for none.
    maxsize: u64,
    items: VecDeque<String>,
    putting: WaitQueue<(), String>,
    getting: WaitQueue<String>,
}

/// Why nothing was put or got.
#[concoord::data]
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// There is no room for another item.
    #[error("the queue is full")]
    Full,
    /// There is no item.
    #[error("the queue is empty")]
    Empty,
}

#[concoord::methods]
impl Queue {
    /// Has room for `maxsize` items, or for any number if that is not given or 0.
    pub fn new(maxsize: Option<u64>) -> Self {
        Queue { maxsize: maxsize.unwrap_or(0), ..Queue::default() }
    }

    /// Waits until there is room, and puts `item` at the end.
    pub fn put(&mut self, cx: &mut Context, item: String, waiter: Waiter<()>) {
        self.putting.push_with(waiter, item);
        self.serve(cx);
    }

    /// Waits until there is an item, and takes the first.
    pub fn get(&mut self, cx: &mut Context, waiter: Waiter<String>) {
        self.getting.push(waiter);
        self.serve(cx);
    }

    /// Puts `item` at the end if there is room.
    pub fn try_put(&mut self, cx: &mut Context, item: String) -> Result<(), QueueError> {
        if self.full() {
            return Err(QueueError::Full);
        }
        self.items.push_back(item);
        self.serve(cx);
        Ok(())
    }

    /// Takes the first item if there is one.
    pub fn try_get(&mut self, cx: &mut Context) -> Result<String, QueueError> {
        let item = self.items.pop_front().ok_or(QueueError::Empty)?;
        self.serve(cx);
        Ok(item)
    }

    /// How many items there are, without those of callers that wait to put them.
    pub fn qsize(&self) -> u64 {
        self.items.len() as u64
    }

    /// Whether there is no item.
    pub fn empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether there is no room.
    pub fn full(&self) -> bool {
        self.maxsize > 0 && self.qsize() >= self.maxsize
    }

    /// Lets in what waits for room, gives to those who wait for items, and lets in what has room by that.
    fn serve(&mut self, cx: &mut Context) {
        self.fill(cx);
        self.getting.serve(cx, |_, _, ()| self.items.pop_front());
        self.fill(cx);
    }

    fn fill(&mut self, cx: &mut Context) {
        while !self.full()
            && let Some((waiter, item)) = self.putting.pop_with()
        {
            self.items.push_back(item);
            waiter.answer(cx, &());
        }
    }
}

#[cfg(test)]
mod tests {
    use concoord::testing::Table;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn items_go_out_as_they_came_in_and_who_comes_too_early_waits() {
        let mut table = Table::new(Queue::new(None));
        assert!(table.call(1, "get", &()).waits() && table.call(2, "get", &()).waits());
        assert_eq!(table.call(3, "put", &"a").woken(), [(1, "a".to_owned())]);
        assert_eq!(table.call(3, "try_put", &"b").woken(), [(2, "b".to_owned())]);
        for item in ["c", "d"] {
            table.call(3, "put", &item).returned::<()>();
        }
        assert_eq!((table.object.qsize(), table.object.empty(), table.object.full()), (2, false, false));
        assert_eq!(table.call(1, "get", &()).returned::<String>(), "c");
        assert_eq!(table.call(1, "try_get", &()).returned::<String>(), "d");
        assert_eq!(table.call(1, "try_get", &()).failed::<QueueError>(), QueueError::Empty);
        assert!(table.object.empty());
    }

    #[test]
    fn where_there_is_no_room_a_put_waits_and_its_item_comes_in_turn() {
        let mut table = Table::new(Queue::new(Some(1)));
        table.call(1, "put", &"a").returned::<()>();
        for (of, item) in [(2, "b"), (3, "c"), (4, "d")] {
            assert!(table.call(of, "put", &item).waits());
        }
        assert_eq!(table.call(5, "try_put", &"e").failed::<QueueError>(), QueueError::Full);
        table.close(3);
        let got = table.call(6, "get", &());
        assert_eq!((got.returned::<String>(), got.woken()), ("a".into(), vec![(2, ())]));
        let got = table.call(6, "try_get", &());
        assert_eq!((got.returned::<String>(), got.woken()), ("b".into(), vec![(4, ())]));
        assert_eq!((table.object.qsize(), table.object.full()), (1, true));
        assert!(Queue::new(Some(0)).maxsize == 0 && !Queue::new(Some(0)).full());
    }

    /// Items are numbered in the order of the calls that put them.
    #[test]
    fn generated_schedules_give_each_item_once_and_in_order() {
        for seed in 0..300 {
            let mut chance = StdRng::seed_from_u64(seed);
            let room = chance.random_range(0..4);
            let mut table = Table::new(Queue::new(Some(room as u64)));
            let (mut items, mut number) = (VecDeque::<String>::new(), 0);
            let (mut putting, mut getting) = (Vec::<(CallId, String)>::new(), Vec::<CallId>::new());
            for _ in 0..60 {
                let of = chance.random_range(1..6);
                number += 1;
                let is_full = room > 0 && items.len() >= room;
                let step = match chance.random_range(0..8) {
                    0 => {
                        putting.retain(|(call, _)| call.session.slot.0 != of);
                        getting.retain(|call| call.session.slot.0 != of);
                        table.close(of)
                    }
                    1 if !getting.is_empty() => table.cancel(getting.remove(chance.random_range(0..getting.len()))),
                    1 if !putting.is_empty() => table.cancel(putting.remove(chance.random_range(0..putting.len())).0),
                    2 => {
                        let step = table.call(of, "try_put", &number.to_string());
                        if is_full {
                            assert_eq!(step.failed::<QueueError>(), QueueError::Full, "seed {seed}");
                        } else {
                            items.push_back(number.to_string());
                        }
                        step
                    }
                    3 => {
                        let step = table.call(of, "try_get", &());
                        match items.pop_front() {
                            Some(item) => assert_eq!(step.returned::<String>(), item, "seed {seed}"),
                            None => assert_eq!(step.failed::<QueueError>(), QueueError::Empty, "seed {seed}"),
                        }
                        step
                    }
                    4 | 5 => {
                        let step = table.call(of, "get", &());
                        getting.push(step.call());
                        step
                    }
                    _ => {
                        let step = table.call(of, "put", &number.to_string());
                        putting.push((step.call(), number.to_string()));
                        step
                    }
                };
                // All that happens follows from who waited longest.
                let mut waited = 0;
                loop {
                    let call = if !putting.is_empty() && (room == 0 || items.len() < room) {
                        let (call, item) = putting.remove(0);
                        items.push_back(item);
                        assert_eq!(step.answer_to(call), Some(()), "seed {seed}");
                        call
                    } else if !getting.is_empty() && !items.is_empty() {
                        let call = getting.remove(0);
                        assert_eq!(step.answer_to(call), items.pop_front(), "seed {seed}");
                        call
                    } else {
                        break;
                    };
                    waited += usize::from(step.call != Some(call));
                }
                assert_eq!(step.answered.len(), waited, "seed {seed}: and nothing else");
                assert_eq!(table.object.items, items, "seed {seed}");
            }
        }
    }
}
