//! Who calls, which of their calls were executed, and what was replied.
//!
//! Exactly once rests on one table per session: for each executed sequence above the session's floor, its result. A
//! sequence is executed only when it is above the floor and not in the table, and it enters the table in the same
//! slot. Below the floor nothing is kept, because nothing there is ever executed again.
//!
//! A call that is parked must not hold the floor for as long as it waits. So the floor may pass it once its client knows
//! that it is parked; it stays in `waited`, and later its reply with it, until the client says that it has that.
//!
//! The objects that a session called are told when it ends: each pair waits in `ended` until its turn comes.
//!
//! **Invariants:** a floor never falls; a kept reply is above its session's floor or of a call in `waited`; `by_nonce` and
//! `by_due` hold each open session exactly once; `reply_bytes` is the sum over all sessions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use concoord_wire::abi::Answer;
use concoord_wire::client::{CallError, SessionState};
use concoord_wire::limits::{SESSION_TTL_MS_MAX, SESSION_TTL_MS_MIN};
use concoord_wire::{CallId, ObjectId, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::replies::Replies;
use super::snapshot::{Reader, RestoreError, Writer};
use crate::limits::{
    REPLIES_KEPT_MAX, REPLY_BYTES_KEPT_MAX, REPLY_BYTES_KEPT_TOTAL_MAX, SESSIONS_MAX, SESSIONS_SWEPT_MAX,
    WAITED_OF_SESSION_MAX,
};
use crate::mutated;

/// The numbers of a session's calls have in front the number of the client's life: how often it was resumed.
const LIFE_SHIFT: u32 = 32;

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
    /// Who has it may go on with the session.
    nonce: u128,
    /// The nonce with which a client last went on with it, and the number of that one's first call.
    resumed: Option<(u128, u64)>,
    /// When its client last gave a sign.
    heard: Timestamp,
    /// When the sweep looks at it next: at most `heard` and the time to live. It is not moved with each sign, so that
    /// a call costs no reordering.
    due: Timestamp,
    /// How long it lives without one.
    ttl_ms: u32,
    floor: u64,
    replies: Replies,
    /// Calls that are parked or were, until the client has their replies.
    waited: BTreeSet<u64>,
    /// The objects that it called, as far as they are still there.
    called: BTreeSet<ObjectId>,
}

/// What to do with a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission<'a> {
    /// It is new: execute it, then [`Sessions::record`] what it came to.
    Execute,
    /// It was executed: this was the reply, and whether it was parked before.
    Replied(&'a CallResult, bool),
    /// It was executed, and is parked.
    Parked,
    /// It is not executed, and leaves no mark.
    Refused(CallError),
}

impl Sessions {
    /// Opens the session `id`, or finds the open one that the same nonce opened.
    ///
    /// # Errors
    /// [`CallError::Busy`] beyond [`SESSIONS_MAX`].
    pub(super) fn open(
        &mut self,
        id: SessionId,
        nonce: u128,
        ttl_ms: u32,
        now: Timestamp,
    ) -> Result<SessionId, CallError> {
        if let Some(&first) = self.by_nonce.get(&nonce).filter(|_| !mutated!(NonceOpensAgain)) {
            self.keep_alive(first, now);
            return Ok(first);
        }
        within("the table of open sessions", self.open.len(), SESSIONS_MAX)?;
        let ttl_ms = ttl_ms.clamp(SESSION_TTL_MS_MIN, SESSION_TTL_MS_MAX);
        let due = end_of_silence(now, ttl_ms);
        let (replies, waited, called) = (Replies::default(), BTreeSet::new(), BTreeSet::new());
        let session = Session { nonce, resumed: None, heard: now, due, ttl_ms, floor: 0, replies, waited, called };
        self.open.insert(id, session);
        self.by_nonce.insert(nonce, id);
        self.by_due.insert((due, id));
        Ok(id)
    }

