//! The standard objects, all of them with all their methods: over three replicas, from the command line and through their
//! proxies, and natively beside their modules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use concoord::prelude::Object;
use concoord::{ProxyError, wire};
use concoord_client::Client;
use concoord_consensus::objects::Objects;
use concoord_executor::Executor;
use concoord_objects::bank::{Bank, BankError, BankProxy};
use concoord_objects::idgenerator::{IdGenerator, IdGeneratorError, IdGeneratorProxy};
use concoord_objects::jobmanager::{Job, JobManager, JobManagerError, JobManagerProxy};
use concoord_objects::kv::{Entry, Kv, KvError, KvProxy, Range};
use concoord_objects::nameservercoord::{NameserverCoord, NameserverCoordError, NameserverCoordProxy, Nodes};
use concoord_objects::{
    Barrier, BinaryTree, BinaryTreeProxy, BoundedSemaphore, Condition, Counter, CounterProxy, Election, Latch, Lock,
    Log, LogProxy, Membership, MembershipError, MembershipProxy, MeshMembership, Pinger, PingerError, PingerProxy,
    Queue, RLock, RateLimiter, RwLock, Semaphore, Stack, StackProxy,
};
use concoord_tests::cluster::{Cluster, Finished, concoord};
use concoord_wire::abi::{Invocation, ObjectLimits, Outcome, Rejection, Reply, Trigger};
use concoord_wire::codec::to_bytes;
use concoord_wire::interface::{Interface, Method, MethodKind, Type, TypeIndex};
use concoord_wire::{CallId, ObjectId, Position, SessionId, Slot, Timestamp, json, signature};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

const REPLICAS: usize = 3;
const SCHEDULES: u64 = 5;
const CALLS: u64 = 400;

/// A standard object.
struct Standard {
    interface: Interface,
    /// Runs the schedule of this seed natively and in the executor.
    compare: fn(&mut Executor, ObjectId, &[u8], u64) -> Answers,
}

impl Standard {
    fn of<T: Object>() -> Standard {
        Standard { interface: T::interface(), compare: compare::<T> }
    }

    /// Also that of its directory, its module, and the object in the cluster.
    fn name(&self) -> String {
        self.interface.name.to_lowercase()
    }

    fn dotted_name(&self) -> String {
        format!("concoord.object.{}.{}", self.name(), self.interface.name)
    }

    /// What the constructor is given, and the calls that are made then.
    fn calls(&self) -> (Option<String>, Vec<Line>) {
        let file = read(&repository(&format!("objects-wasm/{}/calls", self.name())));
        let (init, lines) = match file.strip_prefix("init ").and_then(|rest| rest.split_once('\n')) {
            Some((init, lines)) => (Some(init.to_owned()), lines),
            None => (None, file.as_str()),
        };
        (init, lines.lines().map(Line::parse).collect())
    }

    /// Postcard of what the constructor is given for schedules.
    fn init(&self) -> Vec<u8> {
        let init = match self.name().as_str() {
            // With one party, for which the calls are, nobody waits.
            "barrier" => "[3]".into(),
            _ => self.calls().0.unwrap_or_else(|| "[]".into()),
        };
        let values: Vec<serde_json::Value> = serde_json::from_str(&init).expect("a JSON array");
        json::encode_arguments(&self.interface, &self.interface.init, &values).expect("what it takes")
    }

    fn method(&self, line: &Line) -> &Method {
        let method = self.interface.method(&line.words[0]);
        method.unwrap_or_else(|| panic!("{} has no method {:?}", self.name(), line.words))
    }
}

fn all() -> [Standard; 23] {
    [
        Standard::of::<Bank>(),
        Standard::of::<Barrier>(),
        Standard::of::<BinaryTree>(),
        Standard::of::<BoundedSemaphore>(),
        Standard::of::<Condition>(),
        Standard::of::<Counter>(),
        Standard::of::<Election>(),
        Standard::of::<IdGenerator>(),
        Standard::of::<JobManager>(),
        Standard::of::<Kv>(),
        Standard::of::<Latch>(),
        Standard::of::<Lock>(),
        Standard::of::<Log>(),
        Standard::of::<Membership>(),
        Standard::of::<MeshMembership>(),
        Standard::of::<NameserverCoord>(),
        Standard::of::<Pinger>(),
        Standard::of::<Queue>(),
        Standard::of::<RLock>(),
        Standard::of::<RateLimiter>(),
        Standard::of::<RwLock>(),
        Standard::of::<Semaphore>(),
        Standard::of::<Stack>(),
    ]
}

