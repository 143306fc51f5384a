//! Transcripts of the replica: each file of `transcripts/` is a script of inputs with the effects that follow.
//!
//! A script is blocks of commands, a line `----`, and what they made happen, up to an empty line. Run with
//! `CONCOORD_REWRITE=1` to write what happens now into the files, and read the difference before you keep it.
//!
//! | command           | meaning                                                                          |
//! |-------------------|----------------------------------------------------------------------------------|
//! | `cluster 1 2 3`   | these replicas start, all voters of view 1                                       |
//! | `at 150`          | it is now 150 ms                                                                 |
//! | `tick 1`          | replica 1 gets `Tick`                                                            |
//! | `flush 1`         | replica 1 gets `Flush`                                                           |
//! | `durable 1`       | all that replica 1 appended is durable, and what waited for it is sent           |
//! | `deliver 1 2`     | everything on the way from 1 to 2 arrives; `deliver` alone: everything, in rounds, disks included, until nothing is left |
//! | `drop 1 2`        | everything on the way from 1 to 2 is lost                                        |
//! | `cut 1 2`         | from now on, nothing from 1 reaches 2; `mend` ends all cuts                      |
//! | `call 1 s1:1`     | a client calls `increment` at replica 1 with this session and sequence           |
//! | `query 1 7`       | a client queries replica 1, its request number 7                                 |
//! | `query 1 7 20`    | the same, of what may be 20 ms old                                               |
//! | `operate 1 7`     | an operator upgrades an object at replica 1, its request number 7                |
//! | `tried 1 1`       | replica 1's trial 1 has ended well                                               |
//! | `join 1 4`        | replica 4 asks replica 1 to join, and starts when it is welcome                  |
//! | `stop 1`          | replica 1 is asked to stop                                                       |
//! | `leave 1`         | replica 1 is asked to leave the view and stop                                    |
//! | `full 1`          | the disk of replica 1 is full; `room 1`: it is not any more                      |
//! | `quiet`           | from now on, heartbeats and their replies are not shown                          |

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use concoord_consensus::io::{Applied, ClientToken, Effect, Input, JoinToken, LogPosition, Time};
use concoord_consensus::{Config, Policy, Replica, Timing};
use concoord_wire::check::{Check, Checked};
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::client::{Consistency, Request, Response};
use concoord_wire::join::JoinReply;
use concoord_wire::member::{Member, Services, Standing, View};
use concoord_wire::objects::ObjectAction;
use concoord_wire::peer::{Heartbeat, Message};
use concoord_wire::record::Record;
use concoord_wire::value::{Removal, Value, ViewChange};
use concoord_wire::version::{ClusterVersion, Versions};
use concoord_wire::{CallId, ClusterId, NodeId, ObjectId, SessionId, Slot, Timestamp};

/// More rounds than any script needs until nothing is on its way.
const ROUNDS_MAX: usize = 100;

struct Script {
    now_ms: u64,
    replicas: BTreeMap<NodeId, Replica>,
    on_the_way: BTreeMap<(NodeId, NodeId), VecDeque<Message>>,
    held: BTreeMap<NodeId, Vec<(LogPosition, NodeId, Message)>>,
    appended: BTreeMap<NodeId, LogPosition>,
    durable: BTreeMap<NodeId, LogPosition>,
    cuts: BTreeSet<(NodeId, NodeId)>,
    joins: u64,
    joiners: BTreeMap<JoinToken, NodeId>,
    quiet: bool,
    to_apply: VecDeque<(NodeId, Slot)>,
    out: String,
}

fn member(id: NodeId, standing: Standing) -> Member {
    let port = 14_000 + u16::try_from(id.0).expect("small ids");
    Member {
        id,
        address: ([127, 0, 0, 1], port).into(),
        services: Services::default(),
        volatile: false,
        standing,
        silent: false,
        supports: Versions::OF_BUILD,
    }
}

