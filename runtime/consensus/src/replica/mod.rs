//! The replica: Multi-Paxos with views, as one pure state machine.
//!
//! Read the files in the order of a call: [`clients`] takes it in, [`leader`] puts it into a slot, [`acceptor`] accepts
//! it, [`learner`] learns that it is decided and hands it to the application, [`clients`] replies. Beside that way stand
//! [`election`] (who campaigns and when), [`candidate`] (phase 1), [`reads`] (read-index), [`views`] (membership),
//! [`staging`] (modules that arrive in pieces), [`trials`] (modules that are tried before they are proposed), [`silence`] (members that are unheard), [`stopping`] (clean stops),
//! [`snapshots`] (where logs begin), [`checks`] (whether all have applied the same), [`versions`] (when applying changes its
//! meaning).
//!
//! # Why it is safe
//!
//! Within a view this is Paxos (Paxos Made Moderately Complex, section 2): a value is chosen once a majority of the
//! view's voters accepted it in one ballot, and phase 1 of a higher ballot hears from one of them. Between views, a
//! decided change of membership *seals* its slot: its leader proposes nothing beyond it, and later slots belong to
//! ballots of the new view alone, whose voters promise only once they hold everything up to the seal as decided and
//! forget what older views accepted beyond it. So the slots of one view are decided by quorums of that view alone, and
//! quorums of different views need not intersect.
//!
//! # Invariants, asserted
//!
//! * The promised ballot never falls, nor does the ballot of an accepted slot.
//! * A decided slot never changes.
//! * Nothing is proposed beyond an undecided seal.

mod acceptor;
mod candidate;
mod checks;
mod clients;
mod clock;
mod election;
mod leader;
mod learner;
mod log;
mod random;
mod reads;
mod recover;
mod silence;
mod slots;
mod snapshots;
mod staging;
mod stopping;
mod trials;
mod versions;
mod views;

use std::collections::BTreeMap;

use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::member::{Member, Roster, RosterMember, View};
use concoord_wire::peer::Message;
use concoord_wire::record::Record;
use concoord_wire::version::ClusterVersion;
use concoord_wire::{Ballot, ClusterId, NodeId, Slot, ViewId};

use self::candidate::Candidate;
use self::checks::Checks;
use self::clients::Clients;
use self::clock::Clock;
use self::election::Election;
use self::leader::Leader;
use self::learner::CatchUp;
use self::log::Log;
use self::random::Random;
use self::reads::Reads;
use self::snapshots::Snapshots;
use self::stopping::Stopping;
use self::views::Membership;
use crate::io::{Effect, Input, LogPosition, Time};
use crate::limits::LATE_VOTER_PATIENCE_US;
use crate::mutated;

/// No cluster gets to this round by itself; a message that names one is damaged.
const ROUND_MAX: u64 = 1 << 48;
/// Peers remembered, members or not.
const PEERS_KEPT_MAX: usize = 8 * crate::limits::MEMBERS_MAX;

/// How long things take. All in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats.
    pub heartbeat_us: u64,
    /// A peer unheard for this long is not heard; the shortest wait before a campaign.
    pub election_min_us: u64,
    /// The longest wait before a campaign.
    pub election_max_us: u64,
    /// Before an unanswered message is sent again.
    pub resend_us: u64,
    /// A member unheard for this long is marked as silent.
    pub silent_us: u64,
    /// A member silent for this long is taken out of the view; `None` for never.
    pub evict_us: Option<u64>,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            heartbeat_us: 25_000,
            election_min_us: 100_000,
            election_max_us: 200_000,
            resend_us: 100_000,
            silent_us: 3_000_000,
            evict_us: Some(30_000_000),
        }
    }
}

/// What kind of member a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether it keeps nothing on disk.
    pub volatile: bool,
    /// Whether it votes and stores, but runs no objects.
    pub witness: bool,
    /// Whether it leaves the view whenever it is stopped.
    pub leave_on_stop: bool,
    /// After about how many bytes of log a snapshot is made.
    pub snapshot_bytes: u64,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { volatile: false, witness: false, leave_on_stop: false, snapshot_bytes: 64 << 20 }
    }
}

/// Who a replica is and where its log starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This replica.
    pub node: NodeId,
    /// Where it is reached and what it offers: to be taken in again, should it have left.
    pub member: Member,
    /// The snapshot that its log starts from.
    pub base: Checkpoint,
    /// The version of the application's state in that snapshot.
    pub version: ClusterVersion,
    /// Members to catch up from while this replica is in no view that it knows.
    pub contacts: Vec<NodeId>,
    /// How long things take.
    pub timing: Timing,
    /// What kind of member it is.
    pub policy: Policy,
    /// Spreads campaigns in time.
    pub seed: u64,
}

