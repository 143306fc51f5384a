//! The driver: hands everything that happens to the replica, in bursts, and carries out what the replica wants.
//!
//! One burst is everything at hand when the driver wakes: frames of peers, requests of clients, outputs of the
//! application. Then comes one [`Input::Flush`], and what came of all that goes out together: one write per
//! connection, one hand-over to the application, one sync of the log.

use std::collections::BTreeMap;
use std::future::Future;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use concoord_consensus::Replica;
use concoord_consensus::io::{ClientToken, Effect, Input, JoinToken, LogPosition, Time};
use concoord_transport::Outbox;
use concoord_wire::Slot;
use concoord_wire::client::Response;
use concoord_wire::join::JoinReply;
use concoord_wire::member::Roster;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{oneshot, watch};
use tokio::time::{self, Instant};

use crate::applying::{Applying, Job, Output};
use crate::clients::Clients;
use crate::clock::Clock;
use crate::counters::Counters;
use crate::error::NodeError;
use crate::events::{ClientEvent, PeerEvent, Receivers};
use crate::gate::Gate;
use crate::limits::{DRIVER_BURST_EVENTS_MAX, STOP_WAIT_MAX};
use crate::links::Links;
use crate::log::{LogEvent, Space};
use crate::pieces::{Piece, Pieces};
use crate::plugin::RunningPlugin;
use crate::progress::Progress;
use crate::snapshots::LoadedSnapshot;
use crate::store::{Held, Store};
use crate::trials::{Trials, Tried};

/// The driver itself, where it asks as clients do; theirs are numbered from 0.
pub(crate) const OWN: ClientToken = ClientToken(u64::MAX);

/// The world of one replica. Everything here runs on one task.
pub(crate) struct Driver {
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Clock,
    pub(crate) replica: Replica,
    pub(crate) store: Store,
    pub(crate) log_events: UnboundedReceiver<LogEvent>,
    pub(crate) pieces: Pieces,
    pub(crate) trials: Trials,
    pub(crate) receivers: Receivers,
    pub(crate) applying: Applying,
    pub(crate) links: Links,
    pub(crate) clients: Clients,
    pub(crate) progress: Progress,
    pub(crate) rosters: watch::Sender<Option<Arc<Roster>>>,
    pub(crate) plugins: Vec<RunningPlugin>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) work: Work,
}

/// What is under way between two steps.
#[derive(Default)]
pub(crate) struct Work {
    effects: Vec<Effect>,
    held: Held,
    joins: BTreeMap<JoinToken, oneshot::Sender<JoinReply>>,
    joins_seen: u64,
    /// The snapshot that is being received, and how many bytes it has in all.
    incoming: Option<(Slot, u64)>,
    /// A snapshot that was received, until the replica takes it over.
    received: Option<LoadedSnapshot>,
    stopped: bool,
    failed: Option<NodeError>,
}

impl Work {
    /// With a log that is durable up to a position.
    pub(crate) fn from(durable: LogPosition) -> Work {
        Work { held: Held::from(durable), ..Work::default() }
    }

    /// What is to be done first.
    pub(crate) fn begin(&mut self, effects: Vec<Effect>) {
        self.effects = effects;
    }
}

/// How a replica that was told to stop has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It has handed over what it could.
    Stopped,
    /// It could not hand over within three seconds and went without.
    GaveUp,
}

/// Why the driver wakes.
enum Event {
    Peer(PeerEvent),
    Client(ClientEvent),
    Outputs(Vec<Output>),
    Log(LogEvent),
    Piece(Piece),
    Tried(Tried),
    /// The replica's deadline.
    Tick,
    /// The operator wants the end.
    Stop,
}

