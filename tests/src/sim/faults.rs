//! What goes wrong, and when.

use std::collections::BTreeSet;

use concoord::wire::peer::Message;
use concoord::wire::value::Value;
use concoord::wire::{NodeId, Slot};
use concoord_consensus::io::Input;
use concoord_consensus::mutated;
use concoord_node::disk::{Directory as _, Fault, FaultKind, SECTOR_BYTES};

use super::clock::RATE_TRUE_PPM;
pub use super::coverage::{Coverage, Kind};
use super::node::{Process, Stop};
use super::random::Chance;
use super::world::{Event, World};

/// How much too fast or too slow a clock runs at most.
const RATE_OFF_PPM: u64 = 100_000;
/// How far a wall clock jumps at most: an hour.
const JUMP_MAX_US: u64 = 3_600_000_000;

/// Faults that last, and the count of all.
#[derive(Debug, Default)]
pub struct Faults {
    /// Whose disk is slow.
    slow_disks: BTreeSet<NodeId>,
    slow_application: bool,
    /// How often each was exercised.
    pub coverage: Coverage,
}

impl Faults {
    /// How long the disk takes.
    pub fn sync_delay_us(&self, node: NodeId, chance: &mut Chance) -> u64 {
        if self.slow_disks.contains(&node) { chance.between(1_000, 200_000) } else { chance.between(20, 1_500) }
    }

    /// How long the application takes.
    pub fn work_delay_us(&self, chance: &mut Chance) -> u64 {
        if self.slow_application { chance.between(1_000, 50_000) } else { chance.between(5, 400) }
    }

    /// Nothing is slow any more.
    pub fn end(&mut self) {
        self.slow_disks.clear();
        self.slow_application = false;
    }
}

impl World {
    /// One fault, or a few at once.
    pub fn inject(&mut self) {
        self.inject_one();
        while self.chance.percent(30) {
            self.inject_one();
        }
    }

    fn inject_one(&mut self) {
        let running = self.running();
        let Some(victim) = self.chance.pick(&running) else { return };
        let leaders: Vec<NodeId> = running.iter().copied().filter(|id| self.leads(*id)).collect();
        let leader = self.chance.pick(&leaders);
        let victim = if self.chance.percent(40) { leader.unwrap_or(victim) } else { victim };
        let before = self.faults.coverage;
        self.inject_into(victim, leader, &running);
        let after = self.faults.coverage;
        self.say(|| {
            let kinds = before.kinds().zip(after.kinds());
            let new = kinds.filter(|(before, after)| before != after).map(|(_, (name, _))| name);
            format!("fault at {victim:?}: {}", new.collect::<Vec<_>>().join(", "))
        });
    }

    fn inject_into(&mut self, victim: NodeId, leader: Option<NodeId>, running: &[NodeId]) {
        match self.chance.between(0, 24) {
            0 | 1 => self.lose_power(victim),
            18 => self.kill_process(victim),
            19 => self.damage_disk(victim),
            20 => self.break_disk(victim),
            21 => self.black_out(running),
            // Of one that does not lead it is no more than a clog.
            23 => self.make_late(running, leader.unwrap_or(victim)),
            24 => self.flip(victim),
            2 => self.lose_disk(victim),
            3 | 4 => self.partition(running, victim),
            5 => self.cut_link(running, victim),
            6 | 7 => self.connect_partially(running, victim),
            8 => self.clog(running, victim),
            9 => {
                self.faults.coverage.count(Kind::Pause);
                let until_us = self.now_us + self.chance.between(20_000, 600_000);
                self.nodes.get_mut(&victim).expect("it runs").paused_until_us = until_us;
            }
            10 => {
                self.faults.coverage.count(Kind::BadNetwork);
                self.network.loss_percent = self.chance.between(0, 30);
                self.network.duplicate_percent = self.chance.between(0, 20);
                self.network.delay_max_us = self.chance.between(2_000, 50_000);
            }
            11 => self.slow_down(victim),
            12 => self.disturb_time(victim),
            13 => self.stop(victim),
            14 => self.disturb_clients(running),
            _ => {
                self.faults.coverage.count(Kind::Heal);
                self.network.heal();
                self.end_faults();
            }
        }
    }

    fn leads(&self, id: NodeId) -> bool {
        self.nodes[&id].process.as_ref().is_some_and(|process| process.replica.is_leader())
    }

