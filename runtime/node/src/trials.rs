//! Modules that clients send are tried on a thread each, so that nothing waits for them: compiled by whoever compiles for
//! this replica, within the bounds of what is proposed, and asked what they can do.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use concoord_executor::{Compiler, describe};
use tokio::sync::mpsc;

use crate::limits::STACK_BYTES;

/// What came of a trial: its number, and why the module can't be run here.
pub(crate) type Tried = (u64, Result<(), String>);

/// Tries modules. How many there are at a time, the replica bounds.
#[derive(Debug)]
pub(crate) struct Trials {
    compiler: Arc<dyn Compiler>,
    tell: mpsc::UnboundedSender<Tried>,
    told: mpsc::UnboundedReceiver<Tried>,
}

impl Trials {
    pub(crate) fn by(compiler: Arc<dyn Compiler>) -> Trials {
        let (tell, told) = mpsc::unbounded_channel();
        Trials { compiler, tell, told }
    }

    /// Begins a trial.
    pub(crate) fn begin(&self, trial: u64, module: Bytes) {
        let (compiler, tell) = (Arc::clone(&self.compiler), self.tell.clone());
        let try_out = move || describe(&module, &*compiler).map(drop).map_err(|error| error.to_string());
        let thread = thread::Builder::new().name("concoord-try-out".into()).stack_size(STACK_BYTES);
        let spawned = thread.spawn(move || {
            // A trial that never ended would take the place of others.
            let tried = panic::catch_unwind(AssertUnwindSafe(try_out));
            let tried = tried.unwrap_or_else(|_| Err("finding out what it can do panicked".into()));
            // The driver that is gone wants nothing more.
            let _ = tell.send((trial, tried));
        });
        if let Err(error) = spawned {
            let _ = self.tell.send((trial, Err(format!("a thread to try it on can't start: {error}"))));
        }
    }

    /// The next that has ended; cancel-safe.
    pub(crate) async fn next(&mut self) -> Tried {
        self.told.recv().await.expect("this holds a sending end")
    }
}
