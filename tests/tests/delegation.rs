//! A domain that is delegated to replicas, in a small internet of programs that share no code with ours: every `dig` line of
//! the guide is asked as it stands there, and clients that know only the domain go on while all replicas are replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use concoord_client::Client;
use concoord_objects::CounterProxy;
use concoord_tests::cluster::{Member, binary, concoord, try_members, wait_for, wait_for_within};
use concoord_tests::dns::{Reply, dig};
use concoord_tests::internet::{DOMAIN, FORGED, Internet, Process, Resolver, SIGNED};
use concoord_tests::load::blocking;
use concoord_tests::netns::on_own_machine;
use concoord_tests::python;

/// What the guide says about a master name server, to the letter.
const GUIDE: &str = "
  $ sudo concoord replica -o concoord.object.counter.Counter -a 127.0.0.1 -n counterdomain.com
  $ sudo concoord replica -o concoord.object.counter.Counter -a 127.0.0.1 -b 127.0.0.1:14000 -n counterdomain.com
  $ dig -t a counterdomain.com                   # returns set of Replicas
  $ dig -t srv _concoord._tcp.counterdomain.com  # returns set of Replicas with ports
  $ dig -t txt counterdomain.com                 # returns set of all nodes
  $ dig -t ns counterdomain.com                  # returns set of name servers
  $ dig -t txt counterdomain.com @127.0.0.1      # returns set of all nodes
";
const PORT: u16 = 14000;
/// How long a resolver may keep an answer.
const TTL: Duration = Duration::from_secs(5);
/// How soon all answers follow an event: 3 s of silence and [`TTL`], if the machine is idle and the resolver knows which of
/// the servers in the delegation are there. unbound takes seconds to find that out.
const LIMIT: Duration = Duration::from_secs(30);
/// dnspython asks all questions, each `type name` or `type name server`: a line of answers for each.
const DNSPYTHON: &str = "
import sys, dns.resolver
for question in sys.argv[1:]:
    kind, name, *server = question.split()
    resolver = dns.resolver.Resolver(configure=not server)
    if server:
        resolver.nameservers = server
    print(*(data.to_text() for data in resolver.resolve(name, kind)), sep='\\t')
";

/// The command lines of the guide that start like this. The test is root, so it does without sudo.
fn guide(start: &str) -> Vec<&'static str> {
    let lines = GUIDE.lines().map(|line| line.trim_start_matches("  $ ").trim_start_matches("sudo "));
    lines.filter(|line| line.starts_with(start)).collect()
}

