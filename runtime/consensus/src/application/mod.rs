//! The applied state: what a cluster's objects and sessions have come to by the decided batches.
//!
//! [`Application`] is a pure state machine. All replicas feed it the same batches in the same order, and it comes to the
//! same state and the same replies on each; only who asks for the replies differs. It knows no clock (time is the
//! stamps of the batches), no randomness (seeds follow from what is decided) and no collection without an order.
//!
//! | file          | role                                                         |
//! |---------------|--------------------------------------------------------------|
//! | `mod.rs`      | the way of a batch, a query and a description                |
//! | `calls.rs`    | calls, calls as one, and objects started anew                |
//! | `sessions.rs` | exactly once: who called, what was replied, when silence ends |
//! | `parked.rs`   | calls that wait for another input to answer them             |
//! | `events.rs`   | what objects emitted, and who watches                        |
//! | `timers.rs`   | when objects are to be woken                                 |
//! | `waiting.rs`  | how waits end, and what time brings about                    |
//! | `registry.rs` | which objects there are, and which loads failed              |
//! | `operating.rs` | loads, upgrades, removals; inputs that nobody waits for     |
//! | `operations.rs` | what operators did lately, for retries                     |
//! | `outcomes.rs` | which wishes of an object are carried out                    |
//! | `snapshot.rs` | the whole state as bytes, and back                           |
//! | `digest.rs`   | seeds and the hash of the state                              |
//! | `checks.rs`   | what replicas compare to find one that differs               |
//! | `version.rs`  | which way of applying is decided                             |
//!
//! # What is recorded as a call's reply
//!
//! Everything that is a final answer to its id: what the method returned, a rejection, a trap, a broken ABI, and also an
//! unknown object or method, the wrong kind and a suspended object. A retry gets the same, even when the object has come to exist since.
//! Not recorded are [`CallError::Busy`], [`CallError::SessionGone`] and [`CallError::Acknowledged`]: nothing was
//! executed, and they leave no mark.
//!
//! **Invariants:** slots only rise; decided time and positions never fall; a call is executed at most once.

mod calls;
mod checks;
mod digest;
mod events;
mod operating;
mod operations;
mod outcomes;
mod parked;
mod registry;
mod replies;
mod sessions;
mod snapshot;
#[cfg(test)]
mod tests;
mod timers;
mod version;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use concoord_wire::abi::{Invocation, Outcome, Reply, Trigger};
use concoord_wire::client::{CallError, Events as Told, PartRef, Response, SessionList};
use concoord_wire::codec::{self, FrameError};
use concoord_wire::limits::SESSIONS_LISTED_MAX;
use concoord_wire::value::{BatchRef, CommandRef};
use concoord_wire::version::{ClusterVersion, Versions};
use concoord_wire::{ClusterId, ObjectId, Position, SessionId, Slot, Timestamp};

use self::calls::Called;
use self::digest::{Digest, mix};
use self::events::{Events, Watch, Watchers};
use self::operations::Operations;
use self::parked::Parked;
use self::registry::{Registry, Untold};
use self::sessions::{CallResult, Sessions};
use self::timers::Timers;
use crate::io::{Applied, Ask, ClientToken, Completed, Notice, Query, Question};
use crate::limits::DUE_PER_SLOT_MAX;
use crate::objects::{Fault, Objects};

pub use self::outcomes::constructor_refusal;
pub use self::registry::module_hash;
pub use self::snapshot::{RestoreError, Snapshot};

const SECOND_US: u64 = 1_000_000;

/// Sessions, objects, positions and decided time of one cluster.
#[derive(Debug)]
pub struct Application<O> {
    cluster: ClusterId,
    objects: O,
    sessions: Sessions,
    parked: Parked,
    timers: Timers,
    events: Events,
    registry: Registry,
    operations: Operations,
    position: Position,
    now: Timestamp,
    applied: Slot,
    /// Over what every command came to, in order.
    replies: u64,
    /// The decided way of applying.
    version: ClusterVersion,
    /// The ways that this build knows.
    supports: Versions,
    /// Whether nothing may take long.
    hurried: bool,
    /// Who waits for events at this replica.
    watchers: Watchers,
    /// The batch that is executed in part, because something in it takes longer than it might.
    begun: Option<Begun>,
}

