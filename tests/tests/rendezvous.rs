//! Clients that wait for each other through the standard objects, several calls as one, and objects started anew, over three
//! replicas.

use std::time::{Duration, Instant};

use concoord_client::{Abort, CallError, Client, ClientError, Options, Part};
use concoord_objects::bank::{BankError, BankProxy};
use concoord_objects::boundedsemaphore::BoundedSemaphoreProxy;
use concoord_objects::election::ElectionProxy;
use concoord_objects::meshmembership::MeshMembershipProxy;
use concoord_objects::{
    BarrierProxy, ConditionProxy, CounterProxy, GrantError, KvProxy, LatchProxy, LockProxy, QueueProxy, RLockProxy,
    RateLimiterProxy, RwLockProxy, SemaphoreProxy,
};
use concoord_tests::cluster::{Cluster, concoord};
use concoord_tests::load::blocking;
use concoord_wire::caller::ProxyError;
use concoord_wire::codec::{from_bytes, to_bytes};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Three replicas with these objects, each loaded under its own name with what its constructor is given.
fn cluster(name: &str, objects: &[(&str, &str)]) -> Cluster {
    let cluster = Cluster::of(name, "counter", 3);
    for (object, init) in objects {
        let loaded = concoord(&["object", "load", object, object, "--init", init, "-c", &cluster.addresses()]);
        assert_eq!(loaded.code, Some(0), "{loaded:?}");
    }
    cluster
}

async fn clients<const N: usize>(cluster: &Cluster) -> [Client; N] {
    let mut clients = Vec::new();
    for _ in 0..N {
        let options = Options { session_ttl: Duration::from_secs(1), ..Options::default() };
        clients.push(Client::connect_with(&cluster.addresses(), options).await.expect("the replicas run"));
    }
    clients.try_into().expect("as many as were made")
}

/// Calls beside everything else; it is waiting when this returns.
async fn begin<T: Send + 'static>(call: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    let call = tokio::spawn(call);
    sleep(Duration::from_millis(150)).await;
    assert!(!call.is_finished(), "it waits");
    call
}

async fn ended<T>(call: JoinHandle<T>) -> T {
    timeout(Duration::from_secs(10), call).await.expect("it is answered").expect("no panic")
}

/// `begin!(proxy.method(arguments))` on a copy of the proxy's client.
macro_rules! begin {
    ($proxy:ident($client:expr, $name:literal).$method:ident($($argument:expr),*)) => {{
        let proxy = $proxy::named($client.clone(), $name);
        begin(async move { proxy.$method($($argument),*).await }).await
    }};
}

#[test]
fn semaphores_and_locks_are_passed_on_and_end_with_their_sessions() {
    let objects = [("semaphore", "[2]"), ("boundedsemaphore", "[1]"), ("rlock", "[]"), ("rwlock", "[]")];
    let cluster = cluster("rendezvous-locks", &objects);
    blocking(async {
        let [first, second, third] = clients(&cluster).await;
        let semaphore = SemaphoreProxy::named(first.clone(), "semaphore");
        let tokens = [semaphore.acquire().await.expect("one"), semaphore.acquire().await.expect("two")];
        assert_eq!(semaphore.try_acquire().await, Ok(None));
        let waits = begin!(SemaphoreProxy(second, "semaphore").acquire());
        assert_eq!(semaphore.waiters().await.expect("it can be asked").len(), 1);
        semaphore.revoke(tokens[0]).await.expect("an operator takes it");
        let third_token = ended(waits).await.expect("it is granted");
        assert!(tokens[0] < tokens[1] && tokens[1] < third_token);
        assert!(semaphore.release(Some(tokens[0])).await.is_err(), "it was revoked");

        let bounded = BoundedSemaphoreProxy::named(second.clone(), "boundedsemaphore");
        assert_eq!(bounded.release(None).await, Err(ProxyError::Method(GrantError::NotHeld)));
        bounded.acquire().await.expect("it is free");
        let waits = begin!(BoundedSemaphoreProxy(first, "boundedsemaphore").acquire());

        let rlock = RLockProxy::named(second.clone(), "rlock");
        let token = rlock.acquire().await.expect("it is free");
        assert_eq!(rlock.acquire().await, Ok(token), "again");
        let waits_for_rlock = begin!(RLockProxy(first, "rlock").acquire());
        rlock.release(None).await.expect("once");

        let writes = RwLockProxy::named(second.clone(), "rwlock").write().await.expect("it is free");
        let reads = [begin!(RwLockProxy(first, "rwlock").read()), begin!(RwLockProxy(third, "rwlock").read())];

        // Everything that this one holds goes with it.
        second.close().await;
        ended(waits).await.expect("the permit is given back");
        assert!(ended(waits_for_rlock).await.expect("it is granted") > token, "however often it was held");
        for read in reads {
            assert!(ended(read).await.expect("both read") > writes);
        }
        assert_eq!(semaphore.value().await, Ok(1));
    });
}