impl Script {
    fn new() -> Script {
        Script {
            now_ms: 0,
            replicas: BTreeMap::new(),
            on_the_way: BTreeMap::new(),
            held: BTreeMap::new(),
            appended: BTreeMap::new(),
            durable: BTreeMap::new(),
            cuts: BTreeSet::new(),
            joins: 0,
            joiners: BTreeMap::new(),
            quiet: false,
            to_apply: VecDeque::new(),
            out: String::new(),
        }
    }

    fn now(&self) -> Time {
        Time { monotonic_us: self.now_ms * 1000, wall_us: 1_000_000_000 + self.now_ms * 1000 }
    }

    fn command(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let node = |index: usize| NodeId(words[index].parse().unwrap_or_else(|_| panic!("a replica in '{line}'")));
        match words[0] {
            "cluster" => {
                let ids: Vec<NodeId> = (1..words.len()).map(node).collect();
                let genesis = View::first(ids.iter().map(|id| member(*id, Standing::Voter)));
                for id in ids {
                    self.start(id, genesis.clone(), Vec::new());
                }
            }
            "at" => self.now_ms = words[1].parse().expect("milliseconds"),
            "tick" => self.step(node(1), Input::Tick),
            "flush" => self.step(node(1), Input::Flush),
            "durable" => self.sync(node(1)),
            "deliver" if words.len() == 1 => self.deliver_all(),
            "deliver" => self.deliver(node(1), node(2)),
            "drop" => {
                self.on_the_way.remove(&(node(1), node(2)));
            }
            "cut" => {
                self.cuts.insert((node(1), node(2)));
            }
            "mend" => self.cuts.clear(),
            "call" => self.call(node(1), words[2]),
            "query" => {
                let staleness = words.get(3).map(|ms| Duration::from_millis(ms.parse().expect("milliseconds")));
                let consistency = staleness.map_or(Consistency::Linearizable, Consistency::within);
                self.query(node(1), words[2].parse().expect("a request number"), consistency);
            }
            "operate" => self.operate(node(1), words[2].parse().expect("a request number")),
            "tried" => {
                let trial = words[2].parse().expect("a trial");
                self.step(node(1), Input::TriedOut { trial, result: Ok(()) });
            }
            "join" => self.join(node(1), node(2)),
            "stop" => self.step(node(1), Input::Stop { leave: false }),
            "leave" => self.step(node(1), Input::Stop { leave: true }),
            "full" => self.step(node(1), Input::DiskFull(true)),
            "room" => self.step(node(1), Input::DiskFull(false)),
            "quiet" => self.quiet = true,
            "loud" => self.quiet = false,
            "check" => {
                let slot = Slot(words[2].parse().expect("a slot"));
                let check = Check { slot, replies: 0, state: words[3].parse().expect("a hash") };
                let (stamp, check, version) = (Timestamp(0), Some(check), ClusterVersion::FIRST);
                self.step(
                    node(1),
                    Input::Applied(Applied {
                        slot,
                        stamp,
                        replies: vec![],
                        notices: vec![],
                        watched: Vec::new(),
                        check,
                        version,
                        due: None,
                    }),
                );
            }
            "saved" => self.step(node(1), Input::SnapshotSaved { slot: Slot(words[2].parse().expect("a slot")) }),
            "restored" => self.step(
                node(1),
                Input::Restored { slot: Slot(words[2].parse().expect("a slot")), version: ClusterVersion::FIRST },
            ),
            "offer" => {
                let message = Message::SnapshotAt { slot: Slot(words[3].parse().expect("a slot")), bytes: 9 };
                self.step(node(2), Input::Peer { from: node(1), message });
            }
            "received" => {
                let (slot, view) = (Slot(words[2].parse().expect("a slot")), self.replicas[&node(1)].view().clone());
                let checkpoint = Checkpoint { slot, ..Checkpoint::genesis(ClusterId(1), view) };
                self.step(node(1), Input::SnapshotReceived { checkpoint });
            }
            other => panic!("no command '{other}'"),
        }
    }

