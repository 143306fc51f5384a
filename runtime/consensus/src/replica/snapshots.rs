//! Where logs begin: when a snapshot is made, how a replica gets one that lags behind every log, and what is truncated.
//!
//! The bytes of snapshots stay with the driver. A laggard that fetches from below a peer's log is told of the peer's
//! snapshot, asks for it piece by piece, each piece kept before the next is asked for, and takes it over once it is whole
//! and durable. A peer that stops answering is replaced by the next one that offers the same or a newer snapshot; what
//! is kept of the same one stays.
//!
//! The log is truncated one snapshot late, so a snapshot that turns out to be damaged has one before it to fall back to.

use std::collections::VecDeque;

use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::client::{CallError, Response};
use concoord_wire::peer::Message;
use concoord_wire::record::Record;
use concoord_wire::{Ballot, NodeId, Slot};

use super::{Replica, Role};
use crate::io::{ClientToken, Effect};
use crate::limits::{BACKUPS_MAX, SLOT_BYTES};
use crate::mutated;

/// A transfer that has not got on for so many times as long as a message is waited for is one that another peer may replace.
const STALLED_RESENDS: u64 = 4;

/// The snapshots of a replica, its own and the one that it fetches.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// The newest that is durable here.
    saved: Slot,
    /// The one before it: the log is kept from there on.
    previous: Slot,
    /// Bytes decided since the last one was begun.
    since_bytes: u64,
    /// Begun and not saved.
    making: Option<Slot>,
    incoming: Option<Incoming>,
    /// When others were asked for a snapshot last.
    asked_us: u64,
    /// Backups that wait for a snapshot of at least this slot.
    backups: VecDeque<Backup>,
}

/// A snapshot on its way from a peer.
#[derive(Debug)]
struct Incoming {
    from: NodeId,
    slot: Slot,
    total: u64,
    /// Bytes that are kept; `None` while the driver has not said.
    kept: Option<u64>,
    asked_us: u64,
}

#[derive(Debug)]
struct Backup {
    client: ClientToken,
    request: u64,
    slot: Slot,
}

impl Snapshots {
    /// With the snapshot of `base` as the only one.
    pub(super) fn above(base: Slot) -> Snapshots {
        Snapshots {
            saved: base,
            previous: base,
            since_bytes: 0,
            making: None,
            incoming: None,
            asked_us: 0,
            backups: VecDeque::new(),
        }
    }
}

impl Replica {
    /// A value is decided: perhaps it is time for a snapshot.
    pub(super) fn count_toward_snapshot(&mut self, value_bytes: usize) {
        self.snapshots.since_bytes += value_bytes as u64 + SLOT_BYTES;
        let due = self.snapshots.since_bytes >= self.policy.snapshot_bytes;
        if due && self.snapshots.making.is_none() && !self.policy.witness && self.differs().is_none() {
            self.take_snapshot();
        }
    }

    /// Has the state after the last decided slot made a snapshot.
    fn take_snapshot(&mut self) {
        let slot = self.log.decided();
        self.snapshots.since_bytes = 0;
        self.snapshots.making = Some(slot);
        if mutated!(TruncatedBeforeSnapshot) {
            self.log.truncate(slot);
            self.effects.push(Effect::Truncate { upto: slot });
        }
        self.effects.push(Effect::TakeSnapshot(Checkpoint {
            cluster: self.cluster,
            slot: Slot(slot.0 + u64::from(mutated!(SnapshotSlotTooHigh)) - u64::from(mutated!(SnapshotSlotTooLow))),
            view: if mutated!(SnapshotOfOldView) { self.genesis.clone() } else { self.view.clone() },
            view_slot: self.view_slot,
            stamp: self.clock.decided(),
            genesis: self.genesis.clone(),
        }));
    }

