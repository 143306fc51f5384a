//! Replicas are killed at random and all at once, and their power is cut, under clients that never pause: everything
//! acknowledged is there exactly once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use concoord_tests::cluster::{Cluster, Launch};
use concoord_tests::disk_faults::DiskFaults;
use concoord_tests::load::{Load, Outcome, is_long};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const REPLICAS: usize = 3;
const CLIENTS: usize = 8;
const KILLS: usize = 20;
const KILLS_LONG: usize = 300;
const CLUSTER_KILLS: usize = 3;
const CLUSTER_KILLS_LONG: usize = 50;
const POWER_CUTS: usize = 3;
const POWER_CUTS_LONG: usize = 50;
/// Increments that have to be acknowledged between replicas that are back and the next kill, so that each kill hits
/// clients at work.
const INCREMENTS_BETWEEN: u64 = 500;
/// While one of three is gone, nobody may wait as long as this.
const GAP_LIMIT: Duration = Duration::from_secs(1);

/// One row of the table.
struct Kill {
    what: String,
    back_after: Duration,
}

fn print_table(kills: &[Kill], outcome: &Outcome) {
    println!("kill  what                            acknowledged  gap ms  longest call ms  all back after ms");
    let before = Kill { what: "before".into(), back_after: Duration::ZERO };
    for (number, (kill, period)) in [&before].into_iter().chain(kills).zip(&outcome.periods).enumerate() {
        let (gap, wait, back) = (period.gap.as_millis(), period.wait.as_millis(), kill.back_after.as_millis());
        println!("{number:>4}  {:<30}  {:>12}  {gap:>6}  {wait:>15}  {back:>17}", kill.what, period.acknowledged);
    }
}

/// Chance whose seed is printed, so that a failure can be looked at again with the same choices.
fn chance(name: &str) -> StdRng {
    let seed = std::env::var("CONCOORD_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    println!("{name}: CONCOORD_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Does something to the cluster again and again under load; after each time, the counter is right.
fn under_load(cluster: &mut Cluster, times: usize, mut strike: impl FnMut(&mut Cluster) -> String) -> Outcome {
    let load = Load::start(&cluster.addresses(), CLIENTS);
    let mut kills = Vec::new();
    for _ in 0..times {
        load.wait_for_increments(INCREMENTS_BETWEEN);
        load.next_period();
        let began = Instant::now();
        let what = strike(cluster);
        kills.push(Kill { what, back_after: began.elapsed() });
        load.check(&cluster.addresses());
    }
    load.wait_for_increments(INCREMENTS_BETWEEN);
    let outcome = load.finish(&cluster.addresses());
    print_table(&kills, &outcome);
    println!("{times} times, nothing acknowledged was lost or applied twice");
    outcome
}

#[test]
fn random_replicas_are_killed_and_nothing_is_lost_or_applied_twice() {
    let mut random = chance("kills");
    let mut cluster = Cluster::of("kills", "counter", REPLICAS);
    let kills = if is_long() { KILLS_LONG } else { KILLS };
    let outcome = under_load(&mut cluster, kills, |cluster| {
        let all = cluster.all();
        let victim = all[random.random_range(0..all.len())];
        let leads = cluster.leader(victim) == victim;
        cluster.replica(victim).kill();
        cluster.restart_same(victim);
        format!("{victim}{}", if leads { ", the leader" } else { "" })
    });
    let longest = outcome.gap().max(outcome.wait());
    assert!(longest < GAP_LIMIT, "a client waited {longest:?}");
}

#[test]
fn all_replicas_are_killed_at_once_and_nothing_is_lost_or_applied_twice() {
    let mut cluster = Cluster::of("cluster-kills", "counter", REPLICAS);
    let kills = if is_long() { CLUSTER_KILLS_LONG } else { CLUSTER_KILLS };
    _ = under_load(&mut cluster, kills, |cluster| {
        let before = identities(cluster);
        cluster.kill_all();
        cluster.restart_all_same();
        assert_eq!(identities(cluster), before, "who finds its data goes on as itself");
        format!("all {REPLICAS}")
    });
}

#[test]
fn the_power_of_all_replicas_is_cut_and_nothing_is_lost_or_applied_twice() {
    let mut random = chance("power cuts");
    let mut cluster = Cluster::new("power-cuts");
    let mut disks = Vec::new();
    for index in 0..REPLICAS {
        let disk = DiskFaults::new(cluster.scratch(), &format!("disk-{index}"));
        let data_dir = disk.directory().display().to_string();
        let mut launch = Launch::with_flags(&["-o", "counter", "--data-dir", &data_dir]);
        if let Some(first) = cluster.all().first() {
            launch.flags.extend(["-b".into(), first.to_string()]);
        }
        cluster.start_with(launch.with_environment(disk.environment(true)));
        disks.push(disk);
    }
    let cuts = if is_long() { POWER_CUTS_LONG } else { POWER_CUTS };
    _ = under_load(&mut cluster, cuts, |cluster| {
        cluster.kill_all();
        // A disk has all, none, or some of what it was not told to keep.
        let kept = [0.0, 0.5, 1.0][random.random_range(0..3)];
        let lost = disks.iter().map(|disk| disk.lose_unsynced(&mut || random.random_bool(kept)).sectors).sum::<u64>();
        cluster.restart_all_same();
        format!("all {REPLICAS}, {lost} sectors lost")
    });
}

/// Who is where.
fn identities(cluster: &Cluster) -> Vec<(SocketAddr, String)> {
    let members = cluster.members(cluster.all()[0]);
    members.into_iter().map(|member| (member.address, member.id)).collect()
}
