//! Calls without pause over several connections, on one thread.
//!
//! Each call under way is one long-lived task that sends its next call when the last is answered: nothing is spawned
//! per call, and what is measured is touched by one thread only.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use concoord_client::{Client, Consistency};
use concoord_wire::abi::Answer;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::print::{self, Progress};

/// Time before measuring, in which connections and caches find their stride.
const WARM_UP: Duration = Duration::from_secs(1);
/// How often the progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// How long a task rests after an error, so that a cluster that refuses calls is not flooded with them.
const ERROR_PAUSE: Duration = Duration::from_millis(10);
/// The longest latency that is told from longer ones.
const LATENCY_MAX: Duration = Duration::from_secs(600);
/// Significant decimal digits of latencies.
const LATENCY_DIGITS: u8 = 3;

/// What is called over and over.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) object: String,
    pub(super) method: String,
    pub(super) is_query: bool,
    /// Postcard of each argument in turn.
    pub(super) arguments: Vec<u8>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Measured {
    /// How long was measured.
    pub(super) time: Duration,
    /// Calls answered in that time.
    pub(super) calls: u64,
    /// Calls that ended without a result in that time.
    pub(super) errors: u64,
    /// The first error of all.
    pub(super) first_error: Option<String>,
    /// From sending a call to having its answer.
    pub(super) latency_ns: Histogram<u64>,
}

impl Measured {
    pub(super) fn new() -> Measured {
        let max_ns = LATENCY_MAX.as_nanos() as u64;
        let latency_ns = Histogram::new_with_max(max_ns, LATENCY_DIGITS).expect("the bounds are constants that fit");
        Measured { time: Duration::ZERO, calls: 0, errors: 0, first_error: None, latency_ns }
    }

    /// A call was answered after `latency`.
    pub(super) fn answered(&mut self, latency: Duration) {
        self.calls += 1;
        self.latency_ns.saturating_record(latency.as_nanos() as u64);
    }

    pub(super) fn per_second(&self) -> f64 {
        if self.time.is_zero() { 0.0 } else { self.calls as f64 / self.time.as_secs_f64() }
    }
}

/// Calls for `time` after the warm-up, with `in_flight` calls spread over `clients`. With `announce`, prints a line when
/// the measured time begins and another when it ends.
///
/// # Errors
/// When a task ends by a panic, or the lines can't be written.
pub(super) async fn run(
    load: Load,
    clients: Vec<Client>,
    in_flight: u32,
    time: Duration,
    announce: bool,
    progress: &mut Progress,
) -> anyhow::Result<Measured> {
    let clients: Vec<_> = clients.into_iter().map(Arc::new).collect();
    let (load, measured) = (Arc::new(load), Arc::new(Mutex::new(Measured::new())));
    let begin = Instant::now() + WARM_UP;
    let end = begin + time;
    let mut tasks = JoinSet::new();
    for client in clients.iter().cycle().take(in_flight as usize) {
        tasks.spawn(call_until(Arc::clone(client), Arc::clone(&load), Arc::clone(&measured), begin, end));
    }
    for (moment, line) in [(begin, "measuring"), (end, "measured")] {
        while let Some(left) = moment.checked_duration_since(Instant::now()) {
            progress.update(|| told(&lock(&measured), begin, end));
            let ended = tokio::time::timeout(left.min(PROGRESS_INTERVAL), tasks.join_next()).await;
            // A task that ends is either at the end, or panicked, which must be seen now and not then.
            if let Ok(Some(ended)) = ended {
                ended.context("a caller ended")?;
            }
        }
        if announce {
            progress.clear();
            print::line(line)?;
        }
    }
    // What is still under way counts neither as answered nor as failed.
    tasks.shutdown().await;
    for client in &clients {
        client.close().await;
    }
    let mut measured = mem::replace(&mut *lock(&measured), Measured::new());
    measured.time = time;
    Ok(measured)
}

fn lock(measured: &Mutex<Measured>) -> MutexGuard<'_, Measured> {
    // A task that panics ends the command.
    measured.lock().unwrap_or_else(PoisonError::into_inner)
}

fn told(measured: &Measured, begin: Instant, end: Instant) -> String {
    let left = end.saturating_duration_since(Instant::now());
    match begin.elapsed() {
        Duration::ZERO => "warming up".into(),
        so_far => {
            let per_second = measured.calls as f64 / so_far.as_secs_f64();
            format!("{per_second:.0} calls per second, {} errors, {:.0} s to go", measured.errors, left.as_secs_f64())
        }
    }
}

async fn call_until(
    client: Arc<Client>,
    load: Arc<Load>,
    measured: Arc<Mutex<Measured>>,
    begin: Instant,
    end: Instant,
) {
    let object = Some(load.object.as_str());
    let mut sent = Instant::now();
    while sent < end {
        let arguments = load.arguments.clone();
        let answer = if load.is_query {
            client.query(object, &load.method, arguments, Consistency::Linearizable).await
        } else {
            client.call(object, &load.method, arguments).await
        };
        let now = Instant::now();
        let error = match answer {
            Ok(Answer::Returned(_)) => None,
            Ok(Answer::Failed(_)) => Some("the method returned its own error".to_owned()),
            Ok(Answer::Rejected(why)) => Some(why.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let failed = error.is_some();
        if let Some(error) = error {
            lock(&measured).first_error.get_or_insert(error);
        }
        if (begin..end).contains(&now) {
            let mut measured = lock(&measured);
            if failed { measured.errors += 1 } else { measured.answered(now - sent) }
        }
        sent = now;
        if failed {
            tokio::time::sleep(ERROR_PAUSE).await;
            sent = Instant::now();
        }
    }
}
