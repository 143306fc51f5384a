//! Known histories, good and bad, and small random ones on which all checkers must agree.

use super::model::{CounterModel, LockModel, RegisterModel};
use super::{Entry, Model, NEVER, brute, check, counter};
use crate::sim::objects::Grant;
use crate::sim::operation::{Operation, Outcome};
use crate::sim::random::Chance;

type Op = Entry<Operation, Outcome>;

fn op(invoked: u64, ended: u64, operation: Operation, outcome: Outcome) -> Op {
    Entry { invoked, ended, operation, outcome: Some(outcome) }
}

fn unknown(invoked: u64, ended: u64, operation: Operation) -> Op {
    Entry { invoked, ended, operation, outcome: None }
}

fn write(invoked: u64, ended: u64, value: u64) -> Op {
    op(invoked, ended, Operation::Write { key: 0, value }, Outcome::Done)
}

fn read(invoked: u64, ended: u64, value: u64) -> Op {
    op(invoked, ended, Operation::Read { key: 0 }, Outcome::Value((value > 0).then_some(value)))
}

fn cas(invoked: u64, ended: u64, expected: u64, value: u64, holds: bool) -> Op {
    let expected = (expected > 0).then_some(expected);
    op(invoked, ended, Operation::CompareAndSet { key: 0, expected, value }, Outcome::Whether(holds))
}

fn acquire(invoked: u64, ended: u64, owner: u32, token: u64) -> Op {
    op(invoked, ended, Operation::Acquire { owner }, Outcome::Token((token > 0).then_some(token)))
}

fn release(invoked: u64, ended: u64, token: u64, held: bool) -> Op {
    op(invoked, ended, Operation::Release { token }, Outcome::Whether(held))
}

fn increment(invoked: u64, ended: u64, value: i64) -> Op {
    op(invoked, ended, Operation::Increment, Outcome::Count(value))
}

fn value(invoked: u64, ended: u64, value: i64) -> Op {
    op(invoked, ended, Operation::GetValue, Outcome::Count(value))
}

/// Asks the search and, where the history is short enough for it, all orders.
fn accepts<M: Model<Operation = Operation, Outcome = Outcome>>(history: &[Op]) -> bool {
    let accepted = check::<M>(history).is_ok();
    assert_eq!(accepted, brute::check::<M>(history), "{history:?}");
    accepted
}

#[test]
fn registers_that_work_are_accepted() {
    let good: [&[Op]; 7] = [
        &[],
        &[read(1, 2, 0), write(3, 4, 5), read(5, 6, 5)],
        // Concurrent with a write, a read sees either value, and a later one the new value.
        &[write(1, 10, 5), read(2, 3, 0), read(4, 5, 5), read(6, 7, 5)],
        &[write(1, 10, 5), write(2, 9, 6), read(3, 4, 6), read(5, 6, 5)],
        &[write(1, 2, 5), cas(3, 6, 5, 7, true), cas(4, 5, 5, 8, false), read(7, 8, 7)],
        // Nobody knows whether the write happened: it may be seen late, or never.
        &[unknown(1, NEVER, Operation::Write { key: 0, value: 5 }), read(2, 3, 0), read(4, 5, 5)],
        &[unknown(1, 2, Operation::Write { key: 0, value: 5 }), read(3, 4, 0)],
    ];
    for history in good {
        assert!(accepts::<RegisterModel>(history), "{history:?}");
    }
}

#[test]
fn registers_that_lie_are_refused() {
    let bad: [(&str, &[Op]); 8] = [
        ("stale read", &[write(1, 2, 5), write(3, 4, 6), read(5, 6, 5)]),
        ("reads go back", &[write(1, 10, 5), read(2, 3, 5), read(4, 5, 0)]),
        ("lost update", &[write(1, 2, 5), cas(3, 6, 5, 7, true), cas(4, 5, 5, 8, true)]),
        ("a value from the future", &[read(1, 2, 5), write(3, 4, 5)]),
        ("a value from nowhere", &[write(1, 2, 5), read(3, 4, 6)]),
        ("a comparison that held is denied", &[write(1, 2, 5), cas(3, 4, 5, 6, false)]),
        (
            "an unknown write takes effect after its end",
            &[unknown(1, 2, Operation::Write { key: 0, value: 5 }), read(3, 4, 0), read(5, 6, 5)],
        ),
        (
            "an unknown write takes effect twice",
            &[unknown(1, NEVER, Operation::Write { key: 0, value: 5 }), read(2, 3, 5), write(4, 5, 6), read(6, 7, 5)],
        ),
    ];
    for (what, history) in bad {
        assert!(!accepts::<RegisterModel>(history), "{what}: {history:?}");
    }
}

