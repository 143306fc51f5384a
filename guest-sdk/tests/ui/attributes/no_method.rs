use concoord::prelude::*;

#[concoord::object]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    value: i64,
}

#[concoord::methods]
impl Counter {
    fn increment(&mut self) -> i64 {
        self.value += 1;
        self.value
    }
}

fn main() {
    Counter::default().increment();
}
