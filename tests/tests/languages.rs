//! The same object in C, AssemblyScript and Rust: built from source, they describe themselves alike, answer alike, and
//! take over each other's state; and a cluster runs them as any other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use concoord::prelude::*;
use concoord::wire::abi::{Answer, Invocation, ObjectLimits, Outcome, Rejection, Reply, Trigger, unpack};
use concoord::wire::interface::{Argument, Interface, Method, MethodKind, Type, TypeIndex};
use concoord::wire::{CallId, ObjectId, Position, SessionId, Slot, Timestamp, codec};
use concoord_consensus::objects::{Fault, Objects};
use concoord_executor::Executor;
use concoord_tests::cluster::{Cluster, Finished, Scratch, concoord, wait_for};
use concoord_tests::guests::{build_assemblyscript, build_c};
use serde_json::{Value, json};
use wasmtime::{Engine, Instance, Memory, Module, Store};

const ID: ObjectId = ObjectId(1);
const REPLICAS: usize = 3;
/// So few that the module alone makes a snapshot necessary.
const SNAPSHOT_LOG_BYTES: &str = "4096";
const OVERFLOW: &str = "the total overflows";

/// Totals by name.
#[concoord::object]
#[derive(Default, Serialize, Deserialize)]
pub struct Tally {
    tallies: Vec<(String, i64)>,
}

#[concoord::methods]
impl Tally {
    /// Adds to the total of a name, and gives it.
    pub fn add(&mut self, name: String, by: i64) -> Result<i64, String> {
        let known = self.tallies.iter().position(|(of, _)| *of == name);
        if known.is_none() && name.len() > 32 {
            return Err("a name has at most 32 bytes".into());
        }
        if known.is_none() && self.tallies.len() == 64 {
            return Err("there are 64 names already".into());
        }
        let at = known.unwrap_or_else(|| {
            self.tallies.push((name, 0));
            self.tallies.len() - 1
        });
        let total = &mut self.tallies[at].1;
        *total = total.checked_add(by).expect(OVERFLOW);
        Ok(*total)
    }

    /// The total of a name that was added to.
    pub fn total(&self, name: String) -> Option<i64> {
        self.tallies.iter().find(|(of, _)| *of == name).map(|(_, total)| *total)
    }

    /// All names with their totals, in the order in which they came.
    pub fn all(&self) -> Vec<(String, i64)> {
        self.tallies.clone()
    }
}

/// The bytes of an example in the page that describes the ABI: what stands in front of the bars.
fn example(name: &str) -> Vec<u8> {
    let page = include_str!("../../docs/src/objects/abi.md");
    let begin = format!("```bytes {name}\n");
    let (_, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no example '{name}'"));
    let (block, _) = rest.split_once("```").expect("a block ends");
    let digits = block.lines().map(|line| line.split_once('|').expect("bytes and what they are").0);
    let bytes = digits.flat_map(str::split_whitespace).map(|byte| u8::from_str_radix(byte, 16).expect("two digits"));
    bytes.collect()
}

#[test]
fn the_examples_of_the_abi_page_are_right() {
    let session = SessionId { slot: Slot(9), index: 0 };
    let invocation = Invocation {
        position: Position(42),
        now: Timestamp(1_700_000_000_000_000),
        seed: 7,
        call: Some(CallId { session, sequence: 3 }),
        caller: Some(session),
        trigger: Trigger::Call { method: "add" },
    };
    let arguments = codec::to_bytes(&("apples", 3_i64));
    assert_eq!(example("invocation"), [codec::to_bytes(&invocation), arguments].concat());

    let now = |answer| Outcome { reply: Reply::Now(answer), ..Outcome::default() };
    let unknown = Answer::Rejected(Rejection::UnknownMethod);
    assert_eq!(example("returned"), codec::to_bytes(&now(returned(3_i64))));
    assert_eq!(example("failed"), codec::to_bytes(&now(failed("full"))));
    assert_eq!(example("unknown"), codec::to_bytes(&now(unknown)));
    assert_eq!(example("silent"), codec::to_bytes(&Outcome::default()));

    let put = Method {
        name: "put".into(),
        doc: String::new(),
        kind: MethodKind::Update,
        arguments: vec![Argument { name: "n".into(), ty: TypeIndex(0) }],
        result: TypeIndex(1),
        error: Some(TypeIndex(2)),
    };
    let described = Interface {
        name: "Box".into(),
        version: "1".into(),
        doc: String::new(),
        types: vec![Type::U64, Type::Option(TypeIndex(0)), Type::String],
        event: None,
        init: vec![],
        methods: vec![put],
    };
    assert_eq!(example("interface"), codec::to_bytes(&described));
}

/// The object in C and the one in AssemblyScript, built from source once.
static BUILT: LazyLock<[(&str, Vec<u8>); 2]> = LazyLock::new(|| {
    [
        ("C", build_c("guest-sdk/c/example/tally.c")),
        ("AssemblyScript", build_assemblyscript("guest-sdk/assemblyscript/example/tally.ts")),
    ]
});

#[test]
fn they_pass_the_check_and_describe_themselves_like_the_one_in_rust() {
    let scratch = Scratch::new("described");
    let in_rust = Interface { version: "0.1.0".into(), ..Tally::interface() };
    for (language, module) in BUILT.iter() {
        let file = scratch.write("tally.wasm", module).display().to_string();
        let checked = concoord(&["object", "check", &file]);
        let bytes = module.len();
        let line = format!("{file}: Tally 0.1.0, 3 methods, {bytes} bytes\n");
        assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""), "{language}");
        assert!(checked.stdout.starts_with(&line), "{language}: {}", checked.stdout);
        println!("{language}: {bytes} bytes");
        assert_eq!(
            concoord_executor::describe(module, &concoord_executor::InProcess),
            Ok(in_rust.clone()),
            "{language}"
        );
        let shown = concoord(&["object", "show", &file]);
        assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""), "{language}");
        for line in [
            "update  add(name: String, by: i64) -> Result<i64, String>",
            "query   total(name: String) -> Option<i64>",
            "query   all() -> Vec<(String, i64)>",
        ] {
            assert!(shown.stdout.lines().any(|shown| shown == line), "no '{line}' in\n{}", shown.stdout);
        }
    }
}

