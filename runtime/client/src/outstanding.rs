//! Everything that callers wait for. No IO: requests go out through a closure, responses come in as arguments.

use std::collections::BTreeMap;

use concoord_transport::SendError;
use concoord_wire::abi::Answer;
use concoord_wire::client::{CallError, Consistency, Description, Events, Part, Request, Response};
use concoord_wire::member::Roster;
use concoord_wire::{CallId, ObjectId, Position, SessionId};
use rand::rngs::StdRng;
use tokio::time::{Duration, Instant};

use crate::asks::{Asks, Purpose};
use crate::command::{Caller, Invocation, Kind};
use crate::error::ClientError;
use crate::session::{SessionToken, Signs};
use crate::updates::{Hint, Updates};

/// What is known of a name.
#[derive(Debug)]
enum Named {
    Known(ObjectId),
    /// Asked for; these wait.
    Asked(Vec<Invocation>),
}

/// What a response was.
#[derive(Debug)]
pub(crate) struct Heard {
    /// What it says about the replica.
    pub(crate) hint: Hint,
    /// It brought the members.
    pub(crate) roster: Option<Roster>,
    /// It was more than a sign of life.
    pub(crate) answer: bool,
}

impl Heard {
    fn answer(hint: Hint) -> Heard {
        Heard { hint, roster: None, answer: true }
    }
}

/// Everything that callers wait for.
#[derive(Debug)]
pub(crate) struct Outstanding {
    names: BTreeMap<Option<String>, Named>,
    updates: Updates,
    asks: Asks,
    /// At or before the earliest deadline of all; `None` while nobody waits.
    earliest: Option<Instant>,
}

impl Outstanding {
    pub(crate) fn new(random: StdRng, signs: Signs, resumed: Option<SessionToken>) -> Outstanding {
        Outstanding {
            names: BTreeMap::new(),
            updates: Updates::new(random, signs, resumed),
            asks: Asks::default(),
            earliest: None,
        }
    }

    pub(crate) fn invoke(&mut self, invocation: Invocation) {
        self.expect_by(invocation.caller.deadline);
        match self.names.get_mut(&invocation.object) {
            Some(Named::Known(object)) => {
                let object = *object;
                self.invoke_known(object, false, invocation);
            }
            Some(Named::Asked(waiting)) => waiting.push(invocation),
            None => {
                let name = invocation.object.clone();
                let consistency = match invocation.kind {
                    Kind::Update | Kind::Waiting(_) => Consistency::Linearizable,
                    Kind::Query(consistency) => consistency,
                };
                self.names.insert(name.clone(), Named::Asked(vec![invocation]));
                let asked = name.clone();
                let describe = |request| Request::Describe { request, name: asked, consistency };
                self.asks.push(Purpose::Name(name), describe);
            }
        }
    }

    /// `fresh` says that the name was looked up for this.
    fn invoke_known(&mut self, object: ObjectId, fresh: bool, invocation: Invocation) {
        match invocation.kind {
            Kind::Update | Kind::Waiting(_) => self.updates.push(object, fresh, invocation),
            Kind::Query(consistency) => {
                let Invocation { object: name, method, arguments, caller, .. } = invocation;
                let known_as = (!fresh).then_some(name);
                self.asks.push(Purpose::Query { caller, known_as }, |request| Request::Query {
                    request,
                    object,
                    method,
                    arguments,
                    consistency,
                });
            }
        }
    }

    pub(crate) fn describe(&mut self, name: Option<String>, consistency: Consistency, caller: Caller<Description>) {
        self.expect_by(caller.deadline);
        let asked = name.clone();
        let describe = |request| Request::Describe { request, name: asked, consistency };
        self.asks.push(Purpose::Describe { name, caller }, describe);
    }

    pub(crate) fn view(&mut self, caller: Caller<Roster>) {
        self.expect_by(caller.deadline);
        self.asks.push(Purpose::View(caller), |request| Request::View { request });
    }

    /// Several calls as one.
    pub(crate) fn atomically(&mut self, parts: Vec<Part>, caller: Caller<Answer>) {
        self.expect_by(caller.deadline);
        self.updates.push_parts(parts, caller);
    }

    pub(crate) fn watch(
        &mut self,
        object: ObjectId,
        topic: Option<String>,
        after: Option<Position>,
        caller: Caller<Events>,
    ) {
        self.expect_by(caller.deadline);
        self.asks.push(Purpose::Watch(caller), |request| Request::Watch { request, object, topic, after });
    }

    pub(crate) fn want_session(&mut self, caller: Caller<SessionToken>) {
        self.expect_by(caller.deadline);
        self.updates.want_session(caller);
    }

    /// Says that the session may be lost, if it is time.
    pub(crate) fn doubt(&mut self, now: Instant) {
        self.updates.doubt(now);
    }

