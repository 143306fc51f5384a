//! Which outcomes of an object can be carried out.
//!
//! What can't be is refused before the object keeps what it changed, so its author learns it from the first call and no state
//! ever depends on a wish that nobody fulfils.

use concoord_wire::abi::{Answer, Outcome, Rejection, Reply};
use concoord_wire::interface::MethodKind;
use concoord_wire::limits::TOPIC_BYTES_MAX;

/// For a method call: it must answer, or wait if it is one that may.
pub(super) fn accept_call(outcome: &Outcome, kind: MethodKind, emits: bool) -> Result<(), String> {
    accept_effects(outcome, emits)?;
    match outcome.reply {
        Reply::Now(_) => Ok(()),
        Reply::None => Err("the method gave no reply".into()),
        Reply::Parked if kind == MethodKind::Waiting => Ok(()),
        Reply::Parked => Err("the method parked its caller, but its interface does not say that it may wait".into()),
    }
}

/// For a query: it must answer, and nothing else can come of it.
pub(super) fn accept_query(outcome: &Outcome) -> Result<(), String> {
    let Outcome { answered, events, timers, .. } = outcome;
    let wishes =
        [(answered.len(), "answered parked calls"), (events.len(), "emitted events"), (timers.len(), "set timers")];
    match wishes.iter().find(|(count, _)| *count > 0) {
        None => accept_call(outcome, MethodKind::Query, false),
        Some((count, what)) => Err(format!("it {what} ({count}), but is a query")),
    }
}

/// For `Init`: nobody waits for an answer, but the constructor may say that it failed.
pub(super) fn accept_init(outcome: &Outcome, emits: bool) -> Result<(), String> {
    accept_effects(outcome, emits)?;
    match &outcome.reply {
        Reply::Parked => Err("the constructor parked its caller, but nobody waits".into()),
        reply => constructor_refusal(reply).map_or(Ok(()), Err),
    }
}

/// Why a constructor does not make an object, where it says so in good order.
#[must_use]
pub fn constructor_refusal(reply: &Reply) -> Option<String> {
    match reply {
        Reply::None | Reply::Now(Answer::Returned(_)) | Reply::Parked => None,
        Reply::Now(Answer::Failed(_)) => Some("the constructor returned an error".into()),
        Reply::Now(Answer::Rejected(Rejection::Arguments(why))) => Some(format!("wrong constructor arguments: {why}")),
        Reply::Now(Answer::Rejected(why @ Rejection::UnknownMethod)) => Some(format!("no constructor: {why}")),
    }
}

/// For an input that nobody waits for.
pub(super) fn accept_told(outcome: &Outcome, emits: bool) -> Result<(), String> {
    accept_effects(outcome, emits)?;
    match outcome.reply {
        Reply::None => Ok(()),
        Reply::Now(_) | Reply::Parked => Err("it gave a reply, but nobody waits".into()),
    }
}

/// `emits` says whether the object's interface names a type of its events.
fn accept_effects(outcome: &Outcome, emits: bool) -> Result<(), String> {
    let events = &outcome.events;
    if !emits && !events.is_empty() {
        return Err(format!("it emitted events ({}), but its interface names no type of them", events.len()));
    }
    match events.iter().map(|event| event.topic.len()).find(|bytes| *bytes > TOPIC_BYTES_MAX) {
        None => Ok(()),
        Some(bytes) => Err(format!("an event's topic has {bytes} bytes, and may have {TOPIC_BYTES_MAX}")),
    }
}