    /// The number of the first call of the client that went on with the session under this nonce; `None` if none did.
    ///
    /// # Errors
    /// [`CallError::SessionGone`] when it is gone, and to whoever does not know its secret.
    pub(super) fn find_resumed(&self, id: SessionId, secret: u128, nonce: u128) -> Result<Option<u64>, CallError> {
        let session = self.open.get(&id).filter(|session| session.nonce == secret);
        let session = session.ok_or(CallError::SessionGone { session: id })?;
        Ok(session.resumed.filter(|(by, _)| *by == nonce).map(|(_, first)| first))
    }

    /// Lets another client go on with an open session, of which no call is parked. It numbers its calls from what this gives
    /// on. All numbers before are below the floor, so what the client before may still send is never executed.
    ///
    /// # Panics
    /// When the session is not open.
    pub(super) fn resume(&mut self, id: SessionId, nonce: u128, now: Timestamp) -> u64 {
        let session = self.open.get_mut(&id).expect("a session that can be resumed is open");
        // Also where nothing was called by the client before: it may have sent something.
        let life = session.resumed.map_or(0, |(_, first)| first >> LIFE_SHIFT);
        let first = (life + u64::from(!mutated!(ResumeReusesNumbers) || life == 0)) << LIFE_SHIFT;
        session.heard = now;
        session.resumed = Some((nonce, first));
        session.waited.clear();
        let freed = session.raise_floor(first - 1);
        self.reply_bytes -= freed;
        first
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
    pub(super) fn close(&mut self, id: SessionId, told: &BTreeSet<ObjectId>) {
        if let Some(session) = self.open.remove(&id) {
            self.by_nonce.remove(&session.nonce);
            self.by_due.remove(&(session.due, id));
            self.reply_bytes -= session.replies.bytes();
            let called = session.called.into_iter().filter(|object| !told.contains(object));
            self.ended.extend(called.map(|object| (object, id)));
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

    /// Says whether `call` is executed. `floor` is what its client acknowledges; the session's floor rises to it. `received`
    /// is a call that waited and was passed by the floor, whose reply the client has.
    pub(super) fn admit(&mut self, call: CallId, floor: u64, received: Option<u64>, now: Timestamp) -> Admission<'_> {
        let Some(session) = self.open.get_mut(&call.session) else {
            return Admission::Refused(CallError::SessionGone { session: call.session });
        };
        session.heard = now;
        self.reply_bytes -= session.raise_floor(floor) + received.map_or(0, |sequence| session.receive(sequence));
        let session = &*session;
        let waited = session.waited.contains(&call.sequence);
        if call.sequence <= session.floor && !waited && !mutated!(FloorExecutes) {
            return Admission::Refused(CallError::Acknowledged { call, floor: session.floor });
        }
        if mutated!(NoDedup) {
            return Admission::Execute;
        }
        if let Some(result) = session.replies.get(call.sequence) {
            if mutated!(ReplyOfAnotherCall) {
                return Admission::Replied(session.replies.newest().unwrap_or(result), waited);
            }
            return Admission::Replied(result, waited);
        }
        if waited {
            return Admission::Parked;
        }
        let room = within("the session's replies that are not acknowledged", session.replies.len(), REPLIES_KEPT_MAX)
            .and_then(|()| {
                within("the session's bytes of unacknowledged replies", session.replies.bytes(), REPLY_BYTES_KEPT_MAX)
            })
            .and_then(|()| within("the session's calls that wait", session.waited.len(), WAITED_OF_SESSION_MAX))
            .and_then(|()| {
                within("all sessions' bytes of unacknowledged replies", self.reply_bytes, REPLY_BYTES_KEPT_TOTAL_MAX)
            });
        match room {
            Ok(()) => Admission::Execute,
            Err(busy) => Admission::Refused(busy),
        }
    }

    /// Keeps what an admitted call came to. `ran` are the objects that it ran on.
    ///
    /// # Panics
    /// When the call was not admitted as [`Admission::Execute`], or is recorded twice: it would be executed twice.
    pub(super) fn record(&mut self, call: CallId, ran: impl IntoIterator<Item = ObjectId>, result: CallResult) {
        let session = self.open.get_mut(&call.session).expect("an admitted call has an open session");
        let below = call.sequence <= session.floor && !session.waited.contains(&call.sequence);
        assert!(!below, "call {call} was executed below the floor {}", session.floor);
        session.called.extend(ran);
        let before = session.replies.bytes();
        let is_new = session.replies.insert(call.sequence, result);
        assert!(is_new, "call {call} was executed twice");
        self.reply_bytes += session.replies.bytes() - before;
    }

    /// An admitted call is parked: [`Sessions::record`] follows when it is answered.
    ///
    /// # Panics
    /// As for [`Sessions::record`].
    pub(super) fn park(&mut self, call: CallId, object: ObjectId) {
        let session = self.open.get_mut(&call.session).expect("an admitted call has an open session");
        session.called.insert(object);
        let is_new = session.waited.insert(call.sequence);
        assert!(is_new, "call {call} was executed twice");
    }

    /// Whether a call is parked as far as its session knows.
    pub(super) fn waits(&self, call: CallId) -> bool {
        self.open.get(&call.session).is_some_and(|session| {
            session.waited.contains(&call.sequence) && session.replies.get(call.sequence).is_none()
        })
    }

    /// The next session that was silent for too long, of which the first [`SESSIONS_SWEPT_MAX`] are looked at.
    pub(super) fn find_silent(&mut self, now: Timestamp, looked_at: &mut usize) -> Option<SessionId> {
        while *looked_at < SESSIONS_SWEPT_MAX {
            let &(due, id) = self.by_due.first().filter(|(due, _)| *due <= now)?;
            *looked_at += 1;
            let session = self.open.get_mut(&id).expect("each due entry belongs to an open session");
            let end = end_of_silence(session.heard, session.ttl_ms);
            if end <= now {
                return Some(id);
            }
            session.due = end;
            self.by_due.remove(&(due, id));
            self.by_due.insert((end, id));
        }
        None
    }

    /// When [`Sessions::find_silent`] has something to do.
    pub(super) fn first_due(&self) -> Option<Timestamp> {
        self.by_due.first().map(|(due, _)| *due)
    }

    /// Those behind `after`, by id.
    pub(super) fn states(&self, after: Option<SessionId>) -> impl Iterator<Item = SessionState> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.open.range((from, Bound::Unbounded)).map(|(id, session)| SessionState {
            session: *id,
            ttl_ms: session.ttl_ms,
            heard: session.heard,
            waiting: session.waited.iter().filter(|sequence| session.replies.get(**sequence).is_none()).count() as u64,
            kept: session.replies.len() as u64,
            objects: session.called.len() as u64,
        })
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
            from.within("waiting calls of a session", session.waited.len(), WAITED_OF_SESSION_MAX)?;
            if !session.replies.count_bytes() {
                return Err(from.damaged("replies that are not in order"));
            }
            if session.replies.up_to(session.floor).any(|sequence| !session.waited.contains(&sequence)) {
                return Err(from.damaged("a reply that its session acknowledged"));
            }
            if mutated!(SnapshotWithoutReplies) {
                session.replies.clear();
            }
            sessions.reply_bytes += session.replies.bytes();
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
        if mutated!(FloorForgetsParked) {
            self.waited.retain(|sequence| *sequence > floor);
        }
        let (before, waited) = (self.replies.bytes(), &self.waited);
        self.replies.forget_up_to(self.floor, |sequence| waited.contains(&sequence));
        before - self.replies.bytes()
    }

    /// The client has the reply of a call that waited. Above the floor it stays: there, a retry may still be on its way.
    fn receive(&mut self, sequence: u64) -> usize {
        if sequence > self.floor || self.replies.get(sequence).is_none() || !self.waited.remove(&sequence) {
            return 0;
        }
        let before = self.replies.bytes();
        self.replies.remove(sequence);
        before - self.replies.bytes()
    }
}

fn end_of_silence(heard: Timestamp, ttl_ms: u32) -> Timestamp {
    Timestamp(heard.0.saturating_add(u64::from(ttl_ms) * 1000))
}

fn within(what: &str, held: usize, limit: usize) -> Result<(), CallError> {
    if held < limit { Ok(()) } else { Err(CallError::Busy { what: what.into(), limit: limit as u64 }) }
}

#[cfg(test)]
mod tests {
    use concoord_wire::Slot;
    use concoord_wire::limits::SESSION_TTL_MS;