    fn start(&mut self, id: NodeId, genesis: View, contacts: Vec<NodeId>) {
        let config = Config {
            node: id,
            member: member(id, Standing::Learner { replaces: None }),
            base: Checkpoint::genesis(ClusterId(1), genesis),
            version: ClusterVersion::FIRST,
            contacts,
            timing: Timing::default(),
            policy: Policy::default(),
            seed: id.0,
        };
        self.replicas.insert(id, Replica::new(config, self.now()));
    }

    fn call(&mut self, id: NodeId, call: &str) {
        let (session, sequence) = call.strip_prefix('s').and_then(|call| call.split_once(':')).expect("s1:1");
        let session = SessionId { slot: Slot(session.parse().expect("a session")), index: 0 };
        let call = CallId { session, sequence: sequence.parse().expect("a sequence") };
        let request = Request::Call {
            call,
            floor: 0,
            received: None,
            wait_us: 0,
            object: ObjectId(1),
            method: "increment".into(),
            arguments: [].as_slice().into(),
        };
        self.step(id, Input::Client { client: ClientToken(1), request });
    }

    fn operate(&mut self, id: NodeId, request: u64) {
        let module = bytes::Bytes::from_static(b"module");
        let (object, based_on, limits, allow_breaking) = (ObjectId(1), 1, None, false);
        let action = ObjectAction::Upgrade { object, based_on, module, limits, allow_breaking };
        let request = Request::Operate { request, nonce: request.into(), action };
        self.step(id, Input::Client { client: ClientToken(1), request });
    }

    fn query(&mut self, id: NodeId, request: u64, consistency: Consistency) {
        let request = Request::Query {
            request,
            object: ObjectId(1),
            method: "getvalue".into(),
            arguments: [].as_slice().into(),
            consistency,
        };
        self.step(id, Input::Client { client: ClientToken(1), request });
    }

    fn join(&mut self, id: NodeId, joiner: NodeId) {
        self.joins += 1;
        let join = JoinToken(self.joins);
        self.joiners.insert(join, joiner);
        let member = member(joiner, Standing::Learner { replaces: None });
        self.step(id, Input::Join { join, member, reached: Ok(()) });
    }

    fn step(&mut self, id: NodeId, input: Input) {
        let now = self.now();
        let Some(replica) = self.replicas.get_mut(&id) else { return };
        let mut effects = Vec::new();
        replica.step(now, input, &mut effects);
        for effect in effects {
            self.carry_out(id, effect);
        }
        while let Some((id, slot)) = self.to_apply.pop_front() {
            let applied = Applied {
                slot,
                stamp: Timestamp(0),
                replies: vec![],
                notices: vec![],
                watched: Vec::new(),
                check: None,
                version: ClusterVersion::FIRST,
                due: None,
            };
            self.step(id, Input::Applied(applied));
        }
    }

