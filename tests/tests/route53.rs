//! Publishing to Route 53: by moto, which others wrote, and by a server of our own that refuses and fails.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use concoord_discovery::{AccessKey, Name, Options as RecordOptions, Route53, Route53Options, record_sets};
use concoord_node::plugin::{self, RunningPlugin};
use concoord_tests::cluster::{Cluster, Launch, Scratch, concoord, wait_for, wait_for_within};
use concoord_tests::route53::Records;
use concoord_tests::route53::fake::{Fake, Faults};
use concoord_tests::route53::moto::Moto;
use concoord_wire::member::{Role, Roster, RosterMember, Services};
use concoord_wire::{ClusterId, NodeId, Slot, ViewId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time;

const DOMAIN: &str = "counterdomain.com";
const CLUSTER: ClusterId = ClusterId(7);
/// Runs of publishers that depose each other.
const DEPOSED_RUNS: u64 = 200;
/// How long one of them may take: each try fails with a chance of about a half, and pauses grow to four seconds.
const DEPOSED_WAIT_MAX: Duration = Duration::from_secs(120);
/// Quick changes of the members.
const QUICK_CHANGES: u64 = 100;
/// How long after the last of them all is as it shall be.
const QUICK_CHANGES_LATER: Duration = Duration::from_secs(5);
/// How long Route 53 refuses everything, and how long after that all is as it shall be.
const THROTTLED: Duration = Duration::from_secs(60);
const THROTTLED_LATER: Duration = Duration::from_secs(5);
/// Where AWS programs look for keys; a test has its own.
const KEY: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "tests"), ("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-tests")];

type Rosters = watch::Sender<Option<Arc<Roster>>>;

/// Replicas at 10.0.0.1 to 10.0.0.`count`, of which `leader` leads and tells.
fn roster(revision: u64, count: u64, leader: u64) -> Roster {
    let member = |id: u64| RosterMember {
        id: NodeId(id),
        address: SocketAddr::from(([10, 0, 0, u8::try_from(id).expect("few members")], 14000)),
        role: Role::Replica,
        services: Services::ROUTE53,
        live: true,
        silent: false,
        volatile: false,
        full: false,
        differs: None,
        supports: None,
    };
    Roster {
        cluster: CLUSTER,
        view: ViewId(revision),
        leader: Some(NodeId(leader)),
        members: (1..=count).map(member).collect(),
        revision: Slot(revision),
        decided: Slot(revision),
        reporter: NodeId(leader),
        version: None,
        plugins: vec![],
    }
}

fn domain() -> Name {
    Name::from_ascii(format!("{DOMAIN}.")).expect("a name")
}

fn options(endpoint: String) -> Route53Options {
    let key = AccessKey { id: KEY[0].1.into(), secret: KEY[1].1.into() };
    Route53Options {
        domains: vec![domain()],
        records: RecordOptions::default(),
        zone_id: None,
        endpoint: Some(endpoint),
        key: Some(key),
        take_over: false,
    }
}

fn publisher(options: Route53Options) -> (Rosters, RunningPlugin) {
    let (rosters, newest) = watch::channel(None);
    (rosters, plugin::start(Box::new(Route53::new(options)), newest))
}

fn tell(rosters: &Rosters, roster: Roster) {
    rosters.send_replace(Some(Arc::new(roster)));
}

/// Waits until a roster is published.
async fn published(running: &mut RunningPlugin, revision: u64, limit: Duration) {
    let newest = running.status.wait_for(|state| state.published == Some(Slot(revision)));
    let waited = time::timeout(limit, newest).await.map(|state| state.map(|_| ()));
    assert!(matches!(waited, Ok(Ok(()))), "revision {revision} within {limit:?}: {:?}", running.status.borrow());
}

/// Waits for a failure that has these words.
async fn refused(running: &mut RunningPlugin, words: &str) -> String {
    let said = |failure: &Option<String>| failure.as_ref().is_some_and(|why| why.contains(words));
    let state = running.status.wait_for(|state| said(&state.failure));
    let state = time::timeout(Duration::from_secs(40), state).await;
    let state = state.unwrap_or_else(|_| panic!("nobody said '{words}'")).expect("the plugin runs");
    state.failure.clone().expect("it was waited for")
}

/// The records that a roster stands for, and its fence.
fn expected(roster: &Roster) -> Records {
    let mut records = Records::new();
    for set in record_sets(&domain(), roster, RecordOptions::default()).expect("short names") {
        let value = |record: &concoord_discovery::Record| match set.record_type().to_string().as_str() {
            "TXT" => format!("\"{}\"", record.data.to_string().trim_matches('"')),
            _ => record.data.to_string(),
        };
        let mut values = set.records_without_rrsigs().map(value).collect::<Vec<_>>();
        values.sort();
        records.insert((set.name().to_ascii(), set.record_type().to_string()), values);
    }
    records
}

