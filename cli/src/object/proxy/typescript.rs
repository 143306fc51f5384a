//! A typed stub in TypeScript over the JSON form of values.

use std::collections::BTreeMap;

use concoord_wire::interface::{Argument, Interface, Method, Payload, Type, TypeIndex};

use super::names::{self, NAME_CHARACTERS_MAX, Scope, TYPE_CHARACTERS_MAX, identifier, mention, typescript_string};
use super::shapes::{Shapes, TUPLE_PARTS_MAX};

/// Words that are no names of variables.
const WORDS: &[&str] = &[
    "arguments",
    "await",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "debugger",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "eval",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "function",
    "if",
    "implements",
    "import",
    "in",
    "instanceof",
    "interface",
    "let",
    "new",
    "null",
    "package",
    "private",
    "protected",
    "public",
    "return",
    "static",
    "super",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "typeof",
    "undefined",
    "var",
    "void",
    "while",
    "with",
    "yield",
];
/// Names that are no names of types beside these, and those that the text uses for what they mean.
const TYPE_WORDS: &[&str] = &[
    "any",
    "as",
    "asserts",
    "async",
    "bigint",
    "boolean",
    "declare",
    "from",
    "get",
    "infer",
    "intrinsic",
    "is",
    "keyof",
    "module",
    "namespace",
    "never",
    "number",
    "object",
    "of",
    "out",
    "override",
    "readonly",
    "require",
    "exports",
    "satisfies",
    "set",
    "string",
    "symbol",
    "type",
    "undefined",
    "unique",
    "unknown",
    "using",
    "abstract",
    "accessor",
    "defer",
    "Array",
    "Promise",
    "Object",
    "Caller",
    "globalThis",
];
/// Methods that JavaScript gives a meaning, and fields of the class.
const RESERVED_METHODS: &[&str] = &[
    "constructor",
    "then",
    "toString",
    "toLocaleString",
    "valueOf",
    "toJSON",
    "_caller",
    "_object",
    "__proto__",
    "prototype",
];
const INDENT: &str = "  ";

/// The text of a module.
pub(super) fn write(interface: &Interface) -> String {
    let shapes = Shapes::of(interface);
    let mut scope = Scope::with(WORDS.iter().chain(TYPE_WORDS).copied());
    let object = identifier(&interface.name, "Object", TYPE_CHARACTERS_MAX - "Proxy".len());
    let proxy = scope.claim(&format!("{object}Proxy"), "");
    let mut names = BTreeMap::new();
    for index in shapes.named() {
        if let Type::Struct { name, .. } | Type::Enum { name, .. } = shapes.ty(index) {
            names.insert(index, scope.claim(&identifier(name, "Type", TYPE_CHARACTERS_MAX), ""));
        }
    }
    let event = interface.event.map(|event| match names.get(&shapes.first(event)) {
        Some(name) if name == "Event" => name.clone(),
        _ => scope.claim("Event", ""),
    });
    let [long, wide, float] = ["Int64", "Int128", "Float"].map(|name| scope.claim(name, ""));
    let mut writer = Writer { shapes: &shapes, proxy, event, long, wide, float, names, spelled: BTreeMap::new() };
    for index in &shapes.used {
        let spelled = writer.spelling(*index);
        writer.spelled.insert(*index, spelled);
    }
    writer.module()
}

struct Writer<'a> {
    shapes: &'a Shapes<'a>,
    proxy: String,
    event: Option<String>,
    /// Of integers of 64 bits, of 128, and of floats.
    long: String,
    wide: String,
    float: String,
    names: BTreeMap<TypeIndex, String>,
    spelled: BTreeMap<TypeIndex, String>,
}

