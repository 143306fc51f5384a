//! How a replica starts and does not start, as its operator, a joiner, a client and a stranger see it.

use std::future::{pending, ready};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use concoord_node::{Exit, NodeError, ObjectSource, Options, Ready, run};
use concoord_transport::{Connection, DialError, Endpoint, Role};
use concoord_wire::abi::ObjectLimits;
use concoord_wire::client::{CallError, Request, Response};
use concoord_wire::hello::{Hello, PROTOCOL_MAX, PROTOCOL_MIN, Refusal};
use concoord_wire::join::{JoinRefusal, JoinReply, JoinRequest, RetryReason};
use concoord_wire::{CallId, ClusterId, NodeId, ObjectId, SessionId, Slot};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

/// A port on which nobody listens and that nobody else is given.
fn silent() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(anywhere()).expect("loopback has ports");
    let address = socket.local_addr().expect("it is bound");
    (socket, address)
}

async fn refusal(options: Options) -> String {
    let ended = timeout(SOON, run(options, pending(), vec![])).await.expect("it does not start");
    let line = ended.expect_err("it does not start").to_string();
    assert!(!line.contains('\n'), "one line: {line}");
    line
}

struct Running {
    ready: Ready,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<Exit, NodeError>>,
}

/// A first replica without an object.
async fn first() -> Running {
    let (tell, told) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let mut options = Options::new(anywhere());
    options.on_ready = Some(Box::new(move |ready| tell.send(ready).expect("the test waits")));
    let ended = tokio::spawn(run(options, async { _ = stopped.await }, vec![]));
    let ready = timeout(SOON, told).await.expect("it leads soon").expect("it is ready");
    Running { ready, stop, ended }
}

fn hello(cluster: Option<ClusterId>, node: Option<(NodeId, SocketAddr)>) -> Hello {
    Hello { versions: (PROTOCOL_MIN, PROTOCOL_MAX), cluster, node, life: 1 }
}

async fn dial(address: SocketAddr, role: Role, hello: &Hello) -> Result<Connection, DialError> {
    // Kept by its connections.
    Endpoint::client().expect("loopback has ports").dial(address, role, hello, SOON).await
}

#[tokio::test]
async fn an_address_that_others_reach_needs_insecure() {
    let line = refusal(Options::new("192.0.2.1:14000".parse().expect("an address"))).await;
    assert!(line.starts_with("192.0.2.1 is not a loopback address, and there is no cluster CA yet"), "{line}");
    assert!(line.contains("unauthenticated") && line.contains("--insecure"), "{line}");
}

#[tokio::test]
async fn an_address_of_another_machine_is_named() {
    let mut options = Options::new("192.0.2.1:14000".parse().expect("an address"));
    options.insecure = true;
    assert_eq!(
        refusal(options).await,
        "192.0.2.1 is not an address of this machine: give -a one of its own, such as 127.0.0.1"
    );
}

#[tokio::test]
async fn an_address_that_stands_for_all_is_refused() {
    let mut options = Options::new("0.0.0.0:14000".parse().expect("an address"));
    options.insecure = true;
    assert!(refusal(options).await.starts_with("0.0.0.0 stands for every address of this machine"));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let (_held, address) = silent();
    let expected = format!("{address} is in use by another process: stop it, or choose another port with -p");
    assert_eq!(refusal(Options::new(address)).await, expected);
}

#[tokio::test]
async fn a_module_that_is_none_is_refused_before_anything_starts() {
    let mut options = Options::new(anywhere());
    options.object = Some(ObjectSource {
        name: "counter".into(),
        module: b"not wasm".to_vec(),
        arguments: Vec::new(),
        limits: ObjectLimits::default(),
        by_name: true,
    });
    let line = refusal(options).await;
    assert!(line.starts_with("the module of object 'counter' is refused: "), "{line}");
}

#[tokio::test]
async fn a_joiner_names_each_address_that_did_not_answer() {
    let (_first, a) = silent();
    let (_second, b) = silent();
    let mut options = Options::new(anywhere());
    options.bootstrap = vec![a, b];
    options.boot_wait = Duration::from_millis(300);
    let line = refusal(options).await;
    for address in [a, b] {
        let expected =
            format!("{address} did not answer within 300 ms: nothing came back; is the replica running there?");
        assert!(line.contains(&expected), "{line}");
    }
}

#[tokio::test]
async fn a_joiner_does_not_wait_for_itself() {
    let (held, address) = silent();
    drop(held);
    let mut options = Options::new(address);
    options.bootstrap = vec![address];
    assert_eq!(
        refusal(options).await,
        format!("{address} is this replica's own address: give -b that of another member")
    );
}

/// Answers every join request in the name of `cluster`.
fn member(cluster: ClusterId, reply: JoinReply) -> (SocketAddr, JoinHandle<()>) {
    let endpoint = Endpoint::server(anywhere()).expect("loopback has ports");
    let address = endpoint.local_address();
    let answering = tokio::spawn(async move {
        while let Some(handshake) = endpoint.accept().await {
            let incoming = handshake.finish().await.expect("a joiner");
            // A joiner of another cluster is refused by this.
            let Ok(connection) = incoming.welcome(Some(cluster), NodeId(7)).await else { continue };
            let (outbox, mut inbox) = connection.split();
            inbox.next::<JoinRequest>().await.expect("no garbage").expect("a request");
            outbox.push(&reply).expect("room");
            outbox.finish(SOON).await;
        }
    });
    (address, answering)
}

