//! Who campaigns and when: quorum-connectedness (OmniPaxos, section 5) over all-to-all heartbeats.
//!
//! A replica campaigns only while it has round trips with a majority of its view, and only when a majority (itself
//! included) hears no leader that has a majority itself. So a replica that merely lost its own link to a working leader
//! stays quiet and catches up from whom it hears, and a leader cut off from its majority is replaced by whoever has one.

use std::cmp::Reverse;
use std::collections::VecDeque;

use concoord_wire::check::Checked;
use concoord_wire::member::{Member, Services};
use concoord_wire::peer::{Heartbeat, Message};
use concoord_wire::{Ballot, NodeId, Slot, ViewId};

use super::random::Random;
use super::{ByNode, Replica, Role, Timing};
use crate::io::Time;
use crate::mutated;
use crate::quorum::majority;

/// What this replica knows of its peers and of the leader.
#[derive(Debug)]
pub(super) struct Election {
    next_heartbeat_us: u64,
    campaign_at_us: u64,
    /// The last heartbeat round sent, and when each of the last rounds was.
    round: u64,
    rounds_sent: VecDeque<(u64, u64)>,
    leader: Option<KnownLeader>,
    /// Highest round seen in the newest view seen.
    seen: (ViewId, u64),
    peers: ByNode<Peer>,
    now_us: u64,
    led_since_us: u64,
}

#[derive(Debug)]
struct KnownLeader {
    ballot: Ballot,
    heard_us: u64,
}

/// What this replica knows of one peer.
#[derive(Debug, Default)]
struct Peer {
    heard_us: u64,
    /// When it last answered a heartbeat of the last election timeout.
    replied_us: Option<u64>,
    /// When it last said whether it hears a leader, and what it said.
    hears: Option<(u64, Option<Ballot>)>,
    /// The highest round that it confirmed in our own ballot.
    confirmed: Option<(Ballot, u64)>,
    decided: Slot,
    /// What it would still know as decided after a restart.
    known: Slot,
    applied: Slot,
    /// When it said that its disk is full, unless it said since that there is room.
    full_us: Option<u64>,
    /// What it last said that it offers.
    offers: Option<Services>,
}

impl Election {
    pub(super) fn new(now: Time) -> Election {
        Election {
            next_heartbeat_us: now.monotonic_us,
            campaign_at_us: now.monotonic_us,
            round: 0,
            rounds_sent: VecDeque::new(),
            leader: None,
            seen: (ViewId(0), 0),
            peers: ByNode::new(),
            now_us: now.monotonic_us,
            led_since_us: 0,
        }
    }

    pub(super) fn deadline_us(&self) -> u64 {
        // A campaign that is overdue waits for others to notice as well, which heartbeats tell.
        if self.campaign_at_us > self.now_us {
            self.campaign_at_us.min(self.next_heartbeat_us)
        } else {
            self.next_heartbeat_us
        }
    }

    pub(super) fn heard(&mut self, from: NodeId, now_us: u64) {
        self.now_us = now_us;
        self.peers.entry(from).or_default().heard_us = now_us;
    }

    pub(super) fn heard_within(&self, id: NodeId, within_us: u64, now_us: u64) -> bool {
        self.peers.get(&id).is_some_and(|peer| now_us.saturating_sub(peer.heard_us) < within_us)
    }

    /// What `id` last said that it offers, since this replica was started.
    pub(super) fn offered(&self, id: NodeId) -> Option<Services> {
        self.peers.get(&id).and_then(|peer| peer.offers)
    }

    pub(super) fn note_offered(&mut self, id: NodeId, services: Services) {
        self.peers.entry(id).or_default().offers = Some(services);
    }

    /// Whether `id` said within this time that its disk is full.
    fn said_full_within(&self, id: NodeId, within_us: u64, now_us: u64) -> bool {
        let said_us = self.peers.get(&id).and_then(|peer| peer.full_us);
        said_us.is_some_and(|said_us| now_us.saturating_sub(said_us) < within_us)
    }

    /// What `id` last said it knows as decided.
    pub(super) fn decided_of(&self, id: NodeId) -> Slot {
        self.peers.get(&id).map_or(Slot::ZERO, |peer| peer.decided)
    }

    pub(super) fn note_decided(&mut self, id: NodeId, decided: Slot) {
        let peer = self.peers.entry(id).or_default();
        peer.decided = peer.decided.max(decided);
    }

    /// What `id` would still know as decided after a restart.
    pub(super) fn known_of(&self, id: NodeId) -> Slot {
        self.peers.get(&id).map_or(Slot::ZERO, |peer| peer.known)
    }

