//! Clients on the network: their connections, and what travels over them.

use concoord::wire::NodeId;
use concoord::wire::client::{Request, Response};
use concoord_consensus::io::{ClientToken, Input};

use super::checks::Checks;
use super::client::Client;
use super::coverage::Kind;
use super::network::Place;
use super::random::Chance;
use super::waiter::Waiter;
use super::world::{Event, SLOTS_WANTED, World};

/// How long it takes at most until a replica learns that a client is gone.
const GONE_MAX_US: u64 = 200_000;

/// A connection of a client to one process.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Whose it is.
    pub client: usize,
    /// The address it goes to.
    pub address: usize,
    /// The replica that it reached, and in which life; `None` while it reached nobody.
    pub reached: Option<(NodeId, u64)>,
    /// The replica knows that it ended.
    pub ended: bool,
}

/// What a client sees and does while it is awake.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Simulated time.
    pub now_us: u64,
    /// How many addresses there are.
    pub addresses: usize,
    /// Whether there is more to do.
    pub more: bool,
    /// Whether clients are in a hurry.
    pub hurried: bool,
    /// What must hold.
    pub checks: &'a mut Checks,
    /// All chance.
    pub chance: &'a mut Chance,
    /// What clients exercise beside plain calls.
    pub exercised: &'a mut Vec<Kind>,
    connections: &'a mut Vec<Connection>,
    sent: Vec<(ClientToken, Sent)>,
}

#[derive(Debug)]
enum Sent {
    Request(Request),
    End,
}

impl Surroundings<'_> {
    /// A new connection.
    pub fn connect(&mut self, client: usize, address: usize) -> ClientToken {
        self.checks.answers.connections += 1;
        self.connections.push(Connection { client, address, reached: None, ended: false });
        ClientToken(self.connections.len() as u64 - 1)
    }

    /// Ends a connection.
    pub fn disconnect(&mut self, connection: ClientToken) {
        self.sent.push((connection, Sent::End));
    }

    /// Sends a request.
    pub fn send(&mut self, connection: ClientToken, request: Request) {
        self.sent.push((connection, Sent::Request(request)));
    }
}

/// Either kind of client.
#[derive(Debug)]
pub enum Caller {
    /// One whose calls are answered at once.
    Client(Box<Client>),
    /// One whose calls wait.
    Waiter(Box<Waiter>),
}

/// Runs one expression on whichever it is.
macro_rules! with {
    ($caller:expr, $client:ident => $run:expr) => {
        match $caller {
            Caller::Client($client) => $run,
            Caller::Waiter($client) => $run,
        }
    };
}

impl Caller {
    /// Whether everything it wanted is answered.
    #[must_use]
    pub fn is_done(&self) -> bool {
        with!(self, client => client.is_done())
    }

    /// What it waits for, for a run that got stuck.
    #[must_use]
    pub fn waits_for(&self) -> String {
        with!(self, client => client.waits_for())
    }

    fn wakes_at_us(&self) -> u64 {
        with!(self, client => client.wakes_at_us())
    }
}

