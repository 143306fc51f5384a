//! Clients that increment a counter without a pause, and what they see while something is done to its replicas.
//!
//! The counter gives each increment a value of its own. So a value that two increments were given was lost in between,
//! and one that none was given was counted for nobody.
//!
//! How long clients wait is counted without the times at which the disk of the machine stood still ([`DiskWatch`]).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use concoord_client::Client;
use concoord_objects::CounterProxy;
use tokio::task::JoinSet;

use crate::cluster::wait_for;
use crate::disk_watch::DiskWatch;

/// What clients saw from one event to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// Increments that were acknowledged.
    pub acknowledged: u64,
    /// Longest time in which no client at all had an increment acknowledged.
    pub gap: Duration,
    /// Longest time that one client waited for one increment.
    pub wait: Duration,
}

/// What came of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// From the start to the first event, and then from each to the next.
    pub periods: Vec<Period>,
    /// Increments that were acknowledged in all.
    pub acknowledged: u64,
}

impl Outcome {
    /// The longest gap of all.
    ///
    /// # Panics
    /// Never: there is a period from the start.
    #[must_use]
    pub fn gap(&self) -> Duration {
        self.periods.iter().map(|period| period.gap).max().expect("there is one from the start")
    }

    /// The longest that one client waited.
    ///
    /// # Panics
    /// Never: there is a period from the start.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.periods.iter().map(|period| period.wait).max().expect("there is one from the start")
    }
}

/// What all clients saw together.
#[derive(Debug)]
struct Tally {
    disk: DiskWatch,
    began: Instant,
    /// The longest gap, stalls of the disk included.
    raw: Duration,
    periods: Vec<Period>,
    last: Instant,
    given: Given,
}

impl Tally {
    fn on_acknowledged(&mut self, value: i64, asked: Instant) {
        let now = Instant::now();
        let gap = self.disk.without_stalls(self.last, now);
        let waited = self.disk.without_stalls(asked, now);
        self.raw = self.raw.max(now - self.last);
        self.last = now;
        let period = self.periods.last_mut().expect("there is one from the start");
        period.acknowledged += 1;
        period.gap = period.gap.max(gap);
        period.wait = period.wait.max(waited);
        self.given.insert(value);
    }

    fn acknowledged(&self) -> u64 {
        self.periods.iter().map(|period| period.acknowledged).sum()
    }
}

/// The values that increments were given, a bit for each.
#[derive(Debug, Default)]
struct Given(Vec<u64>);

