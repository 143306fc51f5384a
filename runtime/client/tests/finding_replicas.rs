//! Which replica the client speaks with, and what it says when none will do.

mod fake;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use concoord_client::{AddressError, CallError, Client, ClientError, Consistency, Options, blocking};
use concoord_wire::ClusterId;
use concoord_wire::client::{Request, Response};
use fake::{Act, Cluster, SOON, connect, increment, returned};

fn within(ms: u64) -> Options {
    let limit = Duration::from_millis(ms);
    Options { timeout: limit, connect_timeout: limit, ..Options::default() }
}

#[tokio::test]
async fn a_client_of_a_follower_finds_the_leader_for_updates_and_stays_for_queries() {
    let cluster = Cluster::default();
    let (leader, follower) = (cluster.replica(), cluster.replica());
    let client = connect(follower).await;
    let stale = client.query(None, "getvalue", Vec::new(), Consistency::Stale).await;
    assert_eq!(stale, Ok(returned(0)));
    assert!(cluster.lock().seen.iter().all(|(address, _)| *address == follower));
    assert_eq!(increment(&client).await, Ok(1));
    let shared = cluster.lock();
    assert_eq!((shared.calls_at(leader).len(), shared.calls_at(follower).len()), (1, 0));
}

#[tokio::test]
async fn addresses_are_given_with_blanks_and_dead_ones_do_no_harm() {
    let cluster = Cluster::default();
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let alive = cluster.replica();
    let started = Instant::now();
    let client = Client::connect(&format!("{dead}, {alive}")).await.unwrap();
    assert_eq!(increment(&client).await, Ok(1));
    assert!(started.elapsed() < Duration::from_millis(500), "took {:?}", started.elapsed());
    let error = Client::connect("127.0.0.1").await.unwrap_err();
    assert!(matches!(error, ClientError::Addresses(AddressError::NoPort { .. })));
}

#[tokio::test]
async fn a_time_out_names_all_replicas_and_what_they_said() {
    let cluster = Cluster::default();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    let leaderless = cluster.replica();
    cluster.lock().leader = None;
    let addresses = format!("{silent}, {leaderless}");
    let client = Client::connect_with(&addresses, within(1500)).await.unwrap();
    let error = increment(&client).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no answer within 1.5s; {silent}: does not answer; {leaderless}: does not lead, no leader known")
    );
    // Nothing was sent that could have been executed.
    assert!(matches!(error, ClientError::Timeout { call: None, .. }));
}

#[tokio::test]
async fn nobody_there_is_a_time_out_of_connect() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let error = Client::connect_with(&address.to_string(), within(200)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no answer within 200ms; {address}: does not answer"));
}

#[tokio::test]
async fn a_leader_that_dies_is_replaced_in_well_under_a_second() {
    let cluster = Cluster::default();
    let (leader, alive) = cluster.mortal();
    let follower = cluster.replica();
    let client = connect(leader).await;
    assert_eq!(increment(&client).await, Ok(1));
    drop(alive);
    let killed = Instant::now();
    // The cluster takes its time to elect another, and still names the dead one meanwhile.
    let electing = async {
        tokio::time::sleep(Duration::from_millis(350)).await;
        cluster.lock().leader = Some(follower);
    };
    let (value, ()) = tokio::join!(increment(&client), electing);
    assert_eq!(value, Ok(2));
    let gap = killed.elapsed();
    println!("gap after the leader's death: {gap:?}");
    assert!(gap < Duration::from_millis(800), "took {gap:?}");
}

