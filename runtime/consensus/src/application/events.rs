//! What objects emitted, for whoever watches: the newest events of each object, and who waits for the next.
//!
//! Events are part of the state, so a watcher that loses its replica goes on at any other one, without a gap and without a
//! repetition. Those who wait are not: each replica has its own.
//!
//! **Invariants:** the events of an object are in the order of their revisions, all above `compacted`; `bytes`, `sum` and the
//! totals follow from the events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use concoord_wire::client::{CallError, EmittedEvent, Events as Told, Response};
use concoord_wire::limits::{EVENT_BYTES_TOLD_MAX, EVENTS_TOLD_MAX};
use concoord_wire::{ObjectId, Position, abi};
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::snapshot::{Reader, RestoreError, Writer};
use crate::io::ClientToken;
use crate::limits::{
    EVENT_BYTES_KEPT_MAX, EVENT_BYTES_OF_OBJECT_MAX, EVENTS_KEPT_MAX, EVENTS_OF_OBJECT_MAX, OBJECTS_MAX, WATCHERS_MAX,
};
use crate::mutated;

/// All events that are kept.
#[derive(Debug, Default)]
pub(super) struct Events {
    of: BTreeMap<ObjectId, Kept>,
    count: usize,
    bytes: usize,
}

/// Those of one object.
#[derive(Debug, Default)]
struct Kept {
    /// The revision of the newest that is kept no longer.
    compacted: Position,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Over all of them, in whatever order, so that it costs the same however many there are.
    sum: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Event {
    revision: Position,
    topic: String,
    payload: Bytes,
}

impl Event {
    fn bytes(&self) -> usize {
        self.topic.len() + self.payload.len()
    }

    fn hash(&self) -> u64 {
        Digest::new().with(self).finish()
    }
}

impl Kept {
    fn push(&mut self, event: Arc<Event>) {
        self.bytes += event.bytes();
        self.sum = self.sum.wrapping_add(event.hash());
        self.events.push_back(event);
    }

    /// Keeps the oldest no longer. Gives its bytes.
    fn drop_oldest(&mut self) -> usize {
        let Some(event) = self.events.pop_front() else { return 0 };
        self.bytes -= event.bytes();
        self.sum = self.sum.wrapping_sub(event.hash());
        self.compacted = event.revision;
        event.bytes()
    }

    fn is_over(&self) -> bool {
        self.events.len() > EVENTS_OF_OBJECT_MAX || self.bytes > EVENT_BYTES_OF_OBJECT_MAX
    }
}

/// What all this has of one object at one time.
#[derive(Debug)]
pub(super) struct Frozen {
    object: ObjectId,
    compacted: Position,
    events: Vec<Arc<Event>>,
}

#[cfg(test)]
impl Frozen {
    pub(super) fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.bytes()).sum()
    }
}

impl Events {
    /// An object emits: `position` is the last one that was given, and each event takes the next.
    pub(super) fn emit(&mut self, object: ObjectId, events: Vec<abi::Event>, position: &mut Position) {
        for abi::Event { topic, payload } in events {
            *position = position.next();
            let event = Event { revision: *position, topic, payload: payload.into() };
            self.bytes += event.bytes();
            self.count += 1;
            let kept = self.of.entry(object).or_default();
            kept.push(Arc::new(event));
            while self.of.get(&object).is_some_and(Kept::is_over) {
                self.drop_oldest(object);
            }
            while self.count > EVENTS_KEPT_MAX || self.bytes > EVENT_BYTES_KEPT_MAX {
                let largest = self.of.iter().max_by_key(|(_, kept)| kept.bytes);
                let Some(largest) = largest.map(|(object, _)| *object) else { break };
                self.drop_oldest(largest);
            }
        }
    }

    fn drop_oldest(&mut self, object: ObjectId) {
        if let Some(kept) = self.of.get_mut(&object) {
            self.bytes -= kept.drop_oldest();
            self.count -= 1;
        }
    }

    /// An object is gone.
    pub(super) fn forget_object(&mut self, object: ObjectId) {
        if let Some(kept) = self.of.remove(&object) {
            self.count -= kept.events.len();
            self.bytes -= kept.bytes;
        }
    }

    /// An object starts anew with the input at this position: what it emitted before is of a state that is no more.
    pub(super) fn start_anew(&mut self, object: ObjectId, position: Position) {
        self.forget_object(object);
        self.of.insert(object, Kept { compacted: position, ..Kept::default() });
    }

    /// What an object emitted after a revision, as far as one answer may hold it. `position` is where this replica is.
    ///
    /// # Errors
    /// [`CallError::Compacted`].
    fn after(
        &self,
        object: ObjectId,
        topic: Option<&str>,
        after: Position,
        position: Position,
    ) -> Result<Told, CallError> {
        let mut told = Told { events: Vec::new(), upto: position.max(after) };
        let Some(kept) = self.of.get(&object) else { return Ok(told) };
        if after < kept.compacted {
            let oldest = kept.events.front().map_or_else(|| kept.compacted.next(), |event| event.revision);
            return Err(CallError::Compacted { oldest });
        }
        let is_told = |event: &Arc<Event>| event.revision < after || event.revision == after && !mutated!(WatchRepeats);
        let first = kept.events.partition_point(is_told);
        let mut bytes = 0;
        for event in kept.events.range(first..) {
            if topic.is_some_and(|topic| event.topic != topic) {
                continue;
            }
            bytes += event.bytes();
            if told.events.len() == EVENTS_TOLD_MAX || bytes > EVENT_BYTES_TOLD_MAX && !told.events.is_empty() {
                told.upto = told.events.last().map_or(told.upto, |last| last.revision);
                break;
            }
            let Event { revision, topic, payload } = &**event;
            told.events.push(EmittedEvent { revision: *revision, topic: topic.clone(), payload: payload.clone() });
        }
        Ok(told)
    }

