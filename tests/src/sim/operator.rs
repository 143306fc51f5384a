//! An operator, who loads, upgrades, rolls back, removes and resumes objects one after the other, and asks again under the
//! same nonce until there is an answer.
//!
//! Nobody else does that, so the operator knows what each action must come to. An action that is executed twice, or not at
//! all although it was acknowledged, shows in the answer to a later one or in the list of objects.

use std::collections::BTreeMap;

use bytes::Bytes;
use concoord::wire::ObjectId;
use concoord::wire::abi::ObjectLimits;
use concoord::wire::client::{CallError, Consistency, Request, Response};
use concoord::wire::objects::{ObjectAction, ObjectError, ObjectList, Operated};
use concoord_consensus::application::module_hash;
use concoord_consensus::io::ClientToken;

use super::callers::Surroundings;
use super::checks::Violation;
use super::client::{BACKOFF_MAX_US, BACKOFF_MIN_US, Due};
use super::line::Line;
use super::objects::{COUNTER, COUNTER_2, FRAGILE, KV, LOCK, MODULES};
use super::random::Chance;

/// How long an operator looks at what it has done.
const THINK_MAX_US: u64 = 300_000;
/// The name of objects that come and go.
const SPARE: &str = "spare";

/// A load of a module under a name.
#[must_use]
pub fn load(name: &str, module: &str) -> ObjectAction {
    let module = Bytes::copy_from_slice(module.as_bytes());
    ObjectAction::Load { name: name.into(), module, arguments: Bytes::new(), limits: ObjectLimits::default() }
}

/// The operator.
#[derive(Debug)]
pub(super) struct Operator {
    line: Line,
    cluster: Known,
    asked: Option<Question>,
    last_request: u64,
    acts_at_us: u64,
}

/// What is asked until it is answered.
#[derive(Debug)]
struct Question {
    request: u64,
    message: Request,
    expected: Expected,
    due: Due,
}

/// What the answer must be.
#[derive(Debug)]
enum Expected {
    /// The action is done, and this is how objects are then.
    Done(Operated, Known),
    /// It is tried on a copy.
    Tried(Operated),
    /// It is refused.
    Nothing,
    /// What the operator knows.
    List,
}

/// How objects are.
#[derive(Clone, Debug)]
struct Known {
    objects: BTreeMap<ObjectId, Object>,
    last: ObjectId,
}

#[derive(Clone, Debug)]
struct Object {
    name: &'static str,
    generation: u64,
    module: &'static str,
    previous: Option<&'static str>,
}

impl Known {
    fn new() -> Known {
        let objects = (1..).map(ObjectId).zip(MODULES.map(Object::new)).collect();
        Known { objects, last: KV }
    }

    fn spare(&self) -> Option<ObjectId> {
        self.objects.iter().find(|(_, object)| object.name == SPARE).map(|(id, _)| *id)
    }

    /// Lets an object go on with another module; gives how many changes break callers.
    fn upgrade(&mut self, id: ObjectId, module: &'static str) -> Operated {
        let object = self.objects.get_mut(&id).expect("it is there");
        let fewer = object.module == COUNTER_2 && module != COUNTER_2;
        object.previous = Some(std::mem::replace(&mut object.module, module));
        object.generation += 1;
        operated(id, object.generation, usize::from(fewer))
    }
}

impl Object {
    fn new(name: &'static str) -> Object {
        Object { name, generation: 1, module: name, previous: None }
    }
}

/// What breaks is told by the production code; here only how much it is.
fn operated(object: ObjectId, generation: u64, changes: usize) -> Operated {
    Operated { object, generation, changes: vec![], more_changes: changes as u64 }
}

fn counted(operated: &Operated) -> Operated {
    let Operated { object, generation, changes, more_changes } = operated;
    super::operator::operated(*object, *generation, changes.len() + usize::try_from(*more_changes).expect("few"))
}

impl Operator {
    pub(super) fn new(client: usize) -> Operator {
        let line = Line::new(client, client);
        Operator { line, cluster: Known::new(), asked: None, last_request: 0, acts_at_us: 0 }
    }

