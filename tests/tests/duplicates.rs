//! Calls that are sent twice, and again over every other connection, through leaders that are killed, connections that are lost
//! and snapshots that are taken over: each is executed once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use concoord_tests::cluster::{Cluster, Launch};
use concoord_tests::load::{blocking, counted};
use concoord_tests::raw::{Raw, increment};
use concoord_transport::Endpoint;
use concoord_wire::client::{CallError, Response};
use concoord_wire::{CallId, SessionId};
use tokio::time::{sleep, timeout};

const CALLS: u64 = 1_000_000;
const CALLERS: u64 = 4;
/// Calls of one caller under way.
const WINDOW: usize = 512;
/// A leader is killed so often.
const KILL_EVERY: Duration = Duration::from_secs(2);
const SILENCE_MAX: Duration = Duration::from_millis(400);

/// What a caller did.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    sent: u64,
    connections: u64,
    answered_twice: u64,
}

/// Makes `count` calls in one session, each sent at least twice. Their answers are counted by nobody but the counter.
async fn call_all(cluster: Vec<std::net::SocketAddr>, number: u64, count: u64) -> Done {
    let endpoint = Endpoint::client().expect("a socket");
    let mut done = Done::default();
    let (mut session, mut at) = (None::<SessionId>, number as usize);
    // What is not answered, and what is answered above the floor.
    let (mut open, mut answers) = (BTreeMap::<u64, bool>::new(), BTreeMap::<u64, Vec<u8>>::new());
    let (mut next, mut floor) = (1, 0);
    while floor < count {
        at += 1;
        let Some(mut raw) = Raw::dial(&endpoint, cluster[at % cluster.len()]).await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        done.connections += 1;
        let Ok(opened) = timeout(SILENCE_MAX, raw.open_session(u128::from(number) + 1, 60_000)).await else { continue };
        let Some(id) = opened else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        assert_eq!(*session.get_or_insert(id), id, "one nonce opens one session");
        open.values_mut().for_each(|is_sent| *is_sent = false);
        'connected: loop {
            while open.len() < WINDOW && next <= count {
                open.insert(next, false);
                next += 1;
            }
            for (sequence, is_sent) in open.iter_mut().filter(|(_, is_sent)| !**is_sent) {
                let request = increment(CallId { session: id, sequence: *sequence }, floor);
                if !(raw.send(&request) && raw.send(&request)) {
                    break;
                }
                (*is_sent, done.sent) = (true, done.sent + 2);
            }
            let Ok(Some(response)) = timeout(SILENCE_MAX, raw.next()).await else { break 'connected };
            let Response::Called { call, result, .. } = response else { continue };
            match result {
                Ok(concoord_wire::abi::Answer::Returned(value)) => {
                    if open.remove(&call.sequence).is_some() {
                        answers.insert(call.sequence, value);
                        while answers.remove(&(floor + 1)).is_some() {
                            floor += 1;
                        }
                    } else {
                        done.answered_twice += 1;
                        let first = answers.get(&call.sequence);
                        assert!(first.is_none_or(|first| *first == value), "{call} was answered in two ways");
                    }
                }
                // The second of two that crossed the acknowledgement of the first.
                Err(CallError::Acknowledged { .. }) => done.answered_twice += 1,
                Err(CallError::Busy { .. }) => {
                    if let Some(is_sent) = open.get_mut(&call.sequence) {
                        *is_sent = false;
                    }
                }
                Err(error) if error.is_retryable() => break 'connected,
                other => panic!("{other:?}"),
            }
        }
    }
    done
}

#[test]
fn calls_that_are_sent_again_and_again_count_once() {
    let count = CALLS;
    let mut cluster = Cluster::new("duplicates");
    let flags = ["-o", "counter", "--snapshot-log-bytes", "1048576"];
    let first = cluster.start(&flags);
    let boot = first.to_string();
    for _ in 0..2 {
        cluster.start_with(Launch::with_flags(&[&flags[..], &["-b", &boot]].concat()));
    }
    let all = cluster.all();
    let began = Instant::now();
    let callers = std::thread::spawn({
        let all = all.clone();
        move || {
            blocking(async {
                let each = count / CALLERS;
                let running: Vec<_> =
                    (0..CALLERS).map(|number| tokio::spawn(call_all(all.clone(), number, each))).collect();
                let mut sum = Done::default();
                for ended in running {
                    let done = ended.await.expect("no panic");
                    sum.sent += done.sent;
                    sum.connections += done.connections;
                    sum.answered_twice += done.answered_twice;
                }
                sum
            })
        }
    });
    let mut kills = 0;
    while !callers.is_finished() {
        std::thread::sleep(Duration::from_millis(200));
        if began.elapsed() < KILL_EVERY * (kills + 1) {
            continue;
        }
        let leader = cluster.leader(all[0]);
        cluster.replica(leader).kill();
        kills += 1;
        // It misses more than the others keep of their log, so that it takes a snapshot over.
        std::thread::sleep(Duration::from_millis(1000));
        cluster.restart_same(leader);
    }
    let done = callers.join().expect("no panic");
    let taken = all.iter().map(|address| cluster.replica(*address).log());
    let snapshots: usize = taken.map(|log| log.matches("the state of the snapshot of slot").count()).sum();
    let counter = counted(&cluster.addresses());
    println!(
        "{count} calls: sent {} times over {} connections, {} answered more than once, {kills} leaders killed, {snapshots} \
         snapshots taken over, in {:.1} s; the counter is {counter}",
        done.sent,
        done.connections,
        done.answered_twice,
        began.elapsed().as_secs_f64()
    );
    assert_eq!(counter, count);
    assert!(done.sent >= 2 * count && kills > 0, "{done:?}");
    assert!(snapshots > 0, "no replica took a snapshot over");
}
