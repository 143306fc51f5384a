//! What a client asks any replica: queries, descriptions, views.

use std::collections::BTreeMap;

use concoord::wire::client::{CallError, Consistency, Request, Response};
use concoord::wire::member::Roster;
use concoord_consensus::io::ClientToken;

use super::callers::Surroundings;
use super::checks::Violation;
use super::client::{BACKOFF_MAX_US, BACKOFF_MIN_US, Due};
use super::history::Recorded;
use super::line::Line;
use super::lives::CLUSTER;
use super::objects::MODULES;
use super::operation::Operation;
use super::wishes::Wishes;

/// How long a clock may take for a while, and that while.
const SLOWEST_CLOCK: (u64, u64) = (10, 9);

/// Questions without an answer, and the connection for them.
#[derive(Debug)]
pub(super) struct Questions {
    client: usize,
    line: Line,
    open: BTreeMap<u64, Question>,
    last: u64,
}

#[derive(Debug)]
struct Question {
    what: What,
    due: Due,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// In the history.
    Query(Operation, Consistency, Recorded),
    Stale(Operation),
    /// The object of this place among all; asked for by name, or as the first.
    Describe {
        object: usize,
        named: bool,
        consistency: Consistency,
    },
    View,
}

impl Questions {
    pub(super) fn new(client: usize) -> Questions {
        Questions { client, line: Line::new(client, client), open: BTreeMap::new(), last: 0 }
    }

    /// How many are not answered.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// When the first is to be sent again.
    pub(super) fn due_us(&self) -> Option<u64> {
        self.open.values().map(|question| question.due.due_us).min()
    }

    pub(super) fn ask_query(&mut self, operation: Operation, consistency: Consistency, at: &mut Surroundings<'_>) {
        let history = &mut at.checks.history;
        let what = match consistency {
            Consistency::Stale => What::Stale(operation),
            Consistency::Linearizable => {
                What::Query(operation, consistency, history.invoke(self.client, operation, at.now_us))
            }
            // It sees what a linearizable one would have seen that was asked so long ago.
            Consistency::Bounded { staleness_us } => {
                let before_us = staleness_us * SLOWEST_CLOCK.0 / SLOWEST_CLOCK.1;
                let since_us = at.now_us.saturating_sub(before_us);
                What::Query(operation, consistency, history.invoke_at(self.client, operation, since_us))
            }
        };
        self.ask(what, at);
    }

    pub(super) fn ask_description(&mut self, consistency: Consistency, at: &mut Surroundings<'_>) {
        let last = MODULES.len() as u64 - 1;
        let object = usize::try_from(at.chance.between(0, last)).expect("few objects");
        let named = object > 0 || at.chance.percent(50);
        self.ask(What::Describe { object, named, consistency }, at);
    }

    pub(super) fn ask_view(&mut self, at: &mut Surroundings<'_>) {
        self.ask(What::View, at);
    }

    /// Now and then, another replica is asked.
    fn ask(&mut self, what: What, at: &mut Surroundings<'_>) {
        if at.chance.percent(15) {
            self.reconnect(at);
        }
        self.last += 1;
        let due = Due::sent(at);
        self.open.insert(self.last, Question { what, due });
        self.send(self.last, at);
    }

    fn send(&mut self, request: u64, at: &mut Surroundings<'_>) {
        let Some(question) = self.open.get_mut(&request) else { return };
        question.due = Due::sent(at);
        let query = |operation: Operation, consistency| {
            let (method, arguments) = operation.encoded();
            Request::Query { request, object: operation.object(), method, arguments, consistency }
        };
        let request = match question.what {
            What::Query(operation, consistency, _) => query(operation, consistency),
            What::Stale(operation) => query(operation, Consistency::Stale),
            What::Describe { object, named, consistency } => {
                let name = named.then(|| MODULES[object].into());
                Request::Describe { request, name, consistency }
            }
            What::View => Request::View { request },
        };
        self.line.send(request, at);
    }

    pub(super) fn send_overdue(&mut self, at: &mut Surroundings<'_>) {
        let now_us = at.now_us;
        let overdue = self.open.iter().filter(|(_, question)| question.due.due_us <= now_us);
        let overdue: Vec<(u64, u64)> = overdue.map(|(request, question)| (*request, question.due.sent_us)).collect();
        let Some(oldest_us) = overdue.iter().map(|(_, sent_us)| *sent_us).min() else { return };
        if self.line.is_silent_since(oldest_us) {
            return self.reconnect(at);
        }
        for (request, _) in overdue {
            self.send(request, at);
        }
    }

