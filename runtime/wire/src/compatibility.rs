//! What a new version of an object's interface breaks for who calls it by the old one.
//!
//! Calls name their method and give their arguments in order; people and gateways name fields and variants in JSON. So
//! the names of methods, fields and variants count, and the names of arguments, structs and enums do not, nor does any
//! documentation. The constructor is called once, by whoever loads an object, and is not compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::interface::{Argument, Interface, Method, MethodKind, Payload, Type, TypeIndex, Variant};
use crate::limits::{CHANGE_TEXT_BYTES_MAX, CHANGES_LISTED_MAX};
use crate::signature;

/// Something that callers of the old version would stumble over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The method; `events` for what is different about events.
    pub method: String,
    /// What is different about it.
    pub what: Difference,
}

/// What stands for a method's name where events are different.
const EVENTS: &str = "events";

/// What is different about a method. Types are written as their author would, cut at [`CHANGE_TEXT_BYTES_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Difference {
    /// There is no such method any more.
    Removed,
    /// A query is an update now, or the other way round.
    Kind {
        /// What it is now.
        now: MethodKind,
    },
    /// It takes an argument that it did not take.
    ArgumentAdded {
        /// Its name.
        name: String,
    },
    /// It does not take an argument any more.
    ArgumentRemoved {
        /// Its name.
        name: String,
    },
    /// It takes the same arguments in another order.
    ArgumentsReordered,
    /// An argument has another type.
    ArgumentType {
        /// Its name in the new version.
        name: String,
        /// How the type differs.
        types: Types,
    },
    /// Its result has another type.
    Result(Types),
    /// Its error has another type, or there is one where there was none, or the other way round.
    Error(Types),
    /// What its events carry has another type, or it does not emit any more.
    Event(Types),
}

/// Two types that differ, as far inside as all around them is the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Types {
    /// Where in the whole: `.field`, `[]`, `?`, `::Variant`; empty for the whole.
    pub at: String,
    /// As it was.
    pub old: String,
    /// As it is now.
    pub new: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = &self.method;
        match &self.what {
            Difference::Removed => write!(f, "{method} is removed"),
            Difference::Kind { now: MethodKind::Query } => write!(f, "{method} is a query and was an update"),
            Difference::Kind { now: MethodKind::Update } => write!(f, "{method} is an update and was a query"),
            Difference::Kind { now: MethodKind::Waiting } => write!(f, "{method} may wait, which it did not"),
            Difference::ArgumentAdded { name } => write!(f, "{method} takes '{name}', which it did not"),
            Difference::ArgumentRemoved { name } => write!(f, "{method} does not take '{name}' any more"),
            Difference::ArgumentsReordered => write!(f, "{method} takes its arguments in another order"),
            Difference::ArgumentType { name, types } => write!(f, "{method}: argument '{name}'{types}"),
            Difference::Result(types) => write!(f, "{method}: result{types}"),
            Difference::Error(types) => write!(f, "{method}: error{types}"),
            Difference::Event(types) => write!(f, "{method}{types}"),
        }
    }
}

impl fmt::Display for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Types { at, old, new } = self;
        write!(f, "{at} is {new} and was {old}")
    }
}

/// What breaks for callers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaks {
    /// The first [`CHANGES_LISTED_MAX`].
    pub changes: Vec<Change>,
    /// How many more there are.
    pub more: u64,
}

impl Breaks {
    /// Whether callers can go on as they do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// One more. What it is, is found out only if it is listed: interfaces come from strangers, and there may be very
    /// many changes of very large types.
    fn add(&mut self, method: &str, what: impl FnOnce() -> Difference) {
        if self.changes.len() < CHANGES_LISTED_MAX {
            self.changes.push(Change { method: cut(method.to_owned()), what: what() });
        } else {
            self.more += 1;
        }
    }
}

/// What `new` breaks for callers of `old`, in the order of the old methods; nothing, if they can go on as they do.
#[must_use]
pub fn breaking_changes(old: &Interface, new: &Interface) -> Breaks {
    let comparison = Comparison::of(old, new);
    let mut breaks = Breaks::default();
    for method in &old.methods {
        match new.method(&method.name) {
            Some(now) => comparison.methods(method, now, &mut breaks),
            None => breaks.add(&method.name, || Difference::Removed),
        }
    }
    comparison.events(&mut breaks);
    breaks
}

/// Two interfaces, with a number for each type that both have alike.
struct Comparison<'a> {
    old: &'a Interface,
    new: &'a Interface,
    old_numbers: Vec<TypeIndex>,
    new_numbers: Vec<TypeIndex>,
}

