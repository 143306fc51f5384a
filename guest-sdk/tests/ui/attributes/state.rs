use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use concoord::prelude::*;

#[concoord::object]
#[derive(Default, Serialize, Deserialize)]
pub struct Members {
    all: HashSet<String>,
    seen: HashMap<String, SystemTime>,
    limit: usize,
}

#[concoord::methods]
impl Members {
    pub fn add(&mut self, member: String) {
        self.all.insert(member);
    }
}

#[concoord::object]
#[derive(Default, Serialize, Deserialize)]
pub struct Cell<T> {
    value: T,
}

fn main() {}
