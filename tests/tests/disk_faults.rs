//! The disk of one of three replicas fails under load: the replica ends and says what failed, or goes on; nothing
//! acknowledged is lost, and without the fault it is back.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use concoord_tests::cluster::{Cluster, Launch, concoord, wait_for, wait_for_within};
use concoord_tests::disk_faults::{DiskError, DiskFaults, Fault, Operation};
use concoord_tests::load::{Load, is_long};

const REPLICAS: usize = 3;
const CLIENTS: usize = 8;
/// Enough to fill segments of the log in a short time.
const CLIENTS_MANY: usize = 256;
/// How long one of so many clients may wait for a new leader: all dial it at once, on the cores that it shares with them.
const WAIT_LIMIT_MANY: Duration = Duration::from_secs(3);
/// The operations that fail one after another: each of the first 300, or some of them.
const LAST: u64 = 300;
const SOME: [u64; 12] = [1, 2, 3, 4, 5, 6, 8, 13, 21, 55, 144, LAST];
/// Increments that are acknowledged after a fault before a replica that still runs is said to have gone on.
const INCREMENTS_AFTER: u64 = 200;
/// While one of three is gone, nobody may wait as long as this.
const GAP_LIMIT: Duration = Duration::from_secs(1);
/// Until the log needs a new segment.
const FULL_PATIENCE: Duration = Duration::from_secs(120);

/// What a replica did about a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Came {
    /// It ended with exit code 1 and this as the last line of its log.
    Ended(String),
    /// It still serves.
    WentOn,
}

/// Three replicas, each with a disk that can fail.
struct Lab {
    cluster: Cluster,
    disks: Vec<DiskFaults>,
}

impl Lab {
    fn new(name: &str) -> Lab {
        let mut cluster = Cluster::new(name);
        let mut disks = Vec::new();
        for index in 0..REPLICAS {
            let disk = DiskFaults::new(cluster.scratch(), &format!("disk-{index}"));
            let data_dir = disk.directory().display().to_string();
            let mut launch = Launch::with_flags(&["-o", "counter", "--data-dir", &data_dir]);
            if let Some(first) = cluster.all().first() {
                launch.flags.extend(["-b".into(), first.to_string()]);
            }
            cluster.start_with(launch.with_environment(disk.environment(false)));
            disks.push(disk);
        }
        Lab { cluster, disks }
    }

    fn disk(&self, address: SocketAddr) -> &DiskFaults {
        let index = self.cluster.all().iter().position(|replica| *replica == address);
        &self.disks[index.expect("it is one of the cluster")]
    }

    /// Starts a replica that has ended again, whose files can't grow. Without spare segments, it wants that at once.
    fn begin_restart_without_spares(&mut self, victim: SocketAddr, error: DiskError) -> Fault {
        for entry in fs::read_dir(self.disk(victim).directory()).expect("it has data") {
            let path = entry.expect("it can be read").path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("spare-")) {
                fs::remove_file(&path).expect("nobody uses it");
            }
        }
        let fault = Fault { operation: Operation::Grow, at: 1, error, lasting: true };
        self.disk(victim).reset();
        self.disk(victim).arm(fault);
        self.cluster.replica(victim).begin_restart();
        fault
    }

    /// Waits for the fault and for what comes of it.
    fn came_of_it(&mut self, victim: SocketAddr, load: &Load) -> Came {
        wait_for("the fault", || match self.disk(victim).failed() {
            0 => Err(format!("{} writes", self.disk(victim).count(Operation::Write))),
            _ => Ok(()),
        });
        let goal = load.acknowledged() + INCREMENTS_AFTER;
        wait_for("the replica to end or go on", || {
            if let Some(status) = self.cluster.replica(victim).ended() {
                let log = self.cluster.replica(victim).log_since_start();
                let said = log.lines().last().unwrap_or_default().to_owned();
                assert_eq!(status.code(), Some(1), "{victim} ended with {status}: {said}");
                return Ok(Came::Ended(said));
            }
            match stale_count(victim) {
                Ok(count) if count >= goal => Ok(Came::WentOn),
                Ok(count) => Err(format!("it runs, with {count} of {goal} increments")),
                Err(why) => Err(why),
            }
        })
    }

    /// The line must name the file and what was done to it.
    fn is_clear(&self, victim: SocketAddr, fault: Fault, said: &str) {
        let directory = self.disk(victim).directory().display().to_string();
        let words: &[&str] = match fault.operation {
            Operation::Sync => &["sync", "create"],
            _ => &["write", "create"],
        };
        assert!(said.contains(&directory), "{fault:?}: no file below {directory} in: {said}");
        assert!(words.iter().any(|word| said.contains(word)), "{fault:?}: none of {words:?} in: {said}");
        assert!(said.contains(fault.error.text()), "{fault:?}: no '{}' in: {said}", fault.error.text());
    }
}

