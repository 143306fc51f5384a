//! Which way of applying is decided. See [`concoord_wire::version`].
//!
//! **Invariants:** the version never falls; no command but the one that changes it is executed in a version that this build
//! does not apply.

use concoord_wire::Slot;
use concoord_wire::value::CommandRef;
use concoord_wire::version::ClusterVersion;

use super::{Application, HostFault};
use crate::mutated;
use crate::objects::Objects;

impl<O: Objects> Application<O> {
    /// The decided version.
    pub fn version(&self) -> ClusterVersion {
        self.version
    }

    /// Whether this build may execute `command` in `slot`, or a batch without any; a command that decides a later version
    /// takes effect here.
    ///
    /// # Errors
    /// [`HostFault::Version`] when it must not.
    pub(super) fn admit_version(&mut self, slot: Slot, command: Option<&CommandRef<'_>>) -> Result<(), HostFault> {
        if let Some(CommandRef::Version(version)) = command {
            self.version = self.version.max(*version);
        }
        if self.supports.contains(self.version) || mutated!(LackedVersionRuns) {
            return Ok(());
        }
        Err(HostFault::Version { slot, decided: self.version, supports: self.supports })
    }
}
