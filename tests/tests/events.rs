//! What objects emit reaches who watches: each event once and in order, through whatever becomes of replicas.

use std::time::{Duration, Instant};

use concoord_client::watch::From;
use concoord_client::{CallError, Client, ClientError, Watch};
use concoord_objects::kv::{Change, KvProxy};
use concoord_tests::cluster::{Cluster, Launch, wait_for};
use concoord_tests::load::blocking;
use concoord_wire::codec;
use tokio::time::timeout;

const LEADER_CHANGES: usize = 20;
const WRITES_BETWEEN: u64 = 25;
/// Topics that the writes go to in turn.
const TOPICS: u64 = 3;

async fn client(addresses: &str) -> Client {
    Client::connect(addresses).await.expect("the replicas run")
}

/// The next event: its revision, its key and its value.
async fn next(watch: &mut Watch) -> (u64, String, u64) {
    let event = timeout(Duration::from_secs(30), watch.next()).await.expect("it comes").expect("it is kept");
    match codec::from_bytes(&event.payload).expect("a change") {
        Change::Put { key, entry } => {
            assert_eq!(key, event.topic);
            assert!(entry.revision < event.revision.0, "the event comes behind its write");
            (event.revision.0, key, entry.value.parse().expect("a number"))
        }
        other => panic!("{other:?}"),
    }
}

fn topic(write: u64) -> String {
    format!("topic-{}", write % TOPICS)
}

/// Reads what was written from `first` on, `step` apart, up to `last`.
async fn read_all(mut watch: Watch, first: u64, step: u64, last: u64) -> (Watch, u64) {
    let (mut newest, mut read) = (0, 0);
    for write in (first..=last).step_by(usize::try_from(step).expect("a few")) {
        let (revision, key, value) = next(&mut watch).await;
        assert_eq!((key, value), (topic(write), write), "no gap and no repetition");
        assert!(revision > newest, "{revision} after {newest}");
        (newest, read) = (revision, read + 1);
    }
    (watch, read)
}

#[test]
fn watchers_see_each_event_once_and_in_order_through_twenty_leader_changes() {
    let mut cluster = Cluster::of("events-leaders", "kv", 3);
    let addresses = cluster.addresses();
    blocking(async {
        let writer = client(&addresses).await;
        let kv = KvProxy::new(writer.clone());
        let last = LEADER_CHANGES as u64 * WRITES_BETWEEN - 1;
        let (first, second) = (client(&addresses).await, client(&addresses).await);
        let all = first.watch(None, None, From::Now).await.expect("it begins");
        let one = second.watch(None, Some(&topic(1)), From::Now).await.expect("it begins");
        let all = tokio::spawn(read_all(all, 0, 1, last));
        let one = tokio::spawn(read_all(one, 1, TOPICS, last));
        for change in 0..LEADER_CHANGES as u64 {
            let leader = cluster.leader(cluster.all()[0]);
            // In the middle of its writes.
            for write in change * WRITES_BETWEEN..(change + 1) * WRITES_BETWEEN {
                if write % WRITES_BETWEEN == WRITES_BETWEEN / 2 {
                    cluster.replica(leader).kill();
                }
                kv.put(topic(write), write.to_string(), None, None).await.expect("it is written");
            }
            cluster.restart_same(leader);
        }
        let (all, read) = all.await.expect("it reads all");
        let (one, of_one) = one.await.expect("it reads all of its topic");
        println!("{LEADER_CHANGES} leader changes: {read} events to one watcher, {of_one} of one topic to another");

        // Whoever comes later finds them all, and goes on where another one was.
        let (_, again) = read_all(first.watch(None, None, From::Oldest).await.expect("it begins"), 0, 1, last).await;
        let mut later = second.watch(None, None, From::After(all.revision())).await.expect("it begins");
        kv.put(topic(1), "7".into(), None, None).await.expect("it is written");
        assert_eq!((again, next(&mut later).await.2), (read, 7));
        assert!(one.revision() <= all.revision());
    });
}

#[test]
fn a_watcher_goes_on_at_a_replica_that_had_its_state_from_a_snapshot() {
    let mut cluster = Cluster::new("events-snapshot");
    let small = ["--snapshot-log-bytes", "65536"];
    let first = cluster.start(&[&["-o", "kv"], &small[..]].concat());
    blocking(async {
        let before = client(&first.to_string()).await;
        let kv = KvProxy::new(before.clone());
        let mut watch = before.watch(None, None, From::Now).await.expect("it begins");
        for write in 0..3000 {
            kv.put(topic(write), write.to_string(), None, None).await.expect("it is written");
        }
        for write in 0..1000 {
            assert_eq!(next(&mut watch).await.2, write);
        }
        let boot = first.to_string();
        let joined = cluster.start_with(Launch::with_flags(&[&["-o", "kv", "-b", &boot], &small[..]].concat()));
        wait_for("the joiner to have all", || {
            let log = cluster.replica(joined).log();
            if log.contains("the state of the snapshot of slot") { Ok(()) } else { Err("no snapshot yet".to_owned()) }
        });
        let there = client(&joined.to_string()).await;
        let mut watch = there.watch(None, None, From::After(watch.revision())).await.expect("it begins");
        for write in 1000..3000 {
            assert_eq!(next(&mut watch).await.2, write);
        }
    });
}

#[test]
fn whoever_comes_too_late_is_told_what_is_kept_and_an_object_that_is_gone_ends_the_watch() {
    let cluster = Cluster::of("events-compacted", "kv", 1);
    let addresses = cluster.addresses();
    blocking(async {
        let client = client(&addresses).await;
        let kv = KvProxy::new(client.clone());
        let mut early = client.watch(None, None, From::After(0)).await.expect("it begins");
        let writes = 4096 + 50;
        let puts: Vec<_> = (0..writes)
            .map(|write: u64| {
                let mut arguments = codec::to_bytes(&(topic(write), write.to_string()));
                arguments.extend([0, 0]);
                client.call_async(None, "put", arguments).expect("it is sent")
            })
            .collect();
        for put in puts {
            put.await.expect("it is written");
        }
        let oldest = match early.next().await {
            Err(ClientError::Call(CallError::Compacted { oldest })) => oldest.0,
            other => panic!("{other:?}"),
        };
        let kept = client.watch(None, None, From::After(oldest - 1)).await.expect("it begins");
        read_all(kept, 50, 1, writes - 1).await;

        let mut watch = client.watch(None, None, From::Now).await.expect("it begins");
        let began = Instant::now();
        let removed = concoord_tests::cluster::concoord(&["object", "remove", "kv", "-c", &addresses]);
        assert_eq!(removed.code, Some(0), "{removed:?}");
        let ended = timeout(Duration::from_secs(10), watch.next()).await.expect("it ends");
        assert!(matches!(ended, Err(ClientError::Call(CallError::UnknownObject { .. }))), "{ended:?}");
        println!("a watch ended {:?} after its object was removed", began.elapsed());
        drop(kv);
    });
}
