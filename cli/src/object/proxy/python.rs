//! A typed stub in Python, 3.9 or newer, over the JSON form of values.

use std::collections::BTreeMap;

use concoord_wire::interface::{Argument, Interface, Method, Payload, Type, TypeIndex};

use super::names::{self, NAME_CHARACTERS_MAX, Scope, TYPE_CHARACTERS_MAX, mention, plain_identifier, python_string};
use super::shapes::Shapes;

/// Words that are no identifiers, and those that type checkers know as types.
const RESERVED: &[&str] = &[
    "False",
    "None",
    "True",
    "and",
    "as",
    "assert",
    "async",
    "await",
    "break",
    "case",
    "class",
    "continue",
    "def",
    "del",
    "elif",
    "else",
    "except",
    "finally",
    "for",
    "from",
    "global",
    "if",
    "import",
    "in",
    "is",
    "lambda",
    "match",
    "nonlocal",
    "not",
    "or",
    "pass",
    "raise",
    "return",
    "try",
    "type",
    "while",
    "with",
    "yield",
    "print",
    "t",
    "bool",
    "int",
    "float",
    "str",
    "list",
    "dict",
    "tuple",
    "object",
    "annotations",
    "typing",
    "Caller",
    "self",
    "result",
];

/// The text of a module.
pub(super) fn write(interface: &Interface) -> String {
    let shapes = Shapes::of(interface);
    let mut scope = Scope::with(RESERVED.iter().copied());
    let object = plain_identifier(&interface.name, "Object", TYPE_CHARACTERS_MAX - "Proxy".len());
    let proxy = scope.claim(&format!("{object}Proxy"), "");
    let mut names = BTreeMap::new();
    for index in shapes.named() {
        if let Type::Struct { name, .. } | Type::Enum { name, .. } = shapes.ty(index) {
            names.insert(index, scope.claim(&plain_identifier(name, "Type", TYPE_CHARACTERS_MAX), ""));
        }
    }
    let event = interface.event.map(|event| match names.get(&shapes.first(event)) {
        Some(name) if name == "Event" => name.clone(),
        _ => scope.claim("Event", ""),
    });
    let wide = scope.claim("Int128", "");
    let float = scope.claim("Float", "");
    let mut writer = Writer {
        shapes: &shapes,
        proxy,
        event,
        wide,
        float,
        scope,
        names,
        spelled: BTreeMap::new(),
        defined: Vec::new(),
    };
    for index in &shapes.used {
        writer.add(*index);
    }
    writer.module()
}

struct Writer<'a> {
    shapes: &'a Shapes<'a>,
    proxy: String,
    event: Option<String>,
    /// Of integers of 128 bits.
    wide: String,
    /// Of floats.
    float: String,
    scope: Scope,
    names: BTreeMap<TypeIndex, String>,
    spelled: BTreeMap<TypeIndex, String>,
    /// The types, each below its parts.
    defined: Vec<String>,
}