    pub(super) fn note_known(&mut self, id: NodeId, known: Slot) {
        self.note_decided(id, known);
        let peer = self.peers.entry(id).or_default();
        peer.known = peer.known.max(known);
    }

    /// When `id` was heard last; `None` if never.
    pub(super) fn heard_at(&self, id: NodeId) -> Option<u64> {
        self.peers.get(&id).map(|peer| peer.heard_us)
    }

    /// Since when this replica leads, if it does.
    pub(super) fn led_since_us(&self) -> u64 {
        self.led_since_us
    }

    /// What `id` last said its application has applied.
    pub(super) fn applied_of(&self, id: NodeId) -> Slot {
        self.peers.get(&id).map_or(Slot::ZERO, |peer| peer.applied)
    }

    /// The highest round that `id` confirmed in `ballot`.
    pub(super) fn confirmed_by(&self, id: NodeId, ballot: Ballot) -> u64 {
        let confirmed = self.peers.get(&id).and_then(|peer| peer.confirmed);
        confirmed.filter(|(confirmed, _)| *confirmed == ballot).map_or(0, |(_, round)| round)
    }

    /// The round last sent.
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    pub(super) fn note_round(&mut self, ballot: Ballot) {
        self.seen = self.seen.max((ballot.view, ballot.round));
    }

    /// A round above all seen in `view`.
    pub(super) fn next_round(&self, view: ViewId, promised: Ballot) -> u64 {
        let seen = [self.seen, (promised.view, promised.round)];
        1 + seen.iter().filter(|seen| seen.0 == view).map(|seen| seen.1).max().unwrap_or(0)
    }

    pub(super) fn campaign_started(&mut self, timing: &Timing, random: &mut Random, now_us: u64) {
        self.leader = None;
        self.campaign_at_us = now_us + random.between(timing.election_min_us, timing.election_max_us);
    }

    pub(super) fn leads(&mut self, ballot: Ballot, now_us: u64) {
        self.leader = Some(KnownLeader { ballot, heard_us: now_us });
        self.led_since_us = now_us;
    }

    /// Forgets peers that are in no view any more.
    pub(super) fn keep_peers(&mut self, mut keep: impl FnMut(NodeId) -> bool) {
        self.peers.retain(|id, _| keep(*id));
    }

    fn next_heartbeat_round(&mut self, now_us: u64, kept_us: u64) -> u64 {
        self.round += 1;
        self.rounds_sent.push_back((self.round, now_us));
        while self.rounds_sent.front().is_some_and(|(_, sent_us)| sent_us + kept_us < now_us) {
            self.rounds_sent.pop_front();
        }
        self.round
    }

    /// Whether `round` was sent within the last election timeout.
    fn is_recent(&self, round: u64) -> bool {
        self.rounds_sent.front().is_some_and(|(oldest, _)| (*oldest..=self.round).contains(&round))
    }

    /// How many peers are remembered.
    pub(super) fn peers_count(&self) -> usize {
        self.peers.len()
    }
}

impl Replica {
    pub(super) fn on_tick(&mut self) {
        let now_us = self.now.monotonic_us;
        self.election.now_us = now_us;
        // It stood still, and so did its ears.
        if now_us > self.ticked_us + self.timing.election_max_us {
            self.listens_since_us = now_us;
        }
        self.ticked_us = now_us;
        if self.stopped {
            self.election.next_heartbeat_us = u64::MAX;
            return;
        }
        if self.now.monotonic_us >= self.election.next_heartbeat_us {
            // Only here: heartbeats that reads send in between must not put off what else is due with the tick.
            self.election.next_heartbeat_us = self.now.monotonic_us + self.timing.heartbeat_us;
            self.judge_checks();
            self.send_heartbeats();
            self.send_prepares();
            self.resend_accepts();
            self.ask_contacts();
            self.ask_to_return();
            self.judge_silence();
            self.raise_version();
            self.propose_pending();
            self.propose_due();
            self.tick_snapshots();
            self.tick_reads();
            self.continue_stopping();
            if self.disk_full && self.is_leader() {
                self.hand_over();
            }
            self.step_down_if_cut_off();
        }
        if self.now.monotonic_us >= self.election.campaign_at_us {
            if self.may_campaign() {
                self.fail_inherited_clients();
                self.become_candidate(false);
            } else if matches!(self.role, Role::Candidate(_)) {
                // The campaign failed and there can't be another yet: whoever waits here does better elsewhere.
                self.become_follower();
                self.await_leader();
            }
        }
        self.persist_decided();
    }

    /// A new wait for a leader begins.
    pub(super) fn await_leader(&mut self) {
        let sole = self.view.voters().eq([self.node]);
        let Timing { election_min_us, election_max_us, .. } = self.timing;
        let wait_us = if sole { 0 } else { self.random.between(election_min_us, election_max_us) };
        self.election.campaign_at_us = self.now.monotonic_us + wait_us;
    }