/// What one input came to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Came {
    To(Outcome),
    /// The text is the object's; where in its source it stopped is left out.
    Trapped(String),
}

/// The same inputs for an object in Wasm and for the one in Rust.
trait Runs {
    fn run(&mut self, invocation: &Invocation<'_>, arguments: &[u8]) -> Came;
}

impl Runs for Executor {
    fn run(&mut self, invocation: &Invocation<'_>, arguments: &[u8]) -> Came {
        match self.invoke(ID, invocation, arguments, &|_| Ok(())) {
            Ok(outcome) => Came::To(outcome),
            Err(Fault::Trapped(said)) => {
                let text = said.strip_prefix("panicked: ").unwrap_or(&said);
                Came::Trapped(text.split(", at ").next().unwrap_or_default().to_owned())
            }
            Err(other) => panic!("{other}"),
        }
    }
}

impl Runs for Tally {
    fn run(&mut self, invocation: &Invocation<'_>, arguments: &[u8]) -> Came {
        if invocation.trigger == Trigger::Init {
            let answer = match Tally::create(arguments) {
                Ok(tally) => {
                    *self = tally;
                    Answer::Returned(Vec::new())
                }
                Err(why) => Answer::Rejected(why),
            };
            return Came::To(Outcome { reply: Reply::Now(answer), ..Outcome::default() });
        }
        let before = self.export();
        match catch_unwind(AssertUnwindSafe(|| self.dispatch(invocation, arguments))) {
            Ok(outcome) => Came::To(outcome),
            Err(panic) => {
                *self = Tally::import(&before).expect("it was exported just now");
                Came::Trapped(panic.downcast_ref::<String>().cloned().expect("it says why"))
            }
        }
    }
}

/// Rust names the arguments that are wrong in words of its own.
fn without_words(came: Came) -> Came {
    match came {
        Came::To(Outcome { reply: Reply::Now(Answer::Rejected(Rejection::Arguments(_))), .. }) => {
            let rejected = Answer::Rejected(Rejection::Arguments(String::new()));
            Came::To(Outcome { reply: Reply::Now(rejected), ..Outcome::default() })
        }
        other => other,
    }
}

/// The three objects, given the same inputs.
struct Three {
    in_c: Executor,
    in_assemblyscript: Executor,
    in_rust: Tally,
    position: u64,
}

impl Three {
    fn new() -> Three {
        let [in_c, in_assemblyscript] = BUILT.each_ref().map(|(language, module)| {
            let mut executor = Executor::new().expect("this host runs Wasm");
            let loaded = executor.load(ID, module, ObjectLimits::default());
            loaded.unwrap_or_else(|fault| panic!("{language}: {fault}"));
            executor
        });
        Three { in_c, in_assemblyscript, in_rust: Tally::default(), position: 0 }
    }

