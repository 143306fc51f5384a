//! What clients ask of the simulated objects, and what these answer.

use bytes::Bytes;
use concoord::wire::abi::{Answer, Rejection};
use concoord::wire::codec::{self, FrameError};
use concoord::wire::{ObjectId, codec::to_bytes};

use super::checks::Violation;
use super::objects::{COUNTER, FRAGILE, Grant, LOCK, REGISTER};

/// How many registers clients use.
pub const KEYS: u32 = 5;

/// Stands for the answer that an object is suspended.
pub const SUSPENDED: Answer = Answer::Rejected(Rejection::UnknownMethod);

/// One operation on one of the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Counter: adds one.
    Increment,
    /// Counter: reads.
    GetValue,
    /// Register: sets. Every value is written once.
    Write {
        /// Which register.
        key: u32,
        /// To what.
        value: u64,
    },
    /// Register: reads.
    Read {
        /// Which register.
        key: u32,
    },
    /// Register: sets if it holds what is expected.
    CompareAndSet {
        /// Which register.
        key: u32,
        /// What it must hold.
        expected: Option<u64>,
        /// To what.
        value: u64,
    },
    /// Lock: takes it.
    Acquire {
        /// Who.
        owner: u32,
    },
    /// Lock: frees it.
    Release {
        /// As given by the grant.
        token: u64,
    },
    /// Lock: reads.
    Holder,
    /// What fails now and then is touched, so that it is told of the session's end. It may be suspended.
    Touch,
}

/// What an operation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The counter's value, after an increment.
    Count(i64),
    /// A register was set.
    Done,
    /// What a register holds.
    Value(Option<u64>),
    /// Whether a register was set, or a lock freed.
    Whether(bool),
    /// The token of a grant, if there was one.
    Token(Option<u64>),
    /// Who holds the lock.
    Holder(Option<Grant>),
}

impl Operation {
    /// The object that it is for.
    #[must_use]
    pub fn object(&self) -> ObjectId {
        match self {
            Operation::Increment | Operation::GetValue => COUNTER,
            Operation::Write { .. } | Operation::Read { .. } | Operation::CompareAndSet { .. } => REGISTER,
            Operation::Acquire { .. } | Operation::Release { .. } | Operation::Holder => LOCK,
            Operation::Touch => FRAGILE,
        }
    }

    /// The register that it is for, if it is for one.
    #[must_use]
    pub fn key(&self) -> Option<u32> {
        match *self {
            Operation::Write { key, .. } | Operation::Read { key } | Operation::CompareAndSet { key, .. } => Some(key),
            _ => None,
        }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_query(&self) -> bool {
        matches!(self, Operation::GetValue | Operation::Read { .. } | Operation::Holder)
    }

    /// The name of its method, and the encoded arguments.
    #[must_use]
    pub fn encoded(&self) -> (String, Bytes) {
        let (method, arguments) = match *self {
            Operation::Increment => ("increment", Vec::new()),
            Operation::GetValue => ("getvalue", Vec::new()),
            Operation::Write { key, value } => ("write", to_bytes(&(key, value))),
            Operation::Read { key } => ("read", to_bytes(&key)),
            Operation::CompareAndSet { key, expected, value } => ("compare_and_set", to_bytes(&(key, expected, value))),
            Operation::Acquire { owner } => ("acquire", to_bytes(&owner)),
            Operation::Release { token } => ("release", to_bytes(&token)),
            Operation::Holder => ("holder", Vec::new()),
            Operation::Touch => ("touch", Vec::new()),
        };
        (method.into(), arguments.into())
    }

    /// What an answer to it says.
    ///
    /// # Errors
    /// [`Violation`] when the method did not return, or something else.
    pub fn outcome(&self, answer: &Answer) -> Result<Outcome, Violation> {
        if (self, answer) == (&Operation::Touch, &SUSPENDED) {
            return Ok(Outcome::Done);
        }
        let Answer::Returned(bytes) = answer else {
            return Err(Violation::new(format!("{self:?} was answered with {answer:?}")));
        };
        self.decoded(bytes).map_err(|error| Violation::new(format!("{self:?} was answered with {bytes:?}: {error}")))
    }

    fn decoded(&self, bytes: &[u8]) -> Result<Outcome, FrameError> {
        Ok(match self {
            Operation::Increment | Operation::GetValue => Outcome::Count(codec::from_bytes(bytes)?),
            Operation::Write { .. } => codec::from_bytes::<()>(bytes).map(|()| Outcome::Done)?,
            Operation::Read { .. } => Outcome::Value(codec::from_bytes(bytes)?),
            Operation::CompareAndSet { .. } | Operation::Release { .. } => Outcome::Whether(codec::from_bytes(bytes)?),
            Operation::Acquire { .. } => Outcome::Token(codec::from_bytes(bytes)?),
            Operation::Holder => Outcome::Holder(codec::from_bytes(bytes)?),
            Operation::Touch => codec::from_bytes::<u64>(bytes).map(|_| Outcome::Done)?,
        })
    }
}
