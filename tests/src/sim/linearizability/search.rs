//! Depth-first search for an order that explains a history.

use std::collections::HashSet;

use super::{Entry, Model, NEVER, Refusal};

/// A history that takes more steps than this is one that should not have been made.
const STEPS_MAX: u64 = 2_000_000;
/// No event.
const NONE: usize = usize::MAX;

/// Checks that the operations could have happened one after the other, each between its beginning and its end.
///
/// # Errors
/// [`Refusal`].
pub fn check<M: Model>(entries: &[Entry<M::Operation, M::Outcome>]) -> Result<(), Refusal> {
    Search::<M>::new(entries).run()
}

/// How an operation is put into the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// It takes effect here.
    Applied,
    /// Its outcome is unknown, and it never takes effect.
    Skipped,
}

/// The beginnings and ends that are not in the order yet form a list; the search takes operations out of it, from the
/// front, and puts them back when it comes to the end of one that it could not take.
struct Search<'a, M: Model> {
    model: M,
    entries: &'a [Entry<M::Operation, M::Outcome>],
    /// Per event: the operation, and whether it is its beginning.
    events: Vec<(usize, bool)>,
    next: Vec<usize>,
    before: Vec<usize>,
    /// Per operation: the events where it begins and, if it does, ends.
    begins: Vec<usize>,
    ends: Vec<usize>,
    first: usize,
    /// Per operation with an unknown outcome: the one before it that asked the same and ended with it. Either may stand
    /// for the other, so the earlier one goes first, and where it is skipped the later one is too.
    twins: Vec<Option<usize>>,
    /// Which operations are in the order, as bits.
    taken: Vec<u64>,
    /// Which of them are in it as skipped.
    skipped: Vec<u64>,
    may_skip: bool,
    /// Answered operations that are not in the order.
    left: usize,
    /// What was tried: operations taken, and the state that they led to.
    tried: HashSet<(Vec<u64>, M::State)>,
    order: Vec<(usize, Choice, M::State)>,
    state: M::State,
    steps: u64,
    furthest: Refusal,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(entries: &'a [Entry<M::Operation, M::Outcome>]) -> Search<'a, M> {
        let mut at: Vec<(u64, usize, bool)> = Vec::with_capacity(entries.len() * 2);
        for (index, entry) in entries.iter().enumerate() {
            assert!(entry.outcome.is_none() || entry.ended != NEVER, "what was answered has ended");
            at.push((entry.invoked, index, true));
            if entry.ended != NEVER {
                at.push((entry.ended, index, false));
            }
        }
        at.sort_unstable_by_key(|(place, index, begins)| (*place, !*begins, *index));
        let count = at.len();
        let (mut begins, mut ends) = (vec![NONE; entries.len()], vec![NONE; entries.len()]);
        for (event, (_, index, is_beginning)) in at.iter().enumerate() {
            if *is_beginning { begins[*index] = event } else { ends[*index] = event }
        }
        let model = M::of(entries);
        let state = model.initial();
        Search {
            model,
            entries,
            events: at.into_iter().map(|(_, index, begins)| (index, begins)).collect(),
            next: (0..count).map(|event| if event + 1 < count { event + 1 } else { NONE }).collect(),
            before: (0..count).map(|event| event.checked_sub(1).unwrap_or(NONE)).collect(),
            begins,
            ends,
            first: if count > 0 { 0 } else { NONE },
            twins: twins(entries),
            taken: vec![0; entries.len().div_ceil(64)],
            skipped: vec![0; entries.len().div_ceil(64)],
            may_skip: entries.iter().any(|entry| entry.outcome.is_none() && entry.ended != NEVER),
            left: entries.iter().filter(|entry| entry.outcome.is_some()).count(),
            tried: HashSet::new(),
            order: Vec::new(),
            state,
            steps: 0,
            furthest: Refusal::Impossible { fitted: 0, blocked: 0, state: String::new() },
        }
    }

    fn run(mut self) -> Result<(), Refusal> {
        // Whatever is left when all answers are explained may never have happened.
        let (mut event, mut choice) = (self.first, Choice::Applied);
        while self.left > 0 {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Err(Refusal::TooHard { steps: STEPS_MAX });
            }
            assert!(event != NONE, "an answered operation that is left has an end");
            let (index, begins) = self.events[event];
            if begins {
                if self.take(index, choice) {
                    (event, choice) = (self.first, Choice::Applied);
                } else {
                    (event, choice) = (self.next[event], Choice::Applied);
                }
                continue;
            }
            self.note_blocked(index);
            // What changes nothing was put where it fits first: to put it elsewhere does not help.
            let undone = loop {
                match self.put_back() {
                    Some((last, _)) if self.changes_nothing(last) => {}
                    undone => break undone,
                }
            };
            let Some((last, chosen)) = undone else { return Err(self.furthest) };
            // What comes after this choice: the other one, or to leave the operation for later.
            (event, choice) = match chosen {
                Choice::Applied if self.may_be_skipped(last) => (self.begins[last], Choice::Skipped),
                _ => (self.next[self.begins[last]], Choice::Applied),
            };
        }
        Ok(())
    }

    /// One whose end is known and whose outcome is not must be put somewhere before its end, or skipped. Without an
    /// end, it is skipped by never being put anywhere.
    fn may_be_skipped(&self, index: usize) -> bool {
        self.entries[index].outcome.is_none() && self.ends[index] != NONE
    }

    fn changes_nothing(&self, index: usize) -> bool {
        let entry = &self.entries[index];
        entry.outcome.as_ref().is_some_and(|outcome| M::changes_nothing(&entry.operation, outcome))
    }

    /// Puts an operation into the order, as chosen or, where that leads nowhere new, skipped.
    fn take(&mut self, index: usize, choice: Choice) -> bool {
        let entry = &self.entries[index];
        let twin = self.twins[index];
        if twin.is_some_and(|twin| !is_set(&self.taken, twin)) {
            return false;
        }
        if choice == Choice::Applied
            && twin.is_none_or(|twin| !is_set(&self.skipped, twin))
            && let Some(after) = self.model.step(&self.state, &entry.operation, entry.outcome.as_ref())
            && self.is_new(index, Choice::Applied, &after)
        {
            self.put(index, Choice::Applied, after);
            return true;
        }
        if self.may_be_skipped(index) {
            let after = self.state.clone();
            if self.is_new(index, Choice::Skipped, &after) {
                self.put(index, Choice::Skipped, after);
                return true;
            }
        }
        false
    }

    /// What may follow depends on what is taken, on what of it was skipped, and on the state.
    fn is_new(&mut self, index: usize, choice: Choice, after: &M::State) -> bool {
        let words = self.taken.len();
        let mut taken = Vec::with_capacity(words * if self.may_skip { 2 } else { 1 });
        taken.extend_from_slice(&self.taken);
        set(&mut taken, index);
        if self.may_skip {
            taken.extend_from_slice(&self.skipped);
            if choice == Choice::Skipped {
                set(&mut taken[words..], index);
            }
        }
        self.tried.insert((taken, after.clone()))
    }

    fn put(&mut self, index: usize, choice: Choice, after: M::State) {
        set(&mut self.taken, index);
        if choice == Choice::Skipped {
            set(&mut self.skipped, index);
        }
        self.left -= usize::from(self.entries[index].outcome.is_some());
        let before = std::mem::replace(&mut self.state, after);
        self.order.push((index, choice, before));
        for event in [self.begins[index], self.ends[index]] {
            self.unlink(event);
        }
    }

    fn put_back(&mut self) -> Option<(usize, Choice)> {
        let (index, choice, before) = self.order.pop()?;
        self.state = before;
        for bits in [&mut self.taken, &mut self.skipped] {
            bits[index / 64] &= !(1 << (index % 64));
        }
        self.left += usize::from(self.entries[index].outcome.is_some());
        for event in [self.ends[index], self.begins[index]] {
            self.relink(event);
        }
        Some((index, choice))
    }

    fn unlink(&mut self, event: usize) {
        if event == NONE {
            return;
        }
        let (before, next) = (self.before[event], self.next[event]);
        if before == NONE {
            self.first = next
        } else {
            self.next[before] = next
        }
        if next != NONE {
            self.before[next] = before;
        }
    }

    /// Undoes the last [`Search::unlink`]: the event still knows its neighbours.
    fn relink(&mut self, event: usize) {
        if event == NONE {
            return;
        }
        let (before, next) = (self.before[event], self.next[event]);
        if before == NONE {
            self.first = event
        } else {
            self.next[before] = event
        }
        if next != NONE {
            self.before[next] = event;
        }
    }

    fn note_blocked(&mut self, index: usize) {
        let Refusal::Impossible { fitted, state, .. } = &self.furthest else { return };
        if self.order.len() > *fitted || state.is_empty() {
            let state = format!("{:?}", self.state);
            self.furthest = Refusal::Impossible { fitted: self.order.len(), blocked: index, state };
        }
    }
}

fn set(bits: &mut [u64], index: usize) {
    bits[index / 64] |= 1 << (index % 64);
}

fn is_set(bits: &[u64], index: usize) -> bool {
    bits[index / 64] & 1 << (index % 64) != 0
}

/// For each operation with an unknown outcome, the last one invoked before it that can't be told from it.
fn twins<O: PartialEq, R>(entries: &[Entry<O, R>]) -> Vec<Option<usize>> {
    let mut unknown: Vec<usize> = (0..entries.len()).filter(|index| entries[*index].outcome.is_none()).collect();
    unknown.sort_by_key(|index| entries[*index].invoked);
    let mut twins = vec![None; entries.len()];
    for (place, index) in unknown.iter().enumerate() {
        let entry = &entries[*index];
        let same =
            |other: &&usize| entries[**other].operation == entry.operation && entries[**other].ended == entry.ended;
        twins[*index] = unknown[..place].iter().rev().find(same).copied();
    }
    twins
}