/// The line that starts the first replica, and the one that starts others.
fn replica_lines() -> [&'static str; 2] {
    guide("concoord replica").try_into().expect("the guide has two")
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("can't run {command:?}, which tests/run installs: {error}"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A `dig` line of the guide.
struct Question {
    line: &'static str,
    kind: &'static str,
    name: &'static str,
    server: Option<&'static str>,
    says: &'static str,
}

impl Question {
    fn all() -> Vec<Question> {
        guide("dig").into_iter().map(Question::read).collect()
    }

    fn read(line: &'static str) -> Question {
        let (question, says) = line.split_once('#').expect("each has a comment");
        let words = question.split_whitespace().collect::<Vec<_>>();
        let ["dig", "-t", kind, name, ref server @ ..] = words[..] else { panic!("{line}") };
        Question { line, kind, name, server: server.first().copied(), says: says.trim() }
    }

    /// What the comment says, if these replicas run.
    fn promised(&self, replicas: &BTreeSet<SocketAddr>) -> BTreeSet<String> {
        let word = |replica: &SocketAddr| match self.says {
            "returns set of Replicas" | "returns set of name servers" => replica.ip().to_string(),
            "returns set of Replicas with ports" => replica.to_string(),
            "returns set of all nodes" => format!("replica {replica}"),
            other => panic!("what does '{other}' mean?"),
        };
        replicas.iter().map(word).collect()
    }

    /// What was returned, in the same words: names are followed to their addresses.
    fn returned(&self, answers: &[String], resolver: Resolver) -> Result<BTreeSet<String>, String> {
        let addresses = |name: &str| dig(resolver.address(), &["-t", "a", name]);
        let mut returned = BTreeSet::new();
        for answer in answers {
            match self.kind {
                "a" => returned.extend([answer.clone()]),
                "ns" => returned.extend(addresses(answer)?),
                "txt" => returned.extend(answer.trim_matches('"').split(';').map(str::to_owned)),
                "srv" => {
                    let [_, _, port, target] = answer.split(' ').collect::<Vec<_>>()[..] else { panic!("{answer}") };
                    returned.extend(addresses(target)?.iter().map(|address| format!("{address}:{port}")));
                }
                other => panic!("what does {other} return?"),
            }
        }
        Ok(returned)
    }

    /// The answers that `dig` prints when the line is run as it is.
    fn dig(&self) -> Result<Vec<String>, String> {
        answers(&text(&run(Command::new("sh").args(["-c", self.line]))))
    }

    fn drill(&self) -> Result<Vec<String>, String> {
        answers(&text(&run(Command::new("drill").args([self.name, self.kind]).args(self.server))))
    }
}

/// The answers in a reply of the domain, which is not signed, sorted.
fn answers(printed: &str) -> Result<Vec<String>, String> {
    let Reply { status, flags, mut answers } = Reply::read(printed)?;
    assert!(!flags.contains(&"ad".to_owned()), "{DOMAIN} is not signed: {printed}");
    answers.sort();
    if status == "NOERROR" { Ok(answers) } else { Err(status) }
}

fn dnspython(questions: &[Question]) -> Result<Vec<Vec<String>>, String> {
    let asked = questions.iter().map(|Question { kind, name, server, .. }| {
        format!("{kind} {name} {}", server.unwrap_or_default().trim_start_matches('@'))
    });
    let output = run(Command::new(python::program("python")).args(["-c", DNSPYTHON]).args(asked));
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let sorted = |line: &str| {
        let mut answers = line.split('\t').map(str::to_owned).collect::<Vec<_>>();
        answers.sort();
        answers
    };
    Ok(text(&output).lines().map(sorted).collect())
}

/// Replicas that serve the domain, in a small internet.
struct World {
    directory: PathBuf,
    // Before the internet, which answers them.
    replicas: BTreeMap<SocketAddr, Process>,
    internet: Internet,
}

impl World {
    /// With the domain delegated to the addresses 127.0.0.1 to 127.0.0.`servers`.
    fn new(directory: &Path, servers: u8) -> World {
        let delegated = (1..=servers).map(|number| Ipv4Addr::new(127, 0, 0, number)).collect::<Vec<_>>();
        let internet = Internet::start(directory, &delegated);
        for resolver in Resolver::ALL {
            let ask = |name: &str| {
                let printed =
                    text(&run(Command::new("dig").args([&format!("@{}", resolver.address().ip()), "txt", name])));
                Reply::read(&printed).expect("it answers")
            };
            let (signed, forged) = (ask(SIGNED), ask(FORGED));
            println!(
                "{resolver} validates: {SIGNED} is {} {:?}, {FORGED} is {}",
                signed.status, signed.flags, forged.status
            );
            assert!(signed.status == "NOERROR" && signed.flags.contains(&"ad".into()), "{signed:?}");
            assert_eq!(forged.status, "SERVFAIL");
        }
        World { directory: directory.to_owned(), replicas: BTreeMap::new(), internet }
    }

    /// Starts a replica with a line of the guide, but at another address if it is not 127.0.0.1, and waits until it is a
    /// voter.
    fn start(&mut self, line: &str, address: SocketAddr) {
        let line = line.replace("-a 127.0.0.1", &format!("-a {}", address.ip()));
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = binary().parent().expect("it is in a directory").display().to_string();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {line}")]).env("PATH", format!("{bin}:{path}"));
        println!("$ {line}");
        let mut replica = Process::start(&self.directory, &format!("{address}"), command);
        wait_for(&format!("{address} to be a voter"), || {
            assert!(replica.ended().is_none(), "it has ended");
            let members = try_members(address)?;
            let voter = |member: &Member| member.address == address && member.live && member.role == "replica";
            if members.iter().any(voter) { Ok(()) } else { Err(format!("{members:?}")) }
        });
        self.replicas.insert(address, replica);
    }

    fn kill(&mut self, address: SocketAddr) {
        println!("kill -KILL {address}");
        self.replicas.remove(&address).expect("it runs").kill();
    }

    fn running(&self) -> BTreeSet<SocketAddr> {
        self.replicas.keys().copied().collect()
    }

    /// Waits until each `dig` line of the guide returns what it says, through both resolvers, and prints what that is.
    fn check(&self, what: &str, since: Instant) {
        let mut waiting = Resolver::ALL.to_vec();
        let mut took = Vec::new();
        wait_for_within(LIMIT, &format!("the lines of the guide, after {what}"), || {
            let mut outcome = Ok(());
            waiting.retain(|resolver| match self.are_right(*resolver) {
                Ok(()) => {
                    took.push(format!("{} ms through {resolver}", since.elapsed().as_millis()));
                    false
                }
                Err(wrong) => {
                    outcome = Err(format!("through {resolver}: {wrong}"));
                    true
                }
            });
            outcome
        });
        println!("== {what}: all lines are right after {}", took.join(", "));
        for resolver in Resolver::ALL {
            self.internet.ask(resolver);
            let answers = wait_for("dig, drill and dnspython to agree", agreed);
            println!("-- through {resolver}; drill and dnspython agree");
            for (question, answers) in Question::all().iter().zip(answers) {
                println!("$ {}", question.line);
                answers.iter().for_each(|answer| println!("    {answer}"));
            }
        }
    }

    /// Whether each line returns what it says.
    fn are_right(&self, resolver: Resolver) -> Result<(), String> {
        self.internet.ask(resolver);
        for question in Question::all() {
            let returned = question.returned(&question.dig()?, resolver)?;
            let promised = question.promised(&self.running());
            if returned != promised {
                return Err(format!("{}: {returned:?} and not {promised:?}", question.line));
            }
        }
        Ok(())
    }
}

/// What all who ask the system are told, for each line of the guide.
fn agreed() -> Result<Vec<Vec<String>>, String> {
    let questions = Question::all();
    let dig = questions.iter().map(Question::dig).collect::<Result<Vec<_>, _>>()?;
    let drill = questions.iter().map(Question::drill).collect::<Result<Vec<_>, _>>()?;
    let dnspython = dnspython(&questions)?;
    if dig == drill && dig == dnspython {
        Ok(dig)
    } else {
        Err(format!("dig: {dig:?}\ndrill: {drill:?}\ndnspython: {dnspython:?}"))
    }
}

fn host(number: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, number], PORT))
}

