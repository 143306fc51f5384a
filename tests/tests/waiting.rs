//! Calls that wait for each other, through whatever becomes of replicas and clients meanwhile.

use std::time::{Duration, Instant};

use concoord_client::{Client, ClientError, Options};
use concoord_objects::{GrantError, LockProxy};
use concoord_tests::cluster::{Cluster, Signal, concoord, wait_for};
use concoord_tests::disk_watch::DiskWatch;
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
        assert!(matches!(refused, Err(ProxyError::Method(GrantError::NotHeld))), "{refused:?}");
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
    let disk = DiskWatch::start();
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
        let ended = Instant::now();
        println!("a wait of {wait:?} ended after {:?}, with nothing else going on", ended - began);
        let took = disk.without_stalls(began, ended);
        assert!(ended - began >= wait && took < wait + Duration::from_secs(1), "{took:?}");

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
    let disk = DiskWatch::start();
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
        let took = disk.without_stalls(began, Instant::now());
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

/// Two clients of which the first holds the lock and the second waits for it.
async fn held_and_waiting(addresses: &str) -> (Client, u64, Client, JoinHandle<Token>) {
    let options = Options { session_ttl: Duration::from_secs(60), ..Options::default() };
    let connect = || Client::connect_with(addresses, options);
    let (holds, waits) = (connect().await.expect("they run"), connect().await.expect("they run"));
    let held = lock(&holds).acquire().await.expect("it is free");
    let waiting = acquire(&waits);
    waiters(&holds, 1).await;
    (holds, held, waits, waiting)
}

#[test]
fn a_parked_call_goes_with_its_client_to_another_replica() {
    let mut cluster = Cluster::of("waiting-moves", "lock", 3);
    let addresses = cluster.addresses();
    blocking(async {
        let (holds, held, _waits, waiting) = held_and_waiting(&addresses).await;
        let leader = cluster.leader(cluster.all()[0]);
        // It is still there, and says nothing: both clients go elsewhere.
        cluster.replica(leader).signal(Signal::Stop);
        lock(&holds).release(Some(held)).await.expect("it holds it");
        assert!(token(waiting).await > held);
        cluster.replica(leader).signal(Signal::Continue);
        let now = lock(&holds).holders().await.expect("it can be asked");
        assert!(now.len() == 1 && now[0].token > held, "{now:?}");
    });
}

#[test]
fn a_parked_call_survives_snapshots_and_the_truncation_of_the_log() {
    let mut cluster = Cluster::new("waiting-snapshots");
    let flags = ["-o", "lock", "--snapshot-log-bytes", "65536"];
    let first = cluster.start(&flags);
    for _ in 0..2 {
        cluster.start(&[&flags[..], &["-b", &first.to_string()]].concat());
    }
    let addresses = cluster.addresses();
    let runtime = Runtime::new().expect("threads");
    let (holds, held, _waits, waiting) = runtime.block_on(held_and_waiting(&addresses));
    // More than the log of two snapshots, which is all that is kept.
    runtime.block_on(async {
        for _ in 0..4000 {
            assert!(lock(&holds).release(Some(held + 1_000_000)).await.is_err(), "nobody has that token");
        }
    });
    cluster.kill_all();
    let of_first = cluster.scratch().path().join("concoord-data").join(format!("127.0.0.1-{}", first.port()));
    let names = std::fs::read_dir(of_first).expect("its data").flatten().map(|file| file.file_name());
    let names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
    let snapshots = names.iter().filter(|name| name.starts_with("snapshot-")).count();
    assert!(snapshots >= 2 && !names.contains(&"log-1".to_owned()), "its log is truncated: {names:?}");
    cluster.restart_all_same();
    runtime.block_on(async {
        waiters(&holds, 1).await;
        lock(&holds).release(Some(held)).await.expect("it holds it still");
        assert!(token(waiting).await > held);
    });
}

#[test]
fn a_parked_call_survives_an_upgrade_of_its_object() {
    let cluster = Cluster::of("waiting-upgrade", "lock", 3);
    let addresses = cluster.addresses();
    blocking(async {
        let (holds, held, _waits, waiting) = held_and_waiting(&addresses).await;
        let built = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../objects-wasm/dist/lock.wasm");
        let mut module = std::fs::read(built).expect("it is built");
        // A section that says nothing makes another module of it.
        module.extend([0, 5, 4, b't', b'e', b's', b't']);
        let file = cluster.scratch().write("lock-2.wasm", &module).display().to_string();
        let upgraded = concoord(&["object", "upgrade", "lock", &file, "-c", &addresses]);
        assert_eq!(upgraded.code, Some(0), "{upgraded:?}");
        assert!(upgraded.stdout.contains("generation 2"), "{upgraded:?}");
        waiters(&holds, 1).await;
        lock(&holds).release(Some(held)).await.expect("it holds it still");
        assert!(token(waiting).await > held);
    });
}
