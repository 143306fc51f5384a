//! One replica's machine: the production log, recovery and snapshots on a simulated disk, and what its driver holds.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use concoord::wire::checkpoint::Checkpoint;
use concoord::wire::client::Response;
use concoord::wire::member::{Member, View};
use concoord::wire::peer::Message;
use concoord::wire::record::Record;
use concoord::wire::value::Value;
use concoord::wire::version::Versions;
use concoord::wire::{Ballot, ClusterId, NodeId, Slot};
use concoord_consensus::application::{HostFault, RestoreError};
use concoord_consensus::io::{Applied, ClientToken, Effect, LogPosition, Past, Query, Question, Replayed};
use concoord_consensus::{Application, Config, Policy, Replica, Timing};
use concoord_node::disk::{MemoryDirectory, SimulatedDisk};
use concoord_node::log::{self, Identity, Log, LogError, LogOptions, OpenError};
use concoord_node::snapshots::{Incoming, LoadedSnapshot, SnapshotError, Snapshots};

use super::clock::Clock;
use super::objects::{GAS_AT_FIRST, Natives};

/// Small, so that logs roll often.
const SEGMENT_BYTES: u64 = 64 << 10;

/// A replica's process and machine.
#[derive(Debug)]
pub struct Node {
    /// Its identity.
    pub id: NodeId,
    /// As it is listed.
    pub member: Member,
    /// Its address, by number; replacements share one.
    pub address: usize,
    /// What runs; `None` while it is down.
    pub process: Option<Process>,
    /// Its disk.
    pub disk: SimulatedDisk,
    /// It has run: its disk says who it is, if it has one.
    pub started: bool,
    /// The view that its log starts in.
    pub genesis: View,
    /// Until when it does nothing.
    pub paused_until_us: u64,
    /// Its clocks.
    pub clock: Clock,
    /// An operator asked it to stop, and it has not stopped yet.
    pub stopping: Option<Stop>,
    /// It is gone for good: it left, or its disk is lost.
    pub gone: bool,
    /// While it is down: whether its log may hold a change of view that is not decided.
    pub may_change_view: bool,
    /// While it is down: whether its disk lost what it had accepted.
    pub is_damaged: bool,
    /// Whether its disk was ever damaged on purpose.
    pub was_damaged: bool,
    /// While it is down: up to where its disk says that slots are decided. Nothing is promised of a disk that was damaged
    /// since.
    pub wrote_decided: Slot,
}

/// How a replica was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// For good: another one takes its address.
    ForGood,
    /// To start again with what it has on disk.
    ToRestart,
}

/// What runs on a node.
#[derive(Debug)]
pub struct Process {
    /// Which life of the node; events of earlier lives are void.
    pub life: u64,
    /// The production replica.
    pub replica: Replica,
    /// The versions of its build.
    pub supports: Versions,
    /// The production application.
    pub application: Application<Natives>,
    /// What the application has not done yet.
    pub queue: VecDeque<Work>,
    /// Sends that wait for the disk.
    pub held: Vec<(LogPosition, NodeId, Message)>,
    /// The log's position that the disk has reached.
    pub durable: LogPosition,
    /// The log; `None` for a replica that keeps nothing on disk.
    pub log: Option<Log>,
    /// Records that wait for the next frame.
    pub waiting: Vec<(LogPosition, Record)>,
    /// A frame is written and not synced.
    pub syncing: bool,
    /// Only the disk's reserve is left.
    pub disk_full: bool,
    /// Its snapshots.
    pub snapshots: Snapshots,
    /// The snapshot that it receives, and how many bytes that has in all.
    pub incoming: Option<(Incoming, u64)>,
    /// A snapshot that it received and has not taken over.
    pub received: Option<LoadedSnapshot>,
    /// The highest ballot that is durable here.
    pub durable_ballot: Ballot,
    /// Up to where the disk says for sure that slots are decided.
    durable_decided: Slot,
    /// Whether the disk has again all that it lost, as far as anybody needs it.
    whole: bool,
    /// The frame that is under way has the last of it.
    makes_whole: bool,
}

/// Work for the application.
#[derive(Debug)]
pub enum Work {
    /// Apply a batch.
    Apply(Slot, Bytes, bool),
    /// Answer a query.
    Query(Query),
    /// Answer a question about objects.
    Ask(Question),
    /// Try a module out.
    TryOut(u64),
    /// Make a snapshot.
    Snapshot(Checkpoint),
    /// Take one over.
    Restore(Slot, Vec<u8>),
}

/// The build of a node does not apply what is decided.
#[derive(Debug)]
pub struct TooOld(String);

impl std::fmt::Display for TooOld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the application did.
#[derive(Debug)]
pub enum Done {
    /// For the replica.
    Applied(Applied),
    /// For a client.
    Response(ClientToken, Option<Response>),
    /// A module was tried.
    TriedOut(u64),
    /// To be kept.
    Snapshot(Checkpoint, Vec<u8>),
    /// The application goes on from this slot, and tells watchers.
    Restored(Slot, Vec<(ClientToken, Response)>),
}

