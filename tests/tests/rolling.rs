//! Members that are replaced one after another, and one that is started by mistake as a cluster of its own.

use std::time::{Duration, Instant};

use concoord_client::Client;
use concoord_objects::CounterProxy;
use concoord_tests::cluster::{Cluster, Launch, concoord, wait_for};
use concoord_tests::load::{Load, counted};

const REPLICAS: usize = 3;
const CLIENTS: usize = 8;
const INCREMENTS_BETWEEN: u64 = 1000;
/// Nobody may wait as long as this while a member is replaced.
const GAP_LIMIT: Duration = Duration::from_secs(1);

#[test]
fn a_new_cluster_at_the_address_of_a_member_is_noticed_and_not_mixed_in() {
    let mut cluster = Cluster::of("mistake", "counter", REPLICAS);
    let addresses = cluster.addresses();
    for value in 1..=3 {
        let shown = concoord(&["call", "-c", &addresses, "increment"]);
        assert_eq!((shown.code, shown.stdout), (Some(0), format!("{value}\n")));
    }
    let leader = cluster.leader(cluster.all()[0]);
    let victim = cluster.other_than(leader);
    cluster.replica(victim).kill();
    // Without -b and without its data, it is the first replica of a new cluster.
    let empty = cluster.scratch().path().join("empty").display().to_string();
    let mut stranger = cluster.launch(victim, Launch::with_flags(&["-o", "counter", "--data-dir", &empty]));
    let began = Instant::now();
    let status = stranger.wait();
    println!("noticed after {} ms: {}", began.elapsed().as_millis(), stranger.log().lines().last().unwrap_or_default());
    assert_eq!(status.code(), Some(1), "{}", stranger.log());
    let said = stranger.log_since_start().lines().last().unwrap_or_default().to_owned();
    assert!(said.contains("new cluster") && said.contains("-b"), "{said}");
    assert_eq!(counted(&leader.to_string()), 3, "the cluster has what it had");
    cluster.restart(victim, leader);
    assert_eq!(counted(&cluster.addresses()), 3, "and has its member back");
    let members = cluster.members(leader);
    assert_eq!(members.len(), REPLICAS, "{members:?}");
}

#[tokio::test]
async fn a_first_replica_that_lost_its_disk_is_noticed_by_a_client() {
    let mut cluster = Cluster::new("lost-disk");
    let address = cluster.start(&["-o", "counter"]);
    let counter = CounterProxy::new(Client::connect(&address.to_string()).await.expect("it serves"));
    assert_eq!(counter.increment().await, Ok(1));
    cluster.release(address).kill();
    // The same command finds none of what it wrote, and starts a cluster of its own.
    let empty = cluster.scratch().path().join("empty").display().to_string();
    let mut replica = cluster.launch(address, Launch::with_flags(&["-o", "counter", "--data-dir", &empty]));
    let asking = tokio::spawn(async move { counter.getvalue().await });
    let (status, said) =
        tokio::task::spawn_blocking(move || (replica.wait(), replica.log_since_start())).await.expect("it ends");
    let last = said.lines().last().unwrap_or_default();
    println!("noticed: {last}");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(last.contains("a client of cluster") && last.contains("start it with -b"), "{last}");
    asking.abort();
}

#[test]
fn all_members_are_replaced_under_load_and_no_call_fails() {
    let mut cluster = Cluster::of("rolling", "counter", REPLICAS);
    let originals = cluster.all();
    let load = Load::start(&cluster.addresses(), CLIENTS);
    let mut rows = Vec::new();
    for old in originals {
        load.wait_for_increments(INCREMENTS_BETWEEN);
        load.next_period();
        let began = Instant::now();
        let living = cluster.other_than(old);
        let new = cluster.start(&["-o", "counter", "-b", &living.to_string()]);
        let members = cluster.members(living);
        let leaving = members.iter().find(|member| member.address == old).expect("it is still a member");
        let removed = concoord(&["members", "remove", &leaving.id, "-c", &cluster.addresses()]);
        assert_eq!(removed.code, Some(0), "{removed:?}");
        let mut gone = cluster.release(old);
        let status = gone.wait();
        wait_for("the others to know", || match cluster.members(new) {
            members if members.iter().all(|member| member.address != old) => Ok(()),
            members => Err(format!("{members:?}")),
        });
        rows.push((old, leaving.leader, new, status, began.elapsed()));
    }
    load.wait_for_increments(INCREMENTS_BETWEEN);
    let outcome = load.finish(&cluster.addresses());
    println!("replaced         by               led  exit  took ms  acknowledged  gap ms  longest call ms");
    for ((old, led, new, status, took), period) in rows.iter().zip(&outcome.periods[1..]) {
        let (led, code) = (if *led { "yes" } else { "no" }, status.code().map_or("-".into(), |code| code.to_string()));
        let (took, gap, wait) = (took.as_millis(), period.gap.as_millis(), period.wait.as_millis());
        let (old, new) = (old.to_string(), new.to_string());
        let acknowledged = period.acknowledged;
        println!("{old:<15}  {new:<15}  {led:<3}  {code:>4}  {took:>7}  {acknowledged:>12}  {gap:>6}  {wait:>15}");
    }
    println!("longest gap: {} ms", outcome.gap().as_millis());
    assert_eq!(cluster.members(cluster.all()[0]).len(), REPLICAS);
    assert!(outcome.gap().max(outcome.wait()) < GAP_LIMIT, "a client waited {:?}", outcome.wait());
}
