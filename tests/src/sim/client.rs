//! Clients: each keeps a session, has several calls in flight, and sends everything again under the same ids until it
//! is answered. The floor of a session is what lies below all calls without an answer.

use std::collections::BTreeMap;

use concoord::wire::abi::Answer;
use concoord::wire::client::{CallError, Request, Response};
use concoord::wire::limits::SESSION_TTL_MS;
use concoord::wire::{CallId, SessionId};
use concoord_consensus::io::ClientToken;

use super::callers::Surroundings;
use super::checks::Violation;
use super::coverage::Kind;
use super::history::Recorded;
use super::line::Line;
use super::operation::{Operation, Outcome, SUSPENDED};
use super::operator::Operator;
use super::questions::Questions;
use super::wishes::{Wish, Wishes};

/// Updates of one client in flight, and questions.
const WINDOW: usize = 8;
/// After how long an unanswered request is sent again.
pub(super) const PATIENCE_MIN_US: u64 = 120_000;
pub(super) const PATIENCE_MAX_US: u64 = 400_000;
/// How long a client waits where nobody leads or serves.
pub(super) const BACKOFF_MIN_US: u64 = 20_000;
pub(super) const BACKOFF_MAX_US: u64 = 80_000;
/// How long a client thinks before it does more.
const THINK_MAX_US: u64 = 90_000;
const THINK_HURRIED_MAX_US: u64 = 8_000;

/// One client.
#[derive(Debug)]
pub struct Client {
    number: usize,
    session: Session,
    /// The opening or closing of the session, while it is not answered.
    control: Option<Due>,
    /// How often either was sent.
    control_sent: usize,
    /// Updates without an answer, by sequence.
    calls: BTreeMap<u64, Call>,
    /// The answer to each update of the session, by sequence from 1.
    answers: Vec<Option<Answer>>,
    floor: u64,
    /// To the leader, as far as it is known.
    line: Line,
    /// Queries and questions, on a connection of their own to any replica.
    questions: Questions,
    /// What it does as an operator, if it is one: that outlives its crashes.
    operator: Option<Operator>,
    wishes: Wishes,
    begins_at_us: u64,
    is_done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    Opening { nonce: u128 },
    Open { nonce: u128, id: SessionId },
    Closing { id: SessionId },
}

/// When something was sent, and when it is sent again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) sent_us: u64,
    pub(super) due_us: u64,
}

impl Due {
    /// Sent now.
    pub(super) fn sent(at: &mut Surroundings<'_>) -> Due {
        let patience_us = at.chance.between(PATIENCE_MIN_US, PATIENCE_MAX_US);
        Due { sent_us: at.now_us, due_us: at.now_us + patience_us }
    }
}

#[derive(Debug)]
struct Call {
    recorded: Recorded,
    operation: Operation,
    due: Due,
}

impl Client {
    /// A client that begins at `begins_at_us`.
    #[must_use]
    pub fn new(number: usize, nonce: u64, begins_at_us: u64) -> Client {
        Client {
            number,
            session: Session::Opening { nonce: nonce_of(nonce, number) },
            control: None,
            control_sent: 0,
            calls: BTreeMap::new(),
            answers: Vec::new(),
            floor: 0,
            line: Line::new(number, 0),
            questions: Questions::new(number),
            operator: (number == 0).then(|| Operator::new(number)),
            wishes: Wishes::new(number),
            begins_at_us,
            is_done: false,
        }
    }

