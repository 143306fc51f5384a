//! Pieces of snapshots for peers and for backups: read beside the driver, which waits for no disk.

use bytes::Bytes;
use concoord_consensus::io::ClientToken;
use concoord_wire::client::{BackupPiece, CallError, Response};
use concoord_wire::peer::Message;
use concoord_wire::{NodeId, Slot};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task;

use crate::limits::{PIECE_BYTES_MAX, PIECES_MAX};
use crate::snapshots::{SnapshotError, Snapshots};

/// Something read from a snapshot, and for whom.
#[derive(Debug)]
pub(crate) enum Piece {
    ForPeer {
        to: NodeId,
        message: Message,
    },
    ForClient {
        client: ClientToken,
        response: Response,
    },
    /// There was nothing to say.
    Nothing,
}

/// Reads that are under way.
#[derive(Debug)]
pub(crate) struct Pieces {
    done: UnboundedSender<Piece>,
    read: UnboundedReceiver<Piece>,
    under_way: usize,
}

impl Pieces {
    pub(crate) fn new() -> Pieces {
        let (done, read) = unbounded_channel();
        Pieces { done, read, under_way: 0 }
    }

    /// The next piece; cancel-safe.
    pub(crate) async fn next(&mut self) -> Piece {
        // A sender is kept here, so there is no end.
        let piece = self.read.recv().await.unwrap_or(Piece::Nothing);
        self.under_way -= 1;
        piece
    }

    /// Tells a peer of the newest snapshot.
    pub(crate) fn offer(&mut self, snapshots: &Snapshots, to: NodeId) {
        self.read(snapshots, move |snapshots| offer(snapshots, to));
    }

    /// Sends a peer a piece of a snapshot; one that is gone is replaced by an offer of the newest.
    pub(crate) fn send(&mut self, snapshots: &Snapshots, to: NodeId, slot: Slot, offset: u64) {
        self.read(snapshots, move |snapshots| match piece(snapshots, slot, offset) {
            Ok((total, data)) if !data.is_empty() => {
                let checksum = crc32c::crc32c(&data);
                let message = Message::SnapshotChunk { slot, total, offset, checksum, data };
                Piece::ForPeer { to, message }
            }
            Ok(_) | Err(_) => offer(snapshots, to),
        });
    }

    /// Sends a client a piece of a snapshot.
    pub(crate) fn back_up(
        &mut self,
        snapshots: &Snapshots,
        client: ClientToken,
        request: u64,
        slot: Slot,
        offset: u64,
    ) {
        self.read(snapshots, move |snapshots| {
            let result = match piece(snapshots, slot, offset) {
                Ok((total, data)) => Ok(BackupPiece { slot, total, offset, data }),
                Err(error) => Err(CallError::NotServing { why: format!("{error}: start the backup again") }),
            };
            Piece::ForClient { client, response: Response::Backup { request, result } }
        });
    }

    /// Beyond [`PIECES_MAX`] a peer asks again, and a client gets no answer before its time-out: neither asks for more
    /// than one piece at a time.
    fn read(&mut self, snapshots: &Snapshots, read: impl FnOnce(&Snapshots) -> Piece + Send + 'static) {
        if self.under_way >= PIECES_MAX {
            return;
        }
        self.under_way += 1;
        let (snapshots, done) = (snapshots.clone(), self.done.clone());
        task::spawn_blocking(move || {
            // Without a driver there is nobody to tell.
            let _ = done.send(read(&snapshots));
        });
    }
}

fn piece(snapshots: &Snapshots, slot: Slot, offset: u64) -> Result<(u64, Bytes), SnapshotError> {
    let total = snapshots.describe(slot)?.bytes;
    let data = snapshots.read_raw(slot, offset, PIECE_BYTES_MAX)?;
    Ok((total, data.into()))
}

fn offer(snapshots: &Snapshots, to: NodeId) -> Piece {
    let newest = snapshots.slots().ok().and_then(|slots| slots.last().copied());
    match newest.and_then(|slot| snapshots.describe(slot).ok()) {
        Some(file) => {
            let message = Message::SnapshotAt { slot: file.checkpoint.slot, bytes: file.bytes };
            Piece::ForPeer { to, message }
        }
        None => Piece::Nothing,
    }
}
