//! One connection: is it alive, and does its replica lead?

use std::net::SocketAddr;

use concoord_transport::{Connection, Inbox, Outbox, ReceiveError};
use concoord_wire::NodeId;
use concoord_wire::client::Response;
use tokio::time::{Duration, Instant};

use crate::limits::{LOST_AFTER_PING, PING_AFTER, PING_AFTER_MAX, POLL_AFTER_MIN};

/// What is known about the leadership of the connected replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leading {
    /// It is asked.
    Unknown,
    /// It does, or somebody said so.
    Yes,
    /// It does not, as far as was said since this.
    No { since: Instant },
}

/// The connection in use.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    pub(crate) node: Option<NodeId>,
    pub(crate) outbox: Outbox,
    inbox: Inbox,
    pub(crate) leading: Leading,
    /// When to go to `leader` at the earliest: two replicas that name each other are not dialed in turns without pause.
    pub(crate) redirect_at: Instant,
    /// Who leads instead, as it last said; dialed when something needs a leader.
    pub(crate) leader: Option<SocketAddr>,
    /// When it may be asked again who leads.
    pub(crate) poll_at: Instant,
    /// It was asked at least once.
    pub(crate) polled: bool,
    /// Not sent for want of room; when to try again.
    pub(crate) room_at: Option<Instant>,
    pub(crate) quiet: Quiet,
    /// It was silent for too long; others are being dialed.
    pub(crate) suspect: bool,
}

impl Link {
    pub(crate) fn new(address: SocketAddr, connection: Connection, leading: Leading, now: Instant) -> Link {
        let node = connection.remote().node;
        let (outbox, inbox) = connection.split();
        let quiet = Quiet::new(now);
        let redirect_at = if leading == Leading::Yes { now + POLL_AFTER_MIN } else { now };
        Link {
            address,
            node,
            outbox,
            inbox,
            leading,
            redirect_at,
            leader: None,
            poll_at: now,
            polled: false,
            room_at: None,
            quiet,
            suspect: false,
        }
    }

    /// When there is something to do about leadership, as long as a leader is needed.
    pub(crate) fn seeks_at(&self) -> Instant {
        let redirect = self.leader.map(|_| self.redirect_at);
        redirect.map_or(self.poll_at, |at| at.min(self.poll_at))
    }

    pub(crate) fn leads(&self) -> bool {
        self.leading == Leading::Yes
    }

    /// Its replica said, directly or by its view, that it does not lead.
    pub(crate) fn does_not_lead(&mut self, now: Instant) {
        if !matches!(self.leading, Leading::No { .. }) {
            self.leading = Leading::No { since: now };
        }
    }

    /// The next response of those that have arrived already.
    pub(crate) fn try_next(&mut self) -> Result<Option<Response>, ReceiveError> {
        self.inbox.try_next()
    }
}

/// The next response of the link; never without one. Cancel-safe.
pub(crate) async fn next(link: Option<&mut Link>) -> Result<Option<Response>, ReceiveError> {
    match link {
        Some(link) => link.inbox.next().await,
        None => std::future::pending().await,
    }
}

/// What silence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Nothing yet.
    Short,
    /// Time to ask whether the replica is there; `again` when it was before and the answer still is not.
    Ping { again: bool },
    /// It does not answer the ping.
    Lost,
}

/// How long a replica has been silent while it owes an answer.
#[derive(Debug)]
pub(crate) struct Quiet {
    since: Instant,
    ping_after: Duration,
    pinged: Option<Instant>,
}

impl Quiet {
    pub(crate) fn new(now: Instant) -> Quiet {
        Quiet { since: now, ping_after: PING_AFTER, pinged: None }
    }

    /// A request was sent; `owed` says whether answers were due before.
    pub(crate) fn on_sent(&mut self, now: Instant, owed: bool) {
        if self.pinged.is_none() && (!owed || self.ping_after > PING_AFTER) {
            *self = Quiet::new(now);
        }
    }

    /// Something arrived: an answer, or a mere sign of life.
    pub(crate) fn on_heard(&mut self, now: Instant, answer: bool) {
        if answer {
            self.ping_after = PING_AFTER;
        } else if self.pinged.is_some() {
            self.ping_after = (self.ping_after * 2).min(PING_AFTER_MAX);
        }
        (self.since, self.pinged) = (now, None);
    }

    /// When [`Quiet::check`] has something to say.
    pub(crate) fn wakes_at(&self) -> Instant {
        self.pinged.map_or(self.since + self.ping_after, |pinged| pinged + LOST_AFTER_PING)
    }

    /// What the silence means now. Each ping and each loss is told once.
    pub(crate) fn check(&mut self, now: Instant) -> Silence {
        if now < self.wakes_at() {
            return Silence::Short;
        }
        match self.pinged.replace(now) {
            None => Silence::Ping { again: self.ping_after > PING_AFTER },
            Some(_) => Silence::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_silent_replica_is_pinged_after_50_ms_and_lost_after_200() {
        let start = Instant::now();
        let mut quiet = Quiet::new(start);
        quiet.on_sent(start + ms(5), false);
        assert_eq!(quiet.check(start + ms(54)), Silence::Short);
        assert_eq!(quiet.check(start + ms(55)), Silence::Ping { again: false });
        quiet.on_sent(start + ms(150), true);
        assert_eq!(quiet.check(start + ms(204)), Silence::Short);
        assert_eq!(quiet.check(start + ms(205)), Silence::Lost);
    }

    #[test]
    fn requests_sent_into_silence_do_not_hide_it() {
        let start = Instant::now();
        let mut quiet = Quiet::new(start);
        quiet.on_sent(start, false);
        (1..100).for_each(|i| quiet.on_sent(start + ms(i), true));
        assert_eq!(quiet.check(start + ms(100)), Silence::Ping { again: false });
    }

    #[test]
    fn a_long_wait_is_watched_ever_less_until_there_is_something_new() {
        let mut now = Instant::now();
        let mut quiet = Quiet::new(now);
        let mut waits = Vec::new();
        for _ in 0..7 {
            let at = quiet.wakes_at();
            waits.push((at - now).as_millis());
            assert!(matches!(quiet.check(at), Silence::Ping { .. }));
            now = at + ms(1);
            quiet.on_heard(now, false);
        }
        assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000]);
        quiet.on_sent(now, true);
        assert_eq!(quiet.wakes_at(), now + PING_AFTER);
        quiet.on_heard(now + ms(3), true);
        assert_eq!(quiet.wakes_at(), now + ms(3) + PING_AFTER);
    }
}