#[test]
fn conditions_barriers_latches_and_queues_bring_clients_together() {
    let objects = [("condition", "[]"), ("barrier", "[3]"), ("latch", "[2]"), ("queue", "[1]")];
    let cluster = cluster("rendezvous-together", &objects);
    blocking(async {
        let [first, second, third] = clients(&cluster).await;
        let condition = ConditionProxy::named(first.clone(), "condition");
        let of_second = ConditionProxy::named(second.clone(), "condition");
        of_second.acquire().await.expect("it is free");
        let waits = begin!(ConditionProxy(second, "condition").wait());
        let token = condition.acquire().await.expect("waiting has freed it");
        condition.notify(None).await.expect("it has the lock");
        sleep(Duration::from_millis(100)).await;
        assert!(!waits.is_finished(), "who is notified waits for the lock");
        condition.release(Some(token)).await.expect("it has the lock");
        assert!(ended(waits).await.expect("it is notified and has the lock") > token);

        let arrived = [begin!(BarrierProxy(first, "barrier").wait()), begin!(BarrierProxy(second, "barrier").wait())];
        assert_eq!(BarrierProxy::named(third.clone(), "barrier").wait().await, Ok(2));
        for (index, arrived) in (0..).zip(arrived) {
            assert_eq!(ended(arrived).await, Ok(index));
        }
        let again = begin!(BarrierProxy(first, "barrier").wait());
        assert_eq!(BarrierProxy::named(second.clone(), "barrier").n_waiting().await, Ok(1), "it is cyclic");
        again.abort();

        let opens = begin!(LatchProxy(third, "latch").wait());
        let latch = LatchProxy::named(first.clone(), "latch");
        latch.count_down().await.expect("one");
        latch.count_down().await.expect("two");
        ended(opens).await.expect("it is open");

        let queue = QueueProxy::named(first.clone(), "queue");
        let got = [begin!(QueueProxy(second, "queue").get()), begin!(QueueProxy(third, "queue").get())];
        for item in ["a", "b", "c"] {
            queue.put(item.into()).await.expect("there is room");
        }
        let [one, other] = got;
        assert_eq!((ended(one).await, ended(other).await), (Ok("a".into()), Ok("b".into())), "in turn");
        let put = begin!(QueueProxy(second, "queue").put("d".into()));
        assert_eq!((queue.full().await, queue.get().await), (Ok(true), Ok("c".into())));
        ended(put).await.expect("there is room");
        assert_eq!((queue.get().await, queue.empty().await), (Ok("d".into()), Ok(true)));
    });
}