#[test]
fn a_lock_is_held_by_one() {
    let holder = |invoked, ended, owner, token| {
        op(invoked, ended, Operation::Holder, Outcome::Holder(Some(Grant { owner, token })))
    };
    let good: [&[Op]; 3] = [
        &[acquire(1, 2, 1, 1), acquire(3, 4, 2, 0), release(5, 6, 1, true), acquire(7, 8, 2, 2), holder(9, 10, 2, 2)],
        &[acquire(1, 6, 1, 2), acquire(2, 5, 2, 1), release(3, 4, 1, true)],
        &[unknown(1, NEVER, Operation::Acquire { owner: 1 }), acquire(2, 3, 2, 0), release(4, 5, 1, true)],
    ];
    for history in good {
        assert!(accepts::<LockModel>(history), "{history:?}");
    }
    let bad: [(&str, &[Op]); 5] = [
        ("granted twice", &[acquire(1, 2, 1, 1), acquire(3, 4, 2, 2)]),
        ("the same token twice", &[acquire(1, 2, 1, 1), release(3, 4, 1, true), acquire(5, 6, 2, 1)]),
        ("freed twice", &[acquire(1, 2, 1, 1), release(3, 4, 1, true), release(5, 6, 1, true)]),
        ("refused while free", &[acquire(1, 2, 1, 0)]),
        ("held by who released", &[acquire(1, 2, 1, 1), release(3, 4, 1, true), holder(5, 6, 1, 1)]),
    ];
    for (what, history) in bad {
        assert!(!accepts::<LockModel>(history), "{what}: {history:?}");
    }
}

#[test]
fn a_counter_counts_each_increment_once() {
    let good: [&[Op]; 4] = [
        &[increment(1, 4, 2), increment(2, 3, 1), value(5, 6, 2)],
        &[increment(1, 10, 1), value(2, 3, 0), value(4, 5, 1)],
        &[unknown(1, NEVER, Operation::Increment), value(2, 3, 0), increment(4, 5, 2)],
        &[value(1, 8, 1), value(2, 3, 0), increment(4, 5, 1), increment(6, 7, 2)],
    ];
    for history in good {
        assert!(accepts::<CounterModel>(history), "{history:?}");
        assert_eq!(counter::check(history), Ok(()), "{history:?}");
    }
    let bad: [(&str, &[Op]); 6] = [
        ("double apply", &[increment(1, 2, 1), value(3, 4, 2)]),
        ("lost update", &[increment(1, 4, 1), increment(2, 3, 1)]),
        ("stale read", &[increment(1, 2, 1), value(3, 4, 0)]),
        ("the future", &[value(1, 2, 1), increment(3, 4, 1)]),
        ("out of order", &[increment(1, 2, 2), increment(3, 4, 1)]),
        ("issued later", &[increment(1, 2, 2), unknown(3, NEVER, Operation::Increment)]),
    ];
    for (what, history) in bad {
        assert!(!accepts::<CounterModel>(history), "{what}: {history:?}");
        assert!(counter::check(history).is_err(), "{what}: {history:?}");
    }
}

/// A history of an object that works, operations overlapping at random, with a lie in every other one.
fn random_history<M>(
    chance: &mut Chance,
    draw: fn(&mut Chance) -> Operation,
    lie: fn(&mut Chance) -> Outcome,
) -> Vec<Op>
where
    M: Model<Operation = Operation, Outcome = Outcome>,
{
    let count = usize::try_from(chance.between(1, 6)).expect("few");
    let model = M::plain();
    let mut state = model.initial();
    let mut history = Vec::new();
    for index in 0..count {
        let at = 100 * (index as u64 + 1);
        let operation = draw(chance);
        let answers = all_outcomes();
        let mut possible = answers.into_iter().filter(|answer| model.step(&state, &operation, Some(answer)).is_some());
        let outcome = possible.next().expect("every operation has an answer");
        let is_unknown = chance.percent(30);
        if !(is_unknown && chance.percent(50)) {
            state = model.step(&state, &operation, Some(&outcome)).expect("it was possible");
        }
        let (invoked, ended) = (at - chance.between(0, 250).min(at - 1), at + chance.between(0, 250));
        let ended = if is_unknown && chance.percent(50) { NEVER } else { ended };
        history.push(Entry { invoked, ended, operation, outcome: (!is_unknown).then_some(outcome) });
    }
    if chance.percent(50) {
        let liar = usize::try_from(chance.between(0, count as u64 - 1)).expect("few");
        if history[liar].outcome.is_some() {
            history[liar].outcome = Some(lie(chance));
        }
    }
    order(&mut history);
    if chance.percent(50) {
        end_together(&mut history);
    }
    history
}

/// What is unknown and ends, ends with the last of them: as where a session is lost with all its calls.
fn end_together(history: &mut [Op]) {
    let ends = |entry: &Op| entry.outcome.is_none() && entry.ended != NEVER;
    let last = history.iter().filter(|entry| ends(entry)).map(|entry| entry.ended).max();
    for entry in history.iter_mut().filter(|entry| ends(entry)) {
        entry.ended = last.expect("there is one");
    }
}