/// What is in a zone but not of the cluster, and the fence, left out.
fn of_the_cluster(mut records: Records) -> Records {
    records.retain(|(name, kind), _| !matches!(kind.as_str(), "NS" | "SOA") && name != &format!("_concoord.{DOMAIN}."));
    records
}

#[tokio::test]
async fn quick_changes_are_few_batches_and_end_equal() {
    let moto = Moto::start();
    let zone = moto.create_zone(DOMAIN);
    let (rosters, mut running) = publisher(options(moto.endpoint()));
    let began = Instant::now();
    for revision in 1..=QUICK_CHANGES {
        tell(&rosters, roster(revision, 1 + revision % 5, 1));
        time::sleep(Duration::from_millis(50)).await;
    }
    let changing = began.elapsed();
    let last = Instant::now();
    published(&mut running, QUICK_CHANGES, QUICK_CHANGES_LATER).await;
    let batches = moto.batches();
    println!(
        "{QUICK_CHANGES} changes in {} ms: {batches} batches, equal {} ms after the last",
        changing.as_millis(),
        last.elapsed().as_millis()
    );
    // Changes that never settle are held back two seconds at most.
    let bound = usize::try_from(changing.as_secs() / 2).expect("few") + 2;
    assert!((2..=bound).contains(&batches), "{batches} batches, at most {bound} expected");
    assert_eq!(of_the_cluster(moto.records(&zone)), expected(&roster(QUICK_CHANGES, 1 + QUICK_CHANGES % 5, 1)));

    // Each roster that has settled is one batch.
    for revision in QUICK_CHANGES + 1..=QUICK_CHANGES + 5 {
        let roster = roster(revision, 2 + revision % 3, 1 + revision % 2);
        tell(&rosters, roster.clone());
        published(&mut running, revision, Duration::from_secs(10)).await;
        assert_eq!(of_the_cluster(moto.records(&zone)), expected(&roster));
    }
    assert_eq!(moto.batches(), batches + 5);
    // The same roster again, such as by a publisher that has just started, is none.
    drop(running);
    let (rosters, mut running) = publisher(options(moto.endpoint()));
    let last = QUICK_CHANGES + 5;
    tell(&rosters, roster(last, 2 + last % 3, 1 + last % 2));
    published(&mut running, QUICK_CHANGES + 5, Duration::from_secs(10)).await;
    assert_eq!(moto.batches(), batches + 5);
}

#[tokio::test]
async fn a_minute_of_throttling_is_made_up_for_at_once() {
    let throttled_until = Some(time::Instant::now() + THROTTLED);
    let fake = Fake::start(DOMAIN, Faults { throttled_until, ..Faults::default() }).await;
    let (rosters, mut running) = publisher(options(fake.endpoint()));
    for revision in 1..=30 {
        tell(&rosters, roster(revision, 1 + revision % 3, 1));
        time::sleep(THROTTLED / 30).await;
    }
    let failure = running.status.borrow().failure.clone().expect("it is throttled");
    assert!(failure.contains("asks for fewer requests (Throttling)"), "{failure}");
    let asked = fake.requests();
    let since = Instant::now();
    published(&mut running, 30, THROTTLED_LATER).await;
    println!("throttled for {THROTTLED:?}: {asked} requests, then equal after {} ms", since.elapsed().as_millis());
    assert_eq!(of_the_cluster(fake.records()), expected(&roster(30, 1, 1)));
    assert_eq!(fake.batches().len(), 1);
    assert!(asked <= 60, "{asked} requests while it is asked for fewer");
}

