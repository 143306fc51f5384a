//! Whether a history of concurrent operations could have happened one after the other: linearizability.
//!
//! [`check`] is the algorithm of Wing and Gong as improved by Lowe (Testing for Linearizability, 2016) and by Horn and
//! Kroening (Faster Linearizability Checking via P-Compositionality, 2015): depth first, with memory of what was tried.
//! Histories are cut into independent objects before they come here: [`model`] has one model for each.
//!
//! It is written here because no library was found that is kept and fits: `todc-utils` 0.1 (last release in 2023) has
//! no operation whose end is unknown and takes quadratic time; `stateright` 0.31 tries orders without memory, has one
//! operation per thread, and brings a web server.
//!
//! | file         | role                                                              |
//! |--------------|-------------------------------------------------------------------|
//! | `model.rs`   | what a register, the lock and the counter do                      |
//! | `search.rs`  | the search for an order                                           |
//! | `counter.rs` | increments tell their order, so a counter is checked in one pass  |
//! | `brute.rs`   | all orders, one by one: what the others are tested against        |

#[cfg(test)]
mod brute;
pub mod counter;
pub mod model;
mod search;
#[cfg(test)]
mod tests;

pub use search::check;

/// One operation of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<O, R> {
    /// Its place in the order of all beginnings and ends.
    pub invoked: u64,
    /// Where it ended; [`NEVER`] if it may take effect at any time later.
    pub ended: u64,
    /// What was asked.
    pub operation: O,
    /// What was answered; `None` where nobody knows: it took effect once between its ends, or never.
    pub outcome: Option<R>,
}

/// The end of an operation that has none.
pub const NEVER: u64 = u64::MAX;

/// What an object does, one operation after the other.
pub trait Model: Sized {
    /// What it remembers.
    type State: Clone + Eq + std::hash::Hash + std::fmt::Debug;
    /// What it is asked.
    type Operation: PartialEq;
    /// What it answers.
    type Outcome;

    /// The model alone.
    fn plain() -> Self;

    /// The model for a history. It may keep of it what narrows the search.
    fn of(_entries: &[Entry<Self::Operation, Self::Outcome>]) -> Self {
        Self::plain()
    }

    /// The object as it starts.
    fn initial(&self) -> Self::State;

    /// The state after an operation, if it may give this outcome. For an unknown one, `None` also where the operation
    /// can't have happened because of what others of the history returned.
    fn step(
        &self,
        state: &Self::State,
        operation: &Self::Operation,
        outcome: Option<&Self::Outcome>,
    ) -> Option<Self::State>;

    /// Whether an operation with this outcome leaves every state as it is. Such a one is put into the order as soon as it
    /// fits: whatever comes after it may come after it there as well.
    fn changes_nothing(operation: &Self::Operation, outcome: &Self::Outcome) -> bool;
}

/// Why a history is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no order.
    Impossible {
        /// How many operations fit into the longest order found.
        fitted: usize,
        /// Index of the operation that ended before it could fit.
        blocked: usize,
        /// The state before it, in words.
        state: String,
    },
    /// The search took more than this many steps. Histories are made so that this does not happen.
    TooHard {
        /// The steps.
        steps: u64,
    },
}
