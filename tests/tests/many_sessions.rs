//! Many sessions and many calls that wait on one cluster: what each costs, also to be kept alive, and what it costs others when
//! all end at once.

use std::time::{Duration, Instant};

use concoord_tests::cluster::{Cluster, concoord};
use concoord_tests::load::blocking;
use concoord_tests::raw::Raw;
use concoord_tests::usage;
use concoord_tests::windows::Callers;
use concoord_transport::Endpoint;
use concoord_wire::client::{Request, Response};
use concoord_wire::{CallId, ObjectId, SessionId};

const SESSIONS: u128 = 10_000;
const PARKED: usize = 1_000;
const SIGNS_AT_ONCE: usize = 100;
const TTL_MS: u32 = 15_000;
const STALL_MS_MAX: f64 = 200.0;

/// Memory of all replicas together.
fn memory(cluster: &mut Cluster) -> u64 {
    let all = cluster.all();
    all.into_iter().map(|address| usage::memory_bytes(cluster.replica(address).process())).sum()
}

fn sessions(addresses: &str) -> usize {
    let listed = concoord(&["sessions", "--json", "-c", addresses]);
    let list: serde_json::Value = serde_json::from_str(&listed.stdout).expect("JSON");
    list["sessions"].as_array().expect("a list").len()
}

#[test]
fn ten_thousand_sessions_and_a_thousand_waits_cost_little_and_end_at_once_without_a_stall() {
    let mut cluster = Cluster::of("many-sessions", "counter", 3);
    let addresses = cluster.addresses();
    let loaded = concoord(&["object", "load", "lock", "lock", "-c", &addresses]);
    assert_eq!(loaded.code, Some(0), "{loaded:?}");
    let leader = cluster.leader(cluster.all()[0]);
    // Let everything be as large as it gets by itself.
    concoord_tests::load::increment_many(&addresses, 20_000, 64);
    let empty = memory(&mut cluster);

    let (open, with_sessions, with_parked) = blocking(async {
        let endpoint = Endpoint::client().expect("a socket");
        let mut raw = Raw::dial(&endpoint, leader).await.expect("it runs");
        let mut open: Vec<SessionId> = Vec::new();
        for some in (1..=SESSIONS).collect::<Vec<_>>().chunks(500) {
            some.iter().for_each(|nonce| assert!(raw.send(&Request::OpenSession { nonce: *nonce, ttl_ms: TTL_MS })));
            while open.len() < some.last().copied().unwrap_or_default() as usize {
                match raw.next().await.expect("it goes on") {
                    Response::SessionOpened { result, .. } => open.push(result.expect("there is room")),
                    other => panic!("{other:?}"),
                }
            }
        }
        let with_sessions = memory(&mut cluster);
        keep_alive(&mut raw, &open).await;
        for session in &open[..PARKED] {
            let call = CallId { session: *session, sequence: 1 };
            let (object, method) = (ObjectId(2), "acquire".into());
            let arguments = bytes::Bytes::new();
            assert!(raw.send(&Request::Call { call, floor: 0, received: None, wait_us: 0, object, method, arguments }));
        }
        let mut parked = 0;
        while parked < PARKED - 1 {
            match raw.next().await.expect("it goes on") {
                Response::Parked { .. } => parked += 1,
                // The first has it.
                Response::Called { result, .. } => drop(result.expect("a token")),
                other => panic!("{other:?}"),
            }
        }
        (open.len(), with_sessions, memory(&mut cluster))
    });
    let per = |before: u64, after: u64, count: usize| after.saturating_sub(before) / 3 / count as u64;
    let (per_session, per_parked) = (per(empty, with_sessions, open), per(with_sessions, with_parked, PARKED));
    println!(
        "{open} idle sessions: {per_session} bytes each at a replica; {PARKED} parked calls: {per_parked} bytes each"
    );
    assert!(per_session < 4096, "{per_session} bytes");
    assert!(per_parked < 16_384, "{per_parked} bytes");

    // Nobody keeps them alive: all end in the same few seconds, and the lock is passed on to nobody.
    let callers = Callers::start(&addresses, 4);
    let quiet = callers.window(Duration::from_secs(3));
    let (left, ending) = callers.during(|| wait_for_all_to_end(&addresses));
    println!("others before: {quiet:?}");
    println!("others while they ended: {ending:?}");
    println!("{left} sessions are left, those of the others");
    assert!(ending.p99_ms < STALL_MS_MAX, "{ending:?}");
    drop(callers);
    let holders = concoord(&["call", "lock.holders", "-c", &addresses]);
    let waiters = concoord(&["call", "lock.waiters", "-c", &addresses]);
    assert_eq!((holders.stdout.as_str(), waiters.stdout.as_str()), ("[]\n", "[]\n"), "no waiter is leaked");
}

/// Gives a sign of life for each, spread over a while.
async fn keep_alive(raw: &mut Raw, open: &[SessionId]) {
    let before = decided(raw).await;
    let began = Instant::now();
    for some in open.chunks(SIGNS_AT_ONCE) {
        some.iter().for_each(|session| assert!(raw.send(&Request::KeepAlive { session: *session })));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for _ in open {
        match raw.next().await.expect("it goes on") {
            Response::SessionKept { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let (took, slots) = (began.elapsed(), decided(raw).await - before);
    println!("{} signs of life in {took:.1?} took {slots} slots", open.len());
    // One each 100 ms, by the clock of a leader that may be late.
    assert!(slots <= 5 + took.as_millis() as u64 / 100, "{slots} slots in {took:?}");
}

async fn decided(raw: &mut Raw) -> u64 {
    assert!(raw.send(&Request::View { request: 1 }));
    match raw.next().await.expect("it goes on") {
        Response::View { roster, .. } => roster.decided.0,
        other => panic!("{other:?}"),
    }
}

fn wait_for_all_to_end(addresses: &str) -> usize {
    concoord_tests::cluster::wait_for_within(Duration::from_secs(60), "the sessions to end", || {
        std::thread::sleep(Duration::from_millis(200));
        match sessions(addresses) {
            left @ ..=10 => Ok(left),
            left => Err(format!("{left} are open")),
        }
    })
}
