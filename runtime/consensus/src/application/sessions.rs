//! Who calls, which of their calls were executed, and what was replied.
//!
//! Exactly once rests on one table per session: for each executed sequence above the session's floor, its result. A
//! sequence is executed only when it is above the floor and not in the table, and it enters the table in the same
//! slot. Below the floor nothing is kept, because nothing there is ever executed again.
//!
//! The objects that a session called are told when it ends: each pair waits in `ended` until its turn comes.
//!
//! **Invariants:** a floor never falls; no kept reply is at or below its session's floor; `by_nonce` and `by_due` hold
//! each open session exactly once; `reply_bytes` is the sum over all sessions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use concoord_wire::abi::Answer;
use concoord_wire::client::CallError;
use concoord_wire::{CallId, ObjectId, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::snapshot::{Reader, RestoreError, Writer};
use crate::limits::{
    REPLIES_KEPT_MAX, REPLY_BYTES_KEPT_MAX, REPLY_BYTES_KEPT_TOTAL_MAX, SESSION_TTL_MS, SESSIONS_MAX,
    SESSIONS_SWEPT_MAX,
};
use crate::mutated;

/// What a call came to.
pub(super) type CallResult = Result<Answer, CallError>;

/// All open sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: BTreeMap<SessionId, Session>,
    by_nonce: BTreeMap<u128, SessionId>,
    by_due: BTreeSet<(Timestamp, SessionId)>,
    reply_bytes: usize,
    /// Objects that are to be told of the end of a session which called them.
    ended: VecDeque<(ObjectId, SessionId)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Session {
    nonce: u128,
    /// When its client last gave a sign.
    heard: Timestamp,
    /// When the sweep looks at it next: at most `heard` and the time to live. It is not moved with each sign, so that
    /// a call costs no reordering.
    due: Timestamp,
    floor: u64,
    replies: BTreeMap<u64, CallResult>,
    /// The objects that it called, as far as they are still there.
    called: BTreeSet<ObjectId>,
    /// Encoded bytes of `replies`.
    #[serde(skip)]
    reply_bytes: usize,
}

/// What to do with a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission<'a> {
    /// It is new: execute it, then [`Sessions::record`] what it came to.
    Execute,
    /// It was executed: this was the reply.
    Replied(&'a CallResult),
    /// It is not executed, and leaves no mark.
    Refused(CallError),
}

impl Sessions {
    /// Opens the session `id`, or finds the open one that the same nonce opened.
    ///
    /// # Errors
    /// [`CallError::Busy`] beyond [`SESSIONS_MAX`].
    pub(super) fn open(&mut self, id: SessionId, nonce: u128, now: Timestamp) -> Result<SessionId, CallError> {
        if let Some(&first) = self.by_nonce.get(&nonce).filter(|_| !mutated!(NonceOpensAgain)) {
            self.keep_alive(first, now);
            return Ok(first);
        }
        within("the table of open sessions", self.open.len(), SESSIONS_MAX)?;
        let due = end_of_silence(now);
        let (replies, called) = (BTreeMap::new(), BTreeSet::new());
        let session = Session { nonce, heard: now, due, floor: 0, replies, called, reply_bytes: 0 };
        self.open.insert(id, session);
        self.by_nonce.insert(nonce, id);
        self.by_due.insert((due, id));
        Ok(id)
    }

    /// Notes a sign of the session's client. False when the session is gone.
    pub(super) fn keep_alive(&mut self, id: SessionId, now: Timestamp) -> bool {
        let session = self.open.get_mut(&id);
        if let Some(session) = session {
            session.heard = now;
            return true;
        }
        false
    }

    /// Forgets a session and all that it was replied, if it is open.
    pub(super) fn close(&mut self, id: SessionId) {
        if let Some(session) = self.open.remove(&id) {
            self.by_nonce.remove(&session.nonce);
            self.by_due.remove(&(session.due, id));
            self.reply_bytes -= session.reply_bytes;
            self.ended.extend(session.called.into_iter().map(|object| (object, id)));
        }
    }

    /// The next object that is to be told of the end of a session.
    pub(super) fn first_ended(&self) -> Option<(ObjectId, SessionId)> {
        self.ended.front().copied()
    }

    /// It was told.
    pub(super) fn forget_ended(&mut self) {
        self.ended.pop_front();
    }

    /// An object is to be told of these ends after all.
    pub(super) fn tell_again(&mut self, object: ObjectId, sessions: Vec<SessionId>) {
        self.ended.extend(sessions.into_iter().map(|session| (object, session)));
    }

    /// An object is gone: it is told of nothing.
    pub(super) fn forget_object(&mut self, object: ObjectId) {
        self.ended.retain(|(of, _)| *of != object);
        self.open.values_mut().for_each(|session| _ = session.called.remove(&object));
    }

    /// Says whether `call` is executed. `floor` is what its client acknowledges; the session's floor rises to it.
    pub(super) fn admit(&mut self, call: CallId, floor: u64, now: Timestamp) -> Admission<'_> {
        let Some(session) = self.open.get_mut(&call.session) else {
            return Admission::Refused(CallError::SessionGone { session: call.session });
        };
        session.heard = now;
        self.reply_bytes -= session.raise_floor(floor);
        let session = &*session;
        if call.sequence <= session.floor && !mutated!(FloorExecutes) {
            return Admission::Refused(CallError::Acknowledged { call, floor: session.floor });
        }
        if mutated!(NoDedup) {
            return Admission::Execute;
        }
        if let Some(result) = session.replies.get(&call.sequence) {
            if mutated!(ReplyOfAnotherCall) {
                return Admission::Replied(session.replies.last_key_value().map_or(result, |(_, newest)| newest));
            }
            return Admission::Replied(result);
        }
        let room = within("the session's replies that are not acknowledged", session.replies.len(), REPLIES_KEPT_MAX)
            .and_then(|()| {
                within("the session's bytes of unacknowledged replies", session.reply_bytes, REPLY_BYTES_KEPT_MAX)
            })
            .and_then(|()| {
                within("all sessions' bytes of unacknowledged replies", self.reply_bytes, REPLY_BYTES_KEPT_TOTAL_MAX)
            });
        match room {
            Ok(()) => Admission::Execute,
            Err(busy) => Admission::Refused(busy),
        }
    }

    /// Keeps what an admitted call came to. `ran` is the object that it ran on.
    ///
    /// # Panics
    /// When the call was not admitted as [`Admission::Execute`], or is recorded twice: it would be executed twice.
    pub(super) fn record(&mut self, call: CallId, ran: Option<ObjectId>, result: CallResult) {
        let session = self.open.get_mut(&call.session).expect("an admitted call has an open session");
        assert!(call.sequence > session.floor, "call {call} was executed below the floor {}", session.floor);
        session.called.extend(ran);
        let bytes = encoded_bytes(&result);
        session.reply_bytes += bytes;
        self.reply_bytes += bytes;
        let before = session.replies.insert(call.sequence, result);
        assert!(before.is_none(), "call {call} was executed twice");
    }

    /// Closes sessions that were silent for [`SESSION_TTL_MS`], looking at no more than [`SESSIONS_SWEPT_MAX`].
    pub(super) fn sweep(&mut self, now: Timestamp) {
        for _ in 0..SESSIONS_SWEPT_MAX {
            let Some(&(due, id)) = self.by_due.first() else { return };
            if due > now {
                return;
            }
            let session = self.open.get_mut(&id).expect("each due entry belongs to an open session");
            let end = end_of_silence(session.heard);
            if end <= now {
                self.close(id);
            } else {
                session.due = end;
                self.by_due.pop_first();
                self.by_due.insert((end, id));
            }
        }
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Bytes of all kept replies.
    pub(super) fn kept_bytes(&self) -> usize {
        self.reply_bytes
    }

    /// Writes all of this. The indices and byte counts follow from the sessions, so they stay out.
    pub(super) fn write(&self, to: &mut Writer) {
        to.put(&self.open);
        to.put(&self.ended);
    }

    /// Reads what [`Sessions::write`] wrote.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Sessions, RestoreError> {
        let count = from.count("open sessions", SESSIONS_MAX)?;
        let mut sessions = Sessions::default();
        for _ in 0..count {
            let (id, mut session): (SessionId, Session) = from.take("a session")?;
            from.within("replies of a session", session.replies.len(), REPLIES_KEPT_MAX)?;
            if session.replies.first_key_value().is_some_and(|(sequence, _)| *sequence <= session.floor) {
                return Err(from.damaged("a reply that its session acknowledged"));
            }
            if mutated!(SnapshotWithoutReplies) {
                session.replies.clear();
            }
            session.reply_bytes = session.replies.values().map(encoded_bytes).sum();
            sessions.reply_bytes += session.reply_bytes;
            sessions.by_due.insert((session.due, id));
            if sessions.by_nonce.insert(session.nonce, id).is_some() || sessions.open.insert(id, session).is_some() {
                return Err(from.damaged("a session that is open twice"));
            }
        }
        sessions.ended = from.take("the ends of sessions")?;
        Ok(sessions)
    }

    /// The digest with all of this behind it. The indices follow from the sessions, so they stay out.
    pub(super) fn digest(&self, digest: Digest) -> Digest {
        digest.with(&self.open).with(&self.ended)
    }
}