    fn carry_out(&mut self, id: NodeId, effect: Effect) {
        match effect {
            Effect::Persist { position, record } => {
                self.say(id, &format!("writes {position}: {}", of_record(&record)));
                self.appended.insert(id, position);
            }
            Effect::Send { to, message, after, patience_us } => {
                let waits = after > self.durable.get(&id).copied().unwrap_or_default();
                let chatter = matches!(message, Message::Heartbeat(_) | Message::HeartbeatReply { .. });
                if !(self.quiet && chatter) {
                    let after = if waits { format!(" after {after}") } else { String::new() };
                    let late = if patience_us > 0 { ", in no hurry" } else { "" };
                    self.say(id, &format!("to {to:?}{after}{late}: {}", of_message(&message)));
                }
                if waits {
                    self.held.entry(id).or_default().push((after, to, message));
                } else {
                    self.transmit(id, to, message);
                }
            }
            Effect::Apply { slot, .. } => {
                self.say(id, &format!("applies {slot}"));
                self.to_apply.push_back((id, slot));
            }
            Effect::Query(query) => self.say(id, &format!("runs query {}", query.request)),
            Effect::Ask(question) => self.say(id, &format!("asks for {}", question.request)),
            Effect::TryOut { trial, .. } => self.say(id, &format!("tries a module, trial {trial}")),
            Effect::TakeSnapshot(checkpoint) => self.say(id, &format!("makes a snapshot of {}", checkpoint.slot)),
            Effect::Restore { slot } => self.say(id, &format!("goes on from the snapshot of {slot}")),
            Effect::Truncate { upto } => self.say(id, &format!("truncates its log up to {upto}")),
            Effect::OfferSnapshot { to } => self.say(id, &format!("offers {to:?} its snapshot")),
            Effect::SendChunk { to, slot, offset } => {
                self.say(id, &format!("sends {to:?} its snapshot of {slot} from byte {offset}"));
            }
            Effect::BeginSnapshot { slot, total } => {
                self.say(id, &format!("begins to fetch the snapshot of {slot}, {total} bytes"));
            }
            Effect::KeepChunk { slot, offset, .. } => self.say(id, &format!("keeps bytes from {offset} of {slot}")),
            Effect::Backup { slot, .. } => self.say(id, &format!("gives a client its snapshot of {slot}")),
            Effect::Reply { response, .. } => self.say(id, &format!("replies {}", of_response(&response))),
            Effect::JoinReply { join, reply } => self.on_join_reply(id, join, reply),
            Effect::RosterChanged(roster) => {
                let leader = roster.leader.map_or("nobody".to_owned(), |leader| format!("{leader:?}"));
                let full = |full: bool| if full { ", full" } else { "" };
                let members = roster.members.iter();
                let members = members.map(|member| format!("{:?} {}{}", member.id, member.role, full(member.full)));
                let members: Vec<String> = members.collect();
                let shown = format!("sees view {}, {leader} leads: {}", roster.view, members.join(", "));
                self.say(id, &shown);
            }
            Effect::DropSnapshots { after, before } => {
                self.say(id, &format!("drops its snapshots above {after} and below {before}"));
            }
            Effect::Quarantine(Some(divergence)) => self.say(id, &format!("differs: {divergence}")),
            Effect::Quarantine(None) => self.say(id, "is as the others again"),
            Effect::Halt { reason } => self.say(id, &format!("stops: {reason}")),
            Effect::Removed { reason } => self.say(id, &format!("is removed: {reason}")),
            Effect::Stopped => {
                self.say(id, "stops");
            }
        }
    }

    fn on_join_reply(&mut self, id: NodeId, join: JoinToken, reply: JoinReply) {
        let joiner = self.joiners[&join];
        match reply {
            JoinReply::Accepted(welcome) => {
                self.say(id, &format!("welcomes {joiner:?}"));
                self.start(joiner, welcome.genesis, welcome.members.into_iter().map(|(id, _)| id).collect());
            }
            JoinReply::Redirect { leader } => self.say(id, &format!("sends {joiner:?} to {leader}")),
            JoinReply::Retry(why) => self.say(id, &format!("lets {joiner:?} wait: {why}")),
            JoinReply::Refused(why) => self.say(id, &format!("refuses {joiner:?}: {why}")),
        }
    }

    fn transmit(&mut self, from: NodeId, to: NodeId, message: Message) {
        if !self.cuts.contains(&(from, to)) {
            self.on_the_way.entry((from, to)).or_default().push_back(message);
        }
    }

    fn sync(&mut self, id: NodeId) {
        let position = self.appended.get(&id).copied().unwrap_or_default();
        if self.durable.insert(id, position) == Some(position) {
            return;
        }
        for (_, to, message) in self.held.remove(&id).unwrap_or_default() {
            self.transmit(id, to, message);
        }
        self.step(id, Input::Durable { position });
    }