    use super::*;

    const TTL_US: u64 = SESSION_TTL_MS as u64 * 1000;

    fn id(slot: u64) -> SessionId {
        SessionId { slot: Slot(slot), index: 0 }
    }

    fn opened(sessions: &mut Sessions, slot: u64) -> SessionId {
        sessions.open(id(slot), u128::from(slot), SESSION_TTL_MS, Timestamp(0)).unwrap()
    }

    fn call(session: SessionId, sequence: u64) -> CallId {
        CallId { session, sequence }
    }

    fn answer(bytes: usize) -> CallResult {
        Ok(Answer::Returned(vec![7; bytes]))
    }

    fn execute(sessions: &mut Sessions, call: CallId, bytes: usize) {
        assert_eq!(sessions.admit(call, 0, None, Timestamp(0)), Admission::Execute);
        sessions.record(call, None, answer(bytes));
    }

    fn sweep(sessions: &mut Sessions, now: Timestamp) {
        let mut looked_at = 0;
        while let Some(silent) = sessions.find_silent(now, &mut looked_at) {
            sessions.close(silent, &BTreeSet::new());
        }
    }

    #[test]
    fn a_call_that_waits_is_passed_by_the_floor_and_its_reply_kept_until_it_was_received() {
        let mut sessions = Sessions::default();
        let session = opened(&mut sessions, 1);
        let (waits, other) = (call(session, 1), call(session, 2));
        assert_eq!(sessions.admit(waits, 0, None, Timestamp(0)), Admission::Execute);
        sessions.park(waits, ObjectId(3));
        assert!(sessions.waits(waits));
        assert_eq!(sessions.admit(waits, 0, None, Timestamp(0)), Admission::Parked, "a retry is not executed");
        execute(&mut sessions, other, 10);
        assert_eq!(sessions.admit(call(session, 3), 2, None, Timestamp(0)), Admission::Execute);
        assert_eq!(sessions.admit(waits, 2, None, Timestamp(0)), Admission::Parked, "below the floor too");
        sessions.record(waits, Some(ObjectId(3)), answer(5));
        assert!(!sessions.waits(waits));
        assert_eq!(sessions.admit(waits, 2, None, Timestamp(0)), Admission::Replied(&answer(5), true));
        let low = CallError::Acknowledged { call: waits, floor: 2 };
        assert_eq!(sessions.admit(waits, 2, Some(1), Timestamp(0)), Admission::Refused(low));
        assert_eq!(sessions.reply_bytes, 0);
    }

