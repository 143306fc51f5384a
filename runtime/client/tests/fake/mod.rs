//! A small cluster in this process: real connections, scripted replicas, one shared table of what was executed.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub, reason = "helpers of several test files")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use concoord_client::{Client, ClientError, Description, Options};
use concoord_transport::{Endpoint, Role};
use concoord_wire::abi::Answer;
use concoord_wire::client::{CallError, Request, Response};
use concoord_wire::member::{self, Roster, RosterMember, Services};
use concoord_wire::{CallId, ClusterId, NodeId, ObjectId, SessionId, Slot, ViewId};

pub const SOON: Duration = Duration::from_secs(5);

/// What a replica does with a request.
pub enum Act {
    Reply(Response),
    /// Close the connection.
    Hang,
    /// What a decent replica does.
    Decent,
}

/// Decides about a request before the decent behaviour does; `None` leaves it to that.
pub type Script = Box<dyn FnMut(&Request) -> Option<Vec<Act>> + Send>;

/// What all replicas share.
#[derive(Default)]
pub struct Shared {
    pub leader: Option<SocketAddr>,
    pub members: Vec<(NodeId, SocketAddr)>,
    /// The value that each call returned: how many were executed until then.
    pub executed: BTreeMap<CallId, u64>,
    pub sessions: BTreeMap<u128, SessionId>,
    /// Every request in the order of arrival, and where.
    pub seen: Vec<(SocketAddr, Request)>,
    pub connections: usize,
}

#[derive(Clone, Default)]
pub struct Cluster {
    shared: Arc<Mutex<Shared>>,
}

impl Cluster {
    pub fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    /// A decent replica on this runtime. The first one leads.
    pub fn replica(&self) -> SocketAddr {
        self.scripted(Box::new(|_| None))
    }

    pub fn scripted(&self, script: Script) -> SocketAddr {
        self.start("127.0.0.1:0".parse().unwrap(), ClusterId(1), script)
    }

    pub fn start(&self, listen: SocketAddr, cluster: ClusterId, script: Script) -> SocketAddr {
        let endpoint = Endpoint::server(listen).unwrap();
        let address = endpoint.local_address();
        let node = NodeId(u64::from(address.port()));
        let mut shared = self.lock();
        shared.members.push((node, address));
        shared.leader.get_or_insert(address);
        drop(shared);
        tokio::spawn(serve(self.clone(), endpoint, cluster, node, script));
        address
    }

    /// A decent replica on a thread and runtime of its own. Dropping the sender kills it: no farewell, a closed port.
    pub fn mortal(&self) -> (SocketAddr, tokio::sync::oneshot::Sender<()>) {
        let (address_out, address_in) = std::sync::mpsc::channel();
        let (alive, killed) = tokio::sync::oneshot::channel::<()>();
        let cluster = self.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                address_out.send(cluster.replica()).unwrap();
                let _ = killed.await;
            });
            runtime.shutdown_background();
        });
        (address_in.recv().unwrap(), alive)
    }

    fn roster(&self, reporter: NodeId) -> Roster {
        let shared = self.lock();
        let member = |&(id, address): &(NodeId, SocketAddr)| RosterMember {
            id,
            address,
            role: member::Role::Replica,
            services: Services::default(),
            live: true,
            silent: false,
            volatile: false,
            full: false,
            differs: None,
            supports: None,
        };
        let leader = shared.members.iter().find(|(_, address)| Some(*address) == shared.leader);
        Roster {
            cluster: ClusterId(1),
            view: ViewId(1),
            leader: leader.map(|(node, _)| *node),
            members: shared.members.iter().map(member).collect(),
            revision: Slot(1),
            decided: Slot(1),
            reporter,
            version: None,
            plugins: vec![],
        }
    }

    /// What a decent replica at `address` answers.
    fn decent(&self, node: NodeId, address: SocketAddr, request: &Request) -> Option<Response> {
        if let Request::View { request } = *request {
            return Some(Response::View { request, roster: self.roster(node) });
        }
        let mut shared = self.lock();
        let leads = shared.leader == Some(address);
        let not_leader = CallError::NotLeader { leader: shared.leader };
        Some(match request.clone() {
            Request::OpenSession { nonce, .. } => {
                let slot = Slot(shared.sessions.len() as u64 + 1);
                let session = *shared.sessions.entry(nonce).or_insert(SessionId { slot, index: 0 });
                let result = if leads { Ok(session) } else { Err(not_leader) };
                Response::SessionOpened { nonce, result }
            }
            Request::Call { call, floor, .. } => {
                assert!(floor < call.sequence, "call {call} is below its own floor {floor}");
                let result = if leads { Ok(shared.execute(call)) } else { Err(not_leader) };
                Response::Called { call, result, waited: false }
            }
            Request::Query { request, .. } => {
                let value = shared.executed.len() as u64;
                Response::Queried { request, result: Ok(returned(value)) }
            }
            Request::Describe { request, name, .. } => Response::Described { request, result: describe(name) },
            Request::Ping { request } => Response::Pong { request },
            // What operators want is scripted.
            Request::Administer { .. }
            | Request::Stage { .. }
            | Request::Operate { .. }
            | Request::Try { .. }
            | Request::Objects { .. }
            | Request::Sessions { .. }
            | Request::ResumeSession { .. }
            | Request::Atomically { .. }
            | Request::Watch { .. }
            | Request::Backup { .. } => return None,
            Request::KeepAlive { session } => {
                let known = shared.sessions.values().any(|known| *known == session);
                if !(leads && known) {
                    return None;
                }
                Response::SessionKept { session }
            }
            Request::View { .. } | Request::Unwatch { .. } | Request::CloseSession { .. } | Request::Cancel { .. } => {
                return None;
            }
        })
    }
}