/// The names of all, in order.
fn names() -> Vec<String> {
    let mut names: Vec<String> = all().iter().map(Standard::name).collect();
    names.sort_unstable();
    names
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("can't read {}: {error}", file.display()))
}

/// A line of `objects-wasm/NAME/calls`.
struct Line {
    words: Vec<String>,
    /// JSON, or `failed: ` and the error as JSON. Nothing where it is not the same every time: then it is some JSON.
    expected: Option<String>,
}

impl Line {
    fn parse(line: &str) -> Line {
        let (call, expected) = match line.split_once(" => ") {
            Some((call, expected)) => (call, Some(expected.into())),
            None => (line, None),
        };
        Line { words: call.split(' ').map(String::from).collect(), expected }
    }

    /// Calls the object of this name, in the session of this file if there is one.
    fn call(&self, addresses: &str, object: &str, session: Option<&Path>) -> Finished {
        let target = format!("{object}.{}", self.words[0]);
        let mut command = vec!["call", "-c", addresses, &target];
        if let Some(session) = session {
            command.extend(["--session", session.to_str().expect("a path is text")]);
        }
        command.push("--");
        command.extend(self.words[1..].iter().map(String::as_str));
        concoord(&command)
    }

    fn check(&self, object: &str, finished: &Finished) {
        let what = format!("{object}: {:?}", self.words);
        let Some(expected) = &self.expected else {
            let result = serde_json::from_str::<serde_json::Value>(&finished.stdout);
            assert!(finished.code == Some(0) && result.is_ok(), "{what}: {finished:?}");
            return;
        };
        let wanted = match expected.strip_prefix("failed: ") {
            None => Finished { code: Some(0), stdout: format!("{expected}\n"), stderr: String::new() },
            Some(_) => Finished {
                code: Some(1),
                stdout: String::new(),
                stderr: format!("concoord: {object}.{} {expected}\n", self.words[0]),
            },
        };
        assert_eq!(*finished, wanted, "{what}");
    }
}

fn load(addresses: &str, name: &str, given: &str, init: Option<&str>) {
    let init = init.map_or(vec![], |init| vec!["--init", init]);
    let loaded = concoord(&[&["object", "load", name, given, "-c", addresses], &init[..]].concat());
    let is_loaded = loaded.stdout.starts_with(&format!("{name}: loaded, is object "));
    assert!(loaded.code == Some(0) && is_loaded, "{name}: {loaded:?}");
}

/// Runs the lines of an object's file in their order, in one session, and then its queries at each replica alone.
fn run_calls(standard: &Standard, addresses: &str, replicas: &[SocketAddr], directory: &Path) {
    let (name, (_, lines)) = (standard.name(), standard.calls());
    let session = directory.join(format!("{name}.session"));
    for line in &lines {
        line.check(&name, &line.call(addresses, &name, Some(&session)));
    }
    let called: BTreeSet<_> = lines.iter().map(|line| &line.words[0]).collect();
    let methods: BTreeSet<_> = standard.interface.methods.iter().map(|method| &method.name).collect();
    assert_eq!(called, methods, "{name}: each method is called, and no other");
    let mut asked = BTreeSet::new();
    for line in lines.iter().filter(|line| standard.method(line).kind == MethodKind::Query) {
        if asked.insert(&line.words) {
            let [first, others @ ..] = replicas else { panic!("there are replicas") };
            let answer = line.call(&first.to_string(), &name, None);
            for other in others {
                assert_eq!(line.call(&other.to_string(), &name, None), answer, "{name} at {other}: {:?}", line.words);
            }
        }
    }
}

#[test]
fn all_methods_of_all_objects_run_alike_on_three_replicas() {
    let cluster = Cluster::of("standard-objects", "concoord.object.counter.Counter", REPLICAS);
    let (addresses, replicas) = (cluster.addresses(), cluster.all());
    for (index, standard) in all().iter().enumerate() {
        let name = standard.name();
        if name != "counter" {
            // By either name.
            let given = if index % 2 == 0 { name.clone() } else { standard.dotted_name() };
            load(&addresses, &name, &given, standard.calls().0.as_deref());
        }
        run_calls(standard, &addresses, &replicas, cluster.scratch().path());
        load(&addresses, &typed(&name), &name, standard.calls().0.as_deref());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(&addresses).await.expect("all run");
        call_proxies(&client).await;
        pay(&client).await.expect_err("there is nothing on the account");
        client.close().await;
    });
}

