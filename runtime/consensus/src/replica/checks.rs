//! Whether what is applied here is what others have applied, and what becomes of a replica where it is not.
//!
//! The application gives a check every [`crate::limits::CHECK_SLOTS`] slots. Voters tell all members their newest checks
//! with their heartbeats, and each judges for itself:
//!
//! * It is one of a majority of the voters that run objects: it *agrees*, and says so to all. So one that hears few of the
//!   others learns from any of them what a majority has.
//! * A majority has another check than it has: it *differs*. It is quarantined: it hands leadership over, and does not lead,
//!   serve clients or send snapshots. Its ballot, log and vote are not in doubt, so it goes on voting. It asks one that
//!   agrees for a snapshot of that slot or a later one, goes on from there with what its own log holds beyond, and is
//!   then as any other.
//! * No check can have a majority: a *tie*. Nobody can tell who is right, so all stop. So they do when two differ
//!   and those who could settle it stay unheard for [`DOUBT_SILENCES`].
//!
//! A replica that is started again while it differs, before it was found out, applies from its snapshot and log, and is as the
//! others, or is found out at the next check. Snapshots made since the last check that agreed are dropped once the right
//! state is durable.

use std::collections::{BTreeMap, BTreeSet};

use concoord_wire::check::{Check, Checked};
use concoord_wire::client::CallError;
use concoord_wire::peer::Message;
use concoord_wire::value::Value;
use concoord_wire::{NodeId, Slot, ViewId};

use super::{ByNode, Replica, Role};
use crate::io::{Divergence, Effect};
use crate::limits::{CHECKS_KEPT_MAX, CHECKS_SENT_MAX};
use crate::mutated;
use crate::quorum::{Verdict, verdict};

/// For how many times as long as until a member counts as silent a difference may stay unsettled.
const DOUBT_SILENCES: u64 = 2;

/// What is known of the checks of this replica and its peers.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// The slot of the snapshot that the application goes on from.
    above: Slot,
    own: BTreeMap<Slot, Check>,
    peers: ByNode<BTreeMap<Slot, Check>>,
    /// The newest check in which this replica is one of a majority of `view`.
    agreed: Option<Check>,
    /// What others say that a majority of `view` has.
    claims: ByNode<Check>,
    view: ViewId,
    /// The last slot at which this replica is known to have agreed.
    agreed_until: Slot,
    /// Peers that said that they differ, and where.
    differing: ByNode<Slot>,
    /// Since when a difference is known and not settled.
    doubt_since_us: Option<u64>,
    quarantine: Option<Quarantine>,
}

/// What a replica that differs does about it.
#[derive(Debug)]
struct Quarantine {
    divergence: Divergence,
    asked_us: u64,
    /// How often was asked.
    turns: usize,
    /// The snapshot that the application is taking over.
    restoring: Option<Slot>,
}

/// What all checks together say.
enum Finding {
    /// Nothing speaks against this replica.
    Fine,
    /// A majority has this check, and this replica another one.
    Differs(Check),
    /// Some differ in this slot, and it is not known yet what a majority has.
    Doubt(Slot),
    /// Some differ in this slot, and there is no majority.
    Tie(Slot),
}

impl Checks {
    /// The application goes on from the snapshot of this slot.
    pub(super) fn above(slot: Slot) -> Checks {
        Checks { above: slot, ..Checks::default() }
    }

    /// It takes another one over: what its own state was before says nothing any more.
    pub(super) fn restart_above(&mut self, slot: Slot) {
        self.above = slot;
        self.own.clear();
        self.doubt_since_us = None;
    }

    /// The application is done with a slot that is checked.
    pub(super) fn note_own(&mut self, check: Check) {
        self.own.insert(check.slot, check);
        keep_newest(&mut self.own);
    }

    /// Something is said under this view from now on.
    fn enter(&mut self, view: ViewId) {
        if self.view != view {
            self.view = view;
            self.agreed = None;
            self.claims.clear();
        }
    }

    /// Where `id` last said that it differs.
    pub(super) fn differs(&self, id: NodeId) -> Option<Slot> {
        self.differing.get(&id).copied()
    }

    /// Looks at every check that is not known to agree, lowest first: a reply that differed stays one. `voters` are those
    /// that run objects, `heard` those that were heard lately: what one said that is gone since counts again when it is
    /// back, if it says so then.
    fn judge(&mut self, node: NodeId, voters: &[NodeId], heard: &BTreeSet<NodeId>) -> Finding {
        let mut finding = Finding::Fine;
        for (&slot, &own) in self.own.range(self.agreed_until.next()..) {
            let said = voters.iter().map(|voter| match *voter {
                voter if voter == node => Some(own),
                voter => self.peers.get(&voter).filter(|_| heard.contains(&voter))?.get(&slot).copied(),
            });
            match verdict(own, &said.collect::<Vec<_>>()) {
                Verdict::Agrees => {
                    self.agreed_until = slot;
                    self.agreed = Some(own);
                    finding = Finding::Fine;
                }
                Verdict::Differs(check) => return Finding::Differs(check),
                Verdict::Doubt => finding = Finding::Doubt(slot),
                Verdict::Tie => finding = Finding::Tie(slot),
                Verdict::Open => {}
            }
        }
        for claim in self.claims.values() {
            match self.own.get(&claim.slot) {
                Some(own) if own != claim => return Finding::Differs(*claim),
                Some(_) if claim.slot > self.agreed_until => {
                    self.agreed_until = claim.slot;
                    finding = Finding::Fine;
                }
                _ => {}
            }
        }
        finding
    }