/// What a start is drawn with.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// The cluster.
    pub cluster: ClusterId,
    /// Members to ask.
    pub contacts: Vec<NodeId>,
    /// How long things take.
    pub timing: Timing,
    /// What kind of member it is.
    pub policy: Policy,
    /// For the replica.
    pub seed: u64,
    /// Which life.
    pub life: u64,
    /// Simulated time.
    pub now_us: u64,
}

/// Why a node does not start.
#[derive(Debug)]
pub enum StartError {
    /// Its data is refused: it never votes again.
    Refused(String),
    /// Its disk has no room at the moment.
    NotNow,
}

impl Node {
    /// A machine that is off.
    #[must_use]
    pub fn new(member: Member, address: usize, genesis: View) -> Node {
        Node {
            id: member.id,
            member,
            address,
            process: None,
            disk: SimulatedDisk::new(),
            started: false,
            genesis,
            paused_until_us: 0,
            clock: Clock::new(),
            stopping: None,
            gone: false,
            may_change_view: false,
            is_damaged: false,
            was_damaged: false,
            wrote_decided: Slot(0),
        }
    }

    /// Starts the process, from the disk where it holds something. Gives the first effects.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(&mut self, beginning: &Beginning) -> Result<Vec<Effect>, StartError> {
        self.clock.restart(beginning.now_us);
        let cluster = beginning.cluster;
        let genesis = Checkpoint::genesis(cluster, self.genesis.clone());
        let directory = Arc::new(self.disk.clone());
        let (log, snapshots, base, body, past) = if beginning.policy.volatile {
            let snapshots = Snapshots::new(Arc::new(MemoryDirectory::new()));
            let body = empty_state(cluster);
            snapshots.save(&genesis, &body).expect("memory takes everything");
            (None, snapshots, genesis, body, Past::default())
        } else {
            let options = LogOptions::new(SEGMENT_BYTES);
            if !self.started {
                let identity = Identity { cluster, node: self.id, tag: beginning.seed };
                let created = Log::create(directory.clone(), identity, &genesis, &empty_state(cluster), options);
                created.map_err(|_| StartError::NotNow)?;
            }
            let (mut log, recovered) = Log::open(directory.clone(), options).map_err(|error| match error {
                OpenError::File(_) | OpenError::Snapshot(SnapshotError::File(_)) => StartError::NotNow,
                refused => StartError::Refused(refused.to_string()),
            })?;
            self.is_damaged = recovered.damage.iter().any(|damage| damage.unknown.is_some());
            let snapshot = recovered.snapshot.ok_or_else(|| StartError::Refused("no snapshot is whole".into()))?;
            let replayed = recovered.replay.into_iter().map(|item| match item {
                log::Replayed::Record(record) => Replayed::Record(record),
                log::Replayed::Unknown { lowest, highest } => Replayed::Unknown { first: lowest, last: highest },
            });
            let position = LogPosition(recovered.next.0 - 1);
            let past = Past { promised: recovered.promised, replayed: replayed.collect(), position };
            // Room is asked for again while it runs.
            let _ = log.prepare_spare();
            (Some(log), Snapshots::new(directory), snapshot.checkpoint, snapshot.body, past)
        };
        self.started = true;
        let supports = self.member.supports;
        let application = if beginning.policy.witness {
            // It opens no snapshot: its build may lack the version of that.
            Application::new(cluster, Natives::default())
        } else {
            let restored = Application::restore_supporting(cluster, Natives::default(), supports, &body);
            restored.expect("a snapshot of our own")
        };
        let config = Config {
            node: self.id,
            member: self.member.clone(),
            version: application.version(),
            base,
            contacts: beginning.contacts.clone(),
            timing: beginning.timing,
            policy: beginning.policy,
            seed: beginning.seed,
        };
        let (durable, durable_ballot) = (past.position, past.promised);
        let mut effects = Vec::new();
        let now = self.clock.time(beginning.now_us);
        let replica = Replica::recover(config, now, past, &mut effects);
        let whole = replica.unknown().is_empty();
        let durable_decided = replica.decided();
        self.process = Some(Process {
            life: beginning.life,
            replica,
            supports,
            application,
            queue: VecDeque::new(),
            held: Vec::new(),
            durable,
            log,
            waiting: Vec::new(),
            syncing: false,
            disk_full: false,
            snapshots,
            incoming: None,
            received: None,
            durable_ballot,
            durable_decided,
            whole,
            makes_whole: whole,
        });
        Ok(effects)
    }

    /// The process is gone, whatever the reason; what it had on its mind is noted for those who draw faults.
    pub fn end(&mut self) {
        if let Some(process) = self.process.take() {
            let changes = |value: &Value| matches!(value, Value::View(_));
            self.may_change_view = process.replica.undecided().iter().any(|accepted| changes(&accepted.value));
            self.is_damaged = process.is_damaged();
            self.wrote_decided = process.durable_decided;
        }
        self.stopping = None;
    }

    /// The disk is lost.
    pub fn lose_disk(&mut self) {
        self.end();
        self.disk = SimulatedDisk::new();
        self.gone = true;
    }

    /// The disk is lost, and an empty one takes its place under the same identity, which nobody may ever do.
    pub fn restart_empty(&mut self) {
        self.lose_disk();
        (self.gone, self.started) = (false, false);
    }

    /// Whether it keeps nothing on disk, so that its end is the loss of its disk.
    #[must_use]
    pub fn is_volatile(&self) -> bool {
        self.member.volatile
    }
}

