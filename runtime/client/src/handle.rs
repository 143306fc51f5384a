//! The public methods: each sends a command to the task and waits for its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use concoord_transport::Endpoint;
use concoord_wire::abi::Answer;
use concoord_wire::caller;
use concoord_wire::client::{Consistency, Description};
use concoord_wire::interface::{Interface, MethodKind};
use concoord_wire::limits::{ARGUMENTS_BYTES_MAX, NAME_BYTES_MAX};
use concoord_wire::member::Roster;
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::addresses;
use crate::command::{Caller, Command, Invocation, Kind};
use crate::error::ClientError;
use crate::limits::TIMEOUT_MAX;
use crate::names::Names;
use crate::options::Options;
use crate::task::{self, Start};

/// A client of one cluster. Clones are cheap and share one connection and one session, over which any number of
/// requests go side by side. When the last clone is dropped the session is closed; [`Client::close`] waits for that.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::UnboundedSender<Command>,
    places: Arc<Semaphore>,
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
        tokio::spawn(task::run(Start {
            endpoint,
            targets,
            names,
            found,
            commands,
            session_ttl: options.session_ttl,
            random,
        }));
        let places = Arc::new(Semaphore::new(options.outstanding_max.min(Semaphore::MAX_PERMITS)));
        let client = Client { commands: sender, places, options };
        client.with_timeout(limit).view().await?;
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
        within("an object's name", object.map_or(0, str::len), NAME_BYTES_MAX)?;
        within("a method's name", method.len(), NAME_BYTES_MAX)?;
        within("arguments", arguments.len(), ARGUMENTS_BYTES_MAX)?;
        let (object, method, arguments) = (object.map(str::to_owned), method.to_owned(), Bytes::from(arguments));
        self.request(|caller| Command::Invoke(Invocation { kind, object, method, arguments, caller })).await
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
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Close { done }).is_ok() {
            // An error says that the task is gone, which is what was wanted.
            let _ = closed.await;
        }
    }

    async fn request<T>(&self, command: impl FnOnce(Caller<T>) -> Command) -> Result<T, ClientError> {
        let limit = self.options.outstanding_max;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| ClientError::Busy { limit })?;
        let (reply, answer) = oneshot::channel();
        let after = self.options.timeout.min(TIMEOUT_MAX);
        let caller = Caller { reply, deadline: Instant::now() + after, after, place };
        self.commands.send(command(caller)).map_err(|_| ClientError::Closed)?;
        answer.await.unwrap_or(Err(ClientError::Closed))
    }
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
            MethodKind::Query => self.query(object, method, arguments, Consistency::Linearizable).await,
            MethodKind::Update => self.call(object, method, arguments).await,
            MethodKind::Waiting => self.call_waiting(object, method, arguments).await,
        }
    }
}
