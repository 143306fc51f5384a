//! Callers of a counter without a pause, whose calls are counted and timed window by window.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use concoord_client::Client;
use concoord_objects::CounterProxy;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cluster::wait_for;
use crate::load::blocking;

/// What callers saw in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Calls answered a second.
    pub per_second: f64,
    /// The latency that 99 of 100 calls stayed below, in ms.
    pub p99_ms: f64,
    /// The same for 999 of 1000.
    pub p999_ms: f64,
    /// The longest.
    pub longest_ms: f64,
}

impl Window {
    /// What these latencies of calls within `time` come to.
    ///
    /// # Panics
    /// When there was no call.
    #[must_use]
    pub fn of(mut latencies: Vec<Duration>, time: Duration) -> Window {
        assert!(!latencies.is_empty(), "no call was answered within {time:?}");
        latencies.sort_unstable();
        let at = |thousandths: usize| latencies[(latencies.len() - 1) * thousandths / 1000].as_secs_f64() * 1e3;
        let per_second = latencies.len() as f64 / time.as_secs_f64();
        Window { per_second, p99_ms: at(990), p999_ms: at(999), longest_ms: at(1000) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calling,
    Paused,
    Stopped,
}

/// What the callers and who looks at them share.
#[derive(Debug, Default)]
struct Shared {
    latencies: Mutex<Vec<Duration>>,
    under_way: AtomicUsize,
}

impl Shared {
    fn latencies(&self) -> MutexGuard<'_, Vec<Duration>> {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Callers on a thread of their own, each with a connection and one call under way. They stop when this is dropped.
#[derive(Debug)]
pub struct Callers {
    shared: Arc<Shared>,
    state: watch::Sender<State>,
    thread: Option<JoinHandle<()>>,
}

impl Callers {
    /// So many, of the counter at `addresses`, as `-c` takes them.
    #[must_use]
    pub fn start(addresses: &str, callers: usize) -> Callers {
        let shared = Arc::<Shared>::default();
        let (state, told) = watch::channel(State::Calling);
        let (sharing, addresses) = (Arc::clone(&shared), addresses.to_owned());
        let thread = thread::spawn(move || {
            blocking(async {
                let mut running = JoinSet::new();
                for _ in 0..callers {
                    let client = Client::connect(&addresses).await.expect("the replicas run");
                    running.spawn(call(client, Arc::clone(&sharing), told.clone()));
                }
                while let Some(ended) = running.join_next().await {
                    ended.expect("each call is answered");
                }
            });
        });
        Callers { shared, state, thread: Some(thread) }
    }

    /// Looks at the calls that are answered from now on, for `time`.
    ///
    /// # Panics
    /// When a call failed, or none was answered.
    #[must_use]
    pub fn window(&self, time: Duration) -> Window {
        self.during(|| thread::sleep(time)).1
    }

    /// Looks at the calls that are answered while something is done. Gives what that came to, too.
    ///
    /// # Panics
    /// When a call failed, or none was answered.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> (T, Window) {
        self.take();
        let began = Instant::now();
        let came = work();
        (came, Window::of(self.take(), began.elapsed()))
    }

    /// Lets no call begin until the next turn, and waits for those that are under way.
    ///
    /// # Panics
    /// When a call failed.
    pub fn pause(&self) {
        self.state.send_replace(State::Paused);
        wait_for("the callers to pause", || match self.shared.under_way.load(Ordering::SeqCst) {
            0 => Ok(()),
            calls => Err(format!("{calls} calls are under way")),
        });
    }

    /// Lets callers that pause call for `time`. Gives the latencies of all of these calls, and how long they took together.
    ///
    /// # Panics
    /// When a call failed.
    #[must_use]
    pub fn turn(&self, time: Duration) -> (Vec<Duration>, Duration) {
        self.take();
        let began = Instant::now();
        self.state.send_replace(State::Calling);
        thread::sleep(time);
        let calling = began.elapsed();
        self.pause();
        (self.take(), calling)
    }

    fn take(&self) -> Vec<Duration> {
        assert!(self.thread.as_ref().is_some_and(|thread| !thread.is_finished()), "a call failed");
        std::mem::take(&mut *self.shared.latencies())
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.state.send_replace(State::Stopped);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "a call failed");
        }
    }
}

async fn call(client: Client, shared: Arc<Shared>, mut state: watch::Receiver<State>) {
    let counter = CounterProxy::new(client.clone());
    loop {
        let goes_on = state.wait_for(|state| *state != State::Paused).await.map(|state| *state == State::Calling);
        if !goes_on.unwrap_or(false) {
            break;
        }
        shared.under_way.fetch_add(1, Ordering::SeqCst);
        let began = Instant::now();
        _ = counter.increment().await.expect("a call is answered");
        shared.latencies().push(began.elapsed());
        shared.under_way.fetch_sub(1, Ordering::SeqCst);
    }
    client.close().await;
}
