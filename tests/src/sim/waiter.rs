//! Clients whose calls wait: for the mutex, the semaphore, and the queue. They cancel calls, let waits end, fall silent for
//! longer than their sessions live, and go on with sessions after a crash.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use concoord::wire::abi::Answer;
use concoord::wire::client::{CallError, Request, Response};
use concoord::wire::{CallId, SessionId};
use concoord_consensus::io::ClientToken;

use super::callers::Surroundings;
use super::checks::Violation;
use super::client::{BACKOFF_MAX_US, BACKOFF_MIN_US, Due};
use super::coverage::Kind;
use super::line::Line;
use super::waits::{Asked, Got, KEYS, Recorded, Target, Wish};
use super::watcher::Watcher;

/// Calls of one client without an answer.
const WINDOW: usize = 3;
/// How long a client thinks before it does more.
const THINK_MAX_US: u64 = 60_000;
/// How long a call may wait, where it may not for ever.
const WAIT_MIN_US: u64 = 30_000;
const WAIT_MAX_US: u64 = 900_000;
/// How long sessions live.
const TTL_MAX_MS: u64 = 2_500;
const TTL_MIN_MS: u64 = 1_000;
/// From one sign of life to the next.
const SIGN_MAX_US: u64 = 400_000;
/// How long a client may stand still.
const SILENCE_MAX_US: u64 = 4_000_000;

/// One client.
#[derive(Debug)]
pub struct Waiter {
    number: usize,
    session: Session,
    /// The opening, resuming or closing of the session, while it is not answered.
    control: Option<Due>,
    /// How often it was sent.
    control_sent: usize,
    /// Calls without an answer, by sequence; of those that are parked the floor knows.
    calls: BTreeMap<u64, Call>,
    /// The number of the next call.
    next: u64,
    floor: u64,
    /// Calls that were parked and are answered, which the cluster is to be told.
    received: VecDeque<u64>,
    /// The answers of this life, for those that come again.
    answers: BTreeMap<u64, Answer>,
    /// What it holds, as it wrote down.
    held: BTreeSet<(Target, u64)>,
    /// Revisions that it has seen.
    seen: BTreeMap<u32, u64>,
    line: Line,
    watcher: Watcher,
    begins_at_us: u64,
    signs_at_us: u64,
    /// Until when it stands still.
    silent_until_us: u64,
    /// The session was there at this place of the history.
    alive: u64,
    is_ending: bool,
    is_done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    Opening { nonce: u128, ttl_ms: u32 },
    Open { secret: u128, id: SessionId },
    Resuming { secret: u128, id: SessionId, nonce: u128 },
    Closing { id: SessionId },
}

#[derive(Debug)]
struct Call {
    recorded: Recorded,
    wish: Wish,
    due: Due,
    /// Its place in the history when it was begun.
    begun: u64,
    wait_us: u64,
    is_parked: bool,
    /// When it is not wanted any more.
    cancels_at_us: u64,
    is_cancelled: bool,
}

impl Waiter {
    /// A client that begins at once.
    #[must_use]
    pub fn new(number: usize, nonce: u64) -> Waiter {
        Waiter {
            number,
            session: Session::Opening { nonce: u128::from(nonce) << 64 | number as u128, ttl_ms: 1_500 },
            control: None,
            control_sent: 0,
            calls: BTreeMap::new(),
            next: 1,
            floor: 0,
            received: VecDeque::new(),
            answers: BTreeMap::new(),
            held: BTreeSet::new(),
            seen: BTreeMap::new(),
            line: Line::new(number, 0),
            watcher: Watcher::new(number),
            begins_at_us: 0,
            signs_at_us: 0,
            silent_until_us: 0,
            alive: 0,
            is_ending: false,
            is_done: false,
        }
    }