    /// What all three make of this input.
    fn agreed(&mut self, trigger: Trigger<'_>, arguments: &[u8]) -> Came {
        self.position += 1;
        let position = Position(self.position);
        let caller = SessionId { slot: Slot(self.position * 1000), index: 3 };
        let call = CallId { session: caller, sequence: self.position };
        let (call, caller) = if trigger == Trigger::Init { (None, None) } else { (Some(call), Some(caller)) };
        let seed = u64::MAX - self.position;
        let invocation = Invocation { position, now: Timestamp(1 << 50), seed, call, caller, trigger };
        let of_c = self.in_c.run(&invocation, arguments);
        let of_assemblyscript = self.in_assemblyscript.run(&invocation, arguments);
        assert_eq!(of_c, of_assemblyscript, "C and AssemblyScript at {trigger:?} of {arguments:02x?}");
        let of_rust = Runs::run(&mut self.in_rust, &invocation, arguments);
        assert_eq!(without_words(of_c.clone()), without_words(of_rust), "Rust at {trigger:?} of {arguments:02x?}");
        of_c
    }

    fn call(&mut self, method: &str, arguments: &[u8]) -> Answer {
        match self.agreed(Trigger::Call { method }, arguments) {
            Came::To(Outcome { reply: Reply::Now(answer), .. }) => answer,
            other => panic!("{method}: {other:?}"),
        }
    }

