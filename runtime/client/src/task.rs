//! The client's one task: commands, frames, finished dials and timers go in, frames go out.

use std::net::SocketAddr;

use concoord_transport::{DialError, Endpoint, ReceiveError, SendError};
use concoord_wire::client::Response;
use concoord_wire::hello::{Hello, PROTOCOL_MAX, PROTOCOL_MIN, Refusal};
use concoord_wire::member::Roster;
use concoord_wire::{CallId, ClusterId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task;
use tokio::time::{Duration, Instant, sleep_until};

use crate::addresses::{Resolved, Target};
use crate::book::{Book, Stranger};
use crate::command::Command;
use crate::error::ClientError;
use crate::limits::{
    ANSWERS_AT_ONCE_MIN, CLOSE_TIMEOUT, IDLE_ROUND_PAUSE, LEADERLESS_MAX, LOOK_UP_AFTER_MIN, POLL_AFTER_MAX,
    POLL_AFTER_MIN, ROOM_AFTER, ROUND_PAUSE,
};
use crate::link::{self, Leading, Link, Silence};
use crate::names::Names;
use crate::outstanding::Outstanding;
use crate::search::{Found, Search};
use crate::session::{SessionToken, Signs};
use crate::updates::Hint;

/// What the task starts from.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) endpoint: Endpoint,
    pub(crate) targets: Vec<Target>,
    pub(crate) names: Names,
    pub(crate) found: Resolved,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) session_ttl: Duration,
    pub(crate) lost_before: Duration,
    /// The session to go on with.
    pub(crate) resumed: Option<SessionToken>,
    /// Counts lost sessions.
    pub(crate) lost: watch::Sender<u64>,
    pub(crate) random: StdRng,
}

/// Runs until the client is closed or every handle is dropped.
pub(crate) async fn run(start: Start) {
    let Start { endpoint, targets, names, found, commands, session_ttl, lost_before, resumed, lost, mut random } =
        start;
    let signs = Signs::new(session_ttl, lost_before, Instant::now(), lost);
    let task = Task {
        commands,
        targets,
        names,
        look_up_at: look_up_at(&found, Instant::now()),
        book: Book::new(&found),
        outstanding: Outstanding::new(StdRng::from_rng(&mut random), signs, resumed),
        link: None,
        search: Search::new(endpoint),
        cluster: None,
        closes_session: true,
        random,
    };
    let done = task.serve().await;
    if let Some(done) = done {
        // Who closed the client may have stopped waiting.
        let _ = done.send(());
    }
}

#[derive(Debug)]
struct Task {
    commands: mpsc::UnboundedReceiver<Command>,
    targets: Vec<Target>,
    names: Names,
    /// When what names lead to may be kept no longer.
    look_up_at: Option<Instant>,
    book: Book,
    outstanding: Outstanding,
    link: Option<Link>,
    search: Search,
    /// The cluster of the first welcome: no other is spoken with.
    cluster: Option<ClusterId>,
    /// Whether the session ends with the client.
    closes_session: bool,
    random: StdRng,
}

