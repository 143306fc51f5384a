//! What an input may know beside its arguments, and what it may want beside a reply.

use concoord_wire::abi::{self, Answer, Invocation, Outcome, Reply, Timer};
use concoord_wire::{CallId, Position, SessionId, Timestamp};

use crate::bounds::Sent;

/// What an object emits: `#[concoord::object(event = Change)]` makes `Change` one. An object has one type of events, which
/// stands in its interface; an enum is one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what this object emits",
    label = "write `#[concoord::object(event = {Self})]` above the object"
)]
pub trait Event: Sent {}

/// What a method is run with. A method that wants it takes `cx: &mut Context`.
#[derive(Debug)]
pub struct Context {
    position: Position,
    now: Timestamp,
    seed: u64,
    drawn: u64,
    call: Option<CallId>,
    caller: Option<SessionId>,
    /// `None` as long as it wants nothing, so that what wants nothing pays for nothing.
    wanted: Option<Box<Outcome>>,
}

impl Context {
    /// That of an input.
    #[must_use]
    pub fn new(invocation: &Invocation<'_>) -> Context {
        let Invocation { position, now, seed, call, caller, .. } = *invocation;
        Context { position, now, seed, drawn: 0, call, caller, wanted: None }
    }

    /// Where this input stands in the order of everything that ever happens in the cluster, upgrades and restores included. A
    /// fencing token is the position at which something was granted.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The cluster's time. It is the same on every replica, never goes back, and follows the clocks of the replicas that lead.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The session that calls, or whose call or end this input is about.
    #[must_use]
    pub fn caller(&self) -> Option<SessionId> {
        self.caller
    }

    /// A random number: the same on every replica, other at each call of this and for each input.
    pub fn random(&mut self) -> u64 {
        self.drawn += 1;
        // splitmix64.
        let mut z = self.seed.wrapping_add(self.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Has `timer` run with this token once the cluster's time is `due`. The same token again moves it.
    pub fn set_timer(&mut self, token: u64, due: Timestamp) {
        self.wanted().timers.push(Timer { token, due });
    }

    /// Tells whoever watches the object, or this topic of it. What was emitted by the newest inputs is kept for those who
    /// watch later.
    pub fn emit<E: Event>(&mut self, topic: impl Into<String>, event: &E) {
        self.wanted().events.push(abi::Event { topic: topic.into(), payload: event.encode() });
    }

    /// Writes a line to each replica's log.
    pub fn log(&mut self, line: impl Into<String>) {
        self.wanted().log.push(line.into());
    }

    pub(crate) fn answer(&mut self, call: CallId, answer: Answer) {
        self.wanted().answered.push((call, answer));
    }

    /// The call that runs.
    ///
    /// # Panics
    /// When none does.
    #[must_use]
    pub(crate) fn call(&self) -> CallId {
        self.call.expect("only a call can wait")
    }

    fn wanted(&mut self) -> &mut Outcome {
        self.wanted.get_or_insert_default()
    }

    /// Whether the input wants nothing but its reply.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn wants_nothing(&self) -> bool {
        self.wanted.is_none()
    }

    /// Everything that the input wants. Who was answered within its own call was never parked.
    pub(crate) fn finish(self, reply: Reply) -> Outcome {
        let Context { call, wanted, .. } = self;
        let mut wanted = wanted.map_or_else(Outcome::default, |wanted| *wanted);
        wanted.reply = reply;
        if wanted.reply == Reply::Parked
            && let Some(own) = wanted.answered.iter().position(|(answered, _)| Some(*answered) == call)
        {
            wanted.reply = Reply::Now(wanted.answered.remove(own).1);
        }
        wanted
    }
}
