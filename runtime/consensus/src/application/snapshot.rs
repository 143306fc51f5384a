//! The whole applied state as bytes, and back.
//!
//! A snapshot is one byte of version, then the postcard of these values, one behind another:
//!
//! 1. cluster, position, decided time, applied slot, what stands for all replies, cluster version;
//! 2. the open sessions with the replies that they did not acknowledge, the parked calls, the timers;
//! 3. the last object id, the failed loads, each distinct module once, the objects with the number of their module;
//! 4. the state of each object, in the order of their ids, as [`Objects::snapshot`] gives it;
//! 5. what objects emitted, as far as it is kept;
//! 6. the hash of the state, [`Application::state_hash`].
//!
//! Whatever follows from these is built anew and not written, so there is nothing that could contradict them. The hash at
//! the end is compared with that of the restored state. So bytes that were damaged on the way are an error, and so is a host
//! that comes to another state. The version therefore names the digest too.
//!
//! What is read is bounded while it is read: a count or a length is compared with its limit, or with what is there,
//! before memory is taken for it.

use concoord_wire::version::{ClusterVersion, Versions};
use concoord_wire::{ClusterId, Position, Slot, Timestamp};
use serde::{Deserialize, Serialize};

use super::events::{self, Events, Watchers};
use super::operations::Operations;
use super::parked::Parked;
use super::registry::{Described, Entry, Object, Registry};
use super::sessions::Sessions;
use super::timers::Timers;
use super::{Application, HostFault};
use crate::mutated;
use crate::objects::{Fault, Frozen, Objects};

/// The version of snapshots that this build writes and reads.
const VERSION: u8 = 4;

/// Bytes that a length or a hash takes at most.
const LENGTH_BYTES_MAX: usize = 10;

/// Why a snapshot was not restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Another build wrote it.
    #[error("the snapshot has version {found}, but this build reads {VERSION}: use the build that wrote it")]
    Version {
        /// Its version.
        found: u8,
    },
    /// The cluster applies in a way that this build does not know.
    #[error("the snapshot is of a cluster that runs version {found}, and this build applies {supports}: {}",
        if .supports.last < *.found { "upgrade it" } else { "use an older one" })]
    ClusterVersion {
        /// The decided version.
        found: ClusterVersion,
        /// What this build applies.
        supports: Versions,
    },
    /// It is of another cluster.
    #[error("the snapshot is of cluster {found}, but this replica is of cluster {expected}")]
    OtherCluster {
        /// Whose it is.
        found: ClusterId,
        /// Whose it should be.
        expected: ClusterId,
    },
    /// It is no snapshot, or not whole.
    #[error("the snapshot is damaged at byte {offset} of {bytes}, {what}: take another copy of it")]
    Damaged {
        /// Where that was seen.
        offset: usize,
        /// Length of the snapshot.
        bytes: usize,
        /// What was expected there, or what is wrong.
        what: &'static str,
    },
    /// It holds more than a replica of this build does.
    #[error("the snapshot has {found} {what}, but at most {limit} are accepted: use the build that wrote it")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many it has.
        found: usize,
        /// How many are accepted.
        limit: usize,
    },
    /// An object of it can't be made.
    #[error("object '{name}' of the snapshot can't be made: {why}; take another copy, or use the build that wrote it")]
    Object {
        /// The object's name.
        name: String,
        /// Why.
        why: String,
    },
    /// What was restored is not what was written.
    #[error("the restored state has hash {found:016x}, but the snapshot says {expected:016x}: take another copy of it")]
    Hash {
        /// Of the restored state.
        found: u64,
        /// As written.
        expected: u64,
    },
    /// The state was restored into new clusters too often.
    #[error("the snapshot was restored into new clusters {0} times, and positions have no room for more")]
    Epochs(u16),
    /// This host can't, others might.
    #[error(transparent)]
    Host(#[from] HostFault),
}

/// What a snapshot begins with.
type Head = (ClusterId, Position, Timestamp, Slot, u64, ClusterVersion);

/// The applied state at one time, which can be encoded later and on any thread.
#[derive(Debug)]
pub struct Snapshot {
    /// All but the objects' states, what they emitted, and the hash.
    head: Writer,
    objects: Vec<Box<dyn Frozen>>,
    events: Vec<events::Frozen>,
    hash: u64,
}

