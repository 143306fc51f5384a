//! The standard objects, all of them with all their methods: over three replicas, from the command line and through their
//! proxies, and natively beside their modules.

use std::collections::BTreeSet;
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
    BinaryTree, BinaryTreeProxy, Counter, CounterProxy, Log, LogProxy, Membership, MembershipError, MembershipProxy,
    Pinger, PingerError, PingerProxy, Stack, StackError, StackProxy,
};
use concoord_tests::cluster::{Cluster, Finished, binary, concoord};
use concoord_wire::abi::{Invocation, ObjectLimits, Outcome, Rejection, Reply, Trigger};
use concoord_wire::codec::to_bytes;
use concoord_wire::interface::{Interface, Method, MethodKind, Type, TypeIndex};
use concoord_wire::{ObjectId, Position, Timestamp, signature};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

const REPLICAS: usize = 3;
const SCHEDULES: u64 = 5;
const CALLS: u64 = 400;

/// A standard object.
struct Standard {
    interface: Interface,
    /// Runs the schedule of this seed natively and in the executor.
    compare: fn(&mut Executor, ObjectId, u64) -> Answers,
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

    fn calls(&self) -> Vec<Line> {
        let file = repository(&format!("objects-wasm/{}/calls", self.name()));
        read(&file).lines().map(Line::parse).collect()
    }

    fn method(&self, line: &Line) -> &Method {
        let method = self.interface.method(&line.words[0]);
        method.unwrap_or_else(|| panic!("{} has no method {:?}", self.name(), line.words))
    }
}

fn all() -> [Standard; 11] {
    [
        Standard::of::<Bank>(),
        Standard::of::<BinaryTree>(),
        Standard::of::<Counter>(),
        Standard::of::<IdGenerator>(),
        Standard::of::<JobManager>(),
        Standard::of::<Kv>(),
        Standard::of::<Log>(),
        Standard::of::<Membership>(),
        Standard::of::<NameserverCoord>(),
        Standard::of::<Pinger>(),
        Standard::of::<Stack>(),
    ]
}

/// The names of all that there are, in order: those that let their callers wait have tests of their own.
fn names() -> Vec<String> {
    let mut names: Vec<String> = all().iter().map(Standard::name).collect();
    names.push("lock".into());
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
    /// JSON, or `failed: ` and the error as JSON.
    expected: String,
}

impl Line {
    fn parse(line: &str) -> Line {
        let (call, expected) = line.split_once(" => ").unwrap_or_else(|| panic!("{line}: nothing is expected"));
        Line { words: call.split(' ').map(String::from).collect(), expected: expected.into() }
    }

    /// Calls the object of this name.
    fn call(&self, addresses: &str, object: &str) -> Finished {
        let target = format!("{object}.{}", self.words[0]);
        let words = self.words[1..].iter().map(String::as_str);
        concoord(&["call", "-c", addresses, &target].into_iter().chain(words).collect::<Vec<_>>())
    }

    /// What the call should come to.
    fn finished(&self, object: &str) -> Finished {
        match self.expected.strip_prefix("failed: ") {
            None => Finished { code: Some(0), stdout: format!("{}\n", self.expected), stderr: String::new() },
            Some(_) => Finished {
                code: Some(1),
                stdout: String::new(),
                stderr: format!("concoord: {object}.{} {}\n", self.words[0], self.expected),
            },
        }
    }
}

fn load(addresses: &str, name: &str, given: &str) {
    let loaded = concoord(&["object", "load", name, given, "-c", addresses]);
    let is_loaded = loaded.stdout.starts_with(&format!("{name}: loaded, is object "));
    assert!(loaded.code == Some(0) && is_loaded, "{name}: {loaded:?}");
}

