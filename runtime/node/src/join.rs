//! How a replica enters a cluster: the new replica's side, and the side of the member that it asks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use concoord_transport::{AcceptError, DialError, Incoming, ReceiveError, Role};
use concoord_wire::ClusterId;
use concoord_wire::hello::Refusal;
use concoord_wire::join::{JoinRefusal, JoinReply, JoinRequest, RetryReason, Welcome};
use concoord_wire::member::Member;
use tokio::sync::oneshot;
use tokio::time::{self, Instant};

use crate::error::{BootstrapFailure, BootstrapReason, NodeError};
use crate::events::PeerEvent;
use crate::gate::Gate;
use crate::limits::{
    DIAL_BACK_WAIT_MAX, JOIN_CONNECTION_WAIT_MAX, JOIN_DIAL_WAIT_MAX, JOIN_REDIRECTS_MAX, JOIN_REPLY_WAIT_MAX,
    JOIN_RETRY_PAUSE,
};

/// Serves one join request: dials the asker back, asks the driver, and answers.
pub(crate) async fn answer_joiner(gate: &Gate, incoming: Incoming) -> Result<(), AcceptError> {
    let from = incoming.remote_address();
    let connection = incoming.welcome(gate.cluster(), gate.node).await?;
    let (outbox, mut inbox) = connection.split();
    let request = match time::timeout(JOIN_CONNECTION_WAIT_MAX, inbox.next::<JoinRequest>()).await {
        Ok(Ok(Some(request))) => request,
        Ok(Ok(None)) | Err(_) => return Ok(()),
        Ok(Err(error)) => {
            gate.on_receive_error("a joiner's", from, &error);
            return Ok(());
        }
    };
    let reply = if gate.cluster().is_some() {
        time::timeout(JOIN_CONNECTION_WAIT_MAX, ask_driver(gate, request.member)).await.ok().flatten()
    } else {
        Some(JoinReply::Retry(RetryReason::NoLeader))
    };
    let Some(reply) = reply else { return Ok(()) };
    if outbox.push(&reply).is_ok() {
        outbox.finish(JOIN_DIAL_WAIT_MAX).await;
    }
    Ok(())
}

/// `None` when the driver ends first.
async fn ask_driver(gate: &Gate, member: Member) -> Option<JoinReply> {
    let reached = dial_back(gate, &member).await;
    tracing::debug!(joiner = %member.id, address = %member.address, ?reached, "dialed a joiner back");
    let (reply, answered) = oneshot::channel();
    gate.senders.peers.send(PeerEvent::Join { member, reached, reply }).await.ok()?;
    answered.await.ok()
}

/// Whether a replica with the joiner's id answers at the joiner's address.
async fn dial_back(gate: &Gate, member: &Member) -> Result<(), String> {
    let dialed = gate.endpoint.dial(member.address, Role::Peer, &gate.hello(), DIAL_BACK_WAIT_MAX).await;
    let connection = dialed.map_err(|error| error.to_string())?;
    let found = connection.remote().node;
    connection.close("dialed back, all is well");
    match found {
        Some(node) if node == member.id => Ok(()),
        Some(node) => Err(format!("replica {node} answers there")),
        None => Err("whoever answers there is no replica".into()),
    }
}

/// A new replica that looks for a way in.
pub(crate) struct Joiner<'a> {
    pub(crate) gate: &'a Gate,
    pub(crate) member: Member,
    pub(crate) bootstrap: &'a [SocketAddr],
    pub(crate) boot_wait: Duration,
}

/// What one address had to say.
enum Answer {
    Accepted(Welcome),
    Redirect(SocketAddr),
    Failed(BootstrapReason),
}

/// What a joiner has heard so far.
#[derive(Default)]
struct Heard {
    /// The cluster met first. Addresses of another one are a mistake.
    cluster: Option<ClusterId>,
    failures: BTreeMap<SocketAddr, BootstrapReason>,
}