    pub(super) fn on_snapshot_saved(&mut self, slot: Slot) {
        if self.snapshots.making == Some(slot) {
            self.snapshots.making = None;
        }
        if self.differs().is_some() {
            // It is on disk, and of no use: nothing is truncated for it.
            self.snapshots.saved = self.snapshots.saved.max(slot);
            return;
        }
        self.note_saved(slot);
        self.serve_backups();
    }

    /// A snapshot is durable: the log is not needed below the one before it.
    fn note_saved(&mut self, slot: Slot) {
        if slot <= self.snapshots.saved {
            return;
        }
        self.snapshots.previous = std::mem::replace(&mut self.snapshots.saved, slot);
        let upto = self.snapshots.previous;
        if upto > self.log.base() {
            self.log.truncate(upto);
        }
        self.effects.push(Effect::Truncate { upto });
    }

    pub(super) fn on_snapshot_failed(&mut self, slot: Slot) {
        if self.snapshots.making == Some(slot) {
            self.snapshots.making = None;
            // Not at once, or a disk that is full would be all that anybody hears of.
            self.snapshots.since_bytes = self.policy.snapshot_bytes / 2;
        }
        self.fail_backups("the snapshot for it could not be kept: see the replica's log");
    }

    pub(super) fn fail_backups(&mut self, why: &str) {
        for Backup { client, request, .. } in std::mem::take(&mut self.snapshots.backups) {
            let result = Err(CallError::NotServing { why: why.into() });
            self.reply(client, Response::Backup { request, result });
        }
    }

    /// A witness makes none itself: it asks others in turn once its log has grown.
    pub(super) fn ask_for_snapshot(&mut self) {
        let now_us = self.now.monotonic_us;
        let due = self.policy.witness && self.snapshots.since_bytes >= self.policy.snapshot_bytes;
        let waiting = now_us < self.snapshots.asked_us + 10 * self.timing.resend_us;
        if !due || waiting || self.snapshots.incoming.is_some() {
            return;
        }
        self.snapshots.asked_us = now_us;
        let others = self.other_voters();
        let runs_objects = others.iter().filter(|other| !self.view.members[*other].is_witness());
        let reached: Vec<NodeId> = runs_objects.copied().filter(|other| self.has_round_trips(*other)).collect();
        if !reached.is_empty() {
            let turn = usize::try_from(self.random.between(0, reached.len() as u64 - 1)).expect("an index");
            self.send(reached[turn], Message::AskSnapshot { above: self.snapshots.saved, make: false });
        }
    }

    /// One that is to be made is offered when it is asked for again.
    pub(super) fn on_ask_snapshot(&mut self, from: NodeId, above: Slot, make: bool) {
        if self.snapshots.saved > above {
            return self.offer_snapshot(from);
        }
        let may = !self.policy.witness && self.differs().is_none() && self.log.decided() > above;
        if make && may && self.snapshots.making.is_none() {
            self.take_snapshot();
        }
    }

    pub(super) fn offer_snapshot(&mut self, to: NodeId) {
        if self.differs().is_none() {
            self.effects.push(Effect::OfferSnapshot { to });
        }
    }

    pub(super) fn on_fetch_snapshot(&mut self, to: NodeId, slot: Slot, offset: u64) {
        if self.differs().is_none() {
            self.effects.push(Effect::SendChunk { to, slot, offset });
        }
    }

    /// Whether a snapshot is being made here.
    pub(super) fn makes_snapshot(&self) -> bool {
        self.snapshots.making.is_some()
    }

    /// The slot of the newest snapshot that is kept here.
    pub(super) fn saved_snapshot(&self) -> Slot {
        self.snapshots.saved
    }

    /// A snapshot that is on its way is not waited for any more.
    pub(super) fn forget_incoming(&mut self) {
        self.snapshots.incoming = None;
    }

