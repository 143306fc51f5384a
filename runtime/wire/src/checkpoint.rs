//! Where a log may begin: the state that a snapshot holds beside the application's.

use serde::{Deserialize, Serialize};

use crate::member::View;
use crate::{ClusterId, Slot, Timestamp};

/// What a replica must know to go on from a snapshot. Slot 0 is the checkpoint that every cluster starts with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The cluster.
    pub cluster: ClusterId,
    /// The application's state is the one after this slot.
    pub slot: Slot,
    /// The membership after this slot.
    pub view: View,
    /// The slot that made `view`.
    pub view_slot: Slot,
    /// Decided time: the highest stamp up to this slot.
    pub stamp: Timestamp,
    /// The membership before slot 1, for new replicas that read the log from there.
    pub genesis: View,
}

impl Checkpoint {
    /// The beginning of a cluster: nothing is decided yet.
    #[must_use]
    pub fn genesis(cluster: ClusterId, view: View) -> Checkpoint {
        let genesis = view.clone();
        Checkpoint { cluster, slot: Slot::ZERO, view, view_slot: Slot::ZERO, stamp: Timestamp(0), genesis }
    }
}