/// The name of the second object of each kind, for the proxies.
fn typed(name: &str) -> String {
    format!("typed-{name}")
}

async fn call_proxies(client: &Client) {
    collections(client).await;
    groups(client).await;
    names_and_jobs(client).await;
    stores(client).await;
    numbers(client).await;
}

fn failed<C, E>(error: E) -> ProxyError<C, E> {
    ProxyError::Method(error)
}

fn strings<T: FromIterator<String>>(of: &[&str]) -> T {
    of.iter().map(|text| (*text).to_owned()).collect()
}

async fn collections(client: &Client) {
    let stack = StackProxy::named(client, typed("stack"));
    assert_eq!(stack.pop().await, Ok(None));
    assert_eq!((stack.append("a".into()).await, stack.append("b".into()).await), (Ok(()), Ok(())));
    assert_eq!((stack.get_size().await, stack.get_stack().await), (Ok(2), Ok(strings(&["a", "b"]))));
    assert_eq!(stack.pop().await, Ok(Some("b".into())));
    // Answers around the length whose encoding takes two bytes, and long and short ones by turns.
    for length in (115..135).chain([0, 1000, 1, 100_000, 17]) {
        let text = "t".repeat(length);
        assert_eq!(stack.append(text.clone()).await, Ok(()));
        assert_eq!(stack.pop().await, Ok(Some(text)));
    }

    let log = LogProxy::named(client, typed("log"));
    assert_eq!((log.append("a".into()).await, log.write("b".into()).await), (Ok(()), Ok(())));
    assert_eq!((log.append("c".into()).await, log.read().await), (Ok(()), Ok(strings(&["b", "c"]))));

    let tree = BinaryTreeProxy::named(client, typed("binarytree"));
    assert_eq!((tree.insert(2).await, tree.insert(1).await, tree.insert(1).await), (Ok(true), Ok(true), Ok(false)));
    assert_eq!((tree.get_min().await, tree.get_max().await), (Ok(Some(1)), Ok(Some(2))));
    assert_eq!((tree.get_depth().await, tree.get_size().await), (Ok(2), Ok(2)));
    assert_eq!((tree.delete(2).await, tree.find(2).await, tree.find(1).await), (Ok(true), Ok(false), Ok(true)));
}

async fn groups(client: &Client) {
    let group = MembershipProxy::named(client, typed("membership"));
    assert_eq!((group.add("b".into()).await, group.add("a".into()).await), (Ok(true), Ok(true)));
    assert_eq!(group.members().await, Ok(strings(&["a", "b"])));
    assert_eq!(group.remove("a".into()).await, Ok(()));
    assert_eq!(group.remove("a".into()).await, Err(failed(MembershipError::NotAMember)));

    let pinger = PingerProxy::named(client, typed("pinger"));
    assert_eq!((pinger.add("a".into()).await, pinger.get_members().await), (Ok(true), Ok(strings(&["a"]))));
    assert_eq!(pinger.remove("a".into()).await, Ok(()));
    assert_eq!(pinger.remove("a".into()).await, Err(failed(PingerError::NotAMember)));
}