/// How far a batch is executed.
#[derive(Debug)]
struct Begun {
    slot: Slot,
    /// Waits whose time is over and timers that were due, before all commands.
    due: usize,
    /// Of its commands, the first that is not executed.
    next: u32,
    /// Ends of sessions that objects were told of, behind all commands.
    told: usize,
    said: Said,
}

/// What is to be told of a batch.
#[derive(Debug, Default)]
struct Said {
    /// Whether anybody waits for what commands come to.
    replies: bool,
    completed: Vec<Completed>,
    notices: Vec<Notice>,
    /// Objects that emitted, or are gone.
    emitted: BTreeSet<ObjectId>,
    /// Who waits no more, and is to be told of to the object before anything else is done.
    left: VecDeque<(ObjectId, Untold)>,
}

impl Said {
    /// Says what something came to, if anybody waits.
    fn say(&mut self, completed: impl FnOnce() -> Completed) {
        if self.replies {
            self.completed.push(completed());
        }
    }
}

/// Why this replica can't go on applying, while others may. The application is of no use after one: the replica stops
/// before it differs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostFault {
    /// A decided value is not a batch. Only batches are proposed, so this replica's log or memory is damaged, or it is
    /// older than the replica that proposed it.
    #[error("the batch decided in slot {slot} does not decode: {why}; upgrade this replica, or replace its data")]
    Batch {
        /// Where.
        slot: Slot,
        /// What is wrong with it.
        why: FrameError,
    },
    /// The cluster has decided to apply in a way that this build does not know. Nothing was executed in it.
    #[error("the cluster runs version {decided} from slot {slot} on, and this build applies {supports}: {}",
        if .supports.last < *.decided { "upgrade it" } else { "use an older one" })]
    Version {
        /// The first slot that this build can't apply.
        slot: Slot,
        /// What is decided.
        decided: ClusterVersion,
        /// What this build applies.
        supports: Versions,
    },
    /// Something takes longer than [`Application::hurry`] lets it. The application is as it was before that, and goes on
    /// when it is asked for the same again.
    #[error("it takes longer than it may for now")]
    Later,
    /// This host can't run an object.
    #[error("this host can't run {object} after slot {applied}: {why}")]
    Object {
        /// The object's name.
        object: String,
        /// Last slot that this replica applied as a whole.
        applied: Slot,
        /// What is missing.
        why: String,
    },
}

impl<O: Objects> Application<O> {
    /// The state of a cluster before its first slot.
    pub fn new(cluster: ClusterId, objects: O) -> Application<O> {
        Application {
            cluster,
            objects,
            sessions: Sessions::default(),
            parked: Parked::default(),
            timers: Timers::default(),
            events: Events::default(),
            registry: Registry::default(),
            operations: Operations::default(),
            position: Position::default(),
            now: Timestamp::default(),
            applied: Slot::ZERO,
            replies: 0,
            version: ClusterVersion::FIRST,
            supports: Versions::OF_BUILD,
            hurried: false,
            watchers: Watchers::default(),
            begun: None,
        }
    }

    /// Lets nothing take long until it is asked again: no input more than this much gas, and no change of an object. `None`
    /// lets all take the time that it needs. What takes longer ends with [`HostFault::Later`].
    pub fn hurry(&mut self, gas: Option<u64>) {
        self.hurried = gas.is_some();
        self.objects.hurry(gas);
    }

