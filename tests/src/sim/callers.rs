//! Clients on the network: their requests reach replicas, and answers reach them.

use concoord::wire::NodeId;
use concoord::wire::client::{Request, Response};

use super::network::Place;
use super::world::{Event, World};

impl World {
    pub(super) fn on_wake_client(&mut self, client: usize) {
        let now_us = self.now_us;
        if !self.loaded {
            return self.schedule(20_000, Event::WakeClient { client });
        }
        let it = &mut self.clients[client];
        if now_us >= it.wakes_at_us {
            let request = it.wake(now_us, self.addresses, &mut self.checks, &mut self.chance);
            self.send_request(client, request);
        }
        self.schedule_client(client);
    }

    pub(super) fn on_response(&mut self, client: usize, response: Response) {
        match self.clients[client].hear(response, self.now_us, &mut self.checks, &mut self.chance) {
            Ok(request) => self.send_request(client, request),
            Err(violation) => {
                self.violation.get_or_insert(violation);
            }
        }
        self.schedule_client(client);
    }

    pub(super) fn schedule_client(&mut self, client: usize) {
        let wakes_at_us = self.clients[client].wakes_at_us;
        if wakes_at_us != u64::MAX {
            self.schedule(wakes_at_us.saturating_sub(self.now_us), Event::WakeClient { client });
        }
    }

    pub(super) fn send_request(&mut self, client: usize, request: Option<Request>) {
        let Some(request) = request else { return };
        let Some(to) = self.running_at(self.clients[client].target) else { return };
        for delay in self.network.delays(Place::Client(client), Place::Node(to), &mut self.chance) {
            self.schedule(delay, Event::Request { client, to, request: request.clone() });
        }
    }

    /// The node that runs at an address.
    pub(super) fn running_at(&self, number: usize) -> Option<NodeId> {
        let mut here = self.nodes.values().filter(|node| node.address == number && node.process.is_some());
        here.next_back().map(|node| node.id)
    }
}
