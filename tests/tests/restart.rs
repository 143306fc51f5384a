//! Starting again with an earlier life's data: how long it takes with much to replay, and what is checked before.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use concoord_tests::cluster::{Cluster, Launch, free_address};
use concoord_tests::load::{counted, increment_many, is_long};

const CALLS: u64 = 50_000;
const CALLS_LONG: u64 = 1_000_000;
const IN_FLIGHT: u64 = 256;
/// So large that no snapshot is made.
const NO_SNAPSHOT_BYTES: &str = "1099511627776";
const RESTART_LIMIT: Duration = Duration::from_secs(5);

#[test]
fn a_restart_replays_all_calls_since_the_last_snapshot_in_time() {
    let calls = if is_long() { CALLS_LONG } else { CALLS };
    let mut cluster = Cluster::new("restart");
    // Alone, so that nobody helps it, and a linearizable read waits until it has replayed all.
    let replica = cluster.start(&["-o", "counter", "--snapshot-log-bytes", NO_SNAPSHOT_BYTES]);
    increment_many(&replica.to_string(), calls, IN_FLIGHT);
    cluster.replica(replica).kill();
    let began = Instant::now();
    cluster.restart_same(replica);
    assert_eq!(counted(&replica.to_string()), calls);
    let took = began.elapsed();
    println!(
        "{calls} decided calls since the last snapshot: {} ms from the start to the first answer",
        took.as_millis()
    );
    assert!(took < RESTART_LIMIT, "it took {took:?}");
}

/// Neither has made a snapshot of its own, so what they know of themselves stands in their logs only.
#[test]
fn a_joiner_that_starts_elsewhere_or_as_another_kind_is_told_so() {
    let mut cluster = Cluster::new("moved");
    let first = cluster.start(&["-o", "counter"]).to_string();
    let data = cluster.scratch().path().join("joiner").display().to_string();
    let flags = ["-o", "counter", "-b", &first, "--data-dir", &data];
    let joiner = cluster.start(&flags);
    // Until the log holds that it is a voter.
    increment_many(&first, 100, 1);
    let mut stopped = cluster.release(joiner);
    stopped.kill();

    let mut elsewhere = cluster.launch(free_address(), Launch::with_flags(&flags));
    assert_eq!(elsewhere.wait().code(), Some(1));
    let log = elsewhere.log();
    assert!(log.contains(&format!("which the cluster reaches at {joiner}, not at")), "{log}");

    let as_witness = [&flags[..], &["--witness"]].concat();
    let mut witness = cluster.launch(joiner, Launch::with_flags(&as_witness));
    assert_eq!(witness.wait().code(), Some(1));
    let log = witness.log();
    assert!(log.contains("holds the data of a replica, which does not become a witness"), "{log}");

    cluster.start_at(joiner, Launch::with_flags(&flags));
    assert_eq!(counted(&joiner.to_string()), 100);
}

/// It does not know the others from its snapshot, and the part of its log that tells of them is damaged.
#[test]
fn a_first_replica_that_lost_the_log_of_its_peers_joining_is_repaired_by_them() {
    let mut cluster = Cluster::new("damaged-first");
    let data = cluster.scratch().path().join("first");
    let first = cluster.start(&["-o", "counter", "--data-dir", &data.display().to_string()]);
    let second = cluster.start(&["-o", "counter", "-b", &first.to_string()]);
    cluster.start(&["-o", "counter", "-b", &first.to_string()]);
    increment_many(&first.to_string(), 100, 1);
    cluster.replica(first).kill();
    flip_a_byte(&data.join("log-00000000000000000001"), 600);
    // The others go on without it.
    increment_many(&second.to_string(), 50, 1);
    cluster.restart_same(first);
    let log = cluster.replica(first).log_since_start();
    assert!(log.contains("damaged: log-00000000000000000001"), "{log}");
    assert_eq!(counted(&first.to_string()), 150);
}

fn flip_a_byte(path: &Path, at: u64) {
    let mut file = OpenOptions::new().read(true).write(true).open(path).expect("the replica wrote it");
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut byte)).expect("it is that long");
    byte[0] ^= 0x10;
    file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(&byte)).expect("it is ours");
}
