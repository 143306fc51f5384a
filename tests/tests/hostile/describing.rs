//! Modules that pass the check and do not tell what they can do, or can't be begun with.

use concoord_wire::abi::{Answer, Event, Outcome, Rejection, Reply, pack};
use concoord_wire::codec;
use concoord_wire::interface::{Interface, Type, TypeIndex};
use concoord_wire::limits::INTERFACE_BYTES_MAX;

use super::guest::{Guest, OUTCOME, interface};
use super::kinds::{Expected, Kind};

/// What never ends.
pub(crate) const SPIN: &str = "(loop $again (br $again))";

/// Which tells that it can't be run before anything is proposed.
fn trial(name: &'static str, guest: &Guest, words: &'static str) -> Kind {
    Kind { name, module: guest.module(), answer: Expected::Trial, words }
}

/// With this as what it does to describe itself.
fn describe(name: &'static str, text: &str, words: &'static str) -> Kind {
    trial(name, &Guest { describe: text.into(), ..Guest::default() }, words)
}

/// With this interface.
fn described(name: &'static str, change: impl FnOnce(&mut Interface), words: &'static str) -> Kind {
    let mut interface = interface();
    change(&mut interface);
    trial(name, &Guest { description: codec::to_bytes(&interface), ..Guest::default() }, words)
}

/// Whose constructor does this.
fn init(name: &'static str, text: &str, words: &'static str) -> Kind {
    let guest = Guest { init: text.into(), ..Guest::default() };
    Kind { name, module: guest.module(), answer: Expected::Load, words }
}

/// Whose constructor has this outcome.
fn begun(name: &'static str, outcome: &Outcome, words: &'static str) -> Kind {
    let outcome = codec::to_bytes(outcome);
    let place = pack(OUTCOME, u32::try_from(outcome.len()).expect("small"));
    let guest = Guest { init: format!("(return (i64.const {place}))"), outcome, ..Guest::default() };
    Kind { name, module: guest.module(), answer: Expected::Load, words }
}

pub(crate) fn kinds() -> Vec<Kind> {
    let returning = |address, length| format!("(return (i64.const {}))", pack(address, length));
    let beyond = u32::try_from(INTERFACE_BYTES_MAX + 1).expect("a small limit");
    let garbage = Guest { description: vec![0xff; 40], ..Guest::default() };
    let announced = Guest { description: vec![0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f], ..Guest::default() };
    let elements = Guest { fields: "(elem (i32.const 4) func $other)".into(), ..Guest::default() };
    let initialize = |text: &str| Guest { initialize: text.into(), ..Guest::default() };
    let nested = |interface: &mut Interface| interface.types.extend((0..100).map(|at| Type::Option(TypeIndex(at))));
    let reply = |reply| Outcome { reply, ..Outcome::default() };
    let arguments = Rejection::Arguments("\u{1b}]0;yours\u{7} is mine\u{9b}2J".into());
    let event = Outcome { events: vec![Event { topic: String::new(), payload: vec![] }], ..Outcome::default() };
    vec![
        trial("elements outside the table", &elements, "its tables do not fit"),
        trial("constructors that never end", &initialize(SPIN), "its constructors: out of gas"),
        trial("constructors that trap", &initialize("unreachable"), "its constructors trapped: stopped itself"),
        describe("a description that never ends", SPIN, "its description: out of gas"),
        describe("a description that traps", "(drop (i32.load (i32.const -1)))", "its description trapped: access"),
        describe("a description outside its memory", &returning(u32::MAX, 8), "outside its memory of 2 pages"),
        describe("a description that is too long", &returning(0, beyond), "at most 262144 are accepted"),
        describe("a description of 4 GiB", &returning(0, u32::MAX), "at most 262144 are accepted"),
        describe("an empty description", &returning(0, 0), "malformed interface"),
        trial("a description that is none", &garbage, "malformed interface"),
        trial("4,294,967,295 types in a description", &announced, "malformed interface"),
        described("a type made of itself", |it| it.types = vec![Type::Seq(TypeIndex(0))], "refers to type 0"),
        described(
            "two types made of each other",
            |it| it.types = vec![Type::Option(TypeIndex(1)), Type::Option(TypeIndex(0))],
            "refers to type 1",
        ),
        described("types nested 100 deep", nested, "levels of nested types, but at most 32"),
        described("a result of no type", |it| it.methods[0].result = TypeIndex(u32::MAX), "refers to type 4294967295"),
        described("a method without a name", |it| it.methods[0].name.clear(), "a method name that is empty"),
        described("two methods of one name", |it| it.methods[1].name = "go".into(), "used twice: 'go'"),
        described(
            "a method's name of 1000 bytes",
            |it| it.methods[0].name = "x".repeat(1000),
            "bytes in a method name",
        ),
        described(
            "two methods whose name is a terminal's escape",
            |it| it.methods.iter_mut().for_each(|method| method.name = "\u{1b}[2J\u{9b}31m\r\n".into()),
            r"used twice: '\u{1b}[2J\u{9b}31m",
        ),
        described(
            "1000 methods",
            |it| {
                let one = it.methods[0].clone();
                it.methods = vec![one; 1000];
            },
            "1000 methods, but at most 512",
        ),
        described("5000 types", |it| it.types = vec![Type::Unit; 5000], "5000 types, but at most 4096"),
        init("a constructor that never ends", SPIN, "the constructor: out of gas"),
        init("a constructor that traps", "unreachable", "the constructor trapped: stopped itself"),
        init("a constructor's outcome outside its memory", &returning(u32::MAX - 2, 2), "outside its memory"),
        begun("a constructor that fails", &reply(Reply::Now(Answer::Failed(vec![1]))), "returned an error"),
        begun("a constructor that lets its caller wait", &reply(Reply::Parked), "parked its caller"),
        begun("a constructor that emits an event", &event, "emitted events"),
        begun(
            "a constructor that answers with escapes",
            &reply(Reply::Now(Answer::Rejected(arguments))),
            r"wrong constructor arguments: \u{1b}]0;yours",
        ),
    ]
}
