//! Runs an object natively with callers that wait, for its tests.

use std::collections::{BTreeMap, BTreeSet};

use concoord_wire::abi::{Answer, Event, Invocation, Outcome, Reply, Trigger};
use concoord_wire::codec::{from_bytes, to_bytes};
use concoord_wire::limits::ANSWERED_MAX;
use concoord_wire::{CallId, Position, SessionId, Slot, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Object;

/// Microseconds of the cluster's time after which a timer runs at the earliest.
const TIMER_AFTER_US_MIN: u64 = 1000;

/// An object, the calls that wait for it, and its time and timers. Sessions are known by numbers.
///
/// After every input the object moves by its exported state, as in an upgrade. An answer to a call that does not wait is a panic.
///
/// ```
/// use concoord::prelude::*;
/// use concoord::testing::Table;
///
/// /// A door at which callers wait.
/// #[concoord::object]
/// #[derive(Default, Serialize, Deserialize)]
/// pub struct Door {
///     waiting: WaitQueue<String>,
/// }
///
/// #[concoord::methods]
/// impl Door {
///     /// Waits until the next one is let in, and gives the word that was said.
///     pub fn knock(&mut self, waiter: Waiter<String>) {
///         self.waiting.push(waiter);
///     }
///
///     /// Lets in who has waited longest.
///     pub fn open(&mut self, cx: &mut Context, word: String) -> bool {
///         self.waiting.pop().map(|waiter| waiter.answer(cx, &word)).is_some()
///     }
/// }
///
/// let mut table = Table::new(Door::default());
/// let first = table.call(1, "knock", &());
/// assert!(first.waits() && table.call(2, "knock", &()).waits() && table.call(3, "knock", &()).waits());
/// table.cancel(first.call());
/// table.close(2);
/// let opened = table.call(4, "open", &"welcome");
/// assert_eq!(opened.woken::<String>(), [(3, "welcome".into())]);
/// assert!(opened.returned::<bool>());
/// assert!(table.object.waiting.is_empty());
/// ```
#[derive(Debug)]
pub struct Table<T> {
    /// The object, for its queries.
    pub object: T,
    position: u64,
    now: Timestamp,
    parked: BTreeSet<CallId>,
    timers: BTreeMap<u64, Timestamp>,
}

/// What an input came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The call that it was, if any.
    pub call: Option<CallId>,
    /// What the call came to.
    pub reply: Reply,
    /// Calls that waited and do no more, with their answers.
    pub answered: Vec<(CallId, Answer)>,
    /// What was emitted.
    pub events: Vec<Event>,
}

impl<T: Object> Table<T> {
    /// This object, which nobody has called.
    pub fn new(object: T) -> Table<T> {
        Table { object, position: 0, now: Timestamp(0), parked: BTreeSet::new(), timers: BTreeMap::new() }
    }

    /// Calls a method. `arguments` is `&()` for none, one value, or a tuple of several. They are of the method's types, so numbers
    /// say theirs: `&7_u64`.
    ///
    /// # Panics
    /// When the object answers somebody who does not wait, or can't read what it exports.
    pub fn call(&mut self, session: u64, method: &str, arguments: &(impl Serialize + ?Sized)) -> Step {
        let call = CallId { session: id(session), sequence: self.position + 1 };
        self.input(Some(call), Some(call.session), Trigger::Call { method }, &to_bytes(arguments))
    }

    /// A session ends, and with it what it waits for.
    ///
    /// # Panics
    /// As for [`Table::call`].
    pub fn close(&mut self, session: u64) -> Step {
        let session = id(session);
        self.parked.retain(|call| call.session != session);
        self.input(None, Some(session), Trigger::SessionClosed { session }, &[])
    }

    /// The wait of a call ends without an answer: its time is over, or its caller does not want it any more.
    ///
    /// # Panics
    /// When the call does not wait, and as for [`Table::call`].
    pub fn cancel(&mut self, call: CallId) -> Step {
        assert!(self.parked.remove(&call), "call {call} does not wait");
        self.input(None, Some(call.session), Trigger::Cancelled { call }, &[])
    }

    /// Lets time pass, and runs the timers that are due meanwhile, each when it is.
    ///
    /// # Panics
    /// As for [`Table::call`].
    pub fn advance(&mut self, us: u64) -> Step {
        let until = Timestamp(self.now.0 + us);
        let mut all = Step::default();
        while let Some((due, token)) = self.timers.iter().map(|(token, due)| (*due, *token)).min()
            && due <= until
        {
            self.timers.remove(&token);
            self.now = due;
            let step = self.input(None, None, Trigger::Timer { token }, &[]);
            all.answered.extend(step.answered);
            all.events.extend(step.events);
        }
        self.now = until;
        all
    }

