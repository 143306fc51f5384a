//! The counter of the quick start: one number that every client sees alike.

use concoord::prelude::*;

/// A counter that starts at zero.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Counter {
    value: i64,
}

#[concoord::methods]
impl Counter {
    /// Adds one and returns the new value.
    pub fn increment(&mut self) -> i64 {
        self.value += 1;
        self.value
    }

    /// Subtracts one and returns the new value.
    pub fn decrement(&mut self) -> i64 {
        self.value -= 1;
        self.value
    }

    /// The value.
    pub fn getvalue(&self) -> i64 {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use concoord::wire::abi::{Answer, Rejection};
    use concoord::wire::codec::to_bytes;

    use super::*;

    fn call(counter: &mut Counter, method: &str) -> Answer {
        counter.call(method, &[])
    }

    #[test]
    fn counts_up_and_down() {
        let mut counter = Counter::create(&[]).expect("takes no arguments");
        let answers = ["getvalue", "increment", "increment", "decrement", "decrement", "decrement", "getvalue"]
            .map(|method| call(&mut counter, method));
        assert_eq!(answers, [0, 1, 2, 1, 0, -1, -1].map(|value: i64| Answer::Returned(to_bytes(&value))));
    }

    #[test]
    fn goes_on_where_its_export_was() {
        let mut counter = Counter::default();
        for _ in 0..1000 {
            counter.increment();
        }
        let mut moved = Counter::import(&counter.export()).expect("its own export");
        assert_eq!(moved.increment(), 1001);
        assert!(Counter::import(&[]).is_err());
    }

    #[test]
    #[should_panic(expected = "overflow")]
    fn never_wraps_around() {
        let mut counter = Counter { value: i64::MAX };
        counter.increment();
    }

    #[test]
    fn says_what_it_does_not_know() {
        let mut counter = Counter::default();
        assert_eq!(call(&mut counter, "reset"), Answer::Rejected(Rejection::UnknownMethod));
        let surplus = counter.call("increment", &[1, 2]);
        let why = "0 taken, bytes left over: 2".into();
        assert_eq!(surplus, Answer::Rejected(Rejection::Arguments(why)));
        assert_eq!(counter.getvalue(), 0);
    }
}
