//! A typed proxy in Rust, as `#[concoord::methods]` makes it from the source.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use concoord_wire::interface::{Argument, Interface, Method, MethodKind, Payload, Type, TypeIndex};

use super::layout::{self, LINE_MAX};
use super::names::{self, NAME_CHARACTERS_MAX, Scope, TYPE_CHARACTERS_MAX, identifier, mention, plain_identifier};
use super::shapes::{Shapes, TUPLE_PARTS_MAX};

/// Characters of a type where it is used; a longer one is given a name.
const SPELLED_MAX: usize = 38;
/// Characters of a method's name that leave its call on one line.
const CALLED_MAX: usize = 26;
/// Characters of a call's arguments that leave their encoding on one line.
const ENCODED_MAX: usize = 58;
/// Elements of an array that serde knows.
const ARRAY_MAX: usize = 32;

/// Words that are identifiers only as `r#word`.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move",
    "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];
/// Words that are never identifiers.
const NO_NAMES: &[&str] = &["self", "Self", "super", "crate"];
/// Names that no pattern can bind: derived code has fields as patterns.
const NO_FIELDS: &[&str] = &["None", "Some", "Ok", "Err", "REINITIALIZE"];
/// Names of types that the text and derived code must find as they are.
const RESERVED_TYPES: &[&str] = &[
    "bool",
    "char",
    "str",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "isize",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "usize",
    "f16",
    "f32",
    "f64",
    "f128",
    "std",
    "core",
    "alloc",
    "serde",
    "concoord_wire",
    "caller",
    "codec",
];
/// What is imported under its name, unless the object has a type of that name: module and name.
const IMPORTS: &[(&str, &str)] = &[
    ("std::collections", "BTreeMap"),
    ("concoord_wire::abi", "Answer"),
    ("concoord_wire::caller", "Caller"),
    ("concoord_wire::caller", "ProxyError"),
    ("concoord_wire::codec", "FrameError"),
    ("concoord_wire::interface", "MethodKind"),
    ("concoord_wire::interface", "REINITIALIZE"),
    ("serde", "Deserialize"),
    ("serde", "Serialize"),
];
/// What needs no import, unless the object has a type of that name.
const PRELUDE: &[(&str, &str)] = &[
    ("core::option", "Option"),
    ("core::result", "Result"),
    ("core::convert", "Into"),
    ("std::string", "String"),
    ("std::vec", "Vec"),
    ("std::boxed", "Box"),
];

/// The text of a module.
pub(super) fn write(interface: &Interface) -> String {
    Writer::of(&Shapes::of(interface)).module()
}

struct Writer<'a> {
    shapes: &'a Shapes<'a>,
    /// Of the proxy's struct.
    proxy: String,
    /// Of its parameter.
    client: String,
    /// Of the type of events, where the object has some.
    event: String,
    /// What types have for names.
    scope: Scope,
    /// Structs, enums, and what was given a name.
    names: BTreeMap<TypeIndex, String>,
    /// How a type is written where it is used.
    spelled: BTreeMap<TypeIndex, String>,
    /// Definitions of what was given a name, in their order.
    added: Vec<String>,
    imported: RefCell<BTreeSet<(&'static str, &'static str)>>,
}