    /// The cluster's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The calls that wait, by session and then by age.
    pub fn parked(&self) -> impl Iterator<Item = CallId> {
        self.parked.iter().copied()
    }

    fn input(
        &mut self,
        call: Option<CallId>,
        caller: Option<SessionId>,
        trigger: Trigger<'_>,
        arguments: &[u8],
    ) -> Step {
        self.position += 1;
        let invocation =
            Invocation { position: Position(self.position), now: self.now, seed: self.position, call, caller, trigger };
        let Outcome { reply, answered, events, timers, .. } = self.object.dispatch(&invocation, arguments);
        assert!(answered.len() <= ANSWERED_MAX, "{} calls answered at once", answered.len());
        for (call, _) in &answered {
            assert!(self.parked.remove(call), "call {call} was answered and does not wait");
        }
        // Each of these takes a position too.
        self.position += (answered.len() + events.len()) as u64;
        self.parked.extend(call.filter(|_| reply == Reply::Parked));
        let earliest = Timestamp(self.now.0 + TIMER_AFTER_US_MIN);
        self.timers.extend(timers.iter().map(|timer| (timer.token, timer.due.max(earliest))));
        self.object = T::import(&self.object.export()).expect("an object reads what it exports");
        Step { call, reply, answered, events }
    }
}

impl Step {
    /// The call that this was.
    ///
    /// # Panics
    /// When it was none.
    #[must_use]
    pub fn call(&self) -> CallId {
        self.call.expect("a call")
    }

    /// Whether the call waits.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.reply == Reply::Parked
    }

    /// What the call returned.
    ///
    /// # Panics
    /// When it did not return an `R`.
    pub fn returned<R: DeserializeOwned>(&self) -> R {
        match &self.reply {
            Reply::Now(answer) => value(answer),
            reply => panic!("nothing returned: {reply:?}"),
        }
    }

    /// Topics and events that were emitted.
    ///
    /// # Panics
    /// When one is no `E`.
    #[must_use]
    pub fn emitted<E: DeserializeOwned>(&self) -> Vec<(String, E)> {
        let event = |event: &Event| (event.topic.clone(), from_bytes(&event.payload).expect("an event of this type"));
        self.events.iter().map(event).collect()
    }

    /// Whether the call failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(self.reply, Reply::Now(Answer::Failed(_)))
    }

    /// What the call failed with.
    ///
    /// # Panics
    /// When it did not fail with an `E`.
    pub fn failed<E: DeserializeOwned>(&self) -> E {
        match &self.reply {
            Reply::Now(Answer::Failed(error)) => from_bytes(error).expect("an error of this type"),
            reply => panic!("no failure: {reply:?}"),
        }
    }

    /// What calls returned that waited until now, by the numbers of their sessions, in the order in which they were answered.
    ///
    /// # Panics
    /// When one did not return an `R`.
    #[must_use]
    pub fn woken<R: DeserializeOwned>(&self) -> Vec<(u64, R)> {
        self.answered.iter().map(|(call, answer)| (call.session.slot.0, value(answer))).collect()
    }

    /// What this call returned, if that was now.
    ///
    /// # Panics
    /// When it did not return an `R`.
    #[must_use]
    pub fn answer_to<R: DeserializeOwned>(&self, call: CallId) -> Option<R> {
        let own = || (self.call == Some(call) && !self.waits()).then(|| self.returned());
        self.answered.iter().find(|(answered, _)| *answered == call).map(|(_, answer)| value(answer)).or_else(own)
    }

    /// As [`Step::woken`], and behind that what the call itself returned, if it did not wait.
    ///
    /// # Panics
    /// When one did not return an `R`.
    #[must_use]
    pub fn got<R: DeserializeOwned>(&self) -> Vec<(u64, R)> {
        let own = self.call.filter(|_| !self.waits()).map(|call| (call.session.slot.0, self.returned()));
        self.woken().into_iter().chain(own).collect()
    }
}

/// The id of a session by its number.
#[must_use]
pub fn id(session: u64) -> SessionId {
    SessionId { slot: Slot(session), index: 0 }
}

fn value<R: DeserializeOwned>(answer: &Answer) -> R {
    match answer {
        Answer::Returned(bytes) => from_bytes(bytes).expect("a value of this type"),
        other => panic!("nothing returned: {other:?}"),
    }
}