    fn add(&mut self, name: &str, by: i64) -> Answer {
        self.call("add", &codec::to_bytes(&(name, by)))
    }
}

fn returned<T: Serialize>(value: T) -> Answer {
    Answer::Returned(codec::to_bytes(&value))
}

fn rejected(why: &str) -> Answer {
    Answer::Rejected(Rejection::Arguments(why.into()))
}

fn failed(why: &str) -> Answer {
    Answer::Failed(codec::to_bytes(why))
}

#[test]
fn they_answer_alike() {
    let mut three = Three::new();
    let refused = three.agreed(Trigger::Init, &[1]);
    let wrong = Reply::Now(rejected("0 taken, bytes left over: 1"));
    assert_eq!(refused, Came::To(Outcome { reply: wrong, ..Outcome::default() }));
    let begun = three.agreed(Trigger::Init, &[]);
    let answer = Reply::Now(Answer::Returned(vec![]));
    assert_eq!(begun, Came::To(Outcome { reply: answer, ..Outcome::default() }));

    assert_eq!(three.call("total", &codec::to_bytes("apples")), returned(None::<i64>));
    assert_eq!(three.add("apples", 3), returned(3_i64));
    assert_eq!(three.add("Äpfel 🍎", -200), returned(-200_i64));
    assert_eq!(three.add("apples", 4), returned(7_i64));
    assert_eq!(three.add("", 0), returned(0_i64));
    assert_eq!(three.add("least", i64::MIN), returned(i64::MIN));
    assert_eq!(three.add("most", i64::MAX), returned(i64::MAX));
    let all = [("apples", 7), ("Äpfel 🍎", -200), ("", 0), ("least", i64::MIN), ("most", i64::MAX)];
    assert_eq!(three.call("all", &[]), returned(&all[..]));

    // A trap, and nothing of it stays: neither what was added nor a new name.
    for (name, by) in [("most", 1), ("least", -1)] {
        let trapped = three.agreed(Trigger::Call { method: "add" }, &codec::to_bytes(&(name, by)));
        assert_eq!(trapped, Came::Trapped(OVERFLOW.into()));
    }
    assert_eq!(three.call("all", &[]), returned(&all[..]));

    assert_eq!(three.add(&"n".repeat(33), 1), failed("a name has at most 32 bytes"));
    assert_eq!(three.add(&"n".repeat(32), 1), returned(1_i64));
    for number in all.len() + 1..64 {
        assert_eq!(three.add(&number.to_string(), 1), returned(1_i64));
    }
    assert_eq!(three.add("one more", 1), failed("there are 64 names already"));
    assert_eq!(three.add("apples", -7), returned(0_i64));

    assert_eq!(three.call("multiply", &[]), Answer::Rejected(Rejection::UnknownMethod));
    assert_eq!(three.call("", &[]), Answer::Rejected(Rejection::UnknownMethod));
    assert_eq!(three.call("totals", &codec::to_bytes("apples")), Answer::Rejected(Rejection::UnknownMethod));
    assert_eq!(three.call("add", &[]), rejected("argument 1 'name': the bytes end within it"));
    assert_eq!(three.call("add", &[1, b'a']), rejected("argument 2 'by': the bytes end within it"));
    assert_eq!(three.call("add", &[1, 0xff, 0]), rejected("argument 1 'name': the text is not UTF-8"));
    let too_large = [&[1, b'a'][..], &[0xff; 9], &[2]].concat();
    assert_eq!(three.call("add", &too_large), rejected("argument 2 'by': the number is too large for its type"));
    assert_eq!(three.call("add", &[1, b'a', 2, 0, 0]), rejected("2 taken, bytes left over: 2"));

    // What no method is behind changes nothing and says nothing.
    let session = SessionId { slot: Slot(7), index: 0 };
    let silent = [Trigger::SessionClosed { session }, Trigger::Timer { token: 9 }];
    for trigger in silent {
        assert_eq!(three.agreed(trigger, &[]), Came::To(Outcome::default()));
    }
}

/// A sequence of numbers that depends on nothing but where it began (xorshift).
fn drawn(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Whatever bytes come as arguments: what Rust's postcard takes for a string and a number, the others do too.
#[test]
fn they_agree_on_which_bytes_are_arguments() {
    let mut three = Three::new();
    three.agreed(Trigger::Init, &[]);
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let pieces = ["", "a", "ä", "€", "🍎", "\u{7ff}", "\u{800}", "\u{d7ff}", "\u{e000}", "\u{10ffff}"];
    let (mut taken, mut refused, mut trapped) = (0, 0, 0);
    for _ in 0..20_000 {
        let mut name = String::new();
        for _ in 0..drawn(&mut state) % 4 {
            name.push_str(pieces[(drawn(&mut state) % 10) as usize]);
        }
        let by = drawn(&mut state).cast_signed() >> (drawn(&mut state) % 64);
        let mut arguments = codec::to_bytes(&(name, by));
        if drawn(&mut state).is_multiple_of(2) {
            let at = drawn(&mut state) as usize % arguments.len();
            arguments[at] ^= 1 << (drawn(&mut state) % 8);
        }
        if drawn(&mut state).is_multiple_of(8) {
            arguments.truncate(drawn(&mut state) as usize % (arguments.len() + 1));
        }
        match three.agreed(Trigger::Call { method: "add" }, &arguments) {
            Came::To(Outcome { reply: Reply::Now(Answer::Rejected(_)), .. }) => refused += 1,
            Came::To(_) => taken += 1,
            Came::Trapped(_) => trapped += 1,
        }
    }
    println!("{taken} taken, {refused} refused, {trapped} trapped");
    assert!(taken > 2000 && refused > 2000 && trapped > 20, "{taken} taken, {refused} refused, {trapped} trapped");
}

/// How dark it is.
#[concoord::data]
#[derive(Clone, Debug, PartialEq)]
pub enum Shade {
    /// Not at all.
    Light,
    /// So much.
    Dark(u8),
}

/// A place.
#[concoord::data]
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    x: i16,
    y: Option<f64>,
}

/// A method for every kind of type.
#[concoord::object]
#[derive(Default, Serialize, Deserialize)]
pub struct Every {}

#[concoord::methods]
#[allow(missing_docs, clippy::unused_self, clippy::needless_pass_by_value, reason = "only the types count")]
impl Every {
    pub fn boolean(&self, value: bool) -> bool {
        value
    }
    pub fn byte(&self, value: u8) -> u8 {
        value
    }
    pub fn tiny(&self, value: i8) -> i8 {
        value
    }
    pub fn short(&self, value: u16) -> u16 {
        value
    }
    pub fn int(&self, value: i32) -> i32 {
        value
    }
    pub fn long(&self, value: u64) -> u64 {
        value
    }
    pub fn single(&self, value: f32) -> f32 {
        value
    }
    pub fn double(&self, value: f64) -> f64 {
        value
    }
    pub fn letter(&self, value: char) -> char {
        value
    }
    pub fn octets(&self, value: Vec<u8>) -> Vec<u8> {
        value
    }
    pub fn wide(&self, value: i128) {
        let _ = value;
    }
    pub fn wider(&self, value: u128) {
        let _ = value;
    }
    pub fn shade(&self, value: Shade) {
        let _ = value;
    }
    pub fn point(&self, value: Point) {
        let _ = value;
    }
    pub fn map(&self, value: BTreeMap<String, u16>) {
        let _ = value;
    }
    pub fn triple(&self, value: (u8, u16, i64)) {
        let _ = value;
    }
    pub fn unit(&self, value: ()) {
        let () = value;
    }
}

/// Bytes that are often a value of some type, and often not quite.
fn drawn_bytes(state: &mut u64) -> Vec<u8> {
    let valid = [
        codec::to_bytes(&drawn(state).is_multiple_of(2)),
        codec::to_bytes(&(drawn(state) >> (drawn(state) % 64))),
        codec::to_bytes(&((u128::from(drawn(state)) << 64) >> (drawn(state) % 128))),
        codec::to_bytes(&f64::from_bits(drawn(state))),
        codec::to_bytes(&char::from_u32((drawn(state) % 0x11_0000) as u32).unwrap_or('x')),
        codec::to_bytes(&drawn(state).to_le_bytes()[..(drawn(state) % 9) as usize]),
        codec::to_bytes(&Shade::Dark(1)),
        codec::to_bytes(&Point { x: (drawn(state) % 1000) as i16, y: Some(1.0) }),
        codec::to_bytes(&BTreeMap::from([("a".to_owned(), 300_u16), ("ä".to_owned(), 1)])),
        codec::to_bytes(&(1_u8, 2_u16, drawn(state).cast_signed())),
        drawn(state).to_le_bytes()[..(drawn(state) % 9) as usize].to_vec(),
        [vec![0xff; (drawn(state) % 19) as usize], vec![(drawn(state) % 128) as u8]].concat(),
    ];
    let mut bytes = valid[drawn(state) as usize % valid.len()].clone();
    if !bytes.is_empty() && drawn(state).is_multiple_of(4) {
        let at = drawn(state) as usize % bytes.len();
        bytes[at] ^= 1 << (drawn(state) % 8);
    }
    bytes
}

/// Every type: described as Rust describes it, and the same bytes are values of it, and come back as the same.
#[test]
fn they_agree_on_every_type() {
    let modules = [build_c("tests/guests/every.c"), build_assemblyscript("tests/guests/every.ts")];
    let in_rust = Interface { version: "0.1.0".into(), ..Every::interface() };
    let mut executors = modules.map(|module| {
        assert_eq!(concoord_executor::describe(&module, &concoord_executor::InProcess), Ok(in_rust.clone()));
        let mut executor = Executor::new().expect("this host runs Wasm");
        executor.load(ID, &module, ObjectLimits::default()).expect("it passes the check");
        executor
    });
    let mut state = 0x2545_f491_4f6c_dd1d;
    for method in &in_rust.methods {
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..1000 {
            let arguments = drawn_bytes(&mut state);
            let expected = Every {}.call(&method.name, &arguments);
            // Of a text of up to four bytes Rust's postcard takes the first character; the others want exactly one.
            if method.name == "letter" && matches!(&expected, Answer::Returned(bytes) if *bytes != arguments) {
                continue;
            }
            let trigger = Trigger::Call { method: &method.name };
            let (position, now) = (Position(1), Timestamp(1));
            let invocation = Invocation { position, now, seed: 1, call: None, caller: None, trigger };
            let expected = without_words(Came::To(Outcome { reply: Reply::Now(expected), ..Outcome::default() }));
            for executor in &mut executors {
                let came = without_words(executor.run(&invocation, &arguments));
                assert_eq!(came, expected, "{} of {arguments:02x?}", method.name);
            }
            let is_refused = matches!(&expected, Came::To(Outcome { reply: Reply::Now(Answer::Rejected(_)), .. }));
            *if is_refused { &mut refused } else { &mut taken } += 1;
        }
        println!("{:<8} {taken:>4} taken, {refused:>4} refused", method.name);
        assert!(taken > 0 && refused > 0, "{}: {taken} taken, {refused} refused", method.name);
    }
}

/// A module as it was built, without the runtime around it: for the exports that a running object is not asked for.
struct Bare {
    store: Store<()>,
    instance: Instance,
    memory: Memory,
}

impl Bare {
    fn new(module: &[u8]) -> Bare {
        let engine = Engine::default();
        let module = Module::new(&engine, module).expect("it passed the check");
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).expect("it has no imports");
        let memory = instance.get_memory(&mut store, "memory").expect("it passed the check");
        let mut bare = Bare { store, instance, memory };
        if let Ok(initialize) = bare.instance.get_typed_func::<(), ()>(&mut bare.store, "_initialize") {
            initialize.call(&mut bare.store, ()).expect("its constructors run");
        }
        bare
    }

