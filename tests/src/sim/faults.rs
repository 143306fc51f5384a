//! What goes wrong, and when.

use std::collections::BTreeSet;

use concoord::wire::NodeId;
use concoord::wire::record::Record;
use concoord::wire::value::Value;
use concoord_consensus::io::Input;

use super::network::Place;
use super::random::Chance;
use super::world::World;

/// How often each fault was exercised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Replicas that joined or replaced another.
    pub joined: u64,
    /// Crashes that lost what was not synced.
    pub crashes: u64,
    /// Disks lost for good; a new replica takes the address.
    pub lost_disks: u64,
    /// Both ways cut between two halves.
    pub partitions: u64,
    /// One way cut between two replicas, or one pair cut.
    pub link_cuts: u64,
    /// Processes that stood still.
    pub pauses: u64,
    /// Spells of loss, duplication and long delay.
    pub bad_networks: u64,
    /// Spells of slow syncs.
    pub slow_disks: u64,
    /// Spells of slow applying.
    pub slow_applications: u64,
    /// Wall clocks that jumped.
    pub clock_jumps: u64,
    /// Replicas that were asked to stop and left.
    pub stops: u64,
    /// Networks that were healed.
    pub heals: u64,
}

impl Coverage {
    /// Name and count of each kind.
    #[must_use]
    pub fn kinds(&self) -> [(&'static str, u64); 12] {
        [
            ("joins and replacements", self.joined),
            ("crashes", self.crashes),
            ("lost disks", self.lost_disks),
            ("partitions", self.partitions),
            ("link cuts", self.link_cuts),
            ("pauses", self.pauses),
            ("bad networks", self.bad_networks),
            ("slow disks", self.slow_disks),
            ("slow applications", self.slow_applications),
            ("clock jumps", self.clock_jumps),
            ("stops", self.stops),
            ("heals", self.heals),
        ]
    }

    /// How many faults there were; joins and heals are none.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.kinds().iter().map(|(_, count)| count).sum::<u64>() - self.joined - self.heals
    }
}

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
        let running: Vec<NodeId> =
            self.nodes.values().filter(|node| node.process.is_some()).map(|node| node.id).collect();
        let Some(victim) = self.chance.pick(&running) else { return };
        let leaders: Vec<NodeId> = running.iter().copied().filter(|id| self.leads(*id)).collect();
        let leader = self.chance.pick(&leaders);
        let victim = if self.chance.percent(40) { leader.unwrap_or(victim) } else { victim };
        let before = self.faults.coverage;
        self.inject_into(victim, &running);
        let after = self.faults.coverage;
        self.say(|| {
            let kinds = before.kinds().into_iter().zip(after.kinds());
            let new = kinds.filter(|(before, after)| before != after).map(|(_, (name, _))| name);
            format!("fault at {victim:?}: {}", new.collect::<Vec<_>>().join(", "))
        });
    }

    fn inject_into(&mut self, victim: NodeId, running: &[NodeId]) {
        match self.chance.between(0, 10) {
            0 | 1 => {
                self.faults.coverage.crashes += 1;
                self.crash(victim);
            }
            2 => self.lose_disk(victim),
            3 => self.partition(running),
            4 => self.cut_link(running, victim),
            5 => {
                self.faults.coverage.pauses += 1;
                let until_us = self.now_us + self.chance.between(20_000, 600_000);
                self.nodes.get_mut(&victim).expect("it runs").paused_until_us = until_us;
            }
            6 => {
                self.faults.coverage.bad_networks += 1;
                self.network.loss_percent = self.chance.between(0, 30);
                self.network.duplicate_percent = self.chance.between(0, 20);
                self.network.delay_max_us = self.chance.between(2_000, 50_000);
            }
            7 => {
                self.faults.coverage.slow_disks += 1;
                self.faults.slow_disks.insert(victim);
            }
            8 => self.disturb_time(victim),
            9 => self.stop(victim),
            _ => {
                self.faults.coverage.heals += 1;
                self.network.heal();
                self.faults.end();
            }
        }
    }

    fn leads(&self, id: NodeId) -> bool {
        self.nodes[&id].process.as_ref().is_some_and(|process| process.replica.is_leader())
    }

    /// A disk is lost only while a majority of the view, as far as anybody knows it, still has its own, and while no
    /// change of view may make that majority smaller.
    fn lose_disk(&mut self, victim: NodeId) {
        let view = self.newest_view();
        let voters = view.voters().count();
        let spare = voters >= 3 && self.lost_members() < (voters - 1) / 2;
        let settled = voters == view.members.len() && !self.view_changes();
        if spare && settled && view.is_voter(victim) {
            self.faults.coverage.lost_disks += 1;
            let node = self.nodes.get_mut(&victim).expect("it runs");
            node.lose_disk();
            let number = node.address;
            let delay = self.chance.between(20_000, 300_000);
            self.add_joiner(number, delay);
        }
    }

    /// Members of the newest view whose disk is lost.
    fn lost_members(&self) -> usize {
        self.newest_view().members.keys().filter(|id| self.nodes[id].gone).count()
    }

    /// Whether a change of view may be on its way.
    fn view_changes(&self) -> bool {
        let newest = self.newest_view().id;
        let decided = self.slots_decided();
        let undecided_change =
            |record: &Record| matches!(record, Record::Accepted { slot, value: Value::View(_), .. } if *slot > decided);
        self.nodes.values().any(|node| {
            let elsewhere = node.process.as_ref().is_some_and(|process| process.replica.view().id != newest);
            node.stopping || elsewhere || node.disk.iter().any(undecided_change)
        })
    }

    fn partition(&mut self, running: &[NodeId]) {
        self.faults.coverage.partitions += 1;
        let sides: Vec<bool> = running.iter().map(|_| self.chance.percent(50)).collect();
        for (a, a_side) in running.iter().zip(&sides) {
            for (b, b_side) in running.iter().zip(&sides) {
                if a_side != b_side {
                    self.network.cut(Place::Node(*a), Place::Node(*b));
                }
            }
        }
    }

    fn cut_link(&mut self, running: &[NodeId], victim: NodeId) {
        let others: Vec<NodeId> = running.iter().copied().filter(|id| *id != victim).collect();
        let Some(other) = self.chance.pick(&others) else { return };
        self.faults.coverage.link_cuts += 1;
        self.network.cut(Place::Node(victim), Place::Node(other));
        if self.chance.percent(50) {
            self.network.cut(Place::Node(other), Place::Node(victim));
        }
    }

    fn disturb_time(&mut self, victim: NodeId) {
        if self.chance.percent(50) {
            self.faults.coverage.clock_jumps += 1;
            self.nodes.get_mut(&victim).expect("it runs").wall_ahead_us = self.chance.between(0, 3_600_000_000);
        } else {
            self.faults.coverage.slow_applications += 1;
            self.faults.slow_application = true;
        }
    }

    /// An operator stops a replica, which leaves the view; a new one takes its address. A stop that can't leave in time
    /// costs its disk, so there is one at a time.
    fn stop(&mut self, victim: NodeId) {
        if self.newest_view().voters().count() >= 3 && self.lost_members() == 0 && !self.view_changes() {
            self.faults.coverage.stops += 1;
            self.nodes.get_mut(&victim).expect("it runs").stopping = true;
            self.input(victim, Input::Stop);
            self.give_up_later(victim);
        }
    }
}
