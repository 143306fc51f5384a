//! What operators ask of a cluster: to change its membership and its objects, and for a backup.
//!
//! Each request goes over a connection of its own to one replica after another, until one does it or says why not. That
//! is slower than [`crate::Client`] and does not matter: operators are rare, and what they want may take long.
//!
//! | file        | role                                              |
//! |-------------|---------------------------------------------------|
//! | `mod.rs`    | the requests, and whom they are asked             |
//! | `line.rs`   | one connection, one answer at a time              |
//! | `backup.rs` | the pieces of a backup                            |
//! | `objects.rs` | what is done with objects, and how they are      |
//! | `sessions.rs` | which sessions are open, and ending one          |
//! | `error.rs`  | why something was not done                        |

mod backup;
mod error;
mod line;
mod objects;
mod sessions;

use std::net::SocketAddr;
use std::time::Duration;

use concoord_transport::Endpoint;
use concoord_wire::client::{Action, AdministerError, Request, Response};
use concoord_wire::hello::{Hello, PROTOCOL_MAX, PROTOCOL_MIN};
use concoord_wire::{ClusterId, NodeId, ViewId};
use tokio::time::{Instant, sleep};

use self::line::{Line, LineError};
use crate::addresses::{self, Resolved};
use crate::book::Book;
use crate::limits::{OPERATOR_MAJORITY_WAIT_MAX, OPERATOR_RETRY_PAUSE};

pub use self::backup::Backup;
pub use self::error::OperatorError;

/// Asks what operators want of one cluster.
#[derive(Debug)]
pub struct Operator {
    endpoint: Endpoint,
    addresses: Vec<SocketAddr>,
    timeout: Duration,
}

/// Whom to ask, and what the others said.
struct Asking {
    addresses: Vec<SocketAddr>,
    /// How many of `addresses` had their turn.
    turns: usize,
    /// Who was named as the leader last, and not asked since.
    leader: Option<SocketAddr>,
    book: Book,
    /// The cluster met first: two never mix.
    cluster: Option<ClusterId>,
    deadline: Instant,
    timeout: Duration,
}

/// What an answer means.
enum Step<T> {
    Done(T),
    /// The leader, if it is known, may do it; else the next, after a pause.
    Elsewhere {
        leader: Option<SocketAddr>,
        said: String,
    },
    Never(OperatorError),
}

impl Operator {
    /// Gets ready to ask the replicas at `addresses`, written as for [`crate::Client::connect`]; names are asked of
    /// `dns_server`, or else of the system. Nobody is asked yet. What
    /// is asked later is given up after `timeout`, a backup when nothing of it came for so long. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`OperatorError::Addresses`], [`OperatorError::Setup`].
    pub async fn connect(
        addresses: &str,
        dns_server: Option<SocketAddr>,
        timeout: Duration,
    ) -> Result<Operator, OperatorError> {
        let addresses = addresses::find_replicas(addresses, dns_server).await?;
        let endpoint = Endpoint::client().map_err(|error| OperatorError::Setup { reason: error.to_string() })?;
        Ok(Operator { endpoint, addresses, timeout })
    }

    /// Takes a member out for good: it is not taken back under its id. Gives the view that it is not in, once that is
    /// decided.
    ///
    /// # Errors
    /// [`OperatorError::Refused`] when the cluster does not do it, [`OperatorError::NoAnswer`] when nobody did it in time.
    /// It may be done later then: look at the members.
    pub async fn remove(&self, member: NodeId) -> Result<ViewId, OperatorError> {
        self.administer(Action::Remove(member)).await
    }

    /// Takes a member out that may come back with its disk. Gives the view that it is not in, once that is decided.
    ///
    /// # Errors
    /// As [`Operator::remove`].
    pub async fn evict(&self, member: NodeId) -> Result<ViewId, OperatorError> {
        self.administer(Action::Evict(member)).await
    }

    /// Tells the replica at `address` to leave the view and to stop. It has heard that when this returns, unless its
    /// connection was lost meanwhile; whether it has left, the others know.
    ///
    /// # Errors
    /// [`OperatorError::NoAnswer`] when it can't be told.
    pub async fn leave(&self, address: SocketAddr) -> Result<(), OperatorError> {
        let request = Request::Administer { request: 1, action: Action::Leave };
        self.asking(vec![address])
            .ask(&self.endpoint, &request, |answer| match answer {
                // What it was asked for may have closed the connection.
                Ok(Response::Administered { result: Ok(_), .. }) | Err(LineError::NoReply(_)) => Step::Done(()),
                Ok(Response::Administered { result: Err(error), .. }) => not_now(&error),
                other => unexpected(other),
            })
            .await
    }

