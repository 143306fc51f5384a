//! Linearizable reads without a disk write: read-index (Raft dissertation, section 6.4), on any replica.
//!
//! A read that arrives joins the *next* heartbeat round. When a majority has confirmed that round in the leader's
//! ballot, nobody else can have decided anything before the round was sent that the leader does not know, so what the
//! leader knew as decided when it sent the round covers everything acknowledged before the read arrived. A follower asks
//! the leader for that index, and answers once it has handed everything up to it to its own application.
//!
//! What such a round has shown stays true: everything that was acknowledged before it was sent is at or below the index. So a
//! read that may be so stale needs no round of its own.

use std::collections::{BTreeMap, VecDeque};

use concoord_wire::client::{CallError, Consistency, Response};
use concoord_wire::peer::Message;
use concoord_wire::{NodeId, Slot};

use super::{Replica, Role};
use crate::io::{Ask, ClientToken, Effect, Query, Question};
use crate::limits::READS_MAX;
use crate::mutated;
use crate::quorum::reached_by_majority;

/// For how many of the longest election timeouts a follower asks for an index before its clients do better elsewhere.
const ASKED_ELECTIONS_MAX: u64 = 4;

/// Something that must see everything acknowledged before it arrived.
#[derive(Debug)]
pub(super) enum Read {
    /// A client's query.
    Query(Query),
    /// A client's question about objects.
    Ask(Question),
    /// A client's wish for a snapshot.
    Backup { client: ClientToken, request: u64 },
    /// A follower's batch of reads.
    Index { from: NodeId, request: u64 },
}

/// Reads in their stages.
#[derive(Debug)]
pub(super) struct Reads {
    /// Not attached to a round, not asked for yet.
    waiting: Vec<Read>,
    /// Leader: attached to a round that is not confirmed.
    rounds: VecDeque<Round>,
    /// Follower: asked for under a request number.
    asked: BTreeMap<u64, Asked>,
    last_request: u64,
    /// Follower: the index is known, and not yet decided here.
    indexed: BTreeMap<Slot, Vec<Indexed>>,
    /// The newest that a round has shown.
    shown: Option<Shown>,
}

/// Everything that was acknowledged by this time of this replica's clock is at or below this index.
#[derive(Clone, Copy, Debug)]
struct Shown {
    by_us: u64,
    index: Slot,
}

#[derive(Debug)]
struct Indexed {
    first_us: u64,
    read: Read,
}

#[derive(Debug)]
struct Round {
    round: u64,
    sent_us: u64,
    reads: Vec<Read>,
}

#[derive(Debug)]
struct Asked {
    first_us: u64,
    at_us: u64,
    reads: Vec<Read>,
}

impl Reads {
    /// No reads; the first question to a leader will have the number after `last_request`.
    pub(super) fn new(last_request: u64) -> Reads {
        Reads {
            waiting: Vec::new(),
            rounds: VecDeque::new(),
            asked: BTreeMap::new(),
            last_request,
            indexed: BTreeMap::new(),
            shown: None,
        }
    }

    /// What was acknowledged by this time is at or below the index.
    fn show(&mut self, by_us: u64, index: Slot) {
        if self.shown.is_none_or(|shown| shown.by_us < by_us) {
            self.shown = Some(Shown { by_us, index });
        }
    }

    fn count(&self) -> usize {
        self.waiting.len()
            + self.rounds.iter().map(|round| round.reads.len()).sum::<usize>()
            + self.asked.values().map(|asked| asked.reads.len()).sum::<usize>()
            + self.indexed.values().map(Vec::len).sum::<usize>()
    }

    /// A client is gone: reads that still wait are dropped; those on their way are answered into the void.
    pub(super) fn forget_client(&mut self, gone: ClientToken) {
        self.waiting.retain(|read| match read {
            Read::Query(query) => query.client != gone,
            Read::Ask(question) => question.client != gone,
            Read::Backup { client, .. } => *client != gone,
            Read::Index { .. } => true,
        });
    }
}

impl Replica {
    /// Whether a read is answered from what is here, without asking anybody.
    pub(super) fn is_fresh_enough(&self, consistency: Consistency) -> bool {
        match consistency {
            Consistency::Linearizable => false,
            Consistency::Stale => true,
            Consistency::Bounded { .. } if mutated!(BoundIgnored) => true,
            Consistency::Bounded { staleness_us } => self.reads.shown.is_some_and(|shown| {
                self.now.monotonic_us.saturating_sub(shown.by_us) <= staleness_us && shown.index <= self.log.decided()
            }),
        }
    }