    /// A leader with a majority was heard.
    pub(super) fn follow(&mut self, ballot: Ballot) {
        let leads_itself = ballot.leader == self.node;
        if leads_itself {
            return;
        }
        if !matches!(self.role, Role::Follower) {
            self.become_follower();
        }
        self.election.note_round(ballot);
        self.election.leader = Some(KnownLeader { ballot, heard_us: self.now.monotonic_us });
        self.await_leader();
    }

    /// Who leads, as far as this replica knows.
    pub(super) fn leader(&self) -> Option<NodeId> {
        if self.is_leader() {
            return Some(self.node);
        }
        let known = self.election.leader.as_ref()?;
        let fresh = self.now.monotonic_us.saturating_sub(known.heard_us) < self.timing.election_max_us;
        let leader = known.ballot.leader;
        (fresh && leader != self.node && self.view.members.contains_key(&leader)).then_some(leader)
    }

    /// Nobody is known to lead.
    pub(super) fn forget_leader(&mut self) {
        self.election.leader = None;
    }

    /// Gives up whatever this replica was doing, and tells its clients.
    pub(super) fn become_follower(&mut self) {
        let had_clients = !matches!(self.role, Role::Follower);
        self.become_follower_keeping_clients();
        if had_clients {
            self.fail_clients();
            self.fail_joins();
        }
    }

    pub(super) fn become_follower_keeping_clients(&mut self) {
        self.role = Role::Follower;
        self.requeue_reads();
    }

    /// Tells every member that this replica is there, what it hears and what it knows.
    pub(super) fn send_heartbeats(&mut self) {
        let checked = self.checked();
        self.send_heartbeats_to(self.heartbeat_receivers(), Some(checked));
    }

    /// Leader: a round in between for the reads that wait, to no more voters than it takes: those that were the fastest
    /// to confirm the last ones. Should one of them be gone, the heartbeats of the next tick go to all.
    pub(super) fn send_read_round(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let ballot = leader.ballot;
        let mut others = self.other_voters();
        others.sort_by_key(|voter| Reverse(self.election.confirmed_by(*voter, ballot)));
        others.truncate(majority(self.view.voters().count()) - 1);
        self.send_heartbeats_to(others, None);
    }

    fn send_heartbeats_to(&mut self, to: Vec<NodeId>, checked: Option<Checked>) {
        let now_us = self.now.monotonic_us;
        if to.is_empty() {
            return;
        }
        let round = self.election.next_heartbeat_round(now_us, self.timing.election_max_us);
        self.attach_reads(round);
        let heartbeat = Heartbeat { checked, ..self.heartbeat(round) };
        for member in to {
            self.send(member, Message::Heartbeat(heartbeat.clone()));
        }
    }

    /// Whoever does not vote, as far as it knows, has nothing to say but that its disk is full: then it may never know that it
    /// votes by now.
    fn heartbeat_receivers(&self) -> Vec<NodeId> {
        if !self.view.is_voter(self.node) && !self.disk_full {
            return Vec::new();
        }
        self.view.members.keys().copied().filter(|member| *member != self.node).collect()
    }

    pub(super) fn heartbeat(&self, round: u64) -> Heartbeat {
        let (leading, first) = match &self.role {
            Role::Leader(leader) => (Some(leader.ballot), leader.first),
            _ => (None, Slot::ZERO),
        };
        let (decided, full) = (self.log.decided(), self.disk_full);
        Heartbeat {
            round,
            leading,
            hears: self.hears(),
            connected: self.connected(),
            first,
            decided,
            full,
            checked: None,
        }
    }

    pub(super) fn on_heartbeat(&mut self, from: NodeId, heartbeat: Heartbeat) {
        let Heartbeat { round, leading, hears, connected, first, decided, full, checked } = heartbeat;
        if let Some(checked) = checked {
            self.on_checked(from, checked);
        }
        let leading = leading.filter(|ballot| ballot.leader == from);
        let now_us = self.now.monotonic_us;
        let peer = self.election.peers.entry(from).or_default();
        peer.hears = Some((now_us, hears));
        peer.full_us = full.then_some(now_us);
        self.election.note_decided(from, decided);
        let mut confirms = None;
        match leading {
            Some(ballot) if ballot.view > self.view.id => {
                self.catch_up_with(from, decided.max(self.log.decided().next()));
            }
            Some(ballot) if ballot < self.promised || ballot.view < self.view.id => self.reject(from),
            Some(ballot) => {
                if connected {
                    self.follow(ballot);
                    self.led_from = self.led_from.max(first);
                }
                confirms = self.view.is_voter(self.node).then_some(ballot);
                self.learn_decided_in(ballot, decided, from);
            }
            None if self.hears().is_none() => self.catch_up_with(from, decided),
            None => self.catch_up_elsewhere(from, decided),
        }
        let (decided, applied) = (self.log.decided(), self.clients.applied_of(self.log.decided()));
        let Member { services, supports, .. } = self.member;
        let reply = Message::HeartbeatReply { round, ballot: confirms, decided, applied, services, supports };
        self.send_as_known(from, reply);
    }

