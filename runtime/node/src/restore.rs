//! A data directory for the first replica of a new cluster, made from a backup or from what a dead cluster left.
//!
//! The new cluster goes on where the old state ends: at the same slot, so that no session id is given twice, and with
//! positions of a new epoch, so that fencing tokens and revisions are above all that the old cluster gave. Everything
//! else is new: the cluster's id, the replica's id, and a view of that one replica. So the two clusters can't mix, should
//! the old one live on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use concoord_consensus::application::HostFault;
use concoord_consensus::application::RestoreError as StateError;
use concoord_consensus::io::{Effect, LogPosition, Past, Replayed, Time};
use concoord_consensus::{Application, Config, Policy, Replica, Timing};
use concoord_executor::{Compiler, Executor};
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::member::{Member, Services, Standing, View};
use concoord_wire::record::Record;
use concoord_wire::version::Versions;
use concoord_wire::{ClusterId, NodeId, Slot, Timestamp};

use crate::disk::{Directory, DirectoryError, RealDirectory};
use crate::error::NodeError;
use crate::home::{executor, is_lived_in, native_code};
use crate::log::{self, CreateError, Identity, Log, LogError, LogOptions, OpenError, Recovered};
use crate::options::Storage;
use crate::snapshots::{self, LoadedSnapshot, SnapshotError};

/// A new cluster that was made from an old one's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Whose state it is.
    pub from: ClusterId,
    /// The new cluster.
    pub cluster: ClusterId,
    /// Its first replica.
    pub node: NodeId,
    /// It has the state after this slot.
    pub slot: Slot,
    /// Of a dead replica's data: up to where that replica knew what was decided. What it accepted beyond that, it may have
    /// been alone with; it is in the state all the same.
    pub decided: Slot,
    /// Of a dead replica's data: what of it is damaged, a line each.
    pub damage: Vec<String>,
}