    /// Quarantined: who has the check of the majority, or is one of a majority since.
    fn trusted(&self) -> BTreeSet<NodeId> {
        let Some(Quarantine { divergence: Divergence { agreed: check, .. }, .. }) = self.quarantine else {
            return BTreeSet::new();
        };
        let have = self.peers.iter().filter(|(_, checks)| checks.get(&check.slot) == Some(&check)).map(|(id, _)| *id);
        // Only one of a majority says what it has.
        let claim = self.claims.iter().filter(|(_, claim)| claim.slot >= check.slot).map(|(id, _)| *id);
        have.chain(claim).collect()
    }

    /// Who has which check of a slot, in words.
    fn listed(&self, slot: Slot, node: NodeId, voters: &[NodeId]) -> String {
        let said = voters.iter().map(|&voter| {
            let check =
                if voter == node { self.own.get(&slot) } else { self.peers.get(&voter).and_then(|c| c.get(&slot)) };
            match check {
                Some(Check { replies, state, .. }) => {
                    format!("{voter} has replies {replies:016x} and state {state:016x}")
                }
                None => format!("{voter} has said nothing"),
            }
        });
        said.collect::<Vec<_>>().join(", ")
    }
}

fn keep_newest(checks: &mut BTreeMap<Slot, Check>) {
    while checks.len() > CHECKS_KEPT_MAX {
        checks.pop_first();
    }
}

impl Replica {
    /// Whether this replica differs from a majority in what it has applied, and since which slot.
    #[must_use]
    pub fn differs(&self) -> Option<Slot> {
        self.checks.quarantine.as_ref().map(|quarantine| quarantine.divergence.own.slot)
    }

    /// Whether what is decided is not applied for now: it will be once the state is right.
    pub(super) fn waits_for_state(&self) -> bool {
        self.checks.quarantine.as_ref().is_some_and(|quarantine| quarantine.restoring.is_none())
    }

    /// Why clients are not served here at the moment, if so.
    pub(super) fn quarantined(&self) -> Option<String> {
        let slot = self.differs()?;
        Some(format!("its state differs from that of the others since slot {slot}, and is being fetched anew"))
    }

    /// What is told with a heartbeat.
    pub(super) fn checked(&self) -> Checked {
        let newest = self.checks.own.values().rev().take(CHECKS_SENT_MAX).rev();
        Checked {
            view: self.view.id,
            above: self.checks.above,
            own: newest.copied().collect(),
            agreed: self.checks.agreed.filter(|_| self.checks.view == self.view.id),
            differs: self.differs(),
        }
    }

    pub(super) fn on_checked(&mut self, from: NodeId, checked: Checked) {
        let Checked { view, above, own, agreed, differs } = checked;
        if !self.view.members.contains_key(&from) {
            return;
        }
        self.checks.enter(self.view.id);
        match differs {
            // What it said before is void, and it begins anew.
            Some(slot) => {
                self.checks.differing.insert(from, slot);
                self.checks.peers.remove(&from);
                self.checks.claims.remove(&from);
                return;
            }
            None => _ = self.checks.differing.remove(&from),
        }
        let known = self.checks.peers.entry(from).or_default();
        known.retain(|slot, _| *slot > above);
        known.extend(own.into_iter().take(CHECKS_SENT_MAX).map(|check| (check.slot, check)));
        keep_newest(known);
        if let Some(agreed) = agreed.filter(|_| view == self.view.id) {
            self.checks.claims.insert(from, agreed);
        }
    }

    /// Voters whose checks count: witnesses have none.
    fn checking_voters(&self) -> Vec<NodeId> {
        self.view.voters().filter(|voter| !self.view.members[voter].is_witness()).collect()
    }

    /// Compares what was heard since the last tick.
    pub(super) fn judge_checks(&mut self) {
        if mutated!(DivergenceIgnored) {
            return;
        }
        if self.checks.quarantine.is_some() {
            return self.ask_for_state();
        }
        self.checks.enter(self.view.id);
        let members = &self.view.members;
        self.checks.peers.retain(|id, _| members.contains_key(id));
        self.checks.differing.retain(|id, _| members.contains_key(id));
        let voters = self.checking_voters();
        let now_us = self.now.monotonic_us;
        let within_us = self.timing.silent_us;
        let heard = voters.iter().copied().filter(|voter| self.election.heard_within(*voter, within_us, now_us));
        let heard: BTreeSet<NodeId> = heard.collect();
        match self.checks.judge(self.node, &voters, &heard) {
            Finding::Fine => self.checks.doubt_since_us = None,
            Finding::Differs(agreed) => self.become_quarantined(agreed),
            Finding::Tie(slot) => self.halt(slot, &voters),
            Finding::Doubt(slot) => {
                let since_us = *self.checks.doubt_since_us.get_or_insert(now_us);
                if now_us >= since_us + DOUBT_SILENCES * self.timing.silent_us {
                    self.halt(slot, &voters);
                }
            }
        }
    }

