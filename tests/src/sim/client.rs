//! Clients: each does one thing after another, retries it with the same id until answered, and notes what it saw.

use bytes::Bytes;
use concoord::wire::abi::Answer;
use concoord::wire::client::{CallError, Consistency, Request, Response};
use concoord::wire::{CallId, ObjectId, SessionId, codec};

use super::checks::{Checks, Violation};
use super::random::Chance;

/// The counter is the first object that is loaded.
const COUNTER: ObjectId = ObjectId(1);
/// After how long an unanswered request is sent elsewhere.
const PATIENCE_MIN_US: u64 = 120_000;
const PATIENCE_MAX_US: u64 = 400_000;
/// How long a client thinks before its next call.
const THINK_MAX_US: u64 = 40_000;
/// Of 100 things a client does, how many are queries.
const QUERY_PERCENT: u64 = 30;

/// One client.
#[derive(Debug)]
pub struct Client {
    /// Its number.
    pub number: usize,
    /// The address it talks to, by number.
    pub target: usize,
    nonce: u128,
    session: Option<SessionId>,
    doing: Option<Doing>,
    sequence: u64,
    /// The reply to each call so far.
    replies: Vec<i64>,
    request: u64,
    calls_left: u64,
    /// When it acts next.
    pub wakes_at_us: u64,
}

#[derive(Clone, Copy, Debug)]
enum Doing {
    Opening,
    Calling { seen: i64 },
    Querying { request: u64, seen: i64 },
}

impl Client {
    /// A client that makes `calls` calls.
    pub fn new(number: usize, calls: u64, chance: &mut Chance) -> Client {
        Client {
            number,
            target: 0,
            nonce: u128::from(chance.number()) << 64 | number as u128,
            session: None,
            doing: None,
            sequence: 0,
            replies: Vec::new(),
            request: 0,
            calls_left: calls,
            wakes_at_us: 0,
        }
    }

    /// Whether everything it wanted is answered.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.calls_left == 0 && self.doing.is_none()
    }

    /// Its time has come: the next thing, or the unanswered one again, elsewhere.
    pub fn wake(&mut self, now_us: u64, addresses: usize, checks: &mut Checks, chance: &mut Chance) -> Option<Request> {
        if self.is_done() {
            self.wakes_at_us = u64::MAX;
            return None;
        }
        match self.doing {
            Some(_) => self.target = (self.target + 1) % addresses,
            None => self.begin(checks, chance),
        }
        self.request(now_us, chance)
    }

    fn begin(&mut self, checks: &mut Checks, chance: &mut Chance) {
        let seen = checks.highest_seen();
        self.doing = Some(if self.session.is_none() {
            Doing::Opening
        } else if chance.percent(QUERY_PERCENT) {
            self.request += 1;
            Doing::Querying { request: self.request, seen }
        } else {
            self.sequence += 1;
            self.calls_left -= 1;
            checks.issued += 1;
            Doing::Calling { seen }
        });
    }

    /// What it does, as a request; the same for every retry.
    fn request(&mut self, now_us: u64, chance: &mut Chance) -> Option<Request> {
        self.wakes_at_us = now_us + chance.between(PATIENCE_MIN_US, PATIENCE_MAX_US);
        Some(match self.doing? {
            Doing::Opening => Request::OpenSession { nonce: self.nonce },
            Doing::Calling { .. } => Request::Call {
                call: CallId { session: self.session?, sequence: self.sequence },
                floor: self.replies.len() as u64,
                object: COUNTER,
                method: "increment".into(),
                arguments: Bytes::new(),
            },
            Doing::Querying { request, .. } => Request::Query {
                request,
                object: COUNTER,
                method: "getvalue".into(),
                arguments: Bytes::new(),
                consistency: Consistency::Linearizable,
            },
        })
    }

    /// An answer arrived; perhaps it asks for the request to be sent again, at once or later.
    ///
    /// # Errors
    /// [`Violation`] when the answer can't be.
    pub fn hear(
        &mut self,
        response: Response,
        now_us: u64,
        checks: &mut Checks,
        chance: &mut Chance,
    ) -> Result<Option<Request>, Violation> {
        match (response, self.doing) {
            (Response::SessionOpened { nonce, result }, Some(Doing::Opening)) if nonce == self.nonce => match result {
                Ok(session) => {
                    self.session = Some(session);
                    self.finish(now_us, chance);
                }
                Err(error) => return self.redirected(&error, now_us, chance),
            },
            (Response::Called { call, result }, doing) => {
                return self.called(call, result, doing, now_us, checks, chance);
            }
            (Response::Queried { request: answered, result }, Some(Doing::Querying { request, seen }))
                if answered == request =>
            {
                match result {
                    Ok(answer) => {
                        checks.queried(value(answer)?, seen)?;
                        self.finish(now_us, chance);
                    }
                    Err(error) => return self.redirected(&error, now_us, chance),
                }
            }
            _ => {}
        }
        Ok(None)
    }

    fn called(
        &mut self,
        call: CallId,
        result: Result<Answer, CallError>,
        doing: Option<Doing>,
        now_us: u64,
        checks: &mut Checks,
        chance: &mut Chance,
    ) -> Result<Option<Request>, Violation> {
        let answered = usize::try_from(call.sequence).expect("few calls");
        if let Some(first) = self.replies.get(answered - 1) {
            // A late copy of an earlier reply, or of the refusal that came before it.
            return match result {
                Ok(again) if value(again.clone())? != *first => {
                    Err(Violation::new(format!("call {call} was answered with {first} and then with {again:?}")))
                }
                _ => Ok(None),
            };
        }
        let Some(Doing::Calling { seen }) = doing else { return Ok(None) };
        match result {
            Ok(answer) => {
                let value = value(answer)?;
                checks.called(call, value, seen)?;
                self.replies.push(value);
                self.finish(now_us, chance);
                Ok(None)
            }
            Err(error) => self.redirected(&error, now_us, chance),
        }
    }

    fn finish(&mut self, now_us: u64, chance: &mut Chance) {
        self.doing = None;
        self.wakes_at_us = now_us + chance.between(0, THINK_MAX_US);
    }

    fn redirected(
        &mut self,
        error: &CallError,
        now_us: u64,
        chance: &mut Chance,
    ) -> Result<Option<Request>, Violation> {
        match error {
            CallError::NotLeader { leader: Some(leader) } => {
                self.target = usize::from(leader.port() - super::world::PORT_FIRST);
                Ok(self.request(now_us, chance))
            }
            error if error.is_retryable() => {
                self.wakes_at_us = now_us + chance.between(10_000, 50_000);
                Ok(None)
            }
            error => Err(Violation::new(format!("client {} was refused: {error}", self.number))),
        }
    }
}

fn value(answer: Answer) -> Result<i64, Violation> {
    match answer {
        Answer::Returned(bytes) => codec::from_bytes(&bytes).map_err(|error| Violation::new(error.to_string())),
        other => Err(Violation::new(format!("the counter answered {other:?}"))),
    }
}
