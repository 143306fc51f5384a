//! A warning, made an error to be seen.
#![deny(deprecated)]

use concoord::prelude::*;

#[concoord::object]
#[derive(Default, Serialize, Deserialize)]
pub struct Route {
    length: f64,
}

#[concoord::methods]
impl Route {
    pub fn turn(&mut self, angle: f64) -> f64 {
        self.length += angle.sin() * 2.0;
        self.length = f64::powf(self.length, 0.5);
        self.length.sqrt()
    }

    #[allow(deprecated)]
    pub fn silenced(&self) -> f64 {
        self.length.exp()
    }
}

fn main() {}