    /// A peer has a snapshot: it is fetched if it knows more than this replica, or than its last one.
    pub(super) fn on_snapshot_at(&mut self, from: NodeId, slot: Slot, total: u64) {
        let differs = self.differs().is_some();
        let wanted = match differs {
            true => self.state_wanted_above(),
            false if self.policy.witness => self.snapshots.saved,
            false => self.log.decided(),
        };
        if slot <= wanted || total == 0 || differs && !self.trusts_state_of(from) {
            return;
        }
        if mutated!(WitnessTruncatesOnOffer) && self.policy.witness {
            let upto = slot.min(self.log.decided());
            self.log.truncate(upto);
            return self.effects.push(Effect::Truncate { upto });
        }
        let now_us = self.now.monotonic_us;
        if let Some(incoming) = &self.snapshots.incoming {
            // From the one that is asked, another offer means that the snapshot is gone.
            let gone = incoming.from == from && incoming.slot != slot;
            if self.receives_snapshot() && !gone {
                return;
            }
        }
        self.snapshots.incoming = Some(Incoming { from, slot, total, kept: None, asked_us: now_us });
        self.effects.push(Effect::BeginSnapshot { slot, total });
    }

    /// Whether a snapshot is on its way and gets on: then nothing else is asked for.
    pub(super) fn receives_snapshot(&self) -> bool {
        let now_us = self.now.monotonic_us;
        let stalls_at_us = |incoming: &Incoming| incoming.asked_us + STALLED_RESENDS * self.timing.resend_us;
        self.snapshots.incoming.as_ref().is_some_and(|incoming| now_us < stalls_at_us(incoming))
    }

    pub(super) fn on_snapshot_kept(&mut self, slot: Slot, bytes: u64) {
        let now_us = self.now.monotonic_us;
        let Some(incoming) = self.snapshots.incoming.as_mut().filter(|incoming| incoming.slot == slot) else { return };
        incoming.kept = Some(bytes);
        incoming.asked_us = now_us;
        let to = incoming.from;
        self.send(to, Message::FetchSnapshot { slot, offset: bytes });
    }

    pub(super) fn on_snapshot_chunk(
        &mut self,
        from: NodeId,
        slot: Slot,
        total: u64,
        offset: u64,
        checksum: u32,
        data: bytes::Bytes,
    ) {
        let Some(incoming) = &mut self.snapshots.incoming else { return };
        let expected = (incoming.from, incoming.slot, incoming.total, incoming.kept);
        if expected != (from, slot, total, Some(offset)) || offset + data.len() as u64 > total {
            return;
        }
        // Not asked for again before the driver has said what came of it.
        incoming.kept = None;
        incoming.asked_us = self.now.monotonic_us;
        self.effects.push(Effect::KeepChunk { slot, total, offset, checksum, data });
    }

    /// Asks again for a piece that did not come; gives up on a peer that stays quiet, so that another may be asked.
    pub(super) fn tick_snapshots(&mut self) {
        self.ask_for_snapshot();
        let now_us = self.now.monotonic_us;
        let Some(incoming) = &mut self.snapshots.incoming else { return };
        let Some(kept) = incoming.kept else { return };
        let unanswered_us = now_us.saturating_sub(incoming.asked_us);
        if unanswered_us >= 2 * STALLED_RESENDS * self.timing.resend_us {
            self.snapshots.incoming = None;
        } else if unanswered_us >= self.timing.resend_us {
            // Every tick from then on, until it is answered or given up.
            let (to, slot) = (incoming.from, incoming.slot);
            self.send(to, Message::FetchSnapshot { slot, offset: kept });
        }
    }

    pub(super) fn on_snapshot_refused(&mut self, slot: Slot) {
        if self.snapshots.incoming.as_ref().is_some_and(|incoming| incoming.slot == slot) {
            self.snapshots.incoming = None;
        }
    }

