//! What strangers could hand over, and what becomes of it: modules that are none, that an object may not be, that are too
//! much of something, and objects that spin, trap, lie and steer terminals. Each meets a typed error, which the command
//! tells in one line of plain text. The replicas live, agree, and count on all the while.
//!
//! `tests/hostile` lists them.

mod calls;
mod describing;
mod files;
mod guest;
mod kinds;
mod limits;
mod outcomes;
mod parts;
mod upgrades;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use concoord_client::{CallError, Client, ClientError, ObjectAction, ObjectError, Operated, Operator, OperatorError};
use concoord_consensus::limits::CHECK_SLOTS;
use concoord_objects::CounterProxy;
use concoord_tests::cluster::{Cluster, Finished, wait_for_within};
use concoord_tests::load::blocking;
use concoord_wire::ObjectId;
use concoord_wire::abi::{Answer, ObjectLimits};
use concoord_wire::client::Consistency;
use serde_json::Value;

use guest::Guest;
use kinds::{Expected, Kind};

/// How many kinds there have to be.
const KINDS_MIN: usize = 50;
/// How long anything of one kind may take: compiling on a busy machine takes the longest.
const PATIENCE: Duration = Duration::from_secs(120);
/// What is shown of an answer.
const SHOWN: usize = 130;

struct Trial {
    cluster: Cluster,
    /// Of the replicas, as they were started.
    processes: Vec<(SocketAddr, u32)>,
    operator: Operator,
    client: Client,
    /// An object that can become what it is asked to.
    harmless: ObjectId,
    counted: i64,
    /// The longest that an increment took.
    longest: Duration,
}

impl Trial {
    async fn begin() -> Trial {
        let mut cluster = Cluster::of("hostile", "counter", 3);
        let addresses = cluster.addresses();
        let processes =
            cluster.all().into_iter().map(|address| (address, cluster.replica(address).process())).collect();
        let operator = Operator::connect(&addresses, None, PATIENCE).await.expect("addresses");
        let client = Client::connect(&addresses).await.expect("the replicas run").with_timeout(PATIENCE);
        let (counted, longest) = (0, Duration::ZERO);
        let mut trial = Trial { cluster, processes, operator, client, harmless: ObjectId(0), counted, longest };
        let module = Guest::default().module();
        trial.cluster.scratch().write("harmless.wasm", &module);
        trial.harmless = trial.load("harmless", &module).await.expect("it does no harm").object;
        trial
    }

    async fn load(&self, name: &str, module: &[u8]) -> Result<Operated, OperatorError> {
        let (module, limits) = (module.to_vec().into(), ObjectLimits::default());
        self.operator
            .operate(ObjectAction::Load { name: name.into(), module, arguments: Vec::new().into(), limits })
            .await
    }

    async fn upgrade(&self, object: ObjectId, module: &[u8]) -> Result<Operated, OperatorError> {
        let (module, limits) = (module.to_vec().into(), None);
        let action = ObjectAction::Upgrade { object, based_on: 1, module, limits, allow_breaking: false };
        self.operator.operate(action).await
    }

    /// Runs the command on the cluster.
    fn command(&self, arguments: &[&str]) -> Finished {
        let addresses = self.cluster.addresses();
        self.cluster.scratch().concoord(&[arguments, &["-c", &addresses]].concat())
    }

    /// Hands one kind over, and gives what the command says of it.
    async fn hand_over(&mut self, number: usize, kind: &Kind) -> Result<String, String> {
        let name = format!("hostile-{number}");
        let file = format!("{name}.wasm");
        self.cluster.scratch().write(&file, &kind.module);
        let result = match kind.answer {
            Expected::Upgrade => self.upgrade(self.harmless, &kind.module).await,
            _ => self.load(&name, &kind.module).await,
        };
        let finished = match kind.answer {
            Expected::Check | Expected::Trial => {
                refused(kind, &result)?;
                self.cluster.scratch().concoord(&["object", "check", &file])
            }
            Expected::Load => {
                refused(kind, &result)?;
                self.command(&["object", "load", &name, &file])
            }
            Expected::Upgrade => {
                refused(kind, &result)?;
                self.command(&["object", "upgrade", "harmless", &file])
            }
            Expected::Export => {
                let object = result.map_err(|error| error.to_string())?.object;
                refused(kind, &self.upgrade(object, &Guest::default().module()).await)?;
                self.command(&["object", "upgrade", &name, "harmless.wasm"])
            }
            _ => {
                result.map_err(|error| error.to_string())?;
                self.called(kind, &name).await?;
                plain(&self.command(&["object", "show", &name]))?;
                plain(&self.command(&["object", "show", &name, "--json"]))?;
                let method = if kind.answer == Expected::NoMethod { "go" } else { "look" };
                self.command(&["call", &format!("{name}.{method}")])
            }
        };
        plain(&finished)?;
        said(kind, &file, &finished)
    }

