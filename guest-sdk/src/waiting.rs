//! Methods that wait: who called one is a [`Waiter`], which another input answers.

use core::marker::PhantomData;
use std::collections::{BTreeMap, VecDeque};

use concoord_wire::abi::Answer;
use concoord_wire::{CallId, SessionId};
use serde::{Deserialize, Serialize};

use crate::Context;
use crate::bounds::Sent;

/// Somebody who called a method and waits for a `T`. A `&mut self` method that takes `waiter: Waiter<T>` returns nothing by
/// itself: the caller gets what is given to [`Waiter::answer`], now or in a later input.
///
/// It is data: the object keeps it in its state, and it survives upgrades. What ends unanswered, because the time that its
/// caller gave it is over or the caller is gone, is taken out of the object's fields before anything else runs; see [`Waits`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[must_use = "the caller waits until this is answered or its session ends: keep it, or answer it"]
pub struct Waiter<T> {
    call: CallId,
    #[serde(skip)]
    answer: PhantomData<fn(T)>,
}

impl<T> Waiter<T> {
    /// The caller of the method that runs.
    #[doc(hidden)]
    pub fn of(cx: &Context) -> Waiter<T> {
        Waiter { call: cx.call(), answer: PhantomData }
    }

    /// The session of the caller.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.call.session
    }

    /// Whether this call is the one.
    #[must_use]
    pub fn is(&self, call: CallId) -> bool {
        self.call == call
    }
}

impl<T: Sent> Waiter<T> {
    /// Lets the call return.
    pub fn answer(self, cx: &mut Context, value: &T) {
        self.answer_encoded(cx, value.encode());
    }

    /// Lets the call return a value that is encoded already.
    pub(crate) fn answer_encoded(self, cx: &mut Context, value: Vec<u8>) {
        cx.answer(self.call, Answer::Returned(value));
    }
}

/// Whose waits are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All of a session.
    Session(SessionId),
    /// One call.
    Call(CallId),
}

/// What holds [`Waiter`]s. `#[concoord::object]` takes those that ended out of every field whose type has this trait: waiters,
/// pairs that begin with one, and options, sequences and maps of these.
pub trait Waits {
    /// Takes out what ended. Gives whether this itself is to be kept.
    fn keep(&mut self, ended: Ended) -> bool;
}

impl<T> Waits for Waiter<T> {
    fn keep(&mut self, ended: Ended) -> bool {
        match ended {
            Ended::Session(session) => self.call.session != session,
            Ended::Call(call) => self.call != call,
        }
    }
}

impl<W: Waits, T> Waits for (W, T) {
    fn keep(&mut self, ended: Ended) -> bool {
        self.0.keep(ended)
    }
}

impl<W: Waits> Waits for Option<W> {
    fn keep(&mut self, ended: Ended) -> bool {
        if !self.as_mut().is_none_or(|waits| waits.keep(ended)) {
            *self = None;
        }
        true
    }
}

impl<W: Waits> Waits for Vec<W> {
    fn keep(&mut self, ended: Ended) -> bool {
        self.retain_mut(|waits| waits.keep(ended));
        true
    }
}

impl<W: Waits> Waits for VecDeque<W> {
    fn keep(&mut self, ended: Ended) -> bool {
        self.retain_mut(|waits| waits.keep(ended));
        true
    }
}

impl<K, W: Waits> Waits for BTreeMap<K, W>
where
    K: Ord,
{
    fn keep(&mut self, ended: Ended) -> bool {
        self.retain(|_, waits| waits.keep(ended));
        true
    }
}

/// A field of an object, for the code that `#[concoord::object]` writes: it asks fields that hold waiters to drop those that
/// ended, and leaves others alone. Which of the two traits a method call finds follows from the field's type.
#[doc(hidden)]
#[derive(Debug)]
pub struct Field<'a, T>(pub &'a mut T);

#[doc(hidden)]
pub trait HoldsWaiters {
    fn drop_ended(&mut self, ended: Ended);
}

impl<T: Waits> HoldsWaiters for Field<'_, T> {
    fn drop_ended(&mut self, ended: Ended) {
        self.0.keep(ended);
    }
}

#[doc(hidden)]
pub trait HoldsNone {
    fn drop_ended(&self, ended: Ended);
}

impl<T> HoldsNone for &mut Field<'_, T> {
    fn drop_ended(&self, _: Ended) {}
}