async fn names_and_jobs(client: &Client) {
    let coord = NameserverCoordProxy::named(client, typed("nameservercoord"));
    let nodes = Nodes::from([("replica".into(), strings(&["x:1"]))]);
    assert_eq!(coord.getnodes("a.b".into()).await, Err(failed(NameserverCoordError::NoSubdomain)));
    assert_eq!(coord.addnodetosubdomain("a.b".into(), "replica".into(), "x:1".into()).await, Ok(true));
    assert_eq!(coord.getnodes("a.b".into()).await, Ok(nodes.clone()));
    assert_eq!(coord.delnodefromsubdomain("a.b".into(), "replica".into(), "x:1".into()).await, Ok(true));
    assert_eq!(coord.updatesubdomain("c".into(), nodes.clone()).await, Ok(()));
    assert_eq!(
        (coord.getsubdomains().await, coord.getdomains().await),
        (Ok(strings(&["a", "c"])), Ok(strings(&["a.b", "c"])))
    );
    assert_eq!((coord.getnodes("c".into()).await, coord.delsubdomain("c".into()).await), (Ok(nodes), Ok(true)));

    let jobs = JobManagerProxy::named(client, typed("jobmanager"));
    let tidy = Job { name: "tidy".into(), attributes: [("at".into(), "3:00".into())].into() };
    assert_eq!(jobs.schedule("tidy".into()).await, Ok(()));
    assert_eq!(jobs.schedule("tidy".into()).await, Err(failed(JobManagerError::AlreadyScheduled)));
    assert_eq!(jobs.update("tidy".into(), "at".into(), "3:00".into()).await, Ok(()));
    assert_eq!((jobs.list_jobs().await, jobs.deschedule("tidy".into()).await), (Ok(vec![tidy.clone()]), Ok(tidy)));
    assert_eq!(jobs.deschedule("tidy".into()).await, Err(failed(JobManagerError::NotScheduled)));
}

async fn stores(client: &Client) {
    let kv = KvProxy::named(client, typed("kv"));
    let first = kv.put("k".into(), "1".into(), None, None).await.expect("it is written");
    let second = kv.compare_and_set("k".into(), first, "2".into(), None, None).await.expect("nobody wrote since");
    assert!(second > first);
    let conflict = Err(failed(KvError::Conflict { revision: second }));
    assert_eq!(kv.compare_and_set("k".into(), first, "3".into(), None, None).await, conflict);
    let entry = Entry { value: "2".into(), revision: second, expires: None, session: None };
    assert_eq!(kv.get("k".into()).await, Ok(Some(entry.clone())));
    let range = kv.range("a".into(), None, 9).await.expect("it answers");
    assert!(range.revision > second, "the event of the last write comes behind it");
    assert_eq!(range, Range { entries: [("k".into(), entry)].into(), more: false, revision: range.revision });
    assert_eq!((kv.delete("k".into()).await, kv.delete("k".into()).await), (Ok(Some(second)), Ok(None)));

    let bank = BankProxy::named(client, typed("bank"));
    assert_eq!((bank.open("ann".into()).await, bank.deposit("ann".into(), 5).await), (Ok(()), Ok(5)));
    assert_eq!(bank.debit("ann".into(), 6).await, Err(failed(BankError::Insufficient { balance: 5 })));
    assert_eq!((bank.debit("ann".into(), 5).await, bank.balance("ann".into()).await), (Ok(0), Ok(0)));
    assert_eq!((bank.open("bob".into()).await, bank.close("bob".into()).await), (Ok(()), Ok(0)));
}

async fn numbers(client: &Client) {
    let ids = IdGeneratorProxy::named(client, typed("idgenerator"));
    assert_eq!((ids.next().await, ids.next_many(10).await, ids.next().await), (Ok(1), Ok(2), Ok(12)));
    assert_eq!(ids.next_many(0).await, Err(failed(IdGeneratorError::ZeroCount)));

    let counter = CounterProxy::named(client, typed("counter"));
    assert_eq!((counter.increment().await, counter.decrement().await, counter.getvalue().await), (Ok(1), Ok(0), Ok(0)));
}

/// In a program, an object's error is one like any other.
async fn pay(client: &Client) -> Result<u64, Box<dyn std::error::Error>> {
    Ok(BankProxy::named(client, typed("bank")).debit("ann".into(), 1).await?)
}

/// How many calls of each kind there were.
#[derive(Default)]
struct Answers {
    returned: u64,
    failed: u64,
    rejected: u64,
    waited: u64,
}

