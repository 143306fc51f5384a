//! The sending half of a connection.

use std::future;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use concoord_wire::GroupId;
use concoord_wire::codec;
use quinn::SendStream;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::{self, Instant, timeout};

use crate::limits::{PATIENT_BYTES_MAX, QUEUE_BYTES_KEPT};
use crate::quic::{self, code};
use crate::role::Caps;

/// Why a frame was not taken. Nothing of it is sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It is beyond what the other end accepts.
    #[error(transparent)]
    TooLarge(codec::TooLarge),
    /// The other end reads too slowly: as much waits as may.
    #[error("the other side reads too slowly: {limit} bytes wait already")]
    Full {
        /// Bytes that may wait.
        limit: usize,
    },
    /// The connection has ended.
    #[error("the connection is closed")]
    Closed,
}

/// The sending half of a connection. Clones share it. When the last one is dropped, what waits is still sent and then
/// the other end's [`crate::Inbox`] ends; to be sure that it arrives before the connection goes, use
/// [`Outbox::finish`].
#[derive(Clone, Debug)]
pub struct Outbox {
    handle: Arc<Handle>,
}

/// Ends the writer when the last outbox goes.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    quic: quinn::Connection,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.end(State::Ending);
    }
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
    caps: Caps,
}

#[derive(Debug)]
struct Queue {
    bytes: Vec<u8>,
    leaves: Leaves,
    /// Bytes that the writer has taken and QUIC has not.
    in_flight: usize,
    /// The other end has received everything up to the end of the stream.
    received: bool,
    state: State,
}

/// When what waits goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    /// Nothing waits.
    Never,
    /// All that waits has time until then.
    At(Instant),
    AtOnce,
}

/// A queue only moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Open,
    /// Takes no more; what waits is sent, then the stream ends.
    Ending,
    /// The same, and then the connection is closed.
    Finishing,
    /// Nothing can be sent.
    Closed,
}

impl Outbox {
    pub(crate) fn spawn(quic: quinn::Connection, send: SendStream, caps: Caps) -> Outbox {
        let queue =
            Queue { bytes: Vec::new(), leaves: Leaves::Never, in_flight: 0, received: false, state: State::Open };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), wake: Notify::new(), caps });
        tokio::spawn(write(Arc::clone(&shared), quic.clone(), send));
        Outbox { handle: Arc::new(Handle { shared, quic }) }
    }

    /// Queues one frame; it goes out with everything else that is queued when the writer gets to run. Never waits.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn push<T: Serialize>(&self, message: &T) -> Result<(), SendError> {
        self.push_within(message, Duration::ZERO)
    }

    /// The same with a frame that may wait for others: it goes out with the next that may not, when there are many, and
    /// after `patience` at the latest.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn push_within<T: Serialize>(&self, message: &T, patience: Duration) -> Result<(), SendError> {
        let shared = &self.handle.shared;
        let mut queue = shared.lock();
        if queue.state != State::Open {
            return Err(SendError::Closed);
        }
        if queue.bytes.len() + queue.in_flight >= shared.caps.queue {
            return Err(SendError::Full { limit: shared.caps.queue });
        }
        codec::encode(GroupId(0), message, shared.caps.send, &mut queue.bytes).map_err(SendError::TooLarge)?;
        let before = queue.leaves;
        queue.leaves = match before {
            Leaves::AtOnce => Leaves::AtOnce,
            _ if patience.is_zero() || queue.bytes.len() >= PATIENT_BYTES_MAX => Leaves::AtOnce,
            Leaves::Never => Leaves::At(Instant::now() + patience),
            at @ Leaves::At(_) => at,
        };
        let news = queue.leaves != before;
        drop(queue);
        if news {
            shared.wake.notify_one();
        }
        Ok(())
    }

    /// Bytes that wait to be sent.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        let queue = self.handle.shared.lock();
        queue.bytes.len() + queue.in_flight
    }

    /// Waits until the connection has ended, and says why in one line. Cancel-safe.
    pub async fn closed(&self) -> String {
        quic::describe(&self.handle.quic.closed().await)
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.handle.quic.close_reason().is_some()
    }

    /// Closes the connection at once, giving the other end a reason. What waits is lost.
    pub fn close(&self, reason: &str) {
        self.handle.shared.end(State::Closed);
        self.handle.quic.close(code::GOING, reason.as_bytes());
    }

    /// Takes no more frames, sends what waits, and closes the connection when the other end has received all, or when
    /// `limit` has passed. Gives whether all was received.
    pub async fn finish(&self, limit: Duration) -> bool {
        self.handle.shared.end(State::Finishing);
        if timeout(limit, self.handle.quic.closed()).await.is_err() {
            self.close("it did not take what was left to say in time");
        }
        // QUIC's own task says farewell when it gets to run; the runtime may end right after this.
        tokio::task::yield_now().await;
        self.handle.shared.lock().received
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code that holds the lock leaves the queue half changed when it panics.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves on to `state` unless the queue is further already.
    fn end(&self, state: State) {
        let mut queue = self.lock();
        queue.state = queue.state.max(state);
        if state == State::Closed {
            queue.bytes = Vec::new();
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Swaps what is to leave now into `burst`, whose bytes QUIC has taken; says in which state the queue then was, and when
    /// something leaves that does not now.
    fn take(&self, burst: &mut Vec<u8>) -> (State, Option<Instant>) {
        burst.clear();
        burst.shrink_to(QUEUE_BYTES_KEPT);
        let mut queue = self.lock();
        if let Leaves::At(at) = queue.leaves
            && queue.state == State::Open
            && Instant::now() < at
        {
            queue.in_flight = 0;
            return (queue.state, Some(at));
        }
        mem::swap(&mut queue.bytes, burst);
        queue.leaves = Leaves::Never;
        queue.in_flight = burst.len();
        (queue.state, None)
    }
}

/// The writer task: one wake-up and one write for each burst of frames.
async fn write(shared: Arc<Shared>, quic: quinn::Connection, mut send: SendStream) {
    let lost = async {
        quic.closed().await;
    };
    tokio::pin!(lost);
    let mut burst = Vec::new();
    let ending = loop {
        let (state, leaves) = shared.take(&mut burst);
        if !burst.is_empty() {
            if send.write_all(&burst).await.is_err() {
                break State::Closed;
            }
            continue;
        }
        if state != State::Open {
            break state;
        }
        tokio::select! {
            biased;
            () = shared.wake.notified() => {}
            () = sleep_until(leaves) => {}
            () = &mut lost => break State::Closed,
        }
    };
    if ending == State::Closed {
        shared.end(State::Closed);
        return;
    }
    // Fails only when the connection is gone, and then so does the wait.
    let _ = send.finish();
    let received = matches!(send.stopped().await, Ok(None));
    shared.lock().received = received;
    if shared.lock().state >= State::Finishing {
        quic.close(code::DONE, b"");
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => time::sleep_until(at).await,
        None => future::pending().await,
    }
}
