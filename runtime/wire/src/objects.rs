//! What operators do with a cluster's objects, what comes of it, and how objects are listed.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::abi::ObjectLimits;
use crate::client::CallError;
use crate::compatibility::Change;
use crate::{ModuleHash, ObjectId, Slot};

/// What an operator wants of an object. In the log it is executed once, however often it is proposed: see
/// [`crate::value::Command::Operate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectAction {
    /// Let an object enter the cluster.
    Load {
        /// The name by which clients find it; nobody else has it.
        name: String,
        /// Its Wasm module.
        module: Bytes,
        /// Postcard of each argument of its constructor in turn.
        arguments: Bytes,
        /// What it may take of every replica.
        limits: ObjectLimits,
    },
    /// Take an object out. Its name is free for others, its id is never given again.
    Remove {
        /// Which.
        object: ObjectId,
    },
    /// Let an object go on with another module, which takes over what the one before exports: at this slot, or not at
    /// all.
    Upgrade {
        /// Which.
        object: ObjectId,
        /// The generation that it replaces; at another one, nothing happens.
        based_on: u64,
        /// The new module.
        module: Bytes,
        /// What it may take from now on; `None` for what it may.
        limits: Option<ObjectLimits>,
        /// Also if it breaks callers.
        allow_breaking: bool,
    },
    /// Let an object go on with the module and limits that it had before, which take over what the present one exports.
    /// It is an upgrade like any other, but what it breaks is let through.
    Rollback {
        /// Which.
        object: ObjectId,
        /// The generation that it replaces; at another one, nothing happens.
        based_on: u64,
    },
    /// Let a suspended object go on. One that is not goes on anyway.
    Resume {
        /// Which.
        object: ObjectId,
    },
}

/// An [`ObjectAction`] that borrows; the variants and fields are the same, in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ObjectActionRef<'a> {
    /// As [`ObjectAction::Load`].
    Load {
        /// The name by which clients find it.
        name: &'a str,
        /// Its Wasm module.
        module: &'a [u8],
        /// Postcard of each argument of its constructor in turn.
        arguments: &'a [u8],
        /// What it may take of every replica.
        limits: ObjectLimits,
    },
    /// As [`ObjectAction::Remove`].
    Remove {
        /// Which.
        object: ObjectId,
    },
    /// As [`ObjectAction::Upgrade`].
    Upgrade {
        /// Which.
        object: ObjectId,
        /// The generation that it replaces.
        based_on: u64,
        /// The new module.
        module: &'a [u8],
        /// What it may take from now on.
        limits: Option<ObjectLimits>,
        /// Also if it breaks callers.
        allow_breaking: bool,
    },
    /// As [`ObjectAction::Rollback`].
    Rollback {
        /// Which.
        object: ObjectId,
        /// The generation that it replaces.
        based_on: u64,
    },
    /// As [`ObjectAction::Resume`].
    Resume {
        /// Which.
        object: ObjectId,
    },
}

impl ObjectAction {
    /// The module that it brings.
    pub fn module(&mut self) -> Option<&mut Bytes> {
        match self {
            ObjectAction::Load { module, .. } | ObjectAction::Upgrade { module, .. } => Some(module),
            ObjectAction::Remove { .. } | ObjectAction::Rollback { .. } | ObjectAction::Resume { .. } => None,
        }
    }

    /// Roughly what it takes in memory and on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            ObjectAction::Load { name, module, arguments, .. } => name.len() + module.len() + arguments.len(),
            ObjectAction::Upgrade { module, .. } => module.len(),
            ObjectAction::Remove { .. } | ObjectAction::Rollback { .. } | ObjectAction::Resume { .. } => 0,
        }
    }
}