    fn deliver(&mut self, from: NodeId, to: NodeId) {
        for message in self.on_the_way.remove(&(from, to)).unwrap_or_default() {
            self.step(to, Input::Peer { from, message });
        }
    }

    fn deliver_all(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let ids: Vec<NodeId> = self.replicas.keys().copied().collect();
            for id in &ids {
                self.sync(*id);
                self.step(*id, Input::Flush);
            }
            let links: Vec<(NodeId, NodeId)> = self.on_the_way.keys().copied().collect();
            let undurable = {
                let position = |of: &BTreeMap<NodeId, LogPosition>, id| of.get(id).copied().unwrap_or_default();
                ids.iter().any(|id| position(&self.appended, id) != position(&self.durable, id))
            };
            if links.is_empty() && !undurable {
                return;
            }
            for (from, to) in links {
                self.deliver(from, to);
            }
        }
        panic!("messages for ever:\n{}", self.out);
    }

    fn say(&mut self, id: NodeId, what: &str) {
        writeln!(self.out, "{id:?} {what}").expect("a string takes everything");
    }
}

fn of_checked(checked: &Checked) -> String {
    let check = |check: &Check| format!("{} at {}", check.state, check.slot);
    let own = checked.own.iter().map(|own| format!(", has {}", check(own))).collect::<String>();
    let agreed = checked.agreed.map_or(String::new(), |agreed| format!(", as a majority has {}", check(&agreed)));
    let differs = checked.differs.map_or(String::new(), |slot| format!(", differs at {slot}"));
    format!("{own}{agreed}{differs}")
}

fn of_value(value: &Value) -> String {
    match value {
        Value::Noop => "noop".into(),
        Value::Batch(_) => "batch".into(),
        Value::View(command) => match &command.change {
            ViewChange::Add(member) => format!("after view {} add {:?}", command.based_on, member.id),
            ViewChange::Promote(id) => format!("after view {} promote {id:?}", command.based_on),
            ViewChange::Remove { member, why } => {
                let why = match why {
                    Removal::Left => "as it leaves",
                    Removal::Evicted => "for its silence",
                    Removal::Expelled => "for good",
                };
                format!("after view {} remove {member:?} {why}", command.based_on)
            }
        },
        Value::Mark { member, silent, .. } => {
            format!("{member:?} is {}", if *silent { "silent" } else { "heard again" })
        }
    }
}

fn of_record(record: &Record) -> String {
    match record {
        Record::Promised(ballot) => format!("promised {ballot}"),
        Record::Accepted { slot, ballot, value } => format!("accepted {slot} {} in {ballot}", of_value(value)),
        Record::Decided(slot) => format!("decided {slot}"),
        Record::Void { first, last } => format!("void {first} to {last}"),
    }
}

