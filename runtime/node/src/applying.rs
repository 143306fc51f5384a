//! The application on a thread of its own, so that a slow object delays no heartbeat and no promise.
//!
//! Jobs go there and outputs come back in bursts: one wake-up each way for everything that is at hand.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use bytes::Bytes;
use concoord_consensus::Application;
use concoord_consensus::application::HostFault;
use concoord_consensus::io::{Applied, ClientToken, Query};
use concoord_consensus::objects::Objects;
use concoord_wire::Slot;
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::client::Response;
use tokio::sync::mpsc as tokio_mpsc;

use crate::error::NodeError;
use crate::limits::{APPLICATION_BACKLOG_JOBS_MAX, APPLICATION_OUTPUT_WAIT_MAX, APPLICATION_STACK_BYTES};

/// Something for the application to do.
#[derive(Debug)]
pub(crate) enum Job {
    Apply {
        slot: Slot,
        batch: Bytes,
        replies: bool,
    },
    Query(Query),
    Describe {
        client: ClientToken,
        request: u64,
        name: Option<String>,
    },
    /// The state as a snapshot.
    Snapshot(Checkpoint),
    /// Goes on from a snapshot that was received.
    Restore {
        slot: Slot,
        body: Vec<u8>,
    },
}

/// What the application has to say. Each job makes one.
#[derive(Debug)]
pub(crate) enum Output {
    Applied(Applied),
    Respond { client: ClientToken, response: Response },
    Snapshot { checkpoint: Checkpoint, body: Bytes },
    Restored { slot: Slot },
}

type Outputs = Vec<Output>;

/// The driver's end of the application's thread.
#[derive(Debug)]
pub(crate) struct Applying {
    jobs: mpsc::Sender<Vec<Job>>,
    outputs: tokio_mpsc::UnboundedReceiver<Outputs>,
    gathered: Vec<Job>,
    /// Jobs handed over whose output has not come back.
    backlog: usize,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Applying {
    /// Starts the thread. `objects` gives whoever runs the objects of a state that is restored.
    pub(crate) fn start<O: Objects + Send + 'static>(
        application: Application<O>,
        objects: impl Fn() -> Result<O, String> + Send + 'static,
    ) -> Result<Applying, NodeError> {
        let (jobs, todo) = mpsc::channel();
        let (done, outputs) = tokio_mpsc::unbounded_channel();
        let thread = thread::Builder::new()
            .name("concoord-apply".into())
            .stack_size(APPLICATION_STACK_BYTES)
            .spawn(move || run(application, &objects, &todo, &done))
            .map_err(|error| NodeError::HostFault { why: format!("its thread can't start: {error}") })?;
        Ok(Applying { jobs, outputs, gathered: Vec::new(), backlog: 0, thread: Some(thread) })
    }

    /// Keeps a job for the next [`Applying::hand_over`].
    pub(crate) fn gather(&mut self, job: Job) {
        self.gathered.push(job);
    }

    /// Gives the thread everything gathered, with one wake-up.
    pub(crate) fn hand_over(&mut self) {
        if !self.gathered.is_empty() {
            self.backlog += self.gathered.len();
            // A thread that is gone shows at its outputs.
            let _ = self.jobs.send(std::mem::take(&mut self.gathered));
        }
    }

    /// Whether so much is handed over that no more clients should be heard for now.
    pub(crate) fn is_full(&self) -> bool {
        self.backlog >= APPLICATION_BACKLOG_JOBS_MAX
    }

    /// The next outputs; cancel-safe.
    ///
    /// # Errors
    /// Why the thread ended.
    pub(crate) async fn next(&mut self) -> Result<Outputs, NodeError> {
        match self.outputs.recv().await {
            Some(outputs) => Ok(self.taken(outputs)),
            None => Err(self.failure()),
        }
    }

    /// Outputs that are at hand.
    pub(crate) fn try_next(&mut self) -> Option<Outputs> {
        let outputs = self.outputs.try_recv().ok()?;
        Some(self.taken(outputs))
    }

    fn taken(&mut self, outputs: Outputs) -> Outputs {
        self.backlog -= outputs.len();
        outputs
    }

    /// Why the thread ended; it has dropped its end of the outputs, so waiting for it is short.
    fn failure(&mut self) -> NodeError {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(why))) => NodeError::HostFault { why },
            Some(Err(panic)) => NodeError::ApplicationPanicked { message: message(panic.as_ref()) },
            Some(Ok(Ok(()))) | None => unreachable!("the thread ends by itself only when the driver's end is dropped"),
        }
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

