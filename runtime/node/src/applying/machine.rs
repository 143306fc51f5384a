//! What the application is given to do, and the application itself as something that threads hand to one another.

use std::mem;
use std::time::{Duration, Instant};

use bytes::Bytes;
use concoord_consensus::application::HostFault;
use concoord_consensus::io::{Applied, Ask, ClientToken, Query, Question};
use concoord_consensus::objects::Objects;
use concoord_consensus::{Application, Snapshot};
use concoord_wire::Slot;
use concoord_wire::checkpoint::Checkpoint;
use concoord_wire::client::Response;
use concoord_wire::version::ClusterVersion;
use rustix::time::{ClockId, clock_gettime};

use crate::limits::{BEHIND_BYTES_MAX, HERE_BYTES_MAX};

/// Something for the application to do.
#[derive(Debug)]
pub(crate) enum Job {
    Apply {
        slot: Slot,
        batch: Bytes,
        replies: bool,
    },
    Query(Query),
    Ask(Question),
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
    /// A question may have no answer, or a later one.
    Respond {
        client: ClientToken,
        response: Option<Response>,
    },
    Snapshot {
        checkpoint: Checkpoint,
        state: Snapshot,
    },
    Restored {
        slot: Slot,
        version: ClusterVersion,
        watched: Vec<(ClientToken, Response)>,
    },
}

pub(crate) type Outputs = Vec<Output>;

/// The application and what runs the objects of a state that is restored.
pub(super) struct Machine<O, F> {
    pub(super) application: Application<O>,
    pub(super) objects: F,
}

/// The same for all threads that it is on.
pub(super) trait Carry: Send {
    /// Does a job, with as much gas as given for each input if that is given.
    ///
    /// # Errors
    /// Why this host can't go on.
    fn carry_out(&mut self, job: Job, gas: Option<u64>) -> Result<Carried, String>;
}

/// What came of a job.
#[derive(Debug)]
pub(super) enum Carried {
    Out(Output),
    /// It takes longer than it might, and has to be done next, without such a bound.
    Later(Job),
}

impl Job {
    /// Whether it is a call or a query that is likely to be short; large ones are not.
    pub(super) fn is_small(&self) -> bool {
        match self {
            Job::Apply { batch, .. } => batch.len() <= HERE_BYTES_MAX,
            Job::Query(query) => query.arguments.len() <= HERE_BYTES_MAX,
            Job::Ask(question) => !matches!(question.ask, Ask::Try { .. }),
            Job::Snapshot(_) | Job::Restore { .. } => false,
        }
    }

    /// Whether nobody waits for what comes of it, and it is likely to be short.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self, Job::Apply { replies: false, batch, .. } if batch.len() <= BEHIND_BYTES_MAX)
    }
}

/// Does jobs in order, each input within `gas`, until one needs more or `ends`: gives what came of them, and what is left.
///
/// # Errors
/// Why this host can't go on.
pub(super) fn carry_out_within(
    machine: &mut dyn Carry,
    jobs: Vec<Job>,
    gas: u64,
    ends: impl Fn() -> bool,
) -> Result<(Outputs, Vec<Job>), String> {
    let (mut outputs, mut left) = (Outputs::new(), Vec::new());
    let mut jobs = jobs.into_iter();
    while !ends()
        && left.is_empty()
        && let Some(job) = jobs.next()
    {
        match machine.carry_out(job, Some(gas))? {
            Carried::Out(output) => outputs.push(output),
            Carried::Later(job) => left.push(job),
        }
    }
    left.extend(jobs);
    Ok((outputs, left))
}

impl<O, F> Carry for Machine<O, F>
where
    O: Objects + Send,
    F: Fn() -> Result<O, String> + Send,
{
    fn carry_out(&mut self, job: Job, gas: Option<u64>) -> Result<Carried, String> {
        let application = &mut self.application;
        application.hurry(gas);
        Ok(Carried::Out(match job {
            Job::Apply { slot, ref batch, replies } => match application.apply(slot, batch, replies) {
                Ok(applied) => Output::Applied(applied),
                Err(HostFault::Later) => return Ok(Carried::Later(job)),
                Err(fault) => return Err(fault.to_string()),
            },
            Job::Query(query) => match application.query(&query) {
                Ok(response) => Output::Respond { client: query.client, response: Some(response) },
                Err(HostFault::Later) => return Ok(Carried::Later(Job::Query(query))),
                Err(fault) => return Err(fault.to_string()),
            },
            Job::Ask(question) => {
                let response = application.ask(&question).map_err(|fault| fault.to_string())?;
                Output::Respond { client: question.client, response }
            }
            Job::Snapshot(checkpoint) => {
                let (began, worked) = (Instant::now(), thread_time());
                let state = application.freeze().map_err(|fault| fault.to_string())?;
                tracing::debug!(
                    "calls waited {} us for the snapshot of {}, which took {} us of a processor",
                    began.elapsed().as_micros(),
                    checkpoint.slot,
                    thread_time().saturating_sub(worked).as_micros()
                );
                Output::Snapshot { checkpoint, state }
            }
            Job::Restore { slot, body } => {
                let restored = Application::restore(application.cluster(), (self.objects)()?, &body);
                let restored =
                    restored.map_err(|error| format!("the snapshot of slot {slot} can't be taken over: {error}"))?;
                let before = mem::replace(&mut self.application, restored);
                let watched = self.application.take_watchers(before);
                Output::Restored { slot, version: self.application.version(), watched }
            }
        }))
    }
}

/// What this thread has had of a processor.
fn thread_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}