    /// Whether it waits for an answer.
    pub(super) fn is_busy(&self) -> bool {
        self.asked.is_some()
    }

    /// When it acts next, if it does.
    pub(super) fn wakes_at_us(&self, is_done: bool) -> Option<u64> {
        match &self.asked {
            Some(question) => Some(question.due.due_us),
            None => (!is_done).then_some(self.acts_at_us),
        }
    }

    pub(super) fn wake(&mut self, more: bool, at: &mut Surroundings<'_>) {
        match &self.asked {
            Some(question) if question.due.due_us <= at.now_us => {
                at.checks.answers.operator_retries += 1;
                if self.line.is_silent_since(question.due.sent_us) {
                    self.line.reconnect(None, at);
                }
                self.send(at);
            }
            None if more && self.acts_at_us <= at.now_us => self.act(at),
            Some(_) | None => {}
        }
    }

    /// The network took its connection away.
    pub(super) fn reconnect(&mut self, at: &mut Surroundings<'_>) {
        self.line.reconnect(None, at);
        self.send(at);
    }

    fn send(&mut self, at: &mut Surroundings<'_>) {
        if let Some(question) = &mut self.asked {
            question.due = Due::sent(at);
            self.line.send(question.message.clone(), at);
        }
    }

    fn act(&mut self, at: &mut Surroundings<'_>) {
        self.last_request += 1;
        let request = self.last_request;
        let (message, expected) = match at.chance.between(0, 9) {
            0 | 1 => {
                let consistency = Consistency::Linearizable;
                (Request::Objects { request, name: None, consistency }, Expected::List)
            }
            2 => {
                let mut then = self.cluster.clone();
                let module = if at.chance.percent(50) { "counter" } else { COUNTER_2 };
                let expected = Expected::Tried(then.upgrade(COUNTER, module));
                (Request::Try { request, object: COUNTER, module: module.into(), limits: None }, expected)
            }
            _ => {
                let (action, expected) = self.next_action(at.chance);
                // Above those of the loads that the cluster begins with.
                let nonce = u128::from(at.chance.number()) << 32 | u128::from(request) << 8;
                (Request::Operate { request, nonce, action }, expected)
            }
        };
        self.asked = Some(Question { request, message, expected, due: Due::sent(at) });
        self.send(at);
    }

    fn next_action(&self, chance: &mut Chance) -> (ObjectAction, Expected) {
        let mut then = self.cluster.clone();
        let object = chance.pick(&[COUNTER, COUNTER, COUNTER, LOCK, FRAGILE, FRAGILE]).expect("some");
        let Object { generation: based_on, module, previous, .. } = self.cluster.objects[&object].clone();
        match chance.between(0, 11) {
            0..=2 => {
                let to = if object == COUNTER { COUNTER_2 } else { module };
                let done = then.upgrade(object, to);
                (upgrade(object, based_on, to, false), Expected::Done(done, then))
            }
            // It has a method less.
            3 if module == COUNTER_2 => (upgrade(object, based_on, "counter", false), Expected::Nothing),
            3 if object == COUNTER => {
                let done = then.upgrade(object, "counter");
                (upgrade(object, based_on, "counter", true), Expected::Done(done, then))
            }
            3 => (upgrade(object, based_on, "counter", false), Expected::Nothing),
            4 | 5 => match previous {
                Some(module) => {
                    let done = then.upgrade(object, module);
                    (ObjectAction::Rollback { object, based_on }, Expected::Done(done, then))
                }
                None => (ObjectAction::Rollback { object, based_on }, Expected::Nothing),
            },
            6 => (upgrade(object, based_on + 1, module, false), Expected::Nothing),
            7 => (upgrade(object, based_on, "nothing", true), Expected::Nothing),
            8 | 9 => (
                ObjectAction::Resume { object: FRAGILE },
                Expected::Done(operated(FRAGILE, then.objects[&FRAGILE].generation, 0), then),
            ),
            _ => self.load_or_remove(then, chance),
        }
    }

