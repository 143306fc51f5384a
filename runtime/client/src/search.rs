//! Dials replicas side by side until one answers (after RFC 8305, "happy eyeballs").

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use concoord_transport::{Connection, DialError, Endpoint, Role};
use concoord_wire::hello::Hello;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::addresses::{Resolved, Target, resolve};
use crate::limits::{DIAL_STAGGER, DIAL_TIMEOUT};
use crate::names::Names;

/// Something that a search found out.
#[derive(Debug)]
pub(crate) enum Found {
    /// A dial ended.
    Dialed {
        address: SocketAddr,
        /// It was dialed as the leader.
        as_leader: bool,
        result: Box<Result<Connection, DialError>>,
    },
    /// The given names lead here now.
    Resolved(Resolved),
}

/// Dials in flight and addresses to be dialed.
#[derive(Debug)]
pub(crate) struct Search {
    endpoint: Endpoint,
    found: JoinSet<Found>,
    dialing: BTreeSet<SocketAddr>,
    /// To be dialed next, one every [`DIAL_STAGGER`].
    queue: VecDeque<SocketAddr>,
    next_at: Option<Instant>,
    /// Any replica will do, until one answers.
    any: bool,
    /// Names are being looked up.
    looks_up: bool,
}

impl Search {
    pub(crate) fn new(endpoint: Endpoint) -> Search {
        let (dialing, queue) = (BTreeSet::new(), VecDeque::new());
        Search { endpoint, found: JoinSet::new(), dialing, queue, next_at: None, any: false, looks_up: false }
    }

    /// Whether any replica is searched for.
    pub(crate) fn is_for_any(&self) -> bool {
        self.any
    }

    /// Starts dialing these, in this order, from `now` on.
    pub(crate) fn start(&mut self, now: Instant, candidates: Vec<SocketAddr>) {
        self.any = true;
        self.queue = candidates.into();
        self.next_at = Some(now);
    }

    /// Dials one address at once, unless it is being dialed.
    pub(crate) fn dial(&mut self, address: SocketAddr, hello: &Hello, as_leader: bool) {
        if !self.dialing.insert(address) {
            return;
        }
        tracing::debug!(%address, as_leader, "dialing");
        let (endpoint, hello) = (self.endpoint.clone(), hello.clone());
        self.found.spawn(async move {
            let result = Box::new(endpoint.dial(address, Role::Client, &hello, DIAL_TIMEOUT).await);
            Found::Dialed { address, as_leader, result }
        });
    }

    /// Looks the given names up again, for replicas that moved, unless that is under way.
    pub(crate) fn look_up(&mut self, targets: &[Target], names: &Names) {
        let named = |target: &Target| !matches!(target, Target::Address(_));
        if !self.looks_up && targets.iter().any(named) {
            self.looks_up = true;
            let (targets, names) = (targets.to_vec(), names.clone());
            self.found.spawn(async move { Found::Resolved(resolve(&targets, &names).await.unwrap_or_default()) });
        }
    }

    /// Gives up everything.
    pub(crate) fn stop(&mut self) {
        *self = Search::new(self.endpoint.clone());
    }

    /// When [`Search::dial_next`] has something to do.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        self.next_at
    }

    /// Dials the next address of the queue if it is time, and says which.
    pub(crate) fn dial_next(&mut self, now: Instant, hello: &Hello) -> Option<SocketAddr> {
        if self.next_at.is_none_or(|at| now < at) {
            return None;
        }
        let address = self.queue.pop_front();
        self.next_at = (!self.queue.is_empty()).then(|| now + DIAL_STAGGER);
        self.dial(address?, hello, false);
        address
    }

    /// Whether a search for any replica has failed at every address, so a new round is due.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.any && self.queue.is_empty() && self.dialing.is_empty() && self.next_at.is_none()
    }

    /// What was found next; waits for ever while nothing is under way. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Found {
        loop {
            match self.found.join_next().await {
                Some(Ok(found)) => {
                    match &found {
                        Found::Dialed { address, .. } => drop(self.dialing.remove(address)),
                        Found::Resolved(_) => self.looks_up = false,
                    }
                    return found;
                }
                // A task is never cancelled while it is in the set, and a dial does not panic; were it so, the next
                // round would dial again.
                Some(Err(error)) => tracing::warn!(%error, "a dial ended in an unexpected way"),
                None => return std::future::pending().await,
            }
        }
    }

    /// A dial has failed at once: the next one need not wait.
    pub(crate) fn hurry(&mut self, now: Instant) {
        if let Some(at) = &mut self.next_at
            && !self.queue.is_empty()
        {
            *at = (*at).min(now);
        }
    }
}