    /// Takes in a read.
    pub(super) fn read(&mut self, read: Read) {
        if self.disk_full && !self.is_leader() {
            // It learns nothing more for now, so it would never come to the index.
            let why = "its disk is full, so it does not keep up".into();
            return self.fail_read(read, CallError::NotServing { why });
        }
        if self.reads.count() >= READS_MAX {
            let busy = CallError::Busy { what: "the queue of reads".into(), limit: READS_MAX as u64 };
            return self.fail_read(read, busy);
        }
        if mutated!(ReadWithoutRound) && self.is_leader() {
            return self.answer_read(read);
        }
        if mutated!(FollowerReadsAtOnce) && !self.is_leader() {
            return self.answer_read(read);
        }
        if mutated!(ReadJoinsSentRound)
            && let Some(sent) = self.reads.rounds.back_mut()
        {
            return sent.reads.push(read);
        }
        self.reads.waiting.push(read);
    }

    pub(super) fn on_read_index(&mut self, from: NodeId, request: u64) {
        if self.is_leader() {
            self.read(Read::Index { from, request });
        } else {
            self.send(from, Message::ReadIndexReply { request, index: None });
        }
    }

    pub(super) fn on_read_index_reply(&mut self, from: NodeId, request: u64, index: Option<Slot>) {
        // Whoever does not lead, or has no room, is asked again with the next tick that finds the question overdue.
        let Some(index) = index else { return };
        let Some(asked) = self.reads.asked.remove(&request) else { return };
        let first_us = asked.first_us;
        self.reads.show(if mutated!(FreshSinceAnswer) { self.now.monotonic_us } else { first_us }, index);
        let reads = asked.reads.into_iter().map(|read| Indexed { first_us, read });
        self.reads.indexed.entry(index).or_default().extend(reads);
        self.release_reads();
        self.catch_up_with(from, index);
    }

    /// Leader: the reads that wait now are covered by the round that is sent now.
    pub(super) fn attach_reads(&mut self, round: u64) {
        if self.is_leader() && !self.reads.waiting.is_empty() {
            let reads = std::mem::take(&mut self.reads.waiting);
            self.reads.rounds.push_back(Round { round, sent_us: self.now.monotonic_us, reads });
        }
    }

    /// Leader: reads wait and no round is under way, so one is sent at once. Later reads share the next.
    pub(super) fn start_read_round(&mut self) {
        if !self.is_leader() || self.reads.waiting.is_empty() {
            return;
        }
        if self.other_voters().is_empty() {
            let round = self.election.round();
            self.attach_reads(round);
            self.confirm_reads();
        } else if self.reads.rounds.is_empty() {
            self.send_read_round();
        }
    }

    /// Leader: answers the reads of every round that a majority confirmed.
    pub(super) fn confirm_reads(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        if leader.first > self.log.decided() && !mutated!(ReadsBeforeFirstSlot) || self.reads.rounds.is_empty() {
            return;
        }
        let ballot = leader.ballot;
        let confirmed = self.per_voter(self.election.round(), |voter| self.election.confirmed_by(voter, ballot));
        let newest = confirmed.iter().enumerate().filter(|_| mutated!(SmallReadQuorum)).map(|(_, round)| *round).max();
        let Some(confirmed) = newest.or(reached_by_majority(confirmed)) else { return };
        while self.reads.rounds.front().is_some_and(|round| round.round <= confirmed) {
            let Some(Round { sent_us, reads, .. }) = self.reads.rounds.pop_front() else { break };
            self.reads.show(sent_us, self.log.decided());
            for read in reads {
                self.answer_read(read);
            }
        }
        self.start_read_round();
    }

    /// Follower: asks the leader for the index of the reads that wait, one question at a time.
    pub(super) fn ask_read_index(&mut self) {
        if self.reads.waiting.is_empty() || !self.reads.asked.is_empty() || !matches!(self.role, Role::Follower) {
            return;
        }
        let Some(leader) = self.leader() else { return };
        self.reads.last_request += 1;
        let (request, now_us) = (self.reads.last_request, self.now.monotonic_us);
        let reads = std::mem::take(&mut self.reads.waiting);
        self.reads.asked.insert(request, Asked { first_us: now_us, at_us: now_us, reads });
        self.send(leader, Message::ReadIndex { request });
    }

