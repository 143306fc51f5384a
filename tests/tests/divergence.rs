//! A replica whose memory fails while it is at work: one bit of its counter is another one. It finds out at the next check,
//! takes itself out of service, fetches the state of the others and is back, and no client of the others notices. Where
//! there is only one other, nobody can tell which of them is right, and both stop.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use concoord_client::Client;
use concoord_consensus::limits::CHECK_SLOTS;
use concoord_objects::CounterProxy;
use concoord_tests::cluster::{Cluster, concoord, wait_for};
use concoord_tests::guide::texts;
use concoord_tests::load::{Load, blocking, counted, increment_many};
use concoord_tests::memory::Memory;
use tokio::time::timeout;

/// The page that shows what they say.
const PAGE: &str = include_str!("../../docs/src/operating/divergence.md");
const CLIENTS: usize = 8;
const INCREMENTS: u64 = 500;
/// What the counter is brought to while it is looked for: few other numbers go with it from one to the next.
const VALUES: [u64; 3] = [1013, 1511, 2003];
/// High enough that no increment carries to it.
const BIT: u32 = 44;
/// The others have a majority without it, so nobody may wait as long as this.
const GAP_LIMIT: Duration = Duration::from_secs(1);

/// Decrements the counter so many times.
fn decrement_many(addresses: &str, times: u64) {
    blocking(async {
        let client = Client::connect(addresses).await.expect("the replicas run");
        let counter = CounterProxy::new(client.clone());
        for _ in 0..times {
            counter.decrement().await.expect("a decrement is acknowledged");
        }
        client.close().await;
    });
}

/// Where the counter stands in the memory of the replica at `victim`: the only numbers that follow it. It is 0 afterwards.
fn find_counter(cluster: &Cluster, memory: &Memory, victim: SocketAddr) -> Vec<u64> {
    let addresses = cluster.addresses();
    // What is answered there was applied there.
    let reaches = |value: u64| assert_eq!(counted(&victim.to_string()), value);
    let mut before = 0;
    let mut found: Option<Vec<u64>> = None;
    for value in VALUES {
        increment_many(&addresses, value - before, 64);
        reaches(value);
        before = value;
        let number = i64::try_from(value).expect("a small number");
        found = Some(match found {
            None => memory.find(number),
            Some(found) => found.into_iter().filter(|address| memory.number(*address) == number).collect(),
        });
    }
    decrement_many(&addresses, before);
    // What was saved before a query, to be put back after it, does not follow without one.
    let found = found.unwrap_or_default();
    wait_for("the counter to be 0 there", || {
        let zero = |address: &u64| memory.number(*address) == 0;
        let found: Vec<u64> = found.iter().copied().filter(zero).collect();
        if found.is_empty() { Err(format!("nothing is, at {} places", found.len())) } else { Ok(found) }
    })
}

/// The number behind `what` in a line.
fn number_behind(line: &str, what: &str) -> u64 {
    let (_, rest) = line.split_once(what).unwrap_or_else(|| panic!("no '{what}' in: {line}"));
    let digits = rest.split(|digit: char| !digit.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("no number behind '{what}' in: {line}"))
}

/// The words of a line but those with numbers or ids, which differ each time.
fn fixed_words(line: &str) -> Vec<&str> {
    line.split_whitespace().filter(|word| !word.contains(|char: char| char.is_ascii_digit())).collect()
}

/// Flips a bit of the counter at an address, for good.
fn flip(memory: &Memory, address: u64) {
    wait_for("the flipped bit to stay", || {
        memory.flip(address, BIT);
        // An increment that was under way has written over it.
        let value = memory.number(address);
        if value >> BIT & 1 == 1 { Ok(()) } else { Err(format!("the counter is {value}")) }
    });
}

/// Increments, one after another, until nobody answers any more.
fn increment_until_the_end(addresses: &str) {
    blocking(async {
        let client = Client::connect(addresses).await.expect("the replicas run");
        let counter = CounterProxy::new(client.clone());
        while let Ok(Ok(_)) = timeout(GAP_LIMIT, counter.increment()).await {}
    });
}

#[test]
fn of_two_that_differ_both_stop_and_say_where() {
    let mut cluster = Cluster::of("tie", "counter", 2);
    let leader = cluster.leader(cluster.all()[0]);
    let victim = cluster.other_than(leader);
    let memory = Memory::of(cluster.replica(victim).process());
    let places = find_counter(&cluster, &memory, victim);
    // The others are copies that the undo log has: what is put back from one of them is wrong too.
    places.iter().for_each(|place| flip(&memory, *place));
    increment_until_the_end(&cluster.addresses());
    for address in [leader, victim] {
        let replica = cluster.replica(address);
        assert_eq!(replica.wait().code(), Some(1), "{}", replica.log());
        let log = replica.log();
        let said = log.lines().last().unwrap_or_default();
        let shown = texts(PAGE, "text").swap_remove(1);
        assert_eq!(fixed_words(said), fixed_words(&shown), "it says what the book shows, with other numbers: {said}");
        println!("{said}");
        assert!(number_behind(said, "after slot ") >= CHECK_SLOTS, "{said}");
    }
}

#[test]
fn a_flipped_bit_is_found_and_mended_while_the_others_go_on() {
    let mut cluster = Cluster::of("divergence", "counter", 3);
    let leader = cluster.leader(cluster.all()[0]);
    let victim = cluster.other_than(leader);
    let memory = Memory::of(cluster.replica(victim).process());
    let places = find_counter(&cluster, &memory, victim);
    println!("the counter of {victim} stands at {places:x?}");

    let load = Load::start(&cluster.addresses(), CLIENTS);
    load.wait_for_increments(INCREMENTS);
    load.next_period();
    let began = Instant::now();
    places.iter().for_each(|place| flip(&memory, *place));
    let found = wait_for("the replica to find out", || {
        let log = cluster.replica(victim).log();
        log.lines().find(|line| line.contains("differs from what a majority has applied")).map(str::to_owned).ok_or(log)
    });
    let (found_after, slot) = (began.elapsed(), number_behind(&found, "after slot "));
    let agreed = number_behind(&found, "up to slot ");
    println!("{found}");
    assert!(slot - agreed <= 2 * CHECK_SLOTS, "checks are {CHECK_SLOTS} slots apart: {found}");
    wait_for("the replica to serve again", || {
        let log = cluster.replica(victim).log();
        if log.contains("the state of the majority is applied: serving again") { Ok(()) } else { Err(log) }
    });
    println!("found out after {found_after:?}, back after {:?}", began.elapsed());
    load.wait_for_increments(INCREMENTS);
    load.check(&victim.to_string());
    wait_for("the cluster to be healthy", || {
        let health = concoord(&["health", "-c", &cluster.addresses()]);
        if health.code == Some(0) { Ok(()) } else { Err(health.stdout) }
    });
    let outcome = load.finish(&cluster.addresses());
    assert_eq!(counted(&victim.to_string()), outcome.acknowledged, "it answers from the right state");
    let longest = outcome.gap().max(outcome.wait());
    assert!(longest < GAP_LIMIT, "a client waited {longest:?}");
    let log = cluster.replica(victim).log();
    assert_eq!(log.matches("differs from what a majority has applied").count(), 1, "once was enough: {log}");
    for other in cluster.all().into_iter().filter(|other| *other != victim) {
        assert!(!cluster.replica(other).log().contains("differs from what a majority"), "{other} has done no wrong");
    }
}
