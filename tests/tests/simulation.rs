//! Many seeds of the simulation, and that a seed gives the same run twice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use concoord_tests::sim::{self, FAULTS_MIN, Report};

const SEEDS_DEFAULT: u64 = 2_000;
const ACKNOWLEDGED_MIN: u64 = 200;

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
    if report.acknowledged < ACKNOWLEDGED_MIN || report.coverage.faults() < FAULTS_MIN {
        return Err(format!("{} calls and {} faults are too few", report.acknowledged, report.coverage.faults()));
    }
    Ok(report)
}

fn replay(seed: u64) -> String {
    format!("CONCOORD_SEED={seed} cargo test --release -p concoord-tests --test simulation -- --nocapture")
}

#[test]
fn no_seed_breaks_a_promise() {
    let first = setting("CONCOORD_SEED").unwrap_or(1);
    let count = setting("CONCOORD_SEED").map_or(setting("CONCOORD_SEEDS").unwrap_or(SEEDS_DEFAULT), |_| 1);
    let next = AtomicU64::new(first);
    let reports = Mutex::new(Vec::new());
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, |threads| threads.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let full = failures.lock().unwrap_or_else(PoisonError::into_inner).len() >= 10;
                    if seed >= first + count || full {
                        break;
                    }
                    match run(seed) {
                        Ok(report) => reports.lock().unwrap_or_else(PoisonError::into_inner).push(report),
                        Err(why) => failures.lock().unwrap_or_else(PoisonError::into_inner).push((seed, why)),
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    for (seed, why) in &failures {
        println!("seed {seed}: {why}\n  replay: {}", replay(*seed));
    }
    assert!(failures.is_empty(), "{} seeds failed, see above", failures.len());
    print_coverage(&reports.into_inner().unwrap(), count > 1);
}

fn print_coverage(reports: &[Report], all_kinds: bool) {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    let least = |of: fn(&Report) -> u64| reports.iter().map(of).min().unwrap_or(0);
    println!("{} seeds, {} slots decided", reports.len(), sum(|report| report.slots));
    println!("  {:24} {:>9}  least per seed", "", "in all");
    println!("  {:24} {:>9}  {}", "calls acknowledged", sum(|r| r.acknowledged), least(|r| r.acknowledged));
    println!("  {:24} {:>9}  {}", "queries answered", sum(|r| r.queried), least(|r| r.queried));
    println!("  {:24} {:>9}  {}", "faults", sum(|r| r.coverage.faults()), least(|r| r.coverage.faults()));
    for index in 0..reports[0].coverage.kinds().len() {
        let (name, _) = reports[0].coverage.kinds()[index];
        let count: u64 = reports.iter().map(|report| report.coverage.kinds()[index].1).sum();
        println!("  {name:24} {count:>9}");
        assert!(count > 0 || !all_kinds, "no seed exercised: {name}");
    }
    for members in 3..=5 {
        println!("  clusters of {members:<12} {:>9}", reports.iter().filter(|r| r.members == members).count());
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..=20 {
        let (first, second) = (sim::run(seed).unwrap(), sim::run(seed).unwrap());
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
    }
}
