//! Queries, descriptions and views: harmless to repeat, and any replica answers them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use concoord_transport::SendError;
use concoord_wire::abi::Answer;
use concoord_wire::client::{CallError, Description, Events, Request};
use concoord_wire::member::Roster;
use tokio::time::{Duration, Instant};

use crate::command::Caller;
use crate::error::ClientError;
use crate::limits::WATCHED_AGAIN_AFTER;
use crate::updates::{Hint, Way};

/// What an answer is for.
#[derive(Debug)]
pub(crate) enum Purpose {
    Query {
        caller: Caller<Answer>,
        /// The name of its object where that was looked up before: another object may have it by now.
        known_as: Option<Option<String>>,
    },
    Describe {
        name: Option<String>,
        caller: Caller<Description>,
    },
    View(Caller<Roster>),
    /// What an object emits: may take long to be answered.
    Watch(Caller<Events>),
    /// The id of an object for which invocations wait.
    Name(Option<String>),
    /// Who leads?
    Poll,
}

impl Purpose {
    /// When somebody gives up waiting, and after how long; `None` for the client's own questions.
    fn deadline(&self) -> Option<(Instant, Duration)> {
        match self {
            Purpose::Query { caller, .. } => Some((caller.deadline, caller.after)),
            Purpose::Describe { caller, .. } => Some((caller.deadline, caller.after)),
            Purpose::View(caller) => Some((caller.deadline, caller.after)),
            Purpose::Watch(caller) => Some((caller.deadline, caller.after)),
            Purpose::Name(_) | Purpose::Poll => None,
        }
    }

    fn fail(self, error: ClientError) {
        match self {
            Purpose::Query { caller, .. } => caller.answer(Err(error)),
            Purpose::Describe { caller, .. } => caller.answer(Err(error)),
            Purpose::View(caller) => caller.answer(Err(error)),
            Purpose::Watch(caller) => caller.answer(Err(error)),
            Purpose::Name(_) | Purpose::Poll => {}
        }
    }
}

#[derive(Debug)]
struct Ask {
    request: Request,
    purpose: Purpose,
    way: Way,
}

/// Questions that are not answered yet, by number.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    last: u64,
    asks: BTreeMap<u64, Ask>,
    ready: VecDeque<u64>,
    later: BTreeSet<(Instant, u64)>,
    sent: usize,
}

impl Asks {
    /// Puts a question; `request` makes it with its number.
    pub(crate) fn push(&mut self, purpose: Purpose, request: impl FnOnce(u64) -> Request) {
        self.last += 1;
        self.asks.insert(self.last, Ask { request: request(self.last), purpose, way: Way::Ready });
        self.ready.push_back(self.last);
    }

