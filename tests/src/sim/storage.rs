//! What a node's driver does with log and snapshots, on the simulated disk.

use concoord::wire::checkpoint::Checkpoint;
use concoord::wire::peer::Message;
use concoord::wire::record::Record;
use concoord::wire::{NodeId, Slot};
use concoord_consensus::io::{Input, LogPosition};
use concoord_node::log::Log;

use super::checks::Violation;
use super::coverage::Kind;
use super::world::{Event, World};

/// Bytes of a snapshot that are sent at a time: few, so that transfers break in the middle.
const PIECE_BYTES: usize = 700;

/// What the disk has to say to the replica after a while.
#[derive(Debug)]
pub(super) enum Told {
    Saved(Slot),
    Failed(Slot),
    Kept(Slot, u64),
    Received(Box<Checkpoint>),
    Refused(Slot),
}

impl World {
    pub(super) fn persist(&mut self, id: NodeId, position: LogPosition, record: Record) {
        if let Err(violation) = self.checks.appended(id, &record) {
            self.violation.get_or_insert(violation);
        }
        let process = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut()).expect("a node that runs");
        process.waiting.push((position, record));
    }

    /// Sends what waits on its way to the disk.
    pub(super) fn commit(&mut self, id: NodeId) {
        let Some(process) = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut()) else { return };
        let (life, volatile) = (process.life, process.log.is_none());
        match process.begin_frame() {
            Ok(true) => {
                let written = process.waiting.last().map_or(process.durable, |(position, _)| *position);
                let delay = if volatile { 0 } else { self.faults.sync_delay_us(id, &mut self.chance) };
                self.schedule(delay, Event::Synced { node: id, life, written });
            }
            Ok(false) => {}
            Err(_) => self.fail_disk(id),
        }
    }

    pub(super) fn on_synced(&mut self, id: NodeId, written: LogPosition) {
        let node = self.nodes.get_mut(&id).expect("a node that runs");
        let process = node.process.as_mut().expect("its life goes on");
        if node.paused_until_us > self.now_us {
            let (wait, life) = (node.paused_until_us - self.now_us, process.life);
            return self.schedule(wait, Event::Synced { node: id, life, written });
        }
        let Ok(position) = process.sync_frame(written) else { return self.fail_disk(id) };
        self.checks.durable(id, process.durable_ballot);
        let full = match process.log.as_mut().map(Log::prepare_spare) {
            None | Some(Ok(_)) => false,
            Some(Err(error)) if error.is_full() => true,
            Some(Err(_)) => return self.fail_disk(id),
        };
        let changed = std::mem::replace(&mut process.disk_full, full) != full;
        let (ready, held) = std::mem::take(&mut process.held).into_iter().partition(|(after, ..)| *after <= position);
        process.held = held;
        let ready: Vec<(LogPosition, NodeId, Message)> = ready;
        for (_, to, message) in ready {
            self.transmit(id, to, message);
        }
        self.input(id, Input::Durable { position });
        if changed {
            self.input(id, Input::DiskFull(full));
        }
        self.commit(id);
    }

    /// Looks again whether there is room, as the production thread does every second.
    pub(super) fn retry_space(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.paused_until_us <= self.now_us) else { return };
        let Some(process) = &mut node.process else { return };
        match process.log.as_mut().map(Log::prepare_spare) {
            Some(Ok(_)) if process.disk_full => {
                process.disk_full = false;
                self.input(id, Input::DiskFull(false));
            }
            Some(Err(error)) if !error.is_full() => self.fail_disk(id),
            _ => {}
        }
    }

    /// The disk failed: the process ends, as production does, and starts again from what the disk holds.
    pub(super) fn fail_disk(&mut self, id: NodeId) {
        self.say(|| format!("{id:?} ends: its disk failed"));
        self.faults.coverage.count(Kind::DiskFailure);
        self.kill(id);
    }

    pub(super) fn tell(&mut self, id: NodeId, told: Told) {
        let delay = self.faults.sync_delay_us(id, &mut self.chance);
        let Some(process) = self.nodes.get(&id).and_then(|node| node.process.as_ref()) else { return };
        let life = process.life;
        self.schedule(delay, Event::Told { node: id, life, told });
    }

    pub(super) fn on_told(&mut self, id: NodeId, told: Told) {
        let node = &self.nodes[&id];
        if node.paused_until_us > self.now_us {
            let wait = node.paused_until_us - self.now_us;
            let life = node.process.as_ref().map_or(0, |process| process.life);
            return self.schedule(wait, Event::Told { node: id, life, told });
        }
        self.input(
            id,
            match told {
                Told::Saved(slot) => Input::SnapshotSaved { slot },
                Told::Failed(slot) => Input::SnapshotFailed { slot },
                Told::Kept(slot, bytes) => Input::SnapshotKept { slot, bytes },
                Told::Received(checkpoint) => Input::SnapshotReceived { checkpoint: *checkpoint },
                Told::Refused(slot) => Input::SnapshotRefused { slot },
            },
        );
    }

    pub(super) fn save_snapshot(&mut self, id: NodeId, checkpoint: &Checkpoint, body: &[u8]) {
        if self.is_spoiled(id) {
            return self.tell(id, Told::Failed(checkpoint.slot));
        }
        let Some(process) = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut()) else { return };
        let told = match process.snapshots.save(checkpoint, body) {
            Ok(_) => Told::Saved(checkpoint.slot),
            Err(_) => Told::Failed(checkpoint.slot),
        };
        if matches!(told, Told::Saved(_)) {
            self.faults.coverage.count(Kind::Snapshot);
        }
        self.tell(id, told);
    }

    pub(super) fn truncate(&mut self, id: NodeId, upto: Slot) {
        let Some(process) = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut()) else { return };
        let truncated = process.log.as_mut().map_or(Ok(()), |log| log.truncate(upto));
        if truncated.is_err() {
            self.fail_disk(id);
        }
    }

    pub(super) fn offer_snapshot(&mut self, id: NodeId, to: NodeId) {
        let Some(process) = self.nodes.get(&id).and_then(|node| node.process.as_ref()) else { return };
        let newest = process.snapshots.slots().ok().and_then(|slots| slots.last().copied());
        if let Some(file) = newest.and_then(|slot| process.snapshots.describe(slot).ok()) {
            let (slot, bytes) = (file.checkpoint.slot, file.bytes);
            self.say(|| format!("{id:?} offers {to:?} its snapshot of {slot}"));
            let message = Message::SnapshotAt { slot, bytes };
            self.transmit(id, to, message);
        }
    }

    pub(super) fn send_chunk(&mut self, id: NodeId, to: NodeId, slot: Slot, offset: u64) {
        let Some(process) = self.nodes.get(&id).and_then(|node| node.process.as_ref()) else { return };
        let snapshots = &process.snapshots;
        let read = snapshots.describe(slot).and_then(|file| Ok((file, snapshots.read_raw(slot, offset, PIECE_BYTES)?)));
        match read {
            Ok((file, data)) if !data.is_empty() => {
                let message =
                    Message::SnapshotChunk { slot, total: file.bytes, offset, checksum: 0, data: data.into() };
                self.transmit(id, to, message);
            }
            _ => self.offer_snapshot(id, to),
        }
    }

    pub(super) fn keep_chunk(&mut self, id: NodeId, slot: Slot, total: u64, offset: u64, data: &[u8]) {
        self.say(|| format!("{id:?} keeps {} bytes from {offset} of {total} of a snapshot of {slot}", data.len()));
        let Some(process) = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut()) else { return };
        let mut incoming = match process.incoming.take().filter(|(incoming, _)| incoming.slot() == slot) {
            Some((incoming, _)) => incoming,
            None => match process.snapshots.incoming(slot) {
                Ok(incoming) => incoming,
                Err(_) => return self.tell(id, Told::Refused(slot)),
            },
        };
        // What does not fit is sent again from where we are.
        let _ = incoming.append(offset, data);
        let have = incoming.received();
        if have < total {
            process.incoming = Some((incoming, total));
            return self.tell(id, Told::Kept(slot, have));
        }
        let loaded = incoming.complete().and_then(|_| process.snapshots.load(slot));
        match loaded {
            Ok(loaded) => {
                let checkpoint = loaded.checkpoint.clone();
                process.received = Some(loaded);
                self.faults.coverage.count(Kind::Transfer);
                self.tell(id, Told::Received(Box::new(checkpoint)));
            }
            Err(_) => self.tell(id, Told::Refused(slot)),
        }
    }

    /// A node starts again: what it durably promised, it still has.
    pub(super) fn check_promise(&mut self, id: NodeId, promised: concoord::wire::Ballot) {
        if let Err(violation) = self.checks.recovered(id, promised) {
            self.violation.get_or_insert(violation);
        }
    }

    pub(super) fn note_violation(&mut self, what: String) {
        self.violation.get_or_insert(Violation::new(what));
    }
}
