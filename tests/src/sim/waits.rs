//! What clients that wait ask of the standard objects, what they hear, and whether that could be objects that do one thing
//! after the other: a call that waits takes effect once between its beginning and its answer, like any other.
//!
//! The end of a session is an operation too. Where nobody knows when it came, its outcome is unknown.

use bytes::Bytes;
use concoord::wire::abi::Answer;
use concoord::wire::codec::{FrameError, from_bytes, to_bytes};
use concoord::wire::{ObjectId, SessionId};
use concoord_object_kv::KvError;

use super::checks::Violation;
use super::linearizability::{Entry, Model, NEVER, Refusal, check};
use super::objects::{KV, MUTEX, QUEUE, SEMAPHORE};

/// Permits of the semaphore, and items that the queue has room for.
pub const BOUND: u32 = 2;
/// How many keys clients use.
pub const KEYS: u32 = 3;

/// What is asked of one object, or of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Mutex and semaphore: waits for it.
    Acquire,
    /// Semaphore: takes it if it is free.
    TryAcquire,
    /// Mutex and semaphore: gives it back.
    Release(u64),
    /// Queue: waits for room.
    Put(u64),
    /// Queue: waits for an item.
    Get,
    /// Queue: if there is room.
    TryPut(u64),
    /// Queue: if there is an item.
    TryGet,
    /// Key: writes.
    Write(u64),
    /// Key: removes.
    Delete,
    /// Key: writes if it is at this revision.
    Set {
        /// The revision; 0 if it must not be there.
        revision: u64,
        /// To what.
        value: u64,
    },
    /// The session ends: what it holds is given up.
    End,
}

/// One thing that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Of whom.
    pub target: Target,
    /// By whom.
    pub session: SessionId,
    /// What.
    pub asked: Asked,
}

/// Of whom something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// One session has it at a time.
    Mutex,
    /// [`BOUND`] sessions have it at a time.
    Semaphore,
    /// Has room for [`BOUND`] items.
    Queue,
    /// One key of the store.
    Key(u32),
}

/// What it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// A token, if there was one.
    Token(Option<u64>),
    /// Whether it was done.
    Whether(bool),
    /// An item, if there was one.
    Item(Option<u64>),
    /// The revision of a write, or of what was removed, if there was one.
    Revision(Option<u64>),
    /// The key is at this revision and not at the expected one.
    Conflict(u64),
}

impl Target {
    /// The object.
    #[must_use]
    pub fn object(self) -> ObjectId {
        match self {
            Target::Mutex => MUTEX,
            Target::Semaphore => SEMAPHORE,
            Target::Queue => QUEUE,
            Target::Key(_) => KV,
        }
    }
}

