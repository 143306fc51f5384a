//! The application, on a thread of its own, so that a slow object delays no heartbeat and no promise.
//!
//! Jobs go there and outputs come back in bursts: one wake-up each way for everything that is at hand.
//!
//! Two wake-ups are also most of what a lone short call costs here. So while there is little to do and it is done fast, the
//! application comes over to the driver's own thread. It goes back with the first burst that is large, or of another kind
//! than calls and queries; and when one took long, for longer each time. What an object may take here is bounded: beyond
//! that, what it did is undone, and done again on the thread.

use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
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
use tokio::sync::mpsc as tokio_mpsc;
use tokio::task;

use crate::error::NodeError;
use crate::limits::{
    APPLICATION_BACKLOG_JOBS_MAX, APPLICATION_OUTPUT_WAIT_MAX, HERE_AFTER_BURSTS, HERE_AFTER_BURSTS_MAX,
    HERE_BYTES_MAX, HERE_GAS_MAX, HERE_JOBS_MAX, HERE_TIME_MAX, STACK_BYTES,
};

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

type Outputs = Vec<Output>;

/// The application and what runs the objects of a state that is restored.
struct Machine<O, F> {
    application: Application<O>,
    objects: F,
}

/// The same for the two threads that it is on.
trait Carry: Send {
    /// Does a job, with as much gas as given for each input if that is given.
    ///
    /// # Errors
    /// Why this host can't go on.
    fn carry_out(&mut self, job: Job, gas: Option<u64>) -> Result<Carried, String>;
}

/// What came of a job.
#[derive(Debug)]
enum Carried {
    Out(Output),
    /// It takes longer than it might, and has to be done next, without such a bound.
    Later(Job),
}

/// What goes to the thread.
enum Errand {
    /// Comes before any other.
    Take(Box<dyn Carry>),
    Jobs(Vec<Job>),
    /// The application is wanted at the driver.
    Return,
}

/// What comes from it.
enum Done {
    Outputs(Outputs),
    Returned(Box<dyn Carry>),
}

/// The driver's end of the application's thread, and the application itself while it is here.
pub(crate) struct Applying {
    errands: mpsc::Sender<Errand>,
    done: tokio_mpsc::UnboundedReceiver<Done>,
    gathered: Vec<Job>,
    /// Jobs handed over whose output has not come back.
    backlog: usize,
    thread: Option<JoinHandle<Result<(), String>>>,
    place: Place,
    /// Bursts in a row that could have been done here.
    small_bursts: usize,
    /// After how many of those it comes over.
    wanted_bursts: usize,
}

/// Where the application is.
enum Place {
    There,
    /// On its way over. What is handed over waits for it.
    Coming(Vec<Job>),
    Here {
        machine: Box<dyn Carry>,
        jobs: Vec<Job>,
        /// Whether everything else on this thread had its turn since the jobs were handed over.
        yielded: bool,
    },
}

impl Job {
    /// Whether it is a call or a query that is likely to be short; large ones are not.
    fn is_small(&self) -> bool {
        match self {
            Job::Apply { batch, .. } => batch.len() <= HERE_BYTES_MAX,
            Job::Query(query) => query.arguments.len() <= HERE_BYTES_MAX,
            Job::Ask(question) => !matches!(question.ask, Ask::Try { .. }),
            Job::Snapshot(_) | Job::Restore { .. } => false,
        }
    }
}

