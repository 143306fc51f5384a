//! The machine's clocks, as the replica wants to be told of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use concoord_consensus::io::Time;
use tokio::time::Instant;

/// Reads both clocks, and turns the replica's deadlines back into the runtime's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { started: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        // A machine whose clock stands before 1970 has no idea of the time: 0 says so.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time { monotonic_us: micros(self.started.elapsed()), wall_us: micros(wall) }
    }

    /// The instant at which `monotonic_us` is reached; far in the future for a replica that waits for nothing.
    pub(crate) fn instant(&self, monotonic_us: u64) -> Instant {
        const FAR: Duration = Duration::from_secs(3600);
        let after = Duration::from_micros(monotonic_us);
        let farthest = self.started.elapsed() + FAR;
        self.started + after.min(farthest)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_the_instant_at_which_the_clock_shows_it() {
        let clock = Clock::start();
        assert_eq!(clock.instant(1_500) - clock.started, Duration::from_micros(1_500));
        assert!(clock.instant(u64::MAX) > Instant::now());
    }
}