    /// Executes a decided batch. With `replies`, the result says what each of its commands came to.
    ///
    /// # Errors
    /// [`HostFault`]; the batch may be executed in part, and the application must not be used any more. But for
    /// [`HostFault::Later`]: then the same batch must be next, and is gone on with.
    ///
    /// # Panics
    /// When `slot` is not above every slot before it.
    pub fn apply(&mut self, slot: Slot, batch: &[u8], replies: bool) -> Result<Applied, HostFault> {
        assert!(slot > self.applied, "slot {slot} after slot {}", self.applied);
        let batch: BatchRef<'_> = codec::from_bytes(batch).map_err(|why| HostFault::Batch { slot, why })?;
        let mut begun = match self.begun.take() {
            Some(begun) => begun,
            None => self.begin(slot, &batch, replies)?,
        };
        assert_eq!(begun.slot, slot, "a batch that is begun is gone on with");
        match self.go_on(&mut begun, &batch) {
            Ok(()) => {}
            Err(fault) => {
                if fault == HostFault::Later {
                    self.begun = Some(begun);
                }
                return Err(fault);
            }
        }
        let check = checks::is_due(self.applied, slot).then(|| self.check(slot));
        self.applied = slot;
        let Said { completed, notices, emitted, .. } = begun.said;
        let watched = self.tell_watchers(emitted);
        let (stamp, version, due) = (self.now, self.version, self.due());
        Ok(Applied { slot, stamp, replies: completed, notices, watched, check, version, due })
    }

    fn begin(&mut self, slot: Slot, batch: &BatchRef<'_>, replies: bool) -> Result<Begun, HostFault> {
        self.admit_version(slot, batch.commands.first())?;
        let room = if replies { batch.commands.len() } else { 0 };
        let completed = Vec::with_capacity(room);
        let mut said = Said { replies, completed, ..Said::default() };
        self.advance_time(batch.stamp, &mut said);
        Ok(Begun { slot, due: 0, next: 0, told: 0, said })
    }

    /// Executes what is not executed of a batch.
    fn go_on(&mut self, begun: &mut Begun, batch: &BatchRef<'_>) -> Result<(), HostFault> {
        let Begun { slot, due, next, told, said } = begun;
        self.tell_left(said)?;
        while *due < DUE_PER_SLOT_MAX && self.at_a_position(|this| this.do_due(said))? {
            *due += 1;
        }
        while let Some(command) = batch.commands.get(*next as usize) {
            self.admit_version(*slot, Some(command))?;
            let at = SessionId { slot: *slot, index: *next };
            self.at_a_position(|this| this.execute(at, command, said))?;
            *next += 1;
            self.tell_left(said)?;
        }
        self.tell_ended(batch.commands.len(), told, said)
    }

    /// Does something that takes the next position, or else leaves that to what comes next.
    fn at_a_position<T>(
        &mut self,
        something: impl FnOnce(&mut Application<O>) -> Result<T, HostFault>,
    ) -> Result<T, HostFault> {
        let position = self.position;
        something(self).inspect_err(|_| self.position = position)
    }

    /// Runs a query on the state as it is; nothing changes.
    ///
    /// # Errors
    /// [`HostFault::Object`] when this host can't run the object, and [`HostFault::Later`].
    pub fn query(&mut self, query: &Query) -> Result<Response, HostFault> {
        let Query { request, object, method, arguments, .. } = query;
        let result = self.run_query(*object, method, arguments)?;
        Ok(Response::Queried { request: *request, result })
    }

    /// Answers a question; nothing changes that is replicated. There is no answer to who does not watch any more, and to who
    /// watches it may come with a later batch, in [`Applied::watched`].
    ///
    /// # Errors
    /// [`HostFault::Object`] when this host can't run an object.
    pub fn ask(&mut self, question: &Question) -> Result<Option<Response>, HostFault> {
        let Question { client, request, ref ask } = *question;
        Ok(Some(match ask {
            Ask::Watch { object, topic, after } => {
                let result = self.watch((client, request), *object, topic.clone(), *after);
                return Ok(result.map(|result| Response::Watched { request, result }));
            }
            Ask::Unwatch { request } => {
                match *request {
                    Some(request) => _ = self.watchers.forget((client, request)),
                    None => self.watchers.forget_client(client),
                }
                return Ok(None);
            }
            Ask::Sessions { after } => {
                let mut sessions: Vec<_> = self.sessions.states(*after).take(SESSIONS_LISTED_MAX + 1).collect();
                let more = sessions.len() > SESSIONS_LISTED_MAX;
                sessions.truncate(SESSIONS_LISTED_MAX);
                Response::Sessions { request, result: Ok(SessionList { now: self.now, sessions, more }) }
            }
            Ask::Describe { name } => Response::Described { request, result: self.registry.describe(name.as_deref()) },
            Ask::Objects { name } => {
                let mut result = self.registry.list(name.as_deref());
                if let Ok(list) = &mut result {
                    let counts = self.parked.counts();
                    list.objects
                        .iter_mut()
                        .for_each(|state| state.waiting = counts.get(&state.object).map_or(0, |count| *count));
                }
                Response::Objects { request, result }
            }
            Ask::Try { object, module, limits } => {
                Response::Operated { request, result: self.dry_run(*object, module, *limits)? }
            }
        }))
    }

