//! How long a replica needs to be back with much to replay.

use std::time::{Duration, Instant};

use concoord_tests::cluster::Cluster;
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