impl<'a> Comparison<'a> {
    /// Equal types get equal numbers. Each type is looked at once: its parts come before it and have theirs.
    fn of(old: &'a Interface, new: &'a Interface) -> Comparison<'a> {
        let mut known: BTreeMap<Type, TypeIndex> = BTreeMap::new();
        let mut number = |interface: &Interface| {
            let mut numbers: Vec<TypeIndex> = Vec::with_capacity(interface.types.len());
            for ty in &interface.types {
                let next = TypeIndex(u32::try_from(known.len()).expect("a table is far below 2^32 types"));
                let ty = nameless(ty, |part| numbers[part.0 as usize]);
                numbers.push(*known.entry(ty).or_insert(next));
            }
            numbers
        };
        let (old_numbers, new_numbers) = (number(old), number(new));
        Comparison { old, new, old_numbers, new_numbers }
    }

    fn are_alike(&self, old: TypeIndex, new: TypeIndex) -> bool {
        self.old_numbers[old.0 as usize] == self.new_numbers[new.0 as usize]
    }

    fn methods(&self, old: &Method, new: &Method, breaks: &mut Breaks) {
        let name = &old.name;
        let waits_no_more = (old.kind, new.kind) == (MethodKind::Waiting, MethodKind::Update);
        if old.kind != new.kind && !waits_no_more {
            breaks.add(name, || Difference::Kind { now: new.kind });
        }
        self.arguments(old, new, breaks);
        if !self.are_alike(old.result, new.result) {
            breaks.add(name, || Difference::Result(self.types(old.result, new.result)));
        }
        let none = || "none".to_owned();
        let whole = |old, new| Types { at: String::new(), old, new };
        match (old.error, new.error) {
            (Some(old), Some(new)) if !self.are_alike(old, new) => {
                breaks.add(name, || Difference::Error(self.types(old, new)));
            }
            (Some(old), None) => breaks.add(name, || Difference::Error(whole(text(self.old, old), none()))),
            (None, Some(new)) => breaks.add(name, || Difference::Error(whole(none(), text(self.new, new)))),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// Watchers read events by the old type. An object that emits since breaks nobody.
    fn events(&self, breaks: &mut Breaks) {
        match (self.old.event, self.new.event) {
            (Some(old), Some(new)) if !self.are_alike(old, new) => {
                breaks.add(EVENTS, || Difference::Event(self.types(old, new)));
            }
            (Some(old), None) => breaks.add(EVENTS, || {
                Difference::Event(Types { at: String::new(), old: text(self.old, old), new: "none".into() })
            }),
            _ => {}
        }
    }

    /// By place where there are as many as before, since that is how they are given; else by name.
    fn arguments(&self, Method { name, arguments: old, .. }: &Method, new: &Method, breaks: &mut Breaks) {
        let new = &new.arguments;
        let argument_type = |old: &Argument, new: &Argument| Difference::ArgumentType {
            name: cut(new.name.clone()),
            types: self.types(old.ty, new.ty),
        };
        if old.len() == new.len() {
            let [(in_order, by_name), (now_in_order, now_by_name)] = [old, new].map(|arguments| names(arguments));
            if in_order != now_in_order && by_name == now_by_name {
                return breaks.add(name, || Difference::ArgumentsReordered);
            }
            let differ = old.iter().zip(new).filter(|(old, new)| !self.are_alike(old.ty, new.ty));
            return differ.for_each(|(old, new)| breaks.add(name, || argument_type(old, new)));
        }
        let (before, now) = (by_name(old), by_name(new));
        for argument in old {
            match now.get(argument.name.as_str()) {
                None => breaks.add(name, || Difference::ArgumentRemoved { name: cut(argument.name.clone()) }),
                Some(now) if !self.are_alike(argument.ty, now.ty) => breaks.add(name, || argument_type(argument, now)),
                Some(_) => {}
            }
        }
        let added = new.iter().filter(|now| !before.contains_key(now.name.as_str()));
        added.for_each(|now| breaks.add(name, || Difference::ArgumentAdded { name: cut(now.name.clone()) }));
    }

    /// The innermost types that differ, on the way through the first part that does.
    fn types(&self, mut old: TypeIndex, mut new: TypeIndex) -> Types {
        let mut at = String::new();
        loop {
            let (old_type, new_type) = (self.old.ty(old), self.new.ty(new));
            let shape = |ty| nameless(ty, |_| TypeIndex(0));
            if shape(old_type) != shape(new_type) {
                break;
            }
            let mut parts = old_type.parts().into_iter().zip(new_type.parts()).zip(labels(old_type));
            let part = parts.find(|((old, new), _)| !self.are_alike(*old, *new));
            let Some(((old_part, new_part), label)) = part else { break };
            at.push_str(&label);
            (old, new) = (old_part, new_part);
        }
        let (mut old_text, mut new_text) = (text(self.old, old), text(self.new, new));
        if old_text == new_text {
            let define = |interface, ty, text| signature::definition(interface, ty).map_or(text, cut);
            (old_text, new_text) = (define(self.old, old, old_text), define(self.new, new, new_text));
        }
        Types { at: cut(at), old: old_text, new: new_text }
    }
}

/// Names of arguments, in order and as a set.
fn names(arguments: &[Argument]) -> (Vec<&str>, BTreeSet<&str>) {
    let names = || arguments.iter().map(|argument| argument.name.as_str());
    (names().collect(), names().collect())
}

/// The first argument of each name.
fn by_name(arguments: &[Argument]) -> BTreeMap<&str, &Argument> {
    arguments.iter().rev().map(|argument| (argument.name.as_str(), argument)).collect()
}

fn text(interface: &Interface, ty: TypeIndex) -> String {
    cut(signature::ty(interface, ty))
}

fn cut(mut text: String) -> String {
    if text.len() > CHANGE_TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(CHANGE_TEXT_BYTES_MAX));
        text.push_str("...");
    }
    text
}