/// What the replica itself has applied.
fn stale_count(address: SocketAddr) -> Result<u64, String> {
    let shown = concoord(&["call", "-c", &address.to_string(), "--timeout", "1s", "--stale", "getvalue"]);
    shown.stdout.trim().parse().map_err(|_| shown.stderr)
}

#[test]
fn the_nth_write_fails_and_nothing_is_lost() {
    each_fails(Operation::Write);
}

#[test]
fn the_nth_sync_fails_and_nothing_is_lost() {
    each_fails(Operation::Sync);
}

/// One after another fails, with either error, each at another replica than the one before.
fn each_fails(operation: Operation) {
    let numbers = if is_long() { (1..=LAST).collect() } else { SOME.to_vec() };
    let mut lab = Lab::new(&format!("disk-faults-{operation:?}"));
    let load = Load::start(&lab.cluster.addresses(), CLIENTS);
    println!("operation  error  from N  to N  ended  went on  longest gap ms  the last said");
    let mut turn = 0;
    for error in [DiskError::Broken, DiskError::Full] {
        load.next_period();
        let (mut ended, mut went_on, mut last) = (0, 0, String::new());
        for at in &numbers {
            load.wait_for_increments(INCREMENTS_AFTER);
            let victim = lab.cluster.all()[turn % REPLICAS];
            turn += 1;
            lab.cluster.replica(victim).kill();
            let fault = Fault { operation, at: *at, error, lasting: false };
            lab.disk(victim).reset();
            lab.disk(victim).arm(fault);
            lab.cluster.replica(victim).begin_restart();
            match lab.came_of_it(victim, &load) {
                Came::Ended(said) => {
                    lab.is_clear(victim, fault, &said);
                    (ended, last) = (ended + 1, said);
                    lab.disk(victim).disarm();
                    lab.cluster.restart_same(victim);
                }
                Came::WentOn => {
                    assert_eq!(error, DiskError::Full, "{fault:?}: nobody goes on with a broken disk");
                    went_on += 1;
                }
            }
            load.check(&lab.cluster.addresses());
        }
        let (first, to, gap) = (numbers[0], numbers[numbers.len() - 1], load.period().gap.as_millis());
        println!("{operation:<9?}  {error:<6?} {first:>6}  {to:>4}  {ended:>5}  {went_on:>7}  {gap:>14}  {last}");
    }
    let outcome = load.finish(&lab.cluster.addresses());
    assert!(outcome.gap().max(outcome.wait()) < GAP_LIMIT, "a client waited {:?}", outcome.wait());
}

#[test]
fn a_leader_with_a_broken_disk_ends_and_another_leads() {
    let mut lab = Lab::new("broken-leader");
    let load = Load::start(&lab.cluster.addresses(), CLIENTS);
    for operation in [Operation::Write, Operation::Sync] {
        load.wait_for_increments(INCREMENTS_AFTER);
        load.next_period();
        let leader = lab.cluster.leader(lab.cluster.all()[0]);
        let at = lab.disk(leader).count(operation) + 10;
        let fault = Fault { operation, at, error: DiskError::Broken, lasting: true };
        lab.disk(leader).arm(fault);
        let Came::Ended(said) = lab.came_of_it(leader, &load) else { panic!("nobody leads on with a broken disk") };
        println!("{operation:?}: {said}");
        lab.is_clear(leader, fault, &said);
        lab.disk(leader).reset();
        lab.cluster.restart_same(leader);
        load.check(&lab.cluster.addresses());
    }
    let outcome = load.finish(&lab.cluster.addresses());
    println!("longest gap: {} ms", outcome.gap().as_millis());
    assert!(outcome.gap().max(outcome.wait()) < GAP_LIMIT, "a client waited {:?}", outcome.wait());
}

