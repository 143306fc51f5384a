//! The two threads that the application may be on beside the driver's own: one for what somebody waits for, and one for the
//! rest, which gives way to everything else on the machine.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Instant;
use std::{mem, thread};

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::mpsc::UnboundedSender;

use super::machine::{Carried, Carry, Job, Outputs, carry_out_within};
use crate::error::NodeError;
use crate::limits::{APPLICATION_OUTPUT_WAIT_MAX, BEHIND_GAS_MAX, STACK_BYTES};
use crate::priority::ThreadId;

/// What goes to the thread ahead.
pub(super) enum Errand {
    /// Comes before any other.
    Take(Box<dyn Carry>),
    Jobs(Vec<Job>),
    /// The application is wanted at the driver.
    Return,
}

/// What comes from both.
pub(super) enum Done {
    Outputs(Outputs),
    /// The application, what came of the jobs that came with it, and what is left of them.
    Returned {
        machine: Box<dyn Carry>,
        outputs: Outputs,
        left: Vec<Job>,
    },
    /// It can't go on.
    Failed(NodeError),
}

/// Starts the thread ahead, which keeps the application until it is to return it. It ends when the other end is dropped, or
/// at a host fault.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn start_ahead(done: UnboundedSender<Done>) -> Result<mpsc::Sender<Errand>, NodeError> {
    let (errands, todo) = mpsc::channel();
    spawn("concoord-apply", done, move |done| {
        let mut machine: Option<Box<dyn Carry>> = None;
        while let Ok(errand) = todo.recv() {
            match errand {
                Errand::Take(taken) => machine = Some(taken),
                Errand::Jobs(jobs) => carry_out_all(machine.as_deref_mut().expect("it came before"), jobs, done)?,
                Errand::Return => {
                    let machine = machine.take().expect("it is returned once");
                    tell(done, Done::Returned { machine, outputs: Outputs::new(), left: Vec::new() });
                }
            }
        }
        Ok(())
    })?;
    Ok(errands)
}

fn carry_out_all(machine: &mut dyn Carry, jobs: Vec<Job>, done: &UnboundedSender<Done>) -> Result<(), String> {
    let mut outputs = Outputs::new();
    let mut since = Instant::now();
    for job in jobs {
        match machine.carry_out(job, None)? {
            Carried::Out(output) => outputs.push(output),
            Carried::Later(_) => unreachable!("nothing is bounded here"),
        }
        if since.elapsed() >= APPLICATION_OUTPUT_WAIT_MAX {
            tell(done, Done::Outputs(mem::take(&mut outputs)));
            since = Instant::now();
        }
    }
    if !outputs.is_empty() {
        tell(done, Done::Outputs(outputs));
    }
    Ok(())
}

/// The driver's end of the thread behind. Each burst brings the application along, and takes it back.
pub(super) struct Behind {
    bursts: Sender<Burst>,
    /// The thread's end too: what it has not begun is taken back there.
    todo: Receiver<Burst>,
    thread: Arc<OnceLock<ThreadId>>,
    /// Whether the thread takes part as others do.
    raised: bool,
    /// Whether the burst that it has begun is to end before its next job.
    called: Arc<AtomicBool>,
}

struct Burst {
    machine: Box<dyn Carry>,
    jobs: Vec<Job>,
}

impl Behind {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub(super) fn start(done: UnboundedSender<Done>) -> Result<Behind, NodeError> {
        let (bursts, todo) = crossbeam_channel::bounded::<Burst>(1);
        let (thread, called) = (Arc::new(OnceLock::new()), Arc::new(AtomicBool::new(false)));
        let behind =
            Behind { bursts, todo: todo.clone(), thread: thread.clone(), raised: false, called: called.clone() };
        spawn("concoord-behind", done, move |done| {
            let me = ThreadId::current();
            if let Err(error) = me.give_way() {
                tracing::debug!(%error, "the thread behind can't give way, and takes part as all others do");
            }
            let _ = thread.set(me);
            while let Ok(Burst { mut machine, jobs }) = todo.recv() {
                let ends = || called.load(Ordering::Relaxed);
                let (outputs, left) = carry_out_within(&mut *machine, jobs, BEHIND_GAS_MAX, ends)?;
                tell(done, Done::Returned { machine, outputs, left });
            }
            Ok(())
        })?;
        Ok(behind)
    }

    /// Hands the application over with a burst. What was handed over before has returned.
    pub(super) fn give(&mut self, machine: Box<dyn Carry>, jobs: Vec<Job>) {
        if mem::take(&mut self.raised)
            && let Some(thread) = self.thread.get()
        {
            // Anybody may.
            let _ = thread.give_way();
        }
        self.called.store(false, Ordering::Relaxed);
        // A thread that is gone has said why.
        let _ = self.bursts.send(Burst { machine, jobs });
    }

    /// The application is wanted back: gives it with the whole burst if that was not begun; else it returns after the job that it
    /// is at, and sooner where the thread may be raised.
    pub(super) fn call_back(&mut self) -> Option<(Box<dyn Carry>, Vec<Job>)> {
        if let Ok(Burst { machine, jobs }) = self.todo.try_recv() {
            return Some((machine, jobs));
        }
        self.called.store(true, Ordering::Relaxed);
        self.raised = self.thread.get().is_some_and(|thread| thread.take_part().is_ok());
        None
    }
}

fn tell(done: &UnboundedSender<Done>, news: Done) {
    // A driver that is gone wants nothing more.
    let _ = done.send(news);
}

fn spawn(
    name: &str,
    done: UnboundedSender<Done>,
    work: impl FnOnce(&UnboundedSender<Done>) -> Result<(), String> + Send + 'static,
) -> Result<(), NodeError> {
    let body = move || {
        if let Err(error) = caught(|| work(&done)) {
            tell(&done, Done::Failed(error));
        }
    };
    thread::Builder::new()
        .name(name.into())
        .stack_size(STACK_BYTES)
        .spawn(body)
        .map(drop)
        .map_err(|error| NodeError::HostFault { why: format!("its thread can't start: {error}") })
}

/// A panic ends the replica with its message, as a host fault does.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, NodeError> {
    match panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|why| NodeError::HostFault { why }),
        Err(panic) => Err(NodeError::ApplicationPanicked { message: message(panic.as_ref()) }),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
