#[concoord::data]
pub struct Entry {
    place: usize,
}

#[concoord::data]
pub enum Change {
    Gone,
    Moved { to: Vec<usize> },
}

fn main() {}
