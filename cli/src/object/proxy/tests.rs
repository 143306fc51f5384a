//! What is written stays code of ours around names of theirs, whatever these are.

use concoord_wire::interface::{Argument, Interface, Method, MethodKind, Payload, Type, TypeIndex, Variant};

use super::{Language, strange, write};

const LANGUAGES: [Language; 3] = [Language::Rust, Language::Python, Language::Typescript];
const STRANGE: u64 = 500;

/// The text without comments and strings; fails where one has no end.
fn code(text: &str, language: Language) -> String {
    let (mut code, mut left) = (String::new(), text);
    while !left.is_empty() {
        let skipped = match language {
            Language::Rust if left.starts_with("//") => left.find('\n'),
            Language::Typescript if left.starts_with("/*") => left.find("*/").map(|end| end + 2),
            Language::Python if left.starts_with("\"\"\"") => string_end(&left[3..], "\"\"\"").map(|end| end + 6),
            _ if left.starts_with('"') => string_end(&left[1..], "\"").map(|end| end + 2),
            _ => {
                let c = left.chars().next().expect("not empty");
                code.push(c);
                Some(c.len_utf8())
            }
        };
        left = &left[skipped.unwrap_or_else(|| panic!("without an end: {left:.60}"))..];
    }
    code
}

fn string_end(text: &str, quote: &str) -> Option<usize> {
    let mut at = 0;
    while !text[at..].starts_with(quote) {
        let c = text[at..].chars().next()?;
        at += c.len_utf8();
        if c == '\\' {
            at += text[at..].chars().next()?.len_utf8();
        }
    }
    Some(at)
}

#[test]
fn names_and_words_of_strangers_are_never_code() {
    for seed in 0..STRANGE {
        let interface = strange::interface(seed);
        for language in LANGUAGES {
            let text = write(&interface, language);
            let odd = text.chars().find(|c| *c != '\n' && (c.is_control() || ('\u{2028}'..='\u{202e}').contains(c)));
            assert_eq!(odd, None, "seed {seed}, {language:?}");
            let code = code(&text, language);
            assert!(code.is_ascii(), "seed {seed}, {language:?}");
            let mut words = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            assert!(words.all(|word| word != "evil"), "seed {seed}, {language:?}: {code}");
            for pair in ["()", "[]", "{}"] {
                let [opened, closed] = [0, 1].map(|at| code.matches(&pair[at..=at]).count());
                assert_eq!(opened, closed, "seed {seed}, {language:?}: {pair}");
            }
        }
    }
}

#[test]
fn each_method_is_there_once() {
    for seed in 0..STRANGE {
        let interface = strange::interface(seed);
        for (language, before) in
            [(Language::Rust, "    pub async fn "), (Language::Python, "    def "), (Language::Typescript, "  ")]
        {
            let code = code(&write(&interface, language), language);
            let class = match language {
                Language::Rust => code.split("\nimpl<").nth(1),
                Language::Python => code.split("self._object = object").nth(1),
                Language::Typescript => {
                    code.split("this._object = object;").nth(1).and_then(|rest| rest.split("\n}\n").next())
                }
            };
            let names = class.expect("there is a class").lines().filter_map(|line| {
                let name = line.strip_prefix(before)?.split_once('(')?.0;
                (!name.starts_with(' ')).then_some(name)
            });
            let mut names: Vec<&str> = names.collect();
            let has_own = interface.methods.iter().any(|method| method.name == "reinitialize");
            let expected = interface.methods.len() + usize::from(!has_own);
            assert_eq!(names.len(), expected, "seed {seed}, {language:?}: {names:?}");
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), expected, "seed {seed}, {language:?}");
        }
    }
}

#[test]
fn an_example_in_a_description_is_not_run() {
    let mut interface = jobs();
    for doc in
        ["```\nevil();\n```", "    evil();", "- x\n\n      evil();", "~~~\nevil();\n~~~", "-     evil();", "\tevil();"]
    {
        interface.doc = doc.into();
        interface.methods[0].doc = doc.into();
        let text = write(&interface, Language::Rust);
        let fences = text.lines().filter(|line| line.contains("```")).collect::<Vec<_>>();
        assert_eq!(fences, ["//! ```ignore", "//! ```"], "{doc}");
        let indented =
            text.lines().find(|line| line.contains("///  ") || line.contains("//!  ") || line.contains("-  "));
        assert_eq!((indented, text.contains("~~~")), (None, false), "{doc}");
    }
}

