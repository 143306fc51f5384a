use std::thread;
use std::time::Duration;

use concoord_consensus::io::Applied;
use concoord_executor::Executor;
use concoord_wire::value::Batch;
use concoord_wire::version::ClusterVersion;
use concoord_wire::{ClusterId, Slot, Timestamp, codec};
use tokio::time::timeout;

use super::machine::Carried;
use super::*;
use crate::limits::{BEHIND_BYTES_MAX, HERE_BYTES_MAX};

fn start() -> Applying {
    let executor = Executor::new().expect("this host runs Wasm");
    let again = || Executor::new().map_err(|error| error.to_string());
    Applying::start(Application::new(ClusterId(1), executor), again).expect("a thread")
}

/// Somebody waits for it.
fn apply(slot: u64, batch: Vec<u8>) -> Job {
    Job::Apply { slot: Slot(slot), batch: batch.into(), replies: true }
}

/// Nobody waits for it, and it is too large for the driver's thread.
fn quiet(slot: u64) -> Job {
    Job::Apply { slot: Slot(slot), batch: vec![0; HERE_BYTES_MAX + 1].into(), replies: false }
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
    applying.hand_over(true);
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Ahead,
    Behind,
    Here,
}

impl On {
    fn this_thread() -> On {
        match thread::current().name() {
            Some("concoord-apply") => On::Ahead,
            Some("concoord-behind") => On::Behind,
            _ => On::Here,
        }
    }
}

/// A machine that says of each slot on which thread it was done.
struct Machine {
    /// A slot that takes long for the driver's thread.
    slow: u64,
    /// Slots for which there is never enough gas.
    long: Vec<u64>,
    /// A slot that says when it begins, and waits.
    held: u64,
    begins: mpsc::Sender<()>,
    goes_on: mpsc::Receiver<()>,
    done: mpsc::Sender<(u64, On)>,
}