    /// Tells the cluster of the calls that nobody waits for any more. Gives what is to be sent of watches.
    pub(crate) fn cancel_dropped(&mut self) -> Vec<Request> {
        self.updates.cancel_dropped();
        self.asks.take_dropped()
    }

    /// What is still to be said when the client leaves: its session ends, or else what waits by it.
    pub(crate) fn farewell(&self, closes_session: bool) -> Vec<Request> {
        match self.session() {
            Some(session) if closes_session => vec![Request::CloseSession { session }],
            _ => self.updates.waiting().into_iter().map(|call| Request::Cancel { call }).collect(),
        }
    }

    /// Asks the connected replica who leads, unless it is asked already.
    pub(crate) fn poll(&mut self) {
        if !self.asks.polls() {
            self.asks.push(Purpose::Poll, |request| Request::View { request });
        }
    }

    /// A question whose answer nobody waits for.
    pub(crate) fn ping(&mut self) -> Request {
        Request::Ping { request: self.asks.number() }
    }

    fn expect_by(&mut self, deadline: Instant) {
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
    }

    /// Answers that are due from the connected replica.
    pub(crate) fn owed(&self) -> usize {
        self.updates.sent() + self.asks.sent()
    }

    /// Whether nobody waits for anything.
    pub(crate) fn is_idle(&self) -> bool {
        self.updates.is_empty() && self.asks.is_empty()
    }

    /// Whether there is something that only a leader does.
    pub(crate) fn wants_leader(&self) -> bool {
        // Whoever does not hear a leader has nothing new to tell watchers.
        !self.updates.is_empty() || self.updates.session().is_some() || self.asks.watches()
    }

    /// Whether somebody waits for an update, or for events.
    pub(crate) fn waits_for_updates(&self) -> bool {
        !self.updates.is_empty() || self.asks.watches()
    }

    /// The open session.
    pub(crate) fn session(&self) -> Option<SessionId> {
        self.updates.session()
    }

    /// The earliest time at which [`Outstanding::send`] or [`Outstanding::expire`] has something to do; what only a
    /// leader takes counts where `leads`.
    pub(crate) fn wakes_at(&self, leads: bool) -> Option<Instant> {
        let updates = self.updates.wakes_at().filter(|_| leads);
        [self.earliest, self.asks.wakes_at(), self.updates.doubted_at(), updates].into_iter().flatten().min()
    }

    /// The current connection is a new one or none: everything is to be sent again.
    pub(crate) fn on_connection_changed(&mut self) {
        self.updates.on_connection_changed();
        self.asks.on_connection_changed();
    }

