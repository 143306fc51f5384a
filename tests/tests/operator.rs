//! What operators do to a cluster of real processes: look at the members and change them, ask for its health, stop and
//! start replicas again.

use std::net::SocketAddr;

use concoord_tests::cluster::{Cluster, Finished, Launch, Member, Signal, concoord, free_address, wait_for};
use serde_json::Value;

/// Runs `concoord` with these words and `-c`.
fn at(addresses: impl ToString, words: &[&str]) -> Finished {
    concoord(&[words, &["-c", &addresses.to_string()]].concat())
}

/// Runs it, and gives what it printed.
fn ok(addresses: impl ToString, words: &[&str]) -> String {
    let finished = at(addresses, words);
    assert_eq!(finished.code, Some(0), "{words:?}: {finished:?}");
    finished.stdout.trim_end().to_owned()
}

/// It fails with one line that has each of these in it.
fn fails(finished: &Finished, reasons: &[&str]) {
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    for reason in reasons {
        assert!(finished.stderr.contains(reason), "no '{reason}' in: {}", finished.stderr);
    }
}

/// The replica that was launched ends with exit code 1, and its last words have each of these in them.
fn ends(cluster: &Cluster, address: SocketAddr, launch: Launch, reasons: &[&str]) {
    let mut replica = cluster.launch(address, launch);
    let status = replica.wait();
    let said = replica.log_since_start().lines().last().unwrap_or_default().to_owned();
    assert_eq!(status.code(), Some(1), "{said}");
    for reason in reasons {
        assert!(said.contains(reason), "no '{reason}' in: {said}");
    }
}

fn increment(addresses: impl ToString) -> u64 {
    ok(addresses, &["call", "--timeout", "20s", "increment"]).parse().expect("a number")
}

fn member_at(cluster: &Cluster, asked: SocketAddr, address: SocketAddr) -> Member {
    let members = cluster.members(asked);
    let found = members.iter().find(|member| member.address == address).cloned();
    found.unwrap_or_else(|| panic!("{address} is not among {members:?}"))
}

fn wait_until_gone(cluster: &Cluster, asked: SocketAddr, id: &str) {
    wait_for("the members without it", || match cluster.members(asked) {
        members if members.iter().all(|member| member.id != id) => Ok(()),
        members => Err(format!("{members:?}")),
    });
}

#[test]
fn the_list_of_members_is_that_of_the_view() {
    let cluster = Cluster::of("members", "counter", 2);
    let first = cluster.all()[0];
    _ = cluster.leader(first);
    wait_for("the same members in both", || {
        let (view, list) = (ok(first, &["view", "--json"]), ok(first, &["members", "list", "--json"]));
        if view == list { Ok(()) } else { Err(format!("{view} and {list}")) }
    });
    let table = ok(first, &["members"]);
    let titles = table.lines().nth(1).unwrap_or_default().split_whitespace().collect::<Vec<_>>();
    assert_eq!(titles, ["id", "address", "role", "leader", "live", "silent"], "{table}");
    for member in cluster.members(first) {
        assert!(!member.silent && table.contains(&member.id), "{table}");
    }
    fails(&at(first, &["members", "remove", "127.0.0.1:1"]), &["'127.0.0.1:1' is no member of view"]);
    fails(&at(first, &["members", "evict", "ffffffffffffffff"]), &["ffffffffffffffff is no member of view"]);
}

#[test]
fn an_evicted_member_comes_back_with_its_disk_under_its_id() {
    let mut cluster = Cluster::of("evicted", "counter", 3);
    let addresses = cluster.addresses();
    assert_eq!(increment(&addresses), 1);
    let leader = cluster.leader(cluster.all()[0]);
    let victim = cluster.other_than(leader);
    let id = member_at(&cluster, leader, victim).id;
    cluster.replica(victim).kill();
    let said = ok(&addresses, &["members", "evict", &id[..8]]);
    assert!(said.starts_with(&format!("evicted {id}: view ")), "{said}");
    assert!(cluster.members(leader).iter().all(|member| member.id != id));
    assert_eq!(increment(&addresses), 2);
    cluster.restart_same(victim);
    let back = member_at(&cluster, leader, victim);
    assert_eq!((back.id, back.role.as_str()), (id, "replica"));
    assert_eq!(increment(victim), 3);
}

