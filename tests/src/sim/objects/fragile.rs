//! An object that fails now and then where nobody waits for it.

use concoord::prelude::*;
use concoord::wire::Position;

/// What it was told so far.
#[concoord::object]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Fragile {
    touched: u64,
    ended: u64,
}

#[concoord::methods]
impl Fragile {
    /// Makes the caller's session one whose end it is told of.
    pub fn touch(&mut self) -> u64 {
        self.touched += 1;
        self.touched
    }
}

impl Fragile {
    /// A session ended. At every other position it can't bear that, so telling it again may go well.
    ///
    /// # Errors
    /// What it says as it traps.
    pub(super) fn end(&mut self, position: Position) -> Result<(), String> {
        if position.0.is_multiple_of(2) {
            return Err(format!("it can't bear position {position}"));
        }
        self.ended += 1;
        Ok(())
    }
}
