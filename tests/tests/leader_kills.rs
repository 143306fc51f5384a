//! The leader is killed again and again under clients that never pause: nothing acknowledged is lost or counted twice,
//! and nobody waits long.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use concoord_tests::cluster::Cluster;
use concoord_tests::load::{Load, Period, is_long};

const REPLICAS: usize = 3;
const CLIENTS: usize = 8;
const KILLS: usize = 10;
const KILLS_LONG: usize = 50;
/// No gap may be as long as this.
const GAP_LIMIT: Duration = Duration::from_secs(1);
/// Half of the gaps must be shorter than this.
const MEDIAN_LIMIT: Duration = Duration::from_millis(300);
/// Increments that have to be acknowledged between a leader that is back and the next kill, so that each kill hits
/// clients at work.
const INCREMENTS_BETWEEN: u64 = 1000;

struct Kill {
    leader: SocketAddr,
    back_after: Duration,
}

/// Kills the leader and starts it again; gives who it was once it is a voter again.
fn kill_leader(cluster: &mut Cluster, asked: SocketAddr) -> Kill {
    let leader = cluster.leader(asked);
    let living = cluster.other_than(leader);
    cluster.replica(leader).kill();
    let killed = Instant::now();
    cluster.restart(leader, living);
    Kill { leader, back_after: killed.elapsed() }
}

fn print_table(kills: &[Kill], periods: &[Period]) {
    println!("kill  leader           acknowledged  gap ms  longest call ms  voter again after ms");
    let before = &periods[0];
    let row = |kill: &str, leader: &str, period: &Period, back: &str| {
        let (gap, wait) = (period.gap.as_millis(), period.wait.as_millis());
        println!("{kill:<4}  {leader:<15}  {:>12}  {gap:>6}  {wait:>15}  {back:>20}", period.acknowledged);
    };
    row("-", "before", before, "");
    for (number, (kill, period)) in kills.iter().zip(&periods[1..]).enumerate() {
        let back = kill.back_after.as_millis().to_string();
        row(&(number + 1).to_string(), &kill.leader.to_string(), period, &back);
    }
}

/// How long clients were without a leader, in the middle of all kills.
fn median_gap(periods: &[Period]) -> Duration {
    let mut gaps: Vec<_> = periods[1..].iter().map(|period| period.gap).collect();
    gaps.sort_unstable();
    gaps[gaps.len() / 2]
}

#[test]
fn killed_leaders_lose_nothing_and_nobody_waits_long() {
    let kills = if is_long() { KILLS_LONG } else { KILLS };
    let mut cluster = Cluster::of("leader-kills", "counter", REPLICAS);
    let load = Load::start(&cluster.addresses(), CLIENTS);
    let mut asked = cluster.all()[0];
    let mut done = Vec::new();
    for _ in 0..kills {
        load.wait_for_increments(INCREMENTS_BETWEEN);
        load.next_period();
        let kill = kill_leader(&mut cluster, asked);
        asked = cluster.other_than(kill.leader);
        done.push(kill);
    }
    load.wait_for_increments(INCREMENTS_BETWEEN);
    let outcome = load.finish(&cluster.addresses());
    print_table(&done, &outcome.periods);
    let median = median_gap(&outcome.periods);
    println!("median gap over {} kills: {} ms", done.len(), median.as_millis());
    let longest = outcome.gap().max(outcome.wait());
    assert!(longest < GAP_LIMIT, "a client waited {longest:?}");
    assert!(median < MEDIAN_LIMIT, "half of the gaps were {median:?} or longer");
}
