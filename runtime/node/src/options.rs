//! How a replica is started.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use concoord_consensus::{Policy, Timing};
use concoord_executor::{Compiler, InProcess};
use concoord_wire::abi::ObjectLimits;
use concoord_wire::member::Services;
use concoord_wire::{ClusterId, NodeId};

use crate::error::NodeError;

/// How long a new replica tries to reach a member of its cluster, if nothing else is said.
pub const BOOT_WAIT: Duration = Duration::from_secs(10);

/// What a replica is told when it starts.
pub struct Options {
    /// Where peers and clients reach it; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Members of the cluster to join; empty for the first replica of a new cluster.
    pub bootstrap: Vec<SocketAddr>,
    /// How long the members to join may take to answer.
    pub boot_wait: Duration,
    /// The object that a new cluster starts with. A cluster that there is has its own: then this is only compared with
    /// it, as [`ObjectSource::by_name`] says.
    pub object: Option<ObjectSource>,
    /// Who makes native code of the objects' modules. What it made is kept beside the log, or in memory where there is no
    /// disk.
    pub compiler: Arc<dyn Compiler>,
    /// Where the log and snapshots are kept.
    pub storage: Storage,
    /// The address that others reach, where that is another than `listen`.
    pub advertise: Option<SocketAddr>,
    /// What it offers beside replicating. That it is a witness follows from `policy`.
    pub services: Services,
    /// What kind of member it is. Whether it is volatile follows from `storage`.
    pub policy: Policy,
    /// How long things take.
    pub timing: Timing,
    /// Whether to serve on an address that is not loopback although nobody there is authenticated.
    pub insecure: bool,
    /// Called once, when the replica serves: it votes, and a first replica leads and has loaded its object.
    pub on_ready: Option<Box<dyn FnOnce(Ready) + Send + Sync>>,
}

/// Where a replica keeps what it must not forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In this directory. A replica that finds its data there goes on as itself.
    Disk(PathBuf),
    /// In memory, as a new member each time. A directory that holds a replica's data is refused, if one is named.
    Memory(Option<PathBuf>),
}

/// An object to start with.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectSource {
    /// The name by which clients find it.
    pub name: String,
    /// The Wasm module.
    pub module: Vec<u8>,
    /// Postcard of each constructor argument in turn.
    pub arguments: Vec<u8>,
    /// What it may take of every replica.
    pub limits: ObjectLimits,
    /// Whether any module that a cluster has under this name will do: it is known by its name, and this is only the
    /// newest version. Else a cluster whose object never had this module is refused.
    pub by_name: bool,
}

/// Who serves, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The replica.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Where it is reached.
    pub address: SocketAddr,
}

impl Options {
    /// A first replica at `listen`, without an object, which compiles in its own process.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Options {
        Options {
            listen,
            bootstrap: Vec::new(),
            boot_wait: BOOT_WAIT,
            object: None,
            compiler: Arc::new(InProcess),
            storage: Storage::Memory(None),
            advertise: None,
            services: Services::default(),
            policy: Policy::default(),
            timing: Timing::default(),
            insecure: false,
            on_ready: None,
        }
    }

    /// Whether a replica may serve at this address at all.
    pub(crate) fn check_address(&self) -> Result<(), NodeError> {
        let address = self.listen;
        if let Some(advertised) = self.advertise.filter(|advertised| advertised.ip().is_unspecified()) {
            return Err(NodeError::Unspecified { address: advertised });
        }
        if address.ip().is_unspecified() && self.advertise.is_none() {
            return Err(NodeError::Unspecified { address });
        }
        if !address.ip().is_loopback() && !self.insecure {
            return Err(NodeError::NotLoopback { address });
        }
        Ok(())
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .field("bootstrap", &self.bootstrap)
            .field("boot_wait", &self.boot_wait)
            .field("object", &self.object)
            .field("compiler", &self.compiler)
            .field("storage", &self.storage)
            .field("advertise", &self.advertise)
            .field("services", &self.services)
            .field("policy", &self.policy)
            .field("timing", &self.timing)
            .field("insecure", &self.insecure)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ObjectSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectSource")
            .field("name", &self.name)
            .field("module_bytes", &self.module.len())
            .field("argument_bytes", &self.arguments.len())
            .field("limits", &self.limits)
            .field("by_name", &self.by_name)
            .finish()
    }
}