    /// A number for a question that is not kept, as a ping is.
    pub(crate) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.asks.is_empty()
    }

    /// Whether somebody watches an object.
    pub(crate) fn watches(&self) -> bool {
        self.asks.values().any(|ask| matches!(ask.purpose, Purpose::Watch(_)))
    }

    /// Has whoever watches told how far its replica is, if it hears nothing else: the same question again is answered at once.
    fn ask_watched(&mut self, now: Instant) {
        for (number, ask) in &mut self.asks {
            if let Purpose::Watch(caller) = &mut ask.purpose
                && now >= caller.deadline
                && !caller.is_gone()
            {
                caller.deadline = now + WATCHED_AGAIN_AFTER;
                if ask.way == Way::Sent {
                    (ask.way, self.sent) = (Way::Ready, self.sent - 1);
                    self.ready.push_back(*number);
                }
            }
        }
    }

    /// Forgets the watches that nobody waits for any more, and gives what is to be sent of that.
    pub(crate) fn take_dropped(&mut self) -> Vec<Request> {
        let dropped =
            self.asks.extract_if(.., |_, ask| matches!(&ask.purpose, Purpose::Watch(caller) if caller.is_gone()));
        let mut requests = Vec::new();
        for (request, ask) in dropped {
            if ask.way == Way::Sent {
                self.sent -= 1;
                requests.push(Request::Unwatch { request });
            }
        }
        requests
    }

    /// Whether the question who leads is under way.
    pub(crate) fn polls(&self) -> bool {
        self.asks.values().any(|ask| matches!(ask.purpose, Purpose::Poll))
    }

    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// The current connection is a new one or none: everything is to be sent again, but a poll was for the old one.
    pub(crate) fn on_connection_changed(&mut self) {
        self.asks.retain(|_, ask| !matches!(ask.purpose, Purpose::Poll));
        self.later.clear();
        self.ready = self.asks.keys().copied().collect();
        self.asks.values_mut().for_each(|ask| ask.way = Way::Ready);
        self.sent = 0;
    }

    /// Sends what may be sent now: gives whether anything was.
    ///
    /// # Errors
    /// What `push` said when it takes no more; the rest stays.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        push: &mut impl FnMut(&Request) -> Result<(), SendError>,
    ) -> Result<bool, SendError> {
        let before = self.sent;
        while let Some(&(at, number)) = self.later.first()
            && at <= now
        {
            self.later.pop_first();
            self.ready.push_back(number);
        }
        while let Some(&number) = self.ready.front() {
            if let Some(ask) = self.asks.get_mut(&number)
                && ask.way != Way::Sent
            {
                match push(&ask.request) {
                    Ok(()) => (ask.way, self.sent) = (Way::Sent, self.sent + 1),
                    Err(SendError::TooLarge(error)) => {
                        let (size, limit) = (error.size, error.limit);
                        self.fail(number, ClientError::TooLarge { what: "a request", size, limit });
                    }
                    Err(error) => return Err(error),
                }
            }
            self.ready.pop_front();
        }
        Ok(self.sent > before)
    }

    fn fail(&mut self, number: u64, error: ClientError) {
        if let Some(ask) = self.asks.remove(&number) {
            ask.purpose.fail(error);
        }
    }

    /// Question `number` and who asked it, now that `result` is there: `Err` with the hint when it is to be asked again, or
    /// was answered before.
    pub(crate) fn take<T>(
        &mut self,
        now: Instant,
        number: u64,
        result: Result<T, CallError>,
        backoff: Duration,
    ) -> Result<(Request, Purpose, Result<T, CallError>), Hint> {
        let ask = self.asks.get_mut(&number).ok_or(Hint::Fine)?;
        if ask.way == Way::Sent {
            self.sent -= 1;
        }
        if let Some(hint) = result.as_ref().err().and_then(Hint::of) {
            ask.way = Way::Later(now + backoff);
            self.later.insert((now + backoff, number));
            return Err(hint);
        }
        let ask = self.asks.remove(&number).ok_or(Hint::Fine)?;
        Ok((ask.request, ask.purpose, result))
    }

    /// Forgets the question for an object's id, since nobody waits for it any more.
    pub(crate) fn forget_name(&mut self, name: &Option<String>) {
        let sent = &mut self.sent;
        self.asks.retain(|_, ask| {
            let forget = matches!(&ask.purpose, Purpose::Name(asked) if asked == name);
            *sent -= usize::from(forget && ask.way == Way::Sent);
            !forget
        });
    }

    /// Gives up what nobody may wait for any longer.
    pub(crate) fn expire(&mut self, now: Instant, error: &dyn Fn(Duration) -> ClientError) {
        self.ask_watched(now);
        let late = |ask: &Ask| ask.purpose.deadline().filter(|(deadline, _)| now >= *deadline);
        for (_, ask) in self.asks.extract_if(.., |_, ask| late(ask).is_some()) {
            self.sent -= usize::from(ask.way == Way::Sent);
            let after = ask.purpose.deadline().map_or(Duration::ZERO, |(_, after)| after);
            ask.purpose.fail(error(after));
        }
        self.later.retain(|(_, number)| self.asks.contains_key(number));
    }

    /// The earliest deadline.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.asks.values().filter_map(|ask| ask.purpose.deadline()).map(|(deadline, _)| deadline).min()
    }
}