impl Driver {
    /// Runs until the replica has stopped after `stop`, or can't go on.
    ///
    /// # Errors
    /// Why it can't go on.
    pub(crate) async fn run(&mut self, stop: impl Future<Output = ()>) -> Result<Exit, NodeError> {
        let mut stop = pin!(stop);
        let mut give_up: Option<Instant> = None;
        let mut timer = pin!(time::sleep_until(Instant::now()));
        self.settle(self.clock.now());
        self.applying.hand_over(self.replica.is_leader());
        loop {
            let deadline = self.clock.instant(self.replica.deadline());
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            let event = tokio::select! {
                biased;
                () = &mut timer => Event::Tick,
                () = &mut stop, if give_up.is_none() => Event::Stop,
                () = sleep_until(give_up) => return Ok(Exit::GaveUp),
                Some(event) = self.log_events.recv() => Event::Log(event),
                outputs = self.applying.next() => Event::Outputs(outputs?),
                piece = self.pieces.next() => Event::Piece(piece),
                tried = self.trials.next() => Event::Tried(tried),
                Some(event) = self.receivers.peers.recv() => Event::Peer(event),
                Some(event) = self.receivers.clients.recv(), if !self.applying.is_full() => Event::Client(event),
            };
            if matches!(event, Event::Stop) {
                tracing::info!("stopping");
                give_up = Some(Instant::now() + STOP_WAIT_MAX);
            }
            self.on_burst(event)?;
            if let Some(failed) = self.work.failed.take() {
                return Err(failed);
            }
            if self.work.stopped && self.work.held.is_empty() {
                return Ok(Exit::Stopped);
            }
        }
    }

    /// Takes an event and all others at hand, and does what the replica makes of them.
    fn on_burst(&mut self, first: Event) -> Result<(), NodeError> {
        let now = self.clock.now();
        self.counters.bursts.add(1);
        self.on_event(now, first)?;
        for _ in 1..DRIVER_BURST_EVENTS_MAX {
            match self.next_at_hand() {
                Some(event) => self.on_event(now, event)?,
                None => break,
            }
        }
        if self.replica.deadline() <= now.monotonic_us {
            self.step(now, Input::Tick);
        }
        self.step(now, Input::Flush);
        self.settle(now);
        self.applying.hand_over(self.replica.is_leader());
        self.progress.tell_if_ready();
        Ok(())
    }

    fn next_at_hand(&mut self) -> Option<Event> {
        if let Ok(event) = self.log_events.try_recv() {
            return Some(Event::Log(event));
        }
        if let Some(outputs) = self.applying.try_next() {
            return Some(Event::Outputs(outputs));
        }
        if let Ok(event) = self.receivers.peers.try_recv() {
            return Some(Event::Peer(event));
        }
        if self.applying.is_full() {
            return None;
        }
        self.receivers.clients.try_recv().ok().map(Event::Client)
    }

    fn on_event(&mut self, now: Time, event: Event) -> Result<(), NodeError> {
        match event {
            Event::Peer(event) => self.on_peer_event(now, event),
            Event::Tried((trial, result)) => self.step(now, Input::TriedOut { trial, result }),
            Event::Client(event) => self.on_client_event(now, event),
            Event::Outputs(outputs) => {
                for output in outputs {
                    self.on_output(now, output)?;
                }
            }
            // After the frames at hand: a replica that was held up hears its peers before it judges that they are silent.
            Event::Tick => {}
            Event::Stop => self.step(now, Input::Stop { leave: false }),
            Event::Log(event) => self.on_log_event(now, event)?,
            Event::Piece(Piece::ForPeer { to, message }) => self.links.send(to, message, Duration::ZERO),
            Event::Piece(Piece::ForClient { client, response }) => self.clients.respond(client, &response),
            Event::Piece(Piece::Nothing) => {}
        }
        Ok(())
    }

    fn on_peer_event(&mut self, now: Time, event: PeerEvent) {
        match event {
            PeerEvent::Frames { from, messages } => {
                self.counters.peer_frames.add(messages.len());
                for message in messages {
                    self.step(now, Input::Peer { from, message });
                }
            }
            PeerEvent::Heard { node, address, life } => {
                self.links.on_heard(node, address);
                self.links.on_life(node, life);
            }
            PeerEvent::Stranger { cluster, who } => {
                tracing::debug!(%cluster, ?who, "somebody of another cluster was refused");
                if let Some(ours) = self.gate.cluster().filter(|_| self.progress.is_lone_first()) {
                    self.work.failed = Some(NodeError::LostIdentity { ours, theirs: cluster, who });
                }
            }
            PeerEvent::Dialed { node, attempt, result } => self.links.on_dialed(node, attempt, result),
            PeerEvent::Lost { node, attempt } => self.links.on_lost(node, attempt),
            PeerEvent::Join { member, reached, reply } => {
                self.counters.joins.add(1);
                self.work.joins_seen += 1;
                let join = JoinToken(self.work.joins_seen);
                // Whoever gave up waiting needs no place.
                self.work.joins.retain(|_, waiting| !waiting.is_closed());
                self.work.joins.insert(join, reply);
                self.step(now, Input::Join { join, member, reached });
            }
        }
    }

