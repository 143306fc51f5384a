//! Who waits, in the order in which they came.

use std::collections::VecDeque;

use concoord_wire::SessionId;
use serde::{Deserialize, Serialize};

use crate::bounds::Sent;
use crate::{Context, Ended, Waiter, Waits};

/// Calls that one input answers, well below what [`limits`](concoord_wire::limits::ANSWERED_MAX) let it.
const ANSWERED_AT_ONCE_MAX: usize = 1024;
/// Bytes of answers after which an input answers no more.
const ANSWER_BYTES_AT_ONCE_MAX: usize = 1 << 20;

/// Token of the timer that a [`WaitQueue`] sets where more calls could be answered than one input may.
pub const SERVE_AGAIN: u64 = u64::MAX;

/// Waiters in the order in which they came, each with an `X` that says what for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WaitQueue<T, X = ()>(VecDeque<(Waiter<T>, X)>);

impl<T, X> Default for WaitQueue<T, X> {
    fn default() -> WaitQueue<T, X> {
        WaitQueue(VecDeque::new())
    }
}

impl<T> WaitQueue<T> {
    /// Somebody comes behind all others.
    pub fn push(&mut self, waiter: Waiter<T>) {
        self.push_with(waiter, ());
    }

    /// Who has waited longest.
    pub fn pop(&mut self) -> Option<Waiter<T>> {
        self.pop_with().map(|(waiter, ())| waiter)
    }
}

impl<T, X> WaitQueue<T, X> {
    /// Somebody comes behind all others, for this.
    pub fn push_with(&mut self, waiter: Waiter<T>, with: X) {
        self.0.push_back((waiter, with));
    }

    /// Who has waited longest, and for what.
    pub fn pop_with(&mut self) -> Option<(Waiter<T>, X)> {
        self.0.pop_front()
    }

    /// What they wait for, in order.
    pub fn iter(&self) -> impl Iterator<Item = &X> {
        self.0.iter().map(|(_, with)| with)
    }

    /// The session of who has waited longest.
    #[must_use]
    pub fn first(&self) -> Option<SessionId> {
        self.0.front().map(|(waiter, _)| waiter.session())
    }

    /// The sessions of all, in order: for operators.
    #[must_use]
    pub fn sessions(&self) -> Vec<String> {
        self.0.iter().map(|(waiter, _)| waiter.session().to_string()).collect()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Sent, X> WaitQueue<T, X> {
    /// Answers who has waited longest, then the next, and so on up to the first for whom `serve` has no answer yet.
    ///
    /// One input may answer only so many calls. Where there are more, the object's `timer` runs soon, with [`SERVE_AGAIN`]: an
    /// object for which so many wait has one, and calls this again.
    pub fn serve(&mut self, cx: &mut Context, mut serve: impl FnMut(&mut Context, SessionId, &X) -> Option<T>) {
        let mut room = Room::default();
        while let Some((waiter, with)) = self.0.pop_front() {
            let answer = if room.is_left(cx) { serve(cx, waiter.session(), &with) } else { None };
            let Some(answer) = answer else {
                self.0.push_front((waiter, with));
                break;
            };
            room.answer(cx, waiter, &answer);
        }
    }

    /// Answers everybody for whom `serve` has an answer; the others wait on. What holds for one input is that of
    /// [`WaitQueue::serve`].
    pub fn serve_any(&mut self, cx: &mut Context, mut serve: impl FnMut(SessionId, &X) -> Option<T>) {
        let mut room = Room::default();
        for (waiter, with) in std::mem::take(&mut self.0) {
            let answer = if room.is_left(cx) { serve(waiter.session(), &with) } else { None };
            match answer {
                Some(answer) => room.answer(cx, waiter, &answer),
                None => self.0.push_back((waiter, with)),
            }
        }
    }
}

impl<T, X> Waits for WaitQueue<T, X> {
    fn keep(&mut self, ended: Ended) -> bool {
        self.0.keep(ended)
    }
}

/// What one input has answered.
#[derive(Default)]
struct Room {
    answers: usize,
    bytes: usize,
}

impl Room {
    /// Whether one more may be answered. Where not, another input is to do it.
    fn is_left(&self, cx: &mut Context) -> bool {
        let left = self.answers < ANSWERED_AT_ONCE_MAX && self.bytes < ANSWER_BYTES_AT_ONCE_MAX;
        if !left {
            cx.set_timer(SERVE_AGAIN, cx.now());
        }
        left
    }

    fn answer<T: Sent>(&mut self, cx: &mut Context, waiter: Waiter<T>, value: &T) {
        let value = value.encode();
        self.answers += 1;
        self.bytes += value.len();
        waiter.answer_encoded(cx, value);
    }
}