#[tokio::test]
async fn bootstrap_addresses_of_two_clusters_are_a_mistake() {
    let retry = || JoinReply::Retry(RetryReason::NoLeader);
    let (a, b) = (member(ClusterId(1), retry()), member(ClusterId(2), retry()));
    let mut options = Options::new(anywhere());
    options.bootstrap = vec![a.0, b.0];
    let line = refusal(options).await;
    assert!(line.starts_with(&format!("{} belongs to cluster {}, but another", b.0, ClusterId(2))), "{line}");
}

#[tokio::test]
async fn a_joiner_says_what_those_who_answered_wait_for() {
    let (address, _answering) = member(ClusterId(1), JoinReply::Retry(RetryReason::NoLeader));
    let mut options = Options::new(anywhere());
    options.bootstrap = vec![address];
    options.boot_wait = Duration::from_millis(300);
    assert_eq!(
        refusal(options).await,
        format!(
            "{address} did not take this replica in within 300 ms: no leader is known at the moment; \
             is a majority of its view running?"
        )
    );
}

#[tokio::test]
async fn a_joiner_that_is_not_wanted_says_so_at_once() {
    let (address, _answering) = member(ClusterId(1), JoinReply::Refused(JoinRefusal::Full { limit: 32 }));
    let mut options = Options::new(anywhere());
    options.bootstrap = vec![address];
    let expected =
        format!("{address} does not take this replica in: the cluster has 32 members already, which is the most");
    assert_eq!(refusal(options).await, expected);
}

#[tokio::test]
async fn a_joiner_can_be_stopped_while_nobody_answers() {
    let (_held, nobody) = silent();
    let mut options = Options::new(anywhere());
    options.bootstrap = vec![nobody];
    assert_eq!(timeout(SOON, run(options, ready(()), vec![])).await.expect("at once").ok(), Some(Exit::Stopped));
}

#[tokio::test]
async fn a_joiner_tells_clients_that_it_does_not_serve_yet() {
    let (_held, nobody) = silent();
    let (free, address) = silent();
    drop(free);
    let mut options = Options::new(address);
    options.bootstrap = vec![nobody];
    let joiner = tokio::spawn(run(options, pending(), vec![]));
    let connection = dial(address, Role::Client, &hello(None, None)).await.expect("it listens while it joins");
    assert_eq!(connection.remote().cluster, None);
    let (outbox, mut inbox) = connection.split();
    let call = CallId { session: SessionId { slot: Slot(1), index: 0 }, sequence: 1 };
    let (object, method) = (ObjectId(1), "increment".into());
    let (received, wait_us, arguments) = (None, 0, Vec::new().into());
    outbox.push(&Request::Call { call, floor: 0, received, wait_us, object, method, arguments }).expect("room");
    match timeout(SOON, inbox.next::<Response>()).await.expect("an answer").expect("no garbage") {
        Some(Response::Called { call: answered, result: Err(CallError::NotServing { .. }), .. }) => {
            assert_eq!(answered, call);
        }
        other => panic!("{other:?}"),
    }
    joiner.abort();
}

#[tokio::test]
async fn a_client_that_sends_garbage_is_closed_and_others_are_served() {
    let running = first().await;
    let Ready { address, cluster, .. } = running.ready;
    let rude = dial(address, Role::Client, &hello(None, None)).await.expect("it serves");
    let polite = dial(address, Role::Client, &hello(Some(cluster), None)).await.expect("it serves");
    let (to_rude, mut from_rude) = rude.split();
    to_rude.push(&[0xff_u8; 32]).expect("room");
    let end = timeout(SOON, from_rude.next::<Response>()).await.expect("it is closed");
    assert!(end.is_err(), "closed with a reason: {end:?}");
    let (to_polite, mut from_polite) = polite.split();
    to_polite.push(&Request::Ping { request: 9 }).expect("room");
    let answer = timeout(SOON, from_polite.next::<Response>()).await.expect("an answer");
    assert_eq!(answer.expect("no garbage"), Some(Response::Pong { request: 9 }));
    running.stop.send(()).expect("it runs");
    let ended = timeout(SOON, running.ended).await.expect("it stops").expect("no panic");
    assert_eq!(ended.ok(), Some(Exit::Stopped));
}

#[tokio::test]
async fn a_client_of_another_cluster_is_refused_and_a_lone_first_replica_takes_itself_for_what_is_left_of_that() {
    let running = first().await;
    let theirs = ClusterId(running.ready.cluster.0 ^ 1);
    let refused = dial(running.ready.address, Role::Client, &hello(Some(theirs), None)).await.map(|_| ());
    let expected = Refusal::OtherCluster { expected: theirs, actual: running.ready.cluster };
    assert_eq!(refused, Err(DialError::Refused(expected)));
    let ended = timeout(SOON, running.ended).await.expect("it ends").expect("no panic");
    let why = ended.expect_err("it may have lost its disk").to_string();
    assert!(why.starts_with(&format!("a client of cluster {theirs} at 127.0.0.1:")) && why.contains("-b"), "{why}");
}

#[tokio::test]
async fn a_lone_first_replica_that_peers_of_another_cluster_dial_ends_and_names_them() {
    let running = first().await;
    let theirs = ClusterId(running.ready.cluster.0 ^ 1);
    let (_held, peer) = silent();
    let peer_hello = hello(Some(theirs), Some((NodeId(7), peer)));
    assert!(dial(running.ready.address, Role::Peer, &peer_hello).await.is_err());
    let ended = timeout(SOON, running.ended).await.expect("it ends").expect("no panic");
    let line = ended.expect_err("it ends").to_string();
    assert!(line.contains(&theirs.to_string()) && line.contains(&format!("-b {peer}")), "{line}");
    drop(running.stop);
}
