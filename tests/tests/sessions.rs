//! Sessions that outlive their clients, and clients that learn that theirs is lost.

use std::time::{Duration, Instant};

use concoord_client::{CallError, Client, ClientError, Guard, Options, SessionToken};
use concoord_objects::{CounterProxy, LockProxy};
use concoord_tests::cluster::{Cluster, Signal, binary, concoord, signal, wait_for};
use concoord_tests::load::blocking;
use concoord_wire::caller::ProxyError;
use tokio::runtime::Runtime;
use tokio::time::timeout;

const TTL: Duration = Duration::from_secs(2);
/// How late a client on a busy machine may be told that its time is over.
const TOLD_WITHIN: Duration = Duration::from_millis(500);

async fn client(addresses: &str, session: Option<SessionToken>) -> Result<Client, ClientError> {
    Client::connect_with(addresses, Options { session_ttl: TTL, session, ..Options::default() }).await
}

#[test]
fn a_session_is_gone_on_with_after_its_client_ended_and_the_client_before_does_nothing_more() {
    let mut cluster = Cluster::of("sessions-resumed", "lock", 3);
    let addresses = cluster.addresses();
    let life = Runtime::new().expect("threads");
    let (_first, token, held) = life.block_on(async {
        let first = client(&addresses, None).await.expect("the replicas run");
        let token = first.session().await.expect("it is opened");
        let held = LockProxy::new(first.clone()).acquire().await.expect("it is free");
        (first, token, held)
    });
    blocking(async {
        let token: SessionToken = token.to_string().parse().expect("as it was written");
        // Another client has it while the first one still runs: that one is refused from now on.
        let second = client(&addresses, Some(token)).await.expect("the session is there");
        let all = cluster.all();
        let leader = cluster.leader(all[0]);
        cluster.replica(leader).kill();
        let lock = LockProxy::new(second.clone());
        assert_eq!(lock.holders().await.expect("it can be asked").first().map(|held| held.token), Some(held));
        // The first one may hold the lock no more, by its own knowledge.
        life.shutdown_background();
        tokio::time::sleep(2 * TTL + Duration::from_secs(2)).await;
        lock.release(Some(held)).await.expect("it holds it still, since it is kept alive");
        let wrong = SessionToken::from_parts(token.session, 7);
        match client(&addresses, Some(wrong)).await {
            Err(ClientError::Call(CallError::SessionGone { session })) => assert_eq!(session, token.session),
            other => panic!("{other:?}"),
        }
        second.close().await;
        assert!(client(&addresses, Some(token)).await.is_err(), "it is closed");
    });
}

#[test]
fn the_client_whose_session_another_one_goes_on_with_is_told_that_it_is_lost() {
    let cluster = Cluster::of("sessions-taken", "counter", 1);
    let addresses = cluster.addresses();
    blocking(async {
        let first = client(&addresses, None).await.expect("the replica runs");
        let counter = CounterProxy::new(first.clone());
        counter.increment().await.expect("it runs");
        let token = first.session().await.expect("it is open");
        let second = client(&addresses, Some(token)).await.expect("the session is there");
        let lost = first.lost();
        assert_eq!(CounterProxy::new(second).increment().await, Ok(2));
        let refused = counter.increment().await;
        timeout(TTL, lost).await.expect("it is told at once");
        // It was sent once, under a number that is used up: so it runs in another session, once.
        assert_eq!(refused, Ok(3));
        assert_eq!(counter.getvalue().await, Ok(3));
    });
}

#[test]
fn a_client_that_does_not_reach_the_cluster_is_told_before_anybody_else_can_have_its_lock() {
    let mut cluster = Cluster::of("sessions-lost", "lock", 3);
    let addresses = cluster.addresses();
    let life = Runtime::new().expect("threads");
    let (held, took, _holder) = life.block_on(async {
        let holder = client(&addresses, None).await.expect("the replicas run");
        let held = LockProxy::new(holder.clone()).acquire().await.expect("it is free");
        let lost = holder.lost();
        tokio::pin!(lost);
        assert!(timeout(2 * TTL, &mut lost).await.is_err(), "it is kept alive");
        let began = Instant::now();
        cluster.kill_all();
        timeout(2 * TTL, &mut lost).await.expect("it is told");
        (held, began.elapsed(), holder)
    });
    println!("lost {took:?} after the cluster was gone, with a time to live of {TTL:?}");
    assert!(took <= TTL + TOLD_WITHIN, "{took:?}");
    // It stops, as whoever holds a lock that is lost has to.
    life.shutdown_background();
    blocking(async {
        let mut guard = Guard::after(held);
        cluster.restart_all_same();
        let other = client(&addresses, None).await.expect("the replicas run again");
        let next = timeout(3 * TTL + Duration::from_secs(5), LockProxy::new(other).acquire()).await;
        let next = next.expect("the session ends").expect("it is granted");
        guard.admit(next).expect("it is newer");
        guard.admit(held).expect_err("it is outdated");
    });
}