    /// What a watcher is told at once, if anything.
    fn watch(
        &mut self,
        watcher: (ClientToken, u64),
        object: ObjectId,
        topic: Option<String>,
        after: Option<Position>,
    ) -> Option<Result<Told, CallError>> {
        if let Some(gone) = self.registry.gone(object) {
            return Some(Err(gone));
        }
        let Some(after) = after else {
            return Some(Ok(Told { events: Vec::new(), upto: self.position }));
        };
        self.watchers.watch(watcher, Watch { object, topic, after }, &self.events, self.position)
    }

    fn tell_watchers(&mut self, emitted: impl IntoIterator<Item = ObjectId>) -> Vec<(ClientToken, Response)> {
        let gone = |object| self.registry.gone(object);
        self.watchers.tell(emitted, &self.events, self.position, gone)
    }

    /// Takes over who watches here from the application that this one takes the place of. Gives what they are told at once.
    pub fn take_watchers(&mut self, before: Application<O>) -> Vec<(ClientToken, Response)> {
        self.watchers = before.watchers;
        self.tell_watchers(self.watchers.objects())
    }

    /// Whose state this is.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The last slot that was applied.
    pub fn applied(&self) -> Slot {
        self.applied
    }

    /// The decided time: the highest stamp so far.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The position of the last input that an object was given.
    pub fn position(&self) -> Position {
        self.position
    }

    /// A hash over everything that decided batches have come to: equal on replicas that agree, for checkers.
    pub fn state_hash(&mut self) -> u64 {
        let digest =
            Digest::new().with(&(self.cluster, self.position, self.now, self.applied, self.replies, self.version));
        let mut digest = self.timers.digest(self.parked.digest(self.sessions.digest(digest)));
        digest = self.events.digest(digest);
        digest = self.operations.digest(self.registry.digest(digest));
        for id in self.registry.ids() {
            digest = digest.with(&self.objects.state_hash(id));
        }
        digest.finish()
    }

    /// How many calls wait for each object, for checkers.
    pub fn parked(&self) -> BTreeMap<ObjectId, u64> {
        self.parked.counts()
    }

    /// Whoever runs the objects.
    pub fn objects(&self) -> &O {
        &self.objects
    }

    /// The same, for checkers that spoil a state on purpose.
    pub fn objects_mut(&mut self) -> &mut O {
        &mut self.objects
    }

    /// Time never falls. In each new second, sessions that were silent for too long are closed, before the commands
    /// that come with it.
    fn advance_time(&mut self, stamp: Timestamp, said: &mut Said) {
        let before = self.now;
        self.now = before.max(stamp);
        if self.now.0 / SECOND_US > before.0 / SECOND_US {
            let mut looked_at = 0;
            while let Some(silent) = self.sessions.find_silent(self.now, &mut looked_at) {
                self.close(silent, said);
            }
        }
    }

