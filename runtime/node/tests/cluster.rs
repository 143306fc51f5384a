//! Three replicas in one process, with real sockets and real objects.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use concoord_client::{Client, Consistency};
use concoord_node::{Exit, NodeError, ObjectSource, Options, Published, Publishing, Ready, ViewPlugin, run};
use concoord_wire::abi::Answer;
use concoord_wire::abi::ObjectLimits;
use concoord_wire::member::{Role, Roster};
use concoord_wire::{NodeId, codec};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

/// A view plugin that shows the test what it is told.
struct Shows(watch::Sender<Option<Arc<Roster>>>);

impl ViewPlugin for Shows {
    fn name(&self) -> &str {
        "shows"
    }

    fn publish(&mut self, roster: Arc<Roster>) -> Publishing<'_> {
        self.0.send_replace(Some(roster));
        Box::pin(std::future::ready(Ok(Published::Here)))
    }
}

struct Replica {
    ready: Ready,
    rosters: watch::Receiver<Option<Arc<Roster>>>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<Exit, NodeError>>,
}

impl Replica {
    /// Starts a replica and waits until it serves.
    async fn start(bootstrap: &[SocketAddr], object: Option<ObjectSource>) -> Replica {
        let (tell, told) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let (show, rosters) = watch::channel(None);
        let mut options = Options::new("127.0.0.1:0".parse().expect("an address"));
        options.bootstrap = bootstrap.to_vec();
        options.object = object;
        options.on_ready = Some(Box::new(move |ready| tell.send(ready).expect("the test waits")));
        let ended = tokio::spawn(run(options, async { _ = stopped.await }, vec![Box::new(Shows(show))]));
        let ready = timeout(SOON, told).await.expect("in time").expect("it serves");
        Replica { ready, rosters, stop, ended }
    }

    /// Waits for a roster of which `is_so` holds.
    async fn sees(&self, what: &str, is_so: impl Fn(&Roster) -> bool) -> Arc<Roster> {
        let mut rosters = self.rosters.clone();
        let seen = timeout(SOON, rosters.wait_for(|roster| roster.as_deref().is_some_and(&is_so))).await;
        match seen {
            Ok(roster) => roster.expect("the replica runs").clone().expect("checked"),
            Err(_) => panic!("{} does not see {what}: {:?}", self.ready.node, self.rosters.borrow()),
        }
    }

    async fn stop(self) {
        self.stop.send(()).expect("it runs");
        let ended = timeout(SOON, self.ended).await.expect("it stops").expect("no panic");
        assert_eq!(ended.expect("it stops in order"), Exit::Stopped);
    }
}

async fn three(object: Option<ObjectSource>) -> Vec<Replica> {
    let first = Replica::start(&[], object).await;
    let bootstrap = [first.ready.address];
    let second = Replica::start(&bootstrap, None).await;
    let third = Replica::start(&bootstrap, None).await;
    let replicas = vec![first, second, third];
    for replica in &replicas {
        replica.sees("three that vote", |roster| votes(roster) == 3 && roster.leader.is_some()).await;
    }
    replicas
}

fn votes(roster: &Roster) -> usize {
    roster.members.iter().filter(|member| member.role == Role::Replica).count()
}

fn leader(replicas: &[Replica]) -> NodeId {
    let roster = replicas[0].rosters.borrow().clone().expect("it serves");
    roster.leader.expect("somebody leads")
}

#[tokio::test]
async fn three_replicas_form_a_view_and_hand_leadership_over_when_the_leader_stops() {
    let mut replicas = three(None).await;
    let first = leader(&replicas);
    let at = replicas.iter().position(|replica| replica.ready.node == first).expect("one of them");
    replicas.remove(at).stop().await;
    for replica in &replicas {
        let without_it = |roster: &Roster| {
            roster.leader.is_some_and(|now| now != first) && roster.members.iter().all(|member| member.id != first)
        };
        replica.sees("another leader and a view without the old one", without_it).await;
    }
    for replica in replicas {
        replica.stop().await;
    }
}

