//! Callers of a counter without a pause, whose calls are counted and timed window by window.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use concoord_client::Client;
use concoord_objects::CounterProxy;
use tokio::task::JoinSet;

use crate::load::blocking;

/// What callers saw in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Calls answered a second.
    pub per_second: f64,
    /// The latency that 99 of 100 calls stayed below, in ms.
    pub p99_ms: f64,
}

/// Callers on a thread of their own, each with a connection and one call under way. They stop when this is dropped.
#[derive(Debug)]
pub struct Callers {
    latencies: Arc<Mutex<Vec<Duration>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Callers {
    /// So many, of the counter at `addresses`, as `-c` takes them.
    #[must_use]
    pub fn start(addresses: &str, callers: usize) -> Callers {
        let (latencies, stop) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let (taken, stopping, addresses) = (Arc::clone(&latencies), Arc::clone(&stop), addresses.to_owned());
        let thread = thread::spawn(move || {
            blocking(async {
                let mut running = JoinSet::new();
                for _ in 0..callers {
                    let client = Client::connect(&addresses).await.expect("the replicas run");
                    running.spawn(call(client, Arc::clone(&taken), Arc::clone(&stopping)));
                }
                while let Some(ended) = running.join_next().await {
                    ended.expect("each call is answered");
                }
            });
        });
        Callers { latencies, stop, thread: Some(thread) }
    }

    /// Looks at the calls that are answered from now on, for `time`.
    ///
    /// # Panics
    /// When a call failed, or none was answered.
    #[must_use]
    pub fn window(&self, time: Duration) -> Window {
        let take = || std::mem::take(&mut *self.latencies.lock().unwrap_or_else(PoisonError::into_inner));
        take();
        let began = Instant::now();
        thread::sleep(time);
        let (mut latencies, time) = (take(), began.elapsed());
        assert!(self.thread.as_ref().is_some_and(|thread| !thread.is_finished()), "a call failed");
        assert!(!latencies.is_empty(), "no call was answered within {time:?}");
        latencies.sort_unstable();
        let p99 = latencies[(latencies.len() - 1) * 99 / 100];
        Window { per_second: latencies.len() as f64 / time.as_secs_f64(), p99_ms: p99.as_secs_f64() * 1e3 }
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "a call failed");
        }
    }
}

async fn call(client: Client, latencies: Arc<Mutex<Vec<Duration>>>, stop: Arc<AtomicBool>) {
    let counter = CounterProxy::new(client.clone());
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        _ = counter.increment().await.expect("a call is answered");
        latencies.lock().unwrap_or_else(PoisonError::into_inner).push(began.elapsed());
    }
    client.close().await;
}
