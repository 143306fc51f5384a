//! What the targets share: modules out of any bytes.

#[allow(dead_code, unreachable_pub, reason = "the executor's tests use all of it")]
#[path = "../../runtime/executor/tests/support/generated.rs"]
mod generated;

/// The module that an input stands for: bytes that begin like one are one, and of others an object is made, in which
/// most things fit. `None` when they do not do for that.
pub fn module(input: &[u8]) -> Option<Vec<u8>> {
    if input.starts_with(b"\0asm") {
        return Some(input.to_vec());
    }
    generated::object_from(input).ok().map(|(module, _)| module)
}

/// Counts inputs, and says now and then how many of them were accepted.
#[derive(Debug)]
pub struct Accepted {
    all: u64,
    accepted: u64,
}

impl Accepted {
    /// None yet.
    pub const fn none() -> Accepted {
        Accepted { all: 0, accepted: 0 }
    }

    /// One more.
    pub fn count(&mut self, accepted: bool) {
        self.all += 1;
        self.accepted += u64::from(accepted);
        if self.all.is_power_of_two() {
            eprintln!("accepted: {} of {}", self.accepted, self.all);
        }
    }
}