    /// A peer's snapshot is whole and durable here.
    pub(super) fn on_snapshot_received(&mut self, checkpoint: Checkpoint) {
        let asked_for = self.snapshots.incoming.take().is_some_and(|incoming| incoming.slot == checkpoint.slot);
        if checkpoint.cluster != self.cluster {
            return;
        }
        let slot = checkpoint.slot;
        if slot > self.log.decided() && checkpoint.view.id < self.view.id {
            // Views only rise with slots: whoever sent this is damaged.
            return;
        }
        let differs = self.differs().is_some();
        if differs && !(asked_for && slot > self.state_wanted_above()) {
            // Begun before the difference was found, by one that may have it as well.
            self.snapshots.saved = self.snapshots.saved.max(slot);
            return;
        }
        if slot > self.log.decided() {
            self.take_over(checkpoint);
        } else if differs {
            self.restore_state(slot);
        }
        if differs {
            self.drop_wrong_snapshots(slot);
        }
        if self.policy.witness {
            self.snapshots.since_bytes = 0;
        }
        self.note_saved(slot);
        self.serve_backups();
    }

    /// Goes on from a snapshot of a slot that is not decided here: its state and its view take the place of ours. What was
    /// promised and accepted beyond it stays.
    fn take_over(&mut self, checkpoint: Checkpoint) {
        let Checkpoint { slot, view, view_slot, stamp, genesis, .. } = checkpoint;
        if !matches!(self.role, Role::Follower) {
            // Others decided what this replica did not: it was deposed.
            self.become_follower();
        }
        let void = Record::Void { first: self.log.decided().next(), last: slot };
        self.log.restart_above(slot);
        if mutated!(SnapshotLowersPromise) {
            self.promised = Ballot::ZERO;
        }
        if !mutated!(VoidNotPersisted) {
            // Marks that follow are not for what the log has below the snapshot, should that be lost.
            self.persist(void);
        }
        self.decided_persisted = self.decided_persisted.max(slot);
        self.genesis = genesis;
        self.snapshots.since_bytes = 0;
        self.snapshots.making = None;
        self.clock.observe(stamp, self.now);
        if !self.policy.witness {
            self.clients.restart_above(slot);
            self.effects.push(Effect::Restore { slot });
        }
        if view.id > self.view.id {
            let old = std::mem::replace(&mut self.view, view);
            self.view_slot = view_slot;
            self.mark_slot = slot;
            // Durable with the snapshot.
            self.view_at = crate::io::LogPosition(0);
            self.enter_view(&old, slot);
        } else {
            // Marks may have changed.
            self.view = view;
            self.mark_slot = slot;
        }
        self.await_leader();
        self.release_reads();
    }

    /// A client wants a snapshot that holds everything acknowledged before it asked; the read that it waited for is done.
    pub(super) fn begin_backup(&mut self, client: ClientToken, request: u64) {
        let slot = self.log.decided();
        if self.snapshots.saved == slot {
            return self.effects.push(Effect::Backup { client, request, slot, offset: 0 });
        }
        if self.snapshots.backups.len() >= BACKUPS_MAX {
            let busy = CallError::Busy { what: "the queue of backups".into(), limit: BACKUPS_MAX as u64 };
            return self.reply(client, Response::Backup { request, result: Err(busy) });
        }
        self.snapshots.backups.push_back(Backup { client, request, slot });
        if self.snapshots.making.is_none_or(|making| making < slot) {
            self.take_snapshot();
        }
    }

    fn serve_backups(&mut self) {
        let saved = self.snapshots.saved;
        let waiting = std::mem::take(&mut self.snapshots.backups);
        for backup in waiting {
            if backup.slot <= saved {
                let Backup { client, request, .. } = backup;
                self.effects.push(Effect::Backup { client, request, slot: saved, offset: 0 });
            } else {
                self.snapshots.backups.push_back(backup);
            }
        }
    }

    pub(super) fn forget_backups(&mut self, gone: ClientToken) {
        self.snapshots.backups.retain(|backup| backup.client != gone);
    }
}
