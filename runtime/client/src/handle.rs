//! The public methods: each sends a command to the task and waits for its answer.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use bytes::Bytes;
use concoord_transport::Endpoint;
use concoord_wire::abi::Answer;
use concoord_wire::caller;
use concoord_wire::client::{self, Consistency, Description, Events};
use concoord_wire::interface::{Interface, MethodKind, REINITIALIZE};
use concoord_wire::limits::{ARGUMENTS_BYTES_MAX, NAME_BYTES_MAX, PARTS_MAX, TOPIC_BYTES_MAX};
use concoord_wire::member::Roster;
use concoord_wire::{ObjectId, Position, codec};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::addresses;
use crate::command::{Caller, Command, Invocation, Kind};
use crate::error::ClientError;
use crate::limits::{TIMEOUT_MAX, WATCHED_AGAIN_AFTER};
use crate::names::Names;
use crate::options::Options;
use crate::places::Places;
use crate::session::SessionToken;
use crate::task::{Start, run};
use crate::watch::{From, Watch};

/// A client of one cluster. Clones are cheap and share one connection and one session, over which any number of
/// requests go side by side. When the last clone is dropped the session is closed; [`Client::close`] waits for that.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::UnboundedSender<Command>,
    places: Places,
    /// How many sessions were lost.
    lost: watch::Receiver<u64>,
    options: Options,
}

impl Client {
    /// Connects to a cluster by the addresses of some of its replicas, `"127.0.0.1:14000, 127.0.0.1:14001"`, or by its
    /// domain, `"counterdomain.com"`. The first replica that answers tells of all others. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ClientError::Addresses`], [`ClientError::Setup`], or [`ClientError::Timeout`] when no replica answers.
    pub async fn connect(addresses: &str) -> Result<Client, ClientError> {
        Client::connect_with(addresses, Options::default()).await
    }

