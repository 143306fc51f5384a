//! A member that is started by mistake as a cluster of its own.

use std::time::Instant;

use concoord_tests::cluster::{Cluster, Launch, concoord};
use concoord_tests::load::counted;

const REPLICAS: usize = 3;

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