    /// The object that comes and goes, comes or goes.
    fn load_or_remove(&self, mut then: Known, chance: &mut Chance) -> (ObjectAction, Expected) {
        match self.cluster.spare() {
            None if chance.percent(30) && then.last > KV => {
                // It is gone already.
                (ObjectAction::Remove { object: then.last }, Expected::Nothing)
            }
            None if chance.percent(20) => (load(SPARE, "nothing"), Expected::Nothing),
            None => {
                then.last = ObjectId(then.last.0 + 1);
                then.objects.insert(then.last, Object { module: "counter", ..Object::new(SPARE) });
                (load(SPARE, "counter"), Expected::Done(operated(then.last, 1, 0), then))
            }
            Some(_) if chance.percent(30) => (load(SPARE, "counter"), Expected::Nothing),
            Some(object) => {
                let generation = then.objects[&object].generation;
                then.objects.remove(&object);
                (ObjectAction::Remove { object }, Expected::Done(operated(object, generation, 0), then))
            }
        }
    }

    /// An answer arrived.
    ///
    /// # Errors
    /// [`Violation`] when it is not what it must be.
    pub(super) fn hear(
        &mut self,
        over: ClientToken,
        response: Response,
        at: &mut Surroundings<'_>,
    ) -> Result<(), Violation> {
        self.line.heard(over, at.now_us);
        let (request, error) = match &response {
            Response::Operated { request, result } => (*request, result.as_ref().err().cloned()),
            Response::Objects { request, result } => {
                (*request, result.as_ref().err().map(|error| ObjectError::from(error.clone())))
            }
            _ => return Ok(()),
        };
        if self.asked.as_ref().is_none_or(|question| question.request != request) {
            return Ok(());
        }
        if let Some(error) = error.filter(ObjectError::is_retryable) {
            self.on_refused(over, &error, at);
            return Ok(());
        }
        let question = self.asked.take().expect("it was asked");
        self.line.served();
        self.acts_at_us = at.now_us + at.chance.between(0, THINK_MAX_US);
        let answers = &mut at.checks.answers;
        let fits = match (&question.expected, &response) {
            (Expected::Done(expected, then), Response::Operated { result: Ok(done), .. }) => {
                answers.operated += 1;
                self.cluster = then.clone();
                counted(done) == *expected
            }
            (Expected::Tried(expected), Response::Operated { result: Ok(done), .. }) => {
                answers.trials += 1;
                counted(done) == *expected
            }
            (Expected::Nothing, Response::Operated { result: Err(_), .. }) => {
                answers.not_operated += 1;
                true
            }
            (Expected::List, Response::Objects { result: Ok(list), .. }) => {
                answers.lists += 1;
                self.is_as_known(list)
            }
            _ => false,
        };
        if fits {
            return Ok(());
        }
        Err(Violation::new(format!("{question:?} was answered with {response:?}, after {:?}", self.cluster)))
    }

    fn is_as_known(&self, list: &ObjectList) -> bool {
        let hash = |module: &str| module_hash(module.as_bytes());
        list.objects.len() == self.cluster.objects.len()
            && list.objects.iter().zip(&self.cluster.objects).all(|(listed, (id, known))| {
                listed.object == *id
                    && listed.name == known.name
                    && listed.generation == known.generation
                    && listed.module == hash(known.module)
                    && listed.previous == known.previous.map(hash)
                    && (listed.suspended.is_none() || *id == FRAGILE)
            })
    }

    /// A replica refuses: elsewhere, or later.
    fn on_refused(&mut self, over: ClientToken, error: &ObjectError, at: &mut Surroundings<'_>) {
        if !self.line.is(over) {
            return;
        }
        if let ObjectError::Call(CallError::NotLeader { leader: Some(leader) }) = error
            && self.line.follows(*leader, at)
        {
            return self.send(at);
        }
        if self.line.becomes_useless()
            && let Some(question) = &mut self.asked
        {
            question.due.due_us = at.now_us + at.chance.between(BACKOFF_MIN_US, BACKOFF_MAX_US);
        }
    }
}

fn upgrade(object: ObjectId, based_on: u64, module: &'static str, allow_breaking: bool) -> ObjectAction {
    ObjectAction::Upgrade { object, based_on, module: module.into(), limits: None, allow_breaking }
}