impl Shared {
    pub fn execute(&mut self, call: CallId) -> Answer {
        let next = self.executed.len() as u64 + 1;
        returned(*self.executed.entry(call).or_insert(next))
    }

    /// The ids of all calls that arrived at `address`, in order.
    pub fn calls_at(&self, at: SocketAddr) -> Vec<CallId> {
        let seen = self.seen.iter().filter(|(address, _)| *address == at);
        seen.filter_map(|(_, request)| if let Request::Call { call, .. } = request { Some(*call) } else { None })
            .collect()
    }

    /// The floors of all calls, in order.
    pub fn floors(&self) -> Vec<u64> {
        let floor = |(_, request): &_| if let Request::Call { floor, .. } = request { Some(*floor) } else { None };
        self.seen.iter().filter_map(floor).collect()
    }
}

fn describe(name: Option<String>) -> Result<Description, CallError> {
    match name.unwrap_or_else(|| "counter".into()) {
        name if name == "counter" => {
            Ok(Description { object: ObjectId(1), name, interface: Bytes::new(), loaded: Slot(1), generation: 1 })
        }
        name => Err(CallError::UnknownObject { name, existing: vec!["counter".into()] }),
    }
}

pub fn returned(value: u64) -> Answer {
    Answer::Returned(concoord_wire::codec::to_bytes(&value))
}

async fn serve(cluster: Cluster, endpoint: Endpoint, id: ClusterId, node: NodeId, script: Script) {
    let script = Arc::new(Mutex::new(script));
    while let Some(handshake) = endpoint.accept().await {
        let (cluster, script, address) = (cluster.clone(), Arc::clone(&script), endpoint.local_address());
        tokio::spawn(async move {
            let incoming = handshake.finish().await.unwrap();
            assert_eq!(incoming.role(), Role::Client);
            let Ok(connection) = incoming.welcome(Some(id), node).await else { return };
            let (outbox, mut inbox) = connection.split();
            cluster.lock().connections += 1;
            while let Ok(Some(request)) = inbox.next::<Request>().await {
                cluster.lock().seen.push((address, request.clone()));
                let acts = (script.lock().unwrap())(&request).unwrap_or_else(|| vec![Act::Decent]);
                for act in acts {
                    let response = match act {
                        Act::Reply(response) => Some(response),
                        Act::Decent => cluster.decent(node, address, &request),
                        Act::Hang => return,
                    };
                    response.into_iter().for_each(|response| outbox.push(&response).unwrap());
                }
            }
        });
    }
}

/// A script that acts on calls only: `act` is given how many calls arrived before and the id.
pub fn on_calls(mut act: impl FnMut(usize, CallId) -> Option<Vec<Act>> + Send + 'static) -> Script {
    let mut count = 0;
    Box::new(move |request| match request {
        Request::Call { call, .. } => {
            count += 1;
            act(count - 1, *call)
        }
        _ => None,
    })
}

pub fn call_error(call: CallId, error: CallError) -> Vec<Act> {
    vec![Act::Reply(Response::Called { call, result: Err(error), waited: false })]
}

pub async fn connect(address: SocketAddr) -> Client {
    Client::connect_with(&address.to_string(), Options { timeout: SOON, ..Options::default() }).await.unwrap()
}

/// One increment, and the value it returned.
pub async fn increment(client: &Client) -> Result<u64, ClientError> {
    match client.call(None, "increment", Vec::new()).await? {
        Answer::Returned(bytes) => Ok(concoord_wire::codec::from_bytes(&bytes).unwrap()),
        other => panic!("{other:?}"),
    }
}
