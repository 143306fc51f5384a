//! The threads that keep the log in production.
//!
//! * `concoord-log` writes: everything that waits when it wakes goes into one frame and one sync, so groups grow while the
//!   disk is busy.
//! * `concoord-spares` makes segments ahead of need, and tries again every second while there is no room for one. Any other
//!   error ends the replica, as one of the log itself does.
//!
//! What they have to say goes into one channel, [`LogEvent`]s, in the order in which it happened; so does what the thread
//! of [`Saver`](crate::snapshots::Saver) has to say. The requests on
//! their way are bounded by what the replica lets be under way at a time: it waits for [`LogEvent::Durable`].

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use concoord_consensus::io::LogPosition;
use concoord_wire::Slot;
use concoord_wire::record::Record;
use tokio::sync::mpsc::UnboundedSender;

use super::{Log, LogError, SPARES_WANTED, Spare, SpareMaker};
use crate::disk::FileError;
use crate::limits::{SPARE_RETRY_PAUSE, SYNC_SLOW};
use crate::snapshots::{LoadedSnapshot, SnapshotError, SnapshotFile};

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
    /// ([`Saver::receive`](crate::snapshots::Saver::receive) with no bytes) tells from where on to try again.
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
    writing: Option<JoinHandle<Result<(), LogError>>>,
    sparing: Option<JoinHandle<()>>,
}

enum Request {
    Write(Vec<(LogPosition, Record)>),
    Truncate(Slot),
    Spare(Spare),
    /// No spare can be made, and not for want of room.
    NoSpare(FileError),
    Close,
}

impl LogWriter {
    /// Starts the threads, which tell `events` what happens.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(log: Log, events: UnboundedSender<LogEvent>) -> io::Result<LogWriter> {
        let (requests, incoming) = mpsc::channel();
        let (orders, ordered) = mpsc::channel();
        let spares = Spares { maker: log.spare_maker(), log: requests.clone(), events: PanicGuard(events.clone()) };
        let sparing = named("concoord-spares").spawn(move || spares.run(&ordered))?;
        let writing = named("concoord-log").spawn(move || {
            let guard = PanicGuard(events);
            let written = Writing { log, orders, ordered: 0, events: &guard.0 }.run(&incoming);
            written.map_err(|error| {
                // The driver hears of it first; whoever closes the log hears that it has ended.
                let _ = guard.0.send(LogEvent::Failed(error));
                LogError::Ended
            })
        })?;
        let gathered = Vec::new();
        Ok(LogWriter { gathered, requests, writing: Some(writing), sparing: Some(sparing) })
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

    /// Writes what was taken, syncs log and mark, and ends the threads; waits for all that.
    ///
    /// # Errors
    /// [`LogError`] when the log is not clean: what [`LogEvent::Durable`] said is durable all the same.
    pub fn close(mut self) -> Result<(), LogError> {
        self.commit();
        self.shut()
    }

    fn shut(&mut self) -> Result<(), LogError> {
        self.request(Request::Close);
        let ended = self.writing.take().map_or(Ok(()), |writing| writing.join().unwrap_or(Err(LogError::Panicked)));
        if let Some(sparing) = self.sparing.take() {
            // The panic of one was an event. They hold the directory, which is free when they have ended.
            let _ = sparing.join();
        }
        ended
    }

    fn request(&self, request: Request) {
        // A log that failed has said so, and takes nothing more.
        let _ = self.requests.send(request);
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
pub(crate) struct PanicGuard(pub(crate) UnboundedSender<LogEvent>);

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
                    // What a disk says of one file may be true of the log's next.
                    Request::NoSpare(error) => return Err(error.into()),
                    Request::Close => closing = true,
                }
            }
            if !records.is_empty() {
                let began = Instant::now();
                self.log.write(&records)?;
                let durable = self.log.sync()?;
                let took = began.elapsed();
                if took >= SYNC_SLOW {
                    let (ms, records) = (took.as_millis(), records.len());
                    tracing::warn!(
                        "the disk took {ms} ms to write and sync the log (records: {records}); what this replica promises waited for it"
                    );
                }
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
    events: PanicGuard,
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
                // While there is no room, little is written to the log that could be held up.
                match if low { self.maker.make() } else { self.maker.make_beside_log() } {
                    Ok(spare) => {
                        missing -= 1;
                        if self.log.send(Request::Spare(spare)).is_err() {
                            return;
                        }
                    }
                    Err(error) if error.is_full() => {
                        if !low {
                            self.tell(Space::Low { why: error.to_string() });
                        }
                        low = true;
                        break;
                    }
                    Err(error) => {
                        // The log's thread says so, unless it has ended.
                        let _ = self.log.send(Request::NoSpare(error));
                        return;
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
        let _ = self.events.0.send(LogEvent::Space(space));
    }
}