/// Why no new cluster was made.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A replica's data holds no more than that replica knew.
    #[error(
        "{} is a replica's data and not a backup: what the others decided and this replica never heard of would be lost; \
         give --force-new-cluster to accept that, once no majority of its cluster can be started any more", .path.display()
    )]
    NotABackup {
        /// The directory.
        path: PathBuf,
    },
    /// Somebody's data is where the new cluster's should be.
    #[error("{} holds a replica's data already: give --data-dir another directory", .path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
    },
    /// Nobody can be told to dial this address.
    #[error("{address} can't be dialed by others: give -a and -p what they reach the replica under")]
    Address {
        /// The address.
        address: SocketAddr,
    },
    /// There is nothing to go on with.
    #[error("{} is the state before slot 1, which every new cluster begins with: start one without it", .path.display())]
    Nothing {
        /// Where it was read.
        path: PathBuf,
    },
    /// No snapshot of a replica's data is whole.
    #[error("no snapshot in {} is whole: {damage}", .path.display())]
    NoSnapshot {
        /// The directory.
        path: PathBuf,
        /// What is wrong with them.
        damage: String,
    },
    /// The backup can't be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The replica's data can't be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A directory can't be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The state can't be made again from what was read.
    #[error(transparent)]
    State(#[from] StateError),
    /// This host can't run an object.
    #[error(transparent)]
    Host(#[from] HostFault),
    /// This host can run no objects at all.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The new directory can't be set up.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The new log can't be closed.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The state to go on from.
struct State {
    from: ClusterId,
    slot: Slot,
    stamp: Timestamp,
    /// As [`Application::snapshot`] gives it.
    body: Vec<u8>,
    decided: Slot,
    damage: Vec<String>,
}

/// Makes `data_dir` the directory of a replica that is alone in a new cluster and is going to be reached at `address`.
/// `source` is a backup; with `force` it may also be the data directory of a replica whose cluster is dead, which is only
/// read. `compiler` compiles the objects' modules, each once.
///
/// # Errors
/// [`RestoreError`]; `data_dir` holds no replica's data then.
pub fn restore(
    source: &Path,
    data_dir: &Path,
    address: SocketAddr,
    force: bool,
    compiler: Arc<dyn Compiler>,
) -> Result<Restored, RestoreError> {
    let compiler = native_code(&Storage::Memory(None), compiler)?;
    if address.ip().is_unspecified() || address.port() == 0 {
        return Err(RestoreError::Address { address });
    }
    if is_lived_in(data_dir) {
        return Err(RestoreError::Occupied { path: data_dir.to_owned() });
    }
    let state = match (source.is_dir(), force) {
        (false, _) => state_of(snapshots::load_file(source)?),
        (true, false) => return Err(RestoreError::NotABackup { path: source.to_owned() }),
        (true, true) => left_state(source, &compiler)?,
    };
    if state.slot == Slot::ZERO {
        return Err(RestoreError::Nothing { path: source.to_owned() });
    }
    found(state, data_dir, address, &compiler)
}

fn state_of(snapshot: LoadedSnapshot) -> State {
    let LoadedSnapshot { checkpoint: Checkpoint { cluster, slot, stamp, .. }, body, .. } = snapshot;
    State { from: cluster, slot, stamp, body, decided: slot, damage: Vec::new() }
}

/// What a replica of a dead cluster has come to, by its snapshot and its log.
///
/// Beyond what it knew as decided, it goes on with what it accepted: a majority may have accepted the same and told the
/// caller. Where the others decided otherwise, that is lost anyway.
fn left_state(path: &Path, compiler: &Arc<dyn Compiler>) -> Result<State, RestoreError> {
    let directory: Arc<dyn Directory> = Arc::new(RealDirectory::open_read_only(path)?);
    let Recovered { identity, snapshot, replay, promised, decided, accepted, damage, .. } = log::read(directory)?;
    let damage = damage.iter().map(ToString::to_string).collect::<Vec<_>>();
    let Some(snapshot) = snapshot else {
        return Err(RestoreError::NoSnapshot { path: path.to_owned(), damage: damage.join("; ") });
    };
    let LoadedSnapshot { checkpoint, body, .. } = snapshot;
    let mut application = Application::restore(identity.cluster, executor(compiler)?, &body)?;
    let mut replayed = replay.into_iter().map(Replayed::from).collect::<Vec<_>>();
    replayed.push(Replayed::Record(Record::Decided(accepted)));
    let stamp = checkpoint.stamp;
    let config = Config {
        node: identity.node,
        member: member(identity.node, ([127, 0, 0, 1], 1).into()),
        version: application.version(),
        base: checkpoint,
        contacts: Vec::new(),
        timing: Timing::default(),
        policy: Policy::default(),
        seed: 0,
    };
    let mut effects = Vec::new();
    let past = Past { promised, replayed, position: LogPosition(0) };
    let replica = Replica::recover(config, Time::default(), past, &mut effects);
    for effect in effects {
        if let Effect::Apply { slot, batch, .. } = effect {
            application.apply(slot, &batch, false)?;
        }
    }
    let slot = replica.decided();
    let (stamp, body) = (stamp.max(application.now()), application.snapshot()?);
    Ok(State { from: identity.cluster, slot, stamp, body, decided: decided.min(slot), damage })
}

/// Founds a cluster with this state.
fn found(
    state: State,
    data_dir: &Path,
    address: SocketAddr,
    compiler: &Arc<dyn Compiler>,
) -> Result<Restored, RestoreError> {
    let State { from, slot, stamp, body, decided, damage } = state;
    let (cluster, node) = (ClusterId(rand::random()), NodeId(rand::random()));
    let mut application = Application::<Executor>::restore_as_new_cluster(cluster, executor(compiler)?, &body)?;
    let body = application.snapshot()?;
    let view = View::first([member(node, address)]);
    let checkpoint = Checkpoint { cluster, slot, genesis: view.clone(), view, view_slot: slot, stamp };
    let directory: Arc<dyn Directory> = Arc::new(RealDirectory::open(data_dir)?);
    let identity = Identity { cluster, node, tag: rand::random() };
    let created = Log::create(directory, identity, &checkpoint, &body, LogOptions::default());
    let log = created.map_err(|error| match error {
        CreateError::Exists { .. } => RestoreError::Occupied { path: data_dir.to_owned() },
        error => error.into(),
    })?;
    log.close()?;
    Ok(Restored { from, cluster, node, slot, decided, damage })
}

fn member(id: NodeId, address: SocketAddr) -> Member {
    Member {
        id,
        address,
        services: Services::default(),
        volatile: false,
        standing: Standing::Voter,
        silent: false,
        supports: Versions::OF_BUILD,
    }
}
