use concoord::prelude::*;

#[concoord::object]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    value: i64,
}

#[concoord::methods]
impl Counter {
    pub fn consume(self) -> i64 {
        self.value
    }

    pub fn consume_too(mut self) {
        self.value = 0;
    }

    pub fn typed(self: &Self) -> i64 {
        self.value
    }

    pub fn helper(value: i64) -> i64 {
        value
    }

    pub fn borrow<'a>(&'a self) -> i64 {
        self.value
    }
}

fn main() {
    // What stands in the block is there all the same: no error here.
    Counter::default().consume();
}