    fn on_client_event(&mut self, now: Time, event: ClientEvent) {
        match event {
            ClientEvent::Opened { client, outbox } => self.clients.on_opened(client, outbox),
            ClientEvent::Requests { client, requests, _room } => {
                self.counters.client_requests.add(requests.len());
                for request in requests {
                    self.step(now, Input::Client { client, request });
                }
            }
            ClientEvent::Gone { client } => {
                self.clients.on_gone(client);
                self.step(now, Input::ClientGone { client });
            }
        }
    }

    fn on_output(&mut self, now: Time, output: Output) -> Result<(), NodeError> {
        match output {
            Output::Applied(mut applied) => {
                self.counters.slots_applied.add(1);
                self.progress.on_notices(mem::take(&mut applied.notices))?;
                self.step(now, Input::Applied(applied));
            }
            Output::Respond { response: None, .. } => {}
            Output::Respond { client: OWN, response: Some(response) } => self.progress.on_answer(&response)?,
            Output::Respond { client, response: Some(response) } => self.clients.respond(client, &response),
            Output::Snapshot { checkpoint, state } => {
                self.store.saver().save(checkpoint, Box::new(|| state.encode()));
            }
            Output::Restored { slot, version, watched } => {
                tracing::info!("the state of the snapshot of slot {slot} is in place");
                self.tell_watchers(watched);
                self.step(now, Input::Restored { slot, version });
            }
        }
        Ok(())
    }

    fn tell_watchers(&mut self, watched: Vec<(ClientToken, Response)>) {
        watched.into_iter().for_each(|(client, response)| self.clients.respond(client, &response));
    }