/// The type with other parts, and without its own name.
fn nameless(ty: &Type, mut part: impl FnMut(TypeIndex) -> TypeIndex) -> Type {
    let fields = |fields: &[Argument], part: &mut dyn FnMut(TypeIndex) -> TypeIndex| -> Vec<Argument> {
        fields.iter().map(|field| Argument { name: field.name.clone(), ty: part(field.ty) }).collect()
    };
    match ty {
        Type::Struct { fields: of, .. } => Type::Struct { name: String::new(), fields: fields(of, &mut part) },
        Type::Enum { variants, .. } => Type::Enum {
            name: String::new(),
            variants: variants
                .iter()
                .map(|Variant { name, payload }| Variant {
                    name: name.clone(),
                    payload: match payload {
                        Payload::Unit => Payload::Unit,
                        Payload::Newtype(of) => Payload::Newtype(part(*of)),
                        Payload::Tuple(of) => Payload::Tuple(of.iter().map(|of| part(*of)).collect()),
                        Payload::Struct(of) => Payload::Struct(fields(of, &mut part)),
                    },
                })
                .collect(),
        },
        Type::Option(of) => Type::Option(part(*of)),
        Type::Seq(of) => Type::Seq(part(*of)),
        Type::Tuple(of) => Type::Tuple(of.iter().map(|of| part(*of)).collect()),
        Type::Map { key, value } => Type::Map { key: part(*key), value: part(*value) },
        plain => plain.clone(),
    }
}

