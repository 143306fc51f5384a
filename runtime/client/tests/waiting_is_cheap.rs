//! Whatever the client waits for, it sleeps meanwhile. A file of its own: it measures the whole process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod fake;

use std::net::UdpSocket;
use std::time::Duration;

use concoord_client::{Client, Options};
use fake::{Cluster, connect, increment, on_calls};

const WAIT: Duration = Duration::from_secs(1);

/// Processor time of this process so far, from `/proc`, in ticks of 10 ms.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().collect::<Vec<_>>();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Lets one update time out, and says what that cost.
async fn cost_of_waiting(client: &Client) -> u64 {
    let before = cpu_ticks();
    increment(&client.with_timeout(WAIT)).await.unwrap_err();
    cpu_ticks() - before
}

#[tokio::test]
async fn waiting_costs_next_to_no_processor_time() {
    let parked = Cluster::default();
    let client = connect(parked.scripted(on_calls(|_, _| Some(Vec::new())))).await;
    assert!(cost_of_waiting(&client).await < 15, "for an answer that does not come");

    let leaderless = Cluster::default();
    let (first, second) = (leaderless.replica(), leaderless.replica());
    let client = connect(first).await;
    leaderless.lock().leader = None;
    assert!(cost_of_waiting(&client).await < 15, "for a leader");
    leaderless.lock().leader = Some(second);
    increment(&client).await.unwrap();

    let dying = Cluster::default();
    let (address, alive) = dying.mortal();
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::connect_with(&format!("{address}, {dead}"), Options::default()).await.unwrap();
    drop(alive);
    assert!(cost_of_waiting(&client).await < 15, "for any replica");
    let before = cpu_ticks();
    tokio::time::sleep(WAIT).await;
    assert!(cpu_ticks() - before < 15, "for nothing");
}
