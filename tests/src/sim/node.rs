//! One replica's surroundings: what the production driver does with effects, on a simulated disk.

use std::collections::VecDeque;

use bytes::Bytes;
use concoord::wire::client::Response;
use concoord::wire::member::View;
use concoord::wire::peer::Message;
use concoord::wire::record::Record;
use concoord::wire::{ClusterId, NodeId, Slot};
use concoord_consensus::io::{Applied, ClientToken, Effect, LogPosition, Query};
use concoord_consensus::{Application, Config, Replica, Timing};

use super::clock::Clock;
use super::objects::Natives;

/// A replica's process and machine.
#[derive(Debug)]
pub struct Node {
    /// Its identity.
    pub id: NodeId,
    /// Its address, by number; replacements share one.
    pub address: usize,
    /// What runs; `None` while it is down.
    pub process: Option<Process>,
    /// What its log holds; the first `synced` records survive a crash.
    pub disk: Vec<Record>,
    /// How many records survive a crash.
    pub synced: usize,
    /// The view its log starts in.
    pub genesis: View,
    /// Until when it does nothing.
    pub paused_until_us: u64,
    /// Its clocks.
    pub clock: Clock,
    /// An operator asked it to stop, and it has not left yet.
    pub stopping: bool,
    /// It left the cluster for good, by wish or eviction.
    pub gone: bool,
}

/// What runs on a node.
#[derive(Debug)]
pub struct Process {
    /// Which life of the node; events of earlier lives are void.
    pub life: u64,
    /// The production replica.
    pub replica: Replica,
    /// The production application.
    pub application: Application<Natives>,
    /// What the application has not done yet.
    pub queue: VecDeque<Work>,
    /// Sends that wait for the disk.
    pub held: Vec<(LogPosition, NodeId, Message)>,
    /// The log's position that the disk has reached.
    pub durable: LogPosition,
}

/// Work for the application.
#[derive(Debug)]
pub enum Work {
    /// Apply a batch.
    Apply(Slot, Bytes, bool),
    /// Answer a query.
    Query(Query),
    /// Describe an object.
    Describe(ClientToken, u64, Option<String>),
}

/// What the application did.
#[derive(Debug)]
pub enum Done {
    /// For the replica.
    Applied(Applied),
    /// For a client.
    Response(ClientToken, Response),
}

impl Node {
    /// A machine that is off.
    #[must_use]
    pub fn new(id: NodeId, address: usize, genesis: View) -> Node {
        Node {
            id,
            address,
            process: None,
            disk: Vec::new(),
            synced: 0,
            genesis,
            paused_until_us: 0,
            clock: Clock::new(),
            stopping: false,
            gone: false,
        }
    }

    /// Starts the process, from the disk where it holds something. Gives the first effects.
    pub fn start(
        &mut self,
        cluster: ClusterId,
        contacts: Vec<NodeId>,
        timing: Timing,
        seed: u64,
        life: u64,
        now_us: u64,
    ) -> Vec<Effect> {
        let config = Config { cluster, node: self.id, genesis: self.genesis.clone(), contacts, timing, seed };
        self.clock.restart(now_us);
        let now = self.clock.time(now_us);
        let mut effects = Vec::new();
        let replica = if self.disk.is_empty() {
            Replica::new(config, now)
        } else {
            Replica::recover(config, now, self.disk.iter().cloned(), &mut effects)
                .expect("a disk that lost only what was not synced")
        };
        let durable = LogPosition(self.disk.len() as u64);
        self.process = Some(Process {
            life,
            replica,
            application: Application::new(cluster, Natives::default()),
            queue: VecDeque::new(),
            held: Vec::new(),
            durable,
        });
        effects
    }

    /// Power is cut: what was not synced is lost, except for the first `kept` records of it.
    pub fn crash(&mut self, kept: usize) {
        self.process = None;
        self.stopping = false;
        self.synced = self.disk.len().min(self.synced + kept);
        self.disk.truncate(self.synced);
    }

    /// The disk is lost.
    pub fn lose_disk(&mut self) {
        self.process = None;
        self.disk.clear();
        self.synced = 0;
        self.gone = true;
    }
}

impl Process {
    /// Does the next piece of work.
    ///
    /// # Panics
    /// When the host can't run an object, which it always can.
    pub fn work(&mut self) -> Option<Done> {
        Some(match self.queue.pop_front()? {
            Work::Apply(slot, batch, replies) => {
                Done::Applied(self.application.apply(slot, &batch, replies).expect("a decided batch applies"))
            }
            Work::Query(query) => {
                let client = query.client;
                Done::Response(client, self.application.query(query).expect("every object runs here"))
            }
            Work::Describe(client, request, name) => {
                Done::Response(client, self.application.describe(request, name.as_deref()))
            }
        })
    }
}