impl Task {
    async fn serve(mut self) -> Option<oneshot::Sender<()>> {
        let alarm = sleep_until(Instant::now());
        tokio::pin!(alarm);
        let done = loop {
            let now = Instant::now();
            self.on_time(now);
            self.send(now);
            let wake = self.wakes_at();
            if let Some(wake) = wake
                && wake != alarm.deadline()
            {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                // What there is little of goes first; of answers there may always be more, and time is looked at in any case.
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => if let Some(done) = self.on_commands(command) { break Some(done) },
                    None => break None,
                },
                found = self.search.next() => self.on_found(Instant::now(), found),
                response = link::next(self.link.as_mut()) => self.on_received(Instant::now(), response).await,
                () = &mut alarm, if wake.is_some() => {}
            }
        };
        self.leave().await;
        done
    }

    /// Takes this command and whatever else has arrived; gives whom to tell when the client is to be closed.
    fn on_commands(&mut self, first: Command) -> Option<oneshot::Sender<()>> {
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Invoke(invocation) => self.outstanding.invoke(invocation),
                Command::Describe { name, consistency, caller } => {
                    self.outstanding.describe(name, consistency, caller);
                }
                Command::View { caller } => self.outstanding.view(caller),
                Command::Atomically { parts, caller } => self.outstanding.atomically(parts, caller),
                Command::Watch { object, topic, after, caller } => {
                    self.outstanding.watch(object, topic, after, caller);
                }
                Command::Session { caller } => self.outstanding.want_session(caller),
                Command::Dropped => {
                    let requests = self.outstanding.cancel_dropped();
                    if let Some(link) = &self.link {
                        // What is not said now the end of the connection says.
                        requests.iter().for_each(|request| _ = link.outbox.push(request));
                    }
                }
                Command::Close { closes_session, done } => {
                    self.closes_session = closes_session;
                    return Some(done);
                }
            }
            next = self.commands.try_recv().ok();
        }
        None
    }

    /// Says goodbye, and fails whoever still waits.
    async fn leave(mut self) {
        if let Some(link) = self.link.take() {
            for request in self.outstanding.farewell(self.closes_session) {
                // What is not said ends with the session, which ends by its time to live.
                let _ = link.outbox.push(&request);
            }
            link.outbox.finish(CLOSE_TIMEOUT).await;
        }
        self.outstanding.fail_all(Instant::now(), &|_, _| ClientError::Closed);
    }

    fn hello(&self) -> Hello {
        Hello { versions: (PROTOCOL_MIN, PROTOCOL_MAX), cluster: self.cluster, node: None, life: 0 }
    }

    fn poll_after(&mut self) -> Duration {
        self.random.random_range(POLL_AFTER_MIN..=POLL_AFTER_MAX)
    }

    // ---- What is received ----

    /// Takes this answer and those that came with it, up to half of all that are waited for.
    async fn on_received(&mut self, now: Instant, received: Result<Option<Response>, ReceiveError>) {
        let enough = (self.outstanding.owed() / 2).max(ANSWERS_AT_ONCE_MIN);
        let mut worst = Hint::Fine;
        let mut next = received;
        let mut taken = 0;
        loop {
            let response = match next {
                Ok(Some(response)) => response,
                Ok(None) => return self.on_lost(now, "it closed the connection".into()),
                Err(error) => return self.on_lost(now, error.to_string()),
            };
            taken += 1;
            let hint = self.on_response(now, response);
            if hint != Hint::Fine {
                worst = hint;
            }
            if taken == enough {
                break;
            }
            let Some(link) = &mut self.link else { return };
            next = match link.try_next() {
                Ok(None) => break,
                more => more,
            };
        }
        self.on_hint(now, worst);
        if taken == enough {
            // Callers that have their answers go on first. So of many calls one half is in the cluster while the other is
            // here, and neither end waits for the other.
            task::yield_now().await;
        }
    }

    fn on_response(&mut self, now: Instant, response: Response) -> Hint {
        let heard = self.outstanding.on_response(now, response);
        if let Some(link) = &mut self.link {
            link.quiet.on_heard(now, heard.answer);
            if std::mem::take(&mut link.suspect) {
                tracing::debug!(address = %link.address, "the replica is there after all");
                self.search.stop();
            }
        }
        if let Some(roster) = heard.roster {
            self.on_roster(now, &roster);
        }
        heard.hint
    }

    /// What the failed answers of one burst come to.
    fn on_hint(&mut self, now: Instant, hint: Hint) {
        let Some(link) = &mut self.link else { return };
        let address = link.address;
        match hint {
            Hint::Fine => {}
            Hint::Busy(said) => self.book.note(address, said),
            Hint::NotServing(said) => {
                self.book.note(address, said);
                link.does_not_lead(now);
                self.search_any(now);
            }
            Hint::NotLeader(None) => {
                self.book.note(address, "does not lead, no leader known");
                link.does_not_lead(now);
            }
            Hint::NotLeader(Some(leader)) => {
                self.book.note(address, format!("does not lead, {leader} does"));
                self.book.learn(leader);
                link.does_not_lead(now);
                link.leader = Some(leader).filter(|leader| *leader != address);
            }
        }
    }

    /// A replica told who is in the cluster, and who leads as far as it knows.
    fn on_roster(&mut self, now: Instant, roster: &Roster) {
        self.book.learn_roster(roster);
        let Some(link) = &mut self.link else { return };
        let address = link.address;
        let leader = roster.members.iter().find(|member| Some(member.id) == roster.leader);
        match leader.map(|leader| (Some(leader.id) == link.node, leader.address)) {
            Some((true, _)) => {
                if !link.leads() {
                    link.leading = Leading::Yes;
                    self.book.note(address, "leads, but gave no answer to this");
                    self.search.stop();
                }
            }
            Some((false, leader)) => {
                link.does_not_lead(now);
                link.leader = Some(leader).filter(|leader| *leader != address);
                self.book.note(address, format!("does not lead, {leader} does"));
            }
            // One that was called the leader by another and has not told so yet will refuse if it is not.
            None if link.leads() => {}
            None => {
                link.does_not_lead(now);
                link.leader = None;
                self.book.note(address, "does not lead, no leader known");
            }
        }
    }

    // ---- Connections ----

    fn on_lost(&mut self, now: Instant, why: String) {
        let Some(link) = self.link.take() else { return };
        tracing::debug!(address = %link.address, why, "connection lost");
        self.book.note(link.address, why);
        self.outstanding.on_connection_changed();
        self.search.look_up(&self.targets, &self.names);
        if self.needs_link() {
            self.search.start(now, self.book.candidates(Some(link.address)));
        }
    }

    fn needs_link(&self) -> bool {
        !self.outstanding.is_idle() || self.outstanding.session().is_some()
    }

    /// Looks for any other replica, unless that is under way or there is none.
    fn search_any(&mut self, now: Instant) {
        let candidates = self.candidates();
        if !self.search.is_for_any() && !candidates.is_empty() {
            self.search.start(now, candidates);
        }
    }

    /// Whom to dial: everybody but the connected replica, unless that is silent.
    fn candidates(&self) -> Vec<SocketAddr> {
        let Some(link) = &self.link else { return self.book.candidates(None) };
        let mut candidates = self.book.candidates(Some(link.address));
        candidates.retain(|address| link.suspect || *address != link.address);
        candidates
    }

    fn on_found(&mut self, now: Instant, found: Found) {
        match found {
            Found::Resolved(found) => {
                self.look_up_at = look_up_at(&found, now).or(self.look_up_at);
                self.book.find_named(&found);
            }
            Found::Dialed { address, as_leader, result } => match *result {
                Ok(connection) => self.on_connected(now, address, as_leader, connection),
                Err(error) => self.on_dial_failed(now, address, error),
            },
        }
    }

    fn on_connected(
        &mut self,
        now: Instant,
        address: SocketAddr,
        as_leader: bool,
        connection: concoord_transport::Connection,
    ) {
        self.cluster = self.cluster.or(connection.remote().cluster);
        tracing::debug!(%address, as_leader, "connected");
        self.book.note(address, "connected, but it gave no answer to this");
        let leading = if as_leader { Leading::Yes } else { Leading::Unknown };
        if let Some(old) = self.link.replace(Link::new(address, connection, leading, now)) {
            old.outbox.close("the client goes on with another replica");
        }
        self.search.stop();
        self.outstanding.on_connection_changed();
    }

    fn on_dial_failed(&mut self, now: Instant, address: SocketAddr, error: DialError) {
        tracing::debug!(%address, %error, "dial failed");
        match error {
            DialError::Refused(Refusal::OtherCluster { expected, actual }) => {
                self.book.note_stranger(Stranger { address, expected, actual });
            }
            DialError::TimedOut { .. } => self.book.note(address, "does not answer"),
            other => self.book.note(address, other.to_string()),
        }
        self.search.hurry(now);
    }

    // ---- Time ----

    fn wakes_at(&self) -> Option<Instant> {
        let leads = self.link.as_ref().is_some_and(Link::leads);
        let link = self.link.as_ref().and_then(|link| {
            let quiet = (self.outstanding.owed() > 0).then(|| link.quiet.wakes_at());
            let seeks = !link.leads() && self.outstanding.wants_leader();
            let poll = (seeks || !link.polled).then(|| link.seeks_at());
            [quiet, poll, link.room_at].into_iter().flatten().min()
        });
        // While the connection is full, nothing else that could be sent is a reason to wake up.
        let full = self.link.as_ref().is_some_and(|link| link.room_at.is_some());
        let outstanding = self.outstanding.wakes_at(leads && !full);
        [link, outstanding, self.look_up_at, self.search.wakes_at()].into_iter().flatten().min()
    }

    fn on_time(&mut self, now: Instant) {
        self.expire(now);
        self.outstanding.doubt(now);
        if self.look_up_at.is_some_and(|at| now >= at) {
            // Also where no answer comes, or a connection that was found meanwhile has ended the search for it.
            self.look_up_at = Some(now + LOOK_UP_AFTER_MIN);
            self.search.look_up(&self.targets, &self.names);
        }
        if self.link.is_some() {
            self.watch_silence(now);
            self.watch_leader(now);
        } else if self.needs_link() {
            self.search_any(now);
        }
        if self.search.is_exhausted() {
            self.on_round_failed(now);
        }
        let hello = self.hello();
        if let Some(address) = self.search.dial_next(now, &hello) {
            self.book.begin(address);
        }
    }

    fn expire(&mut self, now: Instant) {
        let book = &self.book;
        self.outstanding.expire(now, &|after, call| timed_out(book, after, call));
    }

    /// Every address was dialed in vain.
    fn on_round_failed(&mut self, now: Instant) {
        if let Some((stranger, true)) = self.book.stranger() {
            self.outstanding.fail_all(now, &|_, _| other_cluster(stranger));
        }
        let candidates = self.candidates();
        if candidates.is_empty() || !(self.link.is_some() || self.needs_link()) {
            return self.search.stop();
        }
        let pause = if self.outstanding.is_idle() { IDLE_ROUND_PAUSE } else { ROUND_PAUSE };
        self.search.look_up(&self.targets, &self.names);
        self.search.start(now + pause, candidates);
    }

    fn watch_silence(&mut self, now: Instant) {
        let Some(link) = &mut self.link else { return };
        if self.outstanding.owed() == 0 {
            return;
        }
        match link.quiet.check(now) {
            Silence::Short => {}
            // A replica that is there and still owes answers to updates may have lost its leadership.
            Silence::Ping { again: true } if self.outstanding.waits_for_updates() => self.outstanding.poll(),
            Silence::Ping { .. } => {
                // One that can't be sent is as good as one that is not answered.
                let _ = link.outbox.push(&self.outstanding.ping());
            }
            Silence::Lost => {
                link.suspect = true;
                self.book.note(link.address, "connected, but it fell silent");
                self.search_any(now);
            }
        }
    }

    /// Asks who leads and goes there, as long as something needs a leader and this replica is not one.
    fn watch_leader(&mut self, now: Instant) {
        let after = self.poll_after();
        let hello = self.hello();
        let Some(link) = &mut self.link else { return };
        let seeks = !link.leads() && self.outstanding.wants_leader();
        if now >= link.poll_at && (seeks || !link.polled) {
            (link.poll_at, link.polled) = (now + after, true);
            self.outstanding.poll();
        }
        if !seeks {
            return;
        }
        if now >= link.redirect_at
            && let Some(leader) = link.leader.take()
        {
            self.book.begin(leader);
            self.search.dial(leader, &hello, true);
        }
        if let Leading::No { since } = link.leading
            && now >= since + LEADERLESS_MAX
        {
            self.search_any(now);
        }
    }

    // ---- What is sent ----

    fn send(&mut self, now: Instant) {
        let Some(link) = &mut self.link else { return };
        let owed = self.outstanding.owed() > 0;
        let sent = self.outstanding.send(now, link.leads(), &mut |request| link.outbox.push(request));
        link.room_at = None;
        match sent {
            Ok(true) => link.quiet.on_sent(now, owed),
            Ok(false) => {}
            Err(SendError::Closed) => self.on_lost(now, "the connection is closed".into()),
            Err(SendError::Full { .. } | SendError::TooLarge(_)) => {
                link.quiet.on_sent(now, owed);
                link.room_at = Some(now + ROOM_AFTER);
            }
        }
    }
}

/// When names are looked up again; `None` where nobody said how long their answers may be kept.
fn look_up_at(found: &Resolved, now: Instant) -> Option<Instant> {
    found.until.map(|until| Instant::from_std(until).max(now + LOOK_UP_AFTER_MIN))
}

fn timed_out(book: &Book, after: Duration, call: Option<CallId>) -> ClientError {
    match book.stranger() {
        Some((stranger, _)) => other_cluster(stranger),
        None => ClientError::Timeout { after, call, tried: book.tried() },
    }
}

fn other_cluster(stranger: Stranger) -> ClientError {
    let Stranger { address, expected, actual } = stranger;
    ClientError::OtherCluster { address, expected, actual }
}