impl Session {
    /// Gives the bytes of the replies that are forgotten.
    fn raise_floor(&mut self, floor: u64) -> usize {
        self.floor = self.floor.max(floor);
        let mut freed = 0;
        while let Some(first) = self.replies.first_entry()
            && *first.key() <= self.floor
        {
            freed += encoded_bytes(&first.remove());
        }
        self.reply_bytes -= freed;
        freed
    }
}

fn end_of_silence(heard: Timestamp) -> Timestamp {
    Timestamp(heard.0.saturating_add(SESSION_TTL_MS * 1000))
}

fn encoded_bytes(result: &CallResult) -> usize {
    postcard::experimental::serialized_size(result).expect("a call's result has a size")
}

fn within(what: &str, held: usize, limit: usize) -> Result<(), CallError> {
    if held < limit { Ok(()) } else { Err(CallError::Busy { what: what.into(), limit: limit as u64 }) }
}

#[cfg(test)]
mod tests {
    use concoord_wire::Slot;

    use super::*;

    const TTL_US: u64 = SESSION_TTL_MS * 1000;

    fn id(slot: u64) -> SessionId {
        SessionId { slot: Slot(slot), index: 0 }
    }

    fn opened(sessions: &mut Sessions, slot: u64) -> SessionId {
        sessions.open(id(slot), u128::from(slot), Timestamp(0)).unwrap()
    }

