//! What operators do with objects, and inputs that nobody waits for.
//!
//! An upgrade is tried on a copy and takes over at its slot, or nothing has happened. A trap where nobody waits would go
//! unseen, so it suspends its object: calls and queries are refused until an operator resumes or upgrades it. Of what it
//! could not be told it is told then.

use bytes::Bytes;
use concoord_wire::abi::{Invocation, ObjectLimits, Outcome, Timer, Trigger};
use concoord_wire::client::CallError;
use concoord_wire::compatibility::{self, Breaks};
use concoord_wire::interface::Interface;
use concoord_wire::objects::{ObjectActionRef, ObjectError, Operated};
use concoord_wire::{ObjectId, SessionId, Slot};
use std::cell::RefCell;

use super::operations::OperationResult;
use super::registry::{Described, History, Object, Untold, Version, admit_module};
use super::{Application, HostFault, Said, Seed, outcomes, seed};
use crate::io::{Notice, Verb};
use crate::limits::{LOAD_FAILURE_BYTES_MAX, SESSION_ENDS_TOLD_MAX};
use crate::objects::{Fault, Objects};

/// Why something was not done with an object.
enum Hindrance {
    /// The same on every replica.
    Error(ObjectError),
    /// On this host only.
    Host(String),
}

impl From<ObjectError> for Hindrance {
    fn from(error: ObjectError) -> Hindrance {
        Hindrance::Error(error)
    }
}

impl From<CallError> for Hindrance {
    fn from(error: CallError) -> Hindrance {
        Hindrance::Error(error.into())
    }
}

impl From<HostFault> for Hindrance {
    fn from(fault: HostFault) -> Hindrance {
        Hindrance::Host(fault.to_string())
    }
}

impl Hindrance {
    /// What a fault of `what` comes to.
    fn of(what: &str, fault: Fault) -> Hindrance {
        let mut why = match fault {
            Fault::Host(why) => return Hindrance::Host(why),
            // Operations are not hurried.
            Fault::Later => return Hindrance::Host(fault.to_string()),
            Fault::Refused(why) => why,
            Fault::Misbehaved(why) => format!("{what} broke the object ABI: {why}"),
            Fault::Trapped(why) => format!("{what} trapped: {why}"),
            Fault::Limit(reached) => format!("{what}: {reached}"),
        };
        why.truncate(why.floor_char_boundary(LOAD_FAILURE_BYTES_MAX));
        Hindrance::Error(ObjectError::Refused { why })
    }
}

/// An upgrade that was tried: the new module loads and takes over the state.
struct Tried {
    described: Described,
    breaks: Breaks,
}

impl<O: Objects> Application<O> {
    /// What the action came to, now or when it was executed.
    pub(super) fn operate_once(
        &mut self,
        slot: Slot,
        nonce: u128,
        action: &ObjectActionRef<'_>,
        said: &mut Said,
    ) -> Result<OperationResult, HostFault> {
        let (verb, object) = self.meant(action);
        if let Some(first) = self.operations.find(nonce) {
            let result = first.clone();
            said.notices.push(Notice::Operated { verb, object, result: result.clone() });
            return Ok(result);
        }
        let result = match self.operate(slot, action, said) {
            Ok(operated) => Ok(operated),
            Err(Hindrance::Error(error)) => Err(error),
            Err(Hindrance::Host(why)) => return Err(HostFault::Object { object, applied: self.applied, why }),
        };
        if let (Verb::Load, Err(error)) = (verb, &result)
            && !matches!(error, ObjectError::NameTaken { .. })
        {
            self.registry.fail(slot, &object, error.to_string());
        }
        self.operations.record(nonce, result.clone());
        said.notices.push(Notice::Operated { verb, object, result: result.clone() });
        Ok(result)
    }

    /// What is done, and with which object.
    fn meant(&self, action: &ObjectActionRef<'_>) -> (Verb, String) {
        let named = |id: ObjectId| self.registry.object(id).map_or(format!("#{id}"), |object| object.name.clone());
        match *action {
            ObjectActionRef::Load { name, .. } => (Verb::Load, name.into()),
            ObjectActionRef::Remove { object } => (Verb::Remove, named(object)),
            ObjectActionRef::Upgrade { object, .. } => (Verb::Upgrade, named(object)),
            ObjectActionRef::Rollback { object, .. } => (Verb::Rollback, named(object)),
            ObjectActionRef::Resume { object } => (Verb::Resume, named(object)),
        }
    }

    fn operate(&mut self, slot: Slot, action: &ObjectActionRef<'_>, said: &mut Said) -> Result<Operated, Hindrance> {
        match *action {
            ObjectActionRef::Load { name, module, arguments, limits } => {
                self.load(slot, name, module, arguments, limits, said)
            }
            ObjectActionRef::Remove { object } => self.remove(object, said),
            ObjectActionRef::Upgrade { object, based_on, module, limits, allow_breaking } => {
                let entry = self.registry.object(object)?;
                at_generation(entry, based_on)?;
                admit_module(module)?;
                let limits = limits.unwrap_or(entry.version.limits);
                let version = Version { module: self.registry.module(module), limits };
                self.upgrade(slot, object, version, allow_breaking, said)
            }
            ObjectActionRef::Rollback { object, based_on } => {
                let entry = self.registry.object(object)?;
                at_generation(entry, based_on)?;
                let previous = entry.previous.clone();
                let version = previous.ok_or_else(|| ObjectError::NoPrevious { name: entry.name.clone() })?;
                self.upgrade(slot, object, version, true, said)
            }
            ObjectActionRef::Resume { object } => {
                let generation = self.registry.object(object)?.history.generation;
                self.resume(object, said);
                Ok(operated(object, generation, Breaks::default()))
            }
        }
    }