fn counter() -> ObjectSource {
    let module = include_bytes!("../../../objects-wasm/dist/counter.wasm").to_vec();
    ObjectSource {
        name: "counter".into(),
        module,
        arguments: Vec::new(),
        limits: ObjectLimits::default(),
        by_name: true,
    }
}

fn returned(answer: Answer) -> i64 {
    match answer {
        Answer::Returned(bytes) => codec::from_bytes(&bytes).expect("the counter returns i64"),
        other => panic!("{other:?}"),
    }
}

async fn connect(replicas: &[Replica]) -> Client {
    let addresses = replicas.iter().map(|replica| replica.ready.address.to_string()).collect::<Vec<_>>();
    Client::connect(&addresses.join(",")).await.expect("it serves")
}

#[tokio::test]
async fn a_first_replica_alone_counts() {
    let replica = Replica::start(&[], Some(counter())).await;
    let client = connect(std::slice::from_ref(&replica)).await;
    for expected in 1..=3 {
        assert_eq!(returned(client.call(None, "increment", Vec::new()).await.expect("a reply")), expected);
    }
    let value = client.query(None, "getvalue", Vec::new(), Consistency::Linearizable).await.expect("a reply");
    assert_eq!(returned(value), 3);
    client.close().await;
    replica.stop().await;
}

#[tokio::test]
async fn every_replica_that_has_seen_the_calls_says_the_same() {
    let replicas = three(Some(counter())).await;
    let client = connect(&replicas).await;
    for _ in 0..10 {
        client.call(Some("counter"), "increment", Vec::new()).await.expect("a reply");
    }
    for replica in &replicas {
        let one = connect(std::slice::from_ref(replica)).await;
        let value = one.query(None, "getvalue", Vec::new(), Consistency::Linearizable).await.expect("a reply");
        assert_eq!(returned(value), 10, "at {}", replica.ready.address);
        one.close().await;
    }
    client.close().await;
    for replica in replicas {
        replica.stop().await;
    }
}

#[tokio::test]
async fn no_call_is_lost_or_doubled_when_the_leader_stops_among_them() {
    const CLIENTS: usize = 4;
    const MORE: i64 = 50;
    let mut replicas = three(Some(counter())).await;
    let (called, mut calls) = watch::channel(0_i64);
    let (enough, until) = watch::channel(false);
    let mut callers = Vec::new();
    for _ in 0..CLIENTS {
        let (client, called, until) = (connect(&replicas).await, called.clone(), until.clone());
        callers.push(tokio::spawn(async move {
            while !*until.borrow() {
                client.call(None, "increment", Vec::new()).await.expect("a reply, from whoever leads");
                called.send_modify(|calls| *calls += 1);
            }
            client.close().await;
        }));
    }
    wait_for_calls(&mut calls, MORE).await;
    let first = leader(&replicas);
    let at = replicas.iter().position(|replica| replica.ready.node == first).expect("one of them");
    replicas.remove(at).stop().await;
    wait_for_calls(&mut calls, MORE).await;
    enough.send_replace(true);
    for caller in callers {
        timeout(SOON, caller).await.expect("calls go on").expect("every call had a reply");
    }
    let client = connect(&replicas).await;
    let value = client.query(None, "getvalue", Vec::new(), Consistency::Linearizable).await.expect("a reply");
    assert_eq!(returned(value), *calls.borrow());
    client.close().await;
    for replica in replicas {
        replica.stop().await;
    }
}

/// Waits until so many more calls were answered.
async fn wait_for_calls(calls: &mut watch::Receiver<i64>, more: i64) {
    let goal = *calls.borrow() + more;
    timeout(SOON, calls.wait_for(|calls| *calls >= goal)).await.expect("calls go on").expect("clients call");
}
