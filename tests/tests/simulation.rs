//! Many seeds of the simulation, and that a seed gives the same run twice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use std::time::Instant;

use concoord_tests::sim::{self, FAULTS_MIN, Report, SLOTS_WANTED};

const SEEDS_DEFAULT: u64 = 2_000;
const TWICE_DEFAULT: u64 = 100;
/// A run of this many seeds exercises every kind of fault; a shorter one may miss some.
const SEEDS_FOR_ALL_KINDS: u64 = 200;
/// So many failures are enough to look at.
const FAILURES_MAX: usize = 10;

/// One number of the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs a seed; a broken assertion of the production code is a failure of the seed.
fn run(seed: u64) -> Result<Report, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        if setting("CONCOORD_SEED").is_some() { sim::tell(seed) } else { sim::run(seed) }
    }));
    let report = match outcome {
        Ok(Ok(report)) => report,
        Ok(Err(violation)) => return Err(violation.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            return Err(format!("panicked: {}", text.unwrap_or_default()));
        }
    };
    if report.slots < SLOTS_WANTED || report.coverage.faults() < FAULTS_MIN {
        return Err(format!("{} slots and {} faults are too few", report.slots, report.coverage.faults()));
    }
    Ok(report)
}

/// What `each` makes of the seeds from `first` on, on all cores; no more seeds are begun after [`FAILURES_MAX`] failures.
fn for_seeds<T: Send>(first: u64, count: u64, each: impl Fn(u64) -> Result<T, String> + Sync) -> Vec<T> {
    let next = AtomicU64::new(first);
    let results = Mutex::new(Vec::new());
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, |threads| threads.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let full = failures.lock().unwrap_or_else(PoisonError::into_inner).len() >= FAILURES_MAX;
                    if seed >= first + count || full {
                        break;
                    }
                    match each(seed) {
                        Ok(result) => results.lock().unwrap_or_else(PoisonError::into_inner).push(result),
                        Err(why) => failures.lock().unwrap_or_else(PoisonError::into_inner).push((seed, why)),
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort();
    for (seed, why) in &failures {
        println!("seed {seed}: {why}\n  replay: {}", replay(*seed));
    }
    assert!(failures.is_empty(), "{} seeds failed, see above", failures.len());
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn replay(seed: u64) -> String {
    format!("CONCOORD_SEED={seed} cargo test --workspace --release --test simulation -- --nocapture")
}

#[test]
fn no_seed_breaks_a_promise() {
    let first = setting("CONCOORD_SEED").unwrap_or(1);
    let count = setting("CONCOORD_SEED").map_or(setting("CONCOORD_SEEDS").unwrap_or(SEEDS_DEFAULT), |_| 1);
    let began = Instant::now();
    let reports = for_seeds(first, count, run);
    let seconds = began.elapsed().as_secs_f64();
    print_totals(&reports, seconds);
    print_coverage(&reports, count >= SEEDS_FOR_ALL_KINDS);
}

fn print_totals(reports: &[Report], seconds: f64) {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    let least = |of: fn(&Report) -> u64| reports.iter().map(of).min().unwrap_or(0);
    let seeds = reports.len() as f64;
    println!(
        "{} seeds, {} slots decided, {:.1} seeds/s, {:.0} slots and {:.2} simulated seconds per seed",
        reports.len(),
        sum(|report| report.slots),
        seeds / seconds,
        sum(|report| report.slots) as f64 / seeds,
        sum(|report| report.took_us) as f64 / 1e6 / seeds
    );
    println!("  {:26} {:>10}  least per seed", "", "in all");
    println!("  {:26} {:>10}  {}", "slots", sum(|r| r.slots), least(|r| r.slots));
    println!("  {:26} {:>10}  {}", "events", sum(|r| r.events), least(|r| r.events));
    println!("  {:26} {:>10}  {}", "faults", sum(|r| r.coverage.faults()), least(|r| r.coverage.faults()));
    for index in 0..reports[0].answers.kinds().len() {
        let counts = || reports.iter().map(|report| report.answers.kinds()[index].1);
        let name = reports[0].answers.kinds()[index].0;
        println!("  {name:26} {:>10}  {}", counts().sum::<u64>(), counts().min().unwrap_or(0));
    }
    for members in 1..=5 {
        println!("  clusters of {members:<14} {:>10}", reports.iter().filter(|r| r.members == members).count());
    }
}

/// How often each kind of fault came up. One that never did fails the run if it is long enough.
fn print_coverage(reports: &[Report], all_kinds: bool) {
    let mut missing = Vec::new();
    for (index, (name, _)) in reports[0].coverage.kinds().enumerate() {
        let of = |report: &Report| report.coverage.kinds().nth(index).map_or(0, |(_, count)| count);
        let count: u64 = reports.iter().map(of).sum();
        println!("  {name:26} {count:>10}");
        if count == 0 {
            missing.push(name);
        }
    }
    assert!(missing.is_empty() || !all_kinds, "no seed exercised: {}", missing.join(", "));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let count = setting("CONCOORD_TWICE").unwrap_or(TWICE_DEFAULT);
    let compared = for_seeds(1, count, |seed| {
        let hash = || sim::run(seed).map(|report| report.trace_hash).map_err(|violation| violation.to_string());
        let (first, second) = (hash()?, hash()?);
        if first == second { Ok(()) } else { Err(format!("traces {first:016x} and {second:016x}")) }
    });
    println!("{} seeds gave the same trace twice", compared.len());
}
