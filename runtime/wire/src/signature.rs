//! Interfaces in words: methods and types as an object's author would write them.

use std::collections::BTreeSet;

use crate::interface::{Argument, Interface, Method, MethodKind, Payload, Type, TypeIndex, Variant};

/// Bytes of a text about one method or type. Types come from strangers.
const TEXT_BYTES_MAX: usize = 4096;

/// `update` or `query`.
#[must_use]
pub fn kind(kind: MethodKind) -> &'static str {
    match kind {
        MethodKind::Query => "query",
        MethodKind::Update => "update",
        MethodKind::Waiting => "waits",
    }
}

/// A method with its arguments and result: `deposit(name: String, amount: u64) -> Result<u64, BankError>`.
#[must_use]
pub fn method(interface: &Interface, method: &Method) -> String {
    let mut text = Text::of(interface);
    text.push(&method.name);
    text.push("(");
    text.fields(&method.arguments);
    text.push(")");
    let result = result(interface, method);
    if result != "()" {
        text.push(" -> ");
        text.push(&result);
    }
    text.shown
}

/// The constructor with its arguments: `Bank(name: String, fee: u8)`.
#[must_use]
pub fn constructor(interface: &Interface) -> String {
    let mut text = Text::of(interface);
    text.push(&interface.name);
    text.push("(");
    text.fields(&interface.init);
    text.push(")");
    text.shown
}

/// What a method gives.
#[must_use]
pub fn result(interface: &Interface, method: &Method) -> String {
    let ok = ty(interface, method.result);
    match method.error {
        Some(error) => format!("Result<{ok}, {}>", ty(interface, error)),
        None => ok,
    }
}

/// A type as its author would write it where it is used.
#[must_use]
pub fn ty(interface: &Interface, index: TypeIndex) -> String {
    let mut text = Text::of(interface);
    text.ty(index);
    text.shown
}

/// The structs and enums that methods and events use, as their author would define them, in the order of first use.
#[must_use]
pub fn definitions(interface: &Interface) -> Vec<String> {
    let mut used = Vec::new();
    let mut seen = BTreeSet::new();
    for method in &interface.methods {
        for index in method.arguments.iter().map(|argument| argument.ty).chain([method.result]).chain(method.error) {
            collect(interface, index, &mut seen, &mut used);
        }
    }
    if let Some(index) = interface.event {
        collect(interface, index, &mut seen, &mut used);
    }
    used.into_iter().filter_map(|index| definition(interface, index)).collect()
}

/// Adds `index` and what it is made of to `used`, each once. Types refer to earlier ones only, so this ends.
fn collect(interface: &Interface, index: TypeIndex, seen: &mut BTreeSet<TypeIndex>, used: &mut Vec<TypeIndex>) {
    if !seen.insert(index) {
        return;
    }
    used.push(index);
    for part in interface.ty(index).parts() {
        collect(interface, part, seen, used);
    }
}

/// A struct or enum as its author would define it; `None` for other types.
#[must_use]
pub fn definition(interface: &Interface, index: TypeIndex) -> Option<String> {
    let mut text = Text::of(interface);
    match interface.ty(index) {
        Type::Struct { name, fields } => {
            text.push("struct ");
            text.push(name);
            text.braced_fields(fields);
        }
        Type::Enum { name, variants } => {
            text.push("enum ");
            text.push(name);
            text.push(" { ");
            text.separated(variants, Text::variant);
            text.push(" }");
        }
        _ => return None,
    }
    Some(text.shown)
}

/// A text about an interface that stays short: equal parts in parts would make it double with every level.
struct Text<'a> {
    interface: &'a Interface,
    shown: String,
    cut: bool,
}