#[test]
fn a_leader_with_a_full_disk_hands_over_says_so_and_is_back_when_there_is_room() {
    let mut lab = Lab::new("full-leader");
    let load = Load::start(&lab.cluster.addresses(), CLIENTS_MANY);
    load.wait_for_increments(INCREMENTS_AFTER);
    load.next_period();
    let leader = lab.cluster.leader(lab.cluster.all()[0]);
    let other = lab.cluster.other_than(leader);
    // A full disk still takes what overwrites.
    let at = lab.disk(leader).count(Operation::Grow) + 1;
    lab.disk(leader).arm(Fault { operation: Operation::Grow, at, error: DiskError::Full, lasting: true });
    let began = Instant::now();
    let next = wait_for_within(FULL_PATIENCE, "another leader", || match lab.cluster.leader(other) {
        next if next != leader => Ok(next),
        _ => Err(format!("{} operations failed", lab.disk(leader).failed())),
    });
    println!("{leader} handed over to {next} {} ms after its disk was full", began.elapsed().as_millis());
    assert!(lab.disk(leader).failed() > 0, "it handed over because its disk is full");
    let replica = lab.cluster.replica(leader);
    assert_eq!(replica.ended(), None, "it goes on");
    let log = replica.log_since_start();
    assert!(log.contains(DiskError::Full.text()), "it says so: {log}");
    // The others hear of it with its next heartbeat.
    wait_for("others to say so too", || {
        let health = concoord(&["health", "-c", &other.to_string()]);
        let says = health.stdout.contains(&format!("at {leader} is full"));
        if health.code == Some(1) && says { Ok(()) } else { Err(format!("{health:?}")) }
    });
    load.check(&lab.cluster.addresses());
    lab.disk(leader).disarm();
    let goal = load.acknowledged() + INCREMENTS_AFTER;
    wait_for("it to catch up", || match stale_count(leader)? {
        count if count >= goal => Ok(()),
        count => Err(format!("{count} of {goal}")),
    });
    let outcome = load.finish(&lab.cluster.addresses());
    println!("longest gap: {} ms", outcome.gap().as_millis());
    assert!(outcome.gap() < GAP_LIMIT && outcome.wait() < WAIT_LIMIT_MANY, "a client waited {:?}", outcome.wait());
}

#[test]
fn a_replica_that_starts_with_a_full_disk_serves_when_there_is_room() {
    let mut lab = Lab::new("full-start");
    // The one that began the cluster asks for its object before it serves.
    let first = lab.cluster.all()[0];
    lab.cluster.replica(first).kill();
    let load = Load::start(&lab.cluster.addresses(), CLIENTS);
    lab.begin_restart_without_spares(first, DiskError::Full);
    wait_for("it to say that its disk is full", || match lab.cluster.replica(first).log_since_start() {
        log if log.contains(DiskError::Full.text()) => Ok(()),
        log => Err(log),
    });
    load.wait_for_increments(INCREMENTS_AFTER);
    assert_eq!(lab.cluster.replica(first).ended(), None, "it goes on");
    lab.disk(first).disarm();
    let replica = lab.cluster.replica(first);
    wait_for("it to serve", || replica.id().ok_or_else(|| replica.log_since_start()));
    let goal = load.acknowledged() + INCREMENTS_AFTER;
    wait_for("it to catch up", || match stale_count(first)? {
        count if count >= goal => Ok(()),
        count => Err(format!("{count} of {goal}")),
    });
    let _ = load.finish(&lab.cluster.addresses());
}

#[test]
fn a_replica_whose_broken_disk_has_no_place_for_a_segment_ends() {
    let mut lab = Lab::new("broken-start");
    let victim = lab.cluster.all()[1];
    lab.cluster.replica(victim).kill();
    let fault = lab.begin_restart_without_spares(victim, DiskError::Broken);
    let replica = lab.cluster.replica(victim);
    let status = replica.wait();
    let said = replica.log_since_start().lines().last().unwrap_or_default().to_owned();
    println!("{said}");
    assert_eq!(status.code(), Some(1), "{said}");
    lab.is_clear(victim, fault, &said);
}