impl Writer<'_> {
    fn module(&self) -> String {
        let Interface { name, version, doc, event, .. } = self.shapes.interface;
        let proxy = &self.proxy;
        let version = names::lines(version).join(" ");
        let mut lines =
            vec![format!("Calls a replicated {} through a Caller.", format!("{} {version}", mention(name)).trim_end())];
        if !doc.trim().is_empty() {
            lines.push(String::new());
            lines.extend(names::lines(doc));
        }
        lines.extend(
            [
                "",
                "    proxy = ", // completed below
                "",
                "Values are those that JSON has: a struct is a dict, a variant of an enum its name or a dict of its name and what it",
                "carries, a tuple a list, a map a dict if its keys are strings and else a list of pairs, bytes a list of numbers. An",
                "integer of 128 bits that does not fit 64 is a decimal string.",
                "",
                "Written by `concoord object proxy`; when the object has changed, have it written anew.",
            ]
            .map(|line| if line.ends_with("= ") { format!("{line}{proxy}(caller)") } else { line.to_owned() }),
        );
        let mut parts = vec![CALLER.to_owned()];
        for (name, is, doc) in [
            (&self.wide, "t.Union[int, str]", "An integer; as a decimal string where it does not fit 64 bits."),
            (
                &self.float,
                "t.Union[float, t.Literal[\"NaN\", \"Infinity\", \"-Infinity\"]]",
                "A number, or what JSON has no number for.",
            ),
        ] {
            if self.uses(name) {
                parts.push(format!("{name} = {is}\n\"\"\"{doc}\"\"\"\n"));
            }
        }
        parts.extend(self.defined.iter().cloned());
        if let (Some(event), Some(name)) = (event, &self.event)
            && *name != self.spelled(*event)
        {
            let is = self.spelled(*event);
            parts.push(format!("{name} = {is}\n\"\"\"What the object tells whoever watches it.\"\"\"\n"));
        }
        parts.push(self.class());
        let module = docstring(0, &lines);
        format!("{module}\nfrom __future__ import annotations\n\nimport typing as t\n\n\n{}", parts.join("\n\n"))
    }

    /// Whether any used type is one of the two that need a definition.
    fn uses(&self, name: &str) -> bool {
        let is_it = |ty: &Type| match ty {
            Type::I128 | Type::U128 => name == self.wide,
            Type::F32 | Type::F64 => name == self.float,
            _ => false,
        };
        self.shapes.used.iter().any(|index| is_it(self.shapes.ty(*index)))
    }

    fn class(&self) -> String {
        let Interface { name, methods, init, .. } = self.shapes.interface;
        let proxy = &self.proxy;
        let mut scope = self.scope.clone();
        let mut written = String::new();
        for method in methods {
            let name = permitted(&plain_identifier(&method.name, "method", NAME_CHARACTERS_MAX));
            let name = scope.claim(&name, "_");
            written += "\n";
            written += &self.method(method, &name);
        }
        if self.shapes.interface.method("reinitialize").is_none() {
            let name = scope.claim("reinitialize", "_");
            let lines =
                ["Starts the object anew, as if it were loaded now, with the arguments of its constructor.".to_owned()];
            written += "\n";
            written += &self.calling(&name, "\"__concoordinit__\"", &lines, init, None);
        }
        let doc = format!("Calls a replicated {} through a caller.", mention(name));
        format!(
            "class {proxy}:\n    {}\n    \
                 def __init__(self, caller: Caller, object: t.Optional[str] = None) -> None:\n        \
                     \"\"\"For the object of this name, or else the cluster's first.\"\"\"\n        \
                     self._caller = caller\n        self._object = object\n{written}",
            docstring(4, &[doc]).trim_start()
        )
    }

    fn method(&self, method: &Method, name: &str) -> String {
        let mut lines = names::lines(&method.doc);
        if lines.is_empty() {
            lines.push(format!("Calls {}.", mention(&method.name)));
        }
        if let Some(error) = method.error {
            lines.extend([String::new(), format!("Its errors are of the type `{}`.", self.spelled(error))]);
        }
        self.calling(name, &python_string(&method.name), &lines, &method.arguments, Some(method.result))
    }

    fn calling(
        &self,
        name: &str,
        text: &str,
        lines: &[String],
        arguments: &[Argument],
        result: Option<TypeIndex>,
    ) -> String {
        let mut scope = self.scope.clone();
        for taken in ["self", "result"] {
            scope.claim(taken, "_");
        }
        let (mut parameters, mut values) = (String::new(), Vec::new());
        let required = arguments.len() - self.shapes.left_out_max(arguments);
        for (index, argument) in arguments.iter().enumerate() {
            let name = permitted(&plain_identifier(&argument.name, "argument", NAME_CHARACTERS_MAX));
            let name = scope.claim(&name, "_");
            let default = if index < required { "" } else { " = None" };
            parameters += &format!(", {name}: {}{default}", self.spelled(argument.ty));
            values.push(name);
        }
        let call = format!("self._caller.call(self._object, {text}, [{}])", values.join(", "));
        let never = result
            .is_some_and(|result| matches!(self.shapes.ty(result), Type::Enum { variants, .. } if variants.is_empty()));
        let result = result.map(|result| self.spelled(result)).filter(|result| result != "None");
        let (returns, body) = match result {
            Some(result) if never => {
                (result, format!("        {call}\n        raise TypeError(\"there is no such value\")\n"))
            }
            None => ("None".into(), format!("        {call}\n")),
            Some(result) => {
                let body = format!("        result: {result} = {call}\n        return result\n");
                (result, body)
            }
        };
        format!("    def {name}(self{parameters}) -> {returns}:\n{}{body}", docstring(8, lines))
    }

    fn spelled(&self, index: TypeIndex) -> String {
        self.spelled[&self.shapes.first(index)].clone()
    }

    /// Notes how a type is written, and defines it if it is a struct or an enum.
    fn add(&mut self, index: TypeIndex) {
        let ty = self.shapes.ty(index);
        let spelled = match ty {
            Type::Struct { fields, .. } => {
                let name = self.names[&index].clone();
                let doc = self.shapes.uses(index);
                self.defined.push(self.dict(&name, fields, &doc));
                name
            }
            Type::Enum { variants, .. } => {
                let name = self.names[&index].clone();
                let (mut units, mut others) = (Vec::new(), Vec::new());
                for variant in variants {
                    let text = python_string(&variant.name);
                    if variant.payload == Payload::Unit {
                        units.push(text);
                        continue;
                    }
                    let suffix = plain_identifier(&variant.name, "Variant", TYPE_CHARACTERS_MAX);
                    let carries = match &variant.payload {
                        Payload::Unit => "None".into(),
                        Payload::Newtype(part) => self.spelled(*part),
                        Payload::Tuple(parts) => match parts[..] {
                            [part] => self.spelled(part),
                            _ => self.tuple(parts),
                        },
                        Payload::Struct(fields) => {
                            let of = self.scope.claim(&format!("{name}{suffix}Fields"), "");
                            let doc = format!("What {} of `{name}` carries.", mention(&variant.name));
                            self.defined.push(self.dict(&of, fields, &doc));
                            of
                        }
                    };
                    let of = self.scope.claim(&format!("{name}{suffix}"), "");
                    self.defined.push(format!("{of} = t.TypedDict(\"{of}\", {{{text}: {carries}}})\n"));
                    others.push(of);
                }
                if !units.is_empty() {
                    others.insert(0, format!("t.Literal[{}]", units.join(", ")));
                }
                let is = match &others[..] {
                    [] => "t.NoReturn".to_owned(),
                    [one] => one.clone(),
                    _ => format!("t.Union[{}]", others.join(", ")),
                };
                self.defined.push(format!("{name} = {is}\n\"\"\"{}\"\"\"\n", escaped(&self.shapes.uses(index))));
                name
            }
            // Parts in parts that double with every level would not end.
            _ if self.shapes.is_large(index) => "t.Any".into(),
            Type::Bool => "bool".into(),
            Type::I128 | Type::U128 => self.wide.clone(),
            Type::F32 | Type::F64 => self.float.clone(),
            Type::Char | Type::String => "str".into(),
            Type::Bytes => "t.List[int]".into(),
            Type::Unit => "None".into(),
            Type::Option(part) => format!("t.Optional[{}]", self.spelled(*part)),
            Type::Seq(part) => format!("t.List[{}]", self.spelled(*part)),
            Type::Tuple(parts) => self.tuple(parts),
            Type::Map { key, value } if *self.shapes.ty(*key) == Type::String => {
                format!("t.Dict[str, {}]", self.spelled(*value))
            }
            Type::Map { key, value } => format!("t.List[{}]", self.tuple(&[*key, *value])),
            _ => "int".into(),
        };
        self.spelled.insert(index, spelled);
    }

    /// What JSON has for a tuple: a list whose elements differ.
    fn tuple(&self, parts: &[TypeIndex]) -> String {
        let mut kinds: Vec<String> = Vec::new();
        for part in parts {
            let spelled = self.spelled(*part);
            if !kinds.contains(&spelled) {
                kinds.push(spelled);
            }
        }
        match &kinds[..] {
            [] => "t.List[t.Any]".into(),
            [one] => format!("t.List[{one}]"),
            _ => format!("t.List[t.Union[{}]]", kinds.join(", ")),
        }
    }

    /// A dict with these keys: as a class if all of them are identifiers that mean nothing else there.
    fn dict(&self, name: &str, fields: &[Argument], doc: &str) -> String {
        let mut known = Scope::default();
        let fields: Vec<&Argument> =
            fields.iter().filter(|field| known.claim(&field.name, "\n") == field.name).collect();
        let is_plain = |field: &&Argument| {
            plain_identifier(&field.name, "field", usize::MAX) == field.name && !self.scope.is_taken(&field.name)
        };
        if fields.iter().all(is_plain) {
            let lines: String =
                fields.iter().map(|field| format!("    {}: {}\n", field.name, self.spelled(field.ty))).collect();
            let before = if lines.is_empty() { "" } else { "\n" };
            return format!("class {name}(t.TypedDict):\n{}{before}{lines}", docstring(4, &[doc.to_owned()]));
        }
        let lines: String = fields
            .iter()
            .map(|field| format!("        {}: {},\n", python_string(&field.name), self.spelled(field.ty)))
            .collect();
        format!("{name} = t.TypedDict(\n    \"{name}\",\n    {{\n{lines}    }},\n)\n\"\"\"{}\"\"\"\n", escaped(doc))
    }
}

