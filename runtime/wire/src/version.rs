//! Which way of applying a cluster has agreed on, so that its replicas are upgraded one at a time.
//!
//! Replicas must come to the same state, so a build that applies commands in another way can't stand beside one that does
//! not. What applying means is therefore numbered, and a build brings along the ways of several numbers, one of which the
//! cluster has decided. All of this is part of a version, and changes with none but a new one:
//!
//! | part                                     | where                               |
//! |------------------------------------------|-------------------------------------|
//! | what each command does                   | the application, in `consensus`     |
//! | what is a reply, and what leaves no mark | the same                            |
//! | which modules are accepted               | the check, in `module`              |
//! | what each instruction costs in gas       | the cost table, in `module`         |
//! | what a state's hash is taken of          | the application and the executor    |
//!
//! Version 1 is the first one. How frames, records and snapshots are written has versions of its own.

use core::fmt;

use serde::{Deserialize, Serialize};

/// The number of a way of applying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClusterVersion(pub u16);

/// The lowest version that this build applies.
pub const CLUSTER_VERSION_MIN: ClusterVersion = ClusterVersion(1);
/// The highest version that this build applies.
pub const CLUSTER_VERSION_MAX: ClusterVersion = ClusterVersion(1);

impl ClusterVersion {
    /// That of a cluster before its first slot.
    pub const FIRST: ClusterVersion = ClusterVersion(1);

    /// Version of the table of what instructions cost that belongs to it.
    ///
    /// # Panics
    /// For a version that this build does not apply.
    #[must_use]
    pub const fn cost_table(self) -> u32 {
        match self.0 {
            1 => 1,
            _ => panic!("no version that this build applies"),
        }
    }

    /// The one after it, if numbers go on.
    #[must_use]
    pub fn next(self) -> Option<ClusterVersion> {
        self.0.checked_add(1).map(ClusterVersion)
    }
}

impl fmt::Display for ClusterVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The versions that a build applies: all from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The lowest.
    pub first: ClusterVersion,
    /// The highest.
    pub last: ClusterVersion,
}

impl Versions {
    /// Those of this build.
    pub const OF_BUILD: Versions = Versions { first: CLUSTER_VERSION_MIN, last: CLUSTER_VERSION_MAX };

    /// Whether `version` is one of them.
    #[must_use]
    pub fn contains(self, version: ClusterVersion) -> bool {
        (self.first..=self.last).contains(&version)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Versions { first, last } = self;
        if first == last { write!(f, "{first} only") } else { write!(f, "{first} to {last}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_ends_and_says_so() {
        let versions = |first, last| Versions { first: ClusterVersion(first), last: ClusterVersion(last) };
        let two = versions(2, 3);
        assert_eq!([1, 2, 3, 4].map(|version| two.contains(ClusterVersion(version))), [false, true, true, false]);
        assert_eq!((two.to_string(), versions(1, 1).to_string()), ("2 to 3".into(), "1 only".into()));
        assert!(Versions::OF_BUILD.contains(CLUSTER_VERSION_MIN) && Versions::OF_BUILD.contains(CLUSTER_VERSION_MAX));
        assert_eq!(ClusterVersion(u16::MAX).next(), None);
    }
}