    fn call(session: SessionId, sequence: u64) -> CallId {
        CallId { session, sequence }
    }

    fn answer(bytes: usize) -> CallResult {
        Ok(Answer::Returned(vec![7; bytes]))
    }

    fn execute(sessions: &mut Sessions, call: CallId, bytes: usize) {
        assert_eq!(sessions.admit(call, 0, Timestamp(0)), Admission::Execute);
        sessions.record(call, None, answer(bytes));
    }

    #[test]
    fn a_floor_never_falls_and_frees_what_it_passes() {
        let mut sessions = Sessions::default();
        let session = opened(&mut sessions, 1);
        for sequence in 1..=3 {
            execute(&mut sessions, call(session, sequence), 10);
        }
        let full = sessions.reply_bytes;
        let low =
            |sequence, floor| Admission::Refused(CallError::Acknowledged { call: call(session, sequence), floor });
        assert_eq!(sessions.admit(call(session, 2), 2, Timestamp(0)), low(2, 2));
        assert_eq!(sessions.reply_bytes, full / 3);
        assert_eq!(sessions.admit(call(session, 1), 0, Timestamp(0)), low(1, 2), "an older floor changes nothing");
        assert_eq!(sessions.admit(call(session, 3), 2, Timestamp(0)), Admission::Replied(&answer(10)));
        assert_eq!(sessions.admit(call(session, 0), 2, Timestamp(0)), low(0, 2), "sequences start at 1");
    }