/// What carries a call, as it stands in each module.
const CALLER: &str = r#"class Caller(t.Protocol):
    """Carries calls to the objects of a cluster."""

    def call(self, object: t.Optional[str], method: str, arguments: t.List[t.Any]) -> t.Any:
        """Gives the result of a method of the object, or of the cluster's first; all as JSON has it.

        An error that the method returns is raised, as is that there is no answer.
        """
        ...
"#;

/// `name`, or what stands in for a word that is none.
fn permitted(name: &str) -> String {
    if RESERVED.contains(&name) { format!("{name}_") } else { name.into() }
}

/// A docstring of these lines.
fn docstring(indent: usize, lines: &[String]) -> String {
    match lines {
        [line] => format!("{:indent$}\"\"\"{}\"\"\"\n", "", escaped(line)),
        _ => {
            let lines: Vec<String> =
                lines.iter().map(|line| format!("{:indent$}{}", "", escaped(line)).trim_end().to_owned()).collect();
            format!("{:indent$}\"\"\"{}\n{:indent$}\"\"\"\n", "", lines.join("\n").trim_start(), "")
        }
    }
}

/// A line within a docstring. A `#` in front could be meant for a tool that reads lines.
fn escaped(line: &str) -> String {
    let mut text = line.replace('\\', "\\\\").replace("\"\"\"", "\\\"\\\"\\\"");
    if text.ends_with('"') {
        text.truncate(text.len() - 1);
        text.push_str("\\\"");
    }
    text.strip_prefix('#').map_or(text.clone(), |rest| format!("\\x23{rest}"))
}
