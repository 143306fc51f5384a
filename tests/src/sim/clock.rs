//! A machine's clocks: a monotonic one that runs too fast or too slow, and a wall clock that jumps.

use concoord_consensus::io::Time;

/// The rate of a clock that keeps time.
pub const RATE_TRUE_PPM: u64 = 1_000_000;
/// What wall clocks show when the simulation starts.
const WALL_START_US: i64 = 1_700_000_000_000_000;

/// The clocks of one machine.
#[derive(Debug)]
pub struct Clock {
    /// Simulated time from which the rate holds, and what the monotonic clock showed then.
    since_us: u64,
    shown_us: u64,
    rate_ppm: u64,
    /// Microseconds that the wall clock is ahead of the simulated time.
    pub wall_ahead_us: i64,
}

impl Clock {
    /// Clocks that keep time.
    #[must_use]
    pub fn new() -> Clock {
        Clock { since_us: 0, shown_us: 0, rate_ppm: RATE_TRUE_PPM, wall_ahead_us: 0 }
    }

    /// A process starts at the simulated time `now_us`: its monotonic clock begins at zero.
    pub fn restart(&mut self, now_us: u64) {
        (self.since_us, self.shown_us) = (now_us, 0);
    }

    /// From `now_us` on the monotonic clock runs at this rate. It never falls.
    pub fn run_at(&mut self, rate_ppm: u64, now_us: u64) {
        (self.shown_us, self.since_us) = (self.time(now_us).monotonic_us, now_us);
        self.rate_ppm = rate_ppm;
    }

    /// What the clocks show at the simulated time `now_us`.
    #[must_use]
    pub fn time(&self, now_us: u64) -> Time {
        let elapsed_us = (now_us - self.since_us) * self.rate_ppm / RATE_TRUE_PPM;
        let wall_us = WALL_START_US + now_us.cast_signed() + self.wall_ahead_us;
        Time { monotonic_us: self.shown_us + elapsed_us, wall_us: wall_us.cast_unsigned() }
    }

    /// The first simulated time at which the monotonic clock shows `monotonic_us`.
    #[must_use]
    pub fn when(&self, monotonic_us: u64) -> u64 {
        let wait_us = monotonic_us.saturating_sub(self.shown_us);
        self.since_us + (wait_us * RATE_TRUE_PPM).div_ceil(self.rate_ppm)
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_falls_and_says_when_it_shows_what() {
        let mut clock = Clock::new();
        let (mut now_us, mut shown_us) = (0, 0);
        for rate_ppm in [900_000, 1_100_000, 999_999, 1_000_000, 1_099_999] {
            clock.run_at(rate_ppm, now_us);
            for _ in 0..1_000 {
                now_us += 7;
                let shown = clock.time(now_us).monotonic_us;
                assert!(shown >= shown_us);
                shown_us = shown;
                let when = clock.when(shown_us + 10);
                assert!(clock.time(when).monotonic_us >= shown_us + 10, "it is time then");
                assert!(clock.time(when - 1).monotonic_us < shown_us + 10, "and not before");
            }
        }
    }

    #[test]
    fn a_process_starts_at_zero_and_the_wall_jumps_both_ways() {
        let mut clock = Clock::new();
        clock.restart(500);
        assert_eq!(clock.time(700).monotonic_us, 200);
        let before_us = clock.time(700).wall_us;
        clock.wall_ahead_us = -300;
        assert_eq!(clock.time(700).wall_us, before_us - 300);
    }
}