    /// Asks again for what was not answered; where nobody leads, clients do better elsewhere.
    pub(super) fn tick_reads(&mut self) {
        if !matches!(self.role, Role::Follower) {
            return;
        }
        let now_us = self.now.monotonic_us;
        let hopeless_us = ASKED_ELECTIONS_MAX * self.timing.election_max_us;
        let hopeless = self.reads.asked.extract_if(.., |_, asked| now_us >= asked.first_us + hopeless_us);
        let mut failed: Vec<Read> = hopeless.flat_map(|(_, asked)| asked.reads).collect();
        // So are those whose index this replica does not come to.
        failed.extend(self.take_indexed(now_us.saturating_sub(hopeless_us)));
        match self.leader() {
            Some(leader) => self.ask_again(leader),
            None => {
                failed.append(&mut self.reads.waiting);
                failed.extend(std::mem::take(&mut self.reads.asked).into_values().flat_map(|asked| asked.reads));
                failed.extend(self.take_indexed(u64::MAX));
            }
        }
        for read in failed {
            let error = match self.leader() {
                None => self.not_leader(),
                // Whoever asks does better elsewhere, though this replica hears a leader.
                Some(_) => CallError::NotServing { why: "it could not learn in time what is decided".into() },
            };
            self.fail_read(read, error);
        }
        self.ask_read_index();
    }

    /// Takes out the reads that wait for an index to be decided here and arrived at `since_us` or before.
    fn take_indexed(&mut self, since_us: u64) -> Vec<Read> {
        let mut taken = Vec::new();
        self.reads.indexed.retain(|_, waiting| {
            let late = waiting.extract_if(.., |indexed| indexed.first_us <= since_us);
            taken.extend(late.map(|indexed| indexed.read));
            !waiting.is_empty()
        });
        taken
    }

    /// The same question under the same number: its reads arrived before it was asked first, so a late answer serves.
    fn ask_again(&mut self, leader: NodeId) {
        let now_us = self.now.monotonic_us;
        let mut again = Vec::new();
        for (&request, asked) in &mut self.reads.asked {
            if now_us >= asked.at_us + self.timing.resend_us {
                asked.at_us = now_us;
                again.push(request);
            }
        }
        for request in again {
            self.send(leader, Message::ReadIndex { request });
        }
    }

    /// The role changed: reads that counted on the old one start again.
    pub(super) fn requeue_reads(&mut self) {
        let rounds = std::mem::take(&mut self.reads.rounds);
        let asked = std::mem::take(&mut self.reads.asked);
        let again = rounds.into_iter().map(|round| round.reads).chain(asked.into_values().map(|asked| asked.reads));
        self.reads.waiting.extend(again.flatten());
    }

    /// Answers the reads whose index is decided here by now, and, on the leader, those that waited for its first slot.
    pub(super) fn release_reads(&mut self) {
        while let Some(entry) = self.reads.indexed.first_entry() {
            if *entry.key() > self.log.decided() && !mutated!(FollowerReadsEarly) {
                break;
            }
            for Indexed { read, .. } in entry.remove() {
                self.answer_read(read);
            }
        }
        self.confirm_reads();
    }

    /// Everything up to the log's decided index is with the application, so the read may follow.
    fn answer_read(&mut self, read: Read) {
        match read {
            Read::Query(query) => self.effects.push(Effect::Query(query)),
            Read::Ask(question) => self.effects.push(Effect::Ask(question)),
            Read::Backup { client, request } => self.begin_backup(client, request),
            Read::Index { from, request } => {
                let index = self.log.decided();
                // The heartbeat lets the follower decide up to the index without fetching.
                let heartbeat = self.heartbeat(self.election.round());
                self.send(from, Message::Heartbeat(heartbeat));
                self.send(from, Message::ReadIndexReply { request, index: Some(index) });
            }
        }
    }

    /// Nothing that waits here is answered here.
    pub(super) fn fail_reads(&mut self, error: &CallError) {
        self.requeue_reads();
        let mut failed = std::mem::take(&mut self.reads.waiting);
        failed.extend(self.take_indexed(u64::MAX));
        for read in failed {
            self.fail_read(read, error.clone());
        }
    }

    fn fail_read(&mut self, read: Read, error: CallError) {
        match read {
            Read::Query(Query { client, request, .. }) => {
                self.reply(client, Response::Queried { request, result: Err(error) });
            }
            Read::Ask(Question { client, request, ask }) => {
                let response = match ask {
                    Ask::Watch { .. } => Response::Watched { request, result: Err(error) },
                    Ask::Sessions { .. } => Response::Sessions { request, result: Err(error) },
                    Ask::Unwatch { .. } => return,
                    Ask::Describe { .. } => Response::Described { request, result: Err(error) },
                    Ask::Objects { .. } => Response::Objects { request, result: Err(error) },
                    Ask::Try { .. } => Response::Operated { request, result: Err(error.into()) },
                };
                self.reply(client, response);
            }
            Read::Backup { client, request } => {
                self.reply(client, Response::Backup { request, result: Err(error) });
            }
            Read::Index { from, request } => self.send(from, Message::ReadIndexReply { request, index: None }),
        }
    }
}
