//! Which outcomes of an object can be carried out: those that answer at once and want nothing else.
//!
//! Parked calls, answers to them, events and timers are refused before the object keeps what it changed, so an author
//! who uses them learns it from the first call and no state ever depends on a wish that nobody fulfils.

use concoord_wire::abi::{Answer, Outcome, Rejection, Reply};

/// For a method call: it must answer.
pub(super) fn accept_call(outcome: &Outcome) -> Result<(), String> {
    accept_effects(outcome)?;
    match outcome.reply {
        Reply::Now(_) => Ok(()),
        Reply::None => Err("the method gave no reply".into()),
        Reply::Parked => Err("the method parked its caller, which this version doesn't support".into()),
    }
}

/// For `Init`: nobody waits for an answer, but the constructor may say that it failed.
pub(super) fn accept_init(outcome: &Outcome) -> Result<(), String> {
    accept_effects(outcome)?;
    match &outcome.reply {
        Reply::None | Reply::Now(Answer::Returned(_)) => Ok(()),
        Reply::Now(Answer::Failed(_)) => Err("the constructor returned an error".into()),
        Reply::Now(Answer::Rejected(Rejection::Arguments(why))) => Err(format!("wrong constructor arguments: {why}")),
        Reply::Now(Answer::Rejected(why @ Rejection::UnknownMethod)) => Err(format!("no constructor: {why}")),
        Reply::Parked => Err("the constructor parked its caller, but nobody waits".into()),
    }
}

/// For an input that nobody waits for.
pub(super) fn accept_told(outcome: &Outcome) -> Result<(), String> {
    accept_effects(outcome)?;
    match outcome.reply {
        Reply::None => Ok(()),
        Reply::Now(_) | Reply::Parked => Err("it gave a reply, but nobody waits".into()),
    }
}

/// The answer of an outcome that [`accept_call`] accepted.
pub(super) fn answer(outcome: Outcome) -> Answer {
    match outcome.reply {
        Reply::Now(answer) => answer,
        Reply::None | Reply::Parked => panic!("Objects kept a call's outcome that was not accepted"),
    }
}

fn accept_effects(outcome: &Outcome) -> Result<(), String> {
    let Outcome { reply: _, answered, events, timers, log: _ } = outcome;
    let wishes =
        [(answered.len(), "answered parked calls"), (events.len(), "emitted events"), (timers.len(), "set timers")];
    match wishes.iter().find(|(count, _)| *count > 0) {
        None => Ok(()),
        Some((count, what)) => Err(format!("it {what} ({count}), which this version doesn't support")),
    }
}