impl<'a> Text<'a> {
    fn of(interface: &'a Interface) -> Text<'a> {
        Text { interface, shown: String::new(), cut: false }
    }

    fn push(&mut self, text: &str) {
        if self.shown.len() <= TEXT_BYTES_MAX {
            self.shown.push_str(text);
        } else if !self.cut {
            self.cut = true;
            self.shown.push_str("...");
        }
    }

    fn ty(&mut self, index: TypeIndex) {
        // Nothing below this type would be shown, and there may be very much of it.
        if self.cut {
            return;
        }
        match self.interface.ty(index) {
            Type::Bool => self.push("bool"),
            Type::I8 => self.push("i8"),
            Type::I16 => self.push("i16"),
            Type::I32 => self.push("i32"),
            Type::I64 => self.push("i64"),
            Type::I128 => self.push("i128"),
            Type::U8 => self.push("u8"),
            Type::U16 => self.push("u16"),
            Type::U32 => self.push("u32"),
            Type::U64 => self.push("u64"),
            Type::U128 => self.push("u128"),
            Type::F32 => self.push("f32"),
            Type::F64 => self.push("f64"),
            Type::Char => self.push("char"),
            Type::String => self.push("String"),
            Type::Bytes => self.push("Bytes"),
            Type::Unit => self.push("()"),
            Type::Option(part) => self.generic("Option", &[*part]),
            Type::Seq(part) => self.generic("Vec", &[*part]),
            Type::Map { key, value } => self.generic("BTreeMap", &[*key, *value]),
            Type::Tuple(parts) => self.tuple(parts),
            Type::Struct { name, .. } | Type::Enum { name, .. } => self.push(name),
        }
    }

    fn generic(&mut self, name: &str, parts: &[TypeIndex]) {
        self.push(name);
        self.push("<");
        self.separated(parts, |text, part| text.ty(*part));
        self.push(">");
    }

    /// A tuple of one has its comma; a long one of equal parts is the array it was.
    fn tuple(&mut self, parts: &[TypeIndex]) {
        if let [first, _, _, _, ..] = parts
            && parts.iter().all(|part| part == first)
        {
            self.push("[");
            self.ty(*first);
            self.push(&format!("; {}]", parts.len()));
            return;
        }
        self.push("(");
        self.separated(parts, |text, part| text.ty(*part));
        self.push(if parts.len() == 1 { ",)" } else { ")" });
    }

    fn variant(&mut self, variant: &Variant) {
        self.push(&variant.name);
        match &variant.payload {
            Payload::Unit => {}
            Payload::Newtype(part) => self.in_parentheses(&[*part]),
            Payload::Tuple(parts) => self.in_parentheses(parts),
            Payload::Struct(fields) => self.braced_fields(fields),
        }
    }

    fn in_parentheses(&mut self, parts: &[TypeIndex]) {
        self.push("(");
        self.separated(parts, |text, part| text.ty(*part));
        self.push(")");
    }

    fn braced_fields(&mut self, fields: &[Argument]) {
        self.push(" { ");
        self.fields(fields);
        self.push(" }");
    }

    fn fields(&mut self, fields: &[Argument]) {
        self.separated(fields, |text, field| {
            text.push(&field.name);
            text.push(": ");
            text.ty(field.ty);
        });
    }

    fn separated<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            each(self, item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(name: &str, ty: u32) -> Argument {
        Argument { name: name.into(), ty: TypeIndex(ty) }
    }

    fn interface() -> Interface {
        let variant = |name: &str, payload| Variant { name: name.into(), payload };
        Interface {
            name: "Jobs".into(),
            version: "1.0.0".into(),
            doc: String::new(),
            types: vec![
                Type::String,
                Type::U64,
                Type::Option(TypeIndex(1)),
                Type::Tuple(vec![TypeIndex(0), TypeIndex(2)]),
                Type::Seq(TypeIndex(3)),
                Type::Enum {
                    name: "State".into(),
                    variants: vec![
                        variant("Waiting", Payload::Unit),
                        variant("Running", Payload::Struct(vec![argument("since", 1)])),
                        variant("Failed", Payload::Newtype(TypeIndex(0))),
                    ],
                },
                Type::Struct { name: "Job".into(), fields: vec![argument("runs", 4), argument("state", 5)] },
                Type::Unit,
                Type::Tuple(vec![TypeIndex(1); 4]),
            ],
            event: None,
            init: Vec::new(),
            methods: vec![
                Method {
                    name: "add".into(),
                    doc: String::new(),
                    kind: MethodKind::Update,
                    arguments: vec![argument("name", 0), argument("job", 6)],
                    result: TypeIndex(8),
                    error: Some(TypeIndex(0)),
                },
                Method {
                    name: "clear".into(),
                    doc: String::new(),
                    kind: MethodKind::Update,
                    arguments: Vec::new(),
                    result: TypeIndex(7),
                    error: None,
                },
            ],
        }
    }

    #[test]
    fn methods_read_like_rust() {
        let interface = interface();
        let shown: Vec<_> = interface.methods.iter().map(|of| method(&interface, of)).collect();
        assert_eq!(shown, ["add(name: String, job: Job) -> Result<[u64; 4], String>", "clear()"]);
    }

    #[test]
    fn named_types_are_defined_once_in_the_order_of_use() {
        let expected = [
            "struct Job { runs: Vec<(String, Option<u64>)>, state: State }",
            "enum State { Waiting, Running { since: u64 }, Failed(String) }",
        ];
        assert_eq!(definitions(&interface()), expected);
    }

    #[test]
    fn what_doubles_with_every_level_stays_short() {
        let mut interface = interface();
        interface.types = vec![Type::U8];
        for level in 0..31 {
            interface.types.push(Type::Tuple(vec![TypeIndex(level); 2]));
        }
        let shown = ty(&interface, TypeIndex(31));
        assert!(shown.ends_with("...") && shown.len() < TEXT_BYTES_MAX + 100, "{} bytes", shown.len());
    }
}
