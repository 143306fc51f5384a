//! A counter's history in one pass: each increment says where in the order it stands.

use super::{Entry, NEVER};
use crate::sim::operation::{Operation, Outcome};

/// Checks a history of increments and reads of one counter that starts at zero.
///
/// The order of the increments is the order of what they returned, and a read stands between the increment that
/// returned its value and the next one. So each gets the earliest place that the ones before it leave, and the history
/// is linearizable exactly if none of these places is behind the operation's end. Where increments have unknown
/// outcomes, a value that nobody returned may be one of theirs: then this is necessary and not sufficient.
///
/// # Errors
/// What can't be, in words.
pub fn check(entries: &[Entry<Operation, Outcome>]) -> Result<(), String> {
    let is_unknown = |entry: &&Entry<_, _>| entry.outcome.is_none() && entry.operation == Operation::Increment;
    let mut unknown = entries.iter().filter(is_unknown).collect::<Vec<_>>();
    unknown.sort_by_key(|entry| entry.invoked);
    let mut known = Vec::with_capacity(entries.len());
    for entry in entries {
        if let Some(Outcome::Count(value)) = entry.outcome {
            known.push((value, entry.operation == Operation::GetValue, entry));
        }
    }
    known.sort_by_key(|(value, is_read, entry)| (*value, *is_read, entry.invoked));
    let (mut value, mut earliest) = (0, 0);
    let mut missing = 0;
    for (returned, is_read, entry) in known {
        let gap = returned - value - i64::from(!is_read);
        if gap < 0 {
            return Err(format!("{value} was returned by two increments"));
        }
        missing += usize::try_from(gap).map_err(|error| error.to_string())?;
        if missing > unknown.len() {
            return Err(format!("{returned} was returned, but {missing} increments below it were never issued"));
        }
        // The increments that nobody heard of began before the value was returned.
        if missing > 0 {
            earliest = earliest.max(unknown[missing - 1].invoked);
        }
        let place = earliest.max(entry.invoked);
        if place > entry.ended {
            let what = if is_read { "a read" } else { "an increment" };
            return Err(format!("{what} returned {returned} and ended before {returned} was reached"));
        }
        debug_assert_ne!(entry.ended, NEVER, "what was answered has ended");
        earliest = place;
        value = returned;
    }
    Ok(())
}
