//! The session and its calls: what makes an update run exactly once.
//!
//! An update waits unnumbered until a session is open, then gets the session's next number and keeps it over every
//! retry. **Invariants:** a number is given once; `calls` holds exactly the numbered updates that are neither answered
//! nor given up, so everything below the first of a session may be forgotten by the cluster (the floor). Those that the cluster
//! said to be parked are in `parked` instead: the floor passes them, and their answers are acknowledged one by one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use concoord_transport::SendError;
use concoord_wire::abi::Answer;
use concoord_wire::client::{CallError, Part, Request};
use concoord_wire::{CallId, ObjectId, SessionId, Slot};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::{Duration, Instant};

use crate::command::{Caller, Invocation, Kind};
use crate::error::ClientError;
use crate::limits::{BACKOFF_MAX, BACKOFF_MIN, CALLS_AHEAD_MAX, TIMEOUT_MAX};
use crate::row::Row;
use crate::session::{SessionToken, Signs};

/// Whether a request is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To be sent on the current connection.
    Ready,
    /// To be sent, but not before this.
    Later(Instant),
    /// Sent on the current connection, not answered.
    Sent,
}

/// An update that somebody waits for.
#[derive(Debug)]
struct Update {
    /// A [`Request::Call`]; its id is of no meaning until the update is numbered.
    request: Request,
    caller: Caller<Answer>,
    /// The name of its object where that was looked up before: another object may have it by now.
    known_as: Option<Option<String>>,
    way: Way,
    /// How often it was sent under its number.
    attempts: u32,
    kind: Kind,
    /// Nobody waits for it any more, and the cluster is to be told so.
    cancelled: bool,
}

#[derive(Debug)]
enum Session {
    /// None is open; the next update opens one.
    None,
    /// Being opened; the nonce is the same for every try, so the cluster opens one only.
    Opening { nonce: u128, way: Way },
    /// Being gone on with, in the same way.
    Resuming { token: SessionToken, nonce: u128, way: Way },
    /// Open; the number of its next call.
    Open { token: SessionToken, next: u64 },
}

/// What an answer says about the replica that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// It does its work.
    Fine,
    /// It does not lead.
    NotLeader(Option<std::net::SocketAddr>),
    /// It has no room at the moment; the text says where.
    Busy(String),
    /// It does not serve; the text says why.
    NotServing(String),
}

impl Hint {
    /// What a retryable error says; `None` for an error that is an answer.
    pub(crate) fn of(error: &CallError) -> Option<Hint> {
        match error {
            CallError::NotLeader { leader } => Some(Hint::NotLeader(*leader)),
            CallError::Busy { .. } => Some(Hint::Busy(error.to_string())),
            CallError::NotServing { .. } => Some(Hint::NotServing(error.to_string())),
            _ => None,
        }
    }
}

/// The session and its calls.
#[derive(Debug)]
pub(crate) struct Updates {
    session: Session,
    // Boxed, because updates are large, and moved from one to another and within each.
    waiting: VecDeque<Box<Update>>,
    calls: Row<CallId, Box<Update>>,
    parked: BTreeMap<CallId, Box<Update>>,
    /// Numbers of the session that were parked and are answered, which the cluster is to be told.
    received: VecDeque<u64>,
    /// Numbered updates to be sent, roughly in order. May name some that are gone.
    ready: VecDeque<CallId>,
    later: BTreeSet<(Instant, CallId)>,
    /// Updates whose objects are gone, to be given to whoever has the names now.
    misdirected: Vec<Invocation>,
    sent: usize,
    /// Who wants to have the session's token.
    wanted: Vec<Caller<SessionToken>>,
    signs: Signs,
    random: StdRng,
}

impl Updates {
    /// `resumed` is the session to go on with, instead of opening one.
    pub(crate) fn new(mut random: StdRng, signs: Signs, resumed: Option<SessionToken>) -> Updates {
        let session = match resumed {
            Some(token) => Session::Resuming { token, nonce: random.random(), way: Way::Ready },
            None => Session::None,
        };
        Updates {
            session,
            waiting: VecDeque::new(),
            calls: Row::default(),
            parked: BTreeMap::new(),
            received: VecDeque::new(),
            ready: VecDeque::new(),
            later: BTreeSet::new(),
            misdirected: Vec::new(),
            sent: 0,
            wanted: Vec::new(),
            signs,
            random,
        }
    }