/// What an [`ObjectAction`] did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operated {
    /// The object.
    pub object: ObjectId,
    /// Its generation since: 1 when it is loaded, one more with each upgrade and rollback.
    pub generation: u64,
    /// What it breaks for callers, the first [`crate::limits::CHANGES_LISTED_MAX`].
    pub changes: Vec<Change>,
    /// How many more there are.
    pub more_changes: u64,
}

/// Why an [`ObjectAction`] did nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ObjectError {
    /// As for calls: another replica, a full queue, something too large, no object of this name or id.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Another object has this name.
    #[error("the name '{name}' is taken by object {object}: give another one, or upgrade that object")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        object: ObjectId,
    },
    /// There are as many objects as may be.
    #[error("this cluster has {limit} objects, which is the most: remove some")]
    TooMany {
        /// How many may be.
        limit: u64,
    },
    /// The module can't be loaded, its constructor failed, or it does not take over the object's state.
    #[error("refused: {why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// The upgrade would break callers.
    #[error("it would break callers: {}", listed(.changes, *.more))]
    Breaking {
        /// How, the first [`crate::limits::CHANGES_LISTED_MAX`].
        changes: Vec<Change>,
        /// How many more there are.
        more: u64,
    },
    /// The object has gone on since the operator looked.
    #[error("'{name}' is at generation {generation} and not at {based_on}: look at it and ask again")]
    OtherGeneration {
        /// The object's name.
        name: String,
        /// Its generation.
        generation: u64,
        /// The generation that was to be replaced.
        based_on: u64,
    },
    /// The object was never upgraded, so there is nothing to go back to.
    #[error("'{name}' has no module before this one")]
    NoPrevious {
        /// The object's name.
        name: String,
    },
    /// A piece of a module is not the next one of those that came over this connection.
    #[error("a piece of a module at byte {offset}, but {expected} bytes are here")]
    Piece {
        /// Where it belongs.
        offset: u64,
        /// How much there is.
        expected: u64,
    },
}

impl ObjectError {
    /// Whether the same request may succeed later or elsewhere, sent again as it is.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, ObjectError::Call(error) if error.is_retryable())
    }
}

/// The changes separated by semicolons, and how many more there are.
fn listed(changes: &[Change], more: u64) -> String {
    let mut all = changes.iter().map(ToString::to_string).collect::<Vec<_>>();
    if more > 0 {
        all.push(format!("{more} more"));
    }
    all.join("; ")
}

/// All objects of a cluster, or one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectList {
    /// The id given last; 0 before any.
    pub last: ObjectId,
    /// By id.
    pub objects: Vec<ObjectState>,
    /// The loads that failed lately, oldest first; none where one object was asked for.
    pub failures: Vec<LoadFailure>,
}

/// An object as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectState {
    /// Its id in this cluster.
    pub object: ObjectId,
    /// Its name in this cluster.
    pub name: String,
    /// Name of its type, as its author wrote it, cut at [`crate::limits::NAME_BYTES_MAX`].
    pub interface_name: String,
    /// Version of its crate, cut likewise.
    pub interface_version: String,
    /// Its module.
    pub module: ModuleHash,
    /// Bytes of the module.
    pub module_bytes: u64,
    /// 1 when it was loaded, one more with each upgrade and rollback.
    pub generation: u64,
    /// Slot at which it was loaded.
    pub loaded: Slot,
    /// Slot at which it came to its generation.
    pub changed: Slot,
    /// What it may take of every replica.
    pub limits: ObjectLimits,
    /// Why it is suspended; `None` while it runs.
    pub suspended: Option<String>,
    /// Calls that wait for it.
    pub waiting: u64,
    /// The module that a rollback would go back to.
    pub previous: Option<ModuleHash>,
    /// The modules that it ever had, oldest first, as far as they are remembered; none in a list of all objects.
    pub versions: Vec<ModuleHash>,
}

/// A load that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadFailure {
    /// Slot of the load.
    pub slot: Slot,
    /// The name it was to have.
    pub name: String,
    /// Why there is no such object.
    pub why: String,
}