    /// All of this as it is now, to be written later.
    pub(super) fn freeze(&self) -> Vec<Frozen> {
        let of = |(object, kept): (&ObjectId, &Kept)| Frozen {
            object: *object,
            compacted: kept.compacted,
            events: kept.events.iter().cloned().collect(),
        };
        self.of.iter().map(of).collect()
    }

    pub(super) fn write(frozen: &[Frozen], to: &mut Writer) {
        to.put(&frozen.len());
        for Frozen { object, compacted, events } in frozen {
            to.put(&(object, compacted, events.len()));
            events.iter().for_each(|event| to.put(&**event));
        }
    }

    /// Reads what [`Events::write`] wrote.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Events, RestoreError> {
        let mut events = Events::default();
        for _ in 0..from.count("objects with events", OBJECTS_MAX)? {
            let (object, compacted): (ObjectId, Position) = from.take("an object with events")?;
            let mut kept = Kept { compacted, ..Kept::default() };
            for _ in 0..from.count("events of an object", EVENTS_OF_OBJECT_MAX)? {
                let event: Event = from.take("an event")?;
                if event.revision <= kept.events.back().map_or(compacted, |last| last.revision) {
                    return Err(from.damaged("an event out of order"));
                }
                if !mutated!(SnapshotWithoutEvents) {
                    kept.push(Arc::new(event));
                }
            }
            events.count += kept.events.len();
            events.bytes += kept.bytes;
            if events.of.insert(object, kept).is_some() {
                return Err(from.damaged("the events of an object twice"));
            }
        }
        from.within("events", events.count, EVENTS_KEPT_MAX)?;
        Ok(events)
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = ObjectId> {
        self.of.keys().copied()
    }

    pub(super) fn digest(&self, digest: Digest) -> Digest {
        self.of
            .iter()
            .fold(digest, |digest, (object, kept)| digest.with(&(object, kept.compacted, kept.events.len(), kept.sum)))
    }
}

/// Who waits here for events.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    waiting: BTreeMap<Watcher, Watch>,
    of: BTreeMap<ObjectId, BTreeSet<Watcher>>,
}

/// A client, and its number of the request.
type Watcher = (ClientToken, u64);

/// What a watcher waits for.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) object: ObjectId,
    pub(super) topic: Option<String>,
    pub(super) after: Position,
}

impl Watch {
    fn look(&self, events: &Events, position: Position) -> Result<Told, CallError> {
        events.after(self.object, self.topic.as_deref(), self.after, position)
    }
}

impl Watchers {
    /// What a watcher is told at once; `None` when it waits from now on.
    pub(super) fn watch(
        &mut self,
        watcher: Watcher,
        watch: Watch,
        events: &Events,
        position: Position,
    ) -> Option<Result<Told, CallError>> {
        let waited = self.forget(watcher);
        match watch.look(events, position) {
            Ok(told) if told.events.is_empty() && !waited => {}
            found => return Some(found),
        }
        if self.waiting.len() >= WATCHERS_MAX {
            let busy = CallError::Busy { what: "the table of watchers".into(), limit: WATCHERS_MAX as u64 };
            return Some(Err(busy));
        }
        self.of.entry(watch.object).or_default().insert(watcher);
        self.waiting.insert(watcher, watch);
        None
    }

    /// A watcher waits no more. Gives whether it did.
    pub(super) fn forget(&mut self, watcher: Watcher) -> bool {
        let Some(watch) = self.waiting.remove(&watcher) else { return false };
        if let Some(of) = self.of.get_mut(&watch.object) {
            of.remove(&watcher);
            if of.is_empty() {
                self.of.remove(&watch.object);
            }
        }
        true
    }

    /// A client is gone.
    pub(super) fn forget_client(&mut self, client: ClientToken) {
        let numbers = self.waiting.range((client, 0)..=(client, u64::MAX));
        let gone: Vec<Watcher> = numbers.map(|(watcher, _)| *watcher).collect();
        gone.into_iter().for_each(|watcher| _ = self.forget(watcher));
    }

    /// These objects emitted, or are gone: whoever waited for that is told. `gone` says why there is nothing more to wait for.
    pub(super) fn tell(
        &mut self,
        objects: impl IntoIterator<Item = ObjectId>,
        events: &Events,
        position: Position,
        gone: impl Fn(ObjectId) -> Option<CallError>,
    ) -> Vec<(ClientToken, Response)> {
        let mut all = Vec::new();
        for object in objects {
            let Some(of) = self.of.get(&object) else { continue };
            let gone = gone(object);
            for watcher in of.iter().copied().collect::<Vec<_>>() {
                let result = match &gone {
                    Some(gone) => Err(gone.clone()),
                    None => self.waiting[&watcher].look(events, position),
                };
                if result.as_ref().is_ok_and(|told| told.events.is_empty()) {
                    continue;
                }
                self.forget(watcher);
                let (client, request) = watcher;
                all.push((client, Response::Watched { request, result }));
            }
        }
        all
    }

    /// The objects that somebody waits for.
    pub(super) fn objects(&self) -> Vec<ObjectId> {
        self.of.keys().copied().collect()
    }
}