    /// The same with other [`Options`] than the default ones.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_with(addresses: &str, options: Options) -> Result<Client, ClientError> {
        let targets = addresses::parse(addresses)?;
        let limit = options.connect_timeout.min(TIMEOUT_MAX);
        let names = Names::new(options.dns_server);
        let found = match timeout(limit, addresses::resolve(&targets, &names)).await {
            Ok(resolved) => resolved?,
            Err(_) => return Err(ClientError::Timeout { after: limit, call: None, tried: Vec::new() }),
        };
        let setup = |error: &dyn std::fmt::Display| ClientError::Setup { reason: error.to_string() };
        let endpoint = Endpoint::client().map_err(|error| setup(&error))?;
        let random = StdRng::try_from_rng(&mut SysRng).map_err(|error| setup(&error))?;
        let (sender, commands) = mpsc::unbounded_channel();
        let (lost_sender, lost) = watch::channel(0);
        tokio::spawn(run(Start {
            endpoint,
            targets,
            names,
            found,
            commands,
            session_ttl: options.session_ttl,
            lost_before: options.lost_before,
            resumed: options.session,
            lost: lost_sender,
            random,
        }));
        let places = Places::new(options.outstanding_max);
        let client = Client { commands: sender, places, lost, options };
        client.with_timeout(limit).view().await?;
        if options.session.is_some() {
            client.session().await?;
        }
        Ok(client)
    }

    /// The same client, whose requests take at most `timeout` each, retries included.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Client {
        let options = Options { timeout, ..self.options };
        Client { options, ..self.clone() }
    }

    /// The same client, whose calls may be parked for at most `wait` each, in the cluster's time.
    #[must_use]
    pub fn with_wait(&self, wait: Duration) -> Client {
        let options = Options { wait: Some(wait), ..self.options };
        Client { options, ..self.clone() }
    }

    /// The same client, whose proxies' queries see at least what `consistency` says.
    #[must_use]
    pub fn with_consistency(&self, consistency: Consistency) -> Client {
        let options = Options { consistency, ..self.options };
        Client { options, ..self.clone() }
    }

    /// What was chosen for this client.
    #[must_use]
    pub fn options(&self) -> Options {
        self.options
    }

    /// Executes an update exactly once: `method` of `object` (`None`: the cluster's first object) with the postcard
    /// of each argument in turn.
    ///
    /// Dropping the future gives up waiting, not the update.
    ///
    /// # Errors
    /// [`ClientError`]. After [`ClientError::Timeout`] with a call id, [`ClientError::Unknown`], and
    /// [`ClientError::Closed`] while it was waiting, the update may or may not have been executed; after any other
    /// error it changed nothing.
    pub async fn call(&self, object: Option<&str>, method: &str, arguments: Vec<u8>) -> Result<Answer, ClientError> {
        self.invoke_kind(Kind::Update, object, method, arguments).await
    }

    /// Executes an update that may have to wait for another one, as [`Client::call`]. Until it is executed it may take the
    /// client's timeout; then it waits in the cluster for as long as [`Options::wait`] says.
    ///
    /// Dropping the future ends the wait, unless the answer comes first.
    ///
    /// # Errors
    /// As [`Client::call`]; [`CallError::WaitedInVain`](concoord_wire::client::CallError::WaitedInVain).
    pub async fn call_waiting(
        &self,
        object: Option<&str>,
        method: &str,
        arguments: Vec<u8>,
    ) -> Result<Answer, ClientError> {
        let mut waiter = Waiter { commands: &self.commands, done: false };
        let answer = self.invoke_kind(Kind::Waiting(self.options.wait), object, method, arguments).await;
        waiter.done = true;
        answer
    }

    /// As [`Client::call`], but the call is on its way when this returns, and the future only waits for its answer: so any
    /// number of calls go one behind another without waiting, in this order.
    ///
    /// # Errors
    /// What keeps it from being sent; the future has the rest.
    pub fn call_async(&self, object: Option<&str>, method: &str, arguments: Vec<u8>) -> Result<Pending, ClientError> {
        let invocation = checked(Kind::Update, object, method, arguments)?;
        self.start(|caller| Command::Invoke(invocation(caller))).map(Pending)
    }

    /// Executes several calls as one: all of them, in this order and with nothing in between, or none. Gives what each
    /// returned, as postcard. A call that traps, fails, or would have to wait puts an end to all. Queries are fine among them.
    ///
    /// # Errors
    /// As [`Client::call`]; [`CallError::Aborted`](concoord_wire::client::CallError::Aborted) says which call it was and why.
    pub async fn atomically(&self, parts: &[Part<'_>]) -> Result<Vec<Vec<u8>>, ClientError> {
        within("calls as one", parts.len(), PARTS_MAX)?;
        within("arguments", parts.iter().map(|part| part.arguments.len()).sum(), ARGUMENTS_BYTES_MAX)?;
        let mut ids = BTreeMap::new();
        for Part { object, method, .. } in parts {
            within("a method's name", method.len(), NAME_BYTES_MAX)?;
            if !ids.contains_key(object) {
                ids.insert(*object, self.describe(*object).await?.object);
            }
        }
        let parts = parts.iter().map(|Part { object, method, arguments }| client::Part {
            object: ids[object],
            method: (*method).into(),
            arguments: Bytes::copy_from_slice(arguments),
        });
        let parts = parts.collect();
        let malformed = |reason| ClientError::Malformed { what: "what several calls returned", reason };
        match self.request(|caller| Command::Atomically { parts, caller }).await? {
            Answer::Returned(bytes) => codec::from_bytes(&bytes).map_err(malformed),
            Answer::Failed(_) | Answer::Rejected(_) => unreachable!("such a part puts an end to all"),
        }
    }

    /// Starts an object anew, as if it were loaded now with these arguments of its constructor (the predecessor's
    /// `__concoordinit__`). Calls that wait for it end; fencing tokens and revisions go on growing.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn reinitialize(&self, object: Option<&str>, arguments: Vec<u8>) -> Result<Answer, ClientError> {
        self.call(object, REINITIALIZE, arguments).await
    }

    /// Watches what an object (`None`: the cluster's first object) emits, of one topic or of all.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn watch(&self, object: Option<&str>, topic: Option<&str>, from: From) -> Result<Watch, ClientError> {
        within("a topic", topic.map_or(0, str::len), TOPIC_BYTES_MAX)?;
        let object = self.describe(object).await?.object;
        Watch::begin(self.clone(), object, topic.map(str::to_owned), from).await
    }

    pub(crate) async fn events_after(
        &self,
        object: ObjectId,
        topic: Option<String>,
        after: Option<Position>,
    ) -> Result<Events, ClientError> {
        let mut waiter = Waiter { commands: &self.commands, done: false };
        let answer = self.request(|mut caller| {
            caller.deadline = Instant::now() + WATCHED_AGAIN_AFTER;
            Command::Watch { object, topic, after, caller }
        });
        let answer = answer.await;
        waiter.done = true;
        answer
    }

    /// The token of this client's session, which is opened if there is none yet: with it, another client goes on with the
    /// session. See [`Options::session`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn session(&self) -> Result<SessionToken, ClientError> {
        self.request(|caller| Command::Session { caller }).await
    }

    /// Waits until the session is lost, or may be: the cluster says that it is gone, or has not said for the session's time
    /// to live that it is there. Whoever holds something by it must stop at once; until then nobody else can hold it. What
    /// is called after that belongs to another session, unless the cluster still has this one.
    ///
    /// Sessions that are lost before this is called do not count. It also returns when the client is closed.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut lost = self.lost.clone();
        lost.mark_unchanged();
        async move {
            // Its other end is the client's task.
            let _ = lost.changed().await;
        }
    }

    /// Executes a query, seeing at least what `consistency` says.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn query(
        &self,
        object: Option<&str>,
        method: &str,
        arguments: Vec<u8>,
        consistency: Consistency,
    ) -> Result<Answer, ClientError> {
        self.invoke_kind(Kind::Query(consistency), object, method, arguments).await
    }

    async fn invoke_kind(
        &self,
        kind: Kind,
        object: Option<&str>,
        method: &str,
        arguments: Vec<u8>,
    ) -> Result<Answer, ClientError> {
        let invocation = checked(kind, object, method, arguments)?;
        self.request(|caller| Command::Invoke(invocation(caller))).await
    }

    /// Finds an object by name (`None`: the cluster's first object) and what it can do, still encoded.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn describe(&self, object: Option<&str>) -> Result<Description, ClientError> {
        self.describe_as(object, Consistency::Linearizable).await
    }

    /// As [`Client::describe`], seeing at least what `consistency` says.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn describe_as(
        &self,
        object: Option<&str>,
        consistency: Consistency,
    ) -> Result<Description, ClientError> {
        within("an object's name", object.map_or(0, str::len), NAME_BYTES_MAX)?;
        let name = object.map(str::to_owned);
        self.request(|caller| Command::Describe { name, consistency, caller }).await
    }

    /// The same, decoded and checked.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Interface`] when the description can't be read.
    pub async fn interface(&self, object: Option<&str>) -> Result<Interface, ClientError> {
        let description = self.describe(object).await?;
        Interface::decode(&description.interface).map_err(ClientError::Interface)
    }

    /// The members as the connected replica knows them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn view(&self) -> Result<Roster, ClientError> {
        self.request(|caller| Command::View { caller }).await
    }

    /// Closes the session and the connection, for all clones; whoever still waits gets [`ClientError::Closed`].
    /// Returns when the replica heard it, or after about a second. Closing twice does no harm.
    pub async fn close(&self) {
        self.end(true).await;
    }

    /// Ends the connection, for all clones, and what waits, and leaves the session open: until its time to live is over another
    /// client may go on with it by its token, see [`Options::session`]. Else as [`Client::close`].
    pub async fn detach(&self) {
        self.end(false).await;
    }

    async fn end(&self, closes_session: bool) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Close { closes_session, done }).is_ok() {
            // An error says that the task is gone, which is what was wanted.
            let _ = closed.await;
        }
    }

    async fn request<T>(&self, command: impl FnOnce(Caller<T>) -> Command) -> Result<T, ClientError> {
        self.start(command)?.await.unwrap_or(Err(ClientError::Closed))
    }

    /// Hands a request to the task.
    fn start<T>(
        &self,
        command: impl FnOnce(Caller<T>) -> Command,
    ) -> Result<oneshot::Receiver<Result<T, ClientError>>, ClientError> {
        let limit = self.options.outstanding_max;
        let place = self.places.take().ok_or(ClientError::Busy { limit })?;
        let (reply, answer) = oneshot::channel();
        let after = self.options.timeout.min(TIMEOUT_MAX);
        let caller = Caller { reply, deadline: Instant::now() + after, after, place };
        self.commands.send(command(caller)).map_err(|_| ClientError::Closed)?;
        Ok(answer)
    }
}