impl Writer<'_> {
    fn module(&self) -> String {
        let Interface { name, version, doc, event, .. } = self.shapes.interface;
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
                &format!("    const proxy = new {}(caller);", self.proxy),
                "",
                "Values are those that JSON has: a struct is an object, a variant of an enum its name or an object of its name and what",
                "it carries, a map an object if its keys are strings and else an array of pairs, bytes an array of numbers.",
                "",
                "Written by `concoord object proxy`; when the object has changed, have it written anew.",
            ]
            .map(str::to_owned),
        );
        let mut parts = vec![comment("", &lines), CALLER.to_owned()];
        for (name, is, doc) in [
            (
                &self.long,
                "number | bigint",
                "An integer that a number may not hold: a caller that reads and writes it as a bigint loses nothing.",
            ),
            (&self.wide, "number | bigint | string", "An integer; as a decimal string where it does not fit 64 bits."),
            (
                &self.float,
                "number | \"NaN\" | \"Infinity\" | \"-Infinity\"",
                "A number, or what JSON has no number for.",
            ),
        ] {
            if self.uses(name) {
                parts.push(format!("{}export type {name} = {is};\n", comment("", &[doc.to_owned()])));
            }
        }
        parts.push(self.class());
        if let (Some(event), Some(name)) = (event, &self.event)
            && *name != self.spelled(*event)
        {
            let doc = comment("", &["What the object tells whoever watches it.".to_owned()]);
            parts.push(format!("{doc}export type {name} = {};\n", self.spelled(*event)));
        }
        parts.extend(self.shapes.named().into_iter().map(|index| self.definition(index)));
        parts.join("\n")
    }

    /// Whether any used type is one of those that need a definition.
    fn uses(&self, name: &str) -> bool {
        let is_it = |ty: &Type| match ty {
            Type::I64 | Type::U64 => name == self.long,
            Type::I128 | Type::U128 => name == self.wide,
            Type::F32 | Type::F64 => name == self.float,
            _ => false,
        };
        self.shapes.used.iter().any(|index| is_it(self.shapes.ty(*index)))
    }

    fn class(&self) -> String {
        let Interface { name, methods, init, .. } = self.shapes.interface;
        let mut scope = Scope::default();
        let mut written = String::new();
        for method in methods {
            let name = permitted(&identifier(&method.name, "method", NAME_CHARACTERS_MAX), RESERVED_METHODS);
            let name = scope.claim(&name, "_");
            written += "\n";
            written += &self.method(method, &name);
        }
        if self.shapes.interface.method("reinitialize").is_none() {
            let name = scope.claim("reinitialize", "_");
            let lines =
                ["Starts the object anew, as if it were loaded now, with the arguments of its constructor.".to_owned()];
            written += "\n";
            written += &self.calling(&name, "\"__concoordinit__\"", &lines, init, "null");
        }
        let doc = comment("", &[format!("Calls a replicated {} through a caller.", mention(name))]);
        format!(
            "{doc}export class {} {{\n  private readonly _caller: Caller;\n  private readonly _object: string | null;\n\n  \
                 /** For the object of this name, or else the cluster's first. */\n  \
                 constructor(caller: Caller, object: string | null = null) {{\n    \
                     this._caller = caller;\n    this._object = object;\n  }}\n{written}}}\n",
            self.proxy
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
        let text = typescript_string(&method.name);
        self.calling(name, &text, &lines, &method.arguments, &self.spelled(method.result))
    }

    fn calling(&self, name: &str, text: &str, lines: &[String], arguments: &[Argument], result: &str) -> String {
        let mut scope = Scope::default();
        let (mut parameters, mut values) = (Vec::new(), Vec::new());
        let required = arguments.len() - self.shapes.left_out_max(arguments);
        for (index, argument) in arguments.iter().enumerate() {
            let name = permitted(&identifier(&argument.name, "argument", NAME_CHARACTERS_MAX), WORDS);
            let name = scope.claim(&name, "_");
            let default = if index < required { "" } else { " = null" };
            parameters.push(format!("{name}: {}{default}", self.spelled(argument.ty)));
            values.push(name);
        }
        format!(
            "{}  {name}({}): Promise<{result}> {{\n    \
                 return this._caller.call(this._object, {text}, [{}]) as Promise<{result}>;\n  }}\n",
            comment(INDENT, lines),
            parameters.join(", "),
            values.join(", ")
        )
    }

    fn definition(&self, index: TypeIndex) -> String {
        let name = &self.names[&index];
        let doc = comment("", &[self.shapes.uses(index)]);
        match self.shapes.ty(index) {
            Type::Struct { fields, .. } if fields.is_empty() => format!("{doc}export type {name} = {EMPTY};\n"),
            Type::Struct { fields, .. } => {
                let fields: String = self.fields(fields).iter().map(|field| format!("{INDENT}{field};\n")).collect();
                format!("{doc}export interface {name} {{\n{fields}}}\n")
            }
            Type::Enum { variants, .. } if variants.is_empty() => format!("{doc}export type {name} = never;\n"),
            Type::Enum { variants, .. } => {
                let variants: String = variants
                    .iter()
                    .map(|variant| {
                        let text = typescript_string(&variant.name);
                        let carries = match &variant.payload {
                            Payload::Unit => return format!("\n  | {text}"),
                            Payload::Newtype(part) => self.spelled(*part),
                            Payload::Tuple(parts) => match parts[..] {
                                [part] => self.spelled(part),
                                _ => self.tuple(parts),
                            },
                            Payload::Struct(fields) if fields.is_empty() => EMPTY.into(),
                            Payload::Struct(fields) => format!("{{ {} }}", self.fields(fields).join("; ")),
                        };
                        format!("\n  | {{ {}: {carries} }}", key(&variant.name))
                    })
                    .collect();
                format!("{doc}export type {name} ={variants};\n")
            }
            _ => unreachable!("structs and enums only are named by the author"),
        }
    }

    fn fields(&self, fields: &[Argument]) -> Vec<String> {
        let mut known = Scope::default();
        let fields = fields.iter().filter(|field| known.claim(&field.name, "\n") == field.name);
        fields.map(|field| format!("{}: {}", key(&field.name), self.spelled(field.ty))).collect()
    }

    fn spelled(&self, index: TypeIndex) -> String {
        self.spelled[&self.shapes.first(index)].clone()
    }

    fn spelling(&self, index: TypeIndex) -> String {
        match self.shapes.ty(index) {
            Type::Struct { .. } | Type::Enum { .. } => self.names[&index].clone(),
            // Parts in parts that double with every level would not end.
            _ if self.shapes.is_large(index) => "unknown".into(),
            Type::Bool => "boolean".into(),
            Type::I64 | Type::U64 => self.long.clone(),
            Type::I128 | Type::U128 => self.wide.clone(),
            Type::F32 | Type::F64 => self.float.clone(),
            Type::Char | Type::String => "string".into(),
            Type::Bytes => "number[]".into(),
            Type::Unit => "null".into(),
            Type::Option(part) => format!("{} | null", self.spelled(*part)),
            Type::Seq(part) => self.array(*part),
            Type::Tuple(parts) => self.tuple(parts),
            Type::Map { key, value } if *self.shapes.ty(*key) == Type::String => {
                format!("{{ [key: string]: {} }}", self.spelled(*value))
            }
            Type::Map { key, value } => format!("[{}, {}][]", self.spelled(*key), self.spelled(*value)),
            _ => "number".into(),
        }
    }

    fn array(&self, part: TypeIndex) -> String {
        let spelled = self.spelled(part);
        if spelled.contains('|') { format!("({spelled})[]") } else { format!("{spelled}[]") }
    }

    fn tuple(&self, parts: &[TypeIndex]) -> String {
        match self.shapes.equal_parts(parts) {
            Some(part) if parts.len() > TUPLE_PARTS_MAX => self.array(part),
            _ => format!("[{}]", parts.iter().map(|part| self.spelled(*part)).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// `name`, or what stands in for a word that is none.
fn permitted(name: &str, words: &[&str]) -> String {
    if words.contains(&name) { format!("{name}_") } else { name.into() }
}

/// An object without anything in it.
const EMPTY: &str = "{ [key: string]: never }";

/// What carries a call, as it stands in each module.
const CALLER: &str = "\
/** Carries calls to the objects of a cluster. */
export interface Caller {
  /**
   * Gives the result of a method of the object, or of the cluster's first; all as JSON has it.
   *
   * It is rejected with an error that the method returns, or when there is no answer.
   */
  call(object: string | null, method: string, args: unknown[]): Promise<unknown>;
}
";

/// The name of a property.
fn key(name: &str) -> String {
    let is_plain = !name.is_empty() && identifier(name, "", usize::MAX) == name && name != "__proto__";
    if is_plain { name.to_owned() } else { typescript_string(name) }
}

/// A comment of these lines, which can neither end it nor tell the compiler anything.
fn comment(indent: &str, lines: &[String]) -> String {
    let escaped = |line: &String| line.replace("*/", "*\\/").replace('@', "\\@");
    match lines {
        [line] => format!("{indent}/** {} */\n", escaped(line)),
        _ => {
            let lines: String =
                lines.iter().map(|line| format!("{indent} * {}", escaped(line)).trim_end().to_owned() + "\n").collect();
            format!("{indent}/**\n{lines}{indent} */\n")
        }
    }
}
