//! What a logger costs callers: nothing that can be measured, whatever becomes of it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use concoord_client::Client;
use concoord_tests::cluster::{Cluster, Scratch, binary, wait_for};
use concoord_tests::load::{blocking, is_long};
use concoord_tests::usage::median;
use concoord_tests::windows::{Callers, Window};

/// Blocks of measurement; the first one warms up. In each block the clusters are called by turns, short ones, so that whatever
/// else the machine does hits all of them.
const BLOCKS: usize = 12;
const BLOCKS_LONG: usize = 60;
const ROUNDS: usize = 10;
const TURN: Duration = Duration::from_millis(80);
const CALLERS: usize = 16;
/// Beside the callers, clients come and go: replicas that tell everything have a line for each.
const COMING: usize = 2;
const COMING_PAUSE: Duration = Duration::from_millis(10);
/// How much worse than without trouble callers may have it, beside what is noise.
const WORSE_MAX: f64 = 0.1;

/// What becomes of the lines of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logger {
    /// They are sent nowhere.
    Without,
    /// `concoord logger` takes them.
    Live,
    /// Nobody listens.
    Dead,
    /// Somebody takes connections and reads nothing.
    Stuck,
}

const LOGGERS: [Logger; 4] = [Logger::Without, Logger::Live, Logger::Dead, Logger::Stuck];

/// A logger as one that hangs: it takes connections, counts them in lines, and reads nothing. Its segments and its buffer are
/// small, so that whoever sends to it waits after some tens of KiB and not after the megabytes that loopback has room for.
const STUCK: &str = r"
import socket
listener = socket.socket()
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
listener.bind(('127.0.0.1', 0))
listener.listen()
print(listener.getsockname()[1], flush=True)
taken = []
while True:
    taken.append(listener.accept())
    print(taken[-1][1], flush=True)
";

/// A process that ends with the test.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Process {
        Process(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port where nobody listens.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

fn live(at: SocketAddr, file: &Path) -> Process {
    Process::start(Command::new(binary()).args(["logger", "-p", &at.port().to_string(), "-o"]).arg(file))
}

/// What it says goes into `file`. Gives where it listens, too.
fn stuck(file: &Path) -> (Process, SocketAddr) {
    let said = fs::File::create(file).expect("the directory is there");
    let process = Process::start(Command::new("python3").args(["-c", STUCK]).stdout(said));
    let port = wait_for("its port", || {
        let said = fs::read_to_string(file).map_err(|error| error.to_string())?;
        said.strip_suffix('\n').and_then(|port| port.parse().ok()).ok_or(said)
    });
    (process, ([127, 0, 0, 1], port).into())
}

/// Lines of a file.
fn lines(file: &Path) -> usize {
    fs::read_to_string(file).expect("it is there").lines().count()
}

/// Three replicas that tell everything, to the logger at `to` if there is one.
fn start(logger: Logger, to: Option<SocketAddr>) -> Cluster {
    let mut cluster = Cluster::new(&format!("logger-{logger:?}").to_lowercase());
    for _ in 0..3 {
        let (all, to) = (cluster.addresses(), to.map(|to| to.to_string()));
        let mut flags = vec!["-o", "counter", "-d"];
        flags.extend(to.iter().flat_map(|to| ["-l", to]));
        if !all.is_empty() {
            flags.extend(["-b", &all]);
        }
        cluster.start(&flags);
    }
    cluster
}

/// Calls all clusters by turns, another one first each round, and gives what the callers of each saw. `called` is told whose
/// turn it is.
fn block(callers: &[Callers; 4], called: &AtomicUsize) -> [Window; 4] {
    let mut seen = [(); 4].map(|()| (Vec::new(), Duration::ZERO));
    for round in 0..ROUNDS {
        for turn in 0..callers.len() {
            let index = (turn + round) % callers.len();
            called.store(index, Ordering::Relaxed);
            let (latencies, time) = callers[index].turn(TURN);
            seen[index].0.extend(latencies);
            seen[index].1 += time;
        }
    }
    seen.map(|(latencies, time)| Window::of(latencies, time))
}

/// Connects to the cluster whose turn it is and goes away again, until it is `over`.
async fn come_and_go(addresses: &[String; 4], called: &AtomicUsize, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let addresses = &addresses[called.load(Ordering::Relaxed)];
        Client::connect(addresses).await.expect("the replicas run").close().await;
        tokio::time::sleep(COMING_PAUSE).await;
    }
}

