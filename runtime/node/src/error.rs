//! Why a replica does not start, or ends.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use concoord_transport::BindError;
use concoord_wire::join::{JoinRefusal, RetryReason};
use concoord_wire::{ClusterId, ModuleHash, NodeId, Slot};

use crate::disk::DirectoryError;
use crate::log::{CreateError, LogError, OpenError};
use crate::snapshots::SnapshotError;

/// Who takes a replica for one of another cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// A replica, and where it is reached.
    Replica(SocketAddr),
    /// A client, and where it dialed from.
    Client(SocketAddr),
}

impl Stranger {
    fn of(self, cluster: ClusterId) -> String {
        match self {
            Stranger::Replica(address) => format!("a replica of cluster {cluster} at {address}"),
            Stranger::Client(address) => format!("a client of cluster {cluster} at {address}"),
        }
    }

    /// What to do where the other cluster is no more: its clients may go on looking for it.
    fn else_do(self) -> &'static str {
        match self {
            Stranger::Replica(_) => "",
            Stranger::Client(_) => "; if that cluster is no more, end its clients first",
        }
    }

    /// What `-b` has to name to join the other cluster.
    fn boot(self) -> String {
        match self {
            Stranger::Replica(address) => address.to_string(),
            Stranger::Client(_) => "and another replica of that cluster".into(),
        }
    }
}

/// Why [`crate::run()`] ended although nobody stopped it. Each is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Somebody else listens there.
    #[error("{address} is in use by another process: stop it, or choose another port with -p")]
    PortInUse {
        /// The address.
        address: SocketAddr,
    },
    /// Not ours to listen on.
    #[error("{} is not an address of this machine: give -a one of its own, such as 127.0.0.1", .address.ip())]
    AddressNotLocal {
        /// The address.
        address: SocketAddr,
    },
    /// The address stands for all addresses, so nobody could be told to dial it.
    #[error("{} stands for every address of this machine, and peers can't dial that: give -a the one that others reach",
        .address.ip())]
    Unspecified {
        /// The address.
        address: SocketAddr,
    },
    /// An address that others reach, and no way to know who they are.
    #[error("{} is not a loopback address, and there is no cluster CA yet, so traffic would be unauthenticated: \
        anyone who reaches it could call and replicate; give --insecure to accept that", .address.ip())]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The socket can't be opened for another reason.
    #[error(transparent)]
    Listen(BindError),
    /// The module is none that can run.
    #[error("the module of object '{object}' is refused: {why}")]
    ModuleRefused {
        /// The object's name.
        object: String,
        /// Reason, offset and advice.
        why: String,
    },
    /// The cluster did not load the object that it should start with.
    #[error("object '{object}' can't be loaded: {why}")]
    ObjectRefused {
        /// The object's name.
        object: String,
        /// Why.
        why: String,
    },
    /// The cluster's object never had the module that this replica was given for it.
    #[error(
        "object '{object}' of this cluster never had the module {given}, it has {has}: start without it, or upgrade the \
         object with it (concoord object upgrade)"
    )]
    NeverAVersion {
        /// The object's name.
        object: String,
        /// The module that was given.
        given: ModuleHash,
        /// The module that the object has.
        has: ModuleHash,
    },
    /// No bootstrap address led into a cluster in time.
    #[error("{}", bootstrap_line(.failures, *.waited))]
    NotJoined {
        /// What each address came to last.
        failures: Vec<BootstrapFailure>,
        /// How long was tried.
        waited: Duration,
    },
    /// The bootstrap addresses belong to different clusters.
    #[error(
        "{address} belongs to cluster {actual}, but another bootstrap address to {expected}: \
        give -b only members of one cluster"
    )]
    OtherCluster {
        /// Who says so.
        address: SocketAddr,
        /// The cluster met first.
        expected: ClusterId,
        /// The cluster there.
        actual: ClusterId,
    },
    /// A cluster does not want this replica.
    #[error("{address} does not take this replica in: {refusal}")]
    JoinRefused {
        /// Who says so.
        address: SocketAddr,
        /// Why.
        refusal: JoinRefusal,
    },
    /// Replicas have applied different things, and no majority the same.
    #[error("{reason}")]
    NoAgreement {
        /// Slot and hashes, as the replica says.
        reason: String,
    },
    /// Not a member any more.
    #[error("removed from the view: {reason}; with an empty data directory and -b it joins as a new member")]
    Removed {
        /// Why, as the replica says.
        reason: String,
    },
    /// A replica or client of another cluster dialed this lone first replica: it most likely is that cluster's replica
    /// which lost its state.
    #[error(
        "{} dialed this one, which started the new cluster {ours}: if it restarted after losing its state, start it with -b \
         {} to join again{}", who.of(*theirs), who.boot(), who.else_do()
    )]
    LostIdentity {
        /// The cluster started here.
        ours: ClusterId,
        /// The cluster that dialed.
        theirs: ClusterId,
        /// Who dialed.
        who: Stranger,
    },
    /// This host can't run an object that others may run: going on would make replicas differ.
    #[error("this host can't go on applying: {why}; the replica ends so that it does not differ from the others")]
    HostFault {
        /// What happened.
        why: String,
    },
    /// A bug in applying.
    #[error("applying panicked: {message}; this is a bug in concoord, please report it")]
    ApplicationPanicked {
        /// The panic's message.
        message: String,
    },
    /// The log can't be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The data directory can't be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// What it holds can't be gone on with.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It can't be set up.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The first snapshot can't be kept.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A directory with a replica's data, and a replica that is to keep nothing.
    #[error(
        "{} holds the data of replica {node}: a replica that keeps nothing on disk is always a new one; \
        leave out -w off to go on as {node}, or give another directory", .path.display()
    )]
    HoldsData {
        /// The directory.
        path: PathBuf,
        /// Whose data.
        node: NodeId,
    },
    /// Data of a replica that was reached elsewhere.
    #[error(
        "{} holds the data of replica {node}, which the cluster reaches at {was}, not at {now}: start it with \
        -a {} -p {}", .path.display(), .was.ip(), .was.port()
    )]
    Moved {
        /// The directory.
        path: PathBuf,
        /// Whose data.
        node: NodeId,
        /// As the cluster knows it.
        was: SocketAddr,
        /// As it was started.
        now: SocketAddr,
    },
    /// A witness or not, other than before.
    #[error("{} holds the data of a {was}, which does not become a {now}: start it as a {was}, or with an empty directory",
        .path.display())]
    OtherKind {
        /// The directory.
        path: PathBuf,
        /// What it was.
        was: &'static str,
        /// What it was started as.
        now: &'static str,
    },
    /// Damage that nobody else can repair.
    #[error(
        "{damage} in {}: this replica is the only voter of its cluster, so nobody can repair that; restore a backup, \
        or the disk", .path.display()
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What and where.
        damage: String,
    },
    /// No snapshot is whole.
    #[error(
        "{damage} in {}: no snapshot of this replica is whole, so it can't go on; move the directory away and join the \
        cluster as a new member", .path.display()
    )]
    NoSnapshot {
        /// The directory.
        path: PathBuf,
        /// What and where.
        damage: String,
    },
    /// A snapshot that this build or host can't take over.
    #[error("the snapshot of slot {slot} in {} can't be taken over: {why}", .path.display())]
    NotRestored {
        /// The directory.
        path: PathBuf,
        /// The snapshot's slot.
        slot: Slot,
        /// Why.
        why: String,
    },
    /// A witness can't be the first.
    #[error("a witness runs no objects, so it can't start a cluster: give -b the address of a replica")]
    WitnessFirst,
}