fn of_message(message: &Message) -> String {
    match message {
        Message::Prepare { ballot, decided } => format!("prepare {ballot}, decided {decided}"),
        Message::Promise { ballot, decided, accepted, unknown } => {
            let accepted: Vec<String> = accepted
                .iter()
                .map(|accepted| format!("{} {} in {}", accepted.slot, of_value(&accepted.value), accepted.ballot))
                .collect();
            let unknown: Vec<String> = unknown.iter().map(|(first, last)| format!("{first} to {last}")).collect();
            let unknown =
                if unknown.is_empty() { String::new() } else { format!(", unknown [{}]", unknown.join(", ")) };
            format!("promise {ballot}, decided {decided}, accepted [{}]{unknown}", accepted.join(", "))
        }
        Message::Accept { ballot, slot, value, decided } => {
            format!("accept {slot} {} in {ballot}, decided {decided}", of_value(value))
        }
        Message::Accepted { ballot, slot } => format!("accepted {slot} in {ballot}"),
        Message::Reject { promised, decided } => format!("reject, promised {promised}, decided {decided}"),
        Message::Heartbeat(Heartbeat { round, leading, hears, connected, first: _, decided, full, checked }) => {
            let leading = leading.map_or(String::new(), |ballot| format!(" leading {ballot}"));
            let hears = hears.map_or("nobody".to_owned(), |ballot| ballot.to_string());
            let connected = if *connected { "connected" } else { "cut off" };
            let full = if *full { ", full" } else { "" };
            let checked = checked.as_ref().map_or(String::new(), of_checked);
            format!("heartbeat {round}{leading} hears {hears}, {connected}, decided {decided}{full}{checked}")
        }
        Message::HeartbeatReply { round, ballot, decided, applied, services: _, supports: _ } => {
            let confirms = ballot.map_or(String::new(), |ballot| format!(" confirms {ballot}"));
            format!("heartbeat reply {round}{confirms}, decided {decided}, applied {applied}")
        }
        Message::Fetch { from } => format!("fetch from {from}"),
        Message::Entries { first, values, decided } => {
            let values: Vec<String> = values.iter().map(of_value).collect();
            format!("entries from {first} [{}], decided {decided}", values.join(", "))
        }
        Message::ReadIndex { request } => format!("read index {request}?"),
        Message::ReadIndexReply { request, index } => {
            format!("read index {request} is {}", index.map_or("not mine to give".to_owned(), |slot| slot.to_string()))
        }
        Message::HandOver => "hand over".into(),
        Message::AskSnapshot { above, make } => {
            format!("a snapshot above {above}?{}", if *make { " else make one" } else { "" })
        }
        Message::SnapshotAt { slot, bytes } => format!("snapshot of {slot}, {bytes} bytes"),
        Message::FetchSnapshot { slot, offset } => format!("fetch snapshot of {slot} from byte {offset}"),
        Message::SnapshotChunk { slot, offset, data, .. } => {
            format!("snapshot of {slot}, bytes {offset} to {}", offset + data.len() as u64)
        }
        Message::Return { member } => format!("take {:?} in again", member.id),
        Message::Leave => "leave".into(),
    }
}

fn of_response(response: &Response) -> String {
    match response {
        Response::Called { call, result: Err(error), .. } => format!("to call {call}: {error}"),
        Response::Queried { request, result: Err(error) } => format!("to query {request}: {error}"),
        other => format!("{other:?}"),
    }
}

/// The script with what happens now.
fn play(text: &str) -> String {
    let mut script = Script::new();
    let mut played = String::new();
    for block in text.trim_end().split("\n\n") {
        let (commands, _) = block.split_once("\n----").unwrap_or((block, ""));
        let mut runs = false;
        for line in commands.lines() {
            writeln!(played, "{line}").expect("a string takes everything");
            if !line.starts_with('#') && !line.is_empty() {
                script.command(line);
                runs = true;
            }
        }
        if runs {
            writeln!(played, "----\n{}", std::mem::take(&mut script.out)).expect("a string takes everything");
        } else {
            played.push('\n');
        }
    }
    format!("{}\n", played.trim_end())
}

#[test]
fn transcripts_are_what_happens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut differing = Vec::new();
    for path in paths {
        let written = std::fs::read_to_string(&path).unwrap();
        let played = play(&written);
        if std::env::var_os("CONCOORD_REWRITE").is_some() {
            std::fs::write(&path, &played).unwrap();
        } else if played != written {
            let line = played.lines().zip(written.lines()).position(|(now, then)| now != then);
            let line = line.unwrap_or(played.lines().count().min(written.lines().count()));
            let shown = |text: &str| text.lines().nth(line).unwrap_or("(end)").to_owned();
            differing.push(format!(
                "{} line {}:\n  written: {}\n  happens: {}",
                path.display(),
                line + 1,
                shown(&written),
                shown(&played)
            ));
        }
    }
    assert!(differing.is_empty(), "{}\n(CONCOORD_REWRITE=1 writes what happens now)", differing.join("\n"));
}