    async fn administer(&self, action: Action) -> Result<ViewId, OperatorError> {
        let request = Request::Administer { request: 1, action };
        let began = Instant::now();
        // Whether an earlier try may have done it.
        let mut open = false;
        self.asking(self.addresses.clone())
            .ask(&self.endpoint, &request, |answer| match answer {
                Ok(Response::Administered { result: Ok(view), .. }) => Step::Done(view),
                Ok(Response::Administered { result: Err(error), .. }) => match error {
                    AdministerError::NoMember { view, .. } if open => Step::Done(view),
                    AdministerError::NoMember { .. } => Step::Never(OperatorError::Refused(error)),
                    // A new leader has to hear its voters first.
                    AdministerError::NoMajority { .. } if began.elapsed() >= OPERATOR_MAJORITY_WAIT_MAX => {
                        Step::Never(OperatorError::Refused(error))
                    }
                    AdministerError::Unknown => {
                        open = true;
                        not_now(&error)
                    }
                    error => not_now(&error),
                },
                Err(LineError::NoReply(said)) => {
                    open = true;
                    Step::Elsewhere { leader: None, said }
                }
                other => unexpected(other),
            })
            .await
    }

    fn asking(&self, addresses: Vec<SocketAddr>) -> Asking {
        Asking {
            book: Book::new(&Resolved::given(addresses.clone())),
            addresses,
            turns: 0,
            leader: None,
            cluster: None,
            deadline: Instant::now() + self.timeout,
            timeout: self.timeout,
        }
    }
}

/// What is to be asked again.
fn not_now<T>(error: &AdministerError) -> Step<T> {
    let leader = match error {
        AdministerError::NotLeader { leader } => *leader,
        _ => None,
    };
    Step::Elsewhere { leader, said: error.to_string() }
}

fn unexpected<T>(answer: Result<Response, LineError>) -> Step<T> {
    let said = match answer {
        Ok(_) => "answers something else than it was asked".into(),
        Err(LineError::NotReached(said) | LineError::NoReply(said)) => said,
    };
    Step::Elsewhere { leader: None, said }
}

impl Asking {
    /// Asks one replica after another until `judge` says that it is done.
    async fn ask<T>(
        mut self,
        endpoint: &Endpoint,
        request: &Request,
        mut judge: impl FnMut(Result<Response, LineError>) -> Step<T>,
    ) -> Result<T, OperatorError> {
        loop {
            let address = self.next();
            let answer = match self.dial(endpoint, address).await {
                Ok(mut line) => line.ask(request, self.deadline).await,
                Err(error) => Err(error),
            };
            match judge(answer) {
                Step::Done(done) => return Ok(done),
                Step::Never(error) => return Err(error),
                Step::Elsewhere { leader, said } => self.go_on(address, leader, said).await?,
            }
        }
    }

    /// Whom to ask next: who leads, else all in turn.
    fn next(&mut self) -> SocketAddr {
        let turn = self.addresses[self.turns % self.addresses.len()];
        self.leader.take().unwrap_or_else(|| {
            self.turns += 1;
            turn
        })
    }

    async fn dial(&mut self, endpoint: &Endpoint, address: SocketAddr) -> Result<Line, LineError> {
        let hello = Hello { versions: (PROTOCOL_MIN, PROTOCOL_MAX), cluster: self.cluster, node: None, life: 0 };
        let line = Line::dial(endpoint, address, &hello, self.deadline).await?;
        self.cluster = self.cluster.or(line.cluster());
        Ok(line)
    }

    /// The replica at `address` did not do it: pauses, unless the time is up.
    async fn go_on(
        &mut self,
        address: SocketAddr,
        leader: Option<SocketAddr>,
        said: String,
    ) -> Result<(), OperatorError> {
        tracing::debug!(%address, ?leader, said, "not done yet");
        self.book.learn(address);
        self.book.note(address, said);
        self.leader = leader.filter(|leader| *leader != address);
        // Another try with no time left would only hide what came of this one.
        if Instant::now() + 2 * OPERATOR_RETRY_PAUSE >= self.deadline {
            return Err(OperatorError::NoAnswer { after: self.timeout, tried: self.book.tried() });
        }
        sleep(OPERATOR_RETRY_PAUSE).await;
        Ok(())
    }
}