impl Snapshot {
    /// The bytes for [`Application::restore`]. The same on replicas that agree.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let Snapshot { head: mut to, objects, events, hash } = self;
        let room: usize = objects.iter().map(|state| LENGTH_BYTES_MAX + state.bytes()).sum();
        to.0.reserve_exact(room + LENGTH_BYTES_MAX);
        for state in objects {
            // As the postcard of a sequence of bytes.
            to.put(&state.bytes());
            state.write(&mut to.0);
        }
        Events::write(&events, &mut to);
        to.put(&hash);
        to.0
    }
}

impl<O: Objects> Application<O> {
    /// Everything that decided batches have come to, as [`Snapshot::encode`] gives it.
    ///
    /// # Errors
    /// As [`Application::freeze`].
    pub fn snapshot(&mut self) -> Result<Vec<u8>, HostFault> {
        self.freeze().map(Snapshot::encode)
    }

    /// Everything that decided batches have come to. Of the objects, what it costs follows what they changed since the
    /// last time.
    ///
    /// # Errors
    /// [`HostFault::Object`] when this host can't read an object's state.
    pub fn freeze(&mut self) -> Result<Snapshot, HostFault> {
        let hash = self.state_hash();
        let mut to = Writer(vec![VERSION]);
        let head: Head = (self.cluster, self.position, self.now, self.applied, self.replies, self.version);
        to.put(&head);
        self.sessions.write(&mut to);
        self.parked.write(&mut to);
        self.timers.write(&mut to);
        self.operations.write(&mut to);
        self.registry.write(&mut to);
        let mut objects = Vec::new();
        for id in self.registry.ids() {
            objects.push(self.objects.freeze(id).map_err(|fault| {
                let object = self.registry.name(id).into();
                let why = if let Fault::Host(why) = fault { why } else { fault.to_string() };
                HostFault::Object { object, applied: self.applied, why }
            })?);
        }
        Ok(Snapshot { head: to, objects, events: self.events.freeze(), hash })
    }

    /// The state that [`Application::snapshot`] gave, with the objects made anew in `objects`, which has none yet.
    ///
    /// # Errors
    /// [`RestoreError`]: other cluster, damaged, of another version, or this host can't run an object.
    pub fn restore(cluster: ClusterId, objects: O, bytes: &[u8]) -> Result<Application<O>, RestoreError> {
        Application::restore_supporting(cluster, objects, Versions::OF_BUILD, bytes)
    }

    /// The same, as a build that applies `supports` does it: for tests of upgrades.
    ///
    /// # Errors
    /// As [`Application::restore`].
    pub fn restore_supporting(
        cluster: ClusterId,
        objects: O,
        supports: Versions,
        bytes: &[u8],
    ) -> Result<Application<O>, RestoreError> {
        let (head, from) = Reader::begin(bytes)?;
        let (found, ..) = head;
        if found != cluster {
            return Err(RestoreError::OtherCluster { found, expected: cluster });
        }
        Application::read(head, objects, supports, from)
    }

    /// The state that [`Application::snapshot`] gave in any cluster, as the beginning of the new cluster `cluster`: its log
    /// goes on behind [`Application::applied`]. Positions begin a new epoch, so they are above all that the old cluster
    /// gave, and may still give if it lives on.
    ///
    /// # Errors
    /// As [`Application::restore`], and [`RestoreError::Epochs`].
    pub fn restore_as_new_cluster(
        cluster: ClusterId,
        objects: O,
        bytes: &[u8],
    ) -> Result<Application<O>, RestoreError> {
        let (head, from) = Reader::begin(bytes)?;
        let mut application = Application::read(head, objects, Versions::OF_BUILD, from)?;
        let position = application.position;
        application.position = position.next_epoch().ok_or(RestoreError::Epochs(position.epoch()))?;
        application.cluster = cluster;
        Ok(application)
    }