    pub(super) fn on_heartbeat_reply(
        &mut self,
        from: NodeId,
        round: u64,
        ballot: Option<Ballot>,
        decided: Slot,
        applied: Slot,
    ) {
        self.election.note_known(from, decided);
        if !self.election.is_recent(round) {
            return;
        }
        let now_us = self.now.monotonic_us;
        let peer = self.election.peers.entry(from).or_default();
        peer.replied_us = Some(now_us);
        peer.applied = peer.applied.max(applied);
        if let Some(ballot) = ballot {
            peer.confirmed = peer.confirmed.max(Some((ballot, round)));
        }
        match self.role {
            Role::Leader(_) => {
                self.confirm_reads();
                self.promote_if_ready(from);
            }
            _ if self.hears().is_none() => self.catch_up_with(from, decided),
            _ => {}
        }
    }

    /// The leader is stopping and wants us to lead.
    pub(super) fn on_hand_over(&mut self, from: NodeId) {
        let from_leader = self.election.leader.as_ref().is_some_and(|known| known.ballot.leader == from);
        if from_leader && self.may_lead() && !self.is_leader() && !self.stopped {
            self.become_candidate(false);
            if mutated!(HandedOverWithoutPromises) {
                self.become_leader(self.promised, Vec::new());
            }
        }
    }

    /// The ballot of the leader that this replica hears, when that leader has a majority.
    fn hears(&self) -> Option<Ballot> {
        if let Role::Leader(leader) = &self.role {
            return self.connected().then_some(leader.ballot);
        }
        let known = self.election.leader.as_ref()?;
        let heard = self.now.monotonic_us.saturating_sub(known.heard_us) < self.timing.election_min_us;
        heard.then_some(known.ballot)
    }

    /// Whether this replica has round trips with a majority of its view, itself included.
    fn connected(&self) -> bool {
        let reached = self.per_voter(true, |voter| self.has_round_trips(voter));
        reached.iter().filter(|reached| **reached).count() >= majority(reached.len())
    }

    /// Whether `peer` answered a heartbeat of the last election timeout.
    pub(super) fn has_round_trips(&self, peer: NodeId) -> bool {
        let replied_us = self.election.peers.get(&peer).and_then(|peer| peer.replied_us);
        replied_us.is_some_and(|at| self.now.monotonic_us.saturating_sub(at) < self.timing.election_max_us)
    }

    /// Whether `peer` accepts nothing, for lack of room on its disk.
    pub(super) fn is_full(&self, peer: NodeId) -> bool {
        self.election.said_full_within(peer, self.timing.silent_us, self.now.monotonic_us)
    }

    fn may_campaign(&self) -> bool {
        !self.is_leader()
            && self.may_lead()
            && self.connected()
            && (self.majority_hears_no_leader() || mutated!(CampaignsAgainstLeader))
    }

    /// Whether this replica is one that may lead at all: witnesses never do, nor does who has no room for a log, nor whose
    /// state is wrong, nor who promised in a view that its damaged disk does not know any more.
    fn may_lead(&self) -> bool {
        let knows_its_view = self.promised.view <= self.view.id;
        self.view.is_voter(self.node)
            && knows_its_view
            && (!self.policy.witness || mutated!(WitnessLeads))
            && !self.disk_full
            && self.differs().is_none()
    }

    fn majority_hears_no_leader(&self) -> bool {
        let now_us = self.now.monotonic_us;
        let leaderless = self.per_voter(self.hears().is_none(), |voter| {
            let said = self.election.peers.get(&voter).and_then(|peer| peer.hears);
            said.is_some_and(|(at, hears)| hears.is_none() && now_us.saturating_sub(at) < self.timing.election_max_us)
        });
        leaderless.iter().filter(|leaderless| **leaderless).count() >= majority(leaderless.len())
    }

    /// A leader without a majority can decide nothing: its clients do better elsewhere.
    fn step_down_if_cut_off(&mut self) {
        let led_us = self.now.monotonic_us.saturating_sub(self.election.led_since_us);
        if self.is_leader() && led_us > self.timing.election_max_us && !self.connected() {
            self.forget_leader();
            self.become_follower();
            self.await_leader();
        }
    }
}
