//! Whether the disk itself stands still while a test measures how long clients wait.
//!
//! All replicas of a test share the disk of the machine, which may be shared with other machines too. When it keeps nothing
//! for a second, no majority can promise anything, and who waits then does not wait for this project. A file beside theirs,
//! written and synced all the time by nobody else, shows these times. It can't tell why the disk stands still: where it does
//! so for much of the time, it may be what replicas themselves write, and nothing is to be had from a measurement.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::cluster::Scratch;

/// From one sync to the next: often enough to see nearly all of a stall, and not a load beside that of replicas.
const PAUSE: Duration = Duration::from_millis(20);
/// A write and its sync take some milliseconds at most while the disk works. What takes longer is a stall.
const STALL_MIN: Duration = Duration::from_millis(100);
/// Stalls may take up one in so many parts of the time.
const STALLED_PART: u32 = 2;
/// What is written each time: a page, as for most groups of records.
const BLOCK: [u8; 4096] = [0x5a; 4096];

/// The times at which the disk stood still.
#[derive(Debug, Default)]
struct Stalls {
    past: Vec<(Instant, Instant)>,
    /// When the sync began that has not ended yet.
    present: Option<Instant>,
}

impl Stalls {
    fn begin(&mut self, at: Instant) {
        self.present = Some(at);
    }

    fn end(&mut self, at: Instant) {
        let began = self.present.take().expect("it began");
        if at - began >= STALL_MIN {
            self.past.push((began, at));
        }
    }

    /// How much of the time between these two the disk stood still.
    fn within(&self, from: Instant, to: Instant) -> Duration {
        let present = self.present.map(|began| (began, to)).filter(|(began, to)| *to > *began + STALL_MIN);
        let stalls = self.past.iter().copied().chain(present);
        stalls.map(|(began, ended)| ended.min(to).saturating_duration_since(began.max(from))).sum()
    }
}

/// Watches the disk on which replicas of tests have their data, on a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct DiskWatch {
    stalls: Arc<Mutex<Stalls>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Removed after the thread has ended.
    _scratch: Scratch,
}

impl DiskWatch {
    /// Begins to watch.
    ///
    /// # Panics
    /// When the disk can't be written.
    #[must_use]
    pub fn start() -> DiskWatch {
        let scratch = Scratch::new("disk-watch");
        let file = File::create(scratch.path().join("block")).expect("a file in a new directory");
        write(&file);
        file.sync_all().expect("the disk works");
        let stalls = Arc::new(Mutex::new(Stalls::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopping) = (Arc::clone(&stalls), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                locked(&shared).begin(Instant::now());
                write(&file);
                file.sync_data().expect("the disk works");
                locked(&shared).end(Instant::now());
                thread::sleep(PAUSE);
            }
        });
        DiskWatch { stalls, stop, thread: Some(thread), _scratch: scratch }
    }

    /// How much of the time between these two was not spent in waiting for a disk that stood still.
    #[must_use]
    pub fn without_stalls(&self, from: Instant, to: Instant) -> Duration {
        self.runs();
        let all = to - from;
        // Nobody asks the disk about a time in which no stall has room.
        if all < STALL_MIN { all } else { all.saturating_sub(locked(&self.stalls).within(from, to)) }
    }

    /// How long the disk stood still in all since this instant.
    ///
    /// # Panics
    /// When that is so much of the time that what is measured without it says nothing.
    #[must_use]
    pub fn stalled(&self, since: Instant) -> Duration {
        self.runs();
        let now = Instant::now();
        let (stalled, all) = (locked(&self.stalls).within(since, now), now - since);
        assert!(
            stalled * STALLED_PART <= all,
            "the disk stood still for {stalled:?} of {all:?}: nothing can be measured on it"
        );
        stalled
    }

    /// One that has ended would take all that follows for a stall.
    fn runs(&self) {
        assert!(self.thread.as_ref().is_some_and(|thread| !thread.is_finished()), "the watch of the disk has failed");
    }
}

impl Drop for DiskWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // One that panicked has said why.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn write(file: &File) {
    file.write_all_at(&BLOCK, 0).expect("the disk works");
}

fn locked(stalls: &Mutex<Stalls>) -> MutexGuard<'_, Stalls> {
    stalls.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stalls from 1000 to 1800 and from 3000 to 3150, a sync of 60 ms in between, and one that began at 5000.
    fn stalls(zero: Instant) -> Stalls {
        let at = |ms| zero + Duration::from_millis(ms);
        let mut stalls = Stalls::default();
        for (began, ended) in [(1000, 1800), (2000, 2060), (3000, 3150)] {
            stalls.begin(at(began));
            stalls.end(at(ended));
        }
        stalls.begin(at(5000));
        stalls
    }

    #[test]
    fn only_what_a_stall_covers_is_taken_off() {
        let zero = Instant::now();
        let stalls = stalls(zero);
        let within = |from, to| {
            let at = |ms| zero + Duration::from_millis(ms);
            u64::try_from(stalls.within(at(from), at(to)).as_millis()).expect("it is short")
        };
        assert_eq!(within(0, 900), 0, "before all");
        assert_eq!(within(900, 2500), 800, "one whole stall, and a sync that took its time");
        assert_eq!(within(1700, 2500), 100, "the end of one");
        assert_eq!(within(1500, 3050), 350, "the end of one and the beginning of another");
        assert_eq!(within(4000, 5050), 0, "a sync that goes on is no stall yet");
        assert_eq!(within(4000, 5500), 500, "and then it is one");
    }
}