#[test]
fn elections_groups_and_limits_let_clients_wait_for_changes_and_time() {
    let objects = [("election", "[]"), ("meshmembership", "[]"), ("ratelimiter", "[10,2]")];
    let cluster = cluster("rendezvous-changes", &objects);
    blocking(async {
        let [first, second, third] = clients(&cluster).await;
        let election = ElectionProxy::named(first.clone(), "election");
        let token = election.campaign("first".into()).await.expect("nobody leads");
        let second_leads = begin!(ElectionProxy(second, "election").campaign("second".into()));
        let seen = begin!(ElectionProxy(third, "election").observe(token));
        election.resign(Some(token)).await.expect("it leads");
        let next = ended(second_leads).await.expect("it is elected");
        let leader = ended(seen).await.expect("there is another leader");
        assert_eq!((leader.token, leader.value.as_str()), (next, "second"));
        assert!(next > token);

        let mesh = MeshMembershipProxy::named(first.clone(), "meshmembership");
        let epoch = mesh.add_group("web".into(), ["ann".into()].into(), None).await.expect("there is none");
        let changed = begin!(MeshMembershipProxy(second, "meshmembership").wait("web".into(), epoch));
        let joined = mesh.approve_join("web".into(), "bob".into()).await.expect("it is new");
        let state = ended(changed).await.map_err(|error| error.to_string());
        assert_eq!(state.map(|state| (state.epoch, state.members.len())), Ok((joined, 2)));

        let limiter = RateLimiterProxy::named(first.clone(), "ratelimiter");
        let began = Instant::now();
        for _ in 0..6 {
            limiter.take(1).await.expect("it gets its turn");
        }
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(350), "two at once, then ten a second: {took:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    });
}

#[test]
fn several_calls_as_one_happen_on_all_their_objects_or_on_none() {
    let cluster = cluster("rendezvous-atomically", &[("bank", "[]"), ("kv", "[]"), ("lock", "[]")]);
    blocking(async {
        let [client, other] = clients(&cluster).await;
        let bank = BankProxy::named(client.clone(), "bank");
        for account in ["ann", "bob"] {
            bank.open(account.into()).await.expect("it is new");
        }
        bank.deposit("ann".into(), 100).await.expect("it is open");
        let transfer = async |amount: u64| {
            let calls = client.together(async |as_one| {
                let (bank, kv) = (BankProxy::named(as_one.clone(), "bank"), KvProxy::named(as_one, "kv"));
                let note = kv.put("last".into(), amount.to_string(), None, None);
                tokio::join!(bank.debit("ann".into(), amount), bank.deposit("bob".into(), amount), note)
            });
            calls.await
        };
        let (debited, deposited, noted) = transfer(30).await;
        assert_eq!((debited, deposited), (Ok(70), Ok(30)));
        noted.expect("it is executed too");
        let (debited, deposited, noted) = transfer(71).await;
        assert_eq!(debited, Err(ProxyError::Method(BankError::Insufficient { balance: 70 })));
        assert!(deposited.is_err() && noted.is_err(), "{deposited:?} {noted:?}");
        // The last part fails, when the others have run.
        let (from, other_from) = (to_bytes(&("ann", 10_u64)), to_bytes(&("nobody", 10_u64)));
        let part = |method, arguments| Part { object: Some("bank"), method, arguments };
        let refused = client.atomically(&[part("debit", &from), part("deposit", &other_from)]).await;
        assert!(matches!(refused, Err(ClientError::Call(CallError::Aborted { part: 1, .. }))), "{refused:?}");
        assert_eq!((bank.balance("ann".into()).await, bank.balance("bob".into()).await), (Ok(70), Ok(30)));
        let kv = KvProxy::named(client.clone(), "kv");
        assert_eq!(kv.get("last".into()).await.map(|entry| entry.map(|entry| entry.value)), Ok(Some("30".into())));

        // A lock is fine if it is free, and would have to wait if it is not.
        let parts = [Part { object: Some("lock"), method: "acquire", arguments: &[] }];
        let token = client.atomically(&parts).await.expect("it is free");
        assert!(from_bytes::<u64>(&token[0]).is_ok());
        match other.atomically(&parts).await {
            Err(ClientError::Call(CallError::Aborted { part: 0, why: Abort::Error(why), .. })) => {
                assert!(why.contains("wait"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn an_object_started_anew_counts_from_the_start_and_its_tokens_go_on() {
    let cluster = cluster("rendezvous-anew", &[("lock", "[]"), ("semaphore", "[5]")]);
    blocking(async {
        let [client, other] = clients(&cluster).await;
        let counter = CounterProxy::new(client.clone());
        counter.increment().await.expect("it runs");
        counter.reinitialize().await.expect("it takes no arguments");
        counter.increment().await.expect("it runs");
        assert_eq!(counter.getvalue().await, Ok(1));

        let lock = LockProxy::named(client.clone(), "lock");
        let mut last = lock.acquire().await.expect("it is free");
        for _ in 0..3 {
            let waits = begin!(LockProxy(other, "lock").acquire());
            lock.reinitialize().await.expect("it takes no arguments");
            match ended(waits).await {
                Err(ProxyError::Caller(ClientError::Call(CallError::Cancelled { .. }))) => {}
                ended => panic!("{ended:?}"),
            }
            let next = lock.acquire().await.expect("it is free again");
            assert!(next > last, "{next} after {last}");
            last = next;
        }

        let semaphore = SemaphoreProxy::named(client.clone(), "semaphore");
        for _ in 0..5 {
            last = last.max(semaphore.acquire().await.expect("one of five"));
        }
        // Several waiters are granted by one input.
        let waits = [
            begin!(SemaphoreProxy(other, "semaphore").acquire()),
            begin!(SemaphoreProxy(other, "semaphore").acquire()),
        ];
        client.close().await;
        for wait in waits {
            last = last.max(ended(wait).await.expect("it is given back"));
        }
        let semaphore = SemaphoreProxy::named(other, "semaphore");
        semaphore.reinitialize(Some(1)).await.expect("it takes a count");
        assert_eq!(semaphore.value().await, Ok(1));
        assert!(semaphore.acquire().await.expect("it is free") > last);
        let refused = semaphore.reinitialize(None).await;
        assert_eq!((refused, semaphore.value().await), (Ok(()), Ok(1)));
    });
}