    /// A time to wait after a full queue.
    pub(crate) fn backoff(&mut self) -> Duration {
        self.random.random_range(BACKOFF_MIN..=BACKOFF_MAX)
    }

    /// Takes an update of a known object; `fresh` says that its name was looked up for this.
    pub(crate) fn push(&mut self, object: ObjectId, fresh: bool, invocation: Invocation) {
        let Invocation { kind, object: name, method, arguments, caller } = invocation;
        let wait_us = match kind {
            Kind::Waiting(Some(wait)) => u64::try_from(wait.as_micros()).unwrap_or(u64::MAX).max(1),
            Kind::Waiting(None) | Kind::Update | Kind::Query(_) => 0,
        };
        let request = Request::Call { call: NO_CALL, floor: 0, received: None, wait_us, object, method, arguments };
        self.push_request(request, (!fresh).then_some(name), kind, caller);
    }

    /// Takes several updates as one.
    pub(crate) fn push_parts(&mut self, parts: Vec<Part>, caller: Caller<Answer>) {
        let request = Request::Atomically { call: NO_CALL, floor: 0, received: None, parts };
        self.push_request(request, None, Kind::Update, caller);
    }

    fn push_request(&mut self, request: Request, known_as: Option<Option<String>>, kind: Kind, caller: Caller<Answer>) {
        let (way, attempts, cancelled) = (Way::Ready, 0, false);
        self.waiting.push_back(Box::new(Update { request, caller, known_as, way, attempts, kind, cancelled }));
    }

    /// Updates that reached nobody, because the objects that had their names are gone. They were not executed, and under
    /// their numbers never will be.
    pub(crate) fn take_misdirected(&mut self) -> Vec<Invocation> {
        std::mem::take(&mut self.misdirected)
    }