/// Blocks of windows, while other clients come and go.
fn measure(clusters: &[Cluster; 4]) -> Vec<[Window; 4]> {
    let addresses = clusters.each_ref().map(Cluster::addresses);
    let callers = addresses.each_ref().map(|addresses| Callers::start(addresses, CALLERS));
    callers.iter().for_each(Callers::pause);
    let (called, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let blocks = if is_long() { BLOCKS_LONG } else { BLOCKS };
    thread::scope(|scope| {
        for _ in 0..COMING {
            scope.spawn(|| blocking(come_and_go(&addresses, &called, &over)));
        }
        let measured = (0..=blocks).map(|_| block(&callers, &called)).skip(1).collect();
        over.store(true, Ordering::Relaxed);
        measured
    })
}

/// What the windows of one block say about one figure: how much worse each logger is than none and a live one together,
/// and how much these two differ, which is noise.
struct Compared {
    worse: [f64; 2],
    noise: f64,
}

fn compare(of: [f64; 4]) -> Compared {
    let [without, live, dead, stuck] = of;
    let good = f64::midpoint(without, live);
    Compared { worse: [dead, stuck].map(|bad| bad / good - 1.0), noise: without / live - 1.0 }
}

/// Checks that a figure that should be small is no larger with a dead or a stuck logger than without one or with a live one,
/// but for a tenth and for noise. That is two standard errors of a median of so many blocks, estimated from how much the two
/// good clusters differ in the same block. The number of blocks does not depend on what they say.
fn check(what: &str, blocks: &[Compared]) -> Result<(), String> {
    let noise: Vec<_> = blocks.iter().map(|block| block.noise).collect();
    let middle = median(noise.clone());
    let deviation = 1.48 * median(noise.iter().map(|noise| (noise - middle).abs()).collect());
    let allowed = WORSE_MAX + 2.0 * 1.25 * deviation / (blocks.len() as f64).sqrt();
    let worse = [0, 1].map(|logger| median(blocks.iter().map(|block| block.worse[logger]).collect()));
    let [dead, stuck] = worse.map(|worse| 100.0 * worse);
    println!(
        "{what}: {dead:+.1} % with a dead logger, {stuck:+.1} % with a stuck one; allowed {:.1} %",
        100.0 * allowed
    );
    if worse.iter().all(|worse| *worse <= allowed) { Ok(()) } else { Err(format!("{what}: {worse:?}")) }
}

/// Which cluster has the better place on the cores stays as it is while the clusters run, and shows as a cost of its logger.
/// So what looks like one has to show again with new clusters.
#[test]
fn a_dead_or_stuck_logger_costs_callers_nothing() {
    if let Err(first) = costs_nothing() {
        println!("once more, with new clusters, after {first}");
        costs_nothing().unwrap_or_else(|again| panic!("twice: {first}; {again}"));
    }
}

fn costs_nothing() -> Result<(), String> {
    let scratch = Scratch::new("logger-load");
    let [shipped, taken] = ["lines", "connections"].map(|name| scratch.path().join(name));
    let live_at = free_port();
    let _live = live(live_at, &shipped);
    let (_stuck, stuck_at) = stuck(&taken);
    let clusters = LOGGERS.map(|logger| {
        let to = match logger {
            Logger::Without => None,
            Logger::Live => Some(live_at),
            Logger::Dead => Some(free_port()),
            Logger::Stuck => Some(stuck_at),
        };
        start(logger, to)
    });

    let measured = measure(&clusters);
    for (index, logger) in LOGGERS.iter().enumerate() {
        let figures = |of: fn(&Window) -> f64| median(measured.iter().map(|windows| of(&windows[index])).collect());
        let (per_second, p99_ms) = (figures(|window| window.per_second), figures(|window| window.p99_ms));
        println!("{logger:?}: {per_second:.0} calls a second, p99 {p99_ms:.2} ms");
    }
    let (shipped, connections) = (lines(&shipped), lines(&taken) - 1);
    println!("the live logger took {shipped} lines, the stuck one {connections} connections");
    assert!(shipped > 500, "there is something to log");
    assert!(connections > 3, "what is not read is given up, and another connection made");
    let compared = |of: fn(&Window) -> f64| -> Vec<_> {
        measured.iter().map(|windows| compare(windows.each_ref().map(of))).collect()
    };
    let time = check("time for a call", &compared(|window| 1.0 / window.per_second));
    time.and(check("p99", &compared(|window| window.p99_ms)))
}