    fn read(
        head: Head,
        mut objects: O,
        supports: Versions,
        mut from: Reader<'_>,
    ) -> Result<Application<O>, RestoreError> {
        let (cluster, position, now, applied, replies, version) = head;
        if !supports.contains(version) {
            return Err(RestoreError::ClusterVersion { found: version, supports });
        }
        let sessions = Sessions::read(&mut from)?;
        let parked = Parked::read(&mut from)?;
        let timers = Timers::read(&mut from)?;
        let operations = Operations::read(&mut from)?;
        let (mut registry, entries) = Registry::read(&mut from)?;
        for entry in entries {
            let state: &[u8] = from.take("the state of an object")?;
            let id = entry.id;
            let object = restore_object(&mut objects, entry, state, applied)?;
            registry.reenter(id, object).map_err(|what| from.damaged(what))?;
        }
        let events = Events::read(&mut from)?;
        let is_known = |object| registry.object(object).is_ok();
        if !parked.calls().all(|(call, object)| sessions.waits(call) && is_known(object)) {
            return Err(from.damaged("a parked call of no session or for no object"));
        }
        if !events.objects().all(is_known) {
            return Err(from.damaged("events of no object"));
        }
        if !timers.objects().all(is_known) {
            return Err(from.damaged("a timer of no object"));
        }
        let expected = from.take("the hash of the state")?;
        from.end()?;
        let mut application = Application {
            cluster,
            objects,
            sessions,
            parked,
            timers,
            events,
            registry,
            operations,
            position,
            now,
            applied,
            replies,
            version,
            supports,
            hurried: false,
            watchers: Watchers::default(),
            begun: None,
        };
        if mutated!(PositionRestarts) {
            application.position = Position::default();
        }
        match application.state_hash() {
            found if found == expected => Ok(application),
            found => Err(RestoreError::Hash { found, expected }),
        }
    }
}

fn restore_object(
    objects: &mut impl Objects,
    entry: Entry,
    state: &[u8],
    applied: Slot,
) -> Result<Object, RestoreError> {
    let Entry { id, name, history, version, previous } = entry;
    let refused = |name: String, why: String| RestoreError::Object { name, why };
    let interface = match objects.restore(id, version.module.bytes(), version.limits, state) {
        Ok(interface) => interface,
        Err(Fault::Host(why)) => return Err(HostFault::Object { object: name, applied, why }.into()),
        Err(Fault::Later) => return Err(HostFault::Later.into()),
        Err(fault @ Fault::Limit(_)) => return Err(refused(name, fault.to_string())),
        Err(Fault::Refused(why) | Fault::Trapped(why) | Fault::Misbehaved(why)) => return Err(refused(name, why)),
    };
    match Described::read(interface) {
        Ok(described) => Ok(Object { name, history, version, previous, described }),
        Err(error) => Err(refused(name, error.to_string())),
    }
}

/// Writes values one behind another.
#[derive(Debug)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn put<T: Serialize + ?Sized>(&mut self, value: &T) {
        let bytes = std::mem::take(&mut self.0);
        self.0 = postcard::to_extend(value, bytes).expect("a growing buffer takes all of our own types");
    }
}

/// Reads values one behind another.
pub(super) struct Reader<'a> {
    /// Length of the snapshot.
    bytes: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn begin(bytes: &'a [u8]) -> Result<(Head, Reader<'a>), RestoreError> {
        let mut reader = Reader { bytes: bytes.len(), rest: bytes };
        let (version, rest) = bytes.split_first().ok_or_else(|| reader.damaged("its version"))?;
        if *version != VERSION {
            return Err(RestoreError::Version { found: *version });
        }
        reader.rest = rest;
        let head = reader.take("its head")?;
        Ok((head, reader))
    }

    /// The next value.
    ///
    /// # Errors
    /// [`RestoreError::Damaged`] when there is none, with `what` it should have been.
    pub(super) fn take<T: Deserialize<'a>>(&mut self, what: &'static str) -> Result<T, RestoreError> {
        let (value, rest) = postcard::take_from_bytes(self.rest).map_err(|_| self.damaged(what))?;
        self.rest = rest;
        Ok(value)
    }

    /// How many values of a sequence or map follow.
    ///
    /// # Errors
    /// [`RestoreError::Damaged`], or [`RestoreError::TooMany`] beyond `limit`.
    pub(super) fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, RestoreError> {
        let count = self.take(what)?;
        self.within(what, count, limit)?;
        Ok(count)
    }

    /// # Errors
    /// [`RestoreError::TooMany`] beyond `limit`.
    pub(super) fn within(&self, what: &'static str, found: usize, limit: usize) -> Result<(), RestoreError> {
        if found <= limit { Ok(()) } else { Err(RestoreError::TooMany { what, found, limit }) }
    }

    /// That something is wrong behind what was read so far.
    pub(super) fn damaged(&self, what: &'static str) -> RestoreError {
        RestoreError::Damaged { offset: self.bytes - self.rest.len(), bytes: self.bytes, what }
    }

    fn end(&self) -> Result<(), RestoreError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.damaged("more than a snapshot")) }
    }
}