    /// Requests sent on the current connection and not answered.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    /// Whether nobody waits for an update.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.calls.is_empty() && self.parked.is_empty() && self.wanted.is_empty()
    }

    /// The open session.
    pub(crate) fn session(&self) -> Option<SessionId> {
        match self.session {
            Session::Open { token, .. } => Some(token.session),
            Session::None | Session::Opening { .. } | Session::Resuming { .. } => None,
        }
    }

    /// The earliest time at which something of this may be sent; [`Updates::send`] does it.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        let opening = match self.session {
            Session::Opening { way: Way::Later(at), .. } | Session::Resuming { way: Way::Later(at), .. }
                if self.wants_session() =>
            {
                Some(at)
            }
            _ => None,
        };
        let keep = self.session().map(|_| self.signs.due());
        let later = self.later.first().map(|(at, _)| *at);
        [opening, keep, later].into_iter().flatten().min()
    }

    /// Whether the session needs a sign of life.
    pub(crate) fn keep_alive_is_due(&self, now: Instant) -> bool {
        self.session().is_some() && now >= self.signs.due()
    }

    /// When the session may be lost, unless the cluster says before that it has heard of it.
    pub(crate) fn doubted_at(&self) -> Option<Instant> {
        self.session().and_then(|_| self.signs.doubted_at())
    }

    /// Says that the session may be lost, if it is time.
    pub(crate) fn doubt(&mut self, now: Instant) {
        if self.doubted_at().is_some_and(|at| now >= at) {
            self.signs.on_lost();
        }
    }

    /// Gives the session's token once it is open.
    pub(crate) fn want_session(&mut self, caller: Caller<SessionToken>) {
        match self.session {
            Session::Open { token, .. } => caller.answer(Ok(token)),
            _ => self.wanted.push(caller),
        }
    }

    fn wants_session(&self) -> bool {
        !(self.waiting.is_empty() && self.wanted.is_empty())
    }

    /// The current connection is a new one or none: everything is to be sent again.
    pub(crate) fn on_connection_changed(&mut self) {
        self.later.clear();
        self.ready.clear();
        for (call, update) in self.parked.iter_mut().chain(self.calls.iter_mut()) {
            update.way = Way::Ready;
            self.ready.push_back(*call);
        }
        if let Session::Opening { way, .. } | Session::Resuming { way, .. } = &mut self.session {
            *way = Way::Ready;
        }
        self.signs.on_connection_changed();
        self.sent = 0;
    }

    /// Sends what may be sent now: gives whether anything was that will be answered.
    ///
    /// # Errors
    /// What `push` said when it takes no more; the rest stays.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        push: &mut impl FnMut(&Request) -> Result<(), SendError>,
    ) -> Result<bool, SendError> {
        if self.keep_alive_is_due(now)
            && let Some(session) = self.session()
        {
            push(&Request::KeepAlive { session })?;
            self.signs.on_sent(now);
        }
        let before = self.sent;
        self.open_session(now, push)?;
        self.number_waiting();
        while let Some(&(at, call)) = self.later.first()
            && at <= now
        {
            self.later.pop_first();
            self.ready.push_back(call);
        }
        let floor = match self.session {
            Session::Open { token, next } if !self.ready.is_empty() => {
                Some((token.session, self.floor(token.session, next)))
            }
            _ => None,
        };
        while let Some(&call) = self.ready.front() {
            // A session that is gone has no floor to move, and its calls no future but an answer that says so.
            let floor = floor.filter(|(session, _)| *session == call.session).map(|(_, floor)| floor);
            self.send_call(call, floor, push)?;
            self.ready.pop_front();
        }
        Ok(self.sent > before)
    }

    fn open_session(
        &mut self,
        now: Instant,
        push: &mut impl FnMut(&Request) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        while self.waiting.front().is_some_and(|update| update.caller.is_gone()) {
            self.waiting.pop_front();
        }
        self.wanted.retain(|caller| !caller.is_gone());
        if !self.wants_session() {
            return Ok(());
        }
        if let Session::None = self.session {
            self.session = Session::Opening { nonce: self.random.random(), way: Way::Ready };
        }
        let (request, way) = match &mut self.session {
            Session::Opening { nonce, way } => {
                let ttl_ms = u32::try_from(self.signs.ttl.as_millis()).unwrap_or(u32::MAX);
                (Request::OpenSession { nonce: *nonce, ttl_ms }, way)
            }
            Session::Resuming { token: SessionToken { session, secret }, nonce, way } => {
                (Request::ResumeSession { session: *session, secret: *secret, nonce: *nonce }, way)
            }
            Session::None | Session::Open { .. } => return Ok(()),
        };
        let due = match *way {
            Way::Ready => true,
            Way::Later(at) => at <= now,
            Way::Sent => false,
        };
        if due {
            push(&request)?;
            *way = Way::Sent;
            self.sent += 1;
            self.signs.on_sent(now);
        }
        Ok(())
    }

    /// Gives numbers to waiting updates, as far as the floor allows.
    fn number_waiting(&mut self) {
        let Session::Open { token, next } = self.session else { return };
        let id = token.session;
        let last = self.floor(id, next) + CALLS_AHEAD_MAX;
        let mut number = next;
        while number <= last
            && let Some(mut update) = self.waiting.pop_front()
        {
            if update.caller.is_gone() {
                continue;
            }
            let call = CallId { session: id, sequence: number };
            number += 1;
            if let Request::Call { call: field, .. } | Request::Atomically { call: field, .. } = &mut update.request {
                *field = call;
            }
            (update.way, update.attempts) = (Way::Ready, 0);
            self.calls.insert(call, update);
            self.ready.push_back(call);
        }
        self.session = Session::Open { token, next: number };
    }

    /// All numbers of the session up to this one are answered, given up or parked.
    fn floor(&self, session: SessionId, next: u64) -> u64 {
        let first = self.calls.first_from(CallId { session, sequence: 0 }).filter(|call| call.session == session);
        first.map_or(next, |call| call.sequence) - 1
    }

    /// `now_open` is the floor of the open session, if the call is one of it.
    fn send_call(
        &mut self,
        call: CallId,
        now_open: Option<u64>,
        push: &mut impl FnMut(&Request) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let update = self.calls.get_mut(call).or_else(|| self.parked.get_mut(&call));
        let Some(update) = update else { return Ok(()) };
        if update.way == Way::Sent {
            return Ok(());
        }
        if let (Request::Call { floor, received, .. } | Request::Atomically { floor, received, .. }, Some(now_open)) =
            (&mut update.request, now_open)
        {
            *floor = now_open;
            if received.is_none() && self.received.front().is_some_and(|sequence| *sequence <= now_open) {
                *received = self.received.pop_front();
            }
        }
        match push(&update.request) {
            Ok(()) => {}
            Err(SendError::TooLarge(error)) => {
                let (update, _) = self.remove(call).expect("it was found above");
                let (size, limit) = (error.size, error.limit);
                update.caller.answer(Err(ClientError::TooLarge { what: "a call", size, limit }));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        if update.cancelled {
            push(&Request::Cancel { call })?;
        }
        (update.way, update.attempts) = (Way::Sent, update.attempts + 1);
        self.sent += 1;
        Ok(())
    }

    pub(crate) fn on_session_opened(
        &mut self,
        now: Instant,
        nonce: u128,
        result: Result<SessionId, CallError>,
    ) -> Hint {
        match self.session {
            Session::Opening { nonce: asked, way: Way::Sent } if asked == nonce => {}
            _ => return Hint::Fine,
        }
        self.on_begun(now, result.map(|session| (SessionToken { session, secret: nonce }, 1)))
    }

    /// `result` is the number of the next call.
    pub(crate) fn on_session_resumed(&mut self, now: Instant, nonce: u128, result: Result<u64, CallError>) -> Hint {
        match self.session {
            Session::Resuming { token, nonce: asked, way: Way::Sent } if asked == nonce => {
                self.on_begun(now, result.map(|next| (token, next)))
            }
            _ => Hint::Fine,
        }
    }

    /// What came of opening a session or going on with one.
    fn on_begun(&mut self, now: Instant, result: Result<(SessionToken, u64), CallError>) -> Hint {
        self.sent -= 1;
        let error = match result {
            Ok((token, next)) => {
                tracing::debug!(session = %token.session, next, "session open");
                self.session = Session::Open { token, next };
                self.received.clear();
                self.signs.on_kept();
                self.wanted.drain(..).for_each(|caller| caller.answer(Ok(token)));
                return Hint::Fine;
            }
            Err(error) => error,
        };
        let backoff = self.backoff();
        let (Session::Opening { way, .. } | Session::Resuming { way, .. }) = &mut self.session else {
            return Hint::Fine;
        };
        match Hint::of(&error) {
            Some(hint) => {
                *way = Way::Ready;
                if !matches!(hint, Hint::NotLeader(_)) {
                    *way = Way::Later(now + backoff);
                }
                hint
            }
            None => {
                self.session = Session::None;
                self.wanted.drain(..).for_each(|caller| caller.answer(Err(ClientError::Call(error.clone()))));
                for update in std::mem::take(&mut self.waiting) {
                    update.caller.answer(Err(ClientError::Call(error.clone())));
                }
                Hint::Fine
            }
        }
    }

    /// The session is gone; its calls that are under way get their own answers.
    pub(crate) fn on_session_gone(&mut self, session: SessionId) {
        if self.session() == Some(session) {
            tracing::debug!(%session, "the session is gone, the next update opens another");
            self.session = Session::None;
            self.signs.on_lost();
        }
    }

    /// The cluster has heard of the session.
    pub(crate) fn on_session_kept(&mut self, session: SessionId) {
        if self.session() == Some(session) {
            self.signs.on_kept();
        }
    }

    /// A call waits for another one.
    pub(crate) fn on_parked(&mut self, now: Instant, call: CallId) {
        if let Some(mut update) = self.calls.remove(call) {
            if let Kind::Waiting(wait) = update.kind {
                let wait = wait.map_or(TIMEOUT_MAX, |wait| wait.saturating_add(update.caller.after));
                update.caller.deadline = now + wait.min(TIMEOUT_MAX);
            }
            self.parked.insert(call, update);
        }
    }

    /// Tells the cluster of the calls that nobody waits for any more.
    pub(crate) fn cancel_dropped(&mut self) {
        for (call, update) in self.parked.iter_mut().chain(self.calls.iter_mut()) {
            if matches!(update.kind, Kind::Waiting(_)) && !update.cancelled && update.caller.is_gone() {
                update.cancelled = true;
                self.sent -= usize::from(update.way == Way::Sent);
                update.way = Way::Ready;
                self.ready.push_back(*call);
            }
        }
    }

    /// The calls that wait in the cluster, or may: nobody is left to take their answers.
    pub(crate) fn waiting(&self) -> Vec<CallId> {
        let all = self.parked.iter().chain(self.calls.iter());
        let waiting = all.filter(|(_, update)| matches!(update.kind, Kind::Waiting(_)) && update.attempts > 0);
        waiting.map(|(call, _)| *call).collect()
    }

    /// Whether it was parked comes with it.
    fn remove(&mut self, call: CallId) -> Option<(Box<Update>, bool)> {
        let update = self.calls.remove(call).map(|update| (update, false));
        update.or_else(|| self.parked.remove(&call).map(|update| (update, true)))
    }

    /// `waited` says that it was parked.
    pub(crate) fn on_called(
        &mut self,
        now: Instant,
        call: CallId,
        result: Result<Answer, CallError>,
        waited: bool,
    ) -> Hint {
        if waited && self.session() == Some(call.session) && !self.received.contains(&call.sequence) {
            self.received.push_back(call.sequence);
        }
        let Some(hint) = result.as_ref().err().and_then(Hint::of) else {
            if let Some((update, was_parked)) = self.remove(call) {
                self.sent -= usize::from(update.way == Way::Sent);
                self.finish(call, update, result, was_parked);
            }
            return Hint::Fine;
        };
        let Some(update) = self.calls.get_mut(call).or_else(|| self.parked.get_mut(&call)) else { return Hint::Fine };
        self.sent -= usize::from(update.way == Way::Sent);
        match hint {
            // Whoever leads gets it, under its number.
            Hint::NotLeader(_) => {
                update.way = Way::Ready;
                self.ready.push_back(call);
            }
            _ => {
                let at = now + self.random.random_range(BACKOFF_MIN..=BACKOFF_MAX);
                update.way = Way::Later(at);
                self.later.insert((at, call));
            }
        }
        hint
    }

    fn finish(&mut self, call: CallId, mut update: Box<Update>, result: Result<Answer, CallError>, was_parked: bool) {
        let error = match result {
            Ok(answer) => return update.caller.answer(Ok(answer)),
            Err(error) => error,
        };
        if let (CallError::UnknownObject { .. }, Some(name)) = (&error, update.known_as.take()) {
            self.misdirected.extend(Invocation::again(update.kind, update.request, name, update.caller));
            return;
        }
        let session = match &error {
            CallError::SessionGone { session } => *session,
            // Its numbers are used up, since another client goes on with the session: all that is sent from here is refused.
            CallError::Acknowledged { .. } => call.session,
            _ => return update.caller.answer(Err(ClientError::Call(error))),
        };
        self.on_session_gone(session);
        if was_parked || update.cancelled {
            return update.caller.answer(Err(ClientError::Call(error)));
        }
        if update.attempts > 1 {
            return update.caller.answer(Err(ClientError::Unknown { call }));
        }
        // It was sent once, and this is what came of it: nothing. So it may run in the next session.
        update.way = Way::Ready;
        self.waiting.push_back(update);
    }

    /// Gives up what nobody may wait for any longer.
    pub(crate) fn expire(&mut self, now: Instant, error: &dyn Fn(Duration, Option<CallId>) -> ClientError) {
        let (late, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<VecDeque<_>, _>(|update| now >= update.caller.deadline);
        self.waiting = waiting;
        for update in late {
            let error = error(update.caller.after, None);
            update.caller.answer(Err(error));
        }
        for caller in self.wanted.extract_if(.., |caller| now >= caller.deadline) {
            let error = error(caller.after, None);
            caller.answer(Err(error));
        }
        let calls = self.calls.take_if(|update| now >= update.caller.deadline);
        let parked = self.parked.extract_if(.., |_, update| now >= update.caller.deadline);
        for (call, update) in calls.into_iter().chain(parked) {
            self.sent -= usize::from(update.way == Way::Sent);
            if let Request::Call { received: Some(sequence), .. }
            | Request::Atomically { received: Some(sequence), .. } = update.request
            {
                self.received.push_back(sequence);
            }
            let sent = (update.attempts > 0).then_some(call);
            let error = error(update.caller.after, sent);
            update.caller.answer(Err(error));
        }
        self.later.retain(|(_, call)| self.calls.contains_key(*call) || self.parked.contains_key(call));
    }

    /// The earliest deadline.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting
            .iter()
            .chain(self.calls.iter().map(|(_, update)| update))
            .chain(self.parked.values())
            .map(|update| update.caller.deadline)
            .chain(self.wanted.iter().map(|caller| caller.deadline))
            .min()
    }
}

/// Stands in a request until it has its number.
const NO_CALL: CallId = CallId { session: SessionId { slot: Slot::ZERO, index: 0 }, sequence: 0 };

#[cfg(test)]
mod tests;