#[test]
fn a_removed_member_ends_and_is_not_taken_back() {
    let mut cluster = Cluster::of("removed", "counter", 3);
    let [first, second, third] = cluster.all()[..] else { panic!("there are three") };
    assert_eq!(increment(first), 1);
    // One that runs, by its address.
    let id = member_at(&cluster, first, third).id;
    let said = ok(first, &["members", "remove", &third.to_string(), "--json"]);
    let said: Value = serde_json::from_str(&said).expect("it is JSON");
    assert_eq!(said["member"], id);
    assert!(said["view"].is_u64(), "{said}");
    let refused = ["an operator took it out", "empty data directory"];
    let mut gone = cluster.release(third);
    assert_eq!(gone.wait().code(), Some(1), "{}", gone.log());
    let last = gone.log().lines().last().unwrap_or_default().to_owned();
    assert!(refused.iter().all(|reason| last.contains(reason)), "{last}");
    let again = || Launch::with_flags(&["-o", "counter", "-b", &first.to_string()]);
    ends(&cluster, third, again(), &refused);

    // As somebody new it is welcome at the same address.
    let empty = cluster.scratch().path().join("empty").display().to_string();
    let mut fresh = again();
    fresh.flags.extend(["--data-dir".into(), empty]);
    cluster.start_at(third, fresh);
    assert_ne!(member_at(&cluster, first, third).id, id);

    // One that is down when it happens learns of it when it is back.
    let id = member_at(&cluster, first, second).id;
    cluster.replica(second).kill();
    let mut gone = cluster.release(second);
    assert!(gone.ended().is_some());
    ok(cluster.addresses(), &["members", "remove", &id]);
    ends(&cluster, second, again(), &refused);
    assert_eq!(increment(cluster.addresses()), 2);
}

#[test]
fn the_last_live_majority_is_not_taken_apart() {
    let mut cluster = Cluster::of("majority", "counter", 3);
    let leader = cluster.leader(cluster.all()[0]);
    let [dead, living] = cluster.all().into_iter().filter(|address| *address != leader).collect::<Vec<_>>()[..] else {
        panic!("there are two others");
    };
    cluster.replica(dead).kill();
    wait_for("the leader to miss it", || match member_at(&cluster, leader, dead) {
        missed if !missed.live => Ok(()),
        member => Err(format!("{member:?}")),
    });
    let said = at(leader, &["members", "remove", &living.to_string()]);
    fails(&said, &["1 of 2 voters would be live", "majority"]);
    assert_eq!(cluster.members(leader).len(), 3);
}

#[test]
fn replicas_leave_until_one_is_left_and_may_come_back() {
    let mut cluster = Cluster::of("leave", "counter", 3);
    let all = cluster.all();
    fails(&at(cluster.addresses(), &["leave"]), &["names several replicas"]);
    let mut last = cluster.leader(all[0]);
    let mut left = Vec::new();
    for members in [2, 1] {
        // The leader each time, which is the harder case.
        let leaver = last;
        let id = member_at(&cluster, leaver, leaver).id;
        let said = ok(leaver, &["leave"]);
        assert!(said.starts_with(&format!("replica {id} has left: view ")), "{said}");
        assert!(said.ends_with(&format!("has {members} members")), "{said}");
        assert_eq!(cluster.replica(leaver).wait().code(), Some(0));
        left.push((leaver, id));
        let staying = all.iter().find(|address| left.iter().all(|(gone, _)| gone != *address));
        last = cluster.leader(*staying.expect("one stays"));
        assert_eq!(increment(last), 3 - members as u64);
    }
    for (address, id) in left {
        cluster.restart_same(address);
        assert_eq!(member_at(&cluster, last, address).id, id);
    }
    assert_eq!(increment(cluster.addresses()), 3);
}

#[test]
fn the_last_replica_leaves_its_cluster_in_its_directory() {
    let mut cluster = Cluster::of("leave-last", "counter", 1);
    let only = cluster.all()[0];
    assert_eq!(increment(only), 1);
    let said = ok(only, &["leave"]);
    assert!(said.contains("has stopped; it was alone"), "{said}");
    assert_eq!(cluster.replica(only).wait().code(), Some(0));
    cluster.restart_same(only);
    assert_eq!(increment(only), 2);
}