impl Wish {
    /// Whether its caller may have to wait.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        matches!(self.asked, Asked::Acquire | Asked::Put(_) | Asked::Get)
    }

    /// The name of its method, and the encoded arguments.
    #[must_use]
    pub fn encoded(&self) -> (String, Bytes) {
        let key = match self.target {
            Target::Key(key) => key.to_string(),
            _ => String::new(),
        };
        let (none, durable) = (None::<u64>, None::<bool>);
        let (method, arguments) = match self.asked {
            Asked::Acquire => ("acquire", vec![]),
            Asked::TryAcquire => ("try_acquire", vec![]),
            Asked::Release(token) => ("release", to_bytes(&Some(token))),
            Asked::Put(item) => ("put", to_bytes(&item.to_string())),
            Asked::Get => ("get", vec![]),
            Asked::TryPut(item) => ("try_put", to_bytes(&item.to_string())),
            Asked::TryGet => ("try_get", vec![]),
            Asked::Write(value) => ("put", to_bytes(&(key, value.to_string(), none, durable))),
            Asked::Delete => ("delete", to_bytes(&key)),
            Asked::Set { revision, value } => {
                ("compare_and_set", to_bytes(&(key, revision, value.to_string(), none, durable)))
            }
            Asked::End => unreachable!("nobody calls that"),
        };
        (method.into(), arguments.into())
    }

    /// What an answer says.
    ///
    /// # Errors
    /// [`Violation`] when it is none of this method.
    pub fn got(&self, answer: &Answer) -> Result<Got, Violation> {
        self.read(answer).map_err(|error| Violation::new(format!("{self:?} was answered with {answer:?}: {error}")))
    }

    fn read(&self, answer: &Answer) -> Result<Got, FrameError> {
        let (bytes, failed) = match answer {
            Answer::Returned(bytes) => (bytes, false),
            Answer::Failed(bytes) => (bytes, true),
            Answer::Rejected(_) => return from_bytes::<u8>(&[]).map(|_| Got::Whether(false)),
        };
        let item = |text: String| text.parse::<u64>().ok();
        Ok(match (self.asked, failed) {
            (Asked::Acquire, false) => Got::Token(Some(from_bytes(bytes)?)),
            (Asked::TryAcquire, false) => Got::Token(from_bytes(bytes)?),
            (Asked::Release(_) | Asked::Put(_) | Asked::TryPut(_), false) => {
                from_bytes::<()>(bytes).map(|()| Got::Whether(true))?
            }
            (Asked::Release(_) | Asked::TryPut(_), true) => Got::Whether(false),
            (Asked::Get | Asked::TryGet, false) => Got::Item(item(from_bytes(bytes)?)),
            (Asked::TryGet, true) => Got::Item(None),
            (Asked::Write(_) | Asked::Set { .. }, false) => Got::Revision(Some(from_bytes(bytes)?)),
            (Asked::Delete, false) => Got::Revision(from_bytes(bytes)?),
            (Asked::Set { .. }, true) => {
                let KvError::Conflict { revision } = from_bytes(bytes)?;
                Got::Conflict(revision)
            }
            _ => {
                return from_bytes::<u8>(&[]).map(|_| Got::Whether(false));
            }
        })
    }
}

/// All that was asked and heard.
#[derive(Debug, Default)]
pub struct Waits {
    records: Vec<Record>,
    /// How many beginnings and ends there were.
    events: u64,
}

/// Names one wish of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded(usize);

#[derive(Debug)]
struct Record {
    client: usize,
    invoked_us: u64,
    entry: Entry<Wish, Got>,
    /// It took no effect.
    is_void: bool,
}

