//! Frames: `u32` little-endian length of what follows, `u8` version, postcard of `(GroupId, T)`.
//!
//! The length is checked against the receiver's cap before a byte is kept for it, so a hostile peer costs at most the
//! cap. A frame must be used up by its decoding: bytes left over are an error, as is a version we do not speak.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::GroupId;

/// The frame version this build speaks.
pub const VERSION: u8 = 1;

const LENGTH_BYTES: usize = 4;
/// Up to so many bytes are copied one by one for a guest's sake: there, the instruction that copies many costs more, as its range
/// is checked.
pub(crate) const BYTES_ONE_BY_ONE: usize = 16;
/// Room for a value that is encoded alone; most need no more.
const ENCODED_BYTES: usize = 24;
/// What a reader keeps of its buffer when it is drained, so that one large frame does not pin memory for ever.
const BUFFER_BYTES_KEPT: usize = 256 << 10;

/// Why bytes are not a frame. The connection they came on is closed: framing is lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced length is beyond what this side accepts.
    #[error("frame of {length} bytes, but at most {limit} are accepted")]
    TooLong {
        /// Announced bytes.
        length: usize,
        /// Accepted bytes.
        limit: usize,
    },
    /// The frame has no room for its version.
    #[error("empty frame")]
    Empty,
    /// The other side speaks a version that this build does not.
    #[error("frame version {found}, but this build speaks {VERSION}")]
    Version {
        /// The version in the frame.
        found: u8,
    },
    /// The body is not what was expected here.
    #[error("malformed frame body: {0}")]
    Malformed(postcard::Error),
    /// The body decoded, but bytes are left.
    #[error("{0} bytes left over after the frame's body")]
    Trailing(usize),
}

/// A message that may not be sent because it is beyond the receiver's cap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message of {size} bytes, but a frame holds at most {limit}")]
pub struct TooLarge {
    /// Bytes of the encoded message.
    pub size: usize,
    /// The most a frame may hold.
    pub limit: usize,
}

/// Appends one frame to `out`; leaves `out` as it was when the message is beyond `limit` bytes.
///
/// # Errors
/// [`TooLarge`] with both numbers.
pub fn encode<T: Serialize>(group: GroupId, message: &T, limit: usize, out: &mut Vec<u8>) -> Result<(), TooLarge> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    out.push(VERSION);
    let mut encoded = postcard::to_extend(&(group, message), core::mem::take(out))
        .expect("encoding of our own types into a growing buffer has no failure");
    let size = encoded.len() - start - LENGTH_BYTES;
    if size > limit {
        encoded.truncate(start);
        *out = encoded;
        return Err(TooLarge { size, limit });
    }
    let length = u32::try_from(size).expect("limits are below 4 GiB");
    encoded[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    *out = encoded;
    Ok(())
}

/// Turns a stream of bytes into frames, keeping at most one incomplete frame and what arrived behind it.
#[derive(Debug)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    limit: usize,
}

impl FrameReader {
    /// A reader that accepts frames of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> FrameReader {
        FrameReader { buffer: Vec::new(), start: 0, limit }
    }

    /// Adds bytes as they arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(BUFFER_BYTES_KEPT);
            self.start = 0;
        } else if self.start > BUFFER_BYTES_KEPT {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// [`FrameError`]; the reader is of no use after one.
    pub fn next_frame<T: DeserializeOwned>(&mut self) -> Result<Option<(GroupId, T)>, FrameError> {
        let unread = &self.buffer[self.start..];
        let Some((length, rest)) = unread.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > self.limit {
            return Err(FrameError::TooLong { length, limit: self.limit });
        }
        let Some(frame) = rest.get(..length) else {
            return Ok(None);
        };
        let message = decode(frame)?;
        self.start += LENGTH_BYTES + length;
        Ok(Some(message))
    }
}

/// Decodes the inside of one frame: version and body, without the length.
///
/// # Errors
/// [`FrameError`] when it is not exactly one body of this version.
pub fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<(GroupId, T), FrameError> {
    let (&version, body) = frame.split_first().ok_or(FrameError::Empty)?;
    if version != VERSION {
        return Err(FrameError::Version { found: version });
    }
    let (message, left) = postcard::take_from_bytes(body).map_err(FrameError::Malformed)?;
    if left.is_empty() { Ok(message) } else { Err(FrameError::Trailing(left.len())) }
}

/// Encodes one value without framing, for payloads inside frames and records.
///
/// # Panics
/// Never for the types of this crate: postcard fails only for maps and sequences of unknown length, which none has.
#[must_use]
pub fn to_bytes<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, Vec::with_capacity(ENCODED_BYTES))
        .expect("encoding of our own types into a growing buffer has no failure")
}

/// Appends one encoded value to `out`, without framing; takes no memory where `out` has room.
///
/// # Panics
/// As [`to_bytes`].
pub fn append<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    postcard::serialize_with_flavor(value, Appending(out))
        .expect("encoding of our own types into a growing buffer has no failure");
}

/// Appends what postcard writes.
struct Appending<'a>(&'a mut Vec<u8>);

impl Flavor for Appending<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        match bytes.len() {
            0..=BYTES_ONE_BY_ONE if cfg!(target_arch = "wasm32") => bytes.iter().for_each(|byte| self.0.push(*byte)),
            _ => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Decodes one value that must use up `bytes`.
///
/// # Errors
/// [`FrameError::Malformed`] or [`FrameError::Trailing`].
pub fn from_bytes<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, FrameError> {
    let (value, left) = postcard::take_from_bytes(bytes).map_err(FrameError::Malformed)?;
    if left.is_empty() { Ok(value) } else { Err(FrameError::Trailing(left.len())) }
}