#[test]
fn health_says_what_is_amiss_and_exits_with_it() {
    let mut cluster = Cluster::of("health", "counter", 3);
    let addresses = cluster.addresses();
    let health = |words: &[&str]| at(&addresses, &[&["health"], words].concat());
    wait_for("health", || match health(&[]) {
        well if well.code == Some(0) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let well = health(&["--require", "3"]);
    assert_eq!(
        (well.code, well.stdout.as_str()),
        (Some(0), "healthy: 3 of 3 voters are live: 1 more crash can be survived\n")
    );
    let short = health(&["--require", "4"]);
    assert_eq!(short.code, Some(1), "{short:?}");
    assert!(short.stdout.starts_with("degraded\n3 voters are live, but 4 are required\n"), "{short:?}");
    assert_eq!(short.stderr, "", "what is printed is not said again");

    let amiss = |status: &'static str, lines: &[String]| {
        wait_for(status, || {
            let shown = health(&[]);
            let named = lines.iter().all(|line| shown.stdout.contains(line));
            let right = shown.code == Some(1) && shown.stdout.starts_with(status) && named;
            if right { Ok(()) } else { Err(format!("{shown:?}")) }
        });
    };
    let leader = cluster.leader(cluster.all()[0]);
    let others = cluster.all().into_iter().filter(|address| *address != leader).collect::<Vec<_>>();
    cluster.replica(others[0]).kill();
    amiss("degraded", &[format!("{} is silent", others[0]), "no more crash can be survived".into()]);
    cluster.replica(leader).kill();
    amiss(
        "down",
        &["no call is answered".into(), "no leader is known".into(), "1 of 3 voters are live, and 2 are needed".into()],
    );
    cluster.replica(others[1]).kill();
    amiss("down", &["nobody answers".into()]);
    let shown = health(&["--json", "--timeout", "1s"]);
    let json: Value = serde_json::from_str(&shown.stdout).expect("it is JSON");
    assert_eq!((shown.code, &json["status"], &json["live"]), (Some(1), &Value::from("down"), &Value::from(0)));
}

#[test]
fn one_of_two_stops_and_starts_again_with_the_same_flags() {
    let mut cluster = Cluster::of("two", "counter", 2);
    let both = cluster.all();
    let mut count = 0;
    for stopped in [both[0], both[1]] {
        let staying = cluster.other_than(stopped);
        let id = member_at(&cluster, staying, stopped).id;
        cluster.replica(stopped).signal(Signal::Terminate);
        assert_eq!(cluster.replica(stopped).wait().code(), Some(0));
        wait_until_gone(&cluster, staying, &id);
        count += 1;
        assert_eq!(increment(staying), count);
        cluster.restart_same(stopped);
        assert_eq!(member_at(&cluster, staying, stopped).id, id, "it goes on as itself");
        count += 1;
        assert_eq!(increment(stopped), count);
    }
}

#[test]
fn replicas_that_keep_nothing_stay_a_minority() {
    let mut cluster = Cluster::of("volatile", "counter", 1);
    let first = cluster.all()[0];
    let volatile = || Launch::with_flags(&["-w", "off", "-b", &first.to_string()]);
    ends(&cluster, free_address(), volatile(), &["volatile", "minority"]);
    let durable = cluster.start(&["-o", "counter", "-b", &first.to_string()]);
    cluster.start(&["-w", "off", "-b", &first.to_string()]);
    ends(&cluster, free_address(), volatile(), &["volatile", "minority"]);
    assert_eq!(increment(first), 1);

    cluster.replica(durable).kill();
    ends(&cluster, durable, volatile(), &["holds the data of replica", "-w off"]);
    cluster.restart_same(durable);
    assert_eq!(increment(durable), 2);
}

#[test]
fn a_witness_makes_two_replicas_survive_a_crash() {
    let mut cluster = Cluster::of("witness", "counter", 2);
    let replicas = cluster.all();
    let witness = cluster.start(&["--witness", "-b", &replicas[0].to_string()]);
    assert_eq!(member_at(&cluster, replicas[0], witness).role, "witness");
    assert_eq!(increment(cluster.addresses()), 1);
    for (victim, count) in [(replicas[0], 2), (replicas[1], 4)] {
        cluster.replica(victim).kill();
        assert_eq!(increment(cluster.addresses()), count);
        cluster.restart_same(victim);
        assert_eq!(increment(victim), count + 1);
    }
}

#[test]
fn a_first_replica_without_an_object_is_wrong_usage() {
    let said = concoord(&["replica", "-p", "1"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("-o"), "{said:?}");
}