    fn load(
        &mut self,
        slot: Slot,
        name: &str,
        module: &[u8],
        arguments: &[u8],
        limits: ObjectLimits,
        said: &mut Said,
    ) -> Result<Operated, Hindrance> {
        let id = self.registry.admit(name, module)?;
        let interface = self.objects.load(id, module, limits).map_err(|fault| Hindrance::of("its loading", fault))?;
        match self.start(id, interface, arguments) {
            Ok((described, outcome)) => {
                let version = Version { module: self.registry.module(module), limits };
                let history = History::begin(slot, &version);
                self.registry.insert(id, Object { name: name.into(), history, version, previous: None, described });
                self.carry_out(id, outcome, said);
                Ok(operated(id, 1, Breaks::default()))
            }
            Err(hindrance) => {
                self.objects.remove(id);
                Err(hindrance)
            }
        }
    }

    /// Gives a loaded object its first input.
    fn start(&mut self, id: ObjectId, interface: Bytes, arguments: &[u8]) -> Result<(Described, Outcome), Hindrance> {
        let described = described(interface)?;
        let invocation = self.next_invocation(id, None, Trigger::Init);
        let refused = RefCell::new(None);
        let accept = |outcome: &Outcome| {
            refused.replace(outcomes::constructor_refusal(&outcome.reply));
            outcomes::accept_init(outcome, described.emits)
        };
        let outcome = self.objects.invoke(id, &invocation, arguments, &accept);
        // A constructor may well refuse; whatever else it does is a fault.
        let why = |fault| refused.into_inner().map_or(fault, Fault::Refused);
        let outcome = outcome.map_err(|fault| Hindrance::of("the constructor", why(fault)))?;
        Ok((described, outcome))
    }

    fn remove(&mut self, id: ObjectId, said: &mut Said) -> Result<Operated, Hindrance> {
        let Object { name, history, .. } = self.registry.object(id)?;
        let (name, generation) = (name.clone(), history.generation);
        self.end_waits_of(id, &name, said);
        self.registry.remove(id);
        self.objects.remove(id);
        self.sessions.forget_object(id);
        self.events.forget_object(id);
        said.emitted.insert(id);
        Ok(operated(id, generation, Breaks::default()))
    }

    fn upgrade(
        &mut self,
        slot: Slot,
        id: ObjectId,
        version: Version,
        allow_breaking: bool,
        said: &mut Said,
    ) -> Result<Operated, Hindrance> {
        let switches = |breaks: &Breaks| allow_breaking || breaks.is_empty();
        let Tried { described, breaks } = self.try_upgrade(id, version.module.bytes(), version.limits, &switches)?;
        if !switches(&breaks) {
            let Breaks { changes, more } = breaks;
            return Err(ObjectError::Breaking { changes, more }.into());
        }
        self.resume(id, said);
        let object = self.registry.object_mut(id).expect("it was tried");
        object.go_on(slot, version, described);
        Ok(operated(id, object.history.generation, breaks))
    }

    /// What an upgrade would come to. Nothing changes.
    pub(super) fn dry_run(
        &mut self,
        id: ObjectId,
        module: &[u8],
        limits: Option<ObjectLimits>,
    ) -> Result<OperationResult, HostFault> {
        let trial = |application: &mut Application<O>| {
            let history = &application.registry.object(id)?;
            let (generation, limits) = (history.history.generation, limits.unwrap_or(history.version.limits));
            admit_module(module)?;
            let Tried { breaks, .. } = application.try_upgrade(id, module, limits, &|_| false)?;
            Ok(operated(id, generation + 1, breaks))
        };
        match trial(self) {
            Ok(operated) => Ok(Ok(operated)),
            Err(Hindrance::Error(error)) => Ok(Err(error)),
            Err(Hindrance::Host(why)) => {
                Err(HostFault::Object { object: self.registry.name(id).into(), applied: self.applied, why })
            }
        }
    }

    /// Tries an upgrade of an object that is there; the new version takes over if `switches` says so of what it breaks.
    fn try_upgrade(
        &mut self,
        id: ObjectId,
        module: &[u8],
        limits: ObjectLimits,
        switches: &dyn Fn(&Breaks) -> bool,
    ) -> Result<Tried, Hindrance> {
        let old = Interface::decode(&self.registry.object(id)?.described.interface).expect("it was read when loaded");
        let mut compared = None;
        let interface = self.objects.upgrade(id, module, limits, &mut |interface| match Interface::decode(interface) {
            Ok(new) => {
                let breaks = compatibility::breaking_changes(&old, &new);
                let switched = switches(&breaks);
                compared = Some(breaks);
                switched
            }
            // Told as for a load, below.
            Err(_) => false,
        });
        let interface = interface.map_err(|fault| Hindrance::of("the upgrade", fault))?;
        let described = described(interface)?;
        Ok(Tried { described, breaks: compared.expect("an interface that can be read was compared") })
    }