/// One replica of one group. See the module's documentation.
#[derive(Debug)]
pub struct Replica {
    cluster: ClusterId,
    node: NodeId,
    /// As it wants to be listed.
    member: Member,
    timing: Timing,
    policy: Policy,
    random: Random,
    now: Time,
    /// Since when this replica has been listening without standing still.
    listens_since_us: u64,
    ticked_us: u64,

    // What must survive a restart; every change is persisted.
    promised: Ballot,
    log: Log,
    genesis: View,
    /// The membership at the last decided slot.
    view: View,
    /// The slot that made `view`.
    view_slot: Slot,
    /// The slot of the last mark of a member of `view`.
    mark_slot: Slot,
    /// Where the newest leader that is known began.
    led_from: Slot,
    /// From this log position on, a restart knows `view`.
    view_at: LogPosition,

    // The log's positions.
    appended: LogPosition,
    durable: LogPosition,
    /// The last decided slot that the log was told.
    decided_persisted: Slot,
    /// What was appended before this burst of inputs.
    appended_before: LogPosition,

    role: Role,
    election: Election,
    catch_up: CatchUp,
    clients: Clients,
    reads: Reads,
    membership: Membership,
    stopping: Stopping,
    snapshots: Snapshots,
    checks: Checks,
    versions: versions::Known,
    clock: Clock,
    /// Only the disk's reserve is left: nothing new is accepted.
    disk_full: bool,
    /// The roster last announced.
    announced: Option<(Roster, RosterKey)>,
    stopped: bool,
    effects: Vec<Effect>,
}

/// What in a roster tells, without a look at each member, that it is another one: view, leader, last mark
/// and last change of the leader.
type RosterKey = (ViewId, Option<NodeId>, Slot, Slot);

/// What a replica does at the moment.
#[derive(Debug)]
enum Role {
    /// Accepts what a leader proposes.
    Follower,
    /// Gathers promises.
    Candidate(Candidate),
    /// Proposes.
    Leader(Leader),
}

impl Replica {
    /// A replica that knows nothing but its configuration. The snapshot that it starts from is durable, or it is volatile.
    #[must_use]
    pub fn new(config: Config, now: Time) -> Replica {
        let mut random = Random::new(config.seed);
        // A number of its own for each life: a late answer to an earlier life answers nothing.
        let request = random.between(0, u64::MAX / 2);
        let base = config.base;
        let mut clock = Clock::default();
        clock.observe(base.stamp, now);
        let mut replica = Replica {
            cluster: base.cluster,
            node: config.node,
            member: config.member,
            timing: config.timing,
            policy: config.policy,
            random,
            now,
            listens_since_us: now.monotonic_us,
            ticked_us: now.monotonic_us,
            promised: Ballot::ZERO,
            log: Log::above(base.slot),
            view: base.view,
            genesis: base.genesis,
            view_slot: base.view_slot,
            mark_slot: Slot::ZERO,
            led_from: Slot::ZERO,
            view_at: LogPosition(0),
            appended: LogPosition(0),
            durable: LogPosition(0),
            decided_persisted: base.slot,
            appended_before: LogPosition(0),
            role: Role::Follower,
            election: Election::new(now),
            catch_up: CatchUp::new(config.contacts),
            clients: Clients::above(base.slot),
            reads: Reads::new(request),
            membership: Membership::default(),
            stopping: Stopping::default(),
            snapshots: Snapshots::above(base.slot),
            checks: Checks::above(base.slot),
            versions: versions::Known::new(config.version),
            clock,
            disk_full: false,
            announced: None,
            stopped: false,
            effects: Vec::new(),
        };
        replica.await_leader();
        replica
    }