/// Runs the lines of an object's file in their order, and then its queries at each replica alone.
fn run_calls(standard: &Standard, addresses: &str, replicas: &[SocketAddr]) {
    let (name, lines) = (standard.name(), standard.calls());
    for line in &lines {
        assert_eq!(line.call(addresses, &name), line.finished(&name), "{name}: {:?}", line.words);
    }
    let called: BTreeSet<_> = lines.iter().map(|line| &line.words[0]).collect();
    let methods: BTreeSet<_> = standard.interface.methods.iter().map(|method| &method.name).collect();
    assert_eq!(called, methods, "{name}: each method is called, and no other");
    let mut asked = BTreeSet::new();
    for line in lines.iter().filter(|line| standard.method(line).kind == MethodKind::Query) {
        if asked.insert(&line.words) {
            let [first, others @ ..] = replicas else { panic!("there are replicas") };
            let answer = line.call(&first.to_string(), &name);
            for other in others {
                assert_eq!(line.call(&other.to_string(), &name), answer, "{name} at {other}: {:?}", line.words);
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
            load(&addresses, &name, &if index % 2 == 0 { name.clone() } else { standard.dotted_name() });
        }
        run_calls(standard, &addresses, &replicas);
        load(&addresses, &typed(&name), &name);
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
    assert_eq!(stack.pop().await, Err(failed(StackError::Empty)));
    assert_eq!((stack.append("a".into()).await, stack.append("b".into()).await), (Ok(()), Ok(())));
    assert_eq!((stack.get_size().await, stack.get_stack().await), (Ok(2), Ok(strings(&["a", "b"]))));
    assert_eq!(stack.pop().await, Ok("b".into()));

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
    let first = kv.put("k".into(), "1".into()).await.expect("it is written");
    let second = kv.compare_and_set("k".into(), first, "2".into()).await.expect("nobody wrote since");
    assert!(second > first);
    let conflict = Err(failed(KvError::Conflict { revision: second }));
    assert_eq!(kv.compare_and_set("k".into(), first, "3".into()).await, conflict);
    let entry = Entry { value: "2".into(), revision: second };
    assert_eq!(kv.get("k".into()).await, Ok(Some(entry.clone())));
    let range = Range { entries: [("k".into(), entry)].into(), more: false };
    assert_eq!(kv.range("a".into(), None, 9).await, Ok(range));
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
}

/// Gives the same inputs to the object natively and to its module, and expects the same of both.
fn compare<T: Object>(executor: &mut Executor, object: ObjectId, seed: u64) -> Answers {
    let (mut chance, interface) = (StdRng::seed_from_u64(seed), T::interface());
    let mut native = T::create(&[]).expect("it takes no arguments");
    let mut answers = Answers::default();
    let at = |position, trigger| {
        let now = Timestamp(1_000_000 + position);
        Invocation { position: Position(position), now, seed, call: None, caller: None, trigger }
    };
    executor.invoke(object, &at(1, Trigger::Init), &[], &|_| Ok(())).expect("it begins");
    for position in 2..CALLS {
        let method = &interface.methods[chance.random_range(0..interface.methods.len())];
        let arguments = arguments(&mut chance, &interface, method);
        let invocation = at(position, Trigger::Call { method: &method.name });
        let expected = native.dispatch(&invocation, &arguments);
        let outcome = executor.invoke(object, &invocation, &arguments, &|_: &Outcome| Ok(()));
        assert_eq!(outcome, Ok(expected.clone()), "{} of {arguments:02x?}, seed {seed}", method.name);
        match expected.reply {
            Reply::Now(wire::abi::Answer::Returned(_)) => answers.returned += 1,
            Reply::Now(wire::abi::Answer::Failed(_)) => answers.failed += 1,
            Reply::Now(wire::abi::Answer::Rejected(Rejection::Arguments(_))) => answers.rejected += 1,
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
            let answers = (standard.compare)(&mut executor, ObjectId(id), seed);
            sum.returned += answers.returned;
            sum.failed += answers.failed;
            sum.rejected += answers.rejected;
        }
        let Answers { returned, failed, rejected } = sum;
        println!("{name}: {returned} results, {failed} errors and {rejected} rejections alike");
        let may_fail = standard.interface.methods.iter().any(|method| method.error.is_some());
        assert!(returned > 0 && rejected > 0 && (failed > 0) == may_fail, "{name}: the schedules reach all of these");
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

/// Each command of the page's examples, as a shell reads it, prints what stands below it.
#[test]
fn the_examples_of_the_page_print_what_they_show() {
    let mut cluster = Cluster::new("standard-page");
    let address = cluster.start(&["-o", "concoord.object.stack.Stack"]).to_string();
    let path = format!("{}:{}", binary().parent().expect("a directory").display(), std::env::var("PATH").expect("set"));
    let page = read(&repository(PAGE));
    let blocks = page.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let mut run = 0;
    for example in blocks.flat_map(|block| block.split("$ ").skip(1)) {
        let (line, printed) = example.split_once('\n').expect("a line ends");
        // What runs until it is stopped runs here already.
        if line.starts_with("concoord replica") {
            continue;
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{line} 2>&1")]).env("PATH", &path).env("CONCOORD_CONNECT", &address);
        let output = shell.output().expect("there is a shell");
        assert_eq!(String::from_utf8_lossy(&output.stdout), printed, "{line}");
        run += 1;
    }
    assert!(run > all().len(), "at least one for each object");
}
