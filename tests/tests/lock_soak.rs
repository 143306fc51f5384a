//! Many clients over one lock, while leaders are killed and clients end without a word: the resource that the lock is for, a
//! process of its own, never sees a token fall, and whoever waits gets its turn.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use concoord_client::{Client, Guard, Options};
use concoord_objects::LockProxy;
use concoord_tests::cluster::Cluster;
use concoord_tests::load::{blocking, is_long};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

const CLIENTS: u64 = 16;
const TTL: Duration = Duration::from_secs(2);
const KILL_EVERY: Duration = Duration::from_secs(5);
/// A wait longer than this is a deadlock.
const STUCK: Duration = Duration::from_secs(60);
/// Where the resource is told that it is one.
const RESOURCE: &str = "CONCOORD_TEST_RESOURCE";
/// A grant may be seen this much later by its client than by others.
const SEEN_WITHIN: Duration = Duration::from_millis(1500);

/// The process of the resource: it answers each token with a line, and says at the end how many it saw and how many fell.
#[test]
fn the_resource() {
    if std::env::var_os(RESOURCE).is_none() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("at {}", listener.local_addr().expect("it has one"));
    let seen = Arc::new(Mutex::new((Guard::default(), 0_u64, 0_u64)));
    thread::spawn({
        let seen = Arc::clone(&seen);
        move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                thread::spawn(move || serve(&stream, &seen));
            }
        }
    });
    // It ends with whoever started it.
    std::io::stdin().lines().for_each(drop);
    let (guard, tokens, fell) = *seen.lock().unwrap_or_else(PoisonError::into_inner);
    println!("saw {tokens} {fell} {}", guard.newest());
}

fn serve(mut stream: &TcpStream, seen: &Mutex<(Guard, u64, u64)>) {
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let token = line.parse().expect("a token");
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.1 += 1;
        if seen.0.admit(token).is_err() {
            seen.2 += 1;
        }
        drop(seen);
        if stream.write_all(b"ok\n").is_err() {
            break;
        }
    }
}

/// What happened, by whom and when.
#[derive(Debug, Default)]
struct Log {
    /// Session, token.
    grants: Vec<(Instant, String, u64)>,
    /// Ends of clients that held the lock, with its token.
    deaths: Vec<(Instant, u64)>,
    /// Ends of clients that waited for it.
    silent_deaths: usize,
    longest_wait: Duration,
}

type Shared = Arc<Mutex<Log>>;

fn log(shared: &Shared) -> std::sync::MutexGuard<'_, Log> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note_grant(shared: &Shared, session: &str, token: u64, began: Instant) {
    let mut log = log(shared);
    log.grants.push((Instant::now(), session.to_owned(), token));
    log.longest_wait = log.longest_wait.max(began.elapsed());
}

/// One life of a client: gives whether it ended without a word.
async fn live(addresses: &str, resource: &str, shared: &Shared, until: Instant, random: &mut u64) -> bool {
    let mut draw = |below: u64| {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*random >> 33) % below
    };
    let options = Options { session_ttl: TTL, timeout: STUCK, ..Options::default() };
    let client = Client::connect_with(addresses, options).await.expect("the replicas run");
    let session = client.session().await.expect("it is opened").session.to_string();
    let lock = LockProxy::new(client.clone());
    let mut stream = TcpStream::connect(resource).expect("it runs");
    let mut answers = BufReader::new(stream.try_clone().expect("it is a socket"));
    while Instant::now() < until {
        let began = Instant::now();
        let acquire = lock.acquire();
        if draw(60) == 0 {
            // It ends while it waits, or just as it gets the lock.
            if timeout(Duration::from_millis(draw(400)), acquire).await.is_err() {
                log(shared).silent_deaths += 1;
            }
            std::mem::forget(client);
            return true;
        }
        let token = timeout(STUCK, acquire).await.expect("no deadlock").expect("it gets its turn");
        note_grant(shared, &session, token, began);
        writeln!(stream, "{token}").expect("the resource is there");
        let mut answer = String::new();
        answers.read_line(&mut answer).expect("it answers");
        sleep(Duration::from_millis(draw(15))).await;
        if draw(120) == 0 {
            log(shared).deaths.push((Instant::now(), token));
            std::mem::forget(client);
            return true;
        }
        // Its session may have ended, if its words did not get through for long.
        let _ = lock.release(Some(token)).await;
    }
    client.close().await;
    false
}

