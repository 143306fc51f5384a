//! The threads that keep the log in production.
//!
//! * `concoord-log` writes: everything that waits when it wakes goes into one frame and one sync, so groups grow while the
//!   disk is busy.
//! * `concoord-spares` makes segments ahead of need, and tries again every second while there is no room for one.
//! * `concoord-snapshots` saves and receives snapshots, so that a big one never delays the log.
//!
//! What they have to say comes out of one channel, [`LogEvent`]s, in the order in which it happened. The requests on
//! their way are bounded by what the replica lets be under way at a time: it waits for [`LogEvent::Durable`].

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use concoord_consensus::io::LogPosition;
use concoord_wire::Slot;
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::record::Record;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Log, LogError, SPARES_WANTED, Spare, SpareMaker};
use crate::limits::SPARE_RETRY_PAUSE;
use crate::snapshots::{Incoming, LoadedSnapshot, SnapshotError, SnapshotFile, Snapshots, report_not_dropped};

/// What the threads tell the driver.
#[derive(Debug)]
pub enum LogEvent {
    /// Every record up to this one is durable.
    Durable(LogPosition),
    /// Room on the disk ran out, or is there again.
    Space(Space),
    /// A snapshot is durable. The log may be cut below the older one of those that are kept.
    Saved(SnapshotFile),
    /// A snapshot was not saved; the older ones are as they were, and it may be tried again.
    NotSaved {
        /// Its slot.
        slot: Slot,
        /// Why.
        error: SnapshotError,
    },
    /// Of the incoming snapshot of a slot, this many bytes are there: the next part begins at that offset.
    Received {
        /// Its slot.
        slot: Slot,
        /// Bytes that are there.
        have: u64,
    },
    /// An incoming snapshot is complete, checked and durable.
    Installed(LoadedSnapshot),
    /// A part of an incoming snapshot could not be taken, or the whole is damaged. Asking for how much is there
    /// ([`LogWriter::receive`] with no bytes) tells from where on to try again.
    NotReceived {
        /// Its slot.
        slot: Slot,
        /// Why.
        error: SnapshotError,
    },
    /// The log can't go on; this is the last that is heard of it.
    Failed(LogError),
}

/// Whether there is room for segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Space {
    /// No spare segment can be made. What is left takes promises and a hand-over, and no more.
    Low {
        /// What the system says.
        why: String,
    },
    /// It is over.
    Enough,
}

/// The driver's side of the log.
#[derive(Debug)]
pub struct LogWriter {
    gathered: Vec<(LogPosition, Record)>,
    requests: mpsc::Sender<Request>,
    jobs: Option<mpsc::Sender<Job>>,
    writing: Option<JoinHandle<Result<(), LogError>>>,
    /// The other threads.
    helpers: Vec<JoinHandle<()>>,
    snapshots: Snapshots,
}

enum Request {
    Write(Vec<(LogPosition, Record)>),
    Truncate(Slot),
    Spare(Spare),
    Close,
}

enum Job {
    Save { checkpoint: Checkpoint, body: Bytes },
    Receive { slot: Slot, offset: u64, bytes: Bytes },
    Complete { slot: Slot },
    Drop { after: Slot, before: Slot },
}

impl LogWriter {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(log: Log, snapshots: Snapshots) -> io::Result<(LogWriter, UnboundedReceiver<LogEvent>)> {
        let (events, receiver) = unbounded_channel();
        let (requests, incoming) = mpsc::channel();
        let (jobs, queue) = mpsc::channel();
        let (orders, ordered) = mpsc::channel();
        let spares = Spares { maker: log.spare_maker(), log: requests.clone(), events: events.clone() };
        let sparing = named("concoord-spares").spawn(move || spares.run(&ordered))?;
        let store = snapshots.clone();
        let told = events.clone();
        let saving = named("concoord-snapshots").spawn(move || {
            let guard = PanicGuard(told);
            Saving { snapshots: store, incoming: None, events: &guard.0 }.run(&queue);
        })?;
        let writing = named("concoord-log").spawn(move || {
            let guard = PanicGuard(events);
            let written = Writing { log, orders, ordered: 0, events: &guard.0 }.run(&incoming);
            written.map_err(|error| {
                // The driver hears of it first; whoever closes the log hears that it has ended.
                let _ = guard.0.send(LogEvent::Failed(error));
                LogError::Ended
            })
        })?;
        let writer = LogWriter {
            gathered: Vec::new(),
            requests,
            jobs: Some(jobs),
            writing: Some(writing),
            helpers: vec![saving, sparing],
            snapshots,
        };
        Ok((writer, receiver))
    }

    /// Takes a record, which goes on its way with the next [`LogWriter::commit`].
    pub fn append(&mut self, position: LogPosition, record: Record) {
        self.gathered.push((position, record));
    }

    /// Hands over what was taken. [`LogEvent::Durable`] follows.
    pub fn commit(&mut self) {
        if !self.gathered.is_empty() {
            let records = std::mem::take(&mut self.gathered);
            self.request(Request::Write(records));
        }
    }

    /// As [`Log::truncate`].
    pub fn truncate(&self, below: Slot) {
        self.request(Request::Truncate(below));
    }

