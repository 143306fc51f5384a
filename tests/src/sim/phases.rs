//! How a run goes: it is built, then everything that can go wrong does (safety), then a majority must get on although
//! the rest stays broken (liveness).

use concoord::wire::member::{Member, Standing, View};
use concoord::wire::{NodeId, ViewId};

use super::callers::Caller;
use super::checks::Violation;
use super::coverage::Kind;
use super::network::Place;
use super::node::Node;
use super::world::{Event, SLOTS_WANTED, World};

/// Until when one fault follows another, at least.
const FAULTS_UNTIL_US: u64 = 4_000_000;
/// How many faults there are at least.
pub const FAULTS_MIN: u64 = 5;
/// How long a cluster whose majority is healed may take until every client has its answers and every member of the
/// majority all slots.
const CONVERGE_US: u64 = 20_000_000;
/// How long after faults ended everything that they set off may go on: pauses, late messages, campaigns.
const SETTLES_US: u64 = 1_200_000;
/// How long a run goes on after faults ended, at least: long enough to see whether it settled.
const LASTS_US: u64 = 2_000_000;
/// How long a running replica may leave a request without an answer.
const ANSWER_US: u64 = 2_500_000;
/// More events than any run that gets anywhere has.
const EVENTS_MAX: u64 = 3_000_000;
/// How many events pass between two looks at whether the run is over.
const EVENTS_PER_LOOK: u64 = 64;

impl World {
    /// The first replica starts; the others ask to join.
    pub(super) fn build(&mut self) {
        let first = self.new_id();
        let member = Member { standing: Standing::Voter, ..self.member(first, 0) };
        self.nodes.insert(first, Node::new(member.clone(), 0, View::first([member])));
        self.start(first, Vec::new());
        for number in 1..self.addresses {
            let delay = self.chance.between(0, 50_000);
            self.add_joiner(number, delay);
        }
        for client in 0..self.clients.len() {
            let at_us = self.chance.between(0, 100_000);
            self.wakes[client] = at_us;
            self.schedule(at_us, Event::WakeClient { client });
        }
        let first_fault = self.chance.between(300_000, 900_000);
        self.schedule(first_fault, Event::Fault);
    }

    /// Until everything is answered and everybody who can knows everything.
    pub(super) fn live(&mut self) -> Result<(), Violation> {
        while let Some((at_us, event)) = self.queue.pop() {
            self.now_us = at_us;
            self.handle(event);
            if self.violation.is_some() {
                return Ok(());
            }
            let events = self.queue.taken();
            if events > EVENTS_MAX {
                return Err(Violation::new(format!("no end after {events} events: {}", self.state())));
            }
            match self.healing_since_us {
                None if self.faults_are_over() => self.heal(),
                None => {}
                Some(since_us) => {
                    let looks = events.is_multiple_of(EVENTS_PER_LOOK);
                    let lasted = self.now_us > since_us + LASTS_US;
                    if lasted && looks && self.is_over() {
                        return self.finish();
                    }
                    if looks {
                        self.look_for_leaders();
                    }
                    if self.now_us > since_us + CONVERGE_US {
                        return Err(Violation::new(format!("no convergence in time: {}", self.state())));
                    }
                }
            }
        }
        Err(Violation::new("nothing is left to happen".into()))
    }

    fn faults_are_over(&self) -> bool {
        self.now_us > FAULTS_UNTIL_US && self.faults.coverage.faults() >= FAULTS_MIN
    }

    /// Whether the liveness phase has begun.
    pub(super) fn is_healing(&self) -> bool {
        self.healing_since_us.is_some()
    }

    pub(super) fn on_fault(&mut self) {
        if !self.is_healing() {
            self.inject();
            let delay = self.chance.between(50_000, 450_000);
            self.schedule(delay, Event::Fault);
        }
    }

