//! Who watches the store: what it is told must be what everybody else is told, each event once and in order.

use concoord::wire::Position;
use concoord::wire::client::{CallError, EmittedEvent, Events, Request, Response};
use concoord_consensus::io::ClientToken;

use super::callers::Surroundings;
use super::checks::Violation;
use super::client::{BACKOFF_MAX_US, BACKOFF_MIN_US, Due, PATIENCE_MAX_US};
use super::line::Line;
use super::objects::KV;

/// One watch, from the first event on.
#[derive(Debug)]
pub(super) struct Watcher {
    line: Line,
    /// Number of the request that is not answered.
    request: u64,
    after: Position,
    /// How many events it was told.
    told: usize,
    due: Due,
}

impl Watcher {
    pub(super) fn new(client: usize) -> Watcher {
        let due = Due { sent_us: 0, due_us: 0 };
        Watcher { line: Line::new(client, client), request: 0, after: Position(0), told: 0, due }
    }

    pub(super) fn due_us(&self) -> u64 {
        self.due.due_us
    }

    /// Where it watches.
    pub(super) fn is(&self, over: ClientToken) -> bool {
        self.line.is(over)
    }

    fn ask(&mut self, at: &mut Surroundings<'_>) {
        let (request, after) = (self.request, Some(self.after));
        self.due = Due { sent_us: at.now_us, due_us: at.now_us + 2 * PATIENCE_MAX_US };
        self.line.send(Request::Watch { request, object: KV, topic: None, after }, at);
    }

    /// What is not answered is asked again: by the same number where the replica is heard, which answers at once then.
    pub(super) fn wake(&mut self, at: &mut Surroundings<'_>) {
        if at.now_us < self.due.due_us {
            return;
        }
        if self.line.is_silent_since(self.due.sent_us) && at.chance.percent(70) {
            self.reconnect(at);
        } else {
            self.ask(at);
        }
    }

    /// Goes on at another replica.
    pub(super) fn reconnect(&mut self, at: &mut Surroundings<'_>) {
        self.line.reconnect(None, at);
        self.ask(at);
    }

    /// Nothing is asked any more.
    pub(super) fn end(&mut self, at: &mut Surroundings<'_>) {
        self.line.send(Request::Unwatch { request: self.request }, at);
        self.due.due_us = u64::MAX;
    }

    /// It was told something.
    ///
    /// # Errors
    /// [`Violation`] when that is not what comes next.
    pub(super) fn hear(
        &mut self,
        over: ClientToken,
        response: Response,
        at: &mut Surroundings<'_>,
    ) -> Result<(), Violation> {
        self.line.heard(over, at.now_us);
        let Response::Watched { request, result } = response else {
            return Err(Violation::new(format!("a watcher is told {response:?}")));
        };
        // Of a connection or a question before, or a second time.
        if !self.is(over) || request != self.request {
            return Ok(());
        }
        match result {
            Ok(Events { events, upto }) => {
                for event in events {
                    self.take(event, at)?;
                }
                if upto < self.after {
                    return Err(Violation::new(format!("a watcher after {} is told up to {upto}", self.after)));
                }
                self.after = upto;
                self.request += 1;
                self.ask(at);
                Ok(())
            }
            Err(error @ (CallError::NotServing { .. } | CallError::Busy { .. })) => {
                let _ = error;
                self.line.becomes_useless();
                self.due.due_us = at.now_us + at.chance.between(BACKOFF_MIN_US, BACKOFF_MAX_US);
                Ok(())
            }
            Err(error) => Err(Violation::new(format!("a watcher after {} is refused: {error}", self.after))),
        }
    }

    fn take(&mut self, event: EmittedEvent, at: &mut Surroundings<'_>) -> Result<(), Violation> {
        at.checks.answers.events += 1;
        let known = &mut at.checks.emitted;
        if self.told == known.len() {
            if known.last().is_some_and(|last| last.revision >= event.revision) {
                return Err(Violation::new(format!("an event {event:?} comes after {:?}", known.last())));
            }
            known.push(event);
        } else if known[self.told] != event {
            let what = format!("event {} is {:?} to one watcher and {event:?} to another", self.told, known[self.told]);
            return Err(Violation::new(what));
        }
        self.told += 1;
        Ok(())
    }
}