impl World {
    /// Lets a client act, and carries out what it does.
    fn with_client<T>(&mut self, client: usize, act: impl FnOnce(&mut Caller, &mut Surroundings<'_>) -> T) -> T {
        let slots = self.checks.slots();
        let mut exercised = Vec::new();
        let mut surroundings = Surroundings {
            now_us: self.now_us,
            addresses: self.addresses,
            // A wrong state is found out while there is something to apply.
            more: !self.is_healing() || slots < SLOTS_WANTED || self.is_any_spoiled(),
            hurried: self.is_healing(),
            checks: &mut self.checks,
            chance: &mut self.chance,
            exercised: &mut exercised,
            connections: &mut self.connections,
            sent: Vec::new(),
        };
        let result = act(&mut self.clients[client], &mut surroundings);
        let sent = surroundings.sent;
        for kind in exercised {
            self.faults.coverage.count(kind);
        }
        for (connection, sent) in sent {
            match sent {
                Sent::Request(request) => self.send_request(connection, request),
                Sent::End => self.end_connection(connection),
            }
        }
        self.schedule_client(client);
        result
    }

    pub(super) fn on_wake_client(&mut self, client: usize) {
        if self.wakes[client] != self.now_us {
            return;
        }
        self.wakes[client] = u64::MAX;
        if !self.loaded {
            self.wakes[client] = self.now_us + 20_000;
            return self.schedule(20_000, Event::WakeClient { client });
        }
        self.with_client(client, |client, at| with!(client, client => client.wake(at)));
    }

    /// Clients wake up when they want to, and not again for a wish that they had before.
    fn schedule_client(&mut self, client: usize) {
        let wakes_at_us = self.clients[client].wakes_at_us().max(self.now_us);
        if wakes_at_us < self.wakes[client] {
            self.wakes[client] = wakes_at_us;
            self.schedule(wakes_at_us - self.now_us, Event::WakeClient { client });
        }
    }

    pub(super) fn on_response(&mut self, over: ClientToken, response: Response) {
        let client = self.connection(over).client;
        let heard = self.with_client(client, |client, at| with!(client, client => client.hear(over, response, at)));
        if let Err(violation) = heard {
            self.violation.get_or_insert(violation);
        }
    }

    /// A client crashed; it starts again and knows nothing.
    pub(super) fn crash_client(&mut self) {
        if self.loaded {
            self.faults.coverage.count(Kind::ClientCrash);
            let client = self.any_client();
            self.with_client(client, |client, at| with!(client, client => client.crash(at)));
        }
    }

    /// Some clients lose their connections.
    pub(super) fn reconnect_clients(&mut self) {
        if !self.loaded {
            return;
        }
        self.faults.coverage.count(Kind::Reconnect);
        for client in 0..self.clients.len() {
            if self.chance.percent(60) {
                self.with_client(client, |client, at| with!(client, client => client.lose_connections(at)));
            }
        }
    }

    fn any_client(&mut self) -> usize {
        let last = self.clients.len() as u64 - 1;
        usize::try_from(self.chance.between(0, last)).expect("few clients")
    }

    fn connection(&mut self, token: ClientToken) -> &mut Connection {
        &mut self.connections[usize::try_from(token.0).expect("few connections")]
    }

    /// A connection is to one process: when that is gone, nothing travels any more, and its client notices in time.
    fn send_request(&mut self, over: ClientToken, request: Request) {
        let Connection { client, address, reached, .. } = *self.connection(over);
        let Some(to) = self.running_at(address) else { return };
        let reaches = (to, self.nodes[&to].process.as_ref().map_or(0, |process| process.life));
        if reached.is_some_and(|reached| reached != reaches) {
            return;
        }
        self.connection(over).reached = Some(reaches);
        let (from, to) = (Place::Client(client), Place::Node(to));
        let [first, second] = self.network.delays(from, to, self.now_us, &mut self.chance);
        if let Some(delay) = second {
            self.schedule(delay, Event::Request { over, request: request.clone() });
        }
        if let Some(delay) = first {
            self.schedule(delay, Event::Request { over, request });
        }
    }

    fn end_connection(&mut self, over: ClientToken) {
        let delay = self.chance.between(0, GONE_MAX_US);
        self.schedule(delay, Event::ClientGone { over });
    }

    pub(super) fn on_request(&mut self, over: ClientToken, request: Request) {
        let Connection { reached: Some((node, life)), ended: false, .. } = *self.connection(over) else { return };
        if self.lives_on(node, life) {
            self.checks.asked(node, life, over, &request, self.now_us);
            self.input(node, Input::Client { client: over, request });
        }
    }

    pub(super) fn on_client_gone(&mut self, over: ClientToken) {
        let Connection { reached, ended, .. } = *self.connection(over);
        let Some((node, _)) = reached.filter(|(node, life)| !ended && self.lives_on(*node, *life)) else { return };
        if self.nodes[&node].paused_until_us > self.now_us {
            return self.postpone(node, Input::ClientGone { client: over });
        }
        self.connection(over).ended = true;
        self.checks.client_gone(node, over);
        self.input(node, Input::ClientGone { client: over });
    }

    /// A replica answers over a connection; its driver drops what has nowhere to go.
    pub(super) fn respond(&mut self, id: NodeId, over: ClientToken, response: Response) {
        self.checks.answered(id, over, &response);
        if self.may_be_wrong(id, &response) {
            return;
        }
        let Connection { client, ended: false, .. } = *self.connection(over) else { return };
        let [first, second] =
            self.network.delays(Place::Node(id), Place::Client(client), self.now_us, &mut self.chance);
        if let Some(delay) = second {
            self.schedule(delay, Event::Response { over, response: response.clone() });
        }
        if let Some(delay) = first {
            self.schedule(delay, Event::Response { over, response });
        }
    }

    /// The node that runs at an address.
    pub(super) fn running_at(&self, number: usize) -> Option<NodeId> {
        let mut here = self.nodes.values().filter(|node| node.address == number && node.process.is_some());
        here.next_back().map(|node| node.id)
    }
}