impl Waits {
    /// A place in the order of all beginnings and ends.
    pub fn mark(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// A client begins something.
    pub fn invoke(&mut self, client: usize, wish: Wish, now_us: u64) -> Recorded {
        let mark = self.mark();
        self.invoke_since(client, wish, mark, now_us)
    }

    /// The same, at an earlier place.
    pub fn invoke_since(&mut self, client: usize, operation: Wish, mark: u64, now_us: u64) -> Recorded {
        let entry = Entry { invoked: mark, ended: NEVER, operation, outcome: None };
        self.records.push(Record { client, invoked_us: now_us, entry, is_void: false });
        Recorded(self.records.len() - 1)
    }

    /// It is answered.
    pub fn answer(&mut self, recorded: Recorded, got: Got) {
        let mark = self.mark();
        let entry = &mut self.records[recorded.0].entry;
        (entry.ended, entry.outcome) = (mark, Some(got));
    }

    /// It took no effect, and will not.
    pub fn void(&mut self, recorded: Recorded) {
        self.records[recorded.0].is_void = true;
    }

    /// Nobody will know what it came to, but it can't take effect any more.
    pub fn end_unknown(&mut self, recorded: Recorded) {
        let mark = self.mark();
        self.records[recorded.0].entry.ended = mark;
    }

    /// Checks every object's history.
    ///
    /// # Errors
    /// [`Violation`] with the operations around the one that does not fit.
    pub fn check(&self) -> Result<(), Violation> {
        self.check_one::<Holding<1>>(Target::Mutex)?;
        self.check_one::<Holding<{ BOUND as usize }>>(Target::Semaphore)?;
        self.check_one::<Queueing>(Target::Queue)?;
        (0..KEYS).try_for_each(|key| self.check_one::<Keeping>(Target::Key(key)))
    }

    fn check_one<M: Model<Operation = Wish, Outcome = Got>>(&self, target: Target) -> Result<(), Violation> {
        let is_of = |wish: &Wish| match wish.asked {
            Asked::End => matches!(target, Target::Mutex | Target::Semaphore),
            _ => wish.target == target,
        };
        let of: Vec<&Record> =
            self.records.iter().filter(|record| !record.is_void && is_of(&record.entry.operation)).collect();
        let entries: Vec<Entry<Wish, Got>> = of.iter().map(|record| record.entry.clone()).collect();
        let (fitted, blocked, state) = match check::<M>(&entries) {
            Ok(()) => return Ok(()),
            Err(Refusal::TooHard { steps }) => {
                let what =
                    format!("the history of {target:?}, {} long, was not checked in {steps} steps", entries.len());
                return Err(Violation::new(what));
            }
            Err(Refusal::Impossible { fitted, blocked, state }) => (fitted, blocked, state),
        };
        let ended = entries[blocked].ended;
        let near =
            of.iter().enumerate().filter(|(index, record)| *index + 25 > blocked && record.entry.invoked <= ended);
        let lines = near.map(|(index, Record { client, invoked_us, entry, .. })| {
            let Entry { invoked, ended, operation, outcome } = entry;
            let ended = if *ended == NEVER { "never".into() } else { ended.to_string() };
            format!(
                "  {index:>4}: {invoked} to {ended}, at {invoked_us} us, client {client}: {operation:?} = {outcome:?}"
            )
        });
        Err(Violation::new(format!(
            "the history of {target:?} is not linearizable: {fitted} of {} operations fit and lead to {state}, which does \
             not explain operation {blocked} of these:\n{}",
            entries.len(),
            lines.collect::<Vec<_>>().join("\n")
        )))
    }
}

/// Who holds a mutex or permits, at most so many, in order, by token; 0 stands for one that nobody was told. And the last
/// token.
#[derive(Debug)]
struct Holding<const MOST: usize>;

impl<const MOST: usize> Model for Holding<MOST> {
    type State = (Vec<(SessionId, u64)>, u64);
    type Operation = Wish;
    type Outcome = Got;

    fn plain() -> Self {
        Holding
    }

    fn initial(&self) -> Self::State {
        (Vec::new(), 0)
    }

    fn step(&self, (held, last): &Self::State, wish: &Wish, outcome: Option<&Got>) -> Option<Self::State> {
        let session = wish.session;
        let granted = |token: u64| {
            let fits = held.len() < MOST && (token == 0 || token > *last);
            fits.then(|| {
                let mut after: Vec<_> = held.iter().copied().chain([(session, token)]).collect();
                after.sort_unstable();
                (after, token.max(*last))
            })
        };
        match (wish.asked, outcome) {
            (Asked::Acquire | Asked::TryAcquire, Some(Got::Token(Some(token)))) => granted(*token),
            (Asked::TryAcquire, Some(Got::Token(None))) => (held.len() == MOST).then(|| (held.clone(), *last)),
            (Asked::Acquire, None) => granted(0),
            (Asked::TryAcquire, None) => granted(0).or_else(|| Some((held.clone(), *last))),
            (Asked::Release(token), outcome) => {
                let mut after = held.clone();
                let at = after.iter().position(|held| *held == (session, token));
                let was_held = at.map(|at| after.remove(at)).is_some();
                outcome.is_none_or(|outcome| *outcome == Got::Whether(was_held)).then_some((after, *last))
            }
            (Asked::End, _) => Some((held.iter().copied().filter(|(of, _)| *of != session).collect(), *last)),
            _ => None,
        }
    }

    fn changes_nothing(_: &Wish, outcome: &Got) -> bool {
        matches!(outcome, Got::Whether(false) | Got::Token(None))
    }
}

/// The items of the queue, in order.
#[derive(Debug)]
struct Queueing;

impl Model for Queueing {
    type State = Vec<u64>;
    type Operation = Wish;
    type Outcome = Got;

    fn plain() -> Self {
        Queueing
    }

