use concoord::prelude::*;

#[concoord::object]
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    value: i64,
}

#[concoord::methods]
impl Counter {
    pub async fn wait(&self) -> i64 {
        self.value
    }

    pub unsafe fn poke(&mut self) {
        self.value = 0;
    }

    pub fn set<T: Into<i64>>(&mut self, value: T) {
        self.value = value.into();
    }

    pub fn add(&mut self, (first, second): (i64, i64)) {
        self.value += first + second;
    }

    pub fn named(&self) -> i64 {
        self.value
    }

    #[cfg(target_pointer_width = "64")]
    pub fn wide(&self) -> i64 {
        self.value
    }
}

fn main() {}