    /// Whether everything it wanted is answered, and its session is closed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// What it waits for, for a run that got stuck.
    #[must_use]
    pub fn waits_for(&self) -> String {
        let Waiter { number, session, control, calls, held, .. } = self;
        let calls = calls.iter().map(|(sequence, call)| (sequence, call.wish, call.is_parked, call.is_cancelled));
        let calls: Vec<_> = calls.collect();
        format!(
            "waiter {number} at {} has {session:?} (asks: {}), calls {calls:?}, holds {held:?}",
            self.line.address(),
            control.is_some()
        )
    }

    /// When it acts next.
    #[must_use]
    pub fn wakes_at_us(&self) -> u64 {
        if self.is_done {
            return u64::MAX;
        }
        let is_open = matches!(self.session, Session::Open { .. });
        let of_calls = self.calls.values().flat_map(|call| [call.due.due_us, call.cancels_at_us]).filter(|_| is_open);
        let again = of_calls.chain(self.control.map(|due| due.due_us)).chain([self.watcher.due_us()]).min();
        let again = again.unwrap_or(u64::MAX);
        let next = match self.session {
            Session::Open { .. } if self.is_ending => self.signs_at_us,
            Session::Open { .. } => self.signs_at_us.min(self.begins_at_us),
            _ if self.control.is_none() => self.begins_at_us,
            _ => u64::MAX,
        };
        again.min(next).max(self.silent_until_us)
    }

    /// Its time has come.
    pub fn wake(&mut self, at: &mut Surroundings<'_>) {
        if at.now_us < self.silent_until_us || self.is_done {
            return;
        }
        if !at.more && !self.is_ending {
            self.is_ending = true;
            self.watcher.end(at);
        }
        self.send_overdue(at);
        self.watcher.wake(at);
        self.cancel_some(at);
        match self.session {
            Session::Open { id, secret } => {
                if at.now_us >= self.signs_at_us {
                    self.signs_at_us = at.now_us + at.chance.between(1, SIGN_MAX_US);
                    self.line.send(Request::KeepAlive { session: id }, at);
                }
                if self.is_ending && self.calls.is_empty() {
                    self.close(id, at);
                } else if !self.is_ending && at.now_us >= self.begins_at_us {
                    self.do_something(id, secret, at);
                }
            }
            _ if self.control.is_none() => self.send_control(at),
            _ => {}
        }
    }

    fn do_something(&mut self, id: SessionId, secret: u128, at: &mut Surroundings<'_>) {
        let think_max_us = if at.hurried { THINK_MAX_US / 8 } else { THINK_MAX_US };
        self.begins_at_us = at.now_us + at.chance.between(0, think_max_us);
        match at.chance.between(0, 199) {
            0 => self.close(id, at),
            1 | 2 => {
                at.exercised.push(Kind::SilentSession);
                self.silent_until_us = at.now_us + at.chance.between(0, SILENCE_MAX_US);
            }
            // As if it had been started again, though it was not: what it asked before is nobody's any more.
            3 => self.resume(id, secret, at),
            4 => self.watcher.reconnect(at),
            _ if self.calls.len() < WINDOW => self.begin(id, at),
            _ => {}
        }
    }

    fn begin(&mut self, session: SessionId, at: &mut Surroundings<'_>) {
        let (target, asked) = self.wish(at);
        let wish = Wish { target, session, asked };
        let recorded = at.checks.waits.invoke(self.number, wish, at.now_us);
        let begun = at.checks.waits.mark();
        let waits = wish.may_wait();
        let wait_us = if waits && at.chance.percent(40) { at.chance.between(WAIT_MIN_US, WAIT_MAX_US) } else { 0 };
        let cancels = waits && at.chance.percent(15);
        let cancels_at_us = if cancels { at.now_us + at.chance.between(0, WAIT_MAX_US) } else { u64::MAX };
        let due = Due::sent(at);
        let (sequence, is_parked, is_cancelled) = (self.next, false, false);
        self.next += 1;
        self.calls
            .insert(sequence, Call { recorded, wish, due, begun, wait_us, is_parked, cancels_at_us, is_cancelled });
        self.send_call(sequence, at);
    }

