//! Why something that an operator wants was not done.

use std::io;
use std::time::Duration;

use concoord_wire::SessionId;
use concoord_wire::client::{AdministerError, CallError};
use concoord_wire::objects::ObjectError;

use crate::addresses::AddressError;
use crate::error::{Tried, rounded, what_was_tried};

/// Why something that an operator wants was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The addresses are not addresses.
    #[error(transparent)]
    Addresses(#[from] AddressError),
    /// This machine gives no UDP socket.
    #[error("can't start: {reason}")]
    Setup {
        /// One line.
        reason: String,
    },
    /// Nobody did it in time. It may be under way.
    #[error("not done within {}{}", rounded(*.after), what_was_tried(.tried))]
    NoAnswer {
        /// How long was tried.
        after: Duration,
        /// The replicas that were asked and what they said last.
        tried: Vec<Tried>,
    },
    /// The leader does not change the membership so.
    #[error(transparent)]
    Refused(AdministerError),
    /// The cluster does not do this with an object.
    #[error(transparent)]
    Object(ObjectError),
    /// The session is not open.
    #[error("no session {session} is open")]
    NoSession {
        /// Which.
        session: SessionId,
    },
    /// The cluster gives no backup.
    #[error(transparent)]
    NoBackup(CallError),
    /// Whoever was given a piece of the backup could not keep it.
    #[error(transparent)]
    NotTaken(io::Error),
}