/// One of several calls that are executed as one: see [`Client::atomically`].
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// `None` for the cluster's first object.
    pub object: Option<&'a str>,
    /// An update or a query of it.
    pub method: &'a str,
    /// Postcard of each argument in turn.
    pub arguments: &'a [u8],
}

/// The answer to a call that is on its way: see [`Client::call_async`]. Dropping it gives up waiting, not the update.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Result<Answer, ClientError>>);

impl Future for Pending {
    type Output = Result<Answer, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(ClientError::Closed)))
    }
}

/// A method to be run, once it has a caller.
fn checked(
    kind: Kind,
    object: Option<&str>,
    method: &str,
    arguments: Vec<u8>,
) -> Result<impl FnOnce(Caller<Answer>) -> Invocation, ClientError> {
    within("an object's name", object.map_or(0, str::len), NAME_BYTES_MAX)?;
    within("a method's name", method.len(), NAME_BYTES_MAX)?;
    within("arguments", arguments.len(), ARGUMENTS_BYTES_MAX)?;
    let (object, method, arguments) = (object.map(str::to_owned), method.to_owned(), Bytes::from(arguments));
    Ok(move |caller| Invocation { kind, object, method, arguments, caller })
}

/// Says when it is dropped before its call is answered.
struct Waiter<'a> {
    commands: &'a mpsc::UnboundedSender<Command>,
    done: bool,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if !self.done {
            // Without a task there is no call.
            let _ = self.commands.send(Command::Dropped);
        }
    }
}

fn within(what: &'static str, size: usize, limit: usize) -> Result<(), ClientError> {
    if size <= limit { Ok(()) } else { Err(ClientError::TooLarge { what, size, limit }) }
}

impl caller::Caller for Client {
    type Error = ClientError;

    async fn invoke(
        &self,
        object: Option<&str>,
        method: &'static str,
        kind: MethodKind,
        arguments: Vec<u8>,
    ) -> Result<Answer, ClientError> {
        match kind {
            MethodKind::Query => self.query(object, method, arguments, self.options.consistency).await,
            MethodKind::Update => self.call(object, method, arguments).await,
            MethodKind::Waiting => self.call_waiting(object, method, arguments).await,
        }
    }
}
