//! Every order, one after the other: slow, short, and without any of the search's cleverness.

use super::{Entry, Model};

/// Whether any order of the operations that respects their ends explains every outcome.
pub(super) fn check<M: Model>(entries: &[Entry<M::Operation, M::Outcome>]) -> bool {
    let model = M::plain();
    explains(&model, entries, &mut vec![false; entries.len()], &model.initial())
}

fn explains<M: Model>(
    model: &M,
    entries: &[Entry<M::Operation, M::Outcome>],
    done: &mut [bool],
    state: &M::State,
) -> bool {
    if done.iter().all(|done| *done) {
        return true;
    }
    for index in 0..entries.len() {
        let entry = &entries[index];
        // Nothing that is left may have ended before this one began.
        let too_late = (0..entries.len()).any(|other| !done[other] && entries[other].ended < entry.invoked);
        if done[index] || too_late {
            continue;
        }
        done[index] = true;
        let applied = model.step(state, &entry.operation, entry.outcome.as_ref());
        let never_happened = entry.outcome.is_none() && explains(model, entries, done, state);
        if never_happened || applied.is_some_and(|after| explains(model, entries, done, &after)) {
            return true;
        }
        done[index] = false;
    }
    false
}
