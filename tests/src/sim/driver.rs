//! What a node's driver does: inputs in, effects out, on the simulated disk and network.

use concoord::wire::NodeId;
use concoord::wire::client::Response;
use concoord::wire::member::Services;
use concoord::wire::peer::Message;
use concoord::wire::value::{Removal, Value, ViewChange, ViewCommand};
use concoord_consensus::io::{Ask, ClientToken, Effect, Input, LogPosition, Notice};

use super::coverage::Kind;
use super::network::Place;
use super::node::{Done, Work};
use super::objects::MODULES;
use super::operator::load;
use super::world::{Event, World};

impl World {
    /// One input of a replica, and everything that follows from it.
    pub fn input(&mut self, id: NodeId, input: Input) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.paused_until_us > self.now_us {
            return self.postpone(id, input);
        }
        let now = node.clock.time(self.now_us);
        let Some(process) = &mut node.process else { return };
        let life = process.life;
        let flushes = !matches!(input, Input::Flush);
        let mut effects = Vec::new();
        let led = process.replica.is_leader().then(|| process.replica.view().id);
        process.replica.step(now, input, &mut effects);
        let sealed = led.is_some_and(|view| view < process.replica.view().id);
        let at_once = self.chance.percent(70);
        if flushes && at_once {
            process.replica.step(now, Input::Flush, &mut effects);
        } else if flushes {
            let delay = self.chance.between(1, 500);
            self.schedule(delay, Event::Flush { node: id, life });
        }
        if sealed {
            self.on_seal(id);
        }
        self.carry_out(id, effects);
        self.commit(id);
        self.compare(id);
        self.schedule_tick(id);
    }

    /// A paused process finds everything waiting when it wakes up.
    pub(super) fn postpone(&mut self, id: NodeId, input: Input) {
        let Some(node) = self.nodes.get(&id) else { return };
        let wait = node.paused_until_us - self.now_us;
        let life = node.process.as_ref().map_or(0, |process| process.life);
        match input {
            Input::Peer { from, message } => self.schedule(wait, Event::Deliver { from, to: id, message }),
            Input::Tick => self.schedule(wait, Event::Tick { node: id, life }),
            Input::Flush => self.schedule(wait, Event::Flush { node: id, life }),
            Input::Client { client, request } => self.schedule(wait, Event::Request { over: client, request }),
            Input::ClientGone { client } => self.schedule(wait, Event::ClientGone { over: client }),
            // The rest is asked again.
            _ => {}
        }
    }

    pub(super) fn schedule_tick(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get(&id) else { return };
        let Some(process) = &node.process else { return };
        let (deadline, life) = (process.replica.deadline(), process.life);
        if deadline == u64::MAX || self.ticks.get(&id).is_some_and(|(known, _)| *known == deadline) {
            return;
        }
        let at_us = node.clock.when(deadline).max(self.now_us);
        self.ticks.insert(id, (deadline, at_us));
        self.schedule(at_us - self.now_us, Event::Tick { node: id, life });
    }

    /// The clock runs at another rate: the deadline comes at another time.
    pub(super) fn reschedule_tick(&mut self, id: NodeId) {
        self.ticks.remove(&id);
        self.schedule_tick(id);
    }

    pub(super) fn on_tick(&mut self, id: NodeId) {
        self.retry_space(id);
        if self.ticks.get(&id).is_some_and(|(_, at_us)| *at_us == self.now_us) {
            self.ticks.remove(&id);
        }
        self.input(id, Input::Tick);
    }

    /// Compares what the node newly knows as decided with what others know.
    pub(super) fn compare(&mut self, id: NodeId) {
        let Some(process) = self.nodes.get(&id).and_then(|node| node.process.as_ref()) else { return };
        if process.replica.view().id > self.newest_view.id {
            self.newest_view = process.replica.view().clone();
        }
        let compared = self.compared.entry(id).or_default();
        while *compared < process.replica.decided() {
            *compared = compared.next();
            let is_new = compared.0 > self.checks.slots();
            // What a snapshot took the place of is compared by the state after it.
            let Some(value) = process.replica.decided_value(*compared) else { continue };
            let kind = match value {
                Value::Mark { silent: true, .. } => Some(Kind::Silence),
                Value::Mark { services, .. } if services.contains(Services::DNS) => Some(Kind::Services),
                Value::View(ViewCommand { change: ViewChange::Remove { why: Removal::Evicted, .. }, .. }) => {
                    Some(Kind::Eviction)
                }
                Value::View(ViewCommand { change: ViewChange::Add(member), .. }) => {
                    self.nodes.get(&member.id).is_some_and(|node| node.started).then_some(Kind::Return)
                }
                _ => None,
            };
            if let Some(kind) = kind.filter(|_| is_new) {
                self.faults.coverage.count(kind);
            }
            if let Err(violation) = self.checks.decided(id, *compared, value) {
                self.violation.get_or_insert(violation);
            }
        }
    }

    pub(super) fn carry_out(&mut self, id: NodeId, effects: Vec<Effect>) {
        let mut ends = false;
        let mut halts = None;
        for effect in effects {
            let is_asked = match &effect {
                Effect::Query(_) => true,
                Effect::Ask(question) => !matches!(question.ask, Ask::Unwatch { .. }),
                _ => false,
            };
            if is_asked && self.knows_to_differ(id) {
                self.note_violation(format!("{id:?} answers a query though it knows that its state is wrong"));
            }
            match effect {
                Effect::Persist { position, record } => self.persist(id, position, record),
                Effect::Send { to, message, patience_us: 0, after } => self.send_or_hold(id, to, message, after),
                Effect::Send { to, message, patience_us, .. } => self.send_late(id, to, message, patience_us),
                Effect::Apply { slot, batch, replies } => self.queue(id, Work::Apply(slot, batch, replies)),
                Effect::Query(query) => self.queue(id, Work::Query(query)),
                Effect::Ask(question) => self.queue(id, Work::Ask(question)),
                Effect::TryOut { trial, .. } => self.queue(id, Work::TryOut(trial)),
                Effect::Reply { client, response } => self.respond(id, client, response),
                Effect::JoinReply { join, reply } => self.send_join_reply(id, join, reply),
                Effect::RosterChanged(roster) => {
                    self.say(|| {
                        format!(
                            "{id:?} sees view {}, leader {:?}, decided {}",
                            roster.view, roster.leader, roster.decided
                        )
                    });
                    self.load_objects(id);
                }
                Effect::TakeSnapshot(checkpoint) => self.queue(id, Work::Snapshot(checkpoint)),
                Effect::Restore { slot } => {
                    let process = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut()).expect("it runs");
                    let received = process.received.take().filter(|received| received.checkpoint.slot == slot);
                    let body = received.expect("what was received last is taken over").body;
                    self.queue(id, Work::Restore(slot, body));
                }
                Effect::Truncate { upto } => self.truncate(id, upto),
                Effect::DropSnapshots { after, before } => {
                    let process = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut()).expect("it runs");
                    // One that stays goes with the next snapshot.
                    let _ = process.snapshots.remove_between(after, before);
                }
                Effect::Quarantine(Some(divergence)) => self.on_quarantine(id, &divergence),
                Effect::Quarantine(None) => self.say(|| format!("{id:?} has left its quarantine")),
                Effect::Halt { reason } => halts = Some(reason),
                Effect::OfferSnapshot { to } => self.offer_snapshot(id, to),
                Effect::SendChunk { to, slot, offset } => self.send_chunk(id, to, slot, offset),
                Effect::BeginSnapshot { slot, total } => self.keep_chunk(id, slot, total, 0, &[]),
                Effect::KeepChunk { slot, total, offset, data, .. } => self.keep_chunk(id, slot, total, offset, &data),
                Effect::Backup { .. } => {
                    self.note_violation("a client was given a backup that nobody asked for".into())
                }
                // One that keeps nothing on disk comes back as somebody else.
                Effect::Removed { .. } if self.nodes[&id].is_volatile() => ends = true,
                Effect::Removed { reason } => {
                    self.note_violation(format!("{id:?} was removed, which no operator wanted: {reason}"));
                }
                Effect::Stopped => ends = true,
            }
        }
        if let Some(reason) = halts {
            self.on_halt(id, &reason);
        } else if ends {
            self.on_stopped(id);
        }
    }

    fn knows_to_differ(&self, id: NodeId) -> bool {
        self.nodes[&id].process.as_ref().is_some_and(|process| process.replica.differs().is_some())
    }

    pub(super) fn send_or_hold(&mut self, id: NodeId, to: NodeId, message: Message, after: LogPosition) {
        let process = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut()).expect("a node that runs");
        if after <= process.durable {
            self.transmit(id, to, message);
        } else {
            process.held.push((after, to, message));
        }
    }

    /// Sends what may wait for others that go the same way.
    fn send_late(&mut self, from: NodeId, to: NodeId, message: Message, patience_us: u64) {
        self.faults.coverage.count(Kind::LateVoter);
        let waits = self.chance.between(0, patience_us);
        self.transmit_after(waits, from, to, message);
    }

    pub(super) fn transmit(&mut self, from: NodeId, to: NodeId, message: Message) {
        self.transmit_after(0, from, to, message);
    }

    fn transmit_after(&mut self, waits_us: u64, from: NodeId, to: NodeId, message: Message) {
        self.check_proposal(from, &message);
        if let Err(violation) = self.checks.said(from, &message) {
            self.violation.get_or_insert(violation);
        }
        let [first, second] = self.network.delays(Place::Node(from), Place::Node(to), self.now_us, &mut self.chance);
        if let Some(delay) = second {
            self.schedule(waits_us + delay, Event::Deliver { from, to, message: message.clone() });
        }
        if let Some(delay) = first {
            self.schedule(waits_us + delay, Event::Deliver { from, to, message });
        }
    }

    pub(super) fn queue(&mut self, id: NodeId, work: Work) {
        let delay = self.faults.work_delay_us(&mut self.chance);
        let process = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut()).expect("a node that runs");
        process.queue.push_back(work);
        let life = process.life;
        self.schedule(delay, Event::Work { node: id, life });
    }

    pub(super) fn on_work(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).expect("a known node");
        let process = node.process.as_mut().expect("its life goes on");
        if node.paused_until_us > self.now_us {
            let (wait, life) = (node.paused_until_us - self.now_us, process.life);
            return self.schedule(wait, Event::Work { node: id, life });
        }
        let Some(done) = process.work() else { return };
        let done = match done {
            Ok(done) => done,
            Err(fault) => {
                self.replace_build(id, &fault.to_string());
                return self.kill(id);
            }
        };
        let has_objects = process.application.objects().iter().count() >= MODULES.len();
        match done {
            Done::Applied(applied) => {
                self.loaded |= has_objects;
                for notice in &applied.notices {
                    if let Notice::Suspended { .. } = notice {
                        self.faults.coverage.count(Kind::Suspension);
                    }
                }
                self.check_version(id, applied.slot);
                self.compare_state(id, applied.slot);
                self.input(id, Input::Applied(applied));
            }
            Done::Response(client, response) => {
                response.into_iter().for_each(|response| self.respond(id, client, response));
            }
            // Native objects are never too hard to compile; what can't be loaded is found out when it is applied.
            Done::TriedOut(trial) => self.input(id, Input::TriedOut { trial, result: Ok(()) }),
            Done::Snapshot(checkpoint, body) => self.save_snapshot(id, &checkpoint, &body),
            Done::Restored(slot, watched) => {
                self.tell_watchers(id, watched);
                self.compare_state(id, slot);
                let version = self.nodes[&id].process.as_ref().expect("it runs").application.version();
                self.input(id, Input::Restored { slot, version });
            }
        }
    }

    fn tell_watchers(&mut self, id: NodeId, watched: Vec<(ClientToken, Response)>) {
        watched.into_iter().for_each(|(client, response)| self.respond(id, client, response));
    }

    /// The first leader loads the objects, as the first replica's driver does.
    pub(super) fn load_objects(&mut self, id: NodeId) {
        let leads = self.nodes[&id].process.as_ref().is_some_and(|process| process.replica.is_leader());
        if leads && !self.loaded {
            let node = self.nodes.get_mut(&id).expect("a node that runs");
            let now = node.clock.time(self.now_us);
            let process = node.process.as_mut().expect("it leads");
            let mut effects = Vec::new();
            for (nonce, name) in (1..).zip(MODULES) {
                let input = Input::Operate { nonce, action: load(name, name) };
                process.replica.step(now, input, &mut effects);
            }
            self.carry_out(id, effects);
        }
    }
}