    /// Saves a snapshot. [`LogEvent::Saved`] or [`LogEvent::NotSaved`] follows.
    pub fn save_snapshot(&self, checkpoint: Checkpoint, body: Bytes) {
        self.job(Job::Save { checkpoint, body });
    }

    /// Removes the snapshots of slots above `after` and below `before`, behind all that was asked for before. One that can't be
    /// removed is replaced by a newer one later, as any.
    pub fn drop_snapshots(&self, after: Slot, before: Slot) {
        self.job(Job::Drop { after, before });
    }

    /// Takes a part of the snapshot of a slot; parts of another one are dropped. [`LogEvent::Received`] or
    /// [`LogEvent::NotReceived`] follows; also for a part that does not begin where the last one ended, which is not taken.
    pub fn receive(&self, slot: Slot, offset: u64, bytes: Bytes) {
        self.job(Job::Receive { slot, offset, bytes });
    }

    /// All parts are there. [`LogEvent::Installed`] or [`LogEvent::NotReceived`] follows.
    pub fn complete(&self, slot: Slot) {
        self.job(Job::Complete { slot });
    }

    /// The snapshots, for reading them.
    #[must_use]
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Writes what was taken, syncs log and mark, and ends the threads; waits for all that.
    ///
    /// # Errors
    /// [`LogError`] when the log is not clean: what [`LogEvent::Durable`] said is durable all the same.
    pub fn close(mut self) -> Result<(), LogError> {
        self.commit();
        self.shut()
    }

    fn shut(&mut self) -> Result<(), LogError> {
        self.jobs = None;
        self.request(Request::Close);
        let ended = self.writing.take().map_or(Ok(()), |writing| writing.join().unwrap_or(Err(LogError::Panicked)));
        for helper in self.helpers.drain(..) {
            // The panic of one was an event. They hold the directory, which is free when they have ended.
            let _ = helper.join();
        }
        ended
    }

    fn request(&self, request: Request) {
        // A log that failed has said so, and takes nothing more.
        let _ = self.requests.send(request);
    }

    fn job(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // As above.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        // Whoever wants to know how it ended calls `close`.
        let _ = self.shut();
    }
}

fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.to_owned())
}

/// Tells the driver when its thread panics: else it would wait for ever.
struct PanicGuard(UnboundedSender<LogEvent>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            // Without a driver there is nobody to tell.
            let _ = self.0.send(LogEvent::Failed(LogError::Panicked));
        }
    }
}

/// What the log's thread holds.
struct Writing<'a> {
    log: Log,
    orders: mpsc::Sender<()>,
    /// Spares that were ordered and have not come.
    ordered: usize,
    events: &'a UnboundedSender<LogEvent>,
}

impl Writing<'_> {
    fn run(mut self, requests: &mpsc::Receiver<Request>) -> Result<(), LogError> {
        let mut records = Vec::new();
        let mut below = None;
        let mut closing = false;
        self.order_spares();
        while !closing {
            let Ok(first) = requests.recv() else { break };
            for request in std::iter::once(first).chain(requests.try_iter()) {
                match request {
                    Request::Write(more) if records.is_empty() => records = more,
                    Request::Write(mut more) => records.append(&mut more),
                    Request::Truncate(slot) => below = below.max(Some(slot)),
                    Request::Spare(spare) => {
                        self.ordered = self.ordered.saturating_sub(1);
                        self.log.add_spare(spare);
                    }
                    Request::Close => closing = true,
                }
            }
            if !records.is_empty() {
                self.log.write(&records)?;
                let durable = self.log.sync()?;
                self.tell(LogEvent::Durable(durable));
                records.clear();
            }
            if let Some(below) = below.take() {
                self.log.truncate(below)?;
            }
            self.order_spares();
        }
        self.log.close()
    }

    fn order_spares(&mut self) {
        while self.log.spares() + self.ordered < SPARES_WANTED && self.orders.send(()).is_ok() {
            self.ordered += 1;
        }
    }

    fn tell(&self, event: LogEvent) {
        // Without a driver there is nobody to tell.
        let _ = self.events.send(event);
    }
}

/// What the spares' thread holds.
struct Spares {
    maker: SpareMaker,
    log: mpsc::Sender<Request>,
    events: UnboundedSender<LogEvent>,
}

impl Spares {
    /// Makes one spare per order, until nobody orders any more.
    fn run(self, orders: &mpsc::Receiver<()>) {
        let mut missing = 0_usize;
        let mut low = false;
        loop {
            let pause = if missing > 0 { SPARE_RETRY_PAUSE } else { Duration::MAX };
            match orders.recv_timeout(pause) {
                Ok(()) => missing += 1,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while missing > 0 {
                match self.maker.make() {
                    Ok(spare) => {
                        missing -= 1;
                        if self.log.send(Request::Spare(spare)).is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        if !low {
                            self.tell(Space::Low { why: error.to_string() });
                        }
                        low = true;
                        break;
                    }
                }
            }
            if low && missing == 0 {
                low = false;
                self.tell(Space::Enough);
            }
        }
    }

    fn tell(&self, space: Space) {
        // Without a driver there is nobody to tell.
        let _ = self.events.send(LogEvent::Space(space));
    }
}

/// What the snapshots' thread holds.
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
                    report_not_dropped(self.snapshots.remove_between(after, before));
                    continue;
                }
                Job::Save { checkpoint, body } => match self.snapshots.save(&checkpoint, &body) {
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