/// The thread: ends when the driver has dropped its end, or at a host fault.
fn run<O: Objects>(
    mut application: Application<O>,
    objects: &dyn Fn() -> Result<O, String>,
    todo: &mpsc::Receiver<Vec<Job>>,
    done: &tokio_mpsc::UnboundedSender<Outputs>,
) -> Result<(), String> {
    while let Ok(jobs) = todo.recv() {
        let mut outputs = Outputs::new();
        let mut since = Instant::now();
        for job in jobs {
            outputs.push(match job {
                Job::Restore { slot, body } => {
                    application = restore(&application, objects, slot, &body)?;
                    Output::Restored { slot }
                }
                job => carry_out(&mut application, job).map_err(|fault| fault.to_string())?,
            });
            if since.elapsed() >= APPLICATION_OUTPUT_WAIT_MAX {
                // The driver that is gone wants nothing more.
                let _ = done.send(std::mem::take(&mut outputs));
                since = Instant::now();
            }
        }
        if !outputs.is_empty() {
            let _ = done.send(outputs);
        }
    }
    Ok(())
}

fn restore<O: Objects>(
    before: &Application<O>,
    objects: &dyn Fn() -> Result<O, String>,
    slot: Slot,
    body: &[u8],
) -> Result<Application<O>, String> {
    let refused = |why: &dyn std::fmt::Display| format!("the snapshot of slot {slot} can't be taken over: {why}");
    Application::restore(before.cluster(), objects()?, body).map_err(|error| refused(&error))
}

fn carry_out<O: Objects>(application: &mut Application<O>, job: Job) -> Result<Output, HostFault> {
    Ok(match job {
        Job::Apply { slot, batch, replies } => Output::Applied(application.apply(slot, &batch, replies)?),
        Job::Query(query) => Output::Respond { client: query.client, response: application.query(query)? },
        Job::Describe { client, request, name } => {
            Output::Respond { client, response: application.describe(request, name.as_deref()) }
        }
        Job::Snapshot(checkpoint) => Output::Snapshot { checkpoint, body: application.snapshot()?.into() },
        Job::Restore { .. } => unreachable!("restoring makes another application"),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use concoord_executor::Executor;
    use concoord_wire::value::Batch;
    use concoord_wire::{ClusterId, codec};
    use tokio::time::timeout;

    use super::*;

    fn start() -> Applying {
        let executor = Executor::new().expect("this host runs Wasm");
        let again = || Executor::new().map_err(|error| error.to_string());
        Applying::start(Application::new(ClusterId(1), executor), again).expect("a thread")
    }

    fn apply(slot: u64, batch: Vec<u8>) -> Job {
        Job::Apply { slot: Slot(slot), batch: batch.into(), replies: true }
    }

    async fn next(applying: &mut Applying) -> Result<Outputs, NodeError> {
        timeout(Duration::from_secs(10), applying.next()).await.expect("an output or the end")
    }

    #[tokio::test]
    async fn each_job_makes_one_output_in_order_and_the_backlog_is_what_is_missing() {
        let mut applying = start();
        let empty = || codec::to_bytes(&Batch::default());
        applying.gather(apply(1, empty()));
        applying.gather(apply(4, empty()));
        assert_eq!(applying.backlog, 0, "not handed over yet");
        applying.hand_over();
        assert_eq!(applying.backlog, 2);
        let mut slots = Vec::new();
        while applying.backlog > 0 {
            for output in next(&mut applying).await.expect("all is well") {
                match output {
                    Output::Applied(applied) => slots.push(applied.slot),
                    other => panic!("nobody asked for {other:?}"),
                }
            }
        }
        assert_eq!(slots, [Slot(1), Slot(4)]);
    }

    #[tokio::test]
    async fn a_host_fault_ends_the_replica_and_not_only_the_thread() {
        let mut applying = start();
        applying.gather(apply(1, vec![0xff]));
        applying.hand_over();
        let error = next(&mut applying).await.expect_err("it is no batch");
        assert!(matches!(&error, NodeError::HostFault { why } if why.contains("slot 1")), "{error}");
    }

    #[tokio::test]
    async fn a_panic_while_applying_ends_the_replica_with_its_message() {
        let mut applying = start();
        let empty = || codec::to_bytes(&Batch::default());
        applying.gather(apply(2, empty()));
        applying.gather(apply(1, empty()));
        applying.hand_over();
        let error = next(&mut applying).await.expect_err("slots only rise");
        assert!(error.to_string().starts_with("applying panicked: slot 1 after slot 2"), "{error}");
    }
}
