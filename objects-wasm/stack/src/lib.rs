//! A stack: what was put on last is taken off first.

use concoord::prelude::*;

/// A stack of strings that starts empty.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Stack {
    items: Vec<String>,
}

#[concoord::methods]
impl Stack {
    /// Puts `item` on top.
    pub fn append(&mut self, item: String) {
        self.items.push(item);
    }

    /// Takes the item on top off, and returns it, or nothing if there is none.
    pub fn pop(&mut self) -> Option<String> {
        self.items.pop()
    }

    /// How many items are on it.
    pub fn get_size(&self) -> u64 {
        self.items.len() as u64
    }

    /// All items, the one on top last.
    pub fn get_stack(&self) -> Vec<String> {
        self.items.clone()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn the_last_is_the_first() {
        let mut stack = Stack::default();
        assert_eq!(stack.pop(), None);
        for item in ["a", "b", "b"] {
            stack.append(item.into());
        }
        assert_eq!((stack.get_size(), stack.get_stack()), (3, ["a", "b", "b"].map(String::from).to_vec()));
        assert_eq!([stack.pop(), stack.pop(), stack.pop()], ["b", "b", "a"].map(|item| Some(item.into())));
        assert_eq!((stack.pop(), stack.get_size()), (None, 0));
    }

    /// The model names each item by its place, so that a wrong one is seen.
    #[test]
    fn any_calls_leave_what_was_put_on_and_not_taken_off() {
        for seed in 0..200 {
            let (mut chance, mut stack, mut depth) = (StdRng::seed_from_u64(seed), Stack::default(), 0_u64);
            for _ in 0..200 {
                if chance.random_bool(0.55) {
                    stack.append(depth.to_string());
                    depth += 1;
                } else {
                    let expected = depth.checked_sub(1);
                    depth = depth.saturating_sub(1);
                    assert_eq!(stack.pop(), expected.map(|place| place.to_string()), "seed {seed}");
                }
                assert_eq!(stack.get_size(), depth, "seed {seed}");
            }
            assert_eq!(stack.get_stack(), (0..depth).map(|place| place.to_string()).collect::<Vec<_>>());
            let moved = Stack::import(&stack.export()).expect("its own export");
            assert_eq!(moved.get_stack(), stack.get_stack(), "seed {seed}");
        }
        assert!(Stack::import(&[1]).is_err());
    }
}
