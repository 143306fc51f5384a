//! The clients that are connected, and what they are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use concoord_consensus::io::ClientToken;
use concoord_transport::{Outbox, SendError};
use concoord_wire::client::Response;

use crate::counters::Counters;

/// Open client connections by token.
#[derive(Debug)]
pub(crate) struct Clients {
    outboxes: BTreeMap<ClientToken, Outbox>,
    counters: Arc<Counters>,
}

impl Clients {
    pub(crate) fn new(counters: Arc<Counters>) -> Clients {
        Clients { outboxes: BTreeMap::new(), counters }
    }

    pub(crate) fn on_opened(&mut self, client: ClientToken, outbox: Outbox) {
        self.outboxes.insert(client, outbox);
    }

    pub(crate) fn on_gone(&mut self, client: ClientToken) {
        self.outboxes.remove(&client);
    }

    /// Tells a client, if it is still there. One that does not read is closed: it finds out, and others don't wait.
    pub(crate) fn respond(&mut self, client: ClientToken, response: &Response) {
        let Some(outbox) = self.outboxes.get(&client) else {
            self.counters.client_responses_late.add(1);
            return;
        };
        match outbox.push(response) {
            Ok(()) => self.counters.client_responses.add(1),
            Err(SendError::Closed) => self.counters.client_responses_late.add(1),
            Err(error @ (SendError::Full { .. } | SendError::TooLarge(_))) => {
                self.counters.clients_closed_slow.add(1);
                tracing::debug!(client = client.0, "closed: {error}");
                outbox.close(&error.to_string());
                // Its reader notices, and says that it is gone.
                self.outboxes.remove(&client);
            }
        }
    }

    /// The open connections, for last words.
    pub(crate) fn into_outboxes(self) -> Vec<Outbox> {
        self.outboxes.into_values().collect()
    }
}
