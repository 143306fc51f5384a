//! The receiving half of a connection.

use std::mem;

use bytes::Bytes;
use concoord_wire::GroupId;
use concoord_wire::codec::{FrameError, FrameReader};
use quinn::{ConnectionError, ReadError, RecvStream};
use serde::de::DeserializeOwned;

use crate::limits::PIECES_MAX;
use crate::quic::{self, code};

/// Why nothing more arrives.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// The other end closed the connection and said why, or this end closed it.
    #[error("{reason}")]
    Closed {
        /// One line.
        reason: String,
    },
    /// The other end is gone without a word.
    #[error("{reason}")]
    Lost {
        /// One line.
        reason: String,
    },
    /// What arrived is no frame that belongs here; the connection is closed with that reason.
    #[error("garbage arrived: {0}")]
    Malformed(FrameError),
    /// A frame is for a log group that this build does not have; the connection is closed with that reason.
    #[error("a frame is for log group {found}, but this build has only group 0")]
    Group {
        /// The group in the frame.
        found: GroupId,
    },
}

impl ReceiveError {
    /// Whether the other end sent what no Concoord process sends.
    #[must_use]
    pub fn is_garbage(&self) -> bool {
        matches!(self, ReceiveError::Malformed(_) | ReceiveError::Group { .. })
    }
}

/// The receiving half of a connection. When it is dropped, the other end can send no more.
#[derive(Debug)]
pub struct Inbox {
    quic: quinn::Connection,
    recv: RecvStream,
    frames: FrameReader,
    pieces: Vec<Bytes>,
}

impl Inbox {
    pub(crate) fn new(quic: quinn::Connection, recv: RecvStream, frame_bytes_max: usize) -> Inbox {
        Inbox { quic, recv, frames: FrameReader::new(frame_bytes_max), pieces: vec![Bytes::new(); PIECES_MAX] }
    }

    /// The next frame, waiting for it; `None` when the other end has said all and will send no more. Cancel-safe.
    ///
    /// # Errors
    /// [`ReceiveError`]; the inbox is of no use after one.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ReceiveError> {
        loop {
            if let Some(message) = self.try_next()? {
                return Ok(Some(message));
            }
            match self.recv.read_chunks(&mut self.pieces).await {
                Ok(Some(count)) => {
                    for piece in &mut self.pieces[..count] {
                        self.frames.push(&mem::take(piece));
                    }
                }
                Ok(None) => return Ok(None),
                Err(error) => return of_read(error),
            }
        }
    }

    /// The next frame of those that [`Inbox::next`] took from the network together with the one it returned, without
    /// waiting: a burst is handled as one.
    ///
    /// # Errors
    /// As [`Inbox::next`].
    pub fn try_next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ReceiveError> {
        let error = match self.frames.next_frame() {
            Ok(None) => return Ok(None),
            Ok(Some((GroupId(0), message))) => return Ok(Some(message)),
            Ok(Some((found, _))) => ReceiveError::Group { found },
            Err(error) => ReceiveError::Malformed(error),
        };
        self.quic.close(code::MALFORMED, error.to_string().as_bytes());
        Err(error)
    }
}

/// `Ok(None)` when the other end said all there was.
fn of_read<T>(error: ReadError) -> Result<Option<T>, ReceiveError> {
    match error {
        ReadError::ConnectionLost(error) => match &error {
            ConnectionError::ApplicationClosed(close) if close.error_code == code::DONE => Ok(None),
            ConnectionError::ApplicationClosed(_)
            | ConnectionError::ConnectionClosed(_)
            | ConnectionError::LocallyClosed => Err(ReceiveError::Closed { reason: quic::describe(&error) }),
            _ => Err(ReceiveError::Lost { reason: quic::describe(&error) }),
        },
        ReadError::Reset(_) => Err(ReceiveError::Closed { reason: "the other side gave the stream up".into() }),
        ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => Ok(None),
    }
}