    fn given(&self, packed: i64) -> Vec<u8> {
        let (address, length) = unpack(packed);
        self.memory.data(&self.store)[address as usize..][..length as usize].to_vec()
    }

    fn with_input(&mut self, name: &str, input: &[u8]) -> Vec<u8> {
        let length = u32::try_from(input.len()).expect("it is short");
        let buffer = self.instance.get_typed_func::<u32, u32>(&mut self.store, "concoord_buffer");
        let address = buffer.expect("checked").call(&mut self.store, length).expect("there is room");
        self.memory.write(&mut self.store, address as usize, input).expect("there is room");
        let function = self.instance.get_typed_func::<u32, i64>(&mut self.store, name).expect("checked");
        let packed = function.call(&mut self.store, length).expect("it does not trap");
        self.given(packed)
    }

    fn export(&mut self) -> Vec<u8> {
        let function = self.instance.get_typed_func::<(), i64>(&mut self.store, "concoord_export");
        let packed = function.expect("checked").call(&mut self.store, ()).expect("it does not trap");
        self.given(packed)
    }

    fn import(&mut self, state: &[u8]) -> Result<(), String> {
        codec::from_bytes(&self.with_input("concoord_import", state)).expect("a result")
    }

    fn add(&mut self, name: &str, by: i64) {
        let trigger = Trigger::Call { method: "add" };
        let (position, now) = (Position(1), Timestamp(1));
        let invocation = Invocation { position, now, seed: 1, call: None, caller: None, trigger };
        let input = [codec::to_bytes(&invocation), codec::to_bytes(&(name, by))].concat();
        let outcome: Outcome = codec::from_bytes(&self.with_input("concoord_call", &input)).expect("an outcome");
        assert!(matches!(outcome.reply, Reply::Now(Answer::Returned(_))), "{outcome:?}");
    }
}