#[test]
fn an_operator_sees_sessions_and_ends_one() {
    let cluster = Cluster::of("sessions-operator", "lock", 3);
    let addresses = cluster.addresses();
    blocking(async {
        let (holder, waits) =
            (client(&addresses, None).await.expect("they run"), client(&addresses, None).await.expect("they run"));
        let held = LockProxy::new(holder.clone()).acquire().await.expect("it is free");
        let id = holder.session().await.expect("it is open").session.to_string();
        let waiting = tokio::spawn({
            let lock = LockProxy::new(waits.clone());
            async move { lock.acquire().await }
        });
        let list = || -> Vec<serde_json::Value> {
            let listed = concoord(&["sessions", "--json", "-c", &addresses]);
            let list: serde_json::Value = serde_json::from_str(&listed.stdout).expect("JSON");
            list["sessions"].as_array().expect("a list").clone()
        };
        while !list().iter().any(|session| session["waiting"] == 1) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(list().iter().any(|session| session["session"] == id.as_str() && session["ttl_ms"] == 2000));
        let lost = holder.lost();
        let ended = concoord(&["sessions", "end", &id, "-c", &addresses]);
        assert_eq!((ended.code, ended.stdout), (Some(0), format!("{id}: ended, 0 of its calls waited\n")));
        let next = timeout(Duration::from_secs(5), waiting).await.expect("it is passed on").expect("no panic");
        assert!(next.expect("it is granted") > held);
        timeout(TTL, lost).await.expect("it is told with the next sign of life");
        let again = concoord(&["sessions", "end", &id, "-c", &addresses]);
        assert_eq!((again.code, again.stderr), (Some(1), format!("concoord: no session {id} is open\n")));
        let refused = LockProxy::new(holder).release(Some(held)).await;
        assert!(matches!(refused, Err(ProxyError::Method(_))), "another session does not hold it: {refused:?}");
    });
}

#[test]
fn what_a_command_waits_for_by_a_session_that_it_keeps_ends_when_it_is_interrupted() {
    let cluster = Cluster::of("sessions-interrupted", "queue", 3);
    let addresses = cluster.addresses();
    let file = cluster.scratch().path().join("session").display().to_string();
    for by in [Signal::Interrupt, Signal::Terminate] {
        let mut waits = std::process::Command::new(binary());
        waits.args(["call", "-c", &addresses, "get", "--session", &file]).stderr(std::process::Stdio::piped());
        let waits = waits.spawn().expect("it runs");
        let waiters = || concoord(&["call", "-c", &addresses, "waiters"]).stdout;
        let listed = || concoord(&["sessions", "--json", "-c", &addresses]).stdout;
        wait_for("the call to wait", || if listed().contains(r#""waiting":1"#) { Ok(()) } else { Err(waiters()) });
        signal(waits.id(), by);
        let output = waits.wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "concoord: interrupted\n");
        assert_eq!(concoord(&["call", "-c", &addresses, "put", "precious"]).code, Some(0));
        assert_eq!(concoord(&["call", "-c", &addresses, "get"]).stdout, "\"precious\"\n", "nobody else got it");
    }
}

#[test]
fn of_commands_that_begin_a_session_at_once_each_has_done_its_call_or_nothing() {
    let cluster = Cluster::of("sessions-begun", "counter", 1);
    let addresses = cluster.addresses();
    let file = cluster.scratch().path().join("session").display().to_string();
    let run = |_| {
        let (addresses, file) = (addresses.clone(), file.clone());
        std::thread::spawn(move || concoord(&["call", "-c", &addresses, "increment", "--session", &file]))
    };
    let ended: Vec<_> =
        (0..8).map(run).collect::<Vec<_>>().into_iter().map(|thread| thread.join().expect("ends")).collect();
    let done = ended.iter().filter(|ended| ended.code == Some(0)).count();
    for failed in ended.iter().filter(|ended| ended.code != Some(0)) {
        let (another, taken) = ("another command has just begun a session in ", "session");
        assert!(failed.stderr.contains(another) || failed.stderr.contains(taken), "{failed:?}");
    }
    assert!(done >= 1, "{ended:?}");
    let counted: usize = concoord(&["call", "-c", &addresses, "getvalue"]).stdout.trim().parse().expect("a number");
    assert!(counted >= done, "{counted} of {done}: {ended:?}");
    assert_eq!(concoord(&["call", "-c", &addresses, "increment", "--session", &file]).code, Some(0));
}