    /// A disk is lost only while a majority of the view, as far as anybody knows it, still has its own, and while no
    /// change of view may make that majority smaller.
    fn lose_disk(&mut self, victim: NodeId) {
        if self.has_one_to_spare(victim) {
            self.faults.coverage.count(Kind::LostDisk);
            let node = self.nodes.get_mut(&victim).expect("it runs");
            if mutated!(LostDiskComesBack) {
                node.restart_empty();
                return self.schedule(0, Event::Restart { node: victim });
            }
            node.lose_disk();
            let number = node.address;
            let delay = self.chance.between(20_000, 300_000);
            self.add_joiner(number, delay);
        }
    }

    /// Whether the cluster gets on though what `victim` has on disk is lost: a majority of the view, as far as anybody
    /// knows it, has all of its own, and no change of view may make that majority smaller.
    pub(super) fn has_one_to_spare(&self, victim: NodeId) -> bool {
        let view = &self.newest_view;
        let voters = view.voters().count();
        let damaged = view.members.keys().filter(|id| self.is_damaged(**id)).count();
        let spare = voters >= 3 && self.lost_members() + damaged < (voters - 1) / 2;
        let settled = voters == view.members.len() && !self.view_changes();
        // Whoever can tell what is right is needed.
        spare && settled && view.is_voter(victim) && !self.is_any_spoiled()
    }

    /// Whether a node lost something of what it accepted, and was not repaired on its disk.
    pub(super) fn is_damaged(&self, id: NodeId) -> bool {
        let node = &self.nodes[&id];
        node.process.as_ref().map_or(node.is_damaged, Process::is_damaged)
    }

    /// Members of the newest view whose disk is lost.
    pub(super) fn lost_members(&self) -> usize {
        self.newest_view.members.keys().filter(|id| self.nodes[id].gone).count()
    }

    /// Whether a change of view may be on its way: asked for, on a disk, or in a message.
    pub(super) fn view_changes(&self) -> bool {
        let newest = self.newest_view.id;
        let decided = self.slots_decided();
        let changes = |slot: Slot, value: &Value| slot > decided && matches!(value, Value::View(_));
        let in_message = |event: &Event| match event {
            Event::Deliver { message: Message::Accept { slot, value, .. }, .. } => changes(*slot, value),
            Event::Deliver { message: Message::Promise { accepted, .. }, .. } => {
                accepted.iter().any(|entry| changes(entry.slot, &entry.value))
            }
            // Its sender may have started again since, and the leader will take it out all the same.
            Event::Deliver { message: Message::Leave, .. } => true,
            _ => false,
        };
        self.nodes.values().any(|node| {
            let elsewhere = node.process.as_ref().is_some_and(|process| process.replica.view().id != newest);
            let accepted = node.process.as_ref().map_or(node.may_change_view, |process| {
                process.replica.undecided().iter().any(|entry| changes(entry.slot, &entry.value))
            });
            // Whoever is marked as silent may be evicted at any moment, though only one way of it is cut.
            let evicted = self.timing.evict_us.is_some()
                && node
                    .process
                    .as_ref()
                    .is_some_and(|process| process.replica.view().members.values().any(|member| member.silent));
            node.stopping.is_some() || elsewhere || evicted || !node.gone && accepted
        }) || self.queue.events().any(in_message)
    }

    fn slow_down(&mut self, victim: NodeId) {
        if self.chance.percent(60) {
            self.faults.coverage.count(Kind::SlowDisk);
            self.faults.slow_disks.insert(victim);
        } else {
            self.faults.coverage.count(Kind::SlowApplication);
            self.faults.slow_application = true;
        }
    }

    fn disturb_time(&mut self, victim: NodeId) {
        let now_us = self.now_us;
        let (what, jump_us) = (self.chance.between(0, 2), self.chance.between(0, JUMP_MAX_US).cast_signed());
        let rate_ppm = self.chance.between(RATE_TRUE_PPM - RATE_OFF_PPM, RATE_TRUE_PPM + RATE_OFF_PPM);
        let clock = &mut self.nodes.get_mut(&victim).expect("it runs").clock;
        let kind = match what {
            0 => {
                clock.wall_ahead_us = jump_us;
                Kind::ClockAhead
            }
            1 => {
                clock.wall_ahead_us = -jump_us;
                Kind::ClockBack
            }
            _ => {
                clock.run_at(rate_ppm, now_us);
                Kind::ClockRate
            }
        };
        self.faults.coverage.count(kind);
        if kind == Kind::ClockRate {
            self.reschedule_tick(victim);
        }
    }

