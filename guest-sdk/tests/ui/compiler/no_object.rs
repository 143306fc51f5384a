#[derive(Default)]
pub struct Counter {
    value: i64,
}

#[concoord::methods]
impl Counter {
    pub fn value(&self) -> i64 {
        self.value
    }
}

fn main() {}