#[test]
fn each_dig_line_of_the_guide_returns_what_it_says() {
    on_own_machine("each_dig_line_of_the_guide_returns_what_it_says", |directory| {
        let [first, join] = replica_lines();
        let mut world = World::new(directory, 4);
        let began = Instant::now();
        world.start(first, host(1));
        world.check("the first replica is started", began);

        let began = Instant::now();
        world.kill(host(1));
        world.start(first, host(1));
        world.check("it is killed and started again", began);

        world.start(join, host(2));
        let began = Instant::now();
        world.start(join, host(3));
        world.check("the third of three is started", began);

        let began = Instant::now();
        world.kill(host(2));
        world.check("one of three is killed", began);

        let began = Instant::now();
        world.start(join, host(4));
        world.check("another joins", began);
    });
}

#[test]
fn on_one_machine_the_second_replica_takes_port_53_over() {
    on_own_machine("on_one_machine_the_second_replica_takes_port_53_over", |directory| {
        let [first, join] = replica_lines();
        let mut world = World::new(directory, 1);
        let [one, two, three] = [0, 1, 2].map(|more| SocketAddr::from(([127, 0, 0, 1], PORT + more)));
        let began = Instant::now();
        world.start(first, one);
        world.start(join, two);
        let log = world.replicas[&two].log();
        assert!(log.contains("DNS on 127.0.0.1:53: is in use by another program"), "{log}");
        let called = concoord(&["call", "-c", &two.to_string(), "increment"]);
        assert_eq!((called.code, called.stdout.as_str()), (Some(0), "1\n"), "{}", called.stderr);
        world.check("both lines of the guide are run on one machine", began);

        world.start(join, three);
        let began = Instant::now();
        world.kill(one);
        let asked = SocketAddr::from(([127, 0, 0, 1], 53));
        wait_for_within(LIMIT, "another replica at port 53", || dig(asked, &["-t", "txt", DOMAIN]));
        println!("port 53 is taken over {} ms after the first replica is killed", began.elapsed().as_millis());
        let says = |replica| {
            world.replicas[replica].log().contains("answers DNS questions for counterdomain.com. on 127.0.0.1:53")
        };
        assert!([&two, &three].into_iter().any(says), "whoever took it over says so");
        world.check("the first replica is killed", began);
        for resolver in Resolver::ALL {
            world.internet.ask(resolver);
            let called = concoord(&["call", "-c", DOMAIN, "increment"]);
            assert!(called.code == Some(0), "at the ports of the SRV records: {}", called.stderr);
        }
    });
}

/// What a client saw that increments the counter again and again.
#[derive(Debug)]
struct Seen {
    acknowledged: u64,
    last: Instant,
    gap: Duration,
}

impl Seen {
    fn new() -> Seen {
        Seen { acknowledged: 0, last: Instant::now(), gap: Duration::ZERO }
    }

    fn on_acknowledged(&mut self) {
        let now = Instant::now();
        self.gap = self.gap.max(now - self.last);
        (self.acknowledged, self.last) = (self.acknowledged + 1, now);
    }
}