    /// Sends what may be sent now, updates only where the replica `leads`: gives whether anything was that will be
    /// answered.
    ///
    /// # Errors
    /// What `push` said when it takes no more; the rest stays.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        leads: bool,
        push: &mut impl FnMut(&Request) -> Result<(), SendError>,
    ) -> Result<bool, SendError> {
        if leads && self.updates.keep_alive_is_due(now) {
            // Who does not lead does not answer a sign of life; the view tells who does.
            self.poll();
        }
        let asked = self.asks.send(now, push)?;
        let called = leads && self.updates.send(now, push)?;
        Ok(asked || called)
    }

    pub(crate) fn on_response(&mut self, now: Instant, response: Response) -> Heard {
        match response {
            // Administration goes over connections of its own.
            Response::Pong { .. }
            | Response::Sessions { .. }
            | Response::Administered { .. }
            | Response::Staged { .. }
            | Response::Operated { .. }
            | Response::Objects { .. }
            | Response::Backup { .. } => Heard { answer: false, ..Heard::answer(Hint::Fine) },
            Response::SessionOpened { nonce, result } => {
                Heard::answer(self.updates.on_session_opened(now, nonce, result))
            }
            Response::SessionResumed { nonce, result } => {
                Heard::answer(self.updates.on_session_resumed(now, nonce, result))
            }
            Response::SessionKept { session } => {
                self.updates.on_session_kept(session);
                Heard::answer(Hint::Fine)
            }
            Response::Watched { request, result } => {
                let backoff = self.updates.backoff();
                match self.asks.take(now, request, result, backoff) {
                    Err(hint) => Heard::answer(hint),
                    Ok((_, purpose, result)) => {
                        if let Purpose::Watch(caller) = purpose {
                            caller.answer(result.map_err(ClientError::Call));
                        }
                        Heard::answer(Hint::Fine)
                    }
                }
            }
            Response::SessionGone { session } => {
                self.updates.on_session_gone(session);
                Heard::answer(Hint::Fine)
            }
            Response::Parked { call } => {
                self.updates.on_parked(now, call);
                Heard::answer(Hint::Fine)
            }
            Response::Called { call, result, waited } => {
                self.forget_unknown(&result);
                let hint = self.updates.on_called(now, call, result, waited);
                for invocation in self.updates.take_misdirected() {
                    self.invoke(invocation);
                }
                Heard::answer(hint)
            }
            Response::Queried { request, result } => {
                let backoff = self.updates.backoff();
                match self.asks.take(now, request, result, backoff) {
                    Err(hint) => Heard::answer(hint),
                    Ok((request, purpose, result)) => {
                        self.forget_unknown(&result);
                        if let Purpose::Query { caller, known_as } = purpose {
                            self.on_queried(request, caller, known_as, result);
                        }
                        Heard::answer(Hint::Fine)
                    }
                }
            }
            Response::Described { request, result } => {
                let backoff = self.updates.backoff();
                match self.asks.take(now, request, result, backoff) {
                    Err(hint) => Heard::answer(hint),
                    Ok((_, purpose, result)) => {
                        self.on_described(purpose, result);
                        Heard::answer(Hint::Fine)
                    }
                }
            }
            Response::View { request, roster } => self.on_view(now, request, roster),
        }
    }

    /// Names that lead to an object which is gone lead elsewhere now; which they are is not worth knowing.
    fn forget_unknown(&mut self, result: &Result<Answer, CallError>) {
        if let Err(CallError::UnknownObject { .. }) = result {
            self.names.retain(|_, named| !matches!(named, Named::Known(_)));
        }
    }

    fn on_queried(
        &mut self,
        request: Request,
        caller: Caller<Answer>,
        known_as: Option<Option<String>>,
        result: Result<Answer, CallError>,
    ) {
        match (&result, known_as) {
            (Err(CallError::UnknownObject { .. }), Some(name)) => {
                let kind = match request {
                    Request::Query { consistency, .. } => Kind::Query(consistency),
                    _ => Kind::Update,
                };
                Invocation::again(kind, request, name, caller)
                    .into_iter()
                    .for_each(|invocation| self.invoke(invocation));
            }
            _ => caller.answer(result.map_err(ClientError::Call)),
        }
    }

    fn on_described(&mut self, purpose: Purpose, result: Result<Description, CallError>) {
        match purpose {
            Purpose::Describe { name, caller } => {
                if let (Ok(description), Some(Named::Known(_)) | None) = (&result, self.names.get(&name)) {
                    self.names.insert(name, Named::Known(description.object));
                }
                caller.answer(result.map_err(ClientError::Call));
            }
            Purpose::Name(name) => {
                let Some(Named::Asked(waiting)) = self.names.remove(&name) else { return };
                match result {
                    Ok(description) => {
                        self.names.insert(name, Named::Known(description.object));
                        waiting
                            .into_iter()
                            .for_each(|invocation| self.invoke_known(description.object, true, invocation));
                    }
                    Err(error) => {
                        for invocation in waiting {
                            invocation.caller.answer(Err(ClientError::Call(error.clone())));
                        }
                    }
                }
            }
            Purpose::Query { .. } | Purpose::View(_) | Purpose::Watch(_) | Purpose::Poll => {}
        }
    }

    fn on_view(&mut self, now: Instant, request: u64, roster: Roster) -> Heard {
        let mut answer = false;
        if let Ok((_, Purpose::View(caller), _)) = self.asks.take(now, request, Ok(()), Duration::ZERO) {
            answer = true;
            caller.answer(Ok(roster.clone()));
        }
        Heard { hint: Hint::Fine, roster: Some(roster), answer }
    }

    /// Gives up what nobody may wait for any longer, each with the error that `error` makes of the time waited and,
    /// for an update that was sent, of its id.
    pub(crate) fn expire(&mut self, now: Instant, error: &dyn Fn(Duration, Option<CallId>) -> ClientError) {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        self.updates.expire(now, error);
        self.asks.expire(now, &|after| error(after, None));
        let mut unwanted = Vec::new();
        let mut earliest = [self.updates.deadline(), self.asks.deadline()].into_iter().flatten().min();
        for (name, named) in &mut self.names {
            let Named::Asked(waiting) = named else { continue };
            for late in waiting.extract_if(.., |invocation| now >= invocation.caller.deadline) {
                let error = error(late.caller.after, None);
                late.caller.answer(Err(error));
            }
            let deadlines = waiting.iter().map(|invocation| invocation.caller.deadline);
            earliest = earliest.into_iter().chain(deadlines).min();
            if waiting.is_empty() {
                unwanted.push(name.clone());
            }
        }
        for name in unwanted {
            self.names.remove(&name);
            self.asks.forget_name(&name);
        }
        self.earliest = earliest;
    }

    /// Gives everything up with the same error.
    pub(crate) fn fail_all(&mut self, now: Instant, error: &dyn Fn(Duration, Option<CallId>) -> ClientError) {
        let far = now + Duration::from_secs(100 * 365 * 24 * 3600);
        self.earliest = self.earliest.map(|_| now);
        self.expire(far, error);
    }
}
