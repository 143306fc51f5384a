//! The application, on threads of its own, so that a slow object delays no heartbeat and no promise.
//!
//! Jobs go there and outputs come back in bursts: one wake-up each way for everything that is at hand.
//!
//! It moves, with all its state, between three threads:
//!
//! * *Ahead* is where it does what somebody waits for, and all that takes long.
//! * *Here*, on the driver's own thread, is where it is while there is little to do and it is done fast: two wake-ups are most
//!   of what a lone short call costs.
//! * *Behind* is a thread that gives way to all others of the machine. A follower applies there what nobody waits for, and so
//!   takes no time from the log and the network, on which calls do wait.
//!
//! What an object may take here and behind is bounded: beyond that, what it did is undone, and done again elsewhere. When that
//! happens, or something here took long, or something behind got no turn, it keeps away for a while, and for longer each time.

mod machine;
#[cfg(test)]
mod tests;
mod threads;

use std::mem;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use concoord_consensus::Application;
use concoord_consensus::objects::Objects;
use tokio::sync::mpsc as tokio_mpsc;
use tokio::task;

use self::machine::{Carry, Machine, carry_out_within};
pub(crate) use self::machine::{Job, Output, Outputs};
use self::threads::{Behind, Done, Errand, caught, start_ahead};
use crate::error::NodeError;
use crate::limits::{
    APPLICATION_BACKLOG_JOBS_MAX, BEHIND_AFTER_BURSTS, BEHIND_JOBS_MAX, BEHIND_WAIT_MAX, ELSEWHERE_AFTER_BURSTS_MAX,
    ELSEWHERE_WELL_BURSTS, HERE_AFTER_BURSTS, HERE_GAS_MAX, HERE_JOBS_MAX, HERE_TIME_MAX,
};

/// The driver's end of the application's threads, and the application itself while it is here.
pub(crate) struct Applying {
    ahead: mpsc::Sender<Errand>,
    behind: Behind,
    done: tokio_mpsc::UnboundedReceiver<Done>,
    gathered: Vec<Job>,
    /// Jobs handed over whose output has not come back.
    backlog: usize,
    place: Place,
    /// Bursts that could have been done here.
    small: Streak,
    /// Bursts that could have been done behind.
    quiet: Streak,
    /// How long a burst may be behind: [`BEHIND_WAIT_MAX`].
    late_after: Duration,
    failed: Option<NodeError>,
}

/// Where the application is.
enum Place {
    Ahead,
    /// On its way over from ahead. What is handed over waits for it.
    Coming(Vec<Job>),
    /// With a burst of jobs. What is handed over waits for it.
    Behind {
        waiting: Vec<Job>,
        since: Instant,
        called: bool,
    },
    Here {
        machine: Box<dyn Carry>,
        jobs: Vec<Job>,
        /// Whether everything else on this thread had its turn since the jobs were handed over.
        yielded: bool,
    },
}

/// How many bursts in a row could have been done elsewhere, and after how many they are.
struct Streak {
    seen: usize,
    wanted: usize,
    wanted_min: usize,
    /// Bursts that went well since `wanted` changed.
    well: usize,
}

impl Streak {
    fn of(wanted: usize) -> Streak {
        Streak { seen: 0, wanted, wanted_min: wanted, well: 0 }
    }

    fn note(&mut self, could: bool) {
        self.seen = if could { self.seen + 1 } else { 0 };
    }

    fn is_long(&self) -> bool {
        self.seen >= self.wanted
    }

    /// It did not go well: begins again, and takes twice as many.
    fn put_off(&mut self) {
        let wanted = (2 * self.wanted).min(ELSEWHERE_AFTER_BURSTS_MAX);
        *self = Streak { seen: 0, wanted, well: 0, ..*self };
    }

    /// It went well; after many times it takes half as many again.
    fn went_well(&mut self) {
        self.well += 1;
        if self.well == ELSEWHERE_WELL_BURSTS {
            self.wanted = (self.wanted / 2).max(self.wanted_min);
            self.well = 0;
        }
    }
}