    #[test]
    fn what_is_received_above_the_floor_is_kept_until_the_floor_passes_it() {
        let mut sessions = Sessions::default();
        let session = opened(&mut sessions, 1);
        let waits = call(session, 1);
        sessions.park(waits, ObjectId(3));
        sessions.record(waits, None, answer(5));
        assert_eq!(sessions.admit(waits, 0, Some(1), Timestamp(0)), Admission::Replied(&answer(5), true), "a retry");
        assert!(matches!(sessions.admit(waits, 1, Some(1), Timestamp(0)), Admission::Refused(_)));
        assert_eq!(sessions.reply_bytes, 0);
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
        assert_eq!(sessions.admit(call(session, 2), 2, None, Timestamp(0)), low(2, 2));
        assert_eq!(sessions.reply_bytes, full / 3);
        assert_eq!(
            sessions.admit(call(session, 1), 0, None, Timestamp(0)),
            low(1, 2),
            "an older floor changes nothing"
        );
        assert_eq!(sessions.admit(call(session, 3), 2, None, Timestamp(0)), Admission::Replied(&answer(10), false));
        assert_eq!(sessions.admit(call(session, 0), 2, None, Timestamp(0)), low(0, 2), "sequences start at 1");
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
        assert!(matches!(sessions.admit(next, 0, None, Timestamp(0)), Admission::Refused(CallError::Busy { .. })));
        assert_eq!(sessions.admit(call(session, 1), 0, None, Timestamp(0)), Admission::Replied(&answer(0), false));
        assert_eq!(sessions.admit(next, 1, None, Timestamp(0)), Admission::Execute);
    }

