//! The same client for programs without tokio: it runs on a thread of its own, and each method waits.
//!
//! ```no_run
//! # fn run() -> Result<(), concoord_client::ClientError> {
//! let client = concoord_client::blocking::Client::connect("127.0.0.1:14000")?;
//! let answer = client.call(None, "increment", Vec::new())?;
//! // Generated proxies are async; `run` waits for them.
//! let answer = client.run(async |client| client.call(None, "increment", Vec::new()).await)?;
//! # Ok(()) }
//! ```

use std::thread;
use std::time::Duration;

use concoord_wire::abi::Answer;
use concoord_wire::client::{Consistency, Description};
use concoord_wire::interface::Interface;
use concoord_wire::member::Roster;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::{ClientError, Options};

/// A client whose methods wait. Must not be used from within async code. Share it by reference.
#[derive(Debug)]
pub struct Client {
    inner: crate::Client,
    thread: Thread,
}

/// The thread on which the client's task runs, until this is dropped.
#[derive(Debug)]
struct Thread {
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    join: Option<thread::JoinHandle<()>>,
}

impl Thread {
    fn start() -> Result<Thread, ClientError> {
        let setup = |error: std::io::Error| ClientError::Setup { reason: error.to_string() };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(setup)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let name = "concoord-client".to_string();
        let run = move || {
            // Ends when `stop` is dropped.
            let _ = runtime.block_on(stopped);
        };
        let join = thread::Builder::new().name(name).spawn(run).map_err(setup)?;
        Ok(Thread { runtime: handle, stop: Some(stop), join: Some(join) })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(join) = self.join.take() {
            // It has nothing to tell, not even that it panicked: the answers are gone either way.
            let _ = join.join();
        }
    }
}

impl Client {
    /// As [`crate::Client::connect`].
    ///
    /// # Errors
    /// As there.
    pub fn connect(addresses: &str) -> Result<Client, ClientError> {
        Client::connect_with(addresses, Options::default())
    }

    /// As [`crate::Client::connect_with`].
    ///
    /// # Errors
    /// As there.
    pub fn connect_with(addresses: &str, options: Options) -> Result<Client, ClientError> {
        let thread = Thread::start()?;
        let inner = thread.runtime.block_on(crate::Client::connect_with(addresses, options))?;
        Ok(Client { inner, thread })
    }

    /// As [`crate::Client::call`].
    ///
    /// # Errors
    /// As there.
    pub fn call(&self, object: Option<&str>, method: &str, arguments: Vec<u8>) -> Result<Answer, ClientError> {
        self.thread.runtime.block_on(self.inner.call(object, method, arguments))
    }

    /// As [`crate::Client::query`].
    ///
    /// # Errors
    /// As there.
    pub fn query(
        &self,
        object: Option<&str>,
        method: &str,
        arguments: Vec<u8>,
        consistency: Consistency,
    ) -> Result<Answer, ClientError> {
        self.thread.runtime.block_on(self.inner.query(object, method, arguments, consistency))
    }

    /// As [`crate::Client::describe`].
    ///
    /// # Errors
    /// As there.
    pub fn describe(&self, object: Option<&str>) -> Result<Description, ClientError> {
        self.thread.runtime.block_on(self.inner.describe(object))
    }

    /// As [`crate::Client::interface`].
    ///
    /// # Errors
    /// As there.
    pub fn interface(&self, object: Option<&str>) -> Result<Interface, ClientError> {
        self.thread.runtime.block_on(self.inner.interface(object))
    }

    /// As [`crate::Client::view`].
    ///
    /// # Errors
    /// As there.
    pub fn view(&self) -> Result<Roster, ClientError> {
        self.thread.runtime.block_on(self.inner.view())
    }

    /// Sets the longest time that one request takes from now on, retries included.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.inner = self.inner.with_timeout(timeout);
    }

    /// Runs something async with the client inside and waits for it: a generated proxy, or several calls at once.
    pub fn run<T>(&self, work: impl AsyncFnOnce(crate::Client) -> T) -> T {
        self.thread.runtime.block_on(work(self.inner.clone()))
    }

    /// As [`crate::Client::close`]; also happens when the client is dropped.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.thread.runtime.block_on(self.inner.close());
    }
}