impl Given {
    fn insert(&mut self, value: i64) {
        let index = usize::try_from(value).expect("a counter that is only incremented is positive");
        let (word, bit) = (index / 64, 1 << (index % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        assert!(self.0[word] & bit == 0, "two increments were given {value}: one of them was lost");
        self.0[word] |= bit;
    }
}

/// Clients on a thread of their own, each with its own connection, that increment until they are told to stop. Every
/// increment must be acknowledged within the client's time-out of 30 s, and each client sees the counter rise.
#[derive(Debug)]
pub struct Load {
    clients: usize,
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Load {
    /// Connects `clients` to the replicas at `addresses`, as `-c` takes them. Their counter must be fresh.
    #[must_use]
    pub fn start(addresses: &str, clients: usize) -> Load {
        let tally = Tally {
            disk: DiskWatch::start(),
            began: Instant::now(),
            raw: Duration::ZERO,
            periods: vec![Period::default()],
            last: Instant::now(),
            given: Given::default(),
        };
        let tally = Arc::new(Mutex::new(tally));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopping, addresses) = (Arc::clone(&tally), Arc::clone(&stop), addresses.to_owned());
        let thread = thread::spawn(move || {
            blocking(async {
                let mut running = JoinSet::new();
                for _ in 0..clients {
                    let client = Client::connect(&addresses).await.expect("the replicas run");
                    running.spawn(increment(client, Arc::clone(&shared), Arc::clone(&stopping)));
                }
                while let Some(ended) = running.join_next().await {
                    ended.expect("each increment is acknowledged");
                }
            });
        });
        Load { clients, tally, stop, thread }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        assert!(!self.thread.is_finished(), "clients go on by themselves");
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many more increments were acknowledged, so that what comes next hits clients at work.
    pub fn wait_for_increments(&self, more: u64) {
        let goal = self.acknowledged() + more;
        wait_for("increments", || match self.acknowledged() {
            count if count >= goal => Ok(()),
            count => Err(format!("{count} of {goal}")),
        });
    }

    /// Increments acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.tally().acknowledged()
    }

    /// Something is about to be done: a new period begins.
    pub fn next_period(&self) {
        self.tally().periods.push(Period::default());
    }

    /// How much of the time between these two the disk of the machine did not stand still.
    #[must_use]
    pub fn without_stalls(&self, from: Instant, to: Instant) -> Duration {
        self.tally().disk.without_stalls(from, to)
    }

    /// The present period so far, the present silence included.
    ///
    /// # Panics
    /// When the clients have failed.
    #[must_use]
    pub fn period(&self) -> Period {
        let tally = self.tally();
        let silence = tally.disk.without_stalls(tally.last, Instant::now());
        let period = tally.periods.last().expect("there is one from the start");
        Period { gap: period.gap.max(silence), ..period.clone() }
    }

    /// Checks while the clients go on that the counter at `addresses` has what was acknowledged, and at most what was
    /// asked for beside.
    ///
    /// # Panics
    /// When it has not.
    pub fn check(&self, addresses: &str) {
        let least = self.acknowledged();
        let counted = counted(addresses);
        let most = self.acknowledged() + self.clients as u64;
        assert!(
            (least..=most).contains(&counted),
            "{counted} increments are counted, but at least {least} were acknowledged and at most {most} asked for"
        );
    }

    /// Stops the clients when each has its answer, and checks that exactly what was acknowledged is counted.
    ///
    /// # Panics
    /// When it is not, or a client has failed.
    #[must_use]
    pub fn finish(self, addresses: &str) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("each increment is acknowledged");
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let (periods, acknowledged) = (tally.periods.clone(), tally.acknowledged());
        let counted = counted(addresses);
        println!("{acknowledged} increments acknowledged, {counted} counted");
        let (stalled, raw) = (tally.disk.stalled(tally.began), tally.raw);
        if !stalled.is_zero() {
            println!("the disk of the machine stood still for {stalled:?}: with that, the longest gap was {raw:?}");
        }
        assert_eq!(counted, acknowledged, "each acknowledged increment is counted exactly once");
        Outcome { periods, acknowledged }
    }
}

/// What the counter at `addresses` stands at.
///
/// # Panics
/// When no majority answers.
#[must_use]
pub fn counted(addresses: &str) -> u64 {
    let value = blocking(async {
        let client = Client::connect(addresses).await.expect("the replicas run");
        let value = CounterProxy::new(client.clone()).getvalue().await.expect("a majority runs");
        client.close().await;
        value
    });
    u64::try_from(value).expect("a counter that is only incremented is positive")
}

/// Increments the counter at `addresses` so many times, `in_flight` at a time.
///
/// # Panics
/// When one is not acknowledged.
pub fn increment_many(addresses: &str, times: u64, in_flight: u64) {
    blocking(async {
        let client = Client::connect(addresses).await.expect("the replicas run");
        let mut running = JoinSet::new();
        for caller in 0..in_flight {
            let counter = CounterProxy::new(client.clone());
            let own = times / in_flight + u64::from(caller < times % in_flight);
            running.spawn(async move {
                for _ in 0..own {
                    _ = counter.increment().await.expect("an increment is acknowledged");
                }
            });
        }
        while let Some(ended) = running.join_next().await {
            ended.expect("each increment is acknowledged");
        }
        client.close().await;
    });
}

/// Runs this on a runtime of its own to its end.
///
/// # Panics
/// When the system has no room for one.
pub fn blocking<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work)
}

async fn increment(client: Client, tally: Arc<Mutex<Tally>>, stop: Arc<AtomicBool>) {
    let counter = CounterProxy::new(client.clone());
    let mut last = 0;
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let value = counter.increment().await.expect("an increment is retried until it is acknowledged");
        tally.lock().unwrap_or_else(PoisonError::into_inner).on_acknowledged(value, asked);
        assert!(value > last, "the counter went from {last} to {value}");
        last = value;
    }
    client.close().await;
}

/// Whether the long form of a test was asked for.
#[must_use]
pub fn is_long() -> bool {
    std::env::var_os("CONCOORD_LONG").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "two increments were given 65")]
    fn a_value_given_twice_is_noticed() {
        let mut given = Given::default();
        for value in [1, 65, 64, 2, 65] {
            given.insert(value);
        }
    }
}
