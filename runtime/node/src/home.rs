//! The data directory when a replica starts: an earlier life to go on with, or an empty one to be set up.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use concoord_consensus::Application;
use concoord_consensus::io::{LogPosition, Past, Replayed};
use concoord_executor::{CodeCache, Compiler, EngineError, Executor};
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::member::View;
use concoord_wire::{ClusterId, NodeId, ViewId};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::disk::{Directory, RealDirectory};
use crate::error::NodeError;
use crate::log::names::NATIVE_CODE;
use crate::log::{Identity, Log, LogEvent, LogOptions, OpenError, Recovered};
use crate::options::{Options, Storage};
use crate::store::Store;

/// Where a replica is going to keep its data.
pub(crate) enum Home {
    /// It was somebody before.
    Lived(Box<Life>),
    /// A directory for somebody new.
    Empty(Arc<dyn Directory>),
    /// Nothing is kept.
    Nowhere,
}

/// An earlier life.
pub(crate) struct Life {
    path: PathBuf,
    directory: Arc<dyn Directory>,
    log: Log,
    recovered: Recovered,
}

/// A replica's data, ready to be gone on with.
pub(crate) struct Furnished {
    pub(crate) store: Store,
    pub(crate) events: UnboundedReceiver<LogEvent>,
    pub(crate) application: Application<Executor>,
    pub(crate) base: Checkpoint,
    pub(crate) past: Past,
    /// What an earlier life left to look at once its members are known.
    pub(crate) lived: Option<Lived>,
}

/// What may keep a replica from going on with an earlier life, and takes its newest view to tell.
pub(crate) struct Lived {
    path: PathBuf,
    node: NodeId,
    /// The view of the highest ballot that it promised.
    promised: ViewId,
    /// Damage that lost records.
    damage: Option<String>,
}

impl Home {
    /// Looks at the directory and locks it.
    ///
    /// # Errors
    /// [`NodeError`] when it belongs to somebody else, is damaged beyond repair, or is not to be used.
    pub(crate) fn open(storage: &Storage) -> Result<Home, NodeError> {
        match storage {
            Storage::Memory(None) => Ok(Home::Nowhere),
            Storage::Memory(Some(path)) if !path.exists() => Ok(Home::Nowhere),
            Storage::Memory(Some(path)) => match open_log(path)? {
                (_, Some((log, _))) => Err(NodeError::HoldsData { path: path.clone(), node: log.identity().node }),
                (_, None) => Ok(Home::Nowhere),
            },
            Storage::Disk(path) => match open_log(path)? {
                (directory, Some((log, recovered))) => {
                    Ok(Home::Lived(Box::new(Life { path: path.clone(), directory, log, recovered })))
                }
                (directory, None) => Ok(Home::Empty(directory)),
            },
        }
    }

    /// Whose data is there.
    pub(crate) fn identity(&self) -> Option<Identity> {
        match self {
            Home::Lived(life) => Some(life.recovered.identity),
            Home::Empty(_) | Home::Nowhere => None,
        }
    }

    /// Sets up what a new replica starts with: the beginning of the cluster, durable before anybody hears of it.
    ///
    /// # Errors
    /// [`NodeError`] when that can't be written.
    ///
    /// # Panics
    /// When somebody lived here: there is an own way for them.
    pub(crate) fn furnish(
        self,
        cluster: ClusterId,
        node: NodeId,
        genesis: View,
        compiler: &Arc<dyn Compiler>,
    ) -> Result<Furnished, NodeError> {
        let base = Checkpoint::genesis(cluster, genesis);
        let mut application = Application::new(cluster, executor(compiler)?);
        let body = application.snapshot().map_err(|fault| NodeError::HostFault { why: fault.to_string() })?;
        let (store, events) = match self {
            Home::Nowhere => Store::in_memory(&base, &body)?,
            Home::Empty(directory) => {
                let identity = Identity { cluster, node, tag: rand::random() };
                let log = Log::create(Arc::clone(&directory), identity, &base, &body, LogOptions::default())?;
                Store::on_disk(log, directory)?
            }
            Home::Lived(_) => unreachable!("who lived here is not somebody new"),
        };
        Ok(Furnished { store, events, application, base, past: Past::default(), lived: None })
    }
}

