//! A backup: a snapshot of the cluster, read piece by piece from one replica.

use std::io;

use concoord_wire::Slot;
use concoord_wire::client::{BackupPiece, CallError, Request, Response};
use tokio::time::Instant;

use super::line::{Line, LineError};
use super::{Asking, Operator, OperatorError, Step};

/// A backup that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// It is the state after this slot.
    pub slot: Slot,
    /// Its bytes.
    pub bytes: u64,
}

impl Operator {
    /// Reads a snapshot that holds everything acknowledged before this was called. `take` is given its pieces in order.
    /// A piece with offset 0 begins anew: what was taken before belongs to another snapshot, or to another replica's.
    ///
    /// # Errors
    /// [`OperatorError::NotTaken`] when `take` fails, [`OperatorError::NoBackup`] when the cluster gives none,
    /// [`OperatorError::NoAnswer`] when nothing came for the whole of the time-out.
    pub async fn backup(&self, mut take: impl FnMut(&BackupPiece) -> io::Result<()>) -> Result<Backup, OperatorError> {
        let mut asking = self.asking(self.addresses.clone());
        loop {
            let address = asking.next();
            let step = match asking.dial(&self.endpoint, address).await {
                Ok(mut line) => asking.read(&mut line, &mut take).await,
                Err(LineError::NotReached(said) | LineError::NoReply(said)) => Step::Elsewhere { leader: None, said },
            };
            match step {
                Step::Done(backup) => return Ok(backup),
                Step::Never(error) => return Err(error),
                Step::Elsewhere { leader, said } => asking.go_on(address, leader, said).await?,
            }
        }
    }
}

impl Asking {
    /// Reads all pieces from one replica, which has to give a sign of life between any two.
    async fn read(&mut self, line: &mut Line, take: &mut impl FnMut(&BackupPiece) -> io::Result<()>) -> Step<Backup> {
        let mut begun: Option<Backup> = None;
        let mut have = 0;
        for request in 1.. {
            let slot = begun.map(|begun| begun.slot);
            let piece = match line.ask(&Request::Backup { request, slot, offset: have }, self.deadline).await {
                Ok(Response::Backup { result: Ok(piece), request: answered }) if answered == request => piece,
                Ok(Response::Backup { result: Err(error), .. }) => return not_given(error),
                other => return super::unexpected(other),
            };
            let backup = Backup { slot: piece.slot, bytes: piece.total };
            let fits = piece.offset == have
                && begun.is_none_or(|begun| begun == backup)
                && piece.data.len() as u64 <= piece.total - have
                && !piece.data.is_empty();
            if !fits {
                return Step::Elsewhere { leader: None, said: "sends pieces that do not fit".into() };
            }
            if let Err(error) = take(&piece) {
                return Step::Never(OperatorError::NotTaken(error));
            }
            begun = Some(backup);
            have += piece.data.len() as u64;
            self.deadline = Instant::now() + self.timeout;
            if have == backup.bytes {
                return Step::Done(backup);
            }
        }
        unreachable!("a backup has fewer pieces than there are numbers")
    }
}

/// Whoever has no snapshot, or no longer the one of which pieces were read, is asked again for a new one.
fn not_given(error: CallError) -> Step<Backup> {
    match error {
        CallError::NotLeader { leader } => Step::Elsewhere { leader, said: error.to_string() },
        error if error.is_retryable() => Step::Elsewhere { leader: None, said: error.to_string() },
        error => Step::Never(OperatorError::NoBackup(error)),
    }
}
