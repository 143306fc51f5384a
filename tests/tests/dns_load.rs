//! Name servers under load: floods of questions while the object is called.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use concoord_tests::cluster::{Cluster, free_address};
use concoord_tests::flood::{Flood, Flooded, is_truncated, question};
use concoord_tests::load::{blocking, is_long};
use concoord_tests::usage::{median, memory_bytes, thread_time};
use concoord_tests::windows::{Callers, Window};
use hickory_server::proto::rr::RecordType;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::timeout;

const DOMAIN: &str = "counterdomain.com";
/// Questions a second of a flood.
const QUESTIONS_PER_SECOND: u32 = 20_000;
/// Networks, /24 each, that the flood from many comes from.
const NETWORKS: u32 = 512;
/// How far those lie from each other: the last one is in 127.99.0.0/16.
const NETWORKS_APART: u32 = 49;
/// Answers a second for one network, and for all, as replicas have it; what two seconds bring may be asked for at once.
const NETWORK_RATE: u64 = 100;
const ALL_RATE: u64 = 20 * NETWORK_RATE;
const BURST_SECONDS: u64 = 2;
/// Bytes out for each byte in, at most.
const AMPLIFICATION_MAX: f64 = 3.0;
/// How often the latency without the flood the latency under it may be.
const P99_TIMES_MAX: f64 = 2.0;
/// How much memory a replica may have more after floods than before, without calls, which take memory of their own.
const GROWTH_BYTES_MAX: u64 = 4 << 20;
/// Callers of the object, each with one call under way.
const CALLERS: usize = 16;
/// Floods while they call that count. One counts when the latencies right before and right after it are the same but for this
/// factor: else the machine did something else meanwhile. When so many floods bring no two that count, all count.
const FLOODS: usize = 2;
const FLOODS_MAX: usize = 5;
const STEADY: f64 = 1.5;
/// How often callers are looked at before the first flood, between two and after the last.
const WITHOUT: usize = 6;
/// How long one look is.
const WINDOW: Duration = Duration::from_secs(1);

/// An address of somebody who has nothing to do with the flood.
const ORDINARY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 200, 0, 1));
/// From one of its questions to the next.
const ORDINARY_PAUSE: Duration = Duration::from_millis(50);
/// From one look at whether a flood is over to the next.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long an answer over TCP may take.
const ORDINARY_PATIENCE: Duration = Duration::from_secs(1);

/// The name server's thread.
const THREAD: &str = "concoord-dns";

/// How long a flood is while the object is called, and how long one is without calls.
fn flood_time() -> Duration {
    Duration::from_secs(if is_long() { 60 } else { 10 })
}

fn quiet_flood_time() -> Duration {
    flood_time() / 2
}

/// Sources all over 127.0.0.0/8, each in a network of its own.
fn many_networks() -> Flood {
    let source =
        |network: u32| Ipv4Addr::from_bits(0x7f00_0000 + ((network * NETWORKS_APART) << 8) + network % 254 + 1);
    Flood::new((1..=NETWORKS).map(source), DOMAIN)
}

/// Three replicas with a name server each: the address of the leader, and that of its name server.
fn start(cluster: &mut Cluster) -> (SocketAddr, SocketAddr) {
    let mut servers = Vec::new();
    for _ in 0..3 {
        let server = free_address();
        let (port, all) = (server.port().to_string(), cluster.addresses());
        let mut flags = vec!["-o", "counter", "-n", DOMAIN, "--dns-port", &port];
        if !all.is_empty() {
            flags.extend(["-b", &all]);
        }
        servers.push((cluster.start(&flags), server));
    }
    let leader = cluster.leader(servers[0].0);
    *servers.iter().find(|(address, _)| *address == leader).expect("one of them leads")
}

/// What became of the questions of somebody ordinary.
#[derive(Clone, Copy, Debug, Default)]
struct Ordinary {
    /// Over UDP: whole answers, answers that TCP would be answered, and none.
    whole: u32,
    truncated: u32,
    lost: u32,
    /// Over TCP: whole answers, and the longest time that one took, the connection included.
    over_tcp: u32,
    tcp_wait: Duration,
}