/// What to call each of [`Type::parts`].
fn labels(ty: &Type) -> Vec<String> {
    let dotted = |fields: &[Argument]| fields.iter().map(|field| format!(".{}", field.name)).collect::<Vec<_>>();
    let numbered = |parts: &[TypeIndex]| (0..parts.len()).map(|index| format!(".{index}")).collect::<Vec<_>>();
    match ty {
        Type::Option(_) => vec!["?".into()],
        Type::Seq(_) => vec!["[]".into()],
        Type::Tuple(parts) => numbered(parts),
        Type::Map { .. } => vec![".key".into(), ".value".into()],
        Type::Struct { fields, .. } => dotted(fields),
        Type::Enum { variants, .. } => variants
            .iter()
            .flat_map(|variant| {
                let inside = match &variant.payload {
                    Payload::Unit => vec![],
                    Payload::Newtype(_) => vec![String::new()],
                    Payload::Tuple(parts) => numbered(parts),
                    Payload::Struct(fields) => dotted(fields),
                };
                inside.into_iter().map(|inside| format!("::{}{inside}", variant.name))
            })
            .collect(),
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(name: &str, ty: u32) -> Argument {
        Argument { name: name.into(), ty: TypeIndex(ty) }
    }

    fn variant(name: &str, payload: Payload) -> Variant {
        Variant { name: name.into(), payload }
    }

    fn method(name: &str, kind: MethodKind, arguments: Vec<Argument>, result: u32, error: Option<u32>) -> Method {
        Method {
            name: name.into(),
            doc: String::new(),
            kind,
            arguments,
            result: TypeIndex(result),
            error: error.map(TypeIndex),
        }
    }

    /// `add(name: String, job: Job) -> Result<u64, String>`, `list() -> Vec<Job>`, with
    /// `struct Job { runs: u64, state: State }`, `enum State { Waiting, Running { since: u64 }, Failed(String) }`.
    fn interface() -> Interface {
        Interface {
            name: "Jobs".into(),
            version: "1.0.0".into(),
            doc: String::new(),
            types: vec![
                Type::String,
                Type::U64,
                Type::Enum {
                    name: "State".into(),
                    variants: vec![
                        variant("Waiting", Payload::Unit),
                        variant("Running", Payload::Struct(vec![argument("since", 1)])),
                        variant("Failed", Payload::Newtype(TypeIndex(0))),
                    ],
                },
                Type::Struct { name: "Job".into(), fields: vec![argument("runs", 1), argument("state", 2)] },
                Type::Seq(TypeIndex(3)),
            ],
            event: None,
            init: vec![],
            methods: vec![
                method("add", MethodKind::Update, vec![argument("name", 0), argument("job", 3)], 1, Some(0)),
                method("list", MethodKind::Query, vec![], 4, None),
            ],
        }
    }

    fn changed(change: impl FnOnce(&mut Interface)) -> Vec<String> {
        let mut new = interface();
        change(&mut new);
        // As it would arrive.
        let new = Interface::decode(&crate::codec::to_bytes(&new)).expect("an interface");
        breaking_changes(&interface(), &new).changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_callers_do_not_notice_breaks_nothing() {
        let nothing: [String; 0] = [];
        assert_eq!(changed(|_| {}), nothing);
        assert_eq!(changed(|new| new.methods.push(method("more", MethodKind::Query, vec![], 1, None))), nothing);
        assert_eq!(changed(|new| new.methods.reverse()), nothing);
        assert_eq!(changed(|new| new.init.push(argument("start", 1))), nothing);
        assert_eq!(changed(|new| new.methods[0].arguments[1].name = "task".into()), nothing);
        let renamed = changed(|new| {
            new.version = "2.0.0".into();
            let Type::Struct { name, .. } = &mut new.types[3] else { panic!("a struct") };
            *name = "Task".into();
        });
        assert_eq!(renamed, nothing);
        let renumbered = changed(|new| {
            new.types.insert(0, Type::Bool);
            let up = |index: &mut TypeIndex| index.0 += 1;
            for ty in &mut new.types {
                *ty = nameless(ty, |part| TypeIndex(part.0 + 1));
            }
            for method in &mut new.methods {
                method.arguments.iter_mut().for_each(|argument| up(&mut argument.ty));
                up(&mut method.result);
                method.error.iter_mut().for_each(up);
            }
        });
        assert_eq!(renumbered, nothing, "only the numbers of the types differ");
    }

    #[test]
    fn watchers_read_events_by_the_old_type() {
        let emitting = |event: Option<u32>| Interface { event: event.map(TypeIndex), ..interface() };
        let told = |old, new| -> Vec<String> {
            let breaks = breaking_changes(&emitting(old), &emitting(new));
            breaks.changes.iter().map(ToString::to_string).collect()
        };
        let nothing: [String; 0] = [];
        assert_eq!((told(Some(0), Some(0)), told(None, Some(0))), (nothing.to_vec(), nothing.to_vec()));
        let (old, new) = (text(&interface(), TypeIndex(0)), text(&interface(), TypeIndex(1)));
        assert_eq!(told(Some(0), Some(1)), [format!("events is {new} and was {old}")]);
        assert_eq!(told(Some(0), None), [format!("events is none and was {old}")]);
    }

    #[test]
    fn each_way_to_break_a_caller_is_named() {
        assert_eq!(changed(|new| drop(new.methods.remove(0))), ["add is removed"]);
        assert_eq!(changed(|new| new.methods[1].name = "all".into()), ["list is removed"]);
        assert_eq!(changed(|new| new.methods[1].kind = MethodKind::Update), ["list is an update and was a query"]);
        assert_eq!(changed(|new| new.methods[0].kind = MethodKind::Query), ["add is a query and was an update"]);
        assert_eq!(changed(|new| new.methods[0].kind = MethodKind::Waiting), ["add may wait, which it did not"]);
        assert_eq!(
            changed(|new| new.methods[0].arguments.push(argument("why", 0))),
            ["add takes 'why', which it did not"]
        );
        assert_eq!(changed(|new| drop(new.methods[0].arguments.remove(0))), ["add does not take 'name' any more"]);
        assert_eq!(changed(|new| new.methods[0].arguments.reverse()), ["add takes its arguments in another order"]);
        assert_eq!(
            changed(|new| new.methods[0].arguments[0].ty = TypeIndex(1)),
            ["add: argument 'name' is u64 and was String"]
        );
        assert_eq!(changed(|new| new.methods[0].result = TypeIndex(0)), ["add: result is String and was u64"]);
        assert_eq!(changed(|new| new.methods[0].error = None), ["add: error is none and was String"]);
        assert_eq!(changed(|new| new.methods[1].error = Some(TypeIndex(1))), ["list: error is u64 and was none"]);
    }

    #[test]
    fn a_change_deep_inside_is_named_where_it_is() {
        let state = |new: &mut Interface, payload| {
            let Type::Enum { variants, .. } = &mut new.types[2] else { panic!("an enum") };
            variants[1].payload = payload;
        };
        assert_eq!(
            changed(|new| state(new, Payload::Struct(vec![argument("since", 0)]))),
            [
                "add: argument 'job'.state::Running.since is String and was u64",
                "list: result[].state::Running.since is String and was u64"
            ]
        );
        let renamed = changed(|new| state(new, Payload::Struct(vec![argument("from", 1)])));
        let (old, new) = ("Running { since: u64 }", "Running { from: u64 }");
        assert_eq!(
            renamed[1],
            format!(
                "list: result[].state is enum State {{ Waiting, {new}, Failed(String) }} and was enum State {{ \
                 Waiting, {old}, Failed(String) }}"
            )
        );
    }

    #[test]
    fn types_that_double_with_every_level_are_compared_at_once() {
        let doubling = |inmost: Type| Interface {
            types: std::iter::once(inmost).chain((0..31).map(|level| Type::Tuple(vec![TypeIndex(level); 2]))).collect(),
            methods: vec![method("all", MethodKind::Query, vec![], 31, None)],
            ..interface()
        };
        assert!(breaking_changes(&doubling(Type::U8), &doubling(Type::U8)).is_empty());
        let Breaks { changes, .. } = breaking_changes(&doubling(Type::U8), &doubling(Type::I8));
        let [Change { what: Difference::Result(Types { at, old, new }), .. }] = changes.as_slice() else {
            panic!("{changes:?}")
        };
        assert_eq!((at.as_str(), old.as_str(), new.as_str()), (".0".repeat(31).as_str(), "u8", "i8"));
    }
    /// As large as an interface may be.
    #[test]
    fn very_many_changes_of_very_large_types_are_counted_at_once() {
        const MANY: u32 = 25_000;
        let fields = |last: u32| {
            let fields = (0..MANY).map(|at| argument(&format!("{at}"), if at + 1 < MANY { 0 } else { last }));
            Type::Struct { name: String::new(), fields: fields.collect() }
        };
        let of = move |last, arguments: Vec<Argument>| {
            let whole = Interface {
                types: vec![Type::U8, Type::I8, fields(last)],
                methods: vec![method("all", MethodKind::Query, arguments, 0, None)],
                ..interface()
            };
            Interface::decode(&crate::codec::to_bytes(&whole)).expect("an interface")
        };
        let (done, waited) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let unnamed = || vec![argument("", 2); 20_000];
            let named =
                |first: u32, count: u32| (first..first + count).map(|at| argument(&format!("{at:x}"), 0)).collect();
            let typed = breaking_changes(&of(0, unnamed()), &of(1, unnamed()));
            done.send((typed, breaking_changes(&of(0, named(0, 15_000)), &of(0, named(20_000, 15_001)))))
        });
        // Minutes, if each change were told in full.
        let compared = waited.recv_timeout(std::time::Duration::from_secs(20));
        let (typed, named) = compared.expect("comparing takes as long as reading both");
        assert_eq!((typed.changes.len(), typed.more), (CHANGES_LISTED_MAX, 20_000 - CHANGES_LISTED_MAX as u64));
        assert_eq!(typed.changes[0].to_string(), "all: argument ''.24999 is i8 and was u8");
        assert_eq!((named.changes.len(), named.more), (CHANGES_LISTED_MAX, 30_001 - CHANGES_LISTED_MAX as u64));
    }
}
