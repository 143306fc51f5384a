//! Objects whose outcomes are none, or are not what they promised.

use concoord_wire::abi::{Answer, Event, LimitKind, Outcome, Rejection, Reply, Timer, pack};
use concoord_wire::interface::{Interface, Payload, Type, Variant};
use concoord_wire::limits::{ANSWERED_MAX, EVENTS_MAX, LOG_LINES_MAX, OUTCOME_BYTES_MAX, TIMERS_MAX};
use concoord_wire::{CallId, SessionId, Slot, Timestamp, codec};

use super::calls::loaded;
use super::guest::{Guest, interface, returned};
use super::kinds::{Expected, Kind};

/// Whose outcomes are these bytes.
fn bytes(name: &'static str, outcome: Vec<u8>, answer: Expected, words: &'static str) -> Kind {
    loaded(name, Guest { outcome, ..Guest::default() }, answer, words)
}

fn outcome(name: &'static str, outcome: &Outcome, answer: Expected, words: &'static str) -> Kind {
    bytes(name, codec::to_bytes(outcome), answer, words)
}

/// Whose outcomes are here.
fn place(name: &'static str, address: u32, length: u32, answer: Expected, words: &'static str) -> Kind {
    let call = format!("(return (i64.const {}))", pack(address, length));
    loaded(name, Guest { call, ..Guest::default() }, answer, words)
}

pub(crate) fn kinds() -> Vec<Kind> {
    [malformed(), wanting(), lying()].into_iter().flatten().collect()
}

/// Those that are no outcomes.
fn malformed() -> Vec<Kind> {
    let (misbehaves, limit) = (Expected::Misbehaves, Expected::Limit(LimitKind::OutcomeBytes));
    let none = "its outcome is none";
    let whole = codec::to_bytes(&returned(vec![14]));
    let announced = [&[0], &[0xff, 0xff, 0xff, 0xff, 0x0f][..]].concat();
    let beyond = u32::try_from(OUTCOME_BYTES_MAX + 1).expect("a small limit");
    vec![
        bytes("an outcome of random bytes", b"\x07garbage".to_vec(), misbehaves, none),
        bytes("bytes behind an outcome", [&whole[..], &[0]].concat(), misbehaves, "1 bytes left over"),
        bytes("half an outcome", whole[..whole.len() / 2].to_vec(), misbehaves, none),
        bytes("4,294,967,295 answers announced", announced, misbehaves, none),
        bytes("a reply of 4 GiB announced", vec![1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f], misbehaves, none),
        bytes("a number that does not end", vec![0x80; 40], misbehaves, none),
        place("an empty outcome", 0, 0, misbehaves, none),
        place("an outcome at the last address", u32::MAX, 1, misbehaves, "at 0xffffffff, outside its memory"),
        place("an outcome over the memory's end", 131_070, 8, misbehaves, "outside its memory of 2 pages"),
        place("an outcome that ends behind 4 GiB", u32::MAX - 9, 3 << 20, misbehaves, "outside its memory"),
        place("an outcome of more than 3 MiB", 0, beyond, limit, "too large an outcome: it may have 3145728 bytes"),
        place("an outcome of 4 GiB", u32::MAX, u32::MAX, limit, "too large an outcome"),
    ]
}

/// Those that want what they may not have.
fn wanting() -> Vec<Kind> {
    let (misbehaves, limit) = (Expected::Misbehaves, Expected::Limit);
    let now = || returned(vec![14]);
    let call = CallId { session: SessionId { slot: Slot(1), index: 0 }, sequence: 1 };
    let answered = |count| Outcome { answered: vec![(call, Answer::Returned(Vec::new())); count], ..now() };
    let event = Event { topic: String::new(), payload: Vec::new() };
    let events = |count| Outcome { events: vec![event.clone(); count], ..now() };
    let timer = Timer { token: 1, due: Timestamp(1) };
    let timers = |count| Outcome { timers: vec![timer; count], ..now() };
    let lines = |count| Outcome { log: vec!["\u{1b}[2J\u{9b}31m".into(); count], ..now() };
    let too_many = [ANSWERED_MAX, EVENTS_MAX, TIMERS_MAX, LOG_LINES_MAX].map(|most| most + 1);
    vec![
        outcome("no reply", &Outcome::default(), misbehaves, "gave no reply"),
        outcome(
            "a caller who has to wait",
            &Outcome { reply: Reply::Parked, ..now() },
            misbehaves,
            "parked its caller",
        ),
        outcome("an event", &events(1), misbehaves, "emitted events (1)"),
        outcome("4097 answers", &answered(too_many[0]), limit(LimitKind::Answered), "too many calls answered at once"),
        outcome("1025 events", &events(too_many[1]), limit(LimitKind::Events), "too many events at once"),
        outcome("1025 timers", &timers(too_many[2]), limit(LimitKind::Timers), "too many timers at once"),
        outcome("65 lines for the log", &lines(too_many[3]), limit(LimitKind::LogLines), "too many lines for the log"),
        outcome("64 lines for the log, of escapes", &lines(LOG_LINES_MAX), Expected::Answers, "7"),
    ]
}

/// Those that do not do what their interface says.
fn lying() -> Vec<Kind> {
    let reply = |answer| Outcome { reply: Reply::Now(answer), ..Outcome::default() };
    let rejected = |rejection| reply(Answer::Rejected(rejection));
    let escapes = "\u{1b}[2J\u{7f}\u{9b}31m\r\n";
    let texts = |types: Vec<Type>, outcome: Outcome| {
        let mut interface = interface();
        interface.types = types;
        interface.name = format!("Hostile{escapes}");
        interface.doc = format!("Harmless.{escapes}");
        Guest { description: codec::to_bytes(&interface), outcome: codec::to_bytes(&outcome), ..Guest::default() }
    };
    let variants = ["\u{1b}[2J", "\u{9b}31m"].map(|name| Variant { name: name.into(), payload: Payload::Unit });
    let named = Type::Enum { name: escapes.into(), variants: variants.to_vec() };
    let silent = Interface { methods: Vec::new(), ..interface() };
    let silent = Guest { description: codec::to_bytes(&silent), ..Guest::default() };
    let text = returned(codec::to_bytes(escapes));
    vec![
        loaded("methods that it does not tell of", silent, Expected::NoMethod, "has no method 'go'; it has none"),
        outcome("a method that is not there", &rejected(Rejection::UnknownMethod), Expected::Lies, "no such method"),
        outcome(
            "arguments refused with escapes",
            &rejected(Rejection::Arguments(escapes.into())),
            Expected::Lies,
            r"wrong arguments: \u{1b}[2J\u{7f}\u{9b}31m",
        ),
        outcome(
            "a result of another type",
            &returned(vec![0xff; 30]),
            Expected::Lies,
            "gave something else than its interface says: value: malformed i64",
        ),
        outcome("a result with more behind it", &returned(vec![14; 2]), Expected::Lies, "bytes left over"),
        outcome(
            "an error that was not promised",
            &reply(Answer::Failed(vec![14])),
            Expected::Lies,
            "its interface knows no error",
        ),
        loaded(
            "a result of escapes",
            texts(vec![Type::String], text),
            Expected::Answers,
            r#""\u001b[2J\u007f\u009b31m\r\n""#,
        ),
        loaded("a variant of escapes", texts(vec![named], returned(vec![1])), Expected::Answers, r#""\u009b31m""#),
    ]
}
