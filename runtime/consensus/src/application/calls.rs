//! Calls, several calls as one, and objects that are started anew.

use std::cell::RefCell;
use std::collections::BTreeMap;

use concoord_wire::abi::{Answer, Invocation, Outcome, Reply, Timer, Trigger};
use concoord_wire::client::{Abort, CallError, PartRef};
use concoord_wire::interface::{MethodKind, REINITIALIZE};
use concoord_wire::limits::{OUTCOME_BYTES_MAX, PARTS_MAX};
use concoord_wire::{CallId, ObjectId, SessionId, codec};

use super::registry::Runs;
use super::sessions::{Admission, CallResult};
use super::{Application, HostFault, Said, Seed, checks, faulted, outcomes, seed};
use crate::io::Completed;
use crate::mutated;
use crate::objects::{Fault, Input, Objects};

/// A call as its client made it.
#[derive(Clone, Copy)]
pub(super) struct Called<'a> {
    pub(super) call: CallId,
    pub(super) wait_us: u64,
    pub(super) object: ObjectId,
    pub(super) method: &'a str,
    pub(super) arguments: &'a [u8],
}

impl<O: Objects> Application<O> {
    /// What the call comes to, now or when it was executed.
    pub(super) fn call_once(
        &mut self,
        called: &Called<'_>,
        floor: u64,
        received: Option<u64>,
        said: &mut Said,
    ) -> Result<(), HostFault> {
        let Called { call, object, method, .. } = *called;
        if !self.admits(call, floor, received, said) {
            return Ok(());
        }
        if method == REINITIALIZE {
            return self.start_anew(called, said);
        }
        let runs = match self.registry.resolve_call(object, method) {
            Ok(runs) => runs,
            Err(error) => {
                self.answer(call, None, Err(error), said);
                return Ok(());
            }
        };
        if runs.kind == MethodKind::Waiting
            && let Err(busy) = self.parked.room()
        {
            self.answer_unrecorded(call, busy, said);
            return Ok(());
        }
        match self.run_call(called, runs)? {
            Ok(mut outcome) => {
                match std::mem::take(&mut outcome.reply) {
                    Reply::Now(answer) => self.answer(call, Some(object), Ok(answer), said),
                    Reply::Parked => {
                        self.parked.insert(call, object, self.now, called.wait_us);
                        self.sessions.park(call, object);
                        said.say(|| Completed::Parked { call });
                    }
                    Reply::None => panic!("Objects kept a call's outcome that was not accepted"),
                }
                self.carry_out(object, outcome, said);
            }
            Err(error) => self.answer(call, Some(object), Err(error), said),
        }
        Ok(())
    }

    /// Whether a call is executed; if not, its caller is told what it came to, or why not.
    fn admits(&mut self, call: CallId, floor: u64, received: Option<u64>, said: &mut Said) -> bool {
        match self.sessions.admit(call, floor, received, self.now) {
            Admission::Execute => return true,
            Admission::Replied(result, waited) => {
                checks::note(&mut self.replies, result);
                said.say(|| Completed::Call { call, result: result.clone(), waited });
            }
            Admission::Parked => said.say(|| Completed::Parked { call }),
            Admission::Refused(error) => self.answer_unrecorded(call, error, said),
        }
        false
    }

    /// Runs an update that its object has.
    fn run_call(&mut self, called: &Called<'_>, runs: Runs) -> Result<Result<Outcome, CallError>, HostFault> {
        let Called { call, object, method, arguments, .. } = *called;
        let invocation = self.call_of(call, object, method);
        let timers = &self.timers;
        let accept = |outcome: &Outcome| {
            outcomes::accept_call(outcome, runs.kind, runs.emits)?;
            timers.room(object, &outcome.timers)
        };
        match self.objects.invoke(object, &invocation, arguments, &accept) {
            Ok(outcome) => Ok(Ok(outcome)),
            Err(fault) => faulted(self.registry.name(object), method, self.applied, fault).map(Err),
        }
    }