impl From<BindError> for NodeError {
    fn from(error: BindError) -> NodeError {
        match error {
            BindError::PortInUse { address } => NodeError::PortInUse { address },
            BindError::NotLocal { address } => NodeError::AddressNotLocal { address },
            other => NodeError::Listen(other),
        }
    }
}

/// What a bootstrap address came to last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapFailure {
    /// The address, as given or as redirected to.
    pub address: SocketAddr,
    /// What happened there.
    pub reason: BootstrapReason,
}

/// Why a bootstrap address did not lead into a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootstrapReason {
    /// Nobody there answered.
    Silent(String),
    /// Somebody answered, and said to come again.
    Retry(RetryReason),
    /// The leader could not dial this replica back.
    NotDialedBack(String),
    /// Redirects did not end.
    Redirected,
    /// It is this replica's own address.
    Own,
}

fn bootstrap_line(failures: &[BootstrapFailure], waited: Duration) -> String {
    let within = Within(waited);
    let lines = failures.iter().map(|BootstrapFailure { address, reason }| match reason {
        BootstrapReason::Silent(why) => {
            format!("{address} did not answer within {within}: {why}; is the replica running there?")
        }
        BootstrapReason::Retry(why) => {
            format!("{address} did not take this replica in within {within}: {why}; is a majority of its view running?")
        }
        BootstrapReason::NotDialedBack(why) => {
            format!("the leader at {address} could not dial this replica back within {within}: {why}")
        }
        BootstrapReason::Redirected => {
            format!("{address} and others sent this replica around for {within} without naming a leader that leads")
        }
        BootstrapReason::Own => format!("{address} is this replica's own address: give -b that of another member"),
    });
    lines.collect::<Vec<_>>().join("; ")
}

/// A duration in whole seconds where it is one, else in milliseconds.
struct Within(Duration);

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_millis() {
            0 => write!(f, "{} s", self.0.as_secs()),
            _ => write!(f, "{} ms", self.0.as_millis()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_bootstrap_is_one_line_that_names_each_address() {
        let failure = |port, reason| BootstrapFailure { address: SocketAddr::from(([127, 0, 0, 1], port)), reason };
        let error = NodeError::NotJoined {
            failures: vec![
                failure(14000, BootstrapReason::Silent("connection timed out".into())),
                failure(14001, BootstrapReason::Retry(RetryReason::NoLeader)),
            ],
            waited: Duration::from_secs(10),
        };
        assert_eq!(
            error.to_string(),
            "127.0.0.1:14000 did not answer within 10 s: connection timed out; is the replica running there?; \
             127.0.0.1:14001 did not take this replica in within 10 s: no leader is known at the moment; \
             is a majority of its view running?"
        );
    }
}