/// Publishers that each believe in turn that they lead, on a server that is slow, fails and loses answers. Gives the
/// revisions in the order in which they were published.
async fn depose(seed: u64, inexact: bool) -> Vec<u64> {
    let late = Duration::from_millis(400);
    let faults =
        Faults { seed, throttled: 3, prior: 10, lost_before: 2, lost_after: 2, late, inexact, ..Faults::default() };
    let fake = Fake::start(DOMAIN, faults).await;
    let mut random = StdRng::seed_from_u64(seed);
    let mut publishers = BTreeMap::new();
    let (last, mut newest) = (8, 0);
    for revision in 1..=last {
        let leader = random.random_range(1..=3);
        let (rosters, _) = publishers.entry(leader).or_insert_with(|| publisher(options(fake.endpoint())));
        // The others do not hear of it: they go on with what they knew.
        tell(rosters, roster(revision, 3 + revision % 4, leader));
        newest = leader;
        time::sleep(Duration::from_millis(random.random_range(0..1500))).await;
    }
    let done = time::timeout(DEPOSED_WAIT_MAX, async {
        while fake.batches().iter().all(|batch| batch.revision != last) {
            time::sleep(Duration::from_millis(50)).await;
        }
        // Those that were deposed go on trying for a while.
        time::sleep(Duration::from_secs(6)).await;
    });
    done.await.unwrap_or_else(|_| panic!("seed {seed}: revision {last} was not published"));
    let revisions = fake.batches().iter().map(|batch| batch.revision).collect::<Vec<_>>();
    if !inexact {
        assert_eq!(of_the_cluster(fake.records()), expected(&roster(last, 3 + last % 4, newest)), "seed {seed}");
    }
    revisions
}

async fn depose_all(inexact: bool) -> Vec<(u64, Vec<u64>)> {
    let mut runs = JoinSet::new();
    for seed in 0..DEPOSED_RUNS {
        runs.spawn(async move { (seed, depose(seed, inexact).await) });
    }
    runs.join_all().await
}

/// Whether an older view came after a newer one.
fn overwritten(revisions: &[u64]) -> bool {
    revisions.windows(2).any(|pair| pair[1] < pair[0])
}

#[tokio::test]
async fn a_deposed_publisher_never_overwrites_a_newer_view() {
    let runs = depose_all(false).await;
    let batches = runs.iter().map(|(_, revisions)| revisions.len()).sum::<usize>();
    println!("{DEPOSED_RUNS} runs with publishers that depose each other: {batches} batches, none older than the last");
    for (seed, revisions) in runs {
        assert!(!overwritten(&revisions), "seed {seed}: {revisions:?}");
    }
}

#[tokio::test]
async fn without_the_fence_a_deposed_publisher_would_be_seen_to_overwrite() {
    let runs = depose_all(true).await;
    let seen = runs.iter().filter(|(_, revisions)| overwritten(revisions)).count();
    println!("where DELETE takes any value, which disarms the fence: {seen} of {DEPOSED_RUNS} runs overwrite");
    assert!(seen > 0, "then the runs would prove nothing");
}

#[tokio::test]
async fn a_change_is_waited_for_until_it_is_everywhere() {
    let fake = Fake::start(DOMAIN, Faults { in_sync_after: 2, ..Faults::default() }).await;
    let (rosters, mut running) = publisher(options(fake.endpoint()));
    tell(&rosters, roster(1, 2, 1));
    let before = running.status.clone();
    wait_until(|| fake.batches().len() == 1).await;
    assert_eq!(before.borrow().published, None, "it is pending");
    published(&mut running, 1, Duration::from_secs(20)).await;
    assert_eq!(fake.asked_in_sync(), 3);

    // A newer roster does not wait for that.
    fake.set_faults(Faults { in_sync_after: u32::MAX, ..Faults::default() });
    tell(&rosters, roster(2, 3, 1));
    wait_until(|| fake.batches().len() == 2).await;
    tell(&rosters, roster(3, 2, 1));
    wait_until(|| fake.batches().len() == 3).await;
    assert_eq!(of_the_cluster(fake.records()), expected(&roster(3, 2, 1)));
}

