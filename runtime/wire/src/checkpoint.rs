//! What a snapshot says about itself, beside the state in its body.

use serde::{Deserialize, Serialize};

use crate::member::View;
use crate::{ClusterId, Slot, Timestamp};

/// Where in the log a snapshot stands. Whoever holds the snapshot and all later slots needs no earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The cluster whose state it is.
    pub cluster: ClusterId,
    /// The state is that after this slot was applied; 0 for the state before slot 1.
    pub slot: Slot,
    /// The membership after that slot.
    pub view: View,
    /// The slot whose decision made this view; 0 for the first view.
    pub view_slot: Slot,
    /// Decided time after that slot.
    pub stamp: Timestamp,
}
