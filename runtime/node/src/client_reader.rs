//! Reads what clients ask, and answers for a replica that is in no cluster yet.

use std::net::SocketAddr;
use std::sync::Arc;

use concoord_consensus::io::ClientToken;
use concoord_transport::{AcceptError, Inbox, Incoming, Outbox};
use concoord_wire::client::{AdministerError, CallError, Request, Response};
use tokio::sync::Semaphore;

use crate::error::Stranger;
use crate::events::{ClientEvent, PeerEvent};
use crate::gate::{Gate, read_burst, tell_of_stranger};
use crate::limits::CLIENT_QUEUE_BYTES_MAX;

/// What a queued request takes beside its arguments and names.
const REQUEST_BYTES: usize = 128;

/// Serves one client until its connection ends.
pub(crate) async fn read_client(gate: &Gate, incoming: Incoming) -> Result<(), AcceptError> {
    let from = incoming.remote_address();
    tell_of_stranger(gate, &incoming, Stranger::Client(from)).await;
    let theirs = incoming.hello().cluster;
    let connection = incoming.welcome(gate.cluster(), gate.node).await?;
    gate.counters.clients.add(1);
    let (outbox, mut inbox) = connection.split();
    let Some(first) = wait_for_cluster(gate, from, &outbox, &mut inbox).await else {
        return Ok(());
    };
    // It was let in before this replica was in a cluster, which may be another one than the client's: two never mix.
    if let (Some(theirs), Some(ours)) = (theirs, gate.cluster())
        && theirs != ours
    {
        outbox.close("this replica is of another cluster now");
        // The driver is gone only when the process ends.
        let _ = gate.senders.peers.send(PeerEvent::Stranger { cluster: theirs, who: Stranger::Client(from) }).await;
        return Ok(());
    }
    let client = ClientToken(gate.next_client());
    tracing::debug!(client = client.0, %from, "client connected");
    if gate.senders.clients.send(ClientEvent::Opened { client, outbox }).await.is_ok() {
        hand_on(gate, from, client, first, &mut inbox).await;
        // The driver is gone only when the process ends.
        let _ = gate.senders.clients.send(ClientEvent::Gone { client }).await;
    }
    Ok(())
}

/// Hands bursts to the driver, and waits with a burst for which the queue has no room.
async fn hand_on(gate: &Gate, from: SocketAddr, client: ClientToken, first: Vec<Request>, inbox: &mut Inbox) {
    let mut requests = first;
    loop {
        let bytes = requests.iter().map(request_bytes).sum::<usize>().min(CLIENT_QUEUE_BYTES_MAX);
        let room = u32::try_from(bytes).expect("the queue is below 4 GiB");
        let Ok(_room) = Arc::<Semaphore>::clone(&gate.client_bytes).acquire_many_owned(room).await else {
            return;
        };
        if gate.senders.clients.send(ClientEvent::Requests { client, requests, _room }).await.is_err() {
            return;
        }
        requests = Vec::new();
        match read_burst(inbox, &mut requests).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return gate.on_receive_error("a client's", from, &error),
        }
    }
}

/// Answers requests by itself until the replica is in a cluster. Gives the first burst after that; `None` when the
/// client went before.
async fn wait_for_cluster(gate: &Gate, from: SocketAddr, outbox: &Outbox, inbox: &mut Inbox) -> Option<Vec<Request>> {
    loop {
        let mut requests = Vec::new();
        match read_burst::<Request>(inbox, &mut requests).await {
            Ok(true) if gate.cluster().is_some() => return Some(requests),
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                gate.on_receive_error("a client's", from, &error);
                return None;
            }
        }
        for request in &requests {
            match not_serving(request) {
                Ok(Some(response)) => {
                    // A client that does not read its answers learns no more from another one.
                    let _ = outbox.push(&response);
                }
                Ok(None) => {}
                Err(why) => {
                    outbox.close(why);
                    return None;
                }
            }
        }
    }
}

