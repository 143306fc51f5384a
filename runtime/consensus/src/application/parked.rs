//! Calls that wait until another input of their object answers them.
//!
//! A call is parked from the input that parked it until the first of: an answer, the end of the time that it may wait,
//! its client's wish, the end of its session, the end of its object. Each of these is decided, and takes the call out of
//! this table; whatever comes later finds nothing to end. Its object is told of the end of a call, where that was no answer,
//! before it is given anything else, so that it answers nobody who is gone.
//!
//! **Invariants:** `by_end` holds each call with an end exactly once; each call is one that its session waits for
//! ([`Sessions::park`](super::sessions::Sessions::park)).

use std::collections::{BTreeMap, BTreeSet};

use concoord_wire::client::CallError;
use concoord_wire::{CallId, ObjectId, SessionId, Slot, Timestamp};
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::snapshot::{Reader, RestoreError, Writer};
use crate::limits::PARKED_MAX;
use crate::mutated;

/// All parked calls.
#[derive(Debug, Default)]
pub(super) struct Parked {
    calls: BTreeMap<CallId, Wait>,
    by_end: BTreeSet<(Timestamp, CallId)>,
}

/// What a parked call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wait {
    pub(super) object: ObjectId,
    /// How long it may; 0 for as long as its session lives.
    pub(super) wait_us: u64,
    /// When that is over.
    end: Option<Timestamp>,
}

impl Parked {
    /// Whether one more may wait.
    ///
    /// # Errors
    /// [`CallError::Busy`].
    pub(super) fn room(&self) -> Result<(), CallError> {
        if self.calls.len() < PARKED_MAX {
            return Ok(());
        }
        Err(CallError::Busy { what: "the table of parked calls".into(), limit: PARKED_MAX as u64 })
    }

    /// Parks a call.
    ///
    /// # Panics
    /// When it is parked already.
    pub(super) fn insert(&mut self, call: CallId, object: ObjectId, now: Timestamp, wait_us: u64) {
        let end = (wait_us > 0).then(|| Timestamp(now.0.saturating_add(wait_us)));
        self.enter(call, Wait { object, wait_us, end });
    }

    /// Parks it as it was.
    ///
    /// # Panics
    /// As for [`Parked::insert`].
    pub(super) fn enter(&mut self, call: CallId, wait: Wait) {
        self.by_end.extend(wait.end.map(|end| (end, call)));
        let before = self.calls.insert(call, wait);
        assert!(before.is_none(), "call {call} is parked once");
    }

    pub(super) fn get(&self, call: CallId) -> Option<&Wait> {
        self.calls.get(&call)
    }

    /// It waits no more.
    pub(super) fn remove(&mut self, call: CallId) -> Option<Wait> {
        let wait = self.calls.remove(&call)?;
        if let Some(end) = wait.end {
            self.by_end.remove(&(end, call));
        }
        Some(wait)
    }

    /// The calls of a session.
    pub(super) fn of_session(&self, session: SessionId) -> Vec<CallId> {
        let call = |sequence| CallId { session, sequence };
        self.calls.range(call(0)..=call(u64::MAX)).map(|(call, _)| *call).collect()
    }

    /// The calls that wait for an object.
    pub(super) fn of_object(&self, object: ObjectId) -> Vec<CallId> {
        self.calls.iter().filter(|(_, wait)| wait.object == object).map(|(call, _)| *call).collect()
    }

    /// How many wait for each object.
    pub(super) fn counts(&self) -> BTreeMap<ObjectId, u64> {
        let mut counts = BTreeMap::new();
        self.calls.values().for_each(|wait| *counts.entry(wait.object).or_default() += 1);
        counts
    }

    /// The call that may wait no longer than any other, and until when.
    pub(super) fn first_end(&self) -> Option<(Timestamp, CallId)> {
        self.by_end.first().copied()
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.put(&self.calls);
    }

    /// Reads what [`Parked::write`] wrote.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Parked, RestoreError> {
        let count = from.count("parked calls", PARKED_MAX)?;
        let mut parked = Parked::default();
        let mut before = CallId { session: SessionId { slot: Slot::ZERO, index: 0 }, sequence: 0 };
        for _ in 0..count {
            let (call, wait): (CallId, Wait) = from.take("a parked call")?;
            if call <= before {
                return Err(from.damaged("a parked call out of order"));
            }
            before = call;
            if !mutated!(SnapshotWithoutParked) {
                parked.enter(call, wait);
            }
        }
        Ok(parked)
    }

    pub(super) fn calls(&self) -> impl Iterator<Item = (CallId, ObjectId)> {
        self.calls.iter().map(|(call, wait)| (*call, wait.object))
    }

    pub(super) fn digest(&self, digest: Digest) -> Digest {
        digest.with(&self.calls)
    }
}
