//! How a replica is started.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

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
    /// The object that a new cluster starts with. A joiner's is checked and otherwise not used: the cluster has its own.
    pub object: Option<ObjectSource>,
    /// Where the log will be kept. Not used yet: the log is in memory only.
    pub data_dir: Option<PathBuf>,
    /// Whether to serve on an address that is not loopback although nobody there is authenticated.
    pub insecure: bool,
    /// Called once, when the replica serves: it votes, and a first replica leads and has loaded its object.
    pub on_ready: Option<Box<dyn FnOnce(Ready) + Send>>,
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
    /// A first replica at `listen`, without an object.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Options {
        Options {
            listen,
            bootstrap: Vec::new(),
            boot_wait: BOOT_WAIT,
            object: None,
            data_dir: None,
            insecure: false,
            on_ready: None,
        }
    }

    /// Whether a replica may serve at this address at all.
    pub(crate) fn check_address(&self) -> Result<(), NodeError> {
        let address = self.listen;
        if address.ip().is_unspecified() {
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
            .field("data_dir", &self.data_dir)
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
            .finish()
    }
}
