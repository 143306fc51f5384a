//! A door at which callers wait.

use concoord::prelude::*;

/// A door that somebody opens.
#[concoord::object]
#[derive(Default, Serialize, Deserialize)]
pub struct Door {
    waiting: WaitQueue<String>,
}

#[concoord::methods]
impl Door {
    /// Waits to be let in. Gives the word of whoever opens.
    pub fn knock(&mut self, waiter: Waiter<String>) {
        self.waiting.push(waiter);
    }

    /// Lets in who has waited longest. Says whether there was somebody.
    pub fn open(&mut self, cx: &mut Context, word: String) -> bool {
        self.waiting.pop().map(|waiter| waiter.answer(cx, &word)).is_some()
    }
}
