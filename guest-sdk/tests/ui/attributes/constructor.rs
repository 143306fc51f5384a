use concoord::prelude::*;

#[concoord::object]
#[derive(Serialize, Deserialize)]
pub struct Counter {
    value: i64,
}

#[concoord::methods]
impl Counter {
    pub fn new(value: i64) -> Option<Counter> {
        (value >= 0).then_some(Counter { value })
    }

    pub fn value(&self) -> i64 {
        self.value
    }
}

fn main() {}