    #[test]
    fn too_many_replies_are_busy_until_some_are_acknowledged() {
        let mut sessions = Sessions::default();
        let session = opened(&mut sessions, 1);
        let kept = REPLIES_KEPT_MAX as u64;
        for sequence in 1..=kept {
            execute(&mut sessions, call(session, sequence), 0);
        }
        let next = call(session, kept + 1);
        assert!(matches!(sessions.admit(next, 0, Timestamp(0)), Admission::Refused(CallError::Busy { .. })));
        assert_eq!(sessions.admit(call(session, 1), 0, Timestamp(0)), Admission::Replied(&answer(0)));
        assert_eq!(sessions.admit(next, 1, Timestamp(0)), Admission::Execute);
    }

    #[test]
    fn too_many_reply_bytes_are_busy_for_their_session_only() {
        let mut sessions = Sessions::default();
        let (greedy, modest) = (opened(&mut sessions, 1), opened(&mut sessions, 2));
        execute(&mut sessions, call(greedy, 1), REPLY_BYTES_KEPT_MAX);
        assert!(matches!(sessions.admit(call(greedy, 2), 0, Timestamp(0)), Admission::Refused(CallError::Busy { .. })));
        assert_eq!(sessions.admit(call(modest, 1), 0, Timestamp(0)), Admission::Execute);
        assert_eq!(sessions.admit(call(greedy, 2), 1, Timestamp(0)), Admission::Execute);
    }

    #[test]
    fn all_sessions_share_one_bound_on_reply_bytes() {
        let mut sessions = Sessions::default();
        let owners = (REPLY_BYTES_KEPT_TOTAL_MAX / REPLY_BYTES_KEPT_MAX) as u64;
        for slot in 1..=owners {
            let session = opened(&mut sessions, slot);
            // Counted, not held: what matters here is the sum.
            sessions.open.get_mut(&session).unwrap().reply_bytes = REPLY_BYTES_KEPT_MAX;
            sessions.reply_bytes += REPLY_BYTES_KEPT_MAX;
        }
        let late = opened(&mut sessions, owners + 1);
        assert!(matches!(sessions.admit(call(late, 1), 0, Timestamp(0)), Admission::Refused(CallError::Busy { .. })));
        sessions.close(id(1));
        assert_eq!(sessions.admit(call(late, 1), 0, Timestamp(0)), Admission::Execute);
    }

    #[test]
    fn the_table_of_sessions_is_bounded_and_a_known_nonce_still_finds_its_session() {
        let mut sessions = Sessions::default();
        for slot in 1..=SESSIONS_MAX as u64 {
            opened(&mut sessions, slot);
        }
        let busy = sessions.open(id(u64::MAX), u128::MAX, Timestamp(0));
        assert_eq!(
            busy,
            Err(CallError::Busy { what: "the table of open sessions".into(), limit: SESSIONS_MAX as u64 })
        );
        assert_eq!(sessions.open(id(u64::MAX), 5, Timestamp(0)), Ok(id(5)));
        sessions.close(id(5));
        assert_eq!(sessions.open(id(u64::MAX), u128::MAX, Timestamp(0)), Ok(id(u64::MAX)));
    }

    #[test]
    fn silence_ends_a_session_at_its_time_to_live_and_not_before() {
        let mut sessions = Sessions::default();
        let (silent, heard) = (opened(&mut sessions, 1), opened(&mut sessions, 2));
        sessions.keep_alive(heard, Timestamp(5));
        sessions.sweep(Timestamp(TTL_US - 1));
        assert_eq!(sessions.len(), 2);
        sessions.sweep(Timestamp(TTL_US));
        assert!(!sessions.keep_alive(silent, Timestamp(TTL_US)));
        assert_eq!(sessions.len(), 1);
        sessions.sweep(Timestamp(TTL_US + 4));
        assert_eq!(sessions.len(), 1);
        sessions.sweep(Timestamp(TTL_US + 5));
        assert_eq!(sessions.len(), 0);
        assert!(sessions.by_due.is_empty() && sessions.by_nonce.is_empty());
    }

    #[test]
    fn a_sweep_looks_at_a_bounded_number_of_sessions() {
        let mut sessions = Sessions::default();
        for slot in 1..=SESSIONS_SWEPT_MAX as u64 + 1 {
            opened(&mut sessions, slot);
        }
        sessions.sweep(Timestamp(TTL_US));
        assert_eq!(sessions.len(), 1);
        sessions.sweep(Timestamp(TTL_US));
        assert_eq!(sessions.len(), 0);
    }
}
