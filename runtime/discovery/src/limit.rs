//! Limits of what is answered over UDP, whose sources may be forged: a name server must not be what floods somebody else.
//!
//! Each network (a /24, or a /56 of IPv6) may ask for so many answers a second; beyond that, every second question is
//! answered with "ask over TCP", which is no larger than the question, and the others with nothing. The same holds for all
//! networks together, so that a flood from everywhere gains nothing either. (After BIND's response rate limiting.)

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Networks that are told apart. Those that fall into one place share what it may ask for; which ones do is random and
/// differs from process to process.
const PLACES: u64 = 1 << 14;
/// How many times what one network may ask for all together may.
const ALL_NETWORKS: u32 = 20;
/// How much of the rate may be asked for at once after a rest.
const BURST: Duration = Duration::from_secs(2);

/// What is done about a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered.
    Answer,
    /// Its asker is sent to TCP.
    Limit,
    /// Nothing.
    Drop,
}

/// What is left of the time that answers are paid with: each costs a part of a second, and a second brings a second.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: Duration,
    at: Instant,
}

/// Counts questions by the networks that they seem to come from.
#[derive(Debug)]
pub struct Limiter {
    random: RandomState,
    places: Vec<Bucket>,
    all: Bucket,
    rate: u32,
    refused: u64,
}

impl Limiter {
    /// With `rate` answers a second for each network; 0 for no limit.
    #[must_use]
    pub fn new(rate: u32, now: Instant) -> Limiter {
        let places = if rate == 0 { Vec::new() } else { vec![Bucket::full(now); PLACES as usize] };
        Limiter { random: RandomState::new(), places, all: Bucket::full(now), rate, refused: 0 }
    }

    /// What is done about a question from there, now.
    pub fn judge(&mut self, source: IpAddr, now: Instant) -> Verdict {
        if self.rate == 0 {
            return Verdict::Answer;
        }
        let cost = Duration::from_secs(1) / self.rate;
        let place = usize::try_from(self.random.hash_one(network(source)) % PLACES).expect("one of the places");
        if self.places[place].take(cost, now) && self.all.take(cost / ALL_NETWORKS, now) {
            return Verdict::Answer;
        }
        self.refused += 1;
        if self.refused.is_multiple_of(2) { Verdict::Limit } else { Verdict::Drop }
    }

    /// Questions that were not answered as they might have been.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

impl Bucket {
    fn full(now: Instant) -> Bucket {
        Bucket { left: BURST, at: now }
    }

    fn take(&mut self, cost: Duration, now: Instant) -> bool {
        self.left = (self.left + now.saturating_duration_since(self.at)).min(BURST);
        self.at = now;
        let left = self.left.checked_sub(cost);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

/// The part of an address that one sender is likely to have all of.
fn network(source: IpAddr) -> (bool, u128) {
    match source.to_canonical() {
        IpAddr::V4(address) => (false, u128::from(address.to_bits() >> 8)),
        IpAddr::V6(address) => (true, address.to_bits() >> 72),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(limiter: &mut Limiter, sources: impl Iterator<Item = IpAddr>, now: Instant) -> [usize; 3] {
        let mut counts = [0; 3];
        for source in sources {
            counts[limiter.judge(source, now) as usize] += 1;
        }
        counts
    }

    #[test]
    fn one_network_gets_its_rate_and_every_second_other_question_is_sent_to_tcp() {
        let start = Instant::now();
        let mut limiter = Limiter::new(10, start);
        let network = |host: u8| IpAddr::from([192, 0, 2, host]);
        assert_eq!(answers(&mut limiter, (0..100).map(network), start), [20, 40, 40], "two seconds' worth at once");
        assert_eq!(answers(&mut limiter, (0..10).map(network), start + Duration::from_millis(500)), [5, 2, 3]);
        assert_eq!(limiter.judge(IpAddr::from([198, 51, 100, 1]), start), Verdict::Answer, "another network");
    }

    #[test]
    fn all_networks_together_get_a_multiple_of_it() {
        let start = Instant::now();
        let mut limiter = Limiter::new(10, start);
        let sources = (0..20_000_u32).map(|network| IpAddr::V4((0x7f00_0000 | network << 8).into()));
        let [answered, limited, dropped] = answers(&mut limiter, sources, start);
        assert_eq!(answered, 2 * 10 * ALL_NETWORKS as usize);
        assert!(limited.abs_diff(dropped) <= 1);
    }

    #[test]
    fn networks_of_ipv6_are_told_apart_by_56_bits() {
        let start = Instant::now();
        let mut limiter = Limiter::new(1, start);
        let host = |subnet: u16, host: u16| IpAddr::from([0x2001, 0xdb8, 1, subnet, 0, 0, 0, host]);
        assert_eq!(answers(&mut limiter, (0..100).map(|number| host(0xff, number)), start)[0], 2);
        assert_eq!(limiter.judge(host(0x01, 1), start), Verdict::Drop, "the same /56");
        assert_eq!(limiter.judge(host(0x100, 1), start), Verdict::Answer);
    }

    #[test]
    fn without_a_rate_everything_is_answered() {
        let mut limiter = Limiter::new(0, Instant::now());
        let source = IpAddr::from([192, 0, 2, 1]);
        assert!((0..100_000).all(|_| limiter.judge(source, Instant::now()) == Verdict::Answer));
    }
}
