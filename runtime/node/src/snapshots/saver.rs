//! The thread that saves and receives snapshots, so that a big one delays neither the log nor the driver.

use std::fmt;
use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use concoord_wire::Slot;
use concoord_wire::checkpoint::Checkpoint;
use tokio::sync::mpsc::UnboundedSender;

use super::{Incoming, LoadedSnapshot, SnapshotError, Snapshots};
use crate::log::{LogEvent, PanicGuard};

/// Makes the body of a snapshot, on the thread that saves it.
pub type Body = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// The driver's side of the thread. What comes of a request is a [`LogEvent`]. Dropped, it waits until what was asked for is
/// done.
#[derive(Debug)]
pub struct Saver {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    snapshots: Snapshots,
}

enum Job {
    Save { checkpoint: Checkpoint, body: Body },
    Receive { slot: Slot, offset: u64, bytes: Bytes },
    Complete { slot: Slot },
    Drop { after: Slot, before: Slot },
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job")
    }
}

impl Saver {
    /// Starts the thread, which tells `events` what comes of each request.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(snapshots: Snapshots, events: UnboundedSender<LogEvent>) -> io::Result<Saver> {
        let (jobs, queue) = mpsc::channel();
        let store = snapshots.clone();
        let thread = thread::Builder::new().name("concoord-snapshots".into()).spawn(move || {
            let guard = PanicGuard(events);
            Saving { snapshots: store, incoming: None, events: &guard.0 }.run(&queue);
        })?;
        Ok(Saver { jobs: Some(jobs), thread: Some(thread), snapshots })
    }

    /// Saves a snapshot. [`LogEvent::Saved`] or [`LogEvent::NotSaved`] follows.
    pub fn save(&self, checkpoint: Checkpoint, body: Body) {
        self.ask(Job::Save { checkpoint, body });
    }

    /// Removes the snapshots of slots above `after` and below `before`, behind all that was asked for before. One that can't be
    /// removed is replaced by a newer one later, as any.
    pub fn remove_between(&self, after: Slot, before: Slot) {
        self.ask(Job::Drop { after, before });
    }

    /// Takes a part of the snapshot of a slot; parts of another one are dropped. [`LogEvent::Received`] or
    /// [`LogEvent::NotReceived`] follows; also for a part that does not begin where the last one ended, which is not taken.
    pub fn receive(&self, slot: Slot, offset: u64, bytes: Bytes) {
        self.ask(Job::Receive { slot, offset, bytes });
    }

    /// All parts are there. [`LogEvent::Installed`] or [`LogEvent::NotReceived`] follows.
    pub fn complete(&self, slot: Slot) {
        self.ask(Job::Complete { slot });
    }

    /// The snapshots, for reading them.
    #[must_use]
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    fn ask(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // A thread that panicked has said so, and takes nothing more.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Its panic was an event. It holds the directory, which is free when it has ended.
            let _ = thread.join();
        }
    }
}

/// What the thread holds.
struct Saving<'a> {
    snapshots: Snapshots,
    incoming: Option<Incoming>,
    events: &'a UnboundedSender<LogEvent>,
}

impl Saving<'_> {
    fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        for job in jobs {
            let event = match job {
                Job::Drop { after, before } => {
                    report_not_removed(self.snapshots.remove_between(after, before));
                    continue;
                }
                Job::Save { checkpoint, body } => match self.snapshots.save(&checkpoint, &body()) {
                    Ok(file) => LogEvent::Saved(file),
                    Err(error) => LogEvent::NotSaved { slot: checkpoint.slot, error },
                },
                Job::Receive { slot, offset, bytes } => match self.receive(slot, offset, &bytes) {
                    Ok(have) => LogEvent::Received { slot, have },
                    Err(error) => LogEvent::NotReceived { slot, error },
                },
                Job::Complete { slot } => match self.complete(slot) {
                    Ok(loaded) => LogEvent::Installed(loaded),
                    Err(error) => LogEvent::NotReceived { slot, error },
                },
            };
            if self.events.send(event).is_err() {
                return;
            }
        }
    }

    fn incoming(&mut self, slot: Slot) -> Result<&mut Incoming, SnapshotError> {
        let incoming = match self.incoming.take().filter(|incoming| incoming.slot() == slot) {
            Some(incoming) => incoming,
            None => self.snapshots.incoming(slot)?,
        };
        Ok(self.incoming.insert(incoming))
    }

    fn receive(&mut self, slot: Slot, offset: u64, bytes: &[u8]) -> Result<u64, SnapshotError> {
        let incoming = self.incoming(slot)?;
        match incoming.append(offset, bytes) {
            // The sender goes on from where we are.
            Ok(()) | Err(SnapshotError::OutOfOrder { .. }) => Ok(incoming.received()),
            Err(error) => Err(error),
        }
    }

    fn complete(&mut self, slot: Slot) -> Result<LoadedSnapshot, SnapshotError> {
        self.incoming(slot)?;
        if let Some(incoming) = self.incoming.take() {
            incoming.complete()?;
        }
        self.snapshots.load(slot)
    }
}

/// A wrong snapshot that stays is behind a right one, which is newer, and goes with the next.
fn report_not_removed(removed: Result<(), SnapshotError>) {
    if let Err(error) = removed {
        tracing::warn!("a snapshot of a wrong state could not be removed, the next one replaces it: {error}");
    }
}