impl Joiner<'_> {
    /// Asks each address in turn, again and again, until one leads into a cluster.
    ///
    /// # Errors
    /// [`NodeError::NotJoined`] with the last reason of each address when the time is up; [`NodeError::JoinRefused`]
    /// and [`NodeError::OtherCluster`] at once.
    pub(crate) async fn join(&self) -> Result<Welcome, NodeError> {
        let deadline = Instant::now() + self.boot_wait;
        let mut heard = Heard::default();
        loop {
            for &address in self.bootstrap {
                if let Some(welcome) = self.follow(address, deadline, &mut heard).await? {
                    return Ok(welcome);
                }
            }
            if self.bootstrap.iter().all(|address| *address == self.gate.address)
                || Instant::now() + JOIN_RETRY_PAUSE >= deadline
            {
                let failures = heard.failures.into_iter();
                let failures = failures.map(|(address, reason)| BootstrapFailure { address, reason }).collect();
                return Err(NodeError::NotJoined { failures, waited: self.boot_wait });
            }
            time::sleep(JOIN_RETRY_PAUSE).await;
        }
    }

    /// Asks at `start` and wherever that leads.
    async fn follow(
        &self,
        start: SocketAddr,
        deadline: Instant,
        heard: &mut Heard,
    ) -> Result<Option<Welcome>, NodeError> {
        let mut address = start;
        for _ in 0..=JOIN_REDIRECTS_MAX {
            match self.ask(address, deadline, heard).await? {
                Answer::Accepted(welcome) => return Ok(Some(welcome)),
                Answer::Redirect(leader) => {
                    tracing::debug!(%address, %leader, "sent on to the leader");
                    heard.failures.remove(&address);
                    address = leader;
                }
                Answer::Failed(reason) => {
                    tracing::debug!(%address, ?reason, "not taken in yet");
                    heard.failures.insert(address, reason);
                    return Ok(None);
                }
            }
        }
        heard.failures.insert(start, BootstrapReason::Redirected);
        Ok(None)
    }

    async fn ask(&self, address: SocketAddr, deadline: Instant, heard: &mut Heard) -> Result<Answer, NodeError> {
        if address == self.gate.address {
            return Ok(Answer::Failed(BootstrapReason::Own));
        }
        let mut hello = self.gate.hello();
        hello.cluster = heard.cluster;
        let left = |most: Duration| deadline.saturating_duration_since(Instant::now()).min(most);
        let connection = match self.gate.endpoint.dial(address, Role::Join, &hello, left(JOIN_DIAL_WAIT_MAX)).await {
            Ok(connection) => connection,
            Err(DialError::Refused(Refusal::OtherCluster { expected, actual })) => {
                return Err(NodeError::OtherCluster { address, expected, actual });
            }
            Err(DialError::TimedOut { .. }) => return Ok(silent("nothing came back")),
            Err(error) => return Ok(silent(error)),
        };
        heard.cluster = heard.cluster.or(connection.remote().cluster);
        let (outbox, mut inbox) = connection.split();
        if let Err(error) = outbox.push(&JoinRequest { member: self.member.clone() }) {
            return Ok(silent(error));
        }
        let reply = time::timeout(left(JOIN_REPLY_WAIT_MAX), inbox.next::<JoinReply>()).await;
        outbox.close("the join request is answered");
        answer(address, reply.unwrap_or_else(|_| Err(ReceiveError::Lost { reason: NO_REPLY.into() })))
    }
}

const NO_REPLY: &str = "it took the join request and gave no reply";

fn silent(why: impl ToString) -> Answer {
    Answer::Failed(BootstrapReason::Silent(why.to_string()))
}

fn answer(address: SocketAddr, reply: Result<Option<JoinReply>, ReceiveError>) -> Result<Answer, NodeError> {
    Ok(match reply {
        Ok(Some(JoinReply::Accepted(welcome))) => Answer::Accepted(welcome),
        Ok(Some(JoinReply::Redirect { leader })) => Answer::Redirect(leader),
        Ok(Some(JoinReply::Retry(reason))) => Answer::Failed(BootstrapReason::Retry(reason)),
        // Packets get lost: a dial-back that failed once is no reason to give up.
        Ok(Some(JoinReply::Refused(JoinRefusal::Unreachable { why, .. }))) => {
            Answer::Failed(BootstrapReason::NotDialedBack(why))
        }
        Ok(Some(JoinReply::Refused(refusal))) => return Err(NodeError::JoinRefused { address, refusal }),
        Ok(None) => silent(NO_REPLY),
        Err(error) => silent(error),
    })
}