    /// An operator stops a replica, which leaves the view; a new one takes its address. A stop that can't leave in time
    /// costs its disk, so there is one at a time.
    fn stop(&mut self, victim: NodeId) {
        let damaged = self.newest_view.members.keys().any(|id| self.is_damaged(*id));
        let whole = self.lost_members() == 0 && !damaged && !self.is_any_spoiled();
        // Who stands still hears nobody, and would be stopped in the liveness phase only, when its time is up.
        let hears = self.nodes[&victim].paused_until_us <= self.now_us;
        if hears && self.newest_view.voters().count() >= 3 && whole && !self.view_changes() {
            let how = if self.chance.percent(50) { Stop::ForGood } else { Stop::ToRestart };
            let restarts = how == Stop::ToRestart && !self.nodes[&victim].is_volatile();
            let (how, kind) =
                if restarts { (Stop::ToRestart, Kind::CleanRestart) } else { (Stop::ForGood, Kind::Stop) };
            self.faults.coverage.count(kind);
            self.nodes.get_mut(&victim).expect("it runs").stopping = Some(how);
            self.input(victim, Input::Stop { leave: how == Stop::ForGood });
            self.give_up_later(victim);
        }
    }

    fn lose_power(&mut self, victim: NodeId) {
        if !self.nodes[&victim].is_volatile() || self.has_one_to_spare(victim) {
            self.faults.coverage.count(Kind::Crash);
            self.crash(victim);
        }
    }

    /// Everybody's machine loses power at once: what counted on the memory of another one is lost.
    fn black_out(&mut self, running: &[NodeId]) {
        self.faults.coverage.count(Kind::Blackout);
        for id in running {
            if !self.nodes[id].is_volatile() {
                self.crash(*id);
            }
        }
    }

    fn kill_process(&mut self, victim: NodeId) {
        if !self.nodes[&victim].is_volatile() || self.has_one_to_spare(victim) {
            self.faults.coverage.count(Kind::Kill);
            self.kill(victim);
        }
    }

    /// A process is killed, and something that its disk had for sure rots before it starts again.
    fn damage_disk(&mut self, victim: NodeId) {
        if self.nodes[&victim].is_volatile() || !self.has_one_to_spare(victim) {
            return;
        }
        self.faults.coverage.count(Kind::Damage);
        self.kill(victim);
        let node = self.nodes.get_mut(&victim).expect("a known node");
        // Until it has started again, and perhaps refused what it finds, it counts as damaged.
        (node.was_damaged, node.is_damaged) = (true, true);
        node.wrote_decided = Slot(0);
        let disk = self.nodes[&victim].disk.clone();
        let names: Vec<String> = disk.list().expect("a disk in memory").into_iter().collect();
        let kept = ["log-", "snapshot-", "mark", "identity"];
        let mut names: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| kept.iter().any(|kind| name.starts_with(kind))).collect();
        self.chance.shuffle(&mut names);
        // Mostly the log: there is most of it.
        names.sort_by_key(|name| !name.starts_with("log-"));
        let name = if self.chance.percent(70) { names[0] } else { self.chance.pick(&names).expect("an identity") };
        let content = disk.content(name);
        // What was never written says nothing.
        let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
        if used == 0 {
            return;
        }
        let place = self.chance.between(0, used - 1);
        match self.chance.between(0, 3) {
            0 => disk.flip(name, place * 8 + self.chance.between(0, 7)),
            1 => disk.zero(name, place / SECTOR_BYTES),
            2 => disk.cut(name, place),
            _ => {
                let from = self.chance.between(0, used - 1) / SECTOR_BYTES;
                disk.misdirect((name, from), (name, place / SECTOR_BYTES));
            }
        }
        self.say(|| format!("{victim:?} has lost byte {place} of {name}"));
    }

    /// One of the next operations of a disk fails, or it has no room any more.
    fn break_disk(&mut self, victim: NodeId) {
        let node = &self.nodes[&victim];
        if node.is_volatile() {
            return;
        }
        if self.chance.percent(50) {
            self.faults.coverage.count(Kind::DiskError);
            let at = node.disk.operations() + self.chance.between(1, 40);
            let kind = if self.chance.percent(50) { FaultKind::Error } else { FaultKind::Full };
            self.nodes[&victim].disk.inject(Fault { at, kind });
        } else {
            self.faults.coverage.count(Kind::FullDisk);
            self.nodes[&victim].disk.limit(Some(0));
        }
    }

    /// Nothing is slow, broken or full any more.
    pub(super) fn end_faults(&mut self) {
        self.faults.end();
        for node in self.nodes.values() {
            node.disk.heal();
            node.disk.limit(None);
        }
    }

    fn disturb_clients(&mut self, running: &[NodeId]) {
        match self.chance.between(0, 3) {
            0 => self.cut_client(running),
            1 => self.crash_client(),
            _ => self.reconnect_clients(),
        }
    }
}