impl<'a> Writer<'a> {
    fn of(shapes: &'a Shapes<'a>) -> Writer<'a> {
        let mut scope = Scope::with(RESERVED_TYPES.iter().copied());
        let object = plain_identifier(&shapes.interface.name, "Object", TYPE_CHARACTERS_MAX - "Proxy".len());
        let proxy = scope.claim(&format!("{object}Proxy"), "");
        let mut names = BTreeMap::new();
        for index in shapes.named() {
            if let Type::Struct { name, .. } | Type::Enum { name, .. } = shapes.ty(index) {
                let name = plain_identifier(name, "Type", TYPE_CHARACTERS_MAX);
                names.insert(index, word(&scope.claim(&permitted(&name), "")));
            }
        }
        let client = scope.claim("C", "");
        let event = match shapes.interface.event.and_then(|event| names.get(&shapes.first(event))) {
            Some(name) if name == "Event" => name.clone(),
            _ => scope.claim("Event", ""),
        };
        let (spelled, added, imported) = (BTreeMap::new(), Vec::new(), RefCell::default());
        let mut writer = Writer { shapes, proxy, client, event, scope, names, spelled, added, imported };
        for index in &shapes.used {
            let spelled = writer.spelling(*index);
            writer.spelled.insert(*index, spelled);
        }
        writer
    }

    fn module(&self) -> String {
        let proxy = self.proxy();
        let types: Vec<String> = self.shapes.named().into_iter().map(|index| self.definition(index)).collect();
        let events = self.shapes.interface.event.map(|event| self.events(event));
        let decode = self.decode();
        // Last, when it is known what was used.
        let head = [self.header(), self.imports()];
        let parts = head.into_iter().chain([proxy]).chain(events).chain(types).chain(self.added.iter().cloned());
        parts.chain([decode]).collect::<Vec<_>>().join("\n")
    }

    fn header(&self) -> String {
        let Interface { name, version, doc, methods, .. } = self.shapes.interface;
        let proxy = &self.proxy;
        let version = names::lines(version).join(" ");
        let of = format!("{} {}", mention(name), names::markdown(&version));
        let mut lines = vec![format!(
            "Calls a replicated {} through a `Caller`, as `concoord_client::Client` is one.",
            of.trim_end()
        )];
        if !doc.trim().is_empty() {
            lines.push(String::new());
            lines.extend(names::lines(doc).iter().map(|line| names::markdown(line)));
        }
        let call = methods.first().map_or_else(String::new, |method| {
            let arguments = self.parameters(&method.arguments);
            let arguments: Vec<&str> = arguments.iter().map(|(name, _)| name.as_str()).collect();
            let (_, method) = &self.method_names()[0];
            format!("let result = proxy.{method}({}).await?;", arguments.join(", "))
        });
        lines.extend(
            [
                "",
                "```ignore",
                "let client = concoord_client::Client::connect(\"127.0.0.1:14000\").await?;",
                &format!("let proxy = {proxy}::new(client);"),
                &call,
                "```",
                "",
                "The crate that has this module needs `concoord-wire`, `serde` with its feature `derive`, and, to reach a",
                "cluster, `concoord-client`.",
                "",
                "Written by `concoord object proxy`; when the object has changed, have it written anew.",
            ]
            .iter()
            .filter(|line| **line != call || !call.is_empty())
            .map(|line| (*line).to_owned()),
        );
        layout::comment(0, "//!", &lines)
            + "\n#![allow(dead_code, reason = \"a program need not call all of it\")]\n\
               #![allow(missing_docs, non_snake_case, non_camel_case_types)]\n\
               #![allow(bindings_with_variant_name)]\n\
               #![allow(clippy::all, reason = \"names and types are those of the object\")]\n"
    }

    fn imports(&self) -> String {
        let mut by_module = BTreeMap::<&str, Vec<&str>>::new();
        for (module, name) in ["concoord_wire::caller", "concoord_wire::codec"].map(|module| (module, "self")) {
            by_module.entry(module).or_default().push(name);
        }
        for (module, name) in self.imported.borrow().iter() {
            by_module.entry(module).or_default().push(name);
        }
        let line = |(module, names): (&&str, &Vec<&str>)| match names[..] {
            ["self"] => format!("use {module};\n"),
            [name] => format!("use {module}::{name};\n"),
            _ => format!("use {module}::{{{}}};\n", names.join(", ")),
        };
        let (of_std, others): (Vec<_>, Vec<_>) = by_module.iter().partition(|(module, _)| module.starts_with("std"));
        let groups = [of_std, others].map(|group| group.into_iter().map(line).collect::<String>());
        groups.into_iter().filter(|group| !group.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// The name of something from elsewhere: with its path where the object has a type of that name.
    fn path(&self, name: &'static str) -> String {
        if let Some((module, _)) = PRELUDE.iter().find(|(_, known)| *known == name) {
            return if self.scope.is_taken(name) { format!("{module}::{name}") } else { name.to_owned() };
        }
        let import = IMPORTS.iter().find(|(_, known)| *known == name).expect("it is one of them");
        if self.scope.is_taken(name) {
            return format!("{}::{name}", import.0);
        }
        self.imported.borrow_mut().insert(*import);
        name.to_owned()
    }

    fn proxy(&self) -> String {
        let Writer { proxy, client, .. } = self;
        let (option, string, into) = (self.path("Option"), self.path("String"), self.path("Into"));
        let names = self.method_names();
        let mut scope = Scope::with(["new", "named"].into_iter().chain(names.iter().map(|(_, name)| name.as_str())));
        let reinitialize = scope.claim("reinitialize", "_");
        let call = scope.claim("call", "_");
        let methods = names.iter().map(|(method, name)| self.method(method, name, &call)).collect::<Vec<_>>();
        let has_own = self.shapes.interface.method("reinitialize").is_some();
        let reinitialize = (!has_own).then(|| self.reinitialize(&reinitialize, &call));
        let (result, vec, kind) = (self.path("Result"), self.path("Vec"), self.path("MethodKind"));
        let (answer, caller) = (self.path("Answer"), self.path("Caller"));
        let object = mention(&self.shapes.interface.name);
        let head = format!(
            "/// Calls a replicated {object} through a `Caller`.\n\
             #[derive(Clone, Debug)]\n\
             pub struct {proxy}<{client}> {{\n    caller: {client},\n    object: {option}<{string}>,\n}}\n\
             \n\
             impl<{client}: {caller}> {proxy}<{client}> {{\n    \
                 /// For the cluster's first object.\n    \
                 pub fn new(caller: {client}) -> Self {{\n        \
                     let object = None;\n        \
                     Self {{ caller, object }}\n    }}\n\
             \n    \
                 /// For the object of this name.\n    \
                 pub fn named(caller: {client}, object: impl {into}<{string}>) -> Self {{\n        \
                     let object = Some(object.into());\n        \
                     Self {{ caller, object }}\n    }}\n"
        )
        .replace(
            "        Self {\n            caller,\n            object: None,\n        }\n",
            "        let object = None;\n        Self { caller, object }\n",
        );
        let call = format!(
            "    async fn {call}(\n        &self,\n        method: &'static str,\n        kind: {kind},\n        \
                 arguments: {vec}<u8>,\n    ) -> {result}<{answer}, {client}::Error> {{\n        \
                 let object = self.object.as_deref();\n        \
                 self.caller.invoke(object, method, kind, arguments).await\n    }}\n}}\n"
        );
        [head].into_iter().chain(methods).chain(reinitialize).chain([call]).collect::<Vec<_>>().join("\n")
    }

    /// What the methods are called here.
    fn method_names(&self) -> Vec<(&'a Method, String)> {
        let mut scope = Scope::with(["new", "named"]);
        let name = |method: &'a Method| {
            let name = permitted(&identifier(&method.name, "method", NAME_CHARACTERS_MAX));
            (method, word(&scope.claim(&name, "_")))
        };
        self.shapes.interface.methods.iter().map(name).collect()
    }

    fn method(&self, method: &Method, name: &str, call: &str) -> String {
        let mut lines: Vec<String> = names::lines(&method.doc).iter().map(|line| names::markdown(line)).collect();
        if lines.is_empty() {
            lines.push(format!("Calls {}.", mention(&method.name)));
        }
        let kind = match method.kind {
            MethodKind::Query => "Query",
            MethodKind::Update => "Update",
            MethodKind::Waiting => "Waiting",
        };
        let text = names::rust_string(&method.name);
        let error = method.error.map(|error| self.spelled(error));
        let when = "When the call got no answer, or one that is not of this method.";
        self.calling(Calling {
            name,
            text,
            kind,
            lines,
            when,
            method: &method.arguments,
            result: self.spelled(method.result),
            error,
            call,
        })
    }

    fn reinitialize(&self, name: &str, call: &str) -> String {
        let lines = vec![
            "Starts the object anew, as if it were loaded now. Fencing tokens and revisions go on growing.".into(),
        ];
        let when = "When the call got no answer, or the constructor refuses.";
        let text = self.path("REINITIALIZE");
        let (kind, method, result) = ("Update", &self.shapes.interface.init, "()".to_owned());
        self.calling(Calling { name, text, kind, lines, when, method, result, error: None, call })
    }

    fn calling(&self, calling: Calling<'_>) -> String {
        let Calling { name, text, kind, mut lines, when, method, result, error, call } = calling;
        lines.extend(["", "# Errors", when].map(str::to_owned));
        let parameters = self.parameters(method);
        let typed: Vec<String> = parameters.iter().map(|(name, ty)| format!("{name}: {ty}")).collect();
        let returned = match error {
            Some(_) => "caller::returned_result(call.await, decode, decode)",
            None => "caller::returned(call.await, decode)",
        };
        let error = error.map_or_else(String::new, |error| format!(", {error}"));
        let error = format!("{}<{}::Error{error}>", self.path("ProxyError"), self.client);
        let kind = format!("{}::{kind}", self.path("MethodKind"));
        let (method, value) = if text.len() <= CALLED_MAX {
            (String::new(), text)
        } else {
            (layout::assignment(8, "let method", &text), "method".into())
        };
        let arguments = [value, kind, "arguments".into()];
        [
            layout::comment(4, "///", &lines),
            layout::signature(name, &typed, [&self.path("Result"), &result, &error]),
            self.encoding(&parameters),
            method,
            layout::in_parentheses(8, &format!("let call = self.{call}"), &arguments, ";"),
            format!("        {returned}\n    }}\n"),
        ]
        .concat()
    }

    /// Names and types. In lower case, a name is no pattern of something else.
    fn parameters(&self, arguments: &[Argument]) -> Vec<(String, String)> {
        let mut scope = Scope::with(["arguments", "decode"]);
        let parameter = |argument: &Argument| {
            let name = identifier(&argument.name, "argument", NAME_CHARACTERS_MAX).to_ascii_lowercase();
            (word(&scope.claim(&permitted(&name), "_")), self.spelled(argument.ty))
        };
        arguments.iter().map(parameter).collect()
    }

    /// Statements after which `arguments` has the postcard of all: that of several is one after the other.
    fn encoding(&self, parameters: &[(String, String)]) -> String {
        let references: Vec<String> = parameters.iter().map(|(name, _)| format!("&{name}")).collect();
        let tuple = format!("&({})", references.join(", "));
        match &references[..] {
            [] => format!("        let arguments = {}::new();\n", self.path("Vec")),
            [one] => format!("        let arguments = codec::to_bytes({one});\n"),
            _ if tuple.len() <= ENCODED_MAX && references.len() <= TUPLE_PARTS_MAX => {
                format!("        let arguments = codec::to_bytes({tuple});\n")
            }
            [first, others @ ..] => {
                let append = |other: &String| {
                    layout::in_parentheses(8, "codec::append", &[other.clone(), "&mut arguments".into()], ";")
                };
                let others: String = others.iter().map(append).collect();
                format!("        let mut arguments = codec::to_bytes({first});\n{others}")
            }
        }
    }

    fn events(&self, event: TypeIndex) -> String {
        let (name, spelled) = (&self.event, self.spelled(event));
        let result = format!("{}<{name}, {}>", self.path("Result"), self.path("FrameError"));
        let head = layout::function("pub fn decode_event", "payload: &[u8]", &result);
        let alias = match *name == spelled {
            true => String::new(),
            false => format!(
                "/// What the object tells whoever watches it.\n{}\n",
                layout::assignment(0, &format!("pub type {name}"), &spelled)
            ),
        };
        format!(
            "{alias}/// Reads the payload of an event.\n///\n/// # Errors\n/// When it is not of the object.\n\
             {head}    decode(payload)\n}}\n"
        )
    }

    fn decode(&self) -> String {
        let result = format!("{}<T, {}>", self.path("Result"), self.path("FrameError"));
        let head = layout::function("fn decode<T: serde::de::DeserializeOwned>", "bytes: &[u8]", &result);
        format!("{head}    codec::from_bytes(bytes)\n}}\n")
    }

    /// A struct or an enum of the object's.
    fn definition(&self, index: TypeIndex) -> String {
        let name = &self.names[&index];
        let doc = layout::comment(0, "///", &[self.shapes.uses(index)]);
        let derives = self.derives(index);
        let body = match self.shapes.ty(index) {
            Type::Struct { fields, .. } if fields.is_empty() => format!("pub struct {name} {{}}\n"),
            Type::Struct { fields, .. } => {
                let fields: String = self.fields(fields).iter().map(|field| format!("    pub {field},\n")).collect();
                format!("pub struct {name} {{\n{fields}}}\n")
            }
            Type::Enum { variants, .. } if variants.is_empty() => format!("pub enum {name} {{}}\n"),
            Type::Enum { variants, .. } => {
                let mut scope = Scope::default();
                let variant = |variant: &concoord_wire::interface::Variant| {
                    let name = permitted(&identifier(&variant.name, "Variant", NAME_CHARACTERS_MAX));
                    let name = word(&scope.claim(&name, "_"));
                    let parts = |parts: &[TypeIndex]| parts.iter().map(|part| self.part(*part)).collect();
                    match &variant.payload {
                        Payload::Unit => layout::Variant::Unit(name),
                        Payload::Newtype(part) => layout::Variant::Tuple(name, vec![self.part(*part)]),
                        Payload::Tuple(all) => layout::Variant::Tuple(name, parts(all)),
                        Payload::Struct(fields) => layout::Variant::Struct(name, self.fields(fields)),
                    }
                };
                let variants: Vec<layout::Variant> = variants.iter().map(variant).collect();
                format!("pub enum {name} {{\n{}}}\n", layout::variants(&variants))
            }
            _ => unreachable!("structs and enums only are named by the author"),
        };
        let error = if self.shapes.is_error(index) { error_impls(name) } else { String::new() };
        format!("{doc}{derives}{body}{error}")
    }

    fn derives(&self, index: TypeIndex) -> String {
        let mut derived = vec!["Clone".to_owned(), "Debug".into(), "PartialEq".into()];
        if !self.shapes.has_float(index) {
            derived.push("Eq".into());
            if self.shapes.is_in_key(index) {
                derived.extend(["PartialOrd".into(), "Ord".into()]);
            }
        }
        derived.extend([self.path("Serialize"), self.path("Deserialize")]);
        let line = format!("#[derive({})]\n", derived.join(", "));
        if line.len() <= LINE_MAX + 1 {
            return line;
        }
        let derived: String = derived.iter().map(|derived| format!("    {derived},\n")).collect();
        format!("#[derive(\n{derived})]\n")
    }

    fn fields(&self, fields: &[Argument]) -> Vec<String> {
        let mut scope = Scope::default();
        let field = |field: &Argument| {
            let mut name = permitted(&identifier(&field.name, "field", NAME_CHARACTERS_MAX));
            let is_type = name.starts_with(|c: char| c.is_ascii_uppercase()) && self.scope.is_taken(&name);
            if is_type || NO_FIELDS.contains(&name.as_str()) {
                name.push('_');
            }
            format!("{}: {}", word(&scope.claim(&name, "_")), self.part(field.ty))
        };
        fields.iter().map(field).collect()
    }

    /// A type where it is used as it is.
    fn spelled(&self, index: TypeIndex) -> String {
        self.spelled[&self.shapes.first(index)].clone()
    }

    /// A type where it is a part of another.
    fn part(&self, index: TypeIndex) -> String {
        let spelled = self.spelled(index);
        if self.shapes.is_boxed(index) { format!("{}<{spelled}>", self.path("Box")) } else { spelled }
    }

    /// How a type is written where it is used. What would be long, or would have very many parts, is given a name first.
    fn spelling(&mut self, index: TypeIndex) -> String {
        if let Some(name) = self.names.get(&index) {
            return name.clone();
        }
        let ty = self.shapes.ty(index);
        let parts = match ty {
            Type::Tuple(parts) => Some(self.tuple_parts(parts)).filter(|parts| parts.len() != 1),
            _ => None,
        };
        let is_long = parts.as_ref().is_some_and(|parts| parts.len() > TUPLE_PARTS_MAX);
        let text = if is_long { String::new() } else { self.structure(ty) };
        let is_large = is_long || self.shapes.is_large(index);
        if !is_large && text.len() <= SPELLED_MAX {
            return text;
        }
        let name = self.scope.number(kind_name(ty));
        let alias = match &parts {
            Some(parts) => layout::in_parentheses(0, &format!("pub type {name} = "), parts, ";"),
            None => layout::assignment(0, &format!("pub type {name}"), &text),
        };
        let is_wide = alias.lines().any(|line| line.len() > LINE_MAX);
        let definition = if is_large || is_wide {
            let fields: Vec<String> =
                parts.unwrap_or_else(|| vec![text]).iter().map(|part| format!("pub {part}")).collect();
            let of = layout::in_parentheses(0, &format!("pub struct {name}"), &fields, ";");
            format!("{}{of}", self.derives(index))
        } else {
            alias
        };
        self.added.push(format!("/// Without a name in the object.\n{definition}"));
        name
    }

    /// The parts of a tuple, of which equal ones are one or two arrays.
    fn tuple_parts(&self, parts: &[TypeIndex]) -> Vec<String> {
        match self.shapes.equal_parts(parts) {
            Some(part) => arrays(&self.part(part), parts.len()),
            None => parts.iter().map(|part| self.part(*part)).collect(),
        }
    }

    fn structure(&self, ty: &Type) -> String {
        match ty {
            Type::Bool => "bool".into(),
            Type::I8 => "i8".into(),
            Type::I16 => "i16".into(),
            Type::I32 => "i32".into(),
            Type::I64 => "i64".into(),
            Type::I128 => "i128".into(),
            Type::U8 => "u8".into(),
            Type::U16 => "u16".into(),
            Type::U32 => "u32".into(),
            Type::U64 => "u64".into(),
            Type::U128 => "u128".into(),
            Type::F32 => "f32".into(),
            Type::F64 => "f64".into(),
            Type::Char => "char".into(),
            Type::String => self.path("String"),
            // Postcard of bytes is that of so many numbers of one byte.
            Type::Bytes => format!("{}<u8>", self.path("Vec")),
            Type::Unit => "()".into(),
            Type::Option(part) => format!("{}<{}>", self.path("Option"), self.part(*part)),
            Type::Seq(part) => format!("{}<{}>", self.path("Vec"), self.spelled(*part)),
            Type::Tuple(parts) => match (&self.tuple_parts(parts)[..], parts.len()) {
                ([one], 1) => format!("({one},)"),
                ([one], _) => one.clone(),
                (parts, _) => format!("({})", parts.join(", ")),
            },
            // Floats have no order, so no map of Rust's has them as keys. A map is sent as its pairs.
            Type::Map { key, value } if self.shapes.has_float(*key) => {
                format!("{}<({}, {})>", self.path("Vec"), self.spelled(*key), self.spelled(*value))
            }
            Type::Map { key, value } => {
                format!("{}<{}, {}>", self.path("BTreeMap"), self.spelled(*key), self.spelled(*value))
            }
            Type::Struct { .. } | Type::Enum { .. } => unreachable!("these have names"),
        }
    }
}