    #[test]
    fn too_many_reply_bytes_are_busy_for_their_session_only() {
        let mut sessions = Sessions::default();
        let (greedy, modest) = (opened(&mut sessions, 1), opened(&mut sessions, 2));
        execute(&mut sessions, call(greedy, 1), REPLY_BYTES_KEPT_MAX);
        assert!(matches!(
            sessions.admit(call(greedy, 2), 0, None, Timestamp(0)),
            Admission::Refused(CallError::Busy { .. })
        ));
        assert_eq!(sessions.admit(call(modest, 1), 0, None, Timestamp(0)), Admission::Execute);
        assert_eq!(sessions.admit(call(greedy, 2), 1, None, Timestamp(0)), Admission::Execute);
    }

    #[test]
    fn all_sessions_share_one_bound_on_reply_bytes() {
        let mut sessions = Sessions::default();
        let owners = (REPLY_BYTES_KEPT_TOTAL_MAX / REPLY_BYTES_KEPT_MAX) as u64;
        for slot in 1..=owners {
            let session = opened(&mut sessions, slot);
            // Counted, not held: what matters here is the sum.
            sessions.open.get_mut(&session).unwrap().replies.pretend_bytes(REPLY_BYTES_KEPT_MAX);
            sessions.reply_bytes += REPLY_BYTES_KEPT_MAX;
        }
        let late = opened(&mut sessions, owners + 1);
        assert!(matches!(
            sessions.admit(call(late, 1), 0, None, Timestamp(0)),
            Admission::Refused(CallError::Busy { .. })
        ));
        sessions.close(id(1), &BTreeSet::new());
        assert_eq!(sessions.admit(call(late, 1), 0, None, Timestamp(0)), Admission::Execute);
    }

    #[test]
    fn the_table_of_sessions_is_bounded_and_a_known_nonce_still_finds_its_session() {
        let mut sessions = Sessions::default();
        for slot in 1..=SESSIONS_MAX as u64 {
            opened(&mut sessions, slot);
        }
        let busy = sessions.open(id(u64::MAX), u128::MAX, SESSION_TTL_MS, Timestamp(0));
        assert_eq!(
            busy,
            Err(CallError::Busy { what: "the table of open sessions".into(), limit: SESSIONS_MAX as u64 })
        );
        assert_eq!(sessions.open(id(u64::MAX), 5, SESSION_TTL_MS, Timestamp(0)), Ok(id(5)));
        sessions.close(id(5), &BTreeSet::new());
        assert_eq!(sessions.open(id(u64::MAX), u128::MAX, SESSION_TTL_MS, Timestamp(0)), Ok(id(u64::MAX)));
    }

    #[test]
    fn silence_ends_a_session_at_its_time_to_live_and_not_before() {
        let mut sessions = Sessions::default();
        let (silent, heard) = (opened(&mut sessions, 1), opened(&mut sessions, 2));
        sessions.keep_alive(heard, Timestamp(5));
        sweep(&mut sessions, Timestamp(TTL_US - 1));
        assert_eq!(sessions.len(), 2);
        sweep(&mut sessions, Timestamp(TTL_US));
        assert!(!sessions.keep_alive(silent, Timestamp(TTL_US)));
        assert_eq!(sessions.len(), 1);
        sweep(&mut sessions, Timestamp(TTL_US + 4));
        assert_eq!(sessions.len(), 1);
        sweep(&mut sessions, Timestamp(TTL_US + 5));
        assert_eq!(sessions.len(), 0);
        assert!(sessions.by_due.is_empty() && sessions.by_nonce.is_empty());
    }

    #[test]
    fn a_sweep_looks_at_a_bounded_number_of_sessions() {
        let mut sessions = Sessions::default();
        for slot in 1..=SESSIONS_SWEPT_MAX as u64 + 1 {
            opened(&mut sessions, slot);
        }
        sweep(&mut sessions, Timestamp(TTL_US));
        assert_eq!(sessions.len(), 1);
        sweep(&mut sessions, Timestamp(TTL_US));
        assert_eq!(sessions.len(), 0);
    }
}