/// Gives the same inputs to the object natively and to its module, and expects the same of both: calls of a few sessions, ends of
/// calls that wait, of sessions, and timers that are due.
fn compare<T: Object>(executor: &mut Executor, object: ObjectId, init: &[u8], seed: u64) -> Answers {
    let (mut chance, interface) = (StdRng::seed_from_u64(seed), T::interface());
    let mut native = T::create(init).expect("it begins");
    let mut answers = Answers::default();
    let (mut waiting, mut timers) = (BTreeSet::<CallId>::new(), BTreeMap::<u64, Timestamp>::new());
    let begin = Invocation {
        position: Position(1),
        now: Timestamp(1_000_000),
        seed,
        call: None,
        caller: None,
        trigger: Trigger::Init,
    };
    executor.invoke(object, &begin, init, &|_| Ok(())).expect("it begins");
    for step in 2..CALLS {
        let now = Timestamp(1_000_000 + step * 1000);
        // Room for what each answer and event takes.
        let at = |call: Option<CallId>, caller, trigger| Invocation {
            position: Position(step * 10_000),
            now,
            seed: step,
            call,
            caller,
            trigger,
        };
        let session = SessionId { slot: Slot(chance.random_range(1..5)), index: 0 };
        let due = timers.iter().find(|(_, due)| **due <= now).map(|(token, _)| *token);
        let cancelled = waiting.iter().next().copied().filter(|_| chance.random_bool(0.1));
        let method = &interface.methods[chance.random_range(0..interface.methods.len())];
        let mut given = Vec::new();
        let invocation = match (due, cancelled) {
            (Some(token), _) => {
                timers.remove(&token);
                at(None, None, Trigger::Timer { token })
            }
            (None, Some(call)) => {
                waiting.remove(&call);
                at(None, Some(call.session), Trigger::Cancelled { call })
            }
            (None, None) if chance.random_bool(0.05) => {
                waiting.retain(|call| call.session != session);
                at(None, Some(session), Trigger::SessionClosed { session })
            }
            (None, None) => {
                given = arguments(&mut chance, &interface, method);
                at(Some(CallId { session, sequence: step }), Some(session), Trigger::Call { method: &method.name })
            }
        };
        let expected = native.dispatch(&invocation, &given);
        let outcome = executor.invoke(object, &invocation, &given, &|_: &Outcome| Ok(()));
        assert_eq!(outcome, Ok(expected.clone()), "{:?} of {given:02x?}, seed {seed}", invocation.trigger);
        expected.answered.iter().for_each(|(call, _)| assert!(waiting.remove(call), "{call} did not wait"));
        timers.extend(expected.timers.iter().map(|timer| (timer.token, timer.due)));
        match (expected.reply, invocation.call) {
            (Reply::Now(wire::abi::Answer::Returned(_)), _) => answers.returned += 1,
            (Reply::Now(wire::abi::Answer::Failed(_)), _) => answers.failed += 1,
            (Reply::Now(wire::abi::Answer::Rejected(Rejection::Arguments(_))), _) => answers.rejected += 1,
            (Reply::Parked, Some(call)) => {
                waiting.insert(call);
                answers.waited += 1;
            }
            (Reply::None, None) => {}
            other => panic!("{other:?}"),
        }
    }
    answers
}

/// Arguments of which most are of the method's types.
fn arguments(chance: &mut StdRng, interface: &Interface, method: &Method) -> Vec<u8> {
    let mut bytes = Vec::new();
    for argument in &method.arguments {
        value(chance, interface, argument.ty, &mut bytes);
    }
    if chance.random_bool(0.03) {
        bytes.push(0);
    }
    if chance.random_bool(0.03) {
        bytes.truncate(chance.random_range(0..=bytes.len()));
    }
    bytes
}

/// A value of few, so that calls meet each other's.
fn value(chance: &mut StdRng, interface: &Interface, ty: TypeIndex, bytes: &mut Vec<u8>) {
    let number = chance.random_range(0..12_u64);
    let extreme = chance.random_bool(0.01);
    match interface.ty(ty) {
        Type::String => bytes.extend(to_bytes(&["a", "b", "c.d", "", "ä b"][number as usize % 5])),
        Type::U32 => bytes.extend(to_bytes(&(number as u32))),
        Type::U64 => bytes.extend(to_bytes(&if extreme { u64::MAX - number } else { number })),
        Type::I64 => bytes.extend(to_bytes(&if extreme { chance.next_u64().cast_signed() } else { number as i64 - 6 })),
        Type::Option(part) => {
            bytes.push(u8::from(number > 3));
            if number > 3 {
                value(chance, interface, *part, bytes);
            }
        }
        Type::Bool => bytes.push((number % 2) as u8),
        Type::Seq(part) => {
            bytes.push((number % 3) as u8);
            (0..number % 3).for_each(|_| value(chance, interface, *part, bytes));
        }
        Type::Map { key, value: mapped } => {
            bytes.push((number % 3) as u8);
            for _ in 0..number % 3 {
                value(chance, interface, *key, bytes);
                value(chance, interface, *mapped, bytes);
            }
        }
        other => panic!("no object took {other:?} so far"),
    }
}