/// One method that is written.
struct Calling<'a> {
    name: &'a str,
    /// The expression of the name that is sent.
    text: String,
    kind: &'static str,
    lines: Vec<String>,
    when: &'static str,
    method: &'a [Argument],
    result: String,
    error: Option<String>,
    /// What carries a call.
    call: &'a str,
}

/// `name`, or what stands in for a word that is never an identifier.
fn permitted(name: &str) -> String {
    if NO_NAMES.contains(&name) { format!("{name}_") } else { name.into() }
}

/// An identifier as it is written.
fn word(name: &str) -> String {
    if KEYWORDS.contains(&name) { format!("r#{name}") } else { name.into() }
}

fn kind_name(ty: &Type) -> &'static str {
    match ty {
        Type::Option(_) => "Optional",
        Type::Seq(_) => "List",
        Type::Map { .. } => "Map",
        _ => "Tuple",
    }
}

/// Serde knows arrays of up to 32; postcard of arrays in arrays is that of their elements.
fn arrays(element: &str, count: usize) -> Vec<String> {
    let (full, rest) = (count / ARRAY_MAX, count % ARRAY_MAX);
    let full = match full {
        0 => vec![],
        1 => vec![format!("[{element}; {ARRAY_MAX}]")],
        _ => match &arrays(&format!("[{element}; {ARRAY_MAX}]"), full)[..] {
            [one] => vec![one.clone()],
            several => vec![format!("({})", several.join(", "))],
        },
    };
    full.into_iter().chain((rest > 0).then(|| format!("[{element}; {rest}]"))).collect()
}

/// What makes an error of a method an error of Rust. Its words are not known.
fn error_impls(name: &str) -> String {
    format!(
        "\nimpl core::fmt::Display for {name} {{\n    \
             fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {{\n        \
                 core::fmt::Debug::fmt(self, f)\n    }}\n}}\n\
         \nimpl core::error::Error for {name} {{}}\n"
    )
}