    /// The same questions, to the replica at the next address.
    pub(super) fn reconnect(&mut self, at: &mut Surroundings<'_>) {
        self.line.reconnect(None, at);
        let open: Vec<u64> = self.open.keys().copied().collect();
        for request in open {
            self.send(request, at);
        }
    }

    /// Nobody wants to know any more.
    pub(super) fn forget(&mut self, at: &mut Surroundings<'_>) {
        self.open.clear();
        self.line.reconnect(None, at);
    }

    /// An answer arrived.
    ///
    /// # Errors
    /// [`Violation`] when it can't be.
    pub(super) fn hear(
        &mut self,
        over: ClientToken,
        response: Response,
        wishes: &mut Wishes,
        at: &mut Surroundings<'_>,
    ) -> Result<(), Violation> {
        self.line.heard(over, at.now_us);
        match response {
            Response::Queried { request, result } => {
                let Some(what) = self.open.get(&request).map(|question| question.what) else { return Ok(()) };
                let (What::Query(operation, ..) | What::Stale(operation)) = what else {
                    return Err(Violation::new(format!("question {request} was answered as a query")));
                };
                let answer = match result {
                    Ok(answer) => answer,
                    Err(error) => return self.on_refused(over, request, &error, at),
                };
                let outcome = operation.outcome(&answer)?;
                wishes.learn(operation, outcome);
                match what {
                    What::Query(_, consistency, recorded) => {
                        match consistency {
                            Consistency::Bounded { .. } => at.checks.answers.bounded_queries += 1,
                            _ => at.checks.answers.queries += 1,
                        }
                        at.checks.history.answer(recorded, outcome, at.now_us);
                    }
                    _ => at.checks.queried_stale(operation, outcome)?,
                }
                self.served(request);
            }
            Response::Described { request, result } => {
                let Some(Question { what: What::Describe { object, .. }, .. }) = self.open.get(&request) else {
                    return Ok(());
                };
                match result {
                    Ok(described) => {
                        let name = MODULES[*object];
                        if described.name != name || described.object.0 as usize != object + 1 {
                            return Err(Violation::new(format!("{name} was described as {described:?}")));
                        }
                        at.checks.answers.descriptions += 1;
                        self.served(request);
                    }
                    Err(error) => return self.on_refused(over, request, &error, at),
                }
            }
            Response::View { request, roster } if self.open.contains_key(&request) => {
                at.checks.answers.views += 1;
                check_roster(&roster, at.checks.slots())?;
                self.served(request);
            }
            _ => {}
        }
        Ok(())
    }

    fn served(&mut self, request: u64) {
        self.open.remove(&request);
        self.line.served();
    }

    fn on_refused(
        &mut self,
        over: ClientToken,
        request: u64,
        error: &CallError,
        at: &mut Surroundings<'_>,
    ) -> Result<(), Violation> {
        let Some(question) = self.open.get(&request) else { return Ok(()) };
        let stale = matches!(question.what, What::Stale(_) | What::Describe { consistency: Consistency::Stale, .. });
        // A replica that has not applied the loads yet does not know the object.
        let lags = stale && matches!(error, CallError::UnknownObject { .. });
        if !error.is_retryable() && !lags {
            return Err(Violation::new(format!("{:?} was refused: {error}", question.what)));
        }
        if self.line.is(over) && self.line.becomes_useless() {
            let due_us = at.now_us + at.chance.between(BACKOFF_MIN_US, BACKOFF_MAX_US);
            self.open.values_mut().for_each(|question| question.due.due_us = due_us);
        }
        Ok(())
    }
}

fn check_roster(roster: &Roster, slots: u64) -> Result<(), Violation> {
    let is_member = |id| roster.members.iter().any(|member| member.id == id);
    let leads = roster.leader.is_none_or(is_member);
    if roster.cluster != CLUSTER || !leads || roster.decided.0 > slots {
        return Err(Violation::new(format!("after {slots} slots, this is no view: {roster:?}")));
    }
    Ok(())
}
