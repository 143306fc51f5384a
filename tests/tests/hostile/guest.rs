//! Objects that describe themselves and do harm in one place, assembled from text.

use concoord_wire::abi::{Answer, Outcome, Reply, pack};
use concoord_wire::codec;
use concoord_wire::interface::{Interface, Method, MethodKind, Type, TypeIndex};

/// Where its outcome is in its memory.
pub(crate) const OUTCOME: u32 = 16_384;
const SILENCE: u32 = 3000;
const DESCRIPTION: u32 = 4000;
/// Where it says that the text of a panic is.
const PANIC: u32 = 2000;

/// A harmless object, part by part: WebAssembly text, but for what it says.
pub(crate) struct Guest {
    pub(crate) fields: String,
    pub(crate) pages: u32,
    pub(crate) panic: u32,
    pub(crate) initialize: String,
    pub(crate) describe: String,
    pub(crate) buffer: String,
    pub(crate) export: String,
    pub(crate) import: String,
    pub(crate) init: String,
    pub(crate) call: String,
    pub(crate) description: Vec<u8>,
    pub(crate) outcome: Vec<u8>,
}

impl Default for Guest {
    fn default() -> Guest {
        Guest {
            fields: String::new(),
            pages: 2,
            panic: PANIC,
            initialize: String::new(),
            describe: String::new(),
            buffer: "(i32.const 8192)".into(),
            export: format!("(i64.const {})", pack(SILENCE, 1)),
            import: String::new(),
            init: String::new(),
            call: String::new(),
            description: codec::to_bytes(&interface()),
            outcome: codec::to_bytes(&returned(vec![14])),
        }
    }
}

/// What a harmless one says of itself: `go` is an update, `look` a query, and both give a number.
pub(crate) fn interface() -> Interface {
    let method = |name: &str, kind| Method {
        name: name.into(),
        doc: String::new(),
        kind,
        arguments: Vec::new(),
        result: TypeIndex(0),
        error: None,
    };
    Interface {
        name: "Hostile".into(),
        version: "1.0.0".into(),
        doc: String::new(),
        types: vec![Type::I64],
        event: None,
        init: Vec::new(),
        methods: vec![method("go", MethodKind::Update), method("look", MethodKind::Query)],
    }
}

/// An outcome that answers with these bytes and wants nothing else.
pub(crate) fn returned(bytes: Vec<u8>) -> Outcome {
    Outcome { reply: Reply::Now(Answer::Returned(bytes)), ..Outcome::default() }
}

impl Guest {
    /// Its text.
    pub(crate) fn text(&self) -> String {
        let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>();
        let place = |address, bytes: &[u8]| pack(address, u32::try_from(bytes.len()).expect("small")).to_string();
        // What begins like another one comes before it.
        let parts = [
            ("DESCRIPTION_PLACE", place(DESCRIPTION, &self.description)),
            ("OUTCOME_PLACE", place(OUTCOME, &self.outcome)),
            ("SILENCE_PLACE", pack(SILENCE, 5).to_string()),
            ("SUCCESS_PLACE", pack(SILENCE, 1).to_string()),
            ("DESCRIPTION", escaped(&self.description)),
            ("OUTCOME", escaped(&self.outcome)),
            ("FIELDS", self.fields.clone()),
            ("PAGES", self.pages.to_string()),
            ("PANIC", self.panic.cast_signed().to_string()),
            ("INITIALIZE", self.initialize.clone()),
            ("DESCRIBE", self.describe.clone()),
            ("BUFFER", self.buffer.clone()),
            ("EXPORT", self.export.clone()),
            ("IMPORT", self.import.clone()),
            ("INIT", self.init.clone()),
            ("CALL", self.call.clone()),
        ];
        parts.iter().fold(include_str!("guest.wat").to_owned(), |text, (name, part)| text.replace(name, part))
    }

    /// Its module.
    pub(crate) fn module(&self) -> Vec<u8> {
        assemble(&self.text())
    }
}

/// The module of a text.
pub(crate) fn assemble(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}