    /// Lets a suspended object go on. It is told at once which calls ended, since it must answer nobody who is gone; where that
    /// fails it is suspended again.
    fn resume(&mut self, id: ObjectId, said: &mut Said) {
        let Some(object) = self.registry.object_mut(id) else { return };
        let untold = object.history.resume();
        let mut sessions = Vec::new();
        for untold in untold {
            match untold {
                Untold::Session(session) => sessions.push(session),
                Untold::Call(_) => said.left.push_back((id, untold)),
                Untold::Timer(token) => self.timers.set(id, Timer { token, due: self.now }),
            }
        }
        self.sessions.tell_again(id, sessions);
    }

    /// Tells objects of sessions that ended: one for each of the slot's `commands`, and [`SESSION_ENDS_TOLD_MAX`]. `told`
    /// counts them.
    pub(super) fn tell_ended(&mut self, commands: usize, told: &mut usize, said: &mut Said) -> Result<(), HostFault> {
        while *told < commands + SESSION_ENDS_TOLD_MAX
            && let Some((object, session)) = self.sessions.first_ended()
        {
            let trigger = Trigger::SessionClosed { session };
            self.at_a_position(|this| this.tell(object, Some(session), trigger, said))?;
            self.sessions.forget_ended();
            *told += 1;
        }
        Ok(())
    }

    /// Runs an input that nobody waits for. Where it fails, the object is suspended, and is as if the input had never been.
    /// What an object could not be told it is told when it goes on.
    pub(super) fn tell(
        &mut self,
        id: ObjectId,
        caller: Option<SessionId>,
        trigger: Trigger<'_>,
        said: &mut Said,
    ) -> Result<(), HostFault> {
        let Some(object) = self.registry.object_mut(id) else { return Ok(()) };
        let untold = match trigger {
            Trigger::SessionClosed { session } => Untold::Session(session),
            Trigger::Cancelled { call } => Untold::Call(call),
            Trigger::Timer { token } => Untold::Timer(token),
            Trigger::Init | Trigger::Call { .. } => unreachable!("somebody waits for these"),
        };
        if object.history.suspended.is_some() {
            object.history.untold.push(untold);
            return Ok(());
        }
        let emits = object.described.emits;
        let invocation = self.next_invocation(id, caller, trigger);
        let timers = &self.timers;
        let accept = |outcome: &Outcome| {
            outcomes::accept_told(outcome, emits)?;
            timers.room(id, &outcome.timers)
        };
        let fault = match self.objects.invoke(id, &invocation, &[], &accept) {
            Ok(outcome) => {
                self.carry_out(id, outcome, said);
                return Ok(());
            }
            Err(fault) => fault,
        };
        let object = self.registry.object_mut(id).expect("it ran");
        match fault {
            Fault::Host(why) => {
                return Err(HostFault::Object { object: object.name.clone(), applied: self.applied, why });
            }
            Fault::Later => return Err(HostFault::Later),
            _ => {}
        }
        let why = object.suspend(format!("told of {}, it {}", what(&trigger), did(&fault)));
        object.history.untold.push(untold);
        said.notices.push(Notice::Suspended { object: object.name.clone(), why });
        Ok(())
    }

    /// The next input of an object that is no call.
    pub(super) fn next_invocation<'a>(
        &mut self,
        id: ObjectId,
        caller: Option<SessionId>,
        trigger: Trigger<'a>,
    ) -> Invocation<'a> {
        self.position = self.position.next();
        let seed = seed(self.cluster, id, self.position, Seed::Input);
        Invocation { position: self.position, now: self.now, seed, call: None, caller, trigger }
    }
}

fn at_generation(entry: &Object, based_on: u64) -> Result<(), ObjectError> {
    let generation = entry.history.generation;
    if generation == based_on {
        return Ok(());
    }
    Err(ObjectError::OtherGeneration { name: entry.name.clone(), generation, based_on })
}

fn described(interface: Bytes) -> Result<Described, Hindrance> {
    Described::read(interface).map_err(|error| ObjectError::Refused { why: error.to_string() }.into())
}

fn operated(object: ObjectId, generation: u64, Breaks { changes, more: more_changes }: Breaks) -> Operated {
    Operated { object, generation, changes, more_changes }
}

fn what(trigger: &Trigger<'_>) -> String {
    match trigger {
        Trigger::SessionClosed { session } => format!("the end of session {session}"),
        Trigger::Cancelled { call } => format!("the end of call {call}"),
        Trigger::Timer { token } => format!("its timer {token}"),
        Trigger::Init | Trigger::Call { .. } => "an input".into(),
    }
}

fn did(fault: &Fault) -> String {
    match fault {
        Fault::Limit(reached) => format!("reached a limit: {reached}"),
        fault => fault.to_string(),
    }
}
