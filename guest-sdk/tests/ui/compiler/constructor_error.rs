use concoord::prelude::*;

#[concoord::object]
#[derive(Serialize, Deserialize)]
pub struct Counter {
    value: i64,
}

pub struct Negative;

#[concoord::methods]
impl Counter {
    pub fn new(value: i64) -> Result<Self, Negative> {
        if value < 0 { Err(Negative) } else { Ok(Counter { value }) }
    }

    pub fn value(&self) -> i64 {
        self.value
    }
}

fn main() {}