    /// The liveness phase begins: a majority is healed and connected, and for the rest faults become permanent.
    fn heal(&mut self) {
        self.healing_since_us = Some(self.now_us);
        self.network.heal();
        self.end_faults();
        let lost = self.choose_lost();
        // Whoever was asked to stop and has not left is killed: what becomes of it is not in the majority's hands.
        let stopping: Vec<NodeId> =
            self.nodes.values().filter(|node| node.stopping.is_some()).map(|node| node.id).collect();
        for id in stopping {
            if !self.nodes[&id].is_volatile() || self.has_one_to_spare(id) {
                self.crash(id);
            }
        }
        self.say(|| format!("faults end, but for {lost:?}"));
        for id in lost {
            self.lose_for_good(id);
        }
        let down: Vec<NodeId> = self
            .nodes
            .values()
            .filter(|node| node.process.is_none() && !node.gone && node.started)
            .map(|node| node.id)
            .collect();
        for node in down {
            self.schedule(0, Event::Restart { node });
        }
    }

    /// Voters that the cluster must get on without: any number that leaves a majority with its disks. Learners are not
    /// lost, since a leader may count one as live that no longer is, and promote it; and while the view may be changing
    /// nobody is, since a majority of one view need not be one of the next; nor while a state is spoiled.
    fn choose_lost(&mut self) -> Vec<NodeId> {
        if self.view_changes() || self.is_any_spoiled() {
            return Vec::new();
        }
        let view = &self.newest_view;
        let voters: Vec<NodeId> = view.voters().collect();
        let spare = (voters.len() - 1) / 2;
        let mut there: Vec<NodeId> = voters.into_iter().filter(|id| !self.nodes[id].gone).collect();
        let gone = self.newest_view.voters().count() - there.len();
        // Who lost some of what it accepted counts only in part until it is repaired.
        let damaged = there.iter().filter(|id| self.is_damaged(**id)).count();
        let most = spare.saturating_sub(gone + damaged) as u64;
        self.chance.shuffle(&mut there);
        let count = usize::try_from(self.chance.between(most.min(1), most)).expect("few");
        there.truncate(count);
        there
    }

    fn lose_for_good(&mut self, lost: NodeId) {
        const PARTLY: u64 = 4;
        self.lost_for_good.insert(lost);
        let runs = self.nodes[&lost].process.is_some();
        // Whom a leader does not hear it evicts, and taken back it would have to be heard.
        let most = if self.timing.evict_us.is_some() { PARTLY - 1 } else { PARTLY };
        let how = if runs { self.chance.between(0, most) } else { 0 };
        // Partly cut, it may still lead, and then whoever wants to become a voter needs it.
        let others: Vec<NodeId> = match how {
            PARTLY => self.newest_view.voters().filter(|id| *id != lost).collect(),
            _ => self.nodes.keys().copied().filter(|id| *id != lost).collect(),
        };
        let (kind, hears_percent, is_heard_percent) = match how {
            0 => (Kind::DownForGood, 0, 0),
            1 => (Kind::CutForGood, 0, 0),
            2 => (Kind::DeafForGood, 0, 100),
            3 => (Kind::MuteForGood, 100, 0),
            _ => (Kind::PartlyCutForGood, 40, 40),
        };
        self.faults.coverage.count(kind);
        self.say(|| format!("{lost:?}: {kind:?}"));
        for other in others {
            if !self.chance.percent(hears_percent) {
                self.network.cut_for_good(Place::Node(other), Place::Node(lost));
            }
            if !self.chance.percent(is_heard_percent) {
                self.network.cut_for_good(Place::Node(lost), Place::Node(other));
            }
        }
        if kind == Kind::DownForGood {
            self.down_for_good.insert(lost);
            if runs {
                self.crash(lost);
            }
        }
    }

    fn is_over(&self) -> bool {
        let decided = self.checks.slots();
        if decided < SLOTS_WANTED || self.is_any_spoiled() || !self.clients.iter().all(Caller::is_done) {
            return false;
        }
        let must_know =
            |node: &&Node| !node.gone && !self.lost_for_good.contains(&node.id) && !self.is_one_witness_too_many(node);
        let mut healed = self.nodes.values().filter(must_know);
        let all_know = healed.all(|node| {
            node.process.as_ref().is_some_and(|process| {
                process.replica.decided().0 == decided
                    && process.queue.is_empty()
                    && process.replica.view().members.get(&node.id).is_some_and(|member| {
                        // The leader knows what a member offers from its answers, which a cut for good may keep from it.
                        !self.lost_for_good.is_empty() || member.services == node.member.services
                    })
            })
        });
        // A learner whose kind would be no minority any more stays one.
        let may_vote = |member: &Member| !member.volatile && !member.is_witness();
        let mut learners = self.newest_view.members.values().filter(|member| member.standing != Standing::Voter);
        all_know && !learners.any(may_vote)
    }