    /// Whoever holds something gives it back before long; items are put as often as they are got.
    fn wish(&mut self, at: &mut Surroundings<'_>) -> (Target, Asked) {
        if let Some((target, token)) = self.held.first().copied().filter(|_| at.chance.percent(60)) {
            if at.chance.percent(90) {
                self.held.remove(&(target, token));
            }
            return (target, Asked::Release(token));
        }
        let item = at.chance.number();
        let key = u32::try_from(at.chance.between(0, u64::from(KEYS) - 1)).expect("few keys");
        match at.chance.between(0, 19) {
            0..=4 => (Target::Mutex, Asked::Acquire),
            5 | 6 => (Target::Semaphore, Asked::Acquire),
            7 => (Target::Semaphore, Asked::TryAcquire),
            8..=10 => (Target::Queue, Asked::Put(item)),
            11..=13 => (Target::Queue, Asked::Get),
            14 => (Target::Queue, Asked::TryPut(item)),
            15 => (Target::Queue, Asked::TryGet),
            16 | 17 => (Target::Key(key), Asked::Write(item)),
            18 => (Target::Key(key), Asked::Delete),
            _ => {
                let revision = self.seen.get(&key).copied().unwrap_or(0);
                (Target::Key(key), Asked::Set { revision, value: item })
            }
        }
    }

    /// All numbers up to this one are answered, or known to be parked.
    fn floor(&self) -> u64 {
        let open = self.calls.iter().find(|(_, call)| !call.is_parked);
        open.map_or(self.next, |(sequence, _)| *sequence) - 1
    }

    fn send_call(&mut self, sequence: u64, at: &mut Surroundings<'_>) {
        let Session::Open { id, .. } = self.session else { return };
        self.floor = self.floor.max(self.floor());
        let floor = self.floor;
        let Some(call) = self.calls.get_mut(&sequence) else { return };
        call.due = Due::sent(at);
        let (method, arguments) = call.wish.encoded();
        let (object, wait_us, is_cancelled) = (call.wish.target.object(), call.wait_us, call.is_cancelled);
        let received = self.received.front().copied().filter(|sequence| *sequence <= floor);
        if received.is_some() {
            self.received.pop_front();
        }
        let call = CallId { session: id, sequence };
        self.line.send(Request::Call { call, floor, received, wait_us, object, method, arguments }, at);
        if is_cancelled {
            self.line.send(Request::Cancel { call }, at);
        }
    }

    fn cancel_some(&mut self, at: &mut Surroundings<'_>) {
        let Session::Open { id, .. } = self.session else { return };
        for (sequence, call) in &mut self.calls {
            let wants = self.is_ending && call.wish.may_wait() || at.now_us >= call.cancels_at_us;
            if wants && !call.is_cancelled {
                (call.is_cancelled, call.cancels_at_us) = (true, u64::MAX);
                at.exercised.push(Kind::Cancel);
                self.line.send(Request::Cancel { call: CallId { session: id, sequence: *sequence } }, at);
            }
        }
    }

    fn close(&mut self, id: SessionId, at: &mut Surroundings<'_>) {
        self.session = Session::Closing { id };
        self.send_control(at);
    }

    fn resume(&mut self, id: SessionId, secret: u128, at: &mut Surroundings<'_>) {
        at.exercised.push(Kind::Resume);
        let nonce = u128::from(at.chance.number()) << 64 | self.number as u128;
        self.session = Session::Resuming { secret, id, nonce };
        self.answers.clear();
        self.received.clear();
        self.send_control(at);
    }