impl Carry for Machine {
    fn carry_out(&mut self, job: Job, gas: Option<u64>) -> Result<Carried, String> {
        let Job::Apply { slot, .. } = job else { return Err("only slots here".into()) };
        if gas.is_some() && self.long.contains(&slot.0) {
            return Ok(Carried::Later(job));
        }
        if self.slow == slot.0 {
            thread::sleep(2 * HERE_TIME_MAX);
        }
        if self.held == slot.0 {
            self.begins.send(()).expect("the test listens");
            self.goes_on.recv().expect("the test goes on");
        }
        self.done.send((slot.0, On::this_thread())).expect("the test listens");
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

/// Its driver's end, and where each slot was done.
struct Watched {
    applying: Applying,
    done: mpsc::Receiver<(u64, On)>,
    begun: mpsc::Receiver<()>,
    go_on: mpsc::Sender<()>,
}

impl Watched {
    fn start(slow: u64, long: &[u64], held: u64) -> Watched {
        let (tell, done) = mpsc::channel();
        let (begins, begun) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel();
        let machine = Machine { slow, long: long.to_vec(), held, begins, goes_on, done: tell };
        let mut applying = Applying::start_with(Box::new(machine)).expect("threads");
        // However busy this machine is.
        applying.late_after = Duration::from_secs(60);
        Watched { applying, done, begun, go_on }
    }

    fn hand_over(&mut self, jobs: impl IntoIterator<Item = Job>) {
        jobs.into_iter().for_each(|job| self.applying.gather(job));
        self.applying.hand_over(false);
    }

    /// Waits for everything handed over, which has to come back in order; gives where each slot was done.
    async fn all_done(&mut self) -> Vec<(u64, On)> {
        let mut slots = Vec::new();
        while self.applying.backlog > 0 {
            for output in next(&mut self.applying).await.expect("all is well") {
                let Output::Applied(applied) = output else { panic!("only slots here") };
                slots.push(applied.slot.0);
            }
        }
        let done: Vec<_> = self.done.try_iter().collect();
        assert_eq!(done.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), slots);
        done
    }

    /// Hands over one slot after another and waits for each; gives those that were done on a thread.
    async fn one_by_one(&mut self, slots: std::ops::Range<u64>, job: impl Fn(u64) -> Job, on: On) -> Vec<u64> {
        let mut found = Vec::new();
        for slot in slots {
            self.hand_over([job(slot)]);
            let done = self.all_done().await;
            found.extend(done.iter().filter(|(_, place)| *place == on).map(|(slot, _)| *slot));
        }
        found
    }
}

fn small(slot: u64) -> Job {
    apply(slot, Vec::new())
}

#[tokio::test]
async fn short_calls_come_over_and_long_or_large_ones_go_back() {
    let (first, wanted) = (1, HERE_AFTER_BURSTS as u64);
    // Some time after it came over.
    let slow = first + wanted + 10;
    let mut watched = Watched::start(slow, &[], 0);

    let here = watched.one_by_one(first..slow, small, On::Here).await;
    assert_eq!(here, (first + wanted..slow).collect::<Vec<_>>(), "after {wanted} small bursts");
    let again = slow + 1;
    let here = watched.one_by_one(slow..again + 2 * wanted + 5, small, On::Here).await;
    let expected = std::iter::once(slow).chain(again + 2 * wanted..again + 2 * wanted + 5).collect::<Vec<_>>();
    assert_eq!(here, expected, "the slow one itself, and others after twice as many");

    let large = again + 2 * wanted + 5;
    watched.hand_over([apply(large, vec![0; HERE_BYTES_MAX + 1])]);
    assert_eq!(watched.all_done().await, [(large, On::Ahead)]);
}

#[tokio::test]
async fn what_needs_more_gas_than_there_is_here_is_done_ahead_with_all_after_it() {
    let first = 1 + HERE_AFTER_BURSTS as u64;
    let mut watched = Watched::start(0, &[first + 1], 0);
    watched.one_by_one(1..first, small, On::Here).await;
    watched.hand_over((first..first + 4).map(small));
    let places: Vec<_> = watched.all_done().await.into_iter().map(|(_, on)| on).collect();
    assert_eq!(places, [On::Here, On::Ahead, On::Ahead, On::Ahead]);
}

#[tokio::test]
async fn what_is_handed_over_while_it_comes_waits_and_keeps_its_order() {
    let mut watched = Watched::start(0, &[], 0);
    watched.applying.small.seen = HERE_AFTER_BURSTS;
    (1..=20).for_each(|slot| watched.hand_over([small(slot)]));
    assert_eq!(watched.all_done().await.len(), 20);
}

/// Its next burst goes behind; the first slots are done by then.
async fn behind(long: &[u64], held: u64) -> Watched {
    let mut watched = Watched::start(0, long, held);
    let ahead = watched.one_by_one(1..FIRST_BEHIND, quiet, On::Ahead).await;
    assert_eq!(ahead, (1..FIRST_BEHIND).collect::<Vec<_>>());
    let began = Instant::now();
    while !matches!(watched.applying.place, Place::Here { .. }) {
        assert!(began.elapsed() < Duration::from_secs(10), "it does not come over");
        assert!(watched.applying.try_next().is_none(), "all is done");
        thread::yield_now();
    }
    watched
}

const FIRST_BEHIND: u64 = 1 + BEHIND_AFTER_BURSTS as u64;

#[tokio::test]
async fn what_nobody_waits_for_is_done_behind() {
    let mut watched = behind(&[], 0).await;
    let slots = FIRST_BEHIND..FIRST_BEHIND + 10;
    assert_eq!(watched.one_by_one(slots.clone(), quiet, On::Behind).await, slots.collect::<Vec<_>>());
    watched.hand_over((20..30).map(quiet));
    watched.hand_over((30..40).map(quiet));
    assert_eq!(watched.all_done().await, (20..40).map(|slot| (slot, On::Behind)).collect::<Vec<_>>());
    let large = Job::Apply { slot: Slot(40), batch: vec![0; BEHIND_BYTES_MAX + 1].into(), replies: false };
    watched.hand_over([large]);
    assert_eq!(watched.all_done().await, [(40, On::Ahead)]);
}

#[tokio::test]
async fn short_calls_for_which_nobody_waits_come_over_too() {
    let mut watched = Watched::start(0, &[], 0);
    let quiet = |slot| Job::Apply { slot: Slot(slot), batch: Vec::new().into(), replies: false };
    let here = watched.one_by_one(1..HERE_AFTER_BURSTS as u64 + 5, quiet, On::Here).await;
    assert_eq!(here, (HERE_AFTER_BURSTS as u64..HERE_AFTER_BURSTS as u64 + 5).collect::<Vec<_>>());
}

/// With three slots behind, of which the first is begun.
async fn begun_behind() -> Watched {
    let mut watched = behind(&[], FIRST_BEHIND).await;
    watched.hand_over((FIRST_BEHIND..FIRST_BEHIND + 3).map(quiet));
    watched.begun.recv().expect("it begins");
    watched
}

impl Watched {
    /// Lets the slot that is begun go on; gives where each of those handed over is done.
    async fn places(&mut self) -> Vec<On> {
        self.go_on.send(()).expect("it waits");
        self.all_done().await.into_iter().map(|(_, on)| on).collect()
    }
}

#[tokio::test]
async fn it_comes_back_from_behind_when_somebody_waits() {
    let mut watched = begun_behind().await;
    watched.hand_over([small(100)]);
    assert_eq!(watched.places().await, [On::Behind, On::Ahead, On::Ahead, On::Ahead]);
}

#[tokio::test]
async fn it_comes_back_from_behind_when_there_is_much_to_do() {
    let mut watched = begun_behind().await;
    watched.hand_over((100..100 + BEHIND_JOBS_MAX as u64).map(quiet));
    let places = watched.places().await;
    assert_eq!(places[0], On::Behind);
    assert_eq!(places[1..], vec![On::Ahead; 2 + BEHIND_JOBS_MAX]);
}

#[tokio::test]
async fn it_comes_back_from_behind_to_a_replica_that_begins_to_lead() {
    let mut watched = begun_behind().await;
    watched.applying.hand_over(true);
    assert_eq!(watched.places().await, [On::Behind, On::Ahead, On::Ahead]);
    for slot in 1000..1010 {
        watched.applying.gather(quiet(slot));
        watched.applying.hand_over(true);
        assert_eq!(watched.all_done().await, [(slot, On::Ahead)], "a leader's");
    }
}

#[tokio::test]
async fn what_is_not_begun_behind_is_taken_back_at_once() {
    let mut watched = begun_behind().await;
    let (tell, _done) = mpsc::channel();
    let (begins, _begun) = mpsc::channel();
    let (_go_on, goes_on) = mpsc::channel();
    let other = Machine { slow: 0, long: Vec::new(), held: 0, begins, goes_on, done: tell };
    watched.applying.behind.give(Box::new(other), vec![quiet(1), quiet(2)]);
    let (_, jobs) = watched.applying.behind.call_back().expect("the thread is at the burst before");
    assert_eq!(jobs.len(), 2);
    assert_eq!(watched.places().await, [On::Behind; 3]);
}

#[tokio::test]
async fn what_needs_more_gas_than_there_is_behind_is_done_ahead_and_keeps_it_there() {
    let long = FIRST_BEHIND + 1;
    let mut watched = behind(&[long], 0).await;
    watched.hand_over((FIRST_BEHIND..long + 2).map(quiet));
    let places: Vec<_> = watched.all_done().await.into_iter().map(|(_, on)| on).collect();
    assert_eq!(places, [On::Behind, On::Ahead, On::Ahead]);
    let after = long + 2..long + 2 + 3 * BEHIND_AFTER_BURSTS as u64;
    let ahead = watched.one_by_one(after.clone(), quiet, On::Ahead).await;
    assert_eq!(ahead, after.take(2 * BEHIND_AFTER_BURSTS).collect::<Vec<_>>(), "for twice as many bursts");
}

#[tokio::test]
async fn what_gets_no_turn_behind_is_done_ahead_and_keeps_it_there() {
    let mut watched = begun_behind().await;
    let called = |watched: &Watched| matches!(watched.applying.place, Place::Behind { called: true, .. });
    watched.hand_over([]);
    assert!(!called(&watched));
    watched.applying.late_after = Duration::ZERO;
    watched.hand_over([]);
    assert!(called(&watched));
    assert_eq!(watched.places().await, [On::Behind, On::Ahead, On::Ahead]);
    watched.applying.late_after = Duration::from_secs(60);
    let after = 100..100 + 3 * BEHIND_AFTER_BURSTS as u64;
    let ahead = watched.one_by_one(after.clone(), quiet, On::Ahead).await;
    assert_eq!(ahead, after.take(2 * BEHIND_AFTER_BURSTS).collect::<Vec<_>>(), "for twice as many bursts");
}

#[test]
fn a_streak_takes_twice_as_many_after_each_failure_and_half_as_many_after_many_successes() {
    let mut streak = Streak::of(2);
    streak.note(true);
    assert!(!streak.is_long());
    streak.note(true);
    assert!(streak.is_long());
    streak.put_off();
    streak.put_off();
    assert_eq!((streak.seen, streak.wanted), (0, 8));
    (0..ELSEWHERE_WELL_BURSTS).for_each(|_| streak.went_well());
    assert_eq!(streak.wanted, 4);
    (0..5 * ELSEWHERE_WELL_BURSTS).for_each(|_| streak.went_well());
    assert_eq!(streak.wanted, 2, "as at first");
    (0..100).for_each(|_| streak.put_off());
    assert_eq!(streak.wanted, ELSEWHERE_AFTER_BURSTS_MAX);
}

#[tokio::test]
async fn a_host_fault_ends_the_replica_and_not_only_the_thread() {
    for replies in [true, false] {
        let mut applying = start();
        applying.quiet.seen = BEHIND_AFTER_BURSTS;
        for slot in 1..4 {
            // The third one goes behind, if it may.
            let bytes = if slot == 3 { vec![0xff; HERE_BYTES_MAX + 1] } else { codec::to_bytes(&Batch::default()) };
            applying.gather(Job::Apply { slot: Slot(slot), batch: bytes.into(), replies });
            applying.hand_over(false);
            if slot < 3 {
                next(&mut applying).await.expect("all is well");
            }
        }
        let error = next(&mut applying).await.expect_err("it is no batch");
        assert!(matches!(&error, NodeError::HostFault { why } if why.contains("slot 3")), "{error}");
    }
}

#[tokio::test]
async fn a_panic_while_applying_ends_the_replica_with_its_message() {
    let mut applying = start();
    let empty = || codec::to_bytes(&Batch::default());
    applying.gather(apply(2, empty()));
    applying.gather(apply(1, empty()));
    applying.hand_over(true);
    let error = next(&mut applying).await.expect_err("slots only rise");
    assert!(error.to_string().starts_with("applying panicked: slot 1 after slot 2"), "{error}");
}
