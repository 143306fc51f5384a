//! How waits end, and what time brings about.

use std::collections::BTreeSet;

use concoord_wire::abi::{Outcome, Timer, Trigger};
use concoord_wire::client::CallError;
use concoord_wire::{CallId, ObjectId, SessionId, Timestamp};

use super::parked::Wait;
use super::registry::Untold;
use super::{Application, HostFault, SECOND_US, Said};
use crate::limits::TIMER_AFTER_US_MIN;
use crate::mutated;
use crate::objects::Objects;

impl<O: Objects> Application<O> {
    /// Carries out what an object's outcome wants beside a reply. Answers to calls that wait no more, or for another object,
    /// are dropped. A timer is due a little later at the earliest, so that a slot fires it once.
    pub(super) fn carry_out(&mut self, object: ObjectId, outcome: Outcome, said: &mut Said) {
        let Outcome { answered, events, timers, .. } = outcome;
        for (call, answer) in answered {
            // Each takes a position: an object may have given each a token of its own.
            self.position = self.position.next();
            if self.parked.get(call).is_some_and(|wait| wait.object == object) {
                self.parked.remove(call);
                self.answer(call, Some(object), Ok(answer), said);
            }
        }
        if !events.is_empty() {
            said.emitted.insert(object);
            self.events.emit(object, events, &mut self.position);
        }
        let earliest = Timestamp(self.now.0 + TIMER_AFTER_US_MIN);
        for Timer { token, due } in timers {
            self.timers.set(object, Timer { token, due: due.max(earliest) });
        }
    }

    /// Ends a call that is parked, and tells its object at once: it must answer nobody who is gone.
    pub(super) fn end_wait(
        &mut self,
        call: CallId,
        said: &mut Said,
        why: impl FnOnce(String, u64) -> CallError,
    ) -> Result<(), HostFault> {
        let Some(wait) = self.parked.remove(call) else { return Ok(()) };
        if mutated!(WaitEndsUntold) {
            let error = why(self.registry.name(wait.object).into(), wait.wait_us);
            self.answer(call, Some(wait.object), Err(error), said);
            return Ok(());
        }
        if let Err(fault) = self.tell(wait.object, Some(call.session), Trigger::Cancelled { call }, said) {
            self.parked.enter(call, wait);
            return Err(fault);
        }
        let error = why(self.registry.name(wait.object).into(), wait.wait_us);
        self.answer(call, Some(wait.object), Err(error), said);
        Ok(())
    }

    /// Ends a session, and what it waits for. The objects that it waits for are told before they are given anything else, so that
    /// they answer nobody who is gone; the others that it called are told later.
    pub(super) fn close(&mut self, session: SessionId, said: &mut Said) {
        let parked = if mutated!(ClosedSessionWaits) { Vec::new() } else { self.parked.of_session(session) };
        let mut waits_for = BTreeSet::new();
        for call in parked {
            waits_for.extend(self.parked.remove(call).map(|wait| wait.object));
            self.answer_unrecorded(call, CallError::SessionGone { session }, said);
        }
        self.sessions.close(session, &waits_for);
        said.left.extend(waits_for.into_iter().map(|object| (object, Untold::Session(session))));
    }

    /// Ends what a session waits for, since nobody is left to take the answers. The objects are told as by [`Application::close`].
    pub(super) fn leave(&mut self, session: SessionId, said: &mut Said) {
        for call in self.parked.of_session(session) {
            let Some(Wait { object, .. }) = self.parked.remove(call) else { continue };
            let name = self.registry.name(object).into();
            self.answer(call, Some(object), Err(CallError::Cancelled { object: name }), said);
            said.left.push_back((object, Untold::Call(call)));
        }
    }

    /// Tells objects who waits for them no more.
    pub(super) fn tell_left(&mut self, said: &mut Said) -> Result<(), HostFault> {
        while let Some((object, untold)) = said.left.front().copied() {
            let (caller, trigger) = untold.input();
            self.at_a_position(|this| this.tell(object, caller, trigger, said))?;
            said.left.pop_front();
        }
        Ok(())
    }

    /// An object is gone: nobody waits for it any more.
    pub(super) fn end_waits_of(&mut self, object: ObjectId, name: &str, said: &mut Said) {
        for call in self.parked.of_object(object) {
            self.parked.remove(call);
            self.answer(call, None, Err(CallError::Cancelled { object: name.into() }), said);
        }
        self.timers.forget_object(object);
    }

    /// Does the first thing whose time has come. Gives whether there was one.
    pub(super) fn do_due(&mut self, said: &mut Said) -> Result<bool, HostFault> {
        let wait = self.parked.first_end().filter(|(end, _)| *end <= self.now);
        let timer = self.timers.first().filter(|(due, ..)| *due <= self.now);
        match (wait, timer) {
            (Some((end, call)), timer) if timer.is_none_or(|(due, ..)| end <= due) => {
                self.end_wait(call, said, |object, wait_us| CallError::WaitedInVain { object, wait_us })?;
                Ok(true)
            }
            (_, Some((due, object, token))) => {
                self.timers.remove(object, token);
                if let Err(fault) = self.tell(object, None, Trigger::Timer { token }, said) {
                    self.timers.set(object, Timer { token, due });
                    return Err(fault);
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// From which decided time on an empty batch has something to do.
    pub(super) fn due(&self) -> Option<Timestamp> {
        if self.sessions.first_ended().is_some() {
            return Some(self.now);
        }
        // Sessions are looked at in the first batch of a second.
        let next_second = (self.now.0 / SECOND_US + 1) * SECOND_US;
        let silence = self.sessions.first_due().map(|due| Timestamp(due.0.max(next_second)));
        let wait = self.parked.first_end().map(|(end, _)| end);
        let timer = self.timers.first().map(|(due, ..)| due);
        [silence, wait, timer].into_iter().flatten().min()
    }
}
