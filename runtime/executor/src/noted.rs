//! The updates that an object ran since its undo log was last emptied.
//!
//! Emptying the log after each update, and saving again the pages that each of them touches, costs about half as much as a
//! small update does (see `examples/call_cost.rs`). So the log is left as it is over a run of updates, each of which is
//! noted here. To take back the last one, the log takes back all of them, and those that were noted run again: an object
//! does the same with the same inputs, so that gives the state before the last one, bit for bit. How many are noted makes
//! no difference to any state.

use concoord_consensus::objects::Fault;

use crate::instance::Instance;
use crate::limits::{NOTED_BYTES_MAX, NOTED_GAS_MAX, NOTED_INPUTS_MAX};

/// Inputs that succeeded, in order.
#[derive(Default)]
pub(crate) struct Noted {
    /// Head and tail of each, one behind another.
    bytes: Vec<u8>,
    /// Where the head and where the tail of each ends.
    ends: Vec<(usize, usize)>,
    /// Gas that they used together.
    gas: u64,
}

impl Noted {
    /// Notes an input that succeeded and used `gas`. `false` when running all of them again would take too much: then the
    /// log has to be emptied, and none is noted any more.
    pub(crate) fn note(&mut self, head: &[u8], tail: &[u8], gas: u64) -> bool {
        let gas = self.gas.saturating_add(gas);
        let bytes = self.bytes.len() + head.len() + tail.len();
        if self.ends.len() == NOTED_INPUTS_MAX || bytes > NOTED_BYTES_MAX || gas > NOTED_GAS_MAX {
            self.clear();
            return false;
        }
        self.gas = gas;
        self.bytes.extend_from_slice(head);
        let head_end = self.bytes.len();
        self.bytes.extend_from_slice(tail);
        self.ends.push((head_end, self.bytes.len()));
        true
    }

    /// Empties the undo log if it holds any of them.
    ///
    /// # Errors
    /// As [`Instance::keep`].
    pub(crate) fn keep(&mut self, instance: &mut Instance) -> Result<(), Fault> {
        if self.ends.is_empty() {
            return Ok(());
        }
        self.clear();
        instance.keep()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.gas = 0;
    }

    /// Runs all of them again, on the state before the first.
    ///
    /// # Errors
    /// [`Fault::Host`] when one does not succeed again.
    pub(crate) fn run_again(&self, instance: &mut Instance) -> Result<(), Fault> {
        let mut start = 0;
        for &(head_end, end) in &self.ends {
            let again = instance.run(&self.bytes[start..head_end], &self.bytes[head_end..end], NOTED_GAS_MAX);
            again.map_err(|fault| Fault::Host(format!("an input that succeeded does not when run again: {fault}")))?;
            start = end;
        }
        Ok(())
    }
}
