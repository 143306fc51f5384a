//! Sequential models of the simulated objects.

use super::Model;
use crate::sim::objects::Grant;
use crate::sim::operation::{Operation, Outcome};

/// One register of the map. Registers are independent, so each key has a history of its own.
#[derive(Debug)]
pub struct RegisterModel;

impl Model for RegisterModel {
    type State = Option<u64>;
    type Operation = Operation;
    type Outcome = Outcome;

    fn initial() -> Option<u64> {
        None
    }

    fn step(state: &Option<u64>, operation: &Operation, outcome: Option<&Outcome>) -> Option<Option<u64>> {
        let (after, answer) = match operation {
            Operation::Write { value, .. } => (Some(*value), Outcome::Done),
            Operation::Read { .. } => (*state, Outcome::Value(*state)),
            Operation::CompareAndSet { expected, value, .. } => {
                let holds = state == expected;
                (if holds { Some(*value) } else { *state }, Outcome::Whether(holds))
            }
            _ => return None,
        };
        outcome.is_none_or(|outcome| *outcome == answer).then_some(after)
    }

    fn changes_nothing(operation: &Operation, outcome: &Outcome) -> bool {
        operation.is_query() || changed_nothing(outcome)
    }
}

/// The lock: the last token, and who holds it.
#[derive(Debug)]
pub struct LockModel;

impl Model for LockModel {
    type State = (u64, Option<Grant>);
    type Operation = Operation;
    type Outcome = Outcome;

    fn initial() -> Self::State {
        (0, None)
    }

    fn step(state: &Self::State, operation: &Operation, outcome: Option<&Outcome>) -> Option<Self::State> {
        let (last, held) = *state;
        let (after, answer) = match operation {
            Operation::Acquire { owner } => match held {
                Some(_) => (*state, Outcome::Token(None)),
                None => {
                    let token = last + 1;
                    ((token, Some(Grant { owner: *owner, token })), Outcome::Token(Some(token)))
                }
            },
            Operation::Release { token } => {
                let holds = held.is_some_and(|grant| grant.token == *token);
                ((last, if holds { None } else { held }), Outcome::Whether(holds))
            }
            Operation::Holder => (*state, Outcome::Holder(held)),
            _ => return None,
        };
        outcome.is_none_or(|outcome| *outcome == answer).then_some(after)
    }

    fn changes_nothing(operation: &Operation, outcome: &Outcome) -> bool {
        operation.is_query() || changed_nothing(outcome)
    }
}

/// The counter.
#[derive(Debug)]
pub struct CounterModel;

impl Model for CounterModel {
    type State = i64;
    type Operation = Operation;
    type Outcome = Outcome;

    fn initial() -> i64 {
        0
    }

    fn step(state: &i64, operation: &Operation, outcome: Option<&Outcome>) -> Option<i64> {
        let after = match operation {
            Operation::Increment => state + 1,
            Operation::GetValue => *state,
            _ => return None,
        };
        outcome.is_none_or(|outcome| *outcome == Outcome::Count(after)).then_some(after)
    }

    fn changes_nothing(operation: &Operation, outcome: &Outcome) -> bool {
        operation.is_query() || changed_nothing(outcome)
    }
}

/// Whether the outcome itself says that nothing changed: a comparison that failed, a lock that was taken.
fn changed_nothing(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Whether(false) | Outcome::Token(None))
}
