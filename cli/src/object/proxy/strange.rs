//! Interfaces as a stranger might have them, from a seed.

use concoord_wire::codec;
use concoord_wire::interface::{
    Argument, Interface, Method, MethodKind, Payload, REINITIALIZE, Type, TypeIndex, Variant,
};
use concoord_wire::limits::{NAME_BYTES_MAX, TYPE_DEPTH_MAX};

/// Words of the three languages, names that the texts use, and what is no name at all. All that would be code says `evil`.
const NAMES: &[&str] = &[
    "type",
    "self",
    "Self",
    "super",
    "crate",
    "_",
    "__",
    "",
    "match",
    "async",
    "gen",
    "union",
    "abstract",
    "box",
    "from",
    "import",
    "lambda",
    "None",
    "True",
    "def",
    "class",
    "print",
    "t",
    "int",
    "str",
    "bool",
    "float",
    "list",
    "function",
    "var",
    "let",
    "constructor",
    "then",
    "arguments",
    "eval",
    "await",
    "static",
    "null",
    "undefined",
    "toString",
    "__proto__",
    "any",
    "unknown",
    "never",
    "number",
    "object",
    "symbol",
    "get",
    "set",
    "of",
    "yield",
    "Client",
    "String",
    "Option",
    "Vec",
    "Result",
    "C",
    "Box",
    "BTreeMap",
    "Caller",
    "ProxyError",
    "MethodKind",
    "REINITIALIZE",
    "Answer",
    "FrameError",
    "Serialize",
    "Deserialize",
    "Into",
    "Event",
    "ObjectProxy",
    "KvProxy",
    "Debug",
    "Clone",
    "Eq",
    "Ord",
    "Error",
    "Display",
    "Some",
    "Ok",
    "Err",
    "Array",
    "Promise",
    "Int64",
    "Int128",
    "Float",
    "Tuple",
    "Tuple1",
    "List1",
    "Map1",
    "Optional1",
    "Entry",
    "Entry2",
    "EntryRunning",
    "Running",
    "u8",
    "u64",
    "usize",
    "char",
    "std",
    "core",
    "serde",
    "_serde",
    "__S",
    "__E",
    "__D",
    "__Field",
    "__Visitor",
    "__init__",
    "__class__",
    "concoord_wire",
    "caller",
    "codec",
    "decode",
    "decode_event",
    "new",
    "named",
    "call",
    "reinitialize",
    "clone",
    "fmt",
    "eq",
    "into",
    "object",
    "method",
    "result",
    "answer",
    "kind",
    "value",
    "result_2",
    "a_2",
    "a",
    "a b",
    "a-b",
    "1",
    "12a",
    "1_",
    "_1",
    "größe",
    "日本",
    "x\u{202e}y",
    "\u{feff}",
    "line\nevil()",
    "\r",
    "\0",
    "\t",
    "\"; evil(); \"",
    "*/ evil(); /*",
    "'''",
    "\"\"\"\nevil()\n\"\"\"",
    "`${evil()}`",
    "\\",
    "\\\"",
    "r#evil",
    "#evil()",
    "//",
    "{",
    "}})]",
    "😀",
    "e\u{301}",
    "<b>",
    "keys",
    "items",
    "_caller",
    "_object",
    "caller_2",
    "length",
    "name",
    "prototype",
    "default",
    "annotations",
    "typing",
    "Fields",
    "EntryRunningFields",
    "Any",
    "Union",
    "Literal",
    "TypedDict",
    "Protocol",
    "NoReturn",
    "i128",
    "f64",
    "Void",
];

const DOCS: &[&str] = &[
    "",
    "Plain.",
    "Two\nlines.",
    "Ends */ evil(); /* here",
    "\"\"\"\nevil()\n\"\"\"",
    "ends with \"",
    "ends with \\",
    "```\nevil();\n```",
    "~~~\nevil();\n~~~",
    "    evil();",
    "-     evil();",
    "`one <b>` and <script>evil()</script> [x](javascript:evil())",
    "# mypy: ignore-errors\n@ts-expect-error",
    "@ts-expect-error",
    "a\rb\u{202e}c\u{2028}d\0e\u{1b}[2J",
    "a `code` and `lone",
    "| a |\n|---|\n| `b|<i>` |",
    "\n\n\n  spaced \t out \n\n",
];