fn request_bytes(request: &Request) -> usize {
    REQUEST_BYTES
        + match request {
            Request::Call { method, arguments, .. } | Request::Query { method, arguments, .. } => {
                method.len() + arguments.len()
            }
            Request::Describe { name, .. } | Request::Objects { name, .. } => name.as_ref().map_or(0, String::len),
            Request::Stage { data, .. } => data.len(),
            Request::Operate { action, .. } => action.size(),
            Request::Try { module, .. } => module.len(),
            Request::Atomically { parts, .. } => {
                parts.iter().map(|part| REQUEST_BYTES + part.method.len() + part.arguments.len()).sum()
            }
            Request::Watch { topic, .. } => topic.as_ref().map_or(0, String::len),
            Request::OpenSession { .. }
            | Request::ResumeSession { .. }
            | Request::Unwatch { .. }
            | Request::Sessions { .. }
            | Request::KeepAlive { .. }
            | Request::CloseSession { .. }
            | Request::Cancel { .. }
            | Request::Administer { .. }
            | Request::Backup { .. }
            | Request::View { .. }
            | Request::Ping { .. } => 0,
        }
}

/// The answer of a replica that is in no cluster yet; the reason to close where no answer can say that.
fn not_serving(request: &Request) -> Result<Option<Response>, &'static str> {
    const WHY: &str = "it is joining a cluster and not a member yet";
    let error = || CallError::NotServing { why: WHY.into() };
    Ok(match *request {
        Request::OpenSession { nonce, .. } => Some(Response::SessionOpened { nonce, result: Err(error()) }),
        Request::ResumeSession { nonce, .. } => Some(Response::SessionResumed { nonce, result: Err(error()) }),
        Request::Call { call, .. } | Request::Atomically { call, .. } => {
            Some(Response::Called { call, result: Err(error()), waited: false })
        }
        Request::Watch { request, .. } => Some(Response::Watched { request, result: Err(error()) }),
        Request::Sessions { request, .. } => Some(Response::Sessions { request, result: Err(error()) }),
        Request::Query { request, .. } => Some(Response::Queried { request, result: Err(error()) }),
        Request::Describe { request, .. } => Some(Response::Described { request, result: Err(error()) }),
        Request::Objects { request, .. } => Some(Response::Objects { request, result: Err(error()) }),
        Request::Stage { request, .. } => Some(Response::Staged { request, result: Err(error().into()) }),
        Request::Operate { request, .. } | Request::Try { request, .. } => {
            Some(Response::Operated { request, result: Err(error().into()) })
        }
        Request::Administer { request, .. } => {
            let result = Err(AdministerError::NotLeader { leader: None });
            Some(Response::Administered { request, result })
        }
        Request::Backup { request, .. } => Some(Response::Backup { request, result: Err(error()) }),
        Request::Ping { request } => Some(Response::Pong { request }),
        Request::KeepAlive { .. } | Request::CloseSession { .. } | Request::Cancel { .. } | Request::Unwatch { .. } => {
            None
        }
        Request::View { .. } => return Err(WHY),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use concoord_wire::client::Consistency;
    use concoord_wire::{CallId, ObjectId, SessionId, Slot};

    use super::*;

    #[test]
    fn a_replica_without_a_cluster_says_so_to_each_request_that_has_an_answer() {
        let session = SessionId { slot: Slot(1), index: 0 };
        let call = CallId { session, sequence: 1 };
        let why = || CallError::NotServing { why: "it is joining a cluster and not a member yet".into() };
        let query = Request::Query {
            request: 7,
            object: ObjectId(1),
            method: "getvalue".into(),
            arguments: Bytes::new(),
            consistency: Consistency::Stale,
        };
        let update = Request::Call {
            call,
            floor: 0,
            received: None,
            wait_us: 0,
            object: ObjectId(1),
            method: "increment".into(),
            arguments: Bytes::new(),
        };
        assert_eq!(not_serving(&query), Ok(Some(Response::Queried { request: 7, result: Err(why()) })));
        assert_eq!(not_serving(&update), Ok(Some(Response::Called { call, result: Err(why()), waited: false })));
        assert_eq!(not_serving(&Request::KeepAlive { session }), Ok(None));
        assert!(not_serving(&Request::View { request: 8 }).is_err());
    }

    #[test]
    fn a_request_takes_the_room_of_its_arguments() {
        let consistency = Consistency::Linearizable;
        let describe = Request::Describe { request: 1, name: Some("x".repeat(100)), consistency };
        assert_eq!(request_bytes(&describe), REQUEST_BYTES + 100);
        assert_eq!(request_bytes(&Request::Ping { request: 1 }), REQUEST_BYTES);
    }
}
