//! Calls that wait for each other, through whatever becomes of replicas and clients meanwhile.

use std::time::{Duration, Instant};

use concoord_client::{Client, ClientError, Options};
use concoord_objects::{LockError, LockProxy};
use concoord_tests::cluster::{Cluster, wait_for};
use concoord_tests::load::blocking;
use concoord_wire::caller::ProxyError;
use concoord_wire::client::CallError;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::sleep;

const TTL: Duration = Duration::from_secs(1);
/// How long the end of a silent session may take: time is decided in steps of a second.
const ENDS_WITHIN: Duration = Duration::from_secs(3);

type Token = Result<u64, ProxyError<ClientError>>;

async fn client(addresses: &str) -> Client {
    let options = Options { session_ttl: TTL, ..Options::default() };
    Client::connect_with(addresses, options).await.expect("the replicas run")
}

fn lock(client: &Client) -> LockProxy<Client> {
    LockProxy::new(client.clone())
}

/// Acquires beside everything else.
fn acquire(client: &Client) -> JoinHandle<Token> {
    let lock = lock(client);
    tokio::spawn(async move { lock.acquire().await })
}

async fn waiters(client: &Client, expected: u64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while lock(client).waiters().await.expect("it can be asked").len() as u64 != expected {
        assert!(Instant::now() < deadline, "not {expected} wait");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn token(acquired: JoinHandle<Token>) -> u64 {
    let acquired = tokio::time::timeout(Duration::from_secs(20), acquired).await.expect("it gets its turn");
    acquired.expect("no panic").expect("a token")
}

#[test]
fn a_lock_is_passed_on_in_order_with_rising_tokens_through_the_end_of_leaders() {
    let mut cluster = Cluster::of("waiting-leaders", "lock", 3);
    let addresses = cluster.addresses();
    blocking(async {
        let mut clients = Vec::new();
        for _ in 0..6 {
            clients.push(client(&addresses).await);
        }
        let mut last = lock(&clients[0]).acquire().await.expect("it is free");
        let mut waiting = Vec::new();
        for (number, client) in (1..).zip(&clients[1..]) {
            waiting.push(acquire(client));
            waiters(&clients[0], number).await;
        }
        let refused = lock(&clients[1]).release(Some(last)).await;
        assert!(matches!(refused, Err(ProxyError::Method(LockError::NotHeld))), "{refused:?}");
        for (turn, waits) in waiting.into_iter().enumerate() {
            if turn % 2 == 0 {
                let all = cluster.all();
                let leader = cluster.leader(all[0]);
                cluster.replica(leader).kill();
                lock(&clients[turn]).release(Some(last)).await.expect("it holds it");
                cluster.restart_same(leader);
            } else {
                lock(&clients[turn]).release(Some(last)).await.expect("it holds it");
            }
            let next = token(waits).await;
            assert!(next > last, "{next} after {last}");
            last = next;
        }
        let holders = lock(&clients[0]).holders().await.expect("it can be asked");
        assert_eq!(holders.iter().map(|held| held.token).collect::<Vec<_>>(), [last]);
    });
}

#[test]
fn a_wait_ends_at_its_time_or_when_it_is_dropped_and_the_next_gets_its_turn() {
    let cluster = Cluster::of("waiting-ends", "lock", 1);
    let addresses = cluster.addresses();
    blocking(async {
        let (first, second, third) = (client(&addresses).await, client(&addresses).await, client(&addresses).await);
        let held = lock(&first).acquire().await.expect("it is free");
        let began = Instant::now();
        let wait = Duration::from_millis(300);
        match lock(&second.with_wait(wait)).acquire().await {
            Err(ProxyError::Caller(ClientError::Call(CallError::WaitedInVain { wait_us: 300_000, .. }))) => {}
            other => panic!("{other:?}"),
        }
        let took = began.elapsed();
        println!("a wait of {wait:?} ended after {took:?}, with nothing else going on");
        assert!(took >= wait && took < wait + Duration::from_secs(1), "{took:?}");

        let dropped = acquire(&second);
        waiters(&first, 1).await;
        let waits = acquire(&third);
        waiters(&first, 2).await;
        dropped.abort();
        waiters(&first, 1).await;
        lock(&first).release(Some(held)).await.expect("it holds it");
        assert!(token(waits).await > held);
    });
}

#[test]
fn what_a_client_held_or_waited_for_is_given_up_when_it_is_gone() {
    let cluster = Cluster::of("waiting-gone", "lock", 3);
    let addresses = cluster.addresses();
    // They have a runtime of their own, which ends without a word to anybody.
    let gone = Runtime::new().expect("threads");
    let (holder, waits) = gone.block_on(async { (client(&addresses).await, client(&addresses).await) });
    let held = gone.block_on(lock(&holder).acquire()).expect("it is free");
    blocking(async {
        let _waits = gone.spawn({
            let lock = lock(&waits);
            async move { lock.acquire().await }
        });
        let lives = client(&addresses).await;
        waiters(&lives, 1).await;
        let next = acquire(&lives);
        let watcher = client(&addresses).await;
        waiters(&watcher, 2).await;
        let began = Instant::now();
        gone.shutdown_background();
        let next = token(next).await;
        let took = began.elapsed();
        println!("sessions of {TTL:?} that fell silent gave way after {took:?}");
        assert!(next > held && took < ENDS_WITHIN, "{next} after {held}, {took:?}");
    });
}

#[test]
fn a_parked_call_survives_the_end_of_all_replicas() {
    let mut cluster = Cluster::of("waiting-restart", "lock", 3);
    let addresses = cluster.addresses();
    let runtime = Runtime::new().expect("threads");
    let options = Options { session_ttl: Duration::from_secs(60), ..Options::default() };
    let connect = || runtime.block_on(Client::connect_with(&addresses, options)).expect("the replicas run");
    let (first, second) = (connect(), connect());
    let held = runtime.block_on(lock(&first).acquire()).expect("it is free");
    let waits = runtime.spawn({
        let lock = lock(&second);
        async move { lock.acquire().await }
    });
    runtime.block_on(waiters(&first, 1));
    cluster.kill_all();
    cluster.restart_all_same();
    runtime.block_on(async {
        waiters(&first, 1).await;
        lock(&first).release(Some(held)).await.expect("it holds it still");
        assert!(token(waits).await > held);
    });
    wait_for("nobody to wait", || match runtime.block_on(lock(&first).waiters()) {
        Ok(waiters) if waiters.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    });
}