impl Applying {
    /// Starts the thread. `objects` gives whoever runs the objects of a state that is restored.
    pub(crate) fn start<O: Objects + Send + 'static>(
        application: Application<O>,
        objects: impl Fn() -> Result<O, String> + Send + 'static,
    ) -> Result<Applying, NodeError> {
        Applying::start_with(Box::new(Machine { application, objects }))
    }

    fn start_with(machine: Box<dyn Carry>) -> Result<Applying, NodeError> {
        let (errands, todo) = mpsc::channel();
        let (told, done) = tokio_mpsc::unbounded_channel();
        let thread = thread::Builder::new()
            .name("concoord-apply".into())
            .stack_size(STACK_BYTES)
            .spawn(move || run(&todo, &told))
            .map_err(|error| NodeError::HostFault { why: format!("its thread can't start: {error}") })?;
        let applying = Applying {
            errands,
            done,
            gathered: Vec::new(),
            backlog: 0,
            thread: Some(thread),
            place: Place::There,
            small_bursts: 0,
            wanted_bursts: HERE_AFTER_BURSTS,
        };
        applying.send(Errand::Take(machine));
        Ok(applying)
    }

    fn send(&self, errand: Errand) {
        // A thread that is gone shows at its outputs.
        let _ = self.errands.send(errand);
    }

    /// Keeps a job for the next [`Applying::hand_over`].
    pub(crate) fn gather(&mut self, job: Job) {
        self.gathered.push(job);
    }

    /// Hands over everything gathered, with one wake-up or none.
    pub(crate) fn hand_over(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        self.backlog += self.gathered.len();
        let mut gathered = mem::take(&mut self.gathered);
        let small = self.backlog <= HERE_JOBS_MAX && gathered.iter().all(Job::is_small);
        self.small_bursts = if small { self.small_bursts + 1 } else { 0 };
        match &mut self.place {
            Place::There => {
                self.send(Errand::Jobs(gathered));
                if self.small_bursts >= self.wanted_bursts {
                    self.send(Errand::Return);
                    self.place = Place::Coming(Vec::new());
                }
            }
            Place::Coming(jobs) => jobs.append(&mut gathered),
            Place::Here { jobs, yielded, .. } => {
                jobs.append(&mut gathered);
                *yielded = false;
                if !small {
                    self.send_away();
                }
            }
        }
    }

    /// The application goes back to its thread, with what is to do.
    fn send_away(&mut self) {
        if let Place::Here { machine, jobs, .. } = mem::replace(&mut self.place, Place::There) {
            self.small_bursts = 0;
            self.send(Errand::Take(machine));
            self.send(Errand::Jobs(jobs));
        }
    }

    /// Whether so much is handed over that no more clients should be heard for now.
    pub(crate) fn is_full(&self) -> bool {
        self.backlog >= APPLICATION_BACKLOG_JOBS_MAX
    }

    /// The next outputs; cancel-safe. What is to do here is done after everything else on this thread had its turn, as
    /// messages on their way out are waited for elsewhere.
    ///
    /// # Errors
    /// Why the application can't go on.
    pub(crate) async fn next(&mut self) -> Result<Outputs, NodeError> {
        loop {
            if let Place::Here { jobs, yielded, .. } = &mut self.place
                && !jobs.is_empty()
            {
                if !mem::replace(yielded, true) {
                    task::yield_now().await;
                }
                let outputs = self.do_here()?;
                if outputs.is_empty() {
                    continue;
                }
                return Ok(outputs);
            }
            let Some(done) = self.done.recv().await else { return Err(self.failure()) };
            if let Some(outputs) = self.taken(done) {
                return Ok(outputs);
            }
        }
    }

    /// Outputs that are at hand.
    pub(crate) fn try_next(&mut self) -> Option<Outputs> {
        while let Ok(done) = self.done.try_recv() {
            if let Some(outputs) = self.taken(done) {
                return Some(outputs);
            }
        }
        None
    }

    fn taken(&mut self, done: Done) -> Option<Outputs> {
        match done {
            Done::Outputs(outputs) => {
                self.backlog -= outputs.len();
                Some(outputs)
            }
            Done::Returned(machine) => {
                let Place::Coming(jobs) = mem::replace(&mut self.place, Place::There) else {
                    unreachable!("it comes when it was asked to")
                };
                let small = jobs.len() <= HERE_JOBS_MAX && jobs.iter().all(Job::is_small);
                self.place = Place::Here { machine, jobs, yielded: true };
                if !small {
                    self.send_away();
                }
                None
            }
        }
    }

    fn do_here(&mut self) -> Result<Outputs, NodeError> {
        let Place::Here { machine, jobs, .. } = &mut self.place else { return Ok(Outputs::new()) };
        let began = Instant::now();
        // As its thread would: a panic ends the replica with its message.
        let done = panic::catch_unwind(AssertUnwindSafe(|| {
            let mut outputs = Outputs::new();
            let mut rest = mem::take(jobs).into_iter();
            while let Some(job) = rest.next() {
                match machine.carry_out(job, Some(HERE_GAS_MAX))? {
                    Carried::Out(output) => outputs.push(output),
                    Carried::Later(job) => jobs.push(job),
                }
                if !jobs.is_empty() {
                    jobs.extend(&mut rest);
                }
            }
            Ok(outputs)
        }));
        let done = done.map_err(|panic| NodeError::ApplicationPanicked { message: message(panic.as_ref()) })?;
        let outputs: Outputs = done.map_err(|why| NodeError::HostFault { why })?;
        self.backlog -= outputs.len();
        if began.elapsed() > HERE_TIME_MAX || !jobs.is_empty() {
            self.wanted_bursts = (2 * self.wanted_bursts).min(HERE_AFTER_BURSTS_MAX);
            self.send_away();
        }
        Ok(outputs)
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
fn run(todo: &mpsc::Receiver<Errand>, done: &tokio_mpsc::UnboundedSender<Done>) -> Result<(), String> {
    let mut machine: Option<Box<dyn Carry>> = None;
    while let Ok(errand) = todo.recv() {
        // The driver that is gone wants nothing more.
        let _ = match errand {
            Errand::Take(taken) => {
                machine = Some(taken);
                Ok(())
            }
            Errand::Return => done.send(Done::Returned(machine.take().expect("it is returned once"))),
            Errand::Jobs(jobs) => carry_out_all(machine.as_deref_mut().expect("it came before"), jobs, done)?,
        };
    }
    Ok(())
}

type Sent = Result<(), tokio_mpsc::error::SendError<Done>>;

fn carry_out_all(
    machine: &mut dyn Carry,
    jobs: Vec<Job>,
    done: &tokio_mpsc::UnboundedSender<Done>,
) -> Result<Sent, String> {
    let mut outputs = Outputs::new();
    let mut since = Instant::now();
    for job in jobs {
        match machine.carry_out(job, None)? {
            Carried::Out(output) => outputs.push(output),
            Carried::Later(_) => unreachable!("nothing is bounded here"),
        }
        if since.elapsed() >= APPLICATION_OUTPUT_WAIT_MAX {
            let _ = done.send(Done::Outputs(mem::take(&mut outputs)));
            since = Instant::now();
        }
    }
    Ok(if outputs.is_empty() { Ok(()) } else { done.send(Done::Outputs(outputs)) })
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use concoord_executor::Executor;
    use concoord_wire::value::Batch;
    use concoord_wire::{ClusterId, Timestamp, codec};
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

    /// A machine that takes long for some slots and says on which thread each was done.
    struct Slow {
        slots: Vec<u64>,
        /// Slots for which there is never enough gas.
        long: Vec<u64>,
        threads: std::sync::mpsc::Sender<bool>,
    }

    impl Carry for Slow {
        fn carry_out(&mut self, job: Job, gas: Option<u64>) -> Result<Carried, String> {
            let Job::Apply { slot, .. } = job else { return Err("only slots here".into()) };
            if gas.is_some() && self.long.contains(&slot.0) {
                return Ok(Carried::Later(job));
            }
            if self.slots.contains(&slot.0) {
                thread::sleep(2 * HERE_TIME_MAX);
            }
            let there = thread::current().name() == Some("concoord-apply");
            self.threads.send(!there).expect("the test listens");
            Ok(Carried::Out(Output::Applied(Applied {
                slot,
                stamp: Timestamp(0),
                replies: Vec::new(),
                notices: Vec::new(),
                watched: Vec::new(),
                check: None,
                version: ClusterVersion::FIRST,
                due: None,
            })))
        }
    }

    /// Hands over one slot after another and waits for each; gives which of them were done on this thread.
    async fn done_here(applying: &mut Applying, done: &mpsc::Receiver<bool>, slots: std::ops::Range<u64>) -> Vec<u64> {
        let mut here = Vec::new();
        for slot in slots {
            applying.gather(apply(slot, Vec::new()));
            applying.hand_over();
            let outputs = next(applying).await.expect("all is well");
            assert!(matches!(&outputs[..], [Output::Applied(applied)] if applied.slot == Slot(slot)), "{outputs:?}");
            if done.recv().expect("it was done") {
                here.push(slot);
            }
        }
        here
    }

    #[tokio::test]
    async fn short_calls_come_over_and_long_or_large_ones_go_back() {
        let (threads, done) = mpsc::channel();
        let (first, wanted) = (1, HERE_AFTER_BURSTS as u64);
        // Some time after it came over.
        let slow = first + wanted + 10;
        let mut applying =
            Applying::start_with(Box::new(Slow { slots: vec![slow], long: vec![], threads })).expect("a thread");

        let here = done_here(&mut applying, &done, first..slow).await;
        assert_eq!(here, (first + wanted..slow).collect::<Vec<_>>(), "after {wanted} small bursts");
        let again = slow + 1;
        let here = done_here(&mut applying, &done, slow..again + 2 * wanted + 5).await;
        let expected = std::iter::once(slow).chain(again + 2 * wanted..again + 2 * wanted + 5).collect::<Vec<_>>();
        assert_eq!(here, expected, "the slow one itself, and others after twice as many");

        let large = again + 2 * wanted + 5;
        applying.gather(apply(large, vec![0; HERE_BYTES_MAX + 1]));
        applying.hand_over();
        next(&mut applying).await.expect("all is well");
        assert!(!done.recv().expect("it was done"), "a large one is done there");
        assert_eq!(applying.backlog, 0);
    }

    #[tokio::test]
    async fn what_needs_more_gas_than_there_is_here_is_done_there_with_all_behind_it() {
        let (threads, done) = mpsc::channel();
        let first = 1 + HERE_AFTER_BURSTS as u64;
        let mut applying =
            Applying::start_with(Box::new(Slow { slots: vec![], long: vec![first + 1], threads })).expect("a thread");
        done_here(&mut applying, &done, 1..first).await;
        for slot in first..first + 4 {
            applying.gather(apply(slot, Vec::new()));
        }
        applying.hand_over();
        let mut slots = Vec::new();
        while applying.backlog > 0 {
            for output in next(&mut applying).await.expect("all is well") {
                let Output::Applied(applied) = output else { panic!("only slots here") };
                slots.push((applied.slot.0 - first, done.recv().expect("it was done")));
            }
        }
        assert_eq!(slots, [(0, true), (1, false), (2, false), (3, false)]);
    }

    #[tokio::test]
    async fn what_is_handed_over_while_it_comes_waits_and_keeps_its_order() {
        let (threads, _done) = mpsc::channel();
        let mut applying =
            Applying::start_with(Box::new(Slow { slots: vec![], long: vec![], threads })).expect("a thread");
        applying.small_bursts = HERE_AFTER_BURSTS;
        let mut slots = Vec::new();
        for slot in 1..=20 {
            applying.gather(apply(slot, Vec::new()));
            applying.hand_over();
        }
        while applying.backlog > 0 {
            for output in next(&mut applying).await.expect("all is well") {
                let Output::Applied(applied) = output else { panic!("only slots here") };
                slots.push(applied.slot.0);
            }
        }
        assert_eq!(slots, (1..=20).collect::<Vec<_>>());
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