    /// Takes one input and appends what follows from it to `effects`. `now` never falls.
    pub fn step(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        assert!(now.monotonic_us >= self.now.monotonic_us, "monotonic time never falls");
        self.now = now;
        let ticks = matches!(input, Input::Tick);
        match input {
            Input::Tick => self.on_tick(),
            Input::Flush => self.on_flush(),
            Input::Peer { from, message } => self.on_message(from, message),
            Input::Client { client, request } => self.on_request(client, request),
            Input::ClientGone { client } => self.on_client_gone(client),
            Input::Join { join, member, reached } => self.on_join(join, member, reached),
            Input::Operate { nonce, action } => self.on_operate(nonce, action),
            Input::Durable { position } => self.on_durable(position),
            Input::Applied(applied) => self.on_applied(applied),
            Input::Restored { slot, version } => self.on_restored(slot, version),
            Input::SnapshotSaved { slot } => self.on_snapshot_saved(slot),
            Input::SnapshotFailed { slot } => self.on_snapshot_failed(slot),
            Input::SnapshotKept { slot, bytes } => self.on_snapshot_kept(slot, bytes),
            Input::SnapshotReceived { checkpoint } => self.on_snapshot_received(checkpoint),
            Input::SnapshotRefused { slot } => self.on_snapshot_refused(slot),
            Input::TriedOut { trial, result } => self.on_tried_out(trial, result),
            Input::DiskFull(full) => self.on_disk_full(full),
            Input::Stop { leave } => self.on_stop(leave),
        }
        self.announce_roster(ticks);
        effects.append(&mut self.effects);
    }