/// Asks over UDP and over TCP by turns for `time`. Over TCP every question has to be answered.
async fn ask(server: SocketAddr, time: Duration) -> Ordinary {
    let mut ordinary = Ordinary::default();
    let question = question(DOMAIN, RecordType::TXT, true);
    let deadline = Instant::now() + time;
    while Instant::now() < deadline {
        match ask_udp(server, &question).await {
            None => ordinary.lost += 1,
            Some(true) => ordinary.truncated += 1,
            Some(false) => ordinary.whole += 1,
        }
        let began = Instant::now();
        let answered = timeout(ORDINARY_PATIENCE, ask_tcp(server, &question)).await;
        let answered = answered.expect("TCP is answered in time").expect("TCP is answered");
        assert!(!is_truncated(&answered), "there is room over TCP");
        ordinary.over_tcp += 1;
        ordinary.tcp_wait = ordinary.tcp_wait.max(began.elapsed());
        tokio::time::sleep(ORDINARY_PAUSE).await;
    }
    ordinary
}

/// Whether the answer is truncated, if there is one.
async fn ask_udp(server: SocketAddr, question: &[u8]) -> Option<bool> {
    let socket = UdpSocket::bind((ORDINARY, 0)).await.expect("an address of this machine");
    socket.send_to(question, server).await.expect("loopback takes it");
    let mut answer = [0; 4_096];
    let received = timeout(Duration::from_millis(100), socket.recv(&mut answer)).await.ok()?;
    Some(is_truncated(&answer[..received.expect("it is bound")]))
}