    fn on_log_event(&mut self, now: Time, event: LogEvent) -> Result<(), NodeError> {
        match event {
            LogEvent::Durable(position) => {
                for (to, message) in self.work.held.release(position) {
                    self.links.send(to, message, Duration::ZERO);
                }
                self.step(now, Input::Durable { position });
            }
            LogEvent::Space(Space::Low { why }) => {
                tracing::warn!(
                    "the disk is full: {why}; this replica accepts nothing more and hands leadership over until there is room"
                );
                self.step(now, Input::DiskFull(true));
            }
            LogEvent::Space(Space::Enough) => {
                tracing::info!("there is room on the disk again: going on");
                self.step(now, Input::DiskFull(false));
            }
            LogEvent::Saved(file) => {
                let slot = file.checkpoint.slot;
                tracing::info!("snapshot of slot {slot} saved, {} bytes", file.bytes);
                self.step(now, Input::SnapshotSaved { slot });
            }
            LogEvent::NotSaved { slot, error } => {
                tracing::warn!("the snapshot of slot {slot} could not be saved, it is tried again later: {error}");
                self.step(now, Input::SnapshotFailed { slot });
            }
            LogEvent::Received { slot, have } => match self.work.incoming {
                // More than the whole is left from another snapshot of the slot, and is refused.
                Some((incoming, total)) if incoming == slot && have >= total => self.store.saver().complete(slot),
                Some((incoming, _)) if incoming == slot => {
                    self.step(now, Input::SnapshotKept { slot, bytes: have });
                }
                _ => {}
            },
            LogEvent::Installed(loaded) => {
                tracing::info!("snapshot of slot {} received, {} bytes", loaded.checkpoint.slot, loaded.bytes);
                let checkpoint = loaded.checkpoint.clone();
                self.work.incoming = None;
                self.work.received = Some(loaded);
                self.step(now, Input::SnapshotReceived { checkpoint });
            }
            LogEvent::NotReceived { slot, error } => {
                tracing::warn!("a peer's snapshot of slot {slot} could not be kept: {error}");
                self.work.incoming = None;
                self.step(now, Input::SnapshotRefused { slot });
            }
            LogEvent::Failed(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Keeps a piece of a peer's snapshot, if it arrived as it was sent.
    fn keep_chunk(&mut self, slot: Slot, total: u64, offset: u64, checksum: u32, data: Bytes) {
        self.work.incoming = Some((slot, total));
        let data = if crc32c::crc32c(&data) == checksum { data } else { Bytes::new() };
        self.store.saver().receive(slot, offset, data);
    }

    fn step(&mut self, now: Time, input: Input) {
        self.replica.step(now, input, &mut self.work.effects);
    }

    /// Carries out effects until there are none, and sends the log's records on their way.
    fn settle(&mut self, now: Time) {
        // Once at a time: the cluster is asked again with the next burst, not for as long as the answer is that it can't tell.
        let mut asked = false;
        loop {
            let mut effects = mem::take(&mut self.work.effects);
            for effect in effects.drain(..) {
                self.carry_out(effect);
            }
            // Kept for its room.
            self.work.effects = effects;
            let due = self.progress.due_load().or_else(|| {
                let request = (!asked).then(|| self.progress.due_question()).flatten()?;
                asked = true;
                Some(Input::Client { client: OWN, request })
            });
            let Some(due) = due else { break };
            self.step(now, due);
            self.step(now, Input::Flush);
        }
        self.store.commit();
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Persist { position, record } => {
                self.counters.records.add(1);
                self.store.append(position, record);
            }
            Effect::Send { to, message, after, patience_us } => {
                if let Some((to, message)) = self.work.held.admit(after, (to, message)) {
                    self.links.send(to, message, Duration::from_micros(patience_us));
                }
            }
            Effect::Apply { slot, batch, replies } => self.applying.gather(Job::Apply { slot, batch, replies }),
            Effect::Query(query) => self.applying.gather(Job::Query(query)),
            Effect::Ask(question) => self.applying.gather(Job::Ask(question)),
            Effect::TryOut { trial, module } => self.trials.begin(trial, module),
            Effect::TakeSnapshot(checkpoint) => self.applying.gather(Job::Snapshot(checkpoint)),
            Effect::Restore { slot } => {
                let received = self.work.received.take().filter(|received| received.checkpoint.slot == slot);
                let body = received.expect("the replica takes over what was received last").body;
                self.applying.gather(Job::Restore { slot, body });
            }
            Effect::Truncate { upto } => self.store.truncate(upto),
            Effect::OfferSnapshot { to } => self.pieces.offer(self.store.saver().snapshots(), to),
            Effect::SendChunk { to, slot, offset } => {
                self.pieces.send(self.store.saver().snapshots(), to, slot, offset)
            }
            Effect::BeginSnapshot { slot, total } => {
                self.work.incoming = Some((slot, total));
                self.store.saver().receive(slot, 0, Bytes::new());
            }
            Effect::KeepChunk { slot, total, offset, checksum, data } => {
                self.keep_chunk(slot, total, offset, checksum, data);
            }
            Effect::Backup { client, request, slot, offset } => {
                self.pieces.back_up(self.store.saver().snapshots(), client, request, slot, offset);
            }
            Effect::Reply { client: OWN, response } => {
                if let Err(error) = self.progress.on_answer(&response) {
                    self.work.failed = Some(error);
                }
            }
            Effect::Reply { client, mut response } => {
                // Of the plugins the replica knows nothing.
                if let Response::View { roster, .. } = &mut response {
                    roster.plugins = self.plugins.iter().map(|plugin| plugin.status.borrow().clone()).collect();
                }
                self.clients.respond(client, &response);
            }
            Effect::JoinReply { join, reply } => {
                if let Some(waiting) = self.work.joins.remove(&join) {
                    // A joiner that went has its next try.
                    let _ = waiting.send(reply);
                }
            }
            Effect::DropSnapshots { after, before } => self.store.saver().remove_between(after, before),
            Effect::Quarantine(Some(divergence)) => tracing::warn!(
                "what is applied here differs from what a majority has applied: {divergence}; this replica neither leads nor serves until it has fetched their state"
            ),
            Effect::Quarantine(None) => tracing::info!("the state of the majority is applied: serving again"),
            Effect::Halt { reason } => self.work.failed = Some(NodeError::NoAgreement { reason }),
            Effect::RosterChanged(roster) => self.on_roster_changed(Arc::new(roster)),
            Effect::Removed { reason } => self.work.failed = Some(NodeError::Removed { reason }),
            Effect::Stopped => self.work.stopped = true,
        }
    }

    fn on_roster_changed(&mut self, roster: Arc<Roster>) {
        self.links.on_roster(&roster);
        self.progress.on_roster(&roster);
        self.rosters.send_replace(Some(roster));
    }

    /// Every open connection, for last words, and the store, to be closed after them.
    pub(crate) fn into_parts(self) -> (Vec<Outbox>, Store) {
        let mut outboxes = self.clients.into_outboxes();
        outboxes.extend(self.links.into_outboxes());
        (outboxes, self.store)
    }
}

/// Waits for ever without an instant.
async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