    /// When this replica wants [`Input::Tick`], in microseconds of the monotonic clock.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.election.deadline_us()
    }

    /// Highest slot known as decided.
    #[must_use]
    pub fn decided(&self) -> Slot {
        self.log.decided()
    }

    /// Whether this replica leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// The membership at the last decided slot.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The decided value of a slot, for checkers.
    #[must_use]
    pub fn decided_value(&self, slot: Slot) -> Option<&concoord_wire::value::Value> {
        self.log.decided_value(slot)
    }

    /// What is accepted and not known as decided, for checkers.
    #[must_use]
    pub fn undecided(&self) -> Vec<concoord_wire::peer::AcceptedValue> {
        self.log.undecided()
    }

    /// Slots of which the disk lost what was accepted, first and last of each range, for checkers.
    #[must_use]
    pub fn unknown(&self) -> Vec<(Slot, Slot)> {
        self.log.unknown()
    }

    /// Everything up to this slot is in a snapshot only, for checkers.
    #[must_use]
    pub fn log_base(&self) -> Slot {
        self.log.base()
    }

    /// The membership as this replica sees it now.
    #[must_use]
    pub fn roster(&self) -> Roster {
        let leader = self.leader();
        let members = self.view.members.values().map(|member| self.roster_member(member)).collect();
        Roster {
            cluster: self.cluster,
            view: self.view.id,
            leader,
            members,
            revision: self.view_slot.max(self.mark_slot).max(self.led_from),
            decided: self.log.decided(),
            reporter: self.node,
            version: self.version(),
            plugins: Vec::new(),
        }
    }

    fn roster_member(&self, member: &Member) -> RosterMember {
        RosterMember {
            id: member.id,
            address: member.address,
            role: member.role(),
            services: member.services,
            live: member.id == self.node
                || self.election.heard_within(member.id, self.timing.silent_us, self.now.monotonic_us),
            silent: member.silent,
            volatile: member.volatile,
            full: if member.id == self.node { self.disk_full } else { self.is_full(member.id) },
            differs: if member.id == self.node { self.differs() } else { self.checks.differs(member.id) },
            supports: self.supported(member.id),
        }
    }

    /// Announces the roster when something in it changed that others act on. Who is live is looked at with each tick.
    fn announce_roster(&mut self, ticks: bool) {
        let newest = (self.view.id, self.leader(), self.mark_slot, self.led_from);
        let announced = self.announced.as_ref().map(|(_, announced)| *announced);
        if announced == Some(newest) && !ticks {
            return;
        }
        let roster = self.roster();
        let same_members = self.announced.as_ref().is_some_and(|(announced, _)| announced.members == roster.members);
        if announced != Some(newest) || !same_members {
            self.effects.push(Effect::RosterChanged(roster.clone()));
            self.announced = Some((roster, newest));
        }
    }

    fn on_message(&mut self, from: NodeId, message: Message) {
        if message.ballot().is_some_and(|ballot| ballot.round > ROUND_MAX) {
            return;
        }
        if self.election.peers_count() > PEERS_KEPT_MAX {
            let members = &self.view.members;
            self.election.keep_peers(|id| members.contains_key(&id));
        }
        self.election.heard(from, self.now.monotonic_us);
        match message {
            Message::Prepare { ballot, decided } => self.on_prepare(from, ballot, decided),
            Message::Promise { ballot, decided, accepted, unknown } => {
                self.on_promise(from, ballot, decided, accepted, &unknown);
            }
            Message::Accept { ballot, slot, value, decided } => self.on_accept(from, ballot, slot, value, decided),
            Message::Accepted { ballot, slot } => self.on_accepted(from, ballot, slot),
            Message::Reject { promised, decided } => self.on_reject(from, promised, decided),
            Message::Heartbeat(heartbeat) => self.on_heartbeat(from, heartbeat),
            Message::HeartbeatReply { round, ballot, decided, applied, services, supports } => {
                self.election.note_offered(from, services);
                self.versions.note_supported(from, supports);
                self.on_heartbeat_reply(from, round, ballot, decided, applied);
            }
            Message::Fetch { from: slot } => self.on_fetch(from, slot),
            Message::Entries { first, values, decided } => self.on_entries(from, first, values, decided),
            Message::ReadIndex { request } => self.on_read_index(from, request),
            Message::ReadIndexReply { request, index } => self.on_read_index_reply(from, request, index),
            Message::AskSnapshot { above, make } => self.on_ask_snapshot(from, above, make),
            Message::SnapshotAt { slot, bytes } => self.on_snapshot_at(from, slot, bytes),
            Message::FetchSnapshot { slot, offset } => self.on_fetch_snapshot(from, slot, offset),
            Message::SnapshotChunk { slot, total, offset, checksum, data } => {
                self.on_snapshot_chunk(from, slot, total, offset, checksum, data);
            }
            Message::Return { member } => self.on_return(from, member),
            Message::HandOver => self.on_hand_over(from),
            Message::Leave => self.on_leave(from),
        }
    }

    /// Once per burst of inputs: what was gathered goes out.
    fn on_flush(&mut self) {
        self.propose_pending();
        self.start_read_round();
        self.ask_read_index();
        // In company only, as it is not worth a sync of its own. A tick persists what had none.
        if self.appended > self.appended_before {
            self.persist_decided();
        }
        self.appended_before = self.appended;
    }

    fn on_durable(&mut self, position: LogPosition) {
        assert!(position <= self.appended, "only what was appended gets durable");
        if position <= self.durable {
            return;
        }
        self.durable = position;
        self.count_own_promise();
        self.count_own_acceptances();
    }

    /// Appends a record; its position is what effects wait for.
    fn persist(&mut self, record: Record) -> LogPosition {
        self.appended = LogPosition(self.appended.0 + 1);
        self.effects.push(Effect::Persist { position: self.appended, record });
        self.appended
    }

    /// Tells the log how far it is decided. Nothing waits for it: what is lost of it is learned again.
    fn persist_decided(&mut self) {
        if self.decided_persisted < self.log.decided() {
            self.decided_persisted = self.log.decided();
            self.persist(Record::Decided(self.decided_persisted));
        }
    }

    /// Sends what may be seen at once.
    fn send(&mut self, to: NodeId, message: Message) {
        self.send_after(LogPosition(0), to, message);
    }

    /// Sends what others take as known here for good: not before a restart would know it too.
    fn send_as_known(&mut self, to: NodeId, message: Message) {
        let after = if self.view.is_voter(self.node) {
            self.view_at
        } else {
            self.persist_decided();
            self.appended
        };
        let after = if mutated!(KnownEarly) { LogPosition(0) } else { after };
        self.send_after(after, to, message);
    }

    /// Sends what may be seen only once the log is durable up to `after`.
    fn send_after(&mut self, after: LogPosition, to: NodeId, message: Message) {
        debug_assert_ne!(to, self.node, "a replica sends nothing to itself");
        self.effects.push(Effect::Send { to, message, after, patience_us: 0 });
    }

    /// Sends what is of no hurry.
    fn send_late(&mut self, to: NodeId, message: Message) {
        self.effects.push(Effect::Send { to, message, after: LogPosition(0), patience_us: LATE_VOTER_PATIENCE_US });
    }

    /// The other voters of the view.
    fn other_voters(&self) -> Vec<NodeId> {
        self.view.voters().filter(|voter| *voter != self.node).collect()
    }

    /// Per voter of the view, what `of` says; `own` for this replica.
    fn per_voter<T>(&self, own: T, of: impl Fn(NodeId) -> T) -> Vec<T>
    where
        T: Copy,
    {
        self.view.voters().map(|voter| if voter == self.node { own } else { of(voter) }).collect()
    }

    /// Raises the promise.
    fn promise(&mut self, ballot: Ballot) {
        assert!(ballot >= self.promised, "a promise never falls");
        self.promised = ballot;
    }
}

/// A map from nodes, ordered.
type ByNode<T> = BTreeMap<NodeId, T>;
