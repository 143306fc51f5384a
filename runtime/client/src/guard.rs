//! The other side of a fencing token: who guards what a lock is for.

/// Lets nobody in whose lock has been granted to somebody else since. Whoever guards a resource asks this with the token that
/// comes with each request; it knows of no cluster.
///
/// ```
/// let mut guard = concoord_client::Guard::default();
/// assert_eq!(guard.admit(7), Ok(()));
/// assert_eq!(guard.admit(7), Ok(()));
/// assert_eq!(guard.admit(9), Ok(()));
/// assert!(guard.admit(7).is_err(), "somebody has had a newer one");
/// ```
///
/// What it has seen has to be kept as safely as the resource: [`Guard::newest`] is to be stored with it, and
/// [`Guard::after`] goes on from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    newest: u64,
}

/// The token is older than one that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("token {token} is outdated: {newest} was seen since, so somebody else holds the lock or has held it")]
pub struct Outdated {
    /// The token.
    pub token: u64,
    /// The newest that was seen.
    pub newest: u64,
}

impl Guard {
    /// One that has seen this token.
    #[must_use]
    pub fn after(newest: u64) -> Guard {
        Guard { newest }
    }

    /// The newest token that was seen; 0 before any.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Whether the holder of this token may go on.
    ///
    /// # Errors
    /// [`Outdated`].
    pub fn admit(&mut self, token: u64) -> Result<(), Outdated> {
        if token < self.newest {
            return Err(Outdated { token, newest: self.newest });
        }
        self.newest = token;
        Ok(())
    }
}