    /// Whether everything it wanted is answered.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let operates = self.operator.as_ref().is_some_and(Operator::is_busy);
        self.is_done && self.calls.is_empty() && self.control.is_none() && self.questions.len() == 0 && !operates
    }

    /// What it waits for, for a run that got stuck.
    #[must_use]
    pub fn waits_for(&self) -> String {
        let Client { number, session, control, calls, .. } = self;
        let operations = calls.iter().map(|(sequence, call)| (sequence, call.operation)).collect::<Vec<_>>();
        format!(
            "client {number} at {} has {session:?} (asks: {}), calls {operations:?}, {:?} and {:?}",
            self.line.address(),
            control.is_some(),
            self.questions,
            self.operator
        )
    }

    /// When it acts next.
    #[must_use]
    pub fn wakes_at_us(&self) -> u64 {
        let again = self.calls.values().map(|call| call.due.due_us).chain(self.control.map(|due| due.due_us));
        let operator = self.operator.as_ref().and_then(|operator| operator.wakes_at_us(self.is_done));
        let again = again.chain(self.questions.due_us()).chain(operator).min().unwrap_or(u64::MAX);
        let may_begin = !self.is_done && self.may_begin();
        let opens = self.control.is_none() && !matches!(self.session, Session::Open { .. });
        if may_begin || opens { again.min(self.begins_at_us) } else { again }
    }

    fn may_begin(&self) -> bool {
        let has_room = self.calls.len() < WINDOW && self.questions.len() < WINDOW;
        has_room && matches!(self.session, Session::Open { .. })
    }

    /// Its time has come: what is unanswered is sent again, and more is begun.
    pub fn wake(&mut self, at: &mut Surroundings<'_>) {
        self.send_overdue(at);
        self.questions.send_overdue(at);
        if !at.more {
            self.is_done = true;
        }
        if let Some(operator) = &mut self.operator {
            operator.wake(!self.is_done, at);
        }
        if at.now_us < self.begins_at_us {
            return;
        }
        match self.session {
            Session::Open { .. } if !self.is_done => self.begin_some(at),
            Session::Opening { .. } | Session::Closing { .. } if self.control.is_none() => self.send_control(at),
            _ => {}
        }
    }

    fn begin_some(&mut self, at: &mut Surroundings<'_>) {
        let more = if at.chance.percent(25) { at.chance.between(1, 5) } else { 0 };
        for _ in 0..=more {
            if !self.may_begin() {
                break;
            }
            self.begin(at);
        }
        let think_max_us = if at.hurried { THINK_HURRIED_MAX_US } else { THINK_MAX_US };
        self.begins_at_us = at.now_us + at.chance.between(0, think_max_us);
    }

    fn begin(&mut self, at: &mut Surroundings<'_>) {
        let Session::Open { id, nonce } = self.session else { return };
        match self.wishes.next(at.chance) {
            Wish::Update(operation) => {
                let recorded = at.checks.history.invoke(self.number, operation, at.now_us);
                self.answers.push(None);
                let due = Due::sent(at);
                let sequence = self.answers.len() as u64;
                self.calls.insert(sequence, Call { recorded, operation, due });
                self.send_call(sequence, at);
            }
            Wish::Query(operation, consistency) => self.questions.ask_query(operation, consistency, at),
            Wish::Describe(consistency) => self.questions.ask_description(consistency, at),
            Wish::View => self.questions.ask_view(at),
            Wish::KeepAlive => {
                at.checks.answers.keep_alives += 1;
                self.line.send(Request::KeepAlive { session: id }, at);
            }
            Wish::OpenAgain => self.line.send(Request::OpenSession { nonce, ttl_ms: SESSION_TTL_MS }, at),
            Wish::CloseSession => {
                if !self.calls.is_empty() {
                    at.exercised.push(Kind::ClosedSession);
                }
                self.session = Session::Closing { id };
                self.send_control(at);
            }
        }
    }

    /// Opens the session, or closes it and asks whether it is gone.
    fn send_control(&mut self, at: &mut Surroundings<'_>) {
        self.control = Some(Due::sent(at));
        self.control_sent += 1;
        match self.session {
            Session::Opening { nonce } => self.line.send(Request::OpenSession { nonce, ttl_ms: SESSION_TTL_MS }, at),
            Session::Open { .. } => self.control = None,
            Session::Closing { id } => {
                // A closing that overtakes the question takes away who is to be told, so each replica hears the question
                // alone every other time.
                if (self.control_sent / at.addresses).is_multiple_of(2) {
                    self.line.send(Request::CloseSession { session: id }, at);
                }
                self.line.send(Request::KeepAlive { session: id }, at);
            }
        }
    }

    fn send_call(&mut self, sequence: u64, at: &mut Surroundings<'_>) {
        let (Session::Open { id, .. } | Session::Closing { id }) = self.session else { return };
        let Some(call) = self.calls.get_mut(&sequence) else { return };
        call.due = Due::sent(at);
        let (method, arguments) = call.operation.encoded();
        let object = call.operation.object();
        let call = CallId { session: id, sequence };
        self.line
            .send(Request::Call { call, floor: self.floor, received: None, wait_us: 0, object, method, arguments }, at);
    }

    fn send_overdue(&mut self, at: &mut Surroundings<'_>) {
        let now_us = at.now_us;
        let overdue: Vec<u64> =
            self.calls.iter().filter(|(_, call)| call.due.due_us <= now_us).map(|(sequence, _)| *sequence).collect();
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
        for sequence in overdue {
            self.send_call(sequence, at);
        }
    }

    /// On a new connection everything without an answer is sent again, under the same ids.
    fn send_everything(&mut self, at: &mut Surroundings<'_>) {
        if self.control.is_some() {
            self.send_control(at);
        }
        let open: Vec<u64> = self.calls.keys().copied().collect();
        at.checks.answers.retries += open.len() as u64;
        for sequence in open {
            self.send_call(sequence, at);
        }
    }

    /// The network took its connections away.
    pub fn lose_connections(&mut self, at: &mut Surroundings<'_>) {
        self.line.reconnect(None, at);
        self.send_everything(at);
        self.questions.reconnect(at);
        self.operator.iter_mut().for_each(|operator| operator.reconnect(at));
    }

    /// It crashes and starts again: what was in flight is nobody's any more.
    pub fn crash(&mut self, at: &mut Surroundings<'_>) {
        at.checks.answers.unknown += self.calls.len() as u64;
        self.calls.clear();
        self.questions.forget(at);
        self.line.reconnect(None, at);
        self.wishes = Wishes::new(self.number);
        self.start_again(at);
    }

    /// The session is gone for good, and with it whatever was in flight: what was not executed by now never will be.
    fn session_gone(&mut self, at: &mut Surroundings<'_>) {
        let calls = std::mem::take(&mut self.calls);
        at.checks.answers.unknown += calls.len() as u64;
        at.checks.history.end_unknown(calls.into_values().map(|call| call.recorded), at.now_us);
        self.start_again(at);
    }

    fn start_again(&mut self, at: &mut Surroundings<'_>) {
        self.answers.clear();
        self.floor = 0;
        self.control = None;
        self.session = Session::Opening { nonce: nonce_of(at.chance.number(), self.number) };
        self.begins_at_us = at.now_us + at.chance.between(0, THINK_HURRIED_MAX_US);
    }

    /// An answer arrived.
    ///
    /// # Errors
    /// [`Violation`] when it can't be.
    pub fn hear(&mut self, over: ClientToken, response: Response, at: &mut Surroundings<'_>) -> Result<(), Violation> {
        self.line.heard(over, at.now_us);
        match response {
            Response::SessionOpened { nonce, result } => self.on_opened(over, nonce, result, at),
            Response::SessionGone { session } => self.on_gone(session, at),
            Response::Called { call, result, .. } => self.on_called(over, call, result, at),
            Response::Operated { .. } | Response::Objects { .. } => match &mut self.operator {
                Some(operator) => operator.hear(over, response, at),
                None => Err(Violation::new(format!("client {} is no operator: {response:?}", self.number))),
            },
            other => self.questions.hear(over, other, &mut self.wishes, at),
        }
    }

    fn on_opened(
        &mut self,
        over: ClientToken,
        nonce: u128,
        result: Result<SessionId, CallError>,
        at: &mut Surroundings<'_>,
    ) -> Result<(), Violation> {
        match (self.session, result) {
            (Session::Opening { nonce: asked }, Ok(id)) if asked == nonce => {
                at.checks.answers.sessions += 1;
                self.session = Session::Open { nonce, id };
                self.control = None;
                self.line.served();
                self.begins_at_us = at.now_us;
            }
            (Session::Opening { nonce: asked }, Err(error)) if asked == nonce => {
                return self.on_refused(over, &error, at);
            }
            (Session::Open { nonce: asked, id }, Ok(found)) if asked == nonce => {
                at.checks.answers.sessions_found += 1;
                if found != id {
                    return Err(Violation::new(format!("one nonce opened the sessions {id} and {found}")));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn on_gone(&mut self, session: SessionId, at: &mut Surroundings<'_>) -> Result<(), Violation> {
        match self.session {
            Session::Closing { id } if id == session => self.session_gone(at),
            Session::Open { id, .. } if id == session => {
                return Err(Violation::new(format!("session {session} of client {} is gone", self.number)));
            }
            _ => {}
        }
        Ok(())
    }

    fn on_called(
        &mut self,
        over: ClientToken,
        call: CallId,
        result: Result<Answer, CallError>,
        at: &mut Surroundings<'_>,
    ) -> Result<(), Violation> {
        let (Session::Open { id, .. } | Session::Closing { id }) = self.session else { return Ok(()) };
        let index = usize::try_from(call.sequence).expect("few calls") - 1;
        if call.session != id {
            return Ok(());
        }
        if let Some(first) = &self.answers[index] {
            // A late copy of the answer, or of a refusal that came before or after it.
            return match result {
                Ok(again) if again != *first => {
                    Err(Violation::new(format!("call {call} was answered with {first:?} and then with {again:?}")))
                }
                _ => Ok(()),
            };
        }
        match result {
            Ok(answer) => self.on_answer(call.sequence, answer, at),
            Err(CallError::SessionGone { session }) => self.on_gone(session, at),
            Err(CallError::Suspended { .. }) if self.calls[&call.sequence].operation == Operation::Touch => {
                at.checks.answers.suspended += 1;
                self.on_answer(call.sequence, SUSPENDED, at)
            }
            Err(error) => self.on_refused(over, &error, at),
        }
    }

    fn on_answer(&mut self, sequence: u64, answer: Answer, at: &mut Surroundings<'_>) -> Result<(), Violation> {
        let call = self.calls.remove(&sequence).expect("a call without an answer is in flight");
        let outcome: Outcome = call.operation.outcome(&answer)?;
        at.checks.answers.updates += 1;
        at.checks.history.answer(call.recorded, outcome, at.now_us);
        self.wishes.learn(call.operation, outcome);
        self.line.served();
        let index = usize::try_from(sequence).expect("few calls") - 1;
        self.answers[index] = Some(answer);
        let answered = |floor: u64| self.answers.get(usize::try_from(floor).ok()?)?.as_ref();
        let mut floor = self.floor;
        while answered(floor).is_some() {
            floor += 1;
        }
        self.floor = floor;
        Ok(())
    }

    /// A replica refuses: elsewhere, or later. What an earlier connection says does not matter any more.
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
        self.back_off(at);
        Ok(())
    }

    /// Nobody serves there: everything is sent again before long, elsewhere.
    fn back_off(&mut self, at: &mut Surroundings<'_>) {
        if self.line.becomes_useless() {
            let due_us = at.now_us + at.chance.between(BACKOFF_MIN_US, BACKOFF_MAX_US);
            let dues = self.calls.values_mut().map(|call| &mut call.due).chain(self.control.as_mut());
            dues.for_each(|due| due.due_us = due_us);
        }
    }
}

/// Drawn at random, and never by two clients.
fn nonce_of(drawn: u64, number: usize) -> u128 {
    u128::from(drawn) << 64 | number as u128
}
