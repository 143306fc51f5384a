//! The two threads that the application may be on beside the driver's own: one for what somebody waits for, and one for the
//! rest, which gives way to everything else on the machine.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread::{self, Thread};
use std::time::Instant;
use std::{mem, panic};

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
    desk: Arc<Desk>,
    thread: Thread,
    /// Whether the thread takes part as others do.
    raised: bool,
}

struct Burst {
    machine: Box<dyn Carry>,
    jobs: Vec<Job>,
}

/// What both ends share. The driver never waits here for the other thread, which may hardly get to run.
#[derive(Default)]
struct Desk {
    id: OnceLock<ThreadId>,
    /// A burst lies here. Who changes this to `false` takes it, and nobody else touches it.
    full: AtomicBool,
    burst: Mutex<Option<Burst>>,
    /// The burst that was taken is to end before its next job.
    called: AtomicBool,
    ended: AtomicBool,
}

impl Desk {
    fn put(&self, burst: Burst) {
        *self.burst.lock().unwrap_or_else(PoisonError::into_inner) = Some(burst);
        self.full.store(true, Ordering::Release);
    }

    fn take(&self) -> Option<Burst> {
        if self.full.swap(false, Ordering::AcqRel) {
            self.burst.lock().unwrap_or_else(PoisonError::into_inner).take()
        } else {
            None
        }
    }
}

impl Behind {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub(super) fn start(done: UnboundedSender<Done>) -> Result<Behind, NodeError> {
        let desk = Arc::new(Desk::default());
        let shared = Arc::clone(&desk);
        let thread = spawn("concoord-behind", done, move |done| carry_out_bursts(&shared, done))?;
        Ok(Behind { desk, thread, raised: false })
    }

    /// Hands the application over with a burst. What was handed over before has returned.
    pub(super) fn give(&mut self, machine: Box<dyn Carry>, jobs: Vec<Job>) {
        if mem::take(&mut self.raised)
            && let Some(id) = self.desk.id.get()
        {
            // Anybody may.
            let _ = id.give_way();
        }
        self.desk.called.store(false, Ordering::Relaxed);
        self.desk.put(Burst { machine, jobs });
        self.thread.unpark();
    }

    /// The application is wanted back: gives it with the whole burst if that was not begun; else it returns after the job that it
    /// is at, and sooner where the thread may be raised.
    pub(super) fn call_back(&mut self) -> Option<(Box<dyn Carry>, Vec<Job>)> {
        if let Some(Burst { machine, jobs }) = self.desk.take() {
            return Some((machine, jobs));
        }
        self.desk.called.store(true, Ordering::Relaxed);
        self.raised = self.desk.id.get().is_some_and(|id| id.take_part().is_ok());
        None
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.desk.ended.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

fn carry_out_bursts(desk: &Desk, done: &UnboundedSender<Done>) -> Result<(), String> {
    let me = ThreadId::current();
    if let Err(error) = me.give_way() {
        tracing::debug!(%error, "the thread behind can't give way, and takes part as all others do");
    }
    let _ = desk.id.set(me);
    while !desk.ended.load(Ordering::Relaxed) {
        let Some(Burst { mut machine, jobs }) = desk.take() else {
            thread::park();
            continue;
        };
        let ends = || desk.called.load(Ordering::Relaxed);
        let (outputs, left) = carry_out_within(&mut *machine, jobs, BEHIND_GAS_MAX, ends)?;
        tell(done, Done::Returned { machine, outputs, left });
    }
    Ok(())
}

fn tell(done: &UnboundedSender<Done>, news: Done) {
    // A driver that is gone wants nothing more.
    let _ = done.send(news);
}

fn spawn(
    name: &str,
    done: UnboundedSender<Done>,
    work: impl FnOnce(&UnboundedSender<Done>) -> Result<(), String> + Send + 'static,
) -> Result<Thread, NodeError> {
    let body = move || {
        if let Err(error) = caught(|| work(&done)) {
            tell(&done, Done::Failed(error));
        }
    };
    thread::Builder::new()
        .name(name.into())
        .stack_size(STACK_BYTES)
        .spawn(body)
        .map(|handle| handle.thread().clone())
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