async fn wait_until(holds: impl Fn() -> bool) {
    let waited = time::timeout(Duration::from_secs(20), async {
        while !holds() {
            time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("it comes to hold");
}

#[tokio::test]
async fn what_is_refused_is_told_in_one_line_that_says_what_to_do() {
    for (code, words) in [
        ("SignatureDoesNotMatch", "set it anew with concoord route53id and concoord route53key"),
        ("InvalidClientTokenId", "set it anew with concoord route53id and concoord route53key"),
        ("AccessDenied", "denies route53:ListHostedZonesByName: allow it in the policy"),
        ("ExpiredToken", "the credentials have expired"),
    ] {
        let fake = Fake::start(DOMAIN, Faults { refused: Some(code), ..Faults::default() }).await;
        let (rosters, mut running) = publisher(options(fake.endpoint()));
        tell(&rosters, roster(1, 1, 1));
        let said = refused(&mut running, words).await;
        println!("{code}: {said}");
        assert!(said.contains(code) || code == "AccessDenied", "{said}");
        assert!(!said.contains(KEY[1].1) && !said.contains('\n'), "{said}");
    }

    let fake = Fake::start("example.org", Faults::default()).await;
    let (rosters, mut running) = publisher(options(fake.endpoint()));
    tell(&rosters, roster(1, 1, 1));
    println!(
        "no zone: {}",
        refused(&mut running, "no hosted zone is counterdomain.com. or above it: create one").await
    );
    let mut wrong = options(fake.endpoint());
    wrong.zone_id = Some("Z404".into());
    let (rosters, mut running) = publisher(wrong);
    tell(&rosters, roster(1, 1, 1));
    println!("wrong zone: {}", refused(&mut running, "name another with --route53-zone-id").await);

    let (rosters, mut running) = publisher(options("http://127.0.0.1:9".into()));
    tell(&rosters, roster(1, 1, 1));
    println!("nobody there: {}", refused(&mut running, "can't reach Route 53").await);

    let fake = Fake::start(DOMAIN, Faults { silent: true, ..Faults::default() }).await;
    let (rosters, mut running) = publisher(options(fake.endpoint()));
    tell(&rosters, roster(1, 1, 1));
    println!("no answer: {}", refused(&mut running, "did not answer within 10 s").await);
    fake.set_faults(Faults::default());
    published(&mut running, 1, Duration::from_secs(20)).await;
}

#[tokio::test]
async fn the_longest_zone_above_the_domain_is_found_and_other_text_stays() {
    let moto = Moto::start();
    let zone = moto.create_zone("com");
    let longer = moto.create_zone(DOMAIN);
    moto.put(&longer, DOMAIN, "TXT", &["\"v=spf1 -all\""]);
    let below = Name::from_ascii(format!("coord.{DOMAIN}.")).expect("a name");
    for name in [domain(), below] {
        let (rosters, mut running) = publisher(Route53Options { domains: vec![name], ..options(moto.endpoint()) });
        tell(&rosters, roster(1, 2, 1));
        published(&mut running, 1, Duration::from_secs(10)).await;
    }
    let records = moto.records(&longer);
    let of = |name: &str, kind: &str| records.get(&(name.to_owned(), kind.to_owned())).cloned();
    let list = "\"replica 10.0.0.1:14000;replica 10.0.0.2:14000\"";
    assert_eq!(of("counterdomain.com.", "TXT"), Some(vec![list.into(), "\"v=spf1 -all\"".into()]));
    assert_eq!(of("coord.counterdomain.com.", "TXT"), Some(vec![list.into()]));
    assert_eq!(moto.records(&zone).len(), 2, "only its own NS and SOA");
}

#[test]
fn replicas_publish_each_change_once() {
    let moto = Moto::start();
    let zone = moto.create_zone(DOMAIN);
    let endpoint = moto.endpoint();
    let mut cluster = Cluster::new("route53");
    let environment = KEY.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let start = |cluster: &mut Cluster| {
        let all = cluster.addresses();
        let mut flags = vec!["-o", "counter", "-n", DOMAIN, "-r", "--route53-endpoint", &endpoint];
        if !all.is_empty() {
            flags.extend(["-b", &all]);
        }
        cluster.start_with(Launch::with_flags(&flags).with_environment(environment.clone()))
    };
    let first = start(&mut cluster);
    let log = cluster.replica(first).log();
    assert!(log.contains("only this machine can reach"), "{log}");
    shows(&moto, &zone, &[first]);
    let second = start(&mut cluster);
    let third = start(&mut cluster);
    shows(&moto, &zone, &[first, second, third]);
    let leader = cluster.leader(first);
    cluster.replica(leader).kill();
    let left = [first, second, third].into_iter().filter(|address| *address != leader).collect::<Vec<_>>();
    shows(&moto, &zone, &left);

    let told = cluster.all().into_iter().flat_map(|address| {
        let log = cluster.replica(address).log();
        let lines = log.lines().filter(|line| line.contains("published revision") && line.contains("in one batch"));
        lines
            .map(|line| {
                line.split("published revision ").nth(1).and_then(|rest| rest.split(' ').next()).map(str::to_owned)
            })
            .collect::<Vec<_>>()
    });
    let mut told = told.map(|revision| revision.expect("a number")).collect::<Vec<_>>();
    assert_eq!(told.len(), moto.batches(), "{told:?}");
    let all = told.len();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), all, "each revision is one batch");
    println!("three joins, a kill, a new leader and a mark: {all} batches");
    for address in cluster.all() {
        let log = cluster.replica(address).log();
        assert!(!log.contains(KEY[1].1), "the secret is in a log");
    }
}

/// Waits until the zone shows these replicas.
fn shows(moto: &Moto, zone: &str, replicas: &[SocketAddr]) {
    let mut wanted = replicas.iter().map(|address| address.port()).collect::<Vec<_>>();
    wanted.sort_unstable();
    let began = Instant::now();
    wait_for_within(Duration::from_secs(20), "the zone to show the replicas", || {
        let records = moto.records(zone);
        let of = |name: &str, kind: &str| records.get(&(name.to_owned(), kind.to_owned())).cloned().unwrap_or_default();
        let services = of(&format!("_concoord._tcp.{DOMAIN}."), "SRV");
        let port = |record: &String| record.split(' ').nth(2).and_then(|port| port.parse::<u16>().ok());
        let mut ports = services.iter().filter_map(port).collect::<Vec<_>>();
        ports.sort_unstable();
        let text = of(&format!("{DOMAIN}."), "TXT").concat();
        let listed = wanted.iter().all(|port| text.contains(&format!("replica 127.0.0.1:{port}")));
        let first = services.iter().filter(|record| record.starts_with("0 ")).count();
        let address = of(&format!("{DOMAIN}."), "A");
        if ports == wanted && listed && first == 1 && address == ["127.0.0.1"] {
            Ok(())
        } else {
            Err(format!("{records:?}"))
        }
    });
    println!("{} replicas shown after {} ms", replicas.len(), began.elapsed().as_millis());
}

#[tokio::test]
async fn a_key_is_kept_used_and_never_shown() {
    const ID: &str = "AKIAIOSFODNN7EXAMPLE";
    let fake = Fake::start(DOMAIN, Faults::default()).await;
    let scratch = Scratch::new("route53-key");
    let home = scratch.path().to_str().expect("a path in UTF-8").to_owned();
    let environment = vec![("XDG_CONFIG_HOME".to_owned(), home)];
    let run = |arguments: &[&str], input: &str| scratch.concoord_with(arguments, &environment, input);

    let kept = run(&["route53id", ID], "");
    assert!(kept.code == Some(0) && kept.stdout.contains("has an id but no secret"), "{kept:?}");
    let flags = ["replica", "-o", "counter", "-w", "off", "-p", "0", "-n", DOMAIN, "-r"];
    let half = run(&flags, "");
    assert!(half.code == Some(1) && half.stderr.contains("give it with concoord route53key"), "{half:?}");
    let secret = KEY[1].1;
    for kept in [run(&["route53key"], &format!("{secret}\n")), run(&["route53key", secret], "")] {
        assert!(kept.code == Some(0) && !format!("{kept:?}").contains(secret), "{kept:?}");
    }
    let refused = run(&["route53key", "with a blank"], "");
    assert!(refused.code == Some(1) && !refused.stderr.contains("with a blank"), "{refused:?}");

    let mut cluster = Cluster::new("route53-key");
    let endpoint = fake.endpoint();
    let flags = ["-o", "counter", "-d", "-n", DOMAIN, "-r", "--route53-endpoint", &endpoint];
    let launch = Launch::with_flags(&flags).with_environment(environment.clone());
    let (mut cluster, replica) = tokio::task::spawn_blocking(move || {
        let replica = cluster.start_with(launch);
        (cluster, replica)
    })
    .await
    .expect("it becomes a voter");
    wait_until(|| !fake.batches().is_empty()).await;
    assert_eq!(fake.key_ids(), [ID]);
    let log = cluster.replica(replica).log();
    assert!(!log.contains(secret), "the secret is in the log");
}

#[test]
fn route53_needs_a_domain_and_asks_for_credentials() {
    let without = concoord(&["replica", "-o", "counter", "-r"]);
    assert!(without.code == Some(2) && without.stderr.contains("--domainname"), "{without:?}");
    let mut cluster = Cluster::new("route53-none");
    let nobody = cluster.scratch().path().join("none").to_str().expect("a path in UTF-8").to_owned();
    let nowhere = ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "XDG_CONFIG_HOME"];
    let mut environment = nowhere.map(|name| (name.to_owned(), nobody.clone())).to_vec();
    environment.push(("AWS_EC2_METADATA_DISABLED".into(), "true".into()));
    let flags = ["-o", "concoord.object.counter.Counter", "-n", DOMAIN, "-r"];
    let replica = cluster.start_with(Launch::with_flags(&flags).with_environment(environment));
    wait_for("the replica to say what is missing", || {
        let log = cluster.replica(replica).log();
        let line = log.lines().find(|line| line.contains("no AWS credentials: give them with concoord route53id"));
        line.map(|line| println!("{line}")).ok_or(log.clone())
    });
    let view = concoord(&["view", "-c", &replica.to_string()]);
    assert!(view.stdout.contains("published nothing; Route 53, counterdomain.com.: no AWS credentials"), "{view:?}");
}