async fn ask_tcp(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((ORDINARY, 0).into())?;
    let mut stream = socket.connect(server).await?;
    let length = u16::try_from(question.len()).expect("a question is small");
    stream.write_all(&[&length.to_be_bytes()[..], question].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn p99(windows: &[Window]) -> f64 {
    median(windows.iter().map(|window| window.p99_ms).collect())
}

fn shown(windows: &[Window]) -> String {
    let each = windows.iter().map(|window| format!("{:.2}", window.p99_ms)).collect::<Vec<_>>().join(" ");
    let per_second = median(windows.iter().map(|window| window.per_second).collect());
    format!("{per_second:.0} calls a second, p99 {:.2} ms ({each})", p99(windows))
}

/// Floods, asks as somebody ordinary meanwhile, and does `meanwhile` as often as there is time. What that gave last is left
/// out: the flood was over before it was.
fn flood<T>(
    flood: &Flood,
    server: SocketAddr,
    time: Duration,
    meanwhile: impl Fn() -> T,
) -> (Flooded, Ordinary, Vec<T>) {
    thread::scope(|scope| {
        let ordinary = scope.spawn(|| blocking(ask(server, time)));
        let flood = scope.spawn(|| flood.send(server, QUESTIONS_PER_SECOND, time));
        let mut done = Vec::new();
        loop {
            let one = meanwhile();
            if flood.is_finished() {
                break;
            }
            done.push(one);
        }
        (flood.join().expect("it floods"), ordinary.join().expect("it asks"), done)
    })
}

/// Prints what came of a flood, and checks what holds of each: it was one, and its answers are limited.
fn check(flooded: &Flooded, ordinary: &Ordinary, rate: u64) {
    println!(
        "{} questions in {:.1} s ({:.0} a second): {} answers, {} truncated, {} nothing; {} bytes in, {} out: {:.2} times",
        flooded.questions,
        flooded.time.as_secs_f64(),
        flooded.per_second(),
        flooded.answers,
        flooded.truncated,
        flooded.questions - flooded.answers - flooded.truncated,
        flooded.bytes_in,
        flooded.bytes_out,
        flooded.amplification()
    );
    println!(
        "somebody ordinary: over UDP {} whole answers, {} truncated, {} none; over TCP {}, the longest after {:.1} ms",
        ordinary.whole,
        ordinary.truncated,
        ordinary.lost,
        ordinary.over_tcp,
        ordinary.tcp_wait.as_secs_f64() * 1e3
    );
    assert!(flooded.per_second() > 0.95 * f64::from(QUESTIONS_PER_SECOND), "the flood is what it should be");
    let seconds = flooded.time.as_secs() + 1;
    assert!(flooded.answers <= rate * (seconds + BURST_SECONDS), "answers are limited");
    assert!(flooded.amplification() <= AMPLIFICATION_MAX);
    assert!(ordinary.over_tcp > 0 && ordinary.whole + ordinary.truncated > 0, "others are answered meanwhile");
}

#[test]
fn a_flood_from_many_networks_is_limited_and_callers_go_on() {
    let mut cluster = Cluster::new("flood");
    let (leader, server) = start(&mut cluster);
    let (addresses, process) = (cluster.addresses(), cluster.replica(leader).process());
    let many = many_networks();
    let callers = Callers::start(&addresses, CALLERS);
    let without = || (0..WITHOUT).map(|_| callers.window(WINDOW)).collect::<Vec<_>>();

    let _warm_up = without();
    let mut before = without();
    println!("without a flood: {}", shown(&before));
    // Each flood is compared with what is right before and right after it: what else the machine does comes and goes.
    let (mut counted, mut all) = (Vec::new(), Vec::new());
    while counted.len() < FLOODS && all.len() < FLOODS_MAX {
        let used = thread_time(process, THREAD);
        let (flooded, ordinary, under) = flood(&many, server, flood_time(), || callers.window(WINDOW));
        let used = thread_time(process, THREAD) - used;
        let after = without();
        println!("under the flood: {}; the name server's thread used {:.1} s", shown(&under), used.as_secs_f64());
        check(&flooded, &ordinary, ALL_RATE);
        let times = p99(&under) / p99(&[&before[..], &after[..]].concat());
        let (low, high) = (p99(&before).min(p99(&after)), p99(&before).max(p99(&after)));
        let counts = high <= STEADY * low;
        println!(
            "after it: {}; p99 under it: {times:.2} times{}",
            shown(&after),
            if counts { "" } else { ", unsteady" }
        );
        all.push(times);
        counted.extend(counts.then_some(times));
        before = after;
    }
    let counted = if counted.len() == FLOODS { counted } else { all };
    let times = counted.iter().sum::<f64>() / counted.len() as f64;
    println!("p99 under a flood: {times:.2} times what it is without");
    assert!(times <= P99_TIMES_MAX, "callers wait {times:.2} times as long");
}

#[test]
fn a_flood_from_one_network_leaves_the_others_their_answers_and_no_flood_takes_memory() {
    let mut cluster = Cluster::new("flood-memory");
    let (leader, server) = start(&mut cluster);
    let process = cluster.replica(leader).process();
    let memory = memory_bytes(process);
    let one = Flood::new((1..=64).map(|host| Ipv4Addr::new(127, 1, 1, host)), DOMAIN);
    let (flooded, ordinary, _) = flood(&one, server, quiet_flood_time(), || thread::sleep(POLL_INTERVAL));
    println!("from one network:");
    check(&flooded, &ordinary, NETWORK_RATE);
    assert_eq!(ordinary.truncated, 0, "nobody else is limited");
    assert!(ordinary.whole >= 9 * ordinary.lost, "datagrams are lost only where there is no room for them");
    let (flooded, ordinary, _) = flood(&many_networks(), server, quiet_flood_time(), || thread::sleep(POLL_INTERVAL));
    println!("from many networks:");
    check(&flooded, &ordinary, ALL_RATE);
    let growth = memory_bytes(process).saturating_sub(memory);
    println!("memory of the flooded leader, without calls: {} KiB more", growth >> 10);
    assert!(growth <= GROWTH_BYTES_MAX, "it grew by {growth} bytes");
}
