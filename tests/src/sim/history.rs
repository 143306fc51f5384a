//! What clients asked and heard, in the order in which it happened, and whether that could be one object.

use super::checks::Violation;
use super::linearizability::model::{CounterModel, LockModel, RegisterModel};
use super::linearizability::{Entry, Model, NEVER, Refusal, check, counter};
use super::objects::{COUNTER, LOCK};
use super::operation::{KEYS, Operation, Outcome};

/// The operations of a run.
#[derive(Debug, Default)]
pub struct History {
    records: Vec<Record>,
    /// How many beginnings and ends there were.
    events: u64,
}

/// Names one operation of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded(usize);

#[derive(Debug)]
struct Record {
    client: usize,
    operation: Operation,
    invoked: u64,
    invoked_us: u64,
    ended: u64,
    ended_us: u64,
    outcome: Option<Outcome>,
}

type Entries = Vec<Entry<Operation, Outcome>>;

impl History {
    /// A client begins an operation.
    pub fn invoke(&mut self, client: usize, operation: Operation, now_us: u64) -> Recorded {
        let invoked = self.event();
        self.begin(client, operation, invoked, now_us)
    }

    /// The same, at an earlier time: behind all that had happened by then.
    pub fn invoke_at(&mut self, client: usize, operation: Operation, at_us: u64) -> Recorded {
        let ends = self
            .records
            .iter()
            .flat_map(|record| [(record.invoked_us, record.invoked), (record.ended_us, record.ended)]);
        // What began so itself is between two events, and no event.
        let before = ends.filter(|(us, _)| *us <= at_us).map(|(_, event)| event - event % 2).max().unwrap_or(0);
        self.begin(client, operation, before + 1, at_us)
    }

    /// The next place. One between it and the one before stays free.
    fn event(&mut self) -> u64 {
        self.events += 2;
        self.events
    }

    fn begin(&mut self, client: usize, operation: Operation, invoked: u64, now_us: u64) -> Recorded {
        self.records.push(Record {
            client,
            operation,
            invoked,
            invoked_us: now_us,
            ended: NEVER,
            ended_us: NEVER,
            outcome: None,
        });
        Recorded(self.records.len() - 1)
    }

    /// It is answered.
    pub fn answer(&mut self, recorded: Recorded, outcome: Outcome, now_us: u64) {
        self.event();
        self.end(recorded, now_us);
        self.records[recorded.0].outcome = Some(outcome);
    }

    /// Nobody will know what these came to, but they can't take effect any more.
    pub fn end_unknown(&mut self, operations: impl IntoIterator<Item = Recorded>, now_us: u64) {
        self.event();
        for recorded in operations {
            self.end(recorded, now_us);
        }
    }

    fn end(&mut self, recorded: Recorded, now_us: u64) {
        let record = &mut self.records[recorded.0];
        assert_eq!(record.ended, NEVER, "an operation ends once");
        (record.ended, record.ended_us) = (self.events, now_us);
    }

    /// Checks every object's history.
    ///
    /// # Errors
    /// [`Violation`] with the operations around the one that does not fit.
    pub fn check(&self) -> Result<(), Violation> {
        let counts = self.entries(|operation| operation.object() == COUNTER);
        counter::check(&entries_of(&counts)).map_err(|why| {
            let lines = counts.iter().enumerate().map(|(number, (index, _))| self.line(number, &self.records[*index]));
            Violation::new(format!("the counter: {why}:\n{}", lines.collect::<Vec<_>>().join("\n")))
        })?;
        self.check_one::<CounterModel>("the counter", &counts)?;
        self.check_one::<LockModel>("the lock", &self.entries(|operation| operation.object() == LOCK))?;
        for key in 0..KEYS {
            let of_key = self.entries(|operation| operation.key() == Some(key));
            self.check_one::<RegisterModel>(&format!("register {key}"), &of_key)?;
        }
        Ok(())
    }

    /// The operations that an object saw; queries without an answer saw and did nothing.
    fn entries(&self, of: impl Fn(&Operation) -> bool) -> Vec<(usize, Entry<Operation, Outcome>)> {
        let counts =
            |record: &Record| of(&record.operation) && (record.outcome.is_some() || !record.operation.is_query());
        let records = self.records.iter().enumerate().filter(|(_, record)| counts(record));
        records
            .map(|(index, record)| {
                let Record { operation, invoked, ended, outcome, .. } = *record;
                (index, Entry { invoked, ended, operation, outcome })
            })
            .collect()
    }

    fn check_one<M>(&self, what: &str, entries: &[(usize, Entry<Operation, Outcome>)]) -> Result<(), Violation>
    where
        M: Model<Operation = Operation, Outcome = Outcome>,
    {
        match check::<M>(&entries_of(entries)) {
            Ok(()) => Ok(()),
            Err(Refusal::TooHard { steps }) => {
                Err(Violation::new(format!("the history of {what} was not checked within {steps} steps")))
            }
            Err(Refusal::Impossible { fitted, blocked, state }) => {
                let near = self.around(entries, blocked);
                Err(Violation::new(format!(
                    "the history of {what} is not linearizable: {fitted} of {} operations fit and lead to {state}, \
                     which does not explain operation {blocked} of these:\n{near}",
                    entries.len()
                )))
            }
        }
    }

    /// The operations that overlap the one at `blocked` and a few before it, for whoever looks for the reason.
    fn around(&self, entries: &[(usize, Entry<Operation, Outcome>)], blocked: usize) -> String {
        const BEFORE: usize = 12;
        let ended = entries[blocked].1.ended;
        let invoked = entries[blocked.saturating_sub(BEFORE)].1.invoked;
        let near =
            entries.iter().enumerate().filter(|(_, (_, entry))| entry.ended >= invoked && entry.invoked <= ended);
        near.map(|(number, (index, _))| self.line(number, &self.records[*index])).collect::<Vec<_>>().join("\n")
    }

    fn line(&self, number: usize, record: &Record) -> String {
        let Record { client, operation, invoked_us, ended_us, outcome, .. } = record;
        let ended = if *ended_us == NEVER { "never".into() } else { format!("{:.3}", *ended_us as f64 / 1000.0) };
        let outcome = outcome.map_or("unknown".into(), |outcome| format!("{outcome:?}"));
        format!(
            "  {number:>4}: {:.3} to {ended} ms, client {client}: {operation:?} = {outcome}",
            *invoked_us as f64 / 1000.0
        )
    }
}

fn entries_of(entries: &[(usize, Entry<Operation, Outcome>)]) -> Entries {
    entries.iter().map(|(_, entry)| entry.clone()).collect()
}