#[test]
fn natively_and_as_wasm_they_answer_alike() {
    let built = std::fs::read_dir(repository("objects-wasm/dist")).expect("a directory").flatten();
    let built = built.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".wasm")?.to_owned()));
    assert_eq!(built.collect::<BTreeSet<_>>(), names().into_iter().collect(), "all that are built");
    let mut executor = Executor::new().expect("this host runs Wasm");
    let mut id = 0;
    for standard in all() {
        let name = standard.name();
        let module = std::fs::read(repository(&format!("objects-wasm/dist/{name}.wasm"))).expect("it is built");
        let described = concoord_executor::describe(&module, &concoord_executor::InProcess);
        assert_eq!(described.as_ref(), Ok(&standard.interface), "{name}");
        let mut sum = Answers::default();
        for seed in 0..SCHEDULES {
            id += 1;
            executor.load(ObjectId(id), &module, ObjectLimits::default()).expect("it passes the checks");
            let answers = (standard.compare)(&mut executor, ObjectId(id), &standard.init(), seed);
            sum.returned += answers.returned;
            sum.failed += answers.failed;
            sum.rejected += answers.rejected;
            sum.waited += answers.waited;
        }
        let Answers { returned, failed, rejected, waited } = sum;
        println!("{name}: {returned} results, {failed} errors, {rejected} rejections and {waited} waits alike");
        let may_wait = standard.interface.methods.iter().any(|method| method.kind == MethodKind::Waiting);
        let may_fail = standard.interface.methods.iter().any(|method| method.error.is_some());
        assert!(
            returned > 0 && rejected > 0 && (failed > 0) == may_fail && (waited > 0) == may_wait,
            "{name}: the schedules reach all of these"
        );
    }
}

#[test]
fn each_is_shown_and_other_names_are_answered_with_those_there_are() {
    for standard in all() {
        let shown = concoord(&["object", "show", &standard.name()]);
        assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""), "{}", standard.name());
        for method in &standard.interface.methods {
            let signature = signature::method(&standard.interface, method);
            assert!(shown.stdout.contains(&signature), "no {signature} in {}", shown.stdout);
        }
    }
    let by_dotted_name = concoord(&["object", "show", "concoord.object.stack.Stack"]);
    assert_eq!(by_dotted_name, concoord(&["object", "show", "stack"]));
    let names = names().join(", ");
    for command in [&["object", "show"][..], &["object", "load", "x"], &["replica", "-p", "0", "-o"]] {
        let refused = concoord(&[command, &["concoord.object.stak.Stak"]].concat());
        assert_eq!(refused.code, Some(1), "{command:?}: {refused:?}");
        let said = refused.stderr.lines().last().unwrap_or_default();
        assert!(said.contains("'concoord.object.stak.Stak'") && said.contains(&names), "{command:?}: {said}");
    }
}

const PAGE: &str = "docs/src/objects/standard.md";

/// Each method stands in the page as `object show` prints it.
#[test]
fn the_page_has_each_object_and_the_lines_that_it_takes() {
    let page = read(&repository(PAGE));
    for standard in all() {
        let begin = format!("\n## {}\n", standard.interface.name);
        let (_, section) = page.split_once(&begin).unwrap_or_else(|| panic!("no section{begin}"));
        let section = section.split("\n## ").next().unwrap_or_default();
        assert!(section.contains(&format!("`{}`", standard.dotted_name())), "{begin} has no dotted name");
        for method in &standard.interface.methods {
            let shown = format!("| `{}`", signature::method(&standard.interface, method));
            assert!(section.contains(&shown), "{begin} has no line {shown}");
        }
        for definition in signature::definitions(&standard.interface) {
            assert!(section.contains(&definition), "{begin} does not show {definition}");
        }
    }
    let counted = Command::new(repository("objects-wasm/lines")).output().expect("it runs");
    let table = String::from_utf8(counted.stdout).expect("it is text");
    assert!(counted.status.success() && page.contains(&table), "what objects-wasm/lines prints is not there:\n{table}");
}