    /// Whether a node is a witness that left, and is not taken back since witnesses would be no minority of the voters then.
    fn is_one_witness_too_many(&self, node: &Node) -> bool {
        let members = &self.newest_view.members;
        let witnesses = members.values().filter(|member| member.is_witness()).count();
        node.member.is_witness() && !members.contains_key(&node.id) && 2 * (witnesses + 1) > members.len()
    }

    fn look_for_leaders(&mut self) {
        let leads = |node: &Node| {
            let replica = &node.process.as_ref()?.replica;
            (replica.is_leader() && replica.view().id == self.newest_view.id).then(|| (node.id, replica.view().id))
        };
        let leaders: Vec<(NodeId, ViewId)> = self.nodes.values().filter_map(leads).collect();
        for (leader, view) in leaders {
            self.leads_on(leader, view);
        }
    }

    /// Something happened that may change who leads.
    pub(super) fn unsettle(&mut self) {
        self.settled_leader = None;
        self.unsettled_until_us = self.now_us + SETTLES_US;
    }

    /// A replica says that it leads. Once faults are over for a while, nobody has a reason to depose a leader: it has a
    /// majority, and only another view has another leader.
    fn leads_on(&mut self, leader: NodeId, view: ViewId) {
        let settles = self.healing_since_us.is_none_or(|since_us| self.now_us < since_us + SETTLES_US);
        if settles || self.now_us < self.unsettled_until_us {
            return;
        }
        let settled = self.settled_leader.get_or_insert((view, leader));
        if settled.0 < view {
            *settled = (view, leader);
        }
        if settled.0 == view && settled.1 != leader {
            let what = format!("{leader:?} deposed {:?} in view {view}, without any fault", settled.1);
            self.violation.get_or_insert(Violation::new(what));
        }
    }

    fn finish(&mut self) -> Result<(), Violation> {
        self.nobody_waits_in_vain()?;
        let decided = self.checks.slots();
        let knows_all = |node: &&Node| {
            let runs_objects = !node.member.is_witness();
            runs_objects
                && node.process.as_ref().is_some_and(|process| {
                    process.replica.decided().0 == decided && !self.lost_for_good.contains(&node.id)
                })
        };
        let node = self.nodes.values().find(knows_all).and_then(|node| node.process.as_ref());
        let process = node.ok_or_else(|| Violation::new("nobody knows all slots".into()))?;
        self.checks.finished(process.application.objects(), self.now_us)
    }

    /// Every request that reached a process which still runs was answered within a while.
    fn nobody_waits_in_vain(&self) -> Result<(), Violation> {
        for (node, life, what, at_us) in self.checks.unanswered() {
            if self.lives_on(node, life) && at_us + ANSWER_US < self.now_us {
                let waited = (self.now_us - at_us) / 1000;
                return Err(Violation::new(format!("{node:?} has left {what:?} without an answer for {waited} ms")));
            }
        }
        Ok(())
    }

    /// One line on everybody, for a run that got stuck.
    fn state(&self) -> String {
        let mut lines = Vec::new();
        for node in self.nodes.values().filter(|node| !node.gone) {
            let what = match &node.process {
                Some(process) => {
                    let replica = &process.replica;
                    format!(
                        "decided {} view {} {}{}{}",
                        replica.decided(),
                        replica.view().id,
                        if replica.view().is_voter(node.id) { "voter" } else { "learner" },
                        if replica.is_leader() { " leads" } else { "" },
                        if self.is_spoiled(node.id) { " spoiled" } else { "" }
                    )
                }
                None => "down".into(),
            };
            let lost = if self.lost_for_good.contains(&node.id) { " (lost)" } else { "" };
            lines.push(format!("{:?} at {}{lost}: {what}", node.id, node.address));
        }
        let members = self.newest_view.members.values();
        let members = members.map(|member| format!("{:?} {:?} silent {}", member.id, member.standing, member.silent));
        lines.push(format!("view {}: {}", self.newest_view.id, members.collect::<Vec<_>>().join(", ")));
        lines.extend(self.clients.iter().filter(|client| !client.is_done()).map(Caller::waits_for));
        format!("{} slots, {}", self.checks.slots(), lines.join(", "))
    }
}