    fn send_control(&mut self, at: &mut Surroundings<'_>) {
        self.control = Some(Due::sent(at));
        self.control_sent += 1;
        match self.session {
            Session::Opening { nonce, ttl_ms } => self.line.send(Request::OpenSession { nonce, ttl_ms }, at),
            Session::Resuming { secret, id, nonce } => {
                self.line.send(Request::ResumeSession { session: id, secret, nonce }, at);
            }
            Session::Open { .. } => self.control = None,
            Session::Closing { id } => {
                // A closing that overtakes the question takes away who is to be told: see `client.rs`.
                if (self.control_sent / at.addresses).is_multiple_of(2) {
                    self.line.send(Request::CloseSession { session: id }, at);
                }
                self.line.send(Request::KeepAlive { session: id }, at);
            }
        }
    }

    fn send_overdue(&mut self, at: &mut Surroundings<'_>) {
        let (now_us, is_open) = (at.now_us, matches!(self.session, Session::Open { .. }));
        let overdue = self.calls.iter().filter(|(_, call)| is_open && call.due.due_us <= now_us);
        let overdue: Vec<u64> = overdue.map(|(sequence, _)| *sequence).collect();
        let control_overdue = self.control.filter(|due| due.due_us <= now_us);
        let sent = overdue.iter().map(|sequence| self.calls[sequence].due.sent_us);
        let Some(oldest_us) = sent.chain(control_overdue.map(|due| due.sent_us)).min() else { return };
        if self.line.is_silent_since(oldest_us) {
            self.line.reconnect(None, at);
            return self.send_everything(at);
        }
        if control_overdue.is_some() {
            self.send_control(at);
        }
        at.checks.answers.retries += overdue.len() as u64;
        overdue.into_iter().for_each(|sequence| self.send_call(sequence, at));
    }

    fn send_everything(&mut self, at: &mut Surroundings<'_>) {
        if self.control.is_some() {
            self.send_control(at);
        }
        let open: Vec<u64> = self.calls.keys().copied().collect();
        at.checks.answers.retries += open.len() as u64;
        open.into_iter().for_each(|sequence| self.send_call(sequence, at));
    }

    /// The network took its connections away.
    pub fn lose_connections(&mut self, at: &mut Surroundings<'_>) {
        if self.is_done {
            return;
        }
        self.line.reconnect(None, at);
        self.send_everything(at);
        if !self.is_ending {
            self.watcher.reconnect(at);
        }
    }

    /// It crashes and starts again: it has written down its session and what it holds, or lost that too.
    pub fn crash(&mut self, at: &mut Surroundings<'_>) {
        if self.is_done {
            return;
        }
        self.line.reconnect(None, at);
        self.control = None;
        match self.session {
            Session::Open { id, secret } | Session::Resuming { id, secret, .. } if at.chance.percent(60) => {
                self.resume(id, secret, at);
            }
            Session::Open { id, .. } | Session::Resuming { id, .. } | Session::Closing { id } => {
                at.checks.answers.unknown += self.calls.len() as u64;
                self.calls.clear();
                // When it ends is not known, or that it does.
                at.checks.waits.invoke_since(self.number, ends(id), self.alive, at.now_us);
                self.start_again(at);
            }
            Session::Opening { .. } => self.start_again(at),
        }
    }

    /// The session is gone for good, and with it whatever was in flight and what it held.
    fn session_gone(&mut self, id: SessionId, at: &mut Surroundings<'_>) {
        let calls = std::mem::take(&mut self.calls);
        at.checks.answers.unknown += calls.len() as u64;
        calls.into_values().for_each(|call| at.checks.waits.end_unknown(call.recorded));
        let end = at.checks.waits.invoke_since(self.number, ends(id), self.alive, at.now_us);
        at.checks.waits.answer(end, Got::Whether(true));
        self.is_done = self.is_ending;
        self.start_again(at);
    }