#[test]
fn what_doubles_with_every_level_stays_short() {
    let mut interface = jobs();
    interface.types = vec![Type::U8];
    for level in 0..31 {
        interface.types.push(Type::Tuple(vec![TypeIndex(level); 2]));
    }
    interface.methods[0].arguments[0].ty = TypeIndex(31);
    interface.methods[0].result = TypeIndex(31);
    interface.methods[0].error = None;
    for language in LANGUAGES {
        let text = write(&interface, language);
        assert!(text.len() < 10_000, "{language:?}: {} bytes", text.len());
    }
}

#[test]
fn the_largest_interface_is_written_as_well() {
    let name = || "a".to_owned();
    let mut types = vec![Type::U8];
    for index in 1..4000 {
        let fields =
            vec![Argument { name: name(), ty: TypeIndex(0) }, Argument { name: index.to_string(), ty: TypeIndex(0) }];
        types.push(Type::Struct { name: name(), fields });
    }
    types.push(Type::Tuple((0..15_000).map(|part| TypeIndex(part % 4000)).collect()));
    let fields = (0..15_000).map(|_| Argument { name: name(), ty: TypeIndex(0) }).collect();
    types.push(Type::Struct { name: name(), fields });
    let mut interface = Interface { types, event: None, init: vec![], ..jobs() };
    interface.methods[0].arguments = (0..15_000).map(|_| Argument { name: name(), ty: TypeIndex(4000) }).collect();
    interface.methods[0].result = TypeIndex(4001);
    interface.methods[0].error = None;
    interface.methods[0].doc = "a\n".repeat(10_000);
    let encoded = concoord_wire::codec::to_bytes(&interface);
    assert!(Interface::decode(&encoded).is_ok_and(|decoded| decoded == interface), "within all limits");
    for language in LANGUAGES {
        let text = write(&interface, language);
        assert!(text.len() < 100 * encoded.len(), "{language:?}: {} bytes", text.len());
    }
}

#[test]
fn types_with_one_name_are_told_apart_and_equal_ones_are_one() {
    let one =
        |ty| Type::Struct { name: "Entry".into(), fields: vec![Argument { name: "value".into(), ty: TypeIndex(ty) }] };
    let interface = Interface {
        types: vec![Type::U8, Type::U16, one(0), one(1), Type::U8, one(4)],
        methods: vec![Method {
            name: "get".into(),
            doc: String::new(),
            kind: MethodKind::Query,
            arguments: [2, 3, 5].map(|ty| Argument { name: "entry".into(), ty: TypeIndex(ty) }).to_vec(),
            result: TypeIndex(0),
            error: None,
        }],
        ..jobs()
    };
    let text = write(&interface, Language::Rust);
    let head = "        entry: Entry,\n        entry_2: Entry2,\n        entry_3: Entry,\n";
    assert!(text.contains(head) || text.contains("entry: Entry, entry_2: Entry2, entry_3: Entry"), "{text}");
    assert_eq!(text.matches("pub struct Entry {").count(), 1, "{text}");
    assert!(!text.contains("Entry3"), "{text}");
    let python = write(&interface, Language::Python);
    assert!(python.contains("def get(self, entry: Entry, entry_2: Entry2, entry_3: Entry) -> int:"), "{python}");
}

fn jobs() -> Interface {
    let argument = |name: &str, ty| Argument { name: name.into(), ty: TypeIndex(ty) };
    Interface {
        name: "Jobs".into(),
        version: "1.0.0".into(),
        doc: "What is to be done.".into(),
        types: vec![
            Type::String,
            Type::U64,
            Type::F64,
            Type::Enum {
                name: "State".into(),
                variants: vec![
                    Variant { name: "Waiting".into(), payload: Payload::Unit },
                    Variant { name: "Running".into(), payload: Payload::Struct(vec![argument("since", 1)]) },
                    Variant { name: "Failed".into(), payload: Payload::Newtype(TypeIndex(0)) },
                ],
            },
            Type::Struct {
                name: "Job".into(),
                fields: vec![argument("type", 0), argument("load", 2), argument("state", 3)],
            },
            Type::Option(TypeIndex(1)),
            Type::Map { key: TypeIndex(3), value: TypeIndex(4) },
        ],
        event: Some(TypeIndex(3)),
        init: vec![argument("limit", 5)],
        methods: vec![Method {
            name: "add".into(),
            doc: "Adds a `job`.".into(),
            kind: MethodKind::Update,
            arguments: vec![argument("job", 4), argument("from", 5)],
            result: TypeIndex(6),
            error: Some(TypeIndex(3)),
        }],
    }
}

