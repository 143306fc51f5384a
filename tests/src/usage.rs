//! What a process uses of the machine, as Linux counts it.

use std::fs;
use std::time::Duration;

/// Clock ticks in a second of `/proc/PID/stat`: the same on every Linux.
const TICKS_PER_SECOND: u64 = 100;

/// Bytes of memory that the process has now.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn memory_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux counts its memory");
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
    kibibytes << 10
}

/// Processor time that the process has used so far, its own and the kernel's for it.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn processor_time(process: u32) -> Duration {
    time(&fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs"))
}

/// The same of its threads of this name alone.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn thread_time(process: u32, name: &str) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("the process runs");
    // One that has ended meanwhile is not of that name.
    let stats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    stats.filter(|stat| stat.contains(&format!("({name})"))).map(|stat| time(&stat)).sum()
}

/// User and system time of a line of `/proc/PID/stat`.
fn time(stat: &str) -> Duration {
    // The name, which may have spaces, ends with the last parenthesis; the times are the 12th and the 13th word after it.
    let (_, after) = stat.rsplit_once(')').expect("the name is in parentheses");
    let ticks = after.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks"));
    Duration::from_millis(ticks.sum::<u64>() * 1_000 / TICKS_PER_SECOND)
}

/// The one in the middle, or the lower one of the two there.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[(figures.len() - 1) / 2]
}