    /// Calls an object's methods, the one that changes it twice, and looks at the type of what comes back.
    async fn called(&self, kind: &Kind, name: &str) -> Result<(), String> {
        for _ in 0..2 {
            fits(kind, &self.client.call(Some(name), "go", Vec::new()).await)?;
        }
        if kind.answer == Expected::NoMethod {
            return Ok(());
        }
        fits(kind, &self.client.query(Some(name), "look", Vec::new(), Consistency::Linearizable).await)
    }

    /// Increments once, as somebody would who has nothing to do with all this.
    async fn count(&mut self) {
        let began = Instant::now();
        let value = CounterProxy::new(self.client.clone()).increment().await.expect("the counter counts on");
        self.counted += 1;
        assert_eq!(value, self.counted);
        self.longest = self.longest.max(began.elapsed());
    }

    /// The replicas are those that were started.
    fn live(&mut self, after: &str) {
        for (address, process) in self.processes.clone() {
            let replica = self.cluster.replica(address);
            assert_eq!(
                (replica.ended(), replica.process()),
                (None, process),
                "{address} after {after}: {}",
                replica.log()
            );
        }
    }

    /// The client goes, and each object that it called is told so. Where nobody waits, one that fails is suspended, which
    /// are so many at least. Gives how many are.
    async fn leave(&self, failing: usize) -> usize {
        self.client.close().await;
        wait_for_within(PATIENCE, "the objects to be told that a session has ended", || {
            let listed = self.command(&["object", "list", "--json"]);
            let list: Value = serde_json::from_str(&listed.stdout).map_err(|error| format!("{error}: {listed:?}"))?;
            let objects = list["objects"].as_array().cloned().unwrap_or_default();
            let suspended = objects.iter().filter(|object| !object["suspended"].is_null()).count();
            if suspended >= failing { Ok(suspended) } else { Err(format!("{suspended} of {failing} are suspended")) }
        })
    }

    /// All replicas live, serve and have compared what they applied, which is the same.
    async fn agree(&mut self) {
        self.client =
            Client::connect(&self.cluster.addresses()).await.expect("the replicas run").with_timeout(PATIENCE);
        for _ in 0..3 * CHECK_SLOTS {
            self.count().await;
        }
        self.live("all of it");
        let mut lists = BTreeSet::new();
        for address in self.cluster.all() {
            let at = ["-c", &address.to_string()];
            let run = |arguments: &[&str]| {
                let finished = self.cluster.scratch().concoord(&[arguments, &at].concat());
                plain(&finished).expect("only plain text");
                assert_eq!(finished.code, Some(0), "{finished:?}");
                finished.stdout
            };
            assert!(run(&["health", "--require", "3"]).starts_with("healthy: 3 of 3 voters"));
            let view: Value = serde_json::from_str(&run(&["view", "--json"])).expect("it is JSON");
            let members = view["members"].as_array().expect("a list");
            let well =
                |member: &Value| member["live"] == true && member["differs"].is_null() && member["full"] == false;
            assert!(members.len() == 3 && members.iter().all(well), "{view}");
            assert_eq!(run(&["call", "counter.getvalue"]).trim(), self.counted.to_string(), "at {address}");
            lists.insert(run(&["object", "list", "--json"]));
            run(&["object", "list"]);
            let log = self.cluster.replica(address).log();
            assert!(!log.contains("differs from what a majority") && !log.contains("panicked at"), "{log}");
        }
        assert_eq!(lists.len(), 1, "one list of objects: {lists:?}");
    }
}