    fn initial(&self) -> Vec<u64> {
        Vec::new()
    }

    fn step(&self, items: &Vec<u64>, wish: &Wish, outcome: Option<&Got>) -> Option<Vec<u64>> {
        let has_room = items.len() < BOUND as usize;
        let with = |item: u64| has_room.then(|| [&items[..], &[item]].concat());
        let (after, answer) = match wish.asked {
            Asked::Put(item) => (with(item)?, Got::Whether(true)),
            Asked::TryPut(item) => (with(item).unwrap_or_else(|| items.clone()), Got::Whether(has_room)),
            Asked::Get => (items.get(1..)?.to_vec(), Got::Item(items.first().copied())),
            Asked::TryGet => (items.iter().skip(1).copied().collect(), Got::Item(items.first().copied())),
            _ => return None,
        };
        outcome.is_none_or(|outcome| *outcome == answer).then_some(after)
    }

    fn changes_nothing(_: &Wish, outcome: &Got) -> bool {
        matches!(outcome, Got::Whether(false) | Got::Item(None))
    }
}

/// The revision that a key is at: none, one that nobody was told (0), or a known one. And the last that is known.
#[derive(Debug)]
struct Keeping;

impl Model for Keeping {
    type State = (Option<u64>, u64);
    type Operation = Wish;
    type Outcome = Got;

    fn plain() -> Self {
        Keeping
    }

    fn initial(&self) -> Self::State {
        (None, 0)
    }

    fn step(&self, (at, last): &Self::State, wish: &Wish, outcome: Option<&Got>) -> Option<Self::State> {
        // Whether the key is at this revision, as far as anybody knows.
        let may_be = |revision: u64| match at {
            None => revision == 0,
            Some(0) => revision > *last,
            Some(known) => *known == revision,
        };
        match (wish.asked, outcome) {
            (Asked::Write(_), Some(Got::Revision(Some(new)))) => (new > last).then_some((Some(*new), *new)),
            (Asked::Write(_), None) => Some((Some(0), *last)),
            (Asked::Delete, Some(Got::Revision(None))) => at.is_none().then_some((None, *last)),
            (Asked::Delete, Some(Got::Revision(Some(was)))) => {
                (at.is_some() && may_be(*was)).then_some((None, *last.max(was)))
            }
            (Asked::Delete, None) => Some((None, *last)),
            (Asked::Set { revision, .. }, Some(Got::Revision(Some(new)))) => {
                (may_be(revision) && new > last).then_some((Some(*new), *new))
            }
            (Asked::Set { revision, .. }, Some(Got::Conflict(is))) => {
                let fits = may_be(*is) && *is != revision;
                fits.then_some((at.map(|_| *is), *last.max(is)))
            }
            (Asked::Set { revision, .. }, None) => Some((if may_be(revision) { Some(0) } else { *at }, *last)),
            _ => None,
        }
    }

    fn changes_nothing(_: &Wish, outcome: &Got) -> bool {
        // A conflict may tell at which revision the key is.
        matches!(outcome, Got::Revision(None))
    }
}

#[cfg(test)]
mod tests {
    use concoord::wire::Slot;

    use super::*;

    fn session(slot: u64) -> SessionId {
        SessionId { slot: Slot(slot), index: 0 }
    }

    /// What one client after the other asks and hears, and for each whether the next begins only when it ended.
    fn history(of: &[(Target, u64, Asked, Option<Got>, bool)]) -> Result<(), Violation> {
        let mut waits = Waits::default();
        for (target, slot, asked, got, has_ended) in of {
            let recorded = waits.invoke(0, Wish { target: *target, session: session(*slot), asked: *asked }, 0);
            match got {
                Some(got) => waits.answer(recorded, *got),
                None if *has_ended => waits.end_unknown(recorded),
                None => {}
            }
        }
        waits.check()
    }

    const TOKEN: fn(u64) -> Option<Got> = |token| Some(Got::Token(Some(token)));