/// The lines of `expected` stand in `text`, in this order.
fn has(text: &str, expected: &str) {
    let mut lines = text.lines();
    for line in expected.lines().filter(|line| !line.is_empty()) {
        assert!(lines.any(|found| found == line), "no line {line:?} there in\n{text}");
    }
}

#[test]
fn in_rust_it_is_the_proxy_of_the_objects_own_crate() {
    let expected = r#"
//! Calls a replicated `Jobs` 1.0.0 through a `Caller`, as `concoord_client::Client` is one.
pub struct JobsProxy<C> {
impl<C: Caller> JobsProxy<C> {
    /// Adds a `job`.
    pub async fn add(
        &self,
        job: Job,
        from: Option<u64>,
    ) -> Result<BTreeMap<State, Job>, ProxyError<C::Error, State>> {
        let arguments = codec::to_bytes(&(&job, &from));
        let call = self.call("add", MethodKind::Update, arguments);
        caller::returned_result(call.await, decode, decode)
    pub async fn reinitialize(&self, limit: Option<u64>) -> Result<(), ProxyError<C::Error>> {
        let call = self.call(REINITIALIZE, MethodKind::Update, arguments);
pub type Event = State;
pub fn decode_event(payload: &[u8]) -> Result<Event, FrameError> {
/// In the arguments of `add` and the result of `add`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub r#type: String,
    pub load: f64,
    pub state: State,
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    Waiting,
    Running { since: u64 },
    Failed(String),
impl core::error::Error for State {}
"#;
    has(&write(&jobs(), Language::Rust), expected);
}

#[test]
fn in_python_values_are_those_of_json() {
    let expected = r#"
Float = t.Union[float, t.Literal["NaN", "Infinity", "-Infinity"]]
class StateRunningFields(t.TypedDict):
    since: int
StateRunning = t.TypedDict("StateRunning", {"Running": StateRunningFields})
StateFailed = t.TypedDict("StateFailed", {"Failed": str})
State = t.Union[t.Literal["Waiting"], StateRunning, StateFailed]
Job = t.TypedDict(
        "type": str,
        "load": Float,
        "state": State,
Event = State
class JobsProxy:
    def __init__(self, caller: Caller, object: t.Optional[str] = None) -> None:
    def add(self, job: Job, from_: t.Optional[int] = None) -> t.List[t.List[t.Union[State, Job]]]:
        """Adds a `job`.
        Its errors are of the type `State`.
        result: t.List[t.List[t.Union[State, Job]]] = self._caller.call(self._object, "add", [job, from_])
    def reinitialize(self, limit: t.Optional[int] = None) -> None:
        self._caller.call(self._object, "__concoordinit__", [limit])
"#;
    has(&write(&jobs(), Language::Python), expected);
}

#[test]
fn in_typescript_values_are_those_of_json() {
    let expected = r#"
export type Int64 = number | bigint;
export type Float = number | "NaN" | "Infinity" | "-Infinity";
export class JobsProxy {
   * Adds a `job`.
   * Its errors are of the type `State`.
  add(job: Job, from: Int64 | null = null): Promise<[State, Job][]> {
    return this._caller.call(this._object, "add", [job, from]) as Promise<[State, Job][]>;
  reinitialize(limit: Int64 | null = null): Promise<null> {
export type Event = State;
export interface Job {
  type: string;
  load: Float;
  state: State;
export type State =
  | "Waiting"
  | { Running: { since: Int64 } }
  | { Failed: string };
"#;
    has(&write(&jobs(), Language::Typescript), expected);
}