/// Clients that know only the domain.
struct Clients {
    stop: Arc<AtomicBool>,
    program: JoinHandle<Seen>,
    commands: JoinHandle<Seen>,
}

impl Clients {
    /// One program that lives on, and one command after another.
    fn start() -> Clients {
        let stop = Arc::new(AtomicBool::new(false));
        let [program, commands] = [Arc::clone(&stop), Arc::clone(&stop)];
        Clients {
            stop,
            program: thread::spawn(move || blocking(increment(&program))),
            commands: thread::spawn(move || {
                let mut seen = Seen::new();
                while !commands.load(Ordering::Relaxed) {
                    let called = concoord(&["call", "-c", DOMAIN, "increment"]);
                    assert!(called.code == Some(0), "{}", called.stderr);
                    seen.on_acknowledged();
                }
                seen
            }),
        }
    }

    fn finish(self) -> [Seen; 2] {
        self.stop.store(true, Ordering::Relaxed);
        [self.program, self.commands].map(|thread| thread.join().expect("each increment is acknowledged"))
    }
}

async fn increment(stop: &AtomicBool) -> Seen {
    // From one increment to the next: who is replaced has enough to do.
    const PAUSE: Duration = Duration::from_millis(2);
    let client = Client::connect(DOMAIN).await.expect("the domain leads to replicas");
    let counter = CounterProxy::new(client.clone());
    let mut seen = Seen::new();
    while !stop.load(Ordering::Relaxed) {
        _ = counter.increment().await.expect("an increment is retried until it is acknowledged");
        seen.on_acknowledged();
        tokio::time::sleep(PAUSE).await;
    }
    client.close().await;
    seen
}

/// While clients ask this resolver, three replicas are replaced by three others, one after another.
fn replace_all(directory: &Path, resolver: Resolver) {
    let [first, join] = replica_lines();
    let mut world = World::new(directory, 6);
    world.internet.ask(resolver);
    world.start(first, host(1));
    world.start(join, host(2));
    world.start(join, host(3));
    let clients = Clients::start();
    let began = Instant::now();
    for (old, new) in [(1, 4), (2, 5), (3, 6)].map(|(old, new)| (host(old), host(new))) {
        world.start(&join.replace("-b 127.0.0.1:14000", &format!("-b {DOMAIN}")), new);
        if old == host(3) {
            // Without a word; the others are told that it is no longer one of them.
            world.kill(old);
            let evicted = concoord(&["members", "evict", &old.to_string(), "-c", &new.to_string()]);
            assert!(evicted.code == Some(0), "{}", evicted.stderr);
        } else {
            println!("$ concoord leave -c {old}");
            let left = concoord(&["leave", "-c", &old.to_string()]);
            assert!(left.code == Some(0), "{}", left.stderr);
            let mut replica = world.replicas.remove(&old).expect("it runs");
            wait_for("it to end", || replica.ended().ok_or("it runs".into()));
        }
    }
    let took = began.elapsed();
    // Clients go on until nothing that the resolver keeps of the old ones is left.
    thread::sleep(TTL);
    let seen = clients.finish();
    println!("== through {resolver}: all three replicas are replaced within {} ms", took.as_millis());
    for (who, seen) in ["one program", "concoord call"].iter().zip(&seen) {
        println!("{who}: {} increments, the longest gap {} ms", seen.acknowledged, seen.gap.as_millis());
    }
    let acknowledged = seen.iter().map(|seen| seen.acknowledged).sum::<u64>();
    let counted = concoord(&["call", "-c", DOMAIN, "getvalue"]);
    println!("{acknowledged} increments acknowledged, {} counted", counted.stdout.trim());
    assert_eq!(counted.stdout.trim(), acknowledged.to_string(), "{}", counted.stderr);
    let members = try_members(host(6)).expect("it runs");
    let addresses = members.iter().map(|member| member.address).collect::<BTreeSet<_>>();
    assert_eq!(addresses, BTreeSet::from([4, 5, 6].map(host)), "none of the first three is left");
}

#[test]
fn clients_that_know_only_the_domain_survive_that_all_replicas_are_replaced_behind_bind() {
    on_own_machine(
        "clients_that_know_only_the_domain_survive_that_all_replicas_are_replaced_behind_bind",
        |directory| {
            replace_all(directory, Resolver::Bind);
        },
    );
}

#[test]
fn clients_that_know_only_the_domain_survive_that_all_replicas_are_replaced_behind_unbound() {
    on_own_machine(
        "clients_that_know_only_the_domain_survive_that_all_replicas_are_replaced_behind_unbound",
        |directory| {
            replace_all(directory, Resolver::Unbound);
        },
    );
}