    fn start_again(&mut self, at: &mut Surroundings<'_>) {
        self.held.clear();
        self.received.clear();
        self.answers.clear();
        (self.next, self.floor, self.control) = (1, 0, None);
        let ttl_ms = u32::try_from(at.chance.between(TTL_MIN_MS, TTL_MAX_MS)).expect("a few seconds");
        let nonce = u128::from(at.chance.number()) << 64 | self.number as u128;
        self.session = Session::Opening { nonce, ttl_ms };
        self.begins_at_us = at.now_us + at.chance.between(0, THINK_MAX_US);
    }

    /// An answer arrived.
    ///
    /// # Errors
    /// [`Violation`] when it can't be.
    pub fn hear(&mut self, over: ClientToken, response: Response, at: &mut Surroundings<'_>) -> Result<(), Violation> {
        if self.is_done {
            return Ok(());
        }
        if self.watcher.is(over) || matches!(response, Response::Watched { .. }) {
            return if self.is_ending { Ok(()) } else { self.watcher.hear(over, response, at) };
        }
        self.line.heard(over, at.now_us);
        match response {
            Response::SessionOpened { nonce, result } => match (self.session, result) {
                (Session::Opening { nonce: asked, .. }, Ok(id)) if asked == nonce => {
                    at.checks.answers.sessions += 1;
                    self.opened(nonce, id, at);
                    Ok(())
                }
                (Session::Opening { nonce: asked, .. }, Err(error)) if asked == nonce => {
                    self.on_refused(over, &error, at)
                }
                _ => Ok(()),
            },
            Response::SessionResumed { nonce, result } => self.on_resumed(over, nonce, result, at),
            Response::SessionKept { session } => {
                if matches!(self.session, Session::Open { id, .. } if id == session) {
                    self.line.served();
                }
                Ok(())
            }
            Response::SessionGone { session } => {
                self.on_gone(session, at);
                Ok(())
            }
            Response::Parked { call } => {
                self.on_parked(call, at);
                Ok(())
            }
            Response::Called { call, result, waited } => self.on_called(over, call, result, waited, at),
            other => Err(Violation::new(format!("client {} did not ask for {other:?}", self.number))),
        }
    }

    fn opened(&mut self, secret: u128, id: SessionId, at: &mut Surroundings<'_>) {
        self.session = Session::Open { secret, id };
        self.control = None;
        self.alive = at.checks.waits.mark();
        self.line.served();
        (self.begins_at_us, self.signs_at_us) = (at.now_us, at.now_us);
    }

    fn on_resumed(
        &mut self,
        over: ClientToken,
        nonce: u128,
        result: Result<u64, CallError>,
        at: &mut Surroundings<'_>,
    ) -> Result<(), Violation> {
        let Session::Resuming { secret, id, nonce: asked } = self.session else { return Ok(()) };
        match result {
            _ if asked != nonce => Ok(()),
            Ok(first) => {
                if first <= self.floor || first < self.next {
                    let what = format!("client {} goes on with call {first} behind {}", self.number, self.next - 1);
                    return Err(Violation::new(what));
                }
                // What was called before took effect by now, or never does.
                for call in std::mem::take(&mut self.calls).into_values() {
                    at.checks.answers.unknown += 1;
                    at.checks.waits.end_unknown(call.recorded);
                }
                (self.next, self.floor) = (first, first - 1);
                self.opened(secret, id, at);
                Ok(())
            }
            Err(CallError::SessionGone { session }) if session == id => {
                self.session_gone(id, at);
                Ok(())
            }
            Err(error) => self.on_refused(over, &error, at),
        }
    }

    fn on_gone(&mut self, session: SessionId, at: &mut Surroundings<'_>) {
        let (Session::Open { id, .. } | Session::Closing { id } | Session::Resuming { id, .. }) = self.session else {
            return;
        };
        if id == session {
            if !matches!(self.session, Session::Closing { .. }) {
                at.exercised.push(Kind::ExpiredSession);
            }
            self.session_gone(id, at);
        }
    }

