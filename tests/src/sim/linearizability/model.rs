//! Sequential models of the simulated objects.

use std::collections::BTreeSet;

use super::{Entry, Model};
use crate::sim::objects::Grant;
use crate::sim::operation::{Operation, Outcome};

/// One register of the map. Registers are independent, so each key has a history of its own.
#[derive(Debug)]
pub struct RegisterModel;

impl Model for RegisterModel {
    type State = Option<u64>;
    type Operation = Operation;
    type Outcome = Outcome;

    fn plain() -> RegisterModel {
        RegisterModel
    }

    fn initial(&self) -> Option<u64> {
        None
    }

    fn step(&self, state: &Option<u64>, operation: &Operation, outcome: Option<&Outcome>) -> Option<Option<u64>> {
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
pub struct LockModel {
    tokens: Numbers,
}

impl Model for LockModel {
    type State = (u64, Option<Grant>);
    type Operation = Operation;
    type Outcome = Outcome;

    fn plain() -> LockModel {
        LockModel { tokens: Numbers::default() }
    }

    /// A token that nobody saw may still be why others were refused, so only those that were given count.
    fn of(entries: &[Entry<Operation, Outcome>]) -> LockModel {
        let given = entries.iter().filter_map(|entry| match entry.outcome {
            Some(Outcome::Token(token)) => token,
            _ => None,
        });
        LockModel { tokens: Numbers { given: given.collect(), highest: None } }
    }

    fn initial(&self) -> Self::State {
        (0, None)
    }

    fn step(&self, state: &Self::State, operation: &Operation, outcome: Option<&Outcome>) -> Option<Self::State> {
        let (last, held) = *state;
        let (after, answer) = match operation {
            Operation::Acquire { owner } => match held {
                Some(_) => (*state, Outcome::Token(None)),
                None if outcome.is_none() && !self.tokens.may_be_unseen(last + 1) => return None,
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
pub struct CounterModel {
    values: Numbers,
}

impl Model for CounterModel {
    type State = i64;
    type Operation = Operation;
    type Outcome = Outcome;

    fn plain() -> CounterModel {
        CounterModel { values: Numbers::default() }
    }

    fn of(entries: &[Entry<Operation, Outcome>]) -> CounterModel {
        let counts = entries.iter().filter_map(|entry| match entry.outcome {
            Some(Outcome::Count(value)) => Some((u64::try_from(value).ok()?, entry.operation == Operation::Increment)),
            _ => None,
        });
        let counts: Vec<(u64, bool)> = counts.collect();
        CounterModel {
            values: Numbers {
                given: counts.iter().filter(|(_, given)| *given).map(|(value, _)| *value).collect(),
                highest: Some(counts.iter().map(|(value, _)| *value).max().unwrap_or(0)),
            },
        }
    }

    fn initial(&self) -> i64 {
        0
    }

    fn step(&self, state: &i64, operation: &Operation, outcome: Option<&Outcome>) -> Option<i64> {
        let after = match operation {
            Operation::Increment if outcome.is_none() && !self.values.may_be_unseen(state.cast_unsigned() + 1) => {
                return None;
            }
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

/// Numbers that an object gives in order, each once: where one was given to an operation, no other can have got it.
#[derive(Debug, Default)]
struct Numbers {
    given: BTreeSet<u64>,
    /// The highest that anybody saw, where that many are needed to explain it and more explain nothing.
    highest: Option<u64>,
}

impl Numbers {
    /// Whether an operation whose outcome is unknown may have got this number.
    fn may_be_unseen(&self, number: u64) -> bool {
        self.highest.is_none_or(|highest| number <= highest) && !self.given.contains(&number)
    }
}