#[tokio::test]
async fn a_replica_that_pauses_and_comes_back_keeps_its_client() {
    let cluster = Cluster::default();
    // Pings are not answered, so the client grows suspicious and dials others, of which there are none. Then the reply.
    let mut call = None;
    let mut pings = 0;
    let address = cluster.scripted(Box::new(move |request| match request {
        Request::Call { call: id, .. } => {
            call = Some(*id);
            Some(Vec::new())
        }
        Request::Ping { .. } => {
            pings += 1;
            let call = call.filter(|_| pings == 1)?;
            Some(vec![Act::Reply(Response::Called { call, result: Ok(returned(9)), waited: false })])
        }
        _ => None,
    }));
    let client = connect(address).await;
    assert_eq!(increment(&client).await, Ok(9));
    assert_eq!(cluster.lock().connections, 1);
}

#[tokio::test]
async fn a_call_that_waits_long_is_not_taken_for_a_dead_replica() {
    let cluster = Cluster::default();
    let started = Instant::now();
    let mut parked = None;
    let address = cluster.scripted(Box::new(move |request| {
        if let Request::Call { call, .. } = request {
            parked = Some(*call);
            return Some(Vec::new());
        }
        let call = parked.filter(|_| started.elapsed() > Duration::from_millis(1200))?;
        Some(vec![Act::Decent, Act::Reply(Response::Called { call, result: Ok(returned(1)), waited: false })])
    }));
    let client = connect(address).await;
    assert_eq!(increment(&client).await, Ok(1));
    let shared = cluster.lock();
    assert_eq!((shared.connections, shared.calls_at(address).len()), (1, 1));
    let asked = shared.seen.iter().filter(|(_, r)| matches!(r, Request::Ping { .. } | Request::View { .. })).count();
    assert!(asked < 10, "asked {asked} times whether the replica is there");
}

#[tokio::test]
async fn a_query_is_repeated_elsewhere_when_its_replica_does_not_serve() {
    let cluster = Cluster::default();
    let good = cluster.replica();
    let bad = cluster.scripted(Box::new(|request| match request {
        Request::Query { request, .. } => {
            let result = Err(CallError::NotServing { why: "it is catching up".into() });
            Some(vec![Act::Reply(Response::Queried { request: *request, result })])
        }
        _ => None,
    }));
    let client = connect(bad).await;
    let value = client.query(None, "getvalue", Vec::new(), Consistency::Linearizable).await;
    assert_eq!(value, Ok(returned(0)));
    assert!(cluster.lock().seen.iter().any(|(address, _)| *address == good));
}

#[tokio::test]
async fn a_replica_of_another_cluster_is_named_with_both_ids() {
    let cluster = Cluster::default();
    let (first, alive) = cluster.mortal();
    let client = connect(first).await;
    assert_eq!(increment(&client).await, Ok(1));
    drop(alive);
    // Another cluster takes over the address as soon as it is free.
    let (expected, actual) = (ClusterId(1), ClusterId(2));
    while UdpSocket::bind(first).is_err() {
        tokio::task::yield_now().await;
    }
    Cluster::default().start(first, actual, Box::new(|_| None));
    let started = Instant::now();
    let error = increment(&client).await.unwrap_err();
    assert_eq!(error, ClientError::OtherCluster { address: first, expected, actual });
    assert!(error.to_string().starts_with(&format!("{first}: it belongs to cluster {actual}, not to {expected}")));
    assert!(started.elapsed() < SOON / 2, "it is told at once, not at the deadline");
}

#[test]
fn programs_without_tokio_use_the_blocking_client() {
    let (address_out, address_in) = std::sync::mpsc::channel();
    let (_alive, ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            address_out.send(Cluster::default().replica()).unwrap();
            let _ = ended.await;
        });
    });
    let address = address_in.recv().unwrap().to_string();
    let client = blocking::Client::connect(&address).unwrap();
    assert_eq!(client.call(None, "increment", Vec::new()), Ok(returned(1)));
    assert_eq!(client.run(async |client| increment(&client).await), Ok(2));
    assert_eq!(client.query(None, "getvalue", Vec::new(), Consistency::Stale), Ok(returned(2)));
    assert_eq!(client.view().unwrap().members.len(), 1);
    client.close();
}
