//! Calls while a joiner fetches a large state.

use std::time::Duration;

use concoord_tests::cluster::{Cluster, Launch, concoord, free_address, wait_for_within};
use concoord_tests::large;
use concoord_tests::windows::{Callers, Window};

/// As much as an object may have, less what it takes beside.
const PAGES: usize = 4095;
const MIB: u64 = 1 << 20;
const CALLERS: usize = 4;
const WINDOW: Duration = Duration::from_secs(5);
/// So little that snapshots follow each other while calls are made.
const SNAPSHOT_LOG_BYTES: &str = "4194304";
/// What taking a snapshot may hold calls up: of a processor each time, and by the clock half of the times. The clock also
/// counts what the other processes here took in between.
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// How long the joiner may take, on a machine on which all of them share the disk.
const JOIN_LIMIT: Duration = Duration::from_secs(120);
/// What the log says with --debug each time that a state is taken.
const TAKEN: &str = "calls waited ";
/// What stands in the same line before the time of a processor.
const WORKED: &str = ", which took ";
/// What it says when one is on disk, before its bytes.
const SAVED: &str = "saved, ";
const RECEIVED: &str = "received, ";
/// What a joiner says when it goes on from one.
const TAKEN_OVER: &str = "is in place";

#[test]
fn calls_go_on_while_a_joiner_fetches_256_mib_of_state() {
    let mut cluster = Cluster::new("large-state");
    let flags = ["-o", "counter", "-d", "--snapshot-log-bytes", SNAPSHOT_LOG_BYTES];
    let first = cluster.start(&flags);
    let seed = first.to_string();
    let joining = [&flags[..], &["-b", &seed]].concat();
    let second = cluster.start(&joining);
    let module = cluster.scratch().write("large.wasm", &large::module(PAGES)).display().to_string();
    let addresses = cluster.addresses();
    let loaded = concoord(&["object", "load", "large", &module, "-c", &addresses]);
    assert_eq!(loaded.code, Some(0), "{loaded:?}");

    // Two snapshots of it, so that the log begins behind it.
    let callers = Callers::start(&addresses, CALLERS);
    wait_for_within(JOIN_LIMIT, "two snapshots with the large state on both", || {
        let saved = [first, second].map(|address| numbers(&cluster.replica(address).log(), SAVED));
        let large = saved.map(|saved| saved.into_iter().filter(|bytes| *bytes > 200 * MIB).count());
        if large.iter().all(|count| *count >= 2) { Ok(()) } else { Err(format!("{large:?} so far")) }
    });
    let before = callers.window(WINDOW);
    let third = free_address();
    let joined = |log: &str| log.contains(TAKEN_OVER);
    let (joiner, transfer) = callers.during(|| {
        let joiner = cluster.launch(third, Launch::with_flags(&joining));
        wait_for_within(JOIN_LIMIT, "the joiner to have the state", || {
            if joined(&joiner.log()) { Ok(()) } else { Err(joiner.log()) }
        });
        joiner
    });
    let received = numbers(&joiner.log(), RECEIVED).into_iter().max();
    assert!(received.is_some_and(|bytes| bytes > 200 * MIB), "{received:?} bytes came as a snapshot");
    for (what, window) in [("before", before), ("during the transfer", transfer)] {
        let Window { per_second, p99_ms, p999_ms, longest_ms } = window;
        println!(
            "{what:20} {per_second:8.0}/s  p99 {p99_ms:7.2} ms  p99.9 {p999_ms:7.2} ms  longest {longest_ms:7.2} ms"
        );
    }

    let logs = [first, second].map(|address| cluster.replica(address).log());
    let [waits, work] = [TAKEN, WORKED].map(|words| {
        let mut times: Vec<u64> = logs.iter().flat_map(|log| numbers(log, words)).collect();
        times.sort_unstable();
        times.into_iter().map(Duration::from_micros).collect::<Vec<_>>()
    });
    assert!(!waits.is_empty() && waits.len() == work.len(), "{waits:?} {work:?}");
    let (median, longest, most) = (waits[waits.len() / 2], waits[waits.len() - 1], work[work.len() - 1]);
    println!("calls waited at most {longest:?} for one of {} snapshots, half of them {median:?} or less", waits.len());
    println!("taking one took at most {most:?} of a processor");
    assert!(median < PAUSE_MAX && most < PAUSE_MAX, "{waits:?} {work:?}");
}

/// The numbers that stand behind these words in a log.
fn numbers(log: &str, words: &str) -> Vec<u64> {
    let behind = log.split(words).skip(1);
    let digits = behind.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
    digits.filter_map(|digits| digits.parse().ok()).collect()
}
