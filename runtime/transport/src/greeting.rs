//! The first frame each way. It is read to its exact end, so what follows is left for the [`crate::Inbox`].

use concoord_wire::GroupId;
use concoord_wire::codec::{self, FrameError};
use quinn::{ReadExactError, RecvStream, SendStream, WriteError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::HELLO_BYTES_MAX;

/// Why there is no first frame.
#[derive(Debug)]
pub(crate) enum GreetingError {
    /// What came is not one.
    Malformed(FrameError),
    /// The stream ended before it.
    Ended,
    /// The connection ended before it.
    Lost(quinn::ConnectionError),
}

pub(crate) async fn write<T: Serialize>(send: &mut SendStream, greeting: &T) -> Result<(), GreetingError> {
    let mut frame = Vec::new();
    codec::encode(GroupId(0), greeting, HELLO_BYTES_MAX, &mut frame).expect("a greeting is far below its cap");
    send.write_all(&frame).await.map_err(|error| match error {
        WriteError::ConnectionLost(error) => GreetingError::Lost(error),
        WriteError::Stopped(_) | WriteError::ClosedStream | WriteError::ZeroRttRejected => GreetingError::Ended,
    })
}

pub(crate) async fn read<T: DeserializeOwned>(recv: &mut RecvStream) -> Result<T, GreetingError> {
    let mut length = [0; 4];
    recv.read_exact(&mut length).await.map_err(of_read)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > HELLO_BYTES_MAX {
        return Err(GreetingError::Malformed(FrameError::TooLong { length, limit: HELLO_BYTES_MAX }));
    }
    let mut frame = vec![0; length];
    recv.read_exact(&mut frame).await.map_err(of_read)?;
    let (_, greeting) = codec::decode::<T>(&frame).map_err(GreetingError::Malformed)?;
    Ok(greeting)
}

fn of_read(error: ReadExactError) -> GreetingError {
    match error {
        ReadExactError::ReadError(quinn::ReadError::ConnectionLost(error)) => GreetingError::Lost(error),
        ReadExactError::FinishedEarly(_) | ReadExactError::ReadError(_) => GreetingError::Ended,
    }
}
