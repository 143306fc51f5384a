//! The leader is killed again and again under clients that never pause: nothing acknowledged is lost or counted twice,
//! and nobody waits long.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use concoord_client::Client;
use concoord_objects::CounterProxy;
use concoord_tests::cluster::{Cluster, wait_for};
use tokio::task::JoinSet;

const REPLICAS: usize = 3;
const CLIENTS: usize = 8;
const KILLS: usize = 5;
const KILLS_LONG: usize = 50;
/// No gap may be as long as this.
const GAP_LIMIT: Duration = Duration::from_secs(1);
/// Increments that have to be acknowledged between a leader that is back and the next kill, so that each kill hits
/// clients at work.
const INCREMENTS_BETWEEN: u64 = 1000;

/// What clients saw from one kill to the next.
#[derive(Clone, Debug, Default)]
struct Period {
    acknowledged: u64,
    /// Longest time in which no client at all had an increment acknowledged.
    gap: Duration,
    /// Longest time that one client waited for one increment.
    wait: Duration,
}

/// What all clients saw together.
struct Tally {
    periods: Vec<Period>,
    last: Instant,
}

impl Tally {
    fn on_acknowledged(&mut self, waited: Duration) {
        let now = Instant::now();
        let gap = now - self.last;
        self.last = now;
        let period = self.periods.last_mut().expect("there is one from the start");
        period.acknowledged += 1;
        period.gap = period.gap.max(gap);
        period.wait = period.wait.max(waited);
    }
}

/// Clients on a thread of their own, each with its own connection, that increment until they are told to stop.
struct Load {
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Load {
    fn start(addresses: String) -> Load {
        let tally = Arc::new(Mutex::new(Tally { periods: vec![Period::default()], last: Instant::now() }));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopping) = (Arc::clone(&tally), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut clients = JoinSet::new();
                for _ in 0..CLIENTS {
                    let client = Client::connect(&addresses).await.expect("the replicas run");
                    clients.spawn(increment(client, Arc::clone(&shared), Arc::clone(&stopping)));
                }
                while let Some(ended) = clients.join_next().await {
                    ended.expect("each increment is acknowledged");
                }
            });
        });
        Load { tally, stop, thread }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        assert!(!self.thread.is_finished(), "clients go on by themselves");
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the clients are at work.
    fn wait_for_increments(&self) {
        let goal = self.acknowledged() + INCREMENTS_BETWEEN;
        wait_for("increments", || match self.acknowledged() {
            count if count >= goal => Ok(()),
            count => Err(format!("{count} of {goal}")),
        });
    }

    fn acknowledged(&self) -> u64 {
        self.tally().periods.iter().map(|period| period.acknowledged).sum()
    }

    fn next_period(&self) {
        self.tally().periods.push(Period::default());
    }

    fn stop(self) -> Vec<Period> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("each increment is acknowledged");
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).periods.clone()
    }
}

async fn increment(client: Client, tally: Arc<Mutex<Tally>>, stop: Arc<AtomicBool>) {
    let counter = CounterProxy::new(client.clone());
    let mut last = 0;
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let value = counter.increment().await.expect("an increment is retried until it is acknowledged");
        tally.lock().unwrap_or_else(PoisonError::into_inner).on_acknowledged(began.elapsed());
        assert!(value > last, "the counter went from {last} to {value}");
        last = value;
    }
    client.close().await;
}

struct Kill {
    leader: SocketAddr,
    back_after: Duration,
}

/// Kills the leader and starts it again; gives who it was once it is a voter again.
fn kill_leader(cluster: &mut Cluster, asked: SocketAddr) -> Kill {
    let leader = cluster.leader(asked);
    let living = cluster.other_than(leader);
    cluster.replica(leader).kill();
    let killed = Instant::now();
    cluster.restart(leader, living);
    Kill { leader, back_after: killed.elapsed() }
}

fn print_table(kills: &[Kill], periods: &[Period]) {
    println!("kill  leader           acknowledged  gap ms  longest call ms  voter again after ms");
    let before = &periods[0];
    let row = |kill: &str, leader: &str, period: &Period, back: &str| {
        let (gap, wait) = (period.gap.as_millis(), period.wait.as_millis());
        println!("{kill:<4}  {leader:<15}  {:>12}  {gap:>6}  {wait:>15}  {back:>20}", period.acknowledged);
    };
    row("-", "before", before, "");
    for (number, (kill, period)) in kills.iter().zip(&periods[1..]).enumerate() {
        let back = kill.back_after.as_millis().to_string();
        row(&(number + 1).to_string(), &kill.leader.to_string(), period, &back);
    }
}

#[test]
fn killed_leaders_lose_nothing_and_nobody_waits_long() {
    let kills = if std::env::var_os("CONCOORD_LONG").is_some() { KILLS_LONG } else { KILLS };
    let mut cluster = Cluster::of("leader-kills", "counter", REPLICAS);
    let load = Load::start(cluster.addresses());
    let mut asked = cluster.addresses().split(", ").next().expect("there are three").parse().expect("an address");
    let mut done = Vec::new();
    for _ in 0..kills {
        load.wait_for_increments();
        load.next_period();
        let kill = kill_leader(&mut cluster, asked);
        asked = cluster.other_than(kill.leader);
        done.push(kill);
    }
    load.wait_for_increments();
    let periods = load.stop();
    print_table(&done, &periods);

    let acknowledged: u64 = periods.iter().map(|period| period.acknowledged).sum();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let counted = runtime.block_on(async {
        let client = Client::connect(&cluster.addresses()).await.expect("the replicas run");
        CounterProxy::new(client).getvalue().await.expect("a majority runs")
    });
    println!("{acknowledged} increments acknowledged, {counted} counted, {} kills", done.len());
    assert_eq!(u64::try_from(counted), Ok(acknowledged), "each acknowledged increment is counted exactly once");
    let longest = periods.iter().map(|period| period.gap.max(period.wait)).max().expect("there are periods");
    assert!(longest < GAP_LIMIT, "a client waited {longest:?}");
}