impl Life {
    /// Goes on with it: state from the newest snapshot, and the log above it.
    ///
    /// # Errors
    /// [`NodeError`] when it can't be gone on with: damage that nobody can repair, a snapshot that can't be taken over.
    pub(crate) fn go_on(self, options: &Options) -> Result<Furnished, NodeError> {
        let Life { path, directory, log, recovered } = self;
        let Recovered { identity, snapshot, replay, promised, damage, cut, next, .. } = recovered;
        for damage in &damage {
            tracing::warn!("damaged: {damage} in {}", path.display());
        }
        if let Some(cut) = cut {
            tracing::info!(
                "{}: {} bytes from byte {} on were never synced and are cut",
                cut.file,
                cut.bytes,
                cut.offset
            );
        }
        let Some(snapshot) = snapshot else {
            let damage = damage.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return Err(NodeError::NoSnapshot { path, damage });
        };
        let base = snapshot.checkpoint;
        let application = if options.policy.witness {
            Application::new(identity.cluster, executor(&options.compiler)?)
        } else {
            Application::restore(identity.cluster, executor(&options.compiler)?, &snapshot.body).map_err(|error| {
                NodeError::NotRestored { path: path.clone(), slot: base.slot, why: error.to_string() }
            })?
        };
        let replayed = replay.into_iter().map(Replayed::from);
        let past = Past { promised, replayed: replayed.collect(), position: LogPosition(next.0 - 1) };
        tracing::info!(
            "going on with the data in {}: snapshot of slot {}, {} records of log",
            path.display(),
            base.slot,
            past.replayed.len()
        );
        let (store, events) = Store::on_disk(log, directory)?;
        let damage = damage.iter().find(|damage| damage.unknown.is_some()).map(ToString::to_string);
        let lived = Lived { path, node: identity.node, promised: promised.view, damage };
        Ok(Furnished { store, events, application, base, past, lived: Some(lived) })
    }
}

impl Lived {
    /// Whether a replica that knows its newest `view` again may go on.
    ///
    /// # Errors
    /// [`NodeError`]: only this replica could repair its damage, it is started elsewhere than its peers reach it, or as
    /// another kind.
    pub(crate) fn check(&self, view: &View, address: SocketAddr, witness: bool) -> Result<(), NodeError> {
        let path = || self.path.clone();
        // A promise in a later view than it knows is the trace of members that it doesn't know.
        let alone = view.voters().eq([self.node]) && self.promised <= view.id;
        if let (Some(damage), true) = (&self.damage, alone) {
            return Err(NodeError::Damaged { path: path(), damage: damage.clone() });
        }
        let Some(member) = view.members.get(&self.node) else { return Ok(()) };
        if member.is_witness() != witness {
            let kind = |witness| if witness { "witness" } else { "replica" };
            return Err(NodeError::OtherKind { path: path(), was: kind(member.is_witness()), now: kind(witness) });
        }
        if member.address != address {
            return Err(NodeError::Moved { path: path(), node: self.node, was: member.address, now: address });
        }
        Ok(())
    }
}

impl From<crate::log::Replayed> for Replayed {
    fn from(item: crate::log::Replayed) -> Replayed {
        match item {
            crate::log::Replayed::Record(record) => Replayed::Record(record),
            crate::log::Replayed::Unknown { lowest, highest } => Replayed::Unknown { first: lowest, last: highest },
        }
    }
}

/// Whether a replica's data is in the directory at `path`, as far as that can be told without opening it.
#[must_use]
pub fn is_lived_in(path: &Path) -> bool {
    path.join(crate::log::names::IDENTITY).exists()
}

type Opened = (Arc<dyn Directory>, Option<(Log, Recovered)>);

fn open_log(path: &Path) -> Result<Opened, NodeError> {
    let directory: Arc<dyn Directory> = Arc::new(RealDirectory::open(path)?);
    match Log::open(Arc::clone(&directory), LogOptions::default()) {
        Ok(opened) => Ok((directory, Some(opened))),
        Err(OpenError::Empty { .. }) => Ok((directory, None)),
        Err(error) => Err(error.into()),
    }
}

/// Keeps the native code that a replica's compiler makes.
pub(crate) fn native_code(storage: &Storage, compiler: Arc<dyn Compiler>) -> Result<Arc<dyn Compiler>, NodeError> {
    let cache = match storage {
        Storage::Disk(path) => CodeCache::in_directory(&path.join(NATIVE_CODE), compiler),
        Storage::Memory(_) => CodeCache::in_memory(compiler),
    };
    Ok(Arc::new(cache.map_err(host_fault)?))
}

pub(crate) fn executor(compiler: &Arc<dyn Compiler>) -> Result<Executor, NodeError> {
    Ok(Executor::new().map_err(host_fault)?.with_compiler(Arc::clone(compiler)))
}

fn host_fault(error: EngineError) -> NodeError {
    NodeError::HostFault { why: error.to_string() }
}