/// The state of a cluster before its first slot.
fn empty_state(cluster: ClusterId) -> Vec<u8> {
    Application::new(cluster, Natives::default()).snapshot().expect("nothing can be read")
}

impl Process {
    /// Writes what waits as one frame, unless one is under way. Tells whether one was begun.
    ///
    /// # Errors
    /// [`LogError`]: the process ends.
    pub fn begin_frame(&mut self) -> Result<bool, LogError> {
        if self.syncing || self.waiting.is_empty() {
            return Ok(false);
        }
        if let Some(log) = &mut self.log {
            log.write(&self.waiting)?;
        }
        self.syncing = true;
        self.makes_whole = self.replica.unknown().is_empty();
        Ok(true)
    }

    /// Syncs the frame that is under way: gives the position that is durable now.
    ///
    /// # Errors
    /// [`LogError`]: the process ends.
    pub fn sync_frame(&mut self, written: LogPosition) -> Result<LogPosition, LogError> {
        self.syncing = false;
        let durable = match &mut self.log {
            Some(log) => log.sync()?,
            None => written,
        };
        for (_, record) in self.waiting.extract_if(.., |(position, _)| *position <= durable) {
            match record {
                Record::Promised(ballot) | Record::Accepted { ballot, .. } => {
                    self.durable_ballot = self.durable_ballot.max(ballot);
                }
                Record::Decided(slot) => self.durable_decided = slot,
                Record::Void { .. } => {}
            }
        }
        self.durable = durable;
        self.whole |= self.makes_whole;
        Ok(durable)
    }

    /// Whether the disk lost something of what was accepted, and does not have it again.
    pub fn is_damaged(&self) -> bool {
        !(self.whole && self.replica.unknown().is_empty())
    }

    /// Does the next piece of work.
    ///
    /// # Errors
    /// [`TooOld`].
    ///
    /// # Panics
    /// When the host can't run an object, which it always can.
    pub fn work(&mut self) -> Option<Result<Done, TooOld>> {
        let work = self.queue.pop_front()?;
        Some(self.carry_out(work))
    }

    /// Does something with little gas first, and with all of it where that is too little.
    fn hurried<T>(
        &mut self,
        mut something: impl FnMut(&mut Application<Natives>) -> Result<T, HostFault>,
    ) -> Result<T, HostFault> {
        self.application.hurry(Some(GAS_AT_FIRST));
        let done = something(&mut self.application);
        self.application.hurry(None);
        if done.as_ref().is_err_and(|fault| *fault == HostFault::Later) {
            something(&mut self.application)
        } else {
            done
        }
    }

    fn carry_out(&mut self, work: Work) -> Result<Done, TooOld> {
        Ok(match work {
            Work::Apply(slot, batch, replies) => {
                match self.hurried(|application| application.apply(slot, &batch, replies)) {
                    Err(why @ HostFault::Version { .. }) => return Err(TooOld(why.to_string())),
                    applied => Done::Applied(applied.expect("a decided batch applies")),
                }
            }
            Work::Query(query) => {
                let client = query.client;
                let answered = self.hurried(|application| application.query(&query));
                Done::Response(client, Some(answered.expect("every object runs here")))
            }
            Work::Ask(question) => {
                let answered = self.application.ask(&question);
                Done::Response(question.client, answered.expect("every object runs here"))
            }
            Work::TryOut(trial) => Done::TriedOut(trial),
            Work::Snapshot(checkpoint) => {
                Done::Snapshot(checkpoint, self.application.snapshot().expect("every object runs here"))
            }
            Work::Restore(slot, body) => {
                let cluster = self.application.cluster();
                let supports = self.supports;
                let restored = match Application::restore_supporting(cluster, Natives::default(), supports, &body) {
                    Err(why @ RestoreError::ClusterVersion { .. }) => return Err(TooOld(why.to_string())),
                    restored => restored.expect("a snapshot that was checked"),
                };
                let before = std::mem::replace(&mut self.application, restored);
                Done::Restored(slot, self.application.take_watchers(before))
            }
        })
    }
}
