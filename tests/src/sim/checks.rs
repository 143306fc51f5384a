//! What must hold whatever goes wrong.

use std::collections::{BTreeMap, BTreeSet};

use concoord::wire::client::{EmittedEvent, Request, Response};
use concoord::wire::peer::Message;
use concoord::wire::record::Record;
use concoord::wire::value::Value;
use concoord::wire::{Ballot, CallId, NodeId, ObjectId, Slot};
use concoord_consensus::Replica;
use concoord_consensus::io::ClientToken;

use super::history::History;
use super::objects::{COUNTER, LOCK, Native, Natives, REGISTER};
use super::operation::{KEYS, Operation, Outcome};
use super::waits::Waits;

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl Violation {
    /// Says what was seen.
    #[must_use]
    pub fn new(what: String) -> Violation {
        Violation(what)
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything seen so far that later things are compared with.
#[derive(Debug, Default)]
pub struct Checks {
    /// Per slot from 1, its value, from whoever decided it first.
    decided: Vec<(Value, NodeId)>,
    /// Per slot from 1, the hash of the state after it, from whoever applied it first.
    states: Vec<Option<(u64, NodeId)>>,
    /// The highest ballot on each disk.
    ballots: BTreeMap<NodeId, Ballot>,
    /// The highest ballot that is durable on each disk.
    durable_ballots: BTreeMap<NodeId, Ballot>,
    /// What was proposed in each ballot.
    proposed: BTreeMap<(Ballot, Slot), Value>,
    /// What each node said that it promised and accepted.
    said: BTreeMap<NodeId, Said>,
    /// What queries could have seen so far: after each slot, what each object shows.
    shown: BTreeSet<(ObjectId, u32, Outcome)>,
    /// Requests that reached a replica and were not answered yet: in which life of it, and since when.
    asked: BTreeMap<(NodeId, ClientToken, Asked), (u64, u64)>,
    /// What clients did and heard.
    pub history: History,
    /// What those whose calls wait did and heard.
    pub waits: Waits,
    /// The events that anybody was told of, in order.
    pub emitted: Vec<EmittedEvent>,
    /// How often clients got what.
    pub answers: Answers,
}

/// What others heard from a node and count on for ever.
#[derive(Debug, Default)]
struct Said {
    promised: Ballot,
    accepted: BTreeMap<Slot, Ballot>,
}

/// How often clients got an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Updates acknowledged.
    pub updates: u64,
    /// Updates whose outcome the client never learned.
    pub unknown: u64,
    /// Linearizable queries answered.
    pub queries: u64,
    /// Queries answered that may be stale up to a bound.
    pub bounded_queries: u64,
    /// Stale queries answered.
    pub stale_queries: u64,
    /// Objects described.
    pub descriptions: u64,
    /// Views shown.
    pub views: u64,
    /// Sessions opened.
    pub sessions: u64,
    /// Sessions that were opened again with the same nonce, and found.
    pub sessions_found: u64,
    /// Updates sent again.
    pub retries: u64,
    /// Connections opened.
    pub connections: u64,
    /// Signs of life sent.
    pub keep_alives: u64,
    /// What an operator did with objects.
    pub operated: u64,
    /// What an operator could not do with objects, as it should be.
    pub not_operated: u64,
    /// Upgrades tried on a copy.
    pub trials: u64,
    /// Lists of objects compared.
    pub lists: u64,
    /// What an operator asked again.
    pub operator_retries: u64,
    /// Calls of an object that was suspended.
    pub suspended: u64,
    /// Events told.
    pub events: u64,
}

impl Answers {
    /// Name and count of each.
    #[must_use]
    pub fn kinds(&self) -> [(&'static str, u64); 19] {
        [
            ("updates acknowledged", self.updates),
            ("updates left unknown", self.unknown),
            ("queries answered", self.queries),
            ("bounded queries answered", self.bounded_queries),
            ("stale queries answered", self.stale_queries),
            ("objects described", self.descriptions),
            ("views shown", self.views),
            ("sessions opened", self.sessions),
            ("sessions found again", self.sessions_found),
            ("updates sent again", self.retries),
            ("connections", self.connections),
            ("keep-alives", self.keep_alives),
            ("objects operated on", self.operated),
            ("operations refused", self.not_operated),
            ("upgrades tried", self.trials),
            ("lists of objects", self.lists),
            ("operations sent again", self.operator_retries),
            ("calls while suspended", self.suspended),
            ("events told", self.events),
        ]
    }
}

/// A request that must be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// For a session, by its nonce.
    Session(u128),
    /// An update.
    Call(CallId),
    /// A query or question, by its number.
    Request(u64),
}

impl Asked {
    fn by(request: &Request) -> Option<Asked> {
        match request {
            Request::OpenSession { nonce, .. } | Request::ResumeSession { nonce, .. } => Some(Asked::Session(*nonce)),
            Request::Call { call, .. } | Request::Atomically { call, .. } => Some(Asked::Call(*call)),
            Request::Query { request, .. }
            | Request::Describe { request, .. }
            | Request::Administer { request, .. }
            | Request::Stage { request, .. }
            | Request::Operate { request, .. }
            | Request::Try { request, .. }
            | Request::Objects { request, .. }
            | Request::Sessions { request, .. }
            | Request::Backup { request, .. }
            | Request::View { request }
            | Request::Ping { request } => Some(Asked::Request(*request)),
            // What is watched may never be emitted.
            Request::Watch { .. } | Request::Unwatch { .. } => None,
            Request::KeepAlive { .. } | Request::CloseSession { .. } | Request::Cancel { .. } => None,
        }
    }

    fn answered_by(response: &Response) -> Option<Asked> {
        match response {
            Response::SessionOpened { nonce, .. } | Response::SessionResumed { nonce, .. } => {
                Some(Asked::Session(*nonce))
            }
            // Who is told that its call is parked is not left alone; when the answer comes, others decide.
            Response::Called { call, .. } | Response::Parked { call } => Some(Asked::Call(*call)),
            Response::Queried { request, .. }
            | Response::Described { request, .. }
            | Response::Administered { request, .. }
            | Response::Staged { request, .. }
            | Response::Operated { request, .. }
            | Response::Objects { request, .. }
            | Response::Sessions { request, .. }
            | Response::Backup { request, .. }
            | Response::View { request, .. }
            | Response::Pong { request } => Some(Asked::Request(*request)),
            Response::Watched { .. } | Response::SessionKept { .. } | Response::SessionGone { .. } => None,
        }
    }
}

impl Checks {
    /// A request reached a replica.
    pub fn asked(&mut self, node: NodeId, life: u64, client: ClientToken, request: &Request, now_us: u64) {
        let Some(what) = Asked::by(request) else { return };
        let known = self.asked.entry((node, client, what)).or_insert((life, now_us));
        if known.0 != life {
            *known = (life, now_us);
        }
    }

    /// A replica answers a request, whether the answer arrives or not.
    pub fn answered(&mut self, node: NodeId, client: ClientToken, response: &Response) {
        if let Some(what) = Asked::answered_by(response) {
            self.asked.remove(&(node, client, what));
        }
    }

    /// A client's connection ended: nothing has to be answered over it.
    pub fn client_gone(&mut self, node: NodeId, client: ClientToken) {
        let of_client = (node, client, Asked::Session(0))..=(node, client, Asked::Request(u64::MAX));
        let gone: Vec<_> = self.asked.range(of_client).map(|(key, _)| *key).collect();
        for key in gone {
            self.asked.remove(&key);
        }
    }

    /// What is not answered: by which replica in which life, what, and since when.
    pub fn unanswered(&self) -> impl Iterator<Item = (NodeId, u64, Asked, u64)> {
        self.asked.iter().map(|((node, _, what), (life, at_us))| (*node, *life, *what, *at_us))
    }

    /// A replica knows `slot` as decided with `value`.
    ///
    /// # Errors
    /// [`Violation`] when another one knows another value.
    pub fn decided(&mut self, node: NodeId, slot: Slot, value: &Value) -> Result<(), Violation> {
        let index = index_of(slot);
        if index > self.decided.len() {
            return Err(Violation::new(format!("{node:?} has decided slot {slot}, and nobody has the one before it")));
        }
        if index == self.decided.len() {
            self.decided.push((value.clone(), node));
        }
        let (known, first) = &self.decided[index];
        if known != value {
            let what = format!("slot {slot} is decided as {known:?} by {first:?} and as {value:?} by {node:?}");
            return Err(Violation::new(what));
        }
        Ok(())
    }

    /// A replica has applied everything up to `slot`, and its objects have come to this.
    ///
    /// # Errors
    /// [`Violation`] when another one came to another state.
    pub fn applied(&mut self, node: NodeId, slot: Slot, state: u64, objects: &Natives) -> Result<(), Violation> {
        let index = index_of(slot);
        if index >= self.states.len() {
            self.states.resize(index + 1, None);
        }
        let Some((known, first)) = self.states[index] else {
            self.states[index] = Some((state, node));
            self.show(objects);
            return Ok(());
        };
        if known != state {
            let what = format!("after slot {slot}, {first:?} has state {known:016x} and {node:?} has {state:016x}");
            return Err(Violation::new(what));
        }
        Ok(())
    }

    /// The hash of the state after `slot`, if anybody applied it.
    #[must_use]
    pub fn state_after(&self, slot: Slot) -> Option<u64> {
        self.states.get(index_of(slot)).copied().flatten().map(|(state, _)| state)
    }

    /// Notes what queries may see from now on.
    fn show(&mut self, objects: &Natives) {
        for (operation, outcome) in shown_by(objects) {
            self.shown.insert((operation.object(), operation.key().unwrap_or(0), outcome));
        }
    }

    /// A stale query was answered: its object must have been so at some time.
    ///
    /// # Errors
    /// [`Violation`] when it never was.
    pub fn queried_stale(&mut self, operation: Operation, outcome: Outcome) -> Result<(), Violation> {
        self.answers.stale_queries += 1;
        if self.shown.contains(&(operation.object(), operation.key().unwrap_or(0), outcome)) {
            return Ok(());
        }
        Err(Violation::new(format!("a stale {operation:?} was answered with {outcome:?}, which it never was")))
    }

    /// A record is appended to a disk.
    ///
    /// # Errors
    /// [`Violation`] when a ballot falls.
    pub fn appended(&mut self, node: NodeId, record: &Record) -> Result<(), Violation> {
        let ballot = match record {
            Record::Promised(ballot) | Record::Accepted { ballot, .. } => *ballot,
            Record::Decided(_) | Record::Void { .. } => return Ok(()),
        };
        let highest = self.ballots.entry(node).or_insert(ballot);
        if ballot < *highest {
            return Err(Violation::new(format!("on the disk of {node:?}, {ballot} follows {highest}")));
        }
        *highest = ballot;
        Ok(())
    }

    /// A ballot is on a disk for sure.
    pub fn durable(&mut self, node: NodeId, ballot: Ballot) {
        let highest = self.durable_ballots.entry(node).or_insert(ballot);
        *highest = ballot.max(*highest);
    }

    /// A node starts again and has promised this, by its disk.
    ///
    /// # Errors
    /// [`Violation`] when it had promised more, durably.
    pub fn recovered(&mut self, node: NodeId, promised: Ballot) -> Result<(), Violation> {
        self.ballots.insert(node, promised);
        match self.durable_ballots.get(&node) {
            Some(durable) if promised < *durable => {
                Err(Violation::new(format!("{node:?} had promised {durable} and starts again with {promised}")))
            }
            _ => Ok(()),
        }
    }

    /// A node sends a message: what it says there, it must still know after any crash.
    ///
    /// # Errors
    /// [`Violation`] when it proposes another value than before in the same slot and ballot.
    pub fn said(&mut self, node: NodeId, message: &Message) -> Result<(), Violation> {
        let said = self.said.entry(node).or_default();
        match message {
            Message::Prepare { ballot, .. } | Message::Promise { ballot, .. } => {
                said.promised = said.promised.max(*ballot);
            }
            Message::Accepted { ballot, slot } => {
                said.promised = said.promised.max(*ballot);
                let known = said.accepted.entry(*slot).or_insert(*ballot);
                *known = (*known).max(*ballot);
            }
            Message::Accept { ballot, slot, value, .. } => {
                let first = self.proposed.entry((*ballot, *slot)).or_insert_with(|| value.clone());
                if first != value {
                    let what =
                        format!("{node:?} proposes two values for slot {slot} in {ballot}: {first:?} and {value:?}");
                    return Err(Violation::new(what));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A node starts again: what it said that it promised and accepted, it still knows, or knows that its disk lost it.
    ///
    /// # Errors
    /// [`Violation`] when it does not.
    pub fn keeps_its_word(&mut self, node: NodeId, promised: Ballot, replica: &Replica) -> Result<(), Violation> {
        let said = self.said.entry(node).or_default();
        if promised < said.promised {
            let what = format!("{node:?} had said that it promised {} and starts again with {promised}", said.promised);
            return Err(Violation::new(what));
        }
        let (undecided, unknown) = (replica.undecided(), replica.unknown());
        said.accepted.retain(|slot, _| *slot > replica.decided());
        for (slot, ballot) in &said.accepted {
            let accepted = undecided.iter().find(|accepted| accepted.slot == *slot);
            let lost = unknown.iter().any(|(first, last)| (first..=last).contains(&slot));
            // What a view that ended accepted beyond its seal counts no more.
            let ended = ballot.view < replica.view().id;
            // Who knew a slot as decided had no need to accept its value again.
            let is_decided = |value| self.decided.get(index_of(*slot)).is_some_and(|(decided, _)| decided == value);
            let keeps = accepted.is_some_and(|kept| kept.ballot >= *ballot || is_decided(&kept.value));
            if !keeps && !lost && !ended {
                let now = accepted.map(|accepted| accepted.ballot);
                let what = format!("{node:?} had said that it accepted slot {slot} in {ballot} and now has {now:?}");
                return Err(Violation::new(what));
            }
        }
        Ok(())
    }

    /// All is over: what the objects have come to is the last that is read, and all histories are checked.
    ///
    /// # Errors
    /// [`Violation`] when a history is not one of an object that does one thing after the other.
    pub fn finished(&mut self, objects: &Natives, now_us: u64) -> Result<(), Violation> {
        for (operation, outcome) in shown_by(objects) {
            let read = self.history.invoke(usize::MAX, operation, now_us);
            self.history.answer(read, outcome, now_us);
        }
        self.history.check()?;
        self.waits.check()
    }

    /// How many slots were decided.
    #[must_use]
    pub fn slots(&self) -> u64 {
        self.decided.len() as u64
    }
}

/// What each query would show.
fn shown_by(objects: &Natives) -> Vec<(Operation, Outcome)> {
    let mut shown = Vec::new();
    for (_, native) in objects.iter().filter(|(id, _)| [COUNTER, REGISTER, LOCK].contains(id)) {
        match native {
            Native::Counter(counter) => shown.push((Operation::GetValue, Outcome::Count(counter.getvalue()))),
            Native::Register(register) => {
                shown.extend((0..KEYS).map(|key| (Operation::Read { key }, Outcome::Value(register.read(key)))));
            }
            Native::Lock(lock) => shown.push((Operation::Holder, Outcome::Holder(lock.holder()))),
            Native::Fragile(_) | Native::Mutex(_) | Native::Semaphore(_) | Native::Queue(_) | Native::Kv(_) => {}
        }
    }
    shown
}

fn index_of(slot: Slot) -> usize {
    usize::try_from(slot.0).expect("few slots") - 1
}