    /// A majority has another state.
    fn become_quarantined(&mut self, agreed: Check) {
        let divergence =
            Divergence { own: self.checks.own[&agreed.slot], agreed, agreed_until: self.checks.agreed_until };
        self.effects.push(Effect::Quarantine(Some(divergence)));
        self.checks.quarantine = Some(Quarantine { divergence, asked_us: 0, turns: 0, restoring: None });
        self.checks.own.clear();
        self.checks.agreed = None;
        self.checks.doubt_since_us = None;
        if self.is_leader() {
            self.hand_over();
        }
        if !matches!(self.role, Role::Follower) {
            self.forget_leader();
            self.become_follower();
            self.await_leader();
        }
        self.fail_clients();
        let why = self.quarantined().unwrap_or_default();
        self.fail_reads(&CallError::NotServing { why: why.clone() });
        self.fail_backups(&why);
        self.forget_incoming();
    }

    /// Nobody can tell whose state is right. The others hear what this replica has before it stops.
    fn halt(&mut self, slot: Slot, voters: &[NodeId]) {
        self.send_heartbeats();
        self.stopped = true;
        let reason = format!(
            "replicas differ in what they have applied after slot {slot}, and no majority has the same: {}; \
             started again they may agree, else restore a backup or replace the data of those that are wrong",
            self.checks.listed(slot, self.node, voters)
        );
        self.effects.push(Effect::Halt { reason });
    }

    /// Quarantined: asks one after another of those that have the state of the majority for a snapshot of it.
    fn ask_for_state(&mut self) {
        let now_us = self.now.monotonic_us;
        // One of its own that is under way would take the place of the right one.
        if self.makes_snapshot() || self.receives_snapshot() {
            return;
        }
        let above = self.state_wanted_above();
        let reached = self.checks.trusted().into_iter();
        let there = |id: &NodeId| self.view.members.contains_key(id) && self.has_round_trips(*id);
        let reached: Vec<NodeId> = reached.filter(there).collect();
        let Some(quarantine) = &mut self.checks.quarantine else { return };
        if quarantine.restoring.is_some() || now_us < quarantine.asked_us + 2 * self.timing.resend_us {
            return;
        }
        if let Some(to) = reached.get(quarantine.turns % reached.len().max(1)).copied() {
            quarantine.turns += 1;
            quarantine.asked_us = now_us;
            self.send(to, Message::AskSnapshot { above, make: true });
        }
    }

    /// Quarantined: a snapshot that is to take the place of the state here has a slot above this one. It is not before the
    /// difference, and not older than any here, so that a restart finds it, and the log reaches on from it.
    pub(super) fn state_wanted_above(&self) -> Slot {
        let differs = self.differs().unwrap_or_default();
        Slot(differs.max(self.saved_snapshot()).0.saturating_sub(1))
    }

    /// Quarantined: whether `from` may send the state.
    pub(super) fn trusts_state_of(&self, from: NodeId) -> bool {
        self.checks.trusted().contains(&from)
    }

    /// Quarantined: the state after `slot` is durable here, and takes the place of what was applied; everything decided
    /// beyond it is in the log, and is applied again.
    pub(super) fn restore_state(&mut self, slot: Slot) {
        self.clients.restart_above(slot);
        self.effects.push(Effect::Restore { slot });
        let mut next = slot.next();
        while let Some(value) = self.log.decided_value(next) {
            if let Value::Batch(batch) = value {
                self.clients.handed = next;
                self.effects.push(Effect::Apply { slot: next, batch: batch.clone(), replies: false });
            }
            next = next.next();
        }
    }

    /// Quarantined: what was saved since the last check that agreed is of no use any more.
    pub(super) fn drop_wrong_snapshots(&mut self, slot: Slot) {
        let Some(quarantine) = &mut self.checks.quarantine else { return };
        quarantine.restoring = Some(slot);
        let after = quarantine.divergence.agreed_until;
        self.effects.push(Effect::DropSnapshots { after, before: slot });
    }

    /// The application has taken over a snapshot: where it was fetched for that, all is well again.
    pub(super) fn end_quarantine(&mut self, restored: Slot) {
        let ends = |quarantine: &mut Quarantine| quarantine.restoring == Some(restored);
        if self.checks.quarantine.take_if(ends).is_some() {
            self.effects.push(Effect::Quarantine(None));
        }
    }
}