/// Gives each beginning and end a place of its own.
fn order(history: &mut [Op]) {
    let mut places: Vec<(u64, bool, usize)> = Vec::new();
    for (index, entry) in history.iter().enumerate() {
        places.push((entry.invoked, false, index));
        if entry.ended != NEVER {
            places.push((entry.ended, true, index));
        }
    }
    places.sort_unstable();
    for (place, (_, is_end, index)) in (1..).zip(places) {
        if is_end { history[index].ended = place } else { history[index].invoked = place }
    }
}

fn all_outcomes() -> Vec<Outcome> {
    let numbers = 0..8_u64;
    let grants = (1..4).flat_map(|owner| (1..8).map(move |token| Outcome::Holder(Some(Grant { owner, token }))));
    let mut all = vec![Outcome::Done, Outcome::Whether(true), Outcome::Whether(false)];
    all.extend([Outcome::Value(None), Outcome::Token(None), Outcome::Holder(None)]);
    all.extend(numbers.clone().map(|number| Outcome::Count(number.cast_signed())));
    all.extend(numbers.clone().map(|number| Outcome::Value(Some(number))));
    all.extend(numbers.map(|number| Outcome::Token(Some(number))));
    all.extend(grants);
    all
}

const RANDOM_HISTORIES: u64 = 20_000;

/// Asks all checkers about random histories, of which enough are good and enough are bad.
fn compare<M>(draw: fn(&mut Chance) -> Operation, lie: fn(&mut Chance) -> Outcome, also: fn(&[Op], bool))
where
    M: Model<Operation = Operation, Outcome = Outcome>,
{
    let mut good = 0;
    for seed in 0..RANDOM_HISTORIES {
        let history = random_history::<M>(&mut Chance::new(seed), draw, lie);
        let accepted = accepts::<M>(&history);
        also(&history, accepted);
        good += u64::from(accepted);
    }
    let bad = RANDOM_HISTORIES - good;
    assert!(good > RANDOM_HISTORIES / 10 && bad > RANDOM_HISTORIES / 10, "{good} good, {bad} bad: too one-sided");
}

#[test]
fn the_search_agrees_with_all_orders_on_registers() {
    let draw = |chance: &mut Chance| {
        let value = chance.between(1, 3);
        match chance.between(0, 2) {
            0 => Operation::Write { key: 0, value },
            1 => Operation::Read { key: 0 },
            _ => Operation::CompareAndSet { key: 0, expected: Some(chance.between(1, 3)), value },
        }
    };
    let lie = |chance: &mut Chance| match chance.between(0, 1) {
        0 => Outcome::Value(Some(chance.between(1, 3))),
        _ => Outcome::Whether(chance.percent(50)),
    };
    compare::<RegisterModel>(draw, lie, |_, _| {});
}

#[test]
fn the_search_agrees_with_all_orders_on_locks() {
    let draw = |chance: &mut Chance| match chance.between(0, 2) {
        0 => Operation::Acquire { owner: 1 + u32::try_from(chance.between(0, 1)).expect("small") },
        1 => Operation::Release { token: chance.between(1, 3) },
        _ => Operation::Holder,
    };
    let lie = |chance: &mut Chance| match chance.between(0, 1) {
        0 => Outcome::Token(Some(chance.between(1, 3))),
        _ => Outcome::Whether(chance.percent(50)),
    };
    compare::<LockModel>(draw, lie, |_, _| {});
}

#[test]
fn the_search_and_the_single_pass_agree_with_all_orders_on_counters() {
    let draw = |chance: &mut Chance| if chance.percent(60) { Operation::Increment } else { Operation::GetValue };
    let lie = |chance: &mut Chance| Outcome::Count(chance.between(0, 6).cast_signed());
    compare::<CounterModel>(draw, lie, |history, accepted| {
        let passes = counter::check(history).is_ok();
        let exact = history.iter().all(|entry| entry.outcome.is_some());
        assert!(passes == accepted || (passes && !exact), "{history:?}");
    });
}

/// What histories cost: many operations at once, all of them fitting.
#[test]
fn long_histories_cost_little() {
    let mut chance = Chance::new(1);
    let mut history = Vec::new();
    let mut held = 0;
    for index in 0..2_000_u64 {
        let at = 100 * index + 1_000;
        let (invoked, ended) = (at - chance.between(0, 900), at + chance.between(0, 900));
        if chance.percent(50) {
            history.push(write(invoked, ended, index + 1));
            held = index + 1;
        } else {
            history.push(read(invoked, ended, held));
        }
    }
    order(&mut history);
    assert_eq!(check::<RegisterModel>(&history), Ok(()));
}