    #[test]
    fn a_mutex_has_one_holder_until_it_releases_or_its_session_ends() {
        use Target::Mutex;
        let released = (Mutex, 1, Asked::Release(3), Some(Got::Whether(true)), true);
        let acquired = |of, token| (Mutex, of, Asked::Acquire, TOKEN(token), true);
        assert!(history(&[acquired(1, 3), released, acquired(2, 5)]).is_ok());
        assert!(history(&[acquired(1, 3), acquired(2, 5)]).is_err(), "held by two");
        assert!(history(&[acquired(1, 3), released, acquired(2, 2)]).is_err(), "a token that falls");
        let ends = |known| (Mutex, 1, Asked::End, None, known);
        assert!(history(&[acquired(1, 3), ends(true), acquired(2, 5)]).is_ok());
        assert!(history(&[acquired(1, 3), ends(false), acquired(2, 5)]).is_ok());
        assert!(history(&[ends(true), acquired(1, 3), acquired(2, 5)]).is_err(), "it ended before");
        let unknown = (Mutex, 1, Asked::Acquire, None, true);
        assert!(history(&[unknown, acquired(2, 5)]).is_ok(), "it may never have been granted");
        let refused = (Mutex, 1, Asked::Release(3), Some(Got::Whether(false)), true);
        assert!(history(&[acquired(1, 3), refused]).is_err(), "it holds it");
    }

    #[test]
    fn a_semaphore_has_no_more_holders_than_permits() {
        use Target::Semaphore;
        let acquired = |of, token| (Semaphore, of, Asked::Acquire, TOKEN(token), true);
        let tried = |got| (Semaphore, 9, Asked::TryAcquire, Some(Got::Token(got)), true);
        assert!(history(&[acquired(1, 1), acquired(2, 2), tried(None)]).is_ok());
        assert!(history(&[acquired(1, 1), tried(None)]).is_err(), "one is free");
        assert!(history(&[acquired(1, 1), acquired(2, 2), tried(Some(3))]).is_err(), "none is free");
        assert!(history(&[acquired(1, 1), acquired(2, 2), acquired(3, 3)]).is_err());
    }

    #[test]
    fn a_queue_gives_what_was_put_first_and_each_once() {
        use Target::Queue;
        let put = |item| (Queue, 1, Asked::Put(item), Some(Got::Whether(true)), true);
        let got = |item| (Queue, 2, Asked::Get, Some(Got::Item(Some(item))), true);
        assert!(history(&[put(7), put(8), got(7), got(8)]).is_ok());
        assert!(history(&[put(7), put(8), got(8)]).is_err(), "out of order");
        assert!(history(&[put(7), got(7), got(7)]).is_err(), "twice");
        assert!(history(&[put(7), put(8), put(9)]).is_err(), "it is full");
        let unknown = (Queue, 3, Asked::Get, None, true);
        assert!(history(&[put(7), put(8), unknown, got(8)]).is_ok());
    }

    #[test]
    fn a_key_is_at_the_revision_of_its_last_write() {
        let key = Target::Key(1);
        let wrote = |revision| (key, 1, Asked::Write(4), Some(Got::Revision(Some(revision))), true);
        let set = |revision, got| (key, 1, Asked::Set { revision, value: 1 }, Some(got), true);
        let deleted = |revision| (key, 1, Asked::Delete, Some(Got::Revision(revision)), true);
        assert!(
            history(&[wrote(3), set(3, Got::Revision(Some(5))), set(3, Got::Conflict(5)), deleted(Some(5))]).is_ok()
        );
        assert!(history(&[wrote(3), set(0, Got::Revision(Some(5)))]).is_err(), "it is there");
        assert!(history(&[wrote(3), deleted(None)]).is_err(), "it is there");
        assert!(history(&[wrote(3), set(9, Got::Conflict(4))]).is_err(), "it is at 3");
        let unknown = (key, 1, Asked::Write(1), None, true);
        assert!(history(&[wrote(3), unknown, set(3, Got::Conflict(8)), deleted(Some(8))]).is_ok());
        assert!(history(&[wrote(3), unknown, set(3, Got::Conflict(8)), deleted(Some(9))]).is_err());
    }
}
