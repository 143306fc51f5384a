use concoord::prelude::*;

#[concoord::object]
#[derive(Serialize, Deserialize)]
pub struct Counter {
    value: i64,
}

#[concoord::methods]
impl Counter {
    pub fn new() -> Self {
        Counter { value: 0 }
    }

    pub fn new(value: i64) -> Self {
        Counter { value }
    }

    pub fn value(&self) -> i64 {
        self.value
    }

    pub fn value(&mut self, value: i64) {
        self.value = value;
    }
}

fn main() {}