impl Applying {
    /// Starts the threads. `objects` gives whoever runs the objects of a state that is restored.
    pub(crate) fn start<O: Objects + Send + 'static>(
        application: Application<O>,
        objects: impl Fn() -> Result<O, String> + Send + 'static,
    ) -> Result<Applying, NodeError> {
        Applying::start_with(Box::new(Machine { application, objects }))
    }

    fn start_with(machine: Box<dyn Carry>) -> Result<Applying, NodeError> {
        let (told, done) = tokio_mpsc::unbounded_channel();
        let applying = Applying {
            ahead: start_ahead(told.clone())?,
            behind: Behind::start(told)?,
            done,
            gathered: Vec::new(),
            backlog: 0,
            place: Place::Ahead,
            small: Streak::of(HERE_AFTER_BURSTS),
            quiet: Streak::of(BEHIND_AFTER_BURSTS),
            late_after: BEHIND_WAIT_MAX,
            failed: None,
        };
        applying.send_ahead(Errand::Take(machine));
        Ok(applying)
    }

    fn send_ahead(&self, errand: Errand) {
        // A thread that is gone has said why.
        let _ = self.ahead.send(errand);
    }

    /// Keeps a job for the next [`Applying::hand_over`].
    pub(crate) fn gather(&mut self, job: Job) {
        self.gathered.push(job);
    }

    /// Hands over everything gathered, with one wake-up or none. A replica that `leads` lets nothing wait behind. Comes
    /// with each burst, also without anything gathered: what waits for too long behind is noticed here.
    pub(crate) fn hand_over(&mut self, leads: bool) {
        let mut gathered = mem::take(&mut self.gathered);
        self.backlog += gathered.len();
        if !gathered.is_empty() {
            self.small.note(self.backlog <= HERE_JOBS_MAX && gathered.iter().all(Job::is_small));
            self.quiet.note(self.backlog <= BEHIND_JOBS_MAX && gathered.iter().all(Job::is_quiet));
        }
        if leads {
            self.quiet.note(false);
        }
        match &mut self.place {
            Place::Ahead if gathered.is_empty() => {}
            Place::Ahead => {
                self.send_ahead(Errand::Jobs(gathered));
                if self.small.is_long() || self.quiet.is_long() {
                    self.send_ahead(Errand::Return);
                    self.place = Place::Coming(Vec::new());
                }
            }
            Place::Coming(jobs) => jobs.append(&mut gathered),
            Place::Behind { waiting, since, called } => {
                waiting.append(&mut gathered);
                if !*called && (self.quiet.seen == 0 || since.elapsed() > self.late_after) {
                    *called = true;
                    if let Some((machine, jobs)) = self.behind.call_back() {
                        self.on_returned(machine, jobs);
                    }
                }
            }
            Place::Here { .. } if gathered.is_empty() => {}
            Place::Here { jobs, yielded, .. } => {
                jobs.append(&mut gathered);
                *yielded = false;
                if !self.may_stay() {
                    self.send_away();
                }
            }
        }
    }

    /// Whether what is to do here may be done here.
    fn may_stay(&self) -> bool {
        let Place::Here { jobs, .. } = &self.place else { return false };
        jobs.is_empty() || (self.small.is_long() && jobs.len() <= HERE_JOBS_MAX && jobs.iter().all(Job::is_small))
    }

    /// The application goes to another thread, with what is to do.
    fn send_away(&mut self) {
        let Place::Here { machine, jobs, .. } = mem::replace(&mut self.place, Place::Ahead) else { return };
        if self.quiet.is_long() && jobs.iter().all(Job::is_quiet) {
            self.behind.give(machine, jobs);
            self.place = Place::Behind { waiting: Vec::new(), since: Instant::now(), called: false };
        } else {
            self.send_ahead(Errand::Take(machine));
            self.send_ahead(Errand::Jobs(jobs));
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
            if let Some(failed) = self.failed.take() {
                return Err(failed);
            }
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
            let done = self.done.recv().await.expect("the threads end after this");
            if let Some(outputs) = self.taken(done) {
                return Ok(outputs);
            }
        }
    }

    /// Outputs that are at hand.
    pub(crate) fn try_next(&mut self) -> Option<Outputs> {
        // Not `try_recv`, which waits for a sender that is interrupted, and the thread behind may be so for long.
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(done)) = self.done.poll_recv(&mut context) {
            if let Some(outputs) = self.taken(done) {
                return Some(outputs);
            }
        }
        None
    }

    fn taken(&mut self, done: Done) -> Option<Outputs> {
        let outputs = match done {
            Done::Outputs(outputs) => outputs,
            Done::Returned { machine, outputs, left } => {
                self.on_returned(machine, left);
                outputs
            }
            Done::Failed(error) => {
                self.failed = Some(error);
                return None;
            }
        };
        self.backlog -= outputs.len();
        (!outputs.is_empty()).then_some(outputs)
    }

    fn on_returned(&mut self, machine: Box<dyn Carry>, left: Vec<Job>) {
        let mut jobs = left;
        match mem::replace(&mut self.place, Place::Ahead) {
            Place::Coming(waiting) => jobs.extend(waiting),
            Place::Behind { waiting, since, called } => {
                // It got no turn, or something in it needs more than there is.
                if since.elapsed() > self.late_after || !(called || jobs.is_empty()) {
                    self.quiet.put_off();
                } else if !called {
                    self.quiet.went_well();
                }
                jobs.extend(waiting);
            }
            Place::Ahead | Place::Here { .. } => unreachable!("it comes when it was asked to"),
        }
        self.place = Place::Here { machine, jobs, yielded: false };
        if !self.may_stay() {
            self.send_away();
        }
    }

    fn do_here(&mut self) -> Result<Outputs, NodeError> {
        let Place::Here { machine, jobs, .. } = &mut self.place else { return Ok(Outputs::new()) };
        let began = Instant::now();
        let todo = mem::take(jobs);
        let (outputs, left) = caught(|| carry_out_within(&mut **machine, todo, HERE_GAS_MAX, || false))?;
        *jobs = left;
        self.backlog -= outputs.len();
        if began.elapsed() > HERE_TIME_MAX || !jobs.is_empty() {
            self.small.put_off();
            self.quiet.note(false);
            self.send_away();
        } else {
            self.small.went_well();
        }
        Ok(outputs)
    }
}
