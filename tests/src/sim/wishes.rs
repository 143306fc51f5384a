//! What a client does next.

use concoord::wire::client::Consistency;

use super::operation::{KEYS, Operation, Outcome};
use super::random::Chance;

/// Of 100 things that a client does, how many are something else than calls, and how many of the calls are queries.
const OTHER_PERCENT: u64 = 6;
const QUERY_PERCENT: u64 = 35;
/// Of 100 queries and descriptions, how many may be stale, and how many up to a bound.
const STALE_PERCENT: u64 = 15;
const BOUNDED_PERCENT: u64 = 25;
/// Bounds are below these: about what messages take, what elections take, and what cuts last.
const STALENESS_US_MAX: [u64; 3] = [5_000, 50_000, 500_000];
/// Of 100 calls, how many touch what may be suspended.
const TOUCH_PERCENT: u64 = 8;

/// One thing to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    /// Call.
    Update(Operation),
    /// Query.
    Query(Operation, Consistency),
    /// Ask what an object can do.
    Describe(Consistency),
    /// Ask who is there.
    View,
    /// Say that the client is there.
    KeepAlive,
    /// Open the session again, as if the first answer had been lost.
    OpenAgain,
    /// End the session, whatever is in flight.
    CloseSession,
}

/// What a client has seen so far, and what it wants because of that.
#[derive(Debug)]
pub(super) struct Wishes {
    owner: u32,
    /// The last value seen in each register.
    seen: [Option<u64>; KEYS as usize],
    /// The token under which it holds the lock.
    held: Option<u64>,
    /// A token under which somebody held it.
    granted: Option<u64>,
}

impl Wishes {
    pub(super) fn new(client: usize) -> Wishes {
        let owner = u32::try_from(client).expect("few clients");
        Wishes { owner, seen: [None; KEYS as usize], held: None, granted: None }
    }

    /// The next wish.
    pub(super) fn next(&mut self, chance: &mut Chance) -> Wish {
        if chance.percent(OTHER_PERCENT) {
            return other(chance);
        }
        if chance.percent(QUERY_PERCENT) {
            let operation = match chance.between(0, 3) {
                0 => Operation::GetValue,
                1 => Operation::Holder,
                _ => Operation::Read { key: key(chance) },
            };
            return Wish::Query(operation, consistency(chance));
        }
        if chance.percent(TOUCH_PERCENT) {
            return Wish::Update(Operation::Touch);
        }
        Wish::Update(match chance.between(0, 9) {
            0..=3 => Operation::Increment,
            4..=5 => Operation::Write { key: key(chance), value: chance.number() },
            6..=7 => self.compare_and_set(chance),
            _ => self.lock_or_release(chance),
        })
    }

    fn compare_and_set(&self, chance: &mut Chance) -> Operation {
        let key = key(chance);
        Operation::CompareAndSet { key, expected: self.seen[key as usize], value: chance.number() }
    }

    /// Whoever holds the lock mostly frees it, sometimes twice; and now and then somebody frees another's.
    fn lock_or_release(&mut self, chance: &mut Chance) -> Operation {
        let own = if chance.percent(90) { self.held.take() } else { self.held };
        match (own, self.granted) {
            (Some(token), _) => Operation::Release { token },
            (None, Some(token)) if chance.percent(20) => Operation::Release { token },
            _ => Operation::Acquire { owner: self.owner },
        }
    }

    /// What an operation came to.
    pub(super) fn learn(&mut self, operation: Operation, outcome: Outcome) {
        match (operation, outcome) {
            (Operation::Write { key, value }, _)
            | (Operation::CompareAndSet { key, value, .. }, Outcome::Whether(true)) => {
                self.seen[key as usize] = Some(value);
            }
            (Operation::Read { key }, Outcome::Value(value)) => self.seen[key as usize] = value,
            (Operation::Acquire { .. }, Outcome::Token(Some(token))) => self.held = Some(token),
            (Operation::Holder, Outcome::Holder(held)) => self.granted = held.map(|grant| grant.token),
            _ => {}
        }
    }
}

fn other(chance: &mut Chance) -> Wish {
    match chance.between(0, 15) {
        0..=4 => Wish::KeepAlive,
        5..=7 => Wish::Describe(consistency(chance)),
        8..=10 => Wish::View,
        11..=13 => Wish::OpenAgain,
        _ => Wish::CloseSession,
    }
}

fn key(chance: &mut Chance) -> u32 {
    u32::try_from(chance.between(0, u64::from(KEYS) - 1)).expect("few keys")
}

fn consistency(chance: &mut Chance) -> Consistency {
    match chance.between(0, 99) {
        stale if stale < STALE_PERCENT => Consistency::Stale,
        bounded if bounded < STALE_PERCENT + BOUNDED_PERCENT => {
            let max = chance.pick(&STALENESS_US_MAX).expect("there are some");
            Consistency::Bounded { staleness_us: chance.between(0, max) }
        }
        _ => Consistency::Linearizable,
    }
}