#[test]
fn each_takes_over_the_state_of_the_others() {
    let [(_, in_c), (_, in_assemblyscript)] = &*BUILT;
    for (from, to) in [(in_c, in_assemblyscript), (in_assemblyscript, in_c)] {
        let (mut from, mut to, mut in_rust) = (Bare::new(from), Bare::new(to), Tally::default());
        for (name, by) in [("apples", 7), ("Äpfel 🍎", i64::MIN), ("", 0), (&"n".repeat(32), i64::MAX)] {
            from.add(name, by);
            assert_eq!(in_rust.add(name.into(), by), Ok(by));
        }
        to.add("gone after the import", 1);
        let state = from.export();
        assert_eq!(state, in_rust.export());
        assert_eq!(to.import(&state), Ok(()));
        assert_eq!(to.export(), state);

        let many: Vec<(String, i64)> = (0..65).map(|number| (number.to_string(), number)).collect();
        let long = vec![("fits", 1), ("n23456789012345678901234567890123", 1)];
        let unfit: [(Vec<u8>, &str); 6] = [
            (vec![], "the bytes end within it"),
            (state[..state.len() - 1].to_vec(), "the bytes end within it"),
            ([&state[..], &[0]].concat(), "bytes are left over"),
            (vec![1, 1, 0xff, 0], "the text is not UTF-8"),
            (codec::to_bytes(&many), "there are more than 64 names"),
            (codec::to_bytes(&long), "a name has at most 32 bytes"),
        ];
        for (unfit, why) in unfit {
            assert_eq!(to.import(&unfit), Err(why.into()), "{unfit:02x?}");
            assert_eq!(to.export(), state, "nothing changed");
        }
        to.add("apples", 1);
        assert_ne!(to.export(), state);
    }
}

fn call(addresses: &str, words: &[&str]) -> Finished {
    concoord(&[&["call", "-c", addresses], words].concat())
}

/// The result, of a call that has one.
fn result(addresses: &str, words: &[&str]) -> Value {
    let called = call(addresses, words);
    assert_eq!((called.code, called.stderr.as_str()), (Some(0), ""), "{words:?}");
    serde_json::from_str(&called.stdout).expect("it is JSON")
}