/// A generator of numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    fn name(&mut self) -> String {
        let one = NAMES[self.below(NAMES.len())];
        match self.below(12) {
            0 => one.repeat(1 + 200 / one.len().max(1)),
            1 => format!("{one}{}", NAMES[self.below(NAMES.len())]),
            2..4 => ["Entry", "a", "value", "Running"][self.below(4)].to_owned(),
            _ => one.to_owned(),
        }
    }

    fn doc(&mut self) -> String {
        format!(
            "{}{}",
            DOCS[self.below(DOCS.len())],
            if self.below(4) == 0 { DOCS[self.below(DOCS.len())] } else { "" }
        )
    }
}

/// A table of types that grows.
struct Table {
    dice: Dice,
    types: Vec<Type>,
    depths: Vec<usize>,
    /// How likely it is that a type is made of the newest ones.
    is_steep: bool,
}

impl Table {
    fn any(&mut self) -> TypeIndex {
        let count = self.types.len();
        let index = if self.is_steep { count - 1 - self.dice.below(count.min(3)) } else { self.dice.below(count) };
        let fits = self.depths[index] < TYPE_DEPTH_MAX;
        TypeIndex(u32::try_from(if fits { index } else { 0 }).expect("few"))
    }

    fn some(&mut self) -> Vec<TypeIndex> {
        let count = match self.dice.below(10) {
            0 => 6 + self.dice.below(12),
            1 => 30 + self.dice.below(90),
            2 => 0,
            _ => 1 + self.dice.below(5),
        };
        let one = self.any();
        let is_array = self.dice.below(3) == 0;
        (0..count).map(|_| if is_array { one } else { self.any() }).collect()
    }

    fn fields(&mut self) -> Vec<Argument> {
        let count = self.dice.below(6);
        (0..count).map(|_| Argument { name: self.dice.name(), ty: self.any() }).collect()
    }

    fn variant(&mut self) -> Variant {
        let payload = match self.dice.below(4) {
            0 => Payload::Unit,
            1 => Payload::Newtype(self.any()),
            2 => Payload::Tuple(self.some()),
            _ => Payload::Struct(self.fields()),
        };
        Variant { name: self.dice.name(), payload }
    }

    fn add(&mut self) {
        let ty = match self.dice.below(8) {
            0 => Type::Option(self.any()),
            1 => Type::Seq(self.any()),
            2 => Type::Map { key: self.any(), value: self.any() },
            3 | 4 => Type::Tuple(self.some()),
            5 | 6 => Type::Struct { name: self.dice.name(), fields: self.fields() },
            _ => {
                let count = self.dice.below(6);
                let variants = (0..count).map(|_| self.variant()).collect();
                Type::Enum { name: self.dice.name(), variants }
            }
        };
        let depth = 1 + ty.parts().iter().map(|part| self.depths[part.0 as usize]).max().unwrap_or(0);
        self.types.push(ty);
        self.depths.push(depth);
    }
}

/// One that [`Interface::decode`] accepts.
pub(super) fn interface(seed: u64) -> Interface {
    let plain = [
        Type::U8,
        Type::Bool,
        Type::I8,
        Type::I16,
        Type::I32,
        Type::I64,
        Type::I128,
        Type::U16,
        Type::U32,
        Type::U64,
        Type::U128,
        Type::F32,
        Type::F64,
        Type::Char,
        Type::String,
        Type::Bytes,
        Type::Unit,
    ];
    let depths = vec![1; plain.len()];
    let mut table = Table { dice: Dice(seed), types: plain.to_vec(), depths, is_steep: false };
    table.is_steep = table.dice.below(3) == 0;
    for _ in 0..table.dice.below(40) {
        table.add();
    }
    let mut methods: Vec<Method> = Vec::new();
    for _ in 0..table.dice.below(8) {
        let mut name = table.dice.name();
        let end = (0..=NAME_BYTES_MAX.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        name.truncate(end);
        if name.is_empty() || name == REINITIALIZE || methods.iter().any(|method| method.name == name) {
            continue;
        }
        let count = if table.dice.below(8) == 0 { 20 } else { table.dice.below(5) };
        methods.push(Method {
            name,
            doc: table.dice.doc(),
            kind: [MethodKind::Query, MethodKind::Update, MethodKind::Waiting][table.dice.below(3)],
            arguments: (0..count).map(|_| Argument { name: table.dice.name(), ty: table.any() }).collect(),
            result: table.any(),
            error: (table.dice.below(2) == 0).then(|| table.any()),
        });
    }
    let interface = Interface {
        name: table.dice.name(),
        version: table.dice.doc(),
        doc: table.dice.doc(),
        init: table.fields(),
        event: (table.dice.below(2) == 0).then(|| table.any()),
        methods,
        types: table.types,
    };
    Interface::decode(&codec::to_bytes(&interface)).expect("within all limits")
}