    fn execute(&mut self, at: SessionId, command: &CommandRef<'_>, said: &mut Said) -> Result<(), HostFault> {
        match *command {
            CommandRef::OpenSession { nonce, ttl_ms } => {
                let result = self.sessions.open(at, nonce, ttl_ms, self.now);
                checks::note(&mut self.replies, &result);
                said.say(|| Completed::Session { nonce, result });
            }
            CommandRef::KeepAlive { session } => {
                let alive = self.sessions.keep_alive(session, self.now);
                checks::note(&mut self.replies, &alive);
                said.say(|| if alive { Completed::Kept { session } } else { Completed::Gone { session } });
            }
            CommandRef::ResumeSession { session, secret, nonce } => {
                let result = self.resume_session(session, secret, nonce, said);
                checks::note(&mut self.replies, &result);
                said.say(|| Completed::Resumed { nonce, result });
            }
            CommandRef::Atomically { call, floor, received, parts } => {
                let parts: Vec<PartRef<'_>> =
                    codec::from_bytes(parts).map_err(|why| HostFault::Batch { slot: at.slot, why })?;
                return self.call_atomically(call, floor, received, &parts, said);
            }
            // It has taken effect already.
            CommandRef::Version(_) => {}
            CommandRef::CloseSession { session } => self.close(session, said),
            CommandRef::Call { call, floor, received, wait_us, object, method, arguments } => {
                let called = Called { call, wait_us, object, method, arguments };
                return self.call_once(&called, floor, received, said);
            }
            CommandRef::Cancel { call } => {
                self.sessions.keep_alive(call.session, self.now);
                return self.end_wait(call, said, |object, _| CallError::Cancelled { object });
            }
            CommandRef::Operate { .. } if self.hurried => return Err(HostFault::Later),
            CommandRef::Operate { nonce, ref action } => {
                let result = self.operate_once(at.slot, nonce, action, said)?;
                checks::note(&mut self.replies, &result);
                said.say(|| Completed::Operated { nonce, result });
            }
        }
        Ok(())
    }

    fn run_query(&mut self, object: ObjectId, method: &str, arguments: &[u8]) -> Result<CallResult, HostFault> {
        let entry = match self.registry.resolve_query(object, method) {
            Ok(entry) => entry,
            Err(error) => return Ok(Err(error)),
        };
        let invocation = Invocation {
            position: self.position,
            now: self.now,
            seed: seed(self.cluster, object, self.position, Seed::Query),
            call: None,
            caller: None,
            trigger: Trigger::Call { method },
        };
        let outcome = self.objects.query(object, &invocation, arguments).and_then(|outcome| {
            outcomes::accept_query(&outcome).map_err(Fault::Misbehaved)?;
            Ok(outcome)
        });
        match outcome {
            Ok(Outcome { reply: Reply::Now(answer), .. }) => Ok(Ok(answer)),
            Ok(_) => unreachable!("a query that is accepted answers"),
            Err(fault) => faulted(&entry.name, method, self.applied, fault).map(Err),
        }
    }
}

/// What a seed is for. A query runs at the position of the last input and must not see the numbers that it drew.
#[derive(Clone, Copy)]
enum Seed {
    Input,
    Query,
}

/// Seed of the random numbers of one input: cluster, object, position and purpose, each mixed in with splitmix64.
fn seed(cluster: ClusterId, object: ObjectId, position: Position, purpose: Seed) -> u64 {
    let parts = [(cluster.0 >> 64) as u64, cluster.0 as u64, u64::from(object.0), position.0, purpose as u64];
    parts.into_iter().fold(0, |seed, part| mix(seed ^ part))
}

/// What a call's caller is told of a fault that is the same on every replica.
fn faulted(object: &str, method: &str, applied: Slot, fault: Fault) -> Result<CallError, HostFault> {
    let (object, method) = (object.to_owned(), method.to_owned());
    match fault {
        Fault::Trapped(message) => Ok(CallError::Trapped { object, method, message }),
        Fault::Limit(reached) => Ok(CallError::LimitReached { object, method, reached }),
        Fault::Misbehaved(why) | Fault::Refused(why) => Ok(CallError::Misbehaved { object, method, why }),
        Fault::Host(why) => Err(HostFault::Object { object, applied, why }),
        Fault::Later => Err(HostFault::Later),
    }
}