/// No replica did it, for the reason that was expected.
fn refused(kind: &Kind, result: &Result<Operated, OperatorError>) -> Result<(), String> {
    match result {
        Err(OperatorError::Object(ObjectError::Refused { why })) if cleaned(why).contains(kind.words) => Ok(()),
        Err(OperatorError::Object(ObjectError::Call(error @ CallError::TooLarge { .. })))
            if error.to_string().contains(kind.words) =>
        {
            Ok(())
        }
        other => Err(format!("the cluster gave {other:?}")),
    }
}

/// The answer to a call has the type that was expected.
fn fits(kind: &Kind, result: &Result<Answer, ClientError>) -> Result<(), String> {
    let fits = match (kind.answer, result) {
        (Expected::Trap, Err(ClientError::Call(CallError::Trapped { .. })))
        | (Expected::Misbehaves, Err(ClientError::Call(CallError::Misbehaved { .. })))
        | (Expected::NoMethod, Err(ClientError::Call(CallError::UnknownMethod { .. })))
        | (Expected::Lies, Ok(_))
        | (Expected::Answers, Ok(Answer::Returned(_))) => true,
        (Expected::Limit(what), Err(ClientError::Call(CallError::LimitReached { reached, .. }))) => {
            reached.what == what
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("the cluster gave {result:?}")) }
}

/// What the command said: the result, or the one line that says why there is none.
fn said(kind: &Kind, file: &str, finished: &Finished) -> Result<String, String> {
    let Finished { code, stdout, stderr } = finished;
    let (expected, line, other) = match kind.answer {
        Expected::Answers => (0, stdout, stderr),
        _ => (1, stderr, stdout),
    };
    let said = line.trim_end().trim_start_matches("concoord: ").trim_start_matches(file).trim_start_matches(": ");
    let as_promised = *code == Some(expected) && other.is_empty() && said.lines().count() == 1;
    if as_promised && said.contains(kind.words) { Ok(said.to_owned()) } else { Err(format!("{finished:?}")) }
}

/// Nothing that the command writes can steer a terminal.
fn plain(finished: &Finished) -> Result<(), String> {
    let steering = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let steers = |text: &str| text.chars().any(|character| steering(character) && character != '\n');
    if steers(&finished.stdout) || steers(&finished.stderr) { Err(format!("not plain: {finished:?}")) } else { Ok(()) }
}

/// A text as the command shows it.
fn cleaned(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { character.escape_default().to_string() } else { character.into() })
        .collect()
}

#[test]
fn whatever_a_stranger_hands_over_is_answered_with_a_typed_error_and_the_cluster_goes_on() {
    let kinds = kinds::all();
    let names: BTreeSet<&str> = kinds.iter().map(|kind| kind.name).collect();
    assert!(names.len() == kinds.len() && kinds.len() >= KINDS_MIN, "{} kinds, each with its name", kinds.len());
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let began = Instant::now();
    blocking(async {
        let mut trial = Trial::begin().await;
        let mut faults = Vec::new();
        for (number, kind) in (1..).zip(&kinds) {
            let answer = trial.hand_over(number, kind).await.unwrap_or_else(|found| {
                faults.push(format!(
                    "{number}  {}: {:?} with '{}' expected, but {found}",
                    kind.name, kind.answer, kind.words
                ));
                format!("NOT AS EXPECTED: {found}")
            });
            let shown: String = answer.chars().take(SHOWN).collect();
            println!("{number:>3}  {:<width$}  {shown}", kind.name);
            trial.live(kind.name);
            trial.count().await;
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        let failing = kinds.iter().filter(|kind| matches!(kind.answer, Expected::Trap | Expected::Limit(_))).count();
        let suspended = trial.leave(failing).await;
        trial.agree().await;
        let (longest, took) = (trial.longest, began.elapsed());
        println!(
            "{} kinds in {:.1} s; three replicas live and agree, none was started again;",
            kinds.len(),
            took.as_secs_f64()
        );
        println!("{suspended} objects are suspended since they were told of a session's end;");
        println!("the slowest of {} increments in between took {:.0} ms", trial.counted, longest.as_secs_f64() * 1e3);
        trial.client.close().await;
    });
}
