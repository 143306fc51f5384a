//! What must hold whatever goes wrong.

use std::collections::{BTreeMap, BTreeSet};

use concoord::wire::client::{Request, Response};
use concoord::wire::record::Record;
use concoord::wire::value::Value;
use concoord::wire::{Ballot, CallId, NodeId, Slot};

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
    /// The value of each slot, from whoever decided it first.
    decided: BTreeMap<Slot, (Value, NodeId)>,
    /// The hash of the applied state after each slot, from whoever applied it first.
    states: BTreeMap<Slot, (u64, NodeId)>,
    /// The highest ballot on each disk.
    ballots: BTreeMap<NodeId, Ballot>,
    /// Values that increments returned: each once.
    returned: BTreeSet<i64>,
    /// The highest value that any answer showed.
    seen: i64,
    /// Requests that reached a replica and were not answered yet: by replica and client, what, in which life, since when.
    asked: BTreeMap<(NodeId, usize, String), (u64, u64)>,
    /// Increments that clients asked for.
    pub issued: u64,
    /// Increments that were acknowledged.
    pub acknowledged: u64,
    /// Queries that were answered.
    pub queried: u64,
}

impl Checks {
    /// A request reached a replica.
    pub fn asked(&mut self, node: NodeId, life: u64, client: usize, request: &Request, now_us: u64) {
        let what = match request {
            Request::OpenSession { nonce } => format!("session {nonce:x}"),
            Request::Call { call, .. } => format!("call {call}"),
            Request::Query { request, .. } => format!("query {request}"),
            _ => return,
        };
        let known = self.asked.entry((node, client, what)).or_insert((life, now_us));
        if known.0 != life {
            *known = (life, now_us);
        }
    }

    /// A replica answers a request, whether the answer arrives or not.
    pub fn answered(&mut self, node: NodeId, client: usize, response: &Response) {
        let what = match response {
            Response::SessionOpened { nonce, .. } => format!("session {nonce:x}"),
            Response::Called { call, .. } => format!("call {call}"),
            Response::Queried { request, .. } => format!("query {request}"),
            _ => return,
        };
        self.asked.remove(&(node, client, what));
    }

    /// What is not answered: by which replica in which life, what, and since when.
    pub fn unanswered(&self) -> impl Iterator<Item = (NodeId, u64, &str, u64)> {
        self.asked.iter().map(|((node, _, what), (life, at_us))| (*node, *life, what.as_str(), *at_us))
    }

    /// A replica knows `slot` as decided with `value`.
    ///
    /// # Errors
    /// [`Violation`] when another one knows another value.
    pub fn decided(&mut self, node: NodeId, slot: Slot, value: &Value) -> Result<(), Violation> {
        let (known, first) = self.decided.entry(slot).or_insert_with(|| (value.clone(), node));
        if known != value {
            let what = format!("slot {slot} is decided as {known:?} by {first:?} and as {value:?} by {node:?}");
            return Err(Violation::new(what));
        }
        Ok(())
    }

    /// A replica has applied everything up to `slot`.
    ///
    /// # Errors
    /// [`Violation`] when another one came to another state.
    pub fn applied(&mut self, node: NodeId, slot: Slot, state: u64) -> Result<(), Violation> {
        let (known, first) = *self.states.entry(slot).or_insert((state, node));
        if known != state {
            let what = format!("after slot {slot}, {first:?} has state {known:016x} and {node:?} has {state:016x}");
            return Err(Violation::new(what));
        }
        Ok(())
    }

    /// A record is appended to a disk.
    ///
    /// # Errors
    /// [`Violation`] when a ballot falls.
    pub fn appended(&mut self, node: NodeId, record: &Record) -> Result<(), Violation> {
        let ballot = match record {
            Record::Promised(ballot) | Record::Accepted { ballot, .. } => *ballot,
            Record::Start { .. } | Record::Decided(_) => return Ok(()),
        };
        let highest = self.ballots.entry(node).or_insert(ballot);
        if ballot < *highest {
            return Err(Violation::new(format!("on the disk of {node:?}, {ballot} follows {highest}")));
        }
        *highest = ballot;
        Ok(())
    }

    /// A disk lost what was not synced: only what is left counts.
    pub fn crashed(&mut self, node: NodeId, disk: &[Record]) {
        let highest = disk.iter().filter_map(|record| match record {
            Record::Promised(ballot) | Record::Accepted { ballot, .. } => Some(*ballot),
            _ => None,
        });
        match highest.max() {
            Some(highest) => self.ballots.insert(node, highest),
            None => self.ballots.remove(&node),
        };
    }

    /// The highest value that any answer showed so far: whatever begins now must not see less.
    #[must_use]
    pub fn highest_seen(&self) -> i64 {
        self.seen
    }

    /// An increment was acknowledged that began when `seen` was the highest value shown.
    ///
    /// # Errors
    /// [`Violation`] when its value was returned before, or it goes back in time.
    pub fn called(&mut self, call: CallId, value: i64, seen: i64) -> Result<(), Violation> {
        self.acknowledged += 1;
        if !self.returned.insert(value) {
            return Err(Violation::new(format!("two increments returned {value}, the second is {call}")));
        }
        if value <= seen {
            return Err(Violation::new(format!("increment {call} returned {value} after {seen} was seen")));
        }
        self.see(value)
    }

    /// A query was answered that began when `seen` was the highest value shown.
    ///
    /// # Errors
    /// [`Violation`] when it goes back in time.
    pub fn queried(&mut self, value: i64, seen: i64) -> Result<(), Violation> {
        self.queried += 1;
        if value < seen {
            return Err(Violation::new(format!("a query returned {value} after {seen} was seen")));
        }
        self.see(value)
    }

    fn see(&mut self, value: i64) -> Result<(), Violation> {
        self.seen = self.seen.max(value);
        if self.seen.cast_unsigned() > self.issued {
            return Err(Violation::new(format!("{value} was returned, but {} increments were issued", self.issued)));
        }
        Ok(())
    }

    /// All is over and answered: each increment counted once.
    ///
    /// # Errors
    /// [`Violation`] when some were lost or counted twice.
    pub fn finished(&self, value: i64) -> Result<(), Violation> {
        if value.cast_unsigned() != self.acknowledged || self.acknowledged != self.issued {
            let Checks { issued, acknowledged, .. } = self;
            let what = format!("{issued} increments issued, {acknowledged} acknowledged, and the counter is {value}");
            return Err(Violation::new(what));
        }
        Ok(())
    }

    /// How many slots were decided.
    #[must_use]
    pub fn slots(&self) -> u64 {
        self.decided.last_key_value().map_or(0, |(slot, _)| slot.0)
    }
}