    /// The next input, which is a call.
    fn call_of<'a>(&mut self, call: CallId, object: ObjectId, method: &'a str) -> Invocation<'a> {
        self.position = self.position.next();
        Invocation {
            position: self.position,
            now: self.now,
            seed: seed(self.cluster, object, self.position, Seed::Input),
            call: Some(call),
            caller: Some(call.session),
            trigger: Trigger::Call { method },
        }
    }

    /// Starts an object anew, as if it were loaded now with these arguments. Positions go on, so tokens and revisions do.
    /// Whoever waited for it waits no more, its timers are gone, and if it was suspended it is not any longer.
    fn start_anew(&mut self, called: &Called<'_>, said: &mut Said) -> Result<(), HostFault> {
        let Called { call, object, method, arguments, .. } = *called;
        let emits = match self.registry.object(object) {
            Ok(entry) => entry.described.emits,
            Err(error) => {
                self.answer(call, None, Err(error), said);
                return Ok(());
            }
        };
        if self.hurried {
            return Err(HostFault::Later);
        }
        let invocation = self.next_invocation(object, None, Trigger::Init);
        let refused = RefCell::new(None);
        let accept = |outcome: &Outcome| match &outcome.reply {
            Reply::Now(answer @ (Answer::Failed(_) | Answer::Rejected(_))) => {
                refused.replace(Some(answer.clone()));
                Err("the constructor refused".into())
            }
            _ => outcomes::accept_init(outcome, emits),
        };
        let outcome = self.objects.reinitialize(object, &invocation, arguments, &accept);
        let result = match (outcome, refused.into_inner()) {
            (Ok(outcome), _) => {
                let name = self.registry.name(object).to_owned();
                self.end_waits_of(object, &name, said);
                // What it was to be told is of calls, sessions and timers that it knows nothing of now.
                if let Some(entry) = self.registry.object_mut(object) {
                    entry.history.resume();
                }
                if emits {
                    self.events.start_anew(object, self.position);
                    said.emitted.insert(object);
                }
                self.carry_out(object, outcome, said);
                Ok(Answer::Returned(Vec::new()))
            }
            (Err(_), Some(refusal)) => Ok(refusal),
            (Err(fault), None) => Err(faulted(self.registry.name(object), method, self.applied, fault)?),
        };
        self.answer(call, Some(object), result, said);
        Ok(())
    }

    /// What several calls as one come to, now or when they were executed.
    pub(super) fn call_atomically(
        &mut self,
        call: CallId,
        floor: u64,
        received: Option<u64>,
        parts: &[PartRef<'_>],
        said: &mut Said,
    ) -> Result<(), HostFault> {
        if !self.admits(call, floor, received, said) {
            return Ok(());
        }
        match self.run_parts(call, parts)? {
            Ok(outcomes) => {
                let mut returned = Vec::with_capacity(parts.len());
                for (part, mut outcome) in parts.iter().zip(outcomes) {
                    if let Reply::Now(Answer::Returned(bytes)) = std::mem::take(&mut outcome.reply) {
                        returned.push(bytes);
                    }
                    self.carry_out(part.object, outcome, said);
                }
                let objects: Vec<ObjectId> = parts.iter().map(|part| part.object).collect();
                self.answer(call, objects, Ok(Answer::Returned(codec::to_bytes(&returned))), said);
            }
            Err(error) => self.answer(call, None, Err(error), said),
        }
        Ok(())
    }

    fn run_parts(&mut self, call: CallId, parts: &[PartRef<'_>]) -> Result<Result<Vec<Outcome>, CallError>, HostFault> {
        if parts.len() > PARTS_MAX {
            let (what, size, limit) = ("calls as one".into(), parts.len() as u64, PARTS_MAX as u64);
            return Ok(Err(CallError::TooLarge { what, size, limit }));
        }
        let aborted = |application: &Application<O>, part: usize, why: Abort| {
            let PartRef { object, method, .. } = parts[part];
            let object = application.registry.name(object).to_owned();
            CallError::Aborted { part: part as u32, object, method: method.into(), why }
        };
        let (mut runs, mut inputs) = (Vec::with_capacity(parts.len()), Vec::with_capacity(parts.len()));
        for (index, PartRef { object, method, arguments }) in parts.iter().enumerate() {
            match self.registry.resolve(*object, method) {
                Ok(run) => runs.push(run),
                Err(error) => return Ok(Err(aborted(self, index, Abort::Error(error.to_string())))),
            }
            let invocation = self.call_of(call, *object, method);
            inputs.push(Input { object: *object, invocation, arguments });
        }
        let failed = RefCell::new(None);
        let together = RefCell::new(Together::default());
        let accept = |index: usize, outcome: &Outcome| {
            let Runs { kind, emits } = runs[index];
            match &outcome.reply {
                Reply::Now(Answer::Failed(error)) => {
                    failed.replace(Some(Abort::Failed(error.clone())));
                    return Err("it failed".into());
                }
                Reply::Now(Answer::Rejected(why)) => return Err(why.to_string()),
                Reply::Parked => return Err("it would have to wait, and calls made as one can't".into()),
                _ if kind == MethodKind::Query => outcomes::accept_query(outcome)?,
                _ => outcomes::accept_call(outcome, kind, emits)?,
            }
            let object = inputs[index].object;
            let (bytes, timers) = together.borrow_mut().add(object, outcome);
            if bytes > OUTCOME_BYTES_MAX {
                return Err(format!("with it, {bytes} bytes are returned, and at most {OUTCOME_BYTES_MAX} may be"));
            }
            self.timers.room(object, &timers)
        };
        match self.objects.invoke_all(&inputs, &accept) {
            Ok(outcomes) => Ok(Ok(outcomes)),
            Err((index, fault)) => {
                let why = match (failed.into_inner(), fault) {
                    (_, Fault::Later) => return Err(HostFault::Later),
                    (_, Fault::Host(why)) => {
                        let object = self.registry.name(parts[index].object).into();
                        return Err(HostFault::Object { object, applied: self.applied, why });
                    }
                    (Some(failed), _) => failed,
                    (None, Fault::Misbehaved(why)) => Abort::Error(why),
                    (None, fault) => Abort::Error(fault.to_string()),
                };
                Ok(Err(aborted(self, index, why)))
            }
        }
    }

    /// What becomes of a client's wish to go on with a session: the number of its next call.
    pub(super) fn resume_session(
        &mut self,
        session: SessionId,
        secret: u128,
        nonce: u128,
        said: &mut Said,
    ) -> Result<u64, CallError> {
        if let Some(first) = self.sessions.find_resumed(session, secret, nonce)? {
            self.sessions.keep_alive(session, self.now);
            return Ok(first);
        }
        if !mutated!(ResumeLeavesParked) {
            self.leave(session, said);
        }
        Ok(self.sessions.resume(session, nonce, self.now))
    }

    /// A call is executed: its session keeps what it came to. `ran` are the objects that it ran on.
    pub(super) fn answer(
        &mut self,
        call: CallId,
        ran: impl IntoIterator<Item = ObjectId>,
        result: CallResult,
        said: &mut Said,
    ) {
        checks::note(&mut self.replies, &result);
        let waited = self.sessions.waits(call);
        said.say(|| Completed::Call { call, result: result.clone(), waited });
        if waited && mutated!(ParkedReplyNotKept) {
            return;
        }
        if said.replies || !mutated!(RepliesOfLeaderOnly) {
            self.sessions.record(call, ran, result);
        }
    }

    /// A call is not executed, and leaves no mark.
    pub(super) fn answer_unrecorded(&mut self, call: CallId, error: CallError, said: &mut Said) {
        let refused: CallResult = Err(error);
        checks::note(&mut self.replies, &refused);
        said.say(|| Completed::Call { call, result: refused, waited: false });
    }
}

/// What the calls of one that is several have come to so far, all in all.
#[derive(Default)]
struct Together {
    returned: usize,
    timers: BTreeMap<ObjectId, Vec<Timer>>,
}

impl Together {
    /// Gives the bytes returned, and the timers of this object.
    fn add(&mut self, object: ObjectId, outcome: &Outcome) -> (usize, Vec<Timer>) {
        if let Reply::Now(Answer::Returned(bytes)) = &outcome.reply {
            self.returned += bytes.len();
        }
        let timers = self.timers.entry(object).or_default();
        timers.extend_from_slice(&outcome.timers);
        (self.returned, timers.clone())
    }
}
