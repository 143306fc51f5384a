//! Attributes above what they are not for.

#[concoord::methods]
#[derive(Clone)]
pub struct Counter {
    value: i64,
}

#[concoord::object]
impl Counter {}

#[concoord::object]
#[derive(Clone)]
pub enum Switch {
    On,
    Off,
}

#[concoord::data]
fn nothing() {}

#[concoord::data]
union Bits {
    number: u32,
}

#[concoord::object(name = "counter")]
#[derive(Clone)]
pub struct Named;

#[concoord::methods]
impl Default for Other {
    fn default() -> Self {
        Other
    }
}

#[concoord::methods]
impl self::Other {
    pub fn look(&self) {}
}

pub struct Other;

fn main() {}