/// The sessions that wait, in their order, again and again.
async fn watch_order(addresses: &str, shared: &Shared, until: Instant) -> (usize, Vec<String>) {
    let client = Client::connect(addresses).await.expect("the replicas run");
    let lock = LockProxy::new(client.clone());
    let (mut looks, mut wrong) = (0, Vec::new());
    let mut before: Option<(Instant, Vec<String>)> = None;
    let mut pairs = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        let now = lock.waiters().await.expect("it can be asked");
        if let Some((at, before)) = before.take() {
            pairs.push((at, Instant::now(), before, now.clone()));
        }
        before = Some((began, now));
        looks += 1;
        sleep(Duration::from_millis(15)).await;
    }
    sleep(SEEN_WITHIN).await;
    // Who had the lock meanwhile may stand at the end again.
    let grants: Vec<(Instant, String)> =
        log(shared).grants.iter().map(|(at, session, _)| (*at, session.clone())).collect();
    for (began, ended, before, after) in pairs {
        let had: BTreeSet<&String> = grants
            .iter()
            .filter(|(at, _)| *at + SEEN_WITHIN > began && *at < ended + SEEN_WITHIN)
            .map(|(_, session)| session)
            .collect();
        let stayed = |of: &[String], other: &[String]| -> Vec<String> {
            of.iter().filter(|session| !had.contains(session) && other.contains(session)).cloned().collect()
        };
        let (one, other) = (stayed(&before, &after), stayed(&after, &before));
        if one != other {
            wrong.push(format!("{before:?} became {after:?}"));
        }
    }
    client.close().await;
    (looks, wrong)
}

#[test]
fn no_token_falls_and_nobody_waits_for_ever_whoever_is_killed() {
    let lasts = if is_long() { Duration::from_secs(60) } else { Duration::from_secs(15) };
    let mut cluster = Cluster::of("lock-soak", "lock", 3);
    let (addresses, all) = (cluster.addresses(), cluster.all());
    let mut resource = Command::new(std::env::current_exe().expect("this is one"))
        .args(["--exact", "the_resource", "--nocapture"])
        .env(RESOURCE, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut said = BufReader::new(resource.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    let at = said.find_map(|line| line.strip_prefix("at ").map(String::from)).expect("it says where");

    let shared = Shared::default();
    let until = Instant::now() + lasts;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (addresses, at, shared) = (addresses.clone(), at.clone(), Arc::clone(&shared));
            thread::spawn(move || {
                let mut random = 0x9e37_79b9 * (number + 1);
                let mut lives = 0;
                while Instant::now() < until {
                    let life = Runtime::new().expect("threads");
                    let died = life.block_on(live(&addresses, &at, &shared, until, &mut random));
                    // Whatever its task would still say is not said.
                    life.shutdown_background();
                    lives += u64::from(died);
                    thread::sleep(Duration::from_millis(100));
                }
                lives
            })
        })
        .collect();
    let order = thread::spawn({
        let (addresses, shared) = (addresses.clone(), Arc::clone(&shared));
        move || blocking(watch_order(&addresses, &shared, until))
    });
    let mut kills = 0;
    while Instant::now() < until {
        thread::sleep(KILL_EVERY.min(until.saturating_duration_since(Instant::now())));
        let leader = cluster.leader(all[0]);
        cluster.replica(leader).kill();
        kills += 1;
        cluster.restart_same(leader);
    }
    let died: u64 = clients.into_iter().map(|client| client.join().expect("it got its turn each time")).sum();
    let (looks, wrong) = order.join().expect("no panic");
    drop(resource.stdin.take());
    let saw = said.find_map(|line| line.strip_prefix("saw ").map(String::from)).expect("it says what it saw");
    resource.wait().expect("it ends");

    let log = log(&shared);
    let tokens: BTreeMap<u64, Instant> = log.grants.iter().map(|(at, _, token)| (*token, *at)).collect();
    assert_eq!(tokens.len(), log.grants.len(), "each token is given once");
    let passed_on = log.deaths.iter().filter_map(|(death, token)| {
        let next = tokens.range(token + 1..).next().map(|(_, at)| *at)?;
        Some(next.saturating_duration_since(*death))
    });
    let passed_on: Vec<Duration> = passed_on.collect();
    let longest = passed_on.iter().max().copied().unwrap_or_default();
    println!(
        "{CLIENTS} clients for {lasts:?}: {} grants, {kills} leaders killed, {died} clients ended without a word, {} of them \
         holding the lock and {} waiting for it; the resource saw (tokens, fallen, newest) {saw}; the longest wait was {:?}; \
         a lock whose holder ended was passed on within {longest:?}, with sessions of {TTL:?}; {looks} looks at who waits, \
         {} out of order",
        log.grants.len(),
        log.deaths.len(),
        log.silent_deaths,
        log.longest_wait,
        wrong.len()
    );
    let figures: Vec<u64> = saw.split(' ').map(|figure| figure.parse().expect("a number")).collect();
    assert_eq!(figures[..2], [log.grants.len() as u64, 0], "the resource saw all, and none fell");
    assert!(wrong.is_empty(), "waiters changed places: {wrong:#?}");
    assert!(log.grants.len() as u64 > 4 * CLIENTS && died > 0 && kills > 1);
    assert!(longest < 2 * TTL + Duration::from_secs(1), "{longest:?}");
}