    fn on_parked(&mut self, call: CallId, at: &mut Surroundings<'_>) {
        if !matches!(self.session, Session::Open { id, .. } if id == call.session) {
            return;
        }
        self.line.served();
        if let Some(waits) = self.calls.get_mut(&call.sequence) {
            if !waits.is_parked {
                at.exercised.push(Kind::Parked);
            }
            waits.is_parked = true;
            // A retry is for when its replica falls silent.
            waits.due = Due { sent_us: at.now_us, due_us: at.now_us + at.chance.between(200_000, 600_000) };
        }
    }

    fn on_called(
        &mut self,
        over: ClientToken,
        call: CallId,
        result: Result<Answer, CallError>,
        waited: bool,
        at: &mut Surroundings<'_>,
    ) -> Result<(), Violation> {
        let (Session::Open { id, .. } | Session::Closing { id }) = self.session else { return Ok(()) };
        if call.session != id {
            return Ok(());
        }
        if waited && !self.received.contains(&call.sequence) {
            self.received.push_back(call.sequence);
        }
        let Some(waits) = self.calls.get(&call.sequence) else {
            // Of a life before, or a late copy.
            let first = self.answers.get(&call.sequence);
            return match (first, result) {
                (Some(first), Ok(again)) if again != *first => {
                    Err(Violation::new(format!("call {call} was answered with {first:?} and then with {again:?}")))
                }
                _ => Ok(()),
            };
        };
        let (recorded, wish, begun) = (waits.recorded, waits.wish, waits.begun);
        match result {
            Ok(answer) => {
                let got = wish.got(&answer)?;
                at.checks.answers.updates += 1;
                at.checks.waits.answer(recorded, got);
                self.learn(wish, got);
                self.answers.insert(call.sequence, answer);
            }
            Err(CallError::WaitedInVain { wait_us, .. }) if wait_us == waits.wait_us && wait_us > 0 => {
                at.exercised.push(Kind::WaitedInVain);
                at.checks.waits.void(recorded);
            }
            Err(CallError::Cancelled { .. }) if waits.is_cancelled => at.checks.waits.void(recorded),
            Err(CallError::SessionGone { session }) => {
                self.on_gone(session, at);
                return Ok(());
            }
            Err(error) => return self.on_refused(over, &error, at),
        }
        self.calls.remove(&call.sequence);
        self.alive = self.alive.max(begun);
        self.line.served();
        Ok(())
    }

    fn learn(&mut self, wish: Wish, got: Got) {
        match (wish.target, got) {
            (target @ (Target::Mutex | Target::Semaphore), Got::Token(Some(token))) => {
                self.held.insert((target, token));
            }
            (Target::Key(key), Got::Revision(Some(revision)) | Got::Conflict(revision)) => {
                self.seen.insert(key, if wish.asked == Asked::Delete { 0 } else { revision });
            }
            _ => {}
        }
    }

    /// A replica refuses: elsewhere, or later.
    fn on_refused(&mut self, over: ClientToken, error: &CallError, at: &mut Surroundings<'_>) -> Result<(), Violation> {
        if !error.is_retryable() {
            return Err(Violation::new(format!("client {} was refused: {error}", self.number)));
        }
        if !self.line.is(over) {
            return Ok(());
        }
        if let CallError::NotLeader { leader: Some(leader) } = error
            && self.line.follows(*leader, at)
        {
            self.send_everything(at);
            return Ok(());
        }
        if self.line.becomes_useless() {
            let due_us = at.now_us + at.chance.between(BACKOFF_MIN_US, BACKOFF_MAX_US);
            let dues = self.calls.values_mut().map(|call| &mut call.due).chain(self.control.as_mut());
            dues.for_each(|due| due.due_us = due_us);
        }
        Ok(())
    }
}

fn ends(session: SessionId) -> Wish {
    Wish { target: Target::Mutex, session, asked: Asked::End }
}