/// The last line of what a call said that failed.
fn error(addresses: &str, words: &[&str]) -> String {
    let called = call(addresses, words);
    assert_eq!((called.code, called.stdout.as_str()), (Some(1), ""), "{words:?}: {}", called.stderr);
    called.stderr.trim_end().to_owned()
}

/// What this replica has applied, as soon as it is what is expected.
fn wait_for_all(replica: SocketAddr, expected: &Value) {
    wait_for("a replica to have what the others have", || {
        let shown = call(&replica.to_string(), &["all", "--stale"]);
        let all = serde_json::from_str::<Value>(&shown.stdout).ok();
        if all.as_ref() == Some(expected) { Ok(()) } else { Err(format!("{shown:?}")) }
    });
}

fn a_cluster_runs_it(name: &str, module: &[u8]) {
    let mut cluster = Cluster::new(name);
    let module = cluster.scratch().write("tally.wasm", module).display().to_string();
    let flags = ["--object", &module, "--snapshot-log-bytes", SNAPSHOT_LOG_BYTES];
    let first = cluster.start(&flags);
    let boot = first.to_string();
    let joining = [&flags[..], &["-b", &boot]].concat();
    for _ in 1..REPLICAS {
        cluster.start(&joining);
    }
    let addresses = cluster.addresses();
    assert_eq!(result(&addresses, &["add", "apples", "3"]), json!(3));
    assert_eq!(result(&addresses, &["add", "Äpfel", "-200"]), json!(-200));
    assert_eq!(result(&addresses, &["total", "apples"]), json!(3));
    assert_eq!(result(&addresses, &["total", "pears"]), Value::Null);
    let mut expected = json!([["apples", 3], ["Äpfel", -200]]);
    assert_eq!(result(&addresses, &["all"]), expected);

    let many = "9223372036854775807";
    for (words, says) in [
        (&["add", "apples", many][..], OVERFLOW),
        (&["add", &"n".repeat(33), "1"], "a name has at most 32 bytes"),
        (&["add", "apples"], "takes 2 arguments, 1 given"),
        (&["add", "apples", "many"], "expected i64"),
        (&["multiply", "apples"], "has no method 'multiply'; it has add, total, all"),
    ] {
        let said = error(&addresses, words);
        assert!(said.contains(says), "{words:?}: {said}");
    }
    assert_eq!(result(&addresses, &["all"]), expected, "what failed changed nothing");

    let leader = cluster.leader(first);
    cluster.replica(leader).kill();
    assert_eq!(result(&addresses, &["add", "apples", "4"]), json!(7));
    expected = json!([["apples", 7], ["Äpfel", -200]]);
    assert_eq!(result(&addresses, &["all"]), expected);
    let living = cluster.other_than(leader);
    cluster.restart(leader, living);
    for replica in cluster.all() {
        wait_for_all(replica, &expected);
    }

    // Enough for two snapshots, so that a joiner can't have all of it from the log.
    for number in 1..=40 {
        assert_eq!(result(&addresses, &["add", "pears", "1"]), json!(number));
        if snapshots_saved(&mut cluster, living) >= 3 {
            break;
        }
    }
    let pears = result(&addresses, &["total", "pears"]);
    expected = json!([["apples", 7], ["Äpfel", -200], ["pears", pears]]);
    let joined = cluster.start(&["--object", &module, "-b", &living.to_string()]);
    wait_for_all(joined, &expected);
    let log = cluster.replica(joined).log();
    assert!(log.contains("snapshot of slot") && log.contains(" received, "), "it got no snapshot: {log}");

    cluster.kill_all();
    cluster.restart_all_same();
    assert_eq!(result(&cluster.addresses(), &["all"]), expected, "from their disks");
    assert_eq!(result(&cluster.addresses(), &["add", "apples", "-8"]), json!(-1));
}

fn snapshots_saved(cluster: &mut Cluster, replica: SocketAddr) -> usize {
    let log = cluster.replica(replica).log();
    log.lines().filter(|line| line.contains("snapshot of slot") && line.contains(" saved, ")).count()
}

#[test]
fn a_cluster_runs_an_object_in_c() {
    a_cluster_runs_it("in-c", &BUILT[0].1);
}

#[test]
fn a_cluster_runs_an_object_in_assemblyscript() {
    a_cluster_runs_it("in-assemblyscript", &BUILT[1].1);
}
