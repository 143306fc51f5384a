use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Display;
use std::io;

use concoord::prelude::*;

#[concoord::object]
#[derive(Default, Serialize, Deserialize)]
pub struct Names {
    all: Vec<String>,
}

#[concoord::methods]
impl Names {
    pub fn add(&mut self, name: &str) {
        self.all.push(name.into());
    }

    pub fn add_all(&mut self, names: &[String]) {
        self.all.extend_from_slice(names);
    }

    pub fn add_one(&mut self, name: Cow<'static, str>) {
        self.all.push(name.into());
    }

    pub fn show(&mut self, what: impl Display) {
        self.all.push(what.to_string());
    }

    pub fn count(&self) -> usize {
        self.all.len()
    }

    pub fn before(&self, steps: Option<isize>) -> Option<String> {
        steps.map(|steps| steps.to_string())
    }

    pub fn lengths(&self) -> HashMap<String, u32> {
        HashMap::new()
    }

    pub fn copy(&self) -> Self {
        Names { all: self.all.clone() }
    }

    pub fn read(&self) -> io::Result<String> {
        Ok(String::new())
    }
}

fn main() {}
