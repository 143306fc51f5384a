//! Versions of one small object, assembled from text.

use concoord_wire::codec;
use concoord_wire::interface::{Argument, Interface, Method, MethodKind, Type, TypeIndex};

/// What differs between the versions.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    version: &'static str,
    /// What `add` adds.
    step: u32,
    /// Whether it exports, and can say, how often it was added to.
    counts: bool,
    /// Whether it breaks callers of the others.
    breaks: bool,
    /// Whether it traps when it is told of the end of a session.
    deaf: bool,
}

/// Begins with a number that its constructor takes; `add` adds 1 and `get` gives the sum.
pub const FIRST: Tally = Tally { version: "1.0.0", step: 1, counts: false, breaks: false, deaf: false };
/// Adds 10 at a time, and counts.
pub const SECOND: Tally = Tally { version: "2.0.0", step: 10, counts: true, ..FIRST };
/// Takes the sum for an update, gives text, wants to know how much to add, and can't be asked how often.
pub const BREAKING: Tally = Tally { version: "3.0.0", breaks: true, ..FIRST };
/// The first, but it can't bear the end of a session.
pub const DEAF: Tally = Tally { version: "1.0.1", deaf: true, ..FIRST };

impl Tally {
    fn interface(self) -> Interface {
        let (number, text) = (TypeIndex(0), TypeIndex(1));
        let argument = |name: &str| Argument { name: name.into(), ty: number };
        let method = |name: &str, kind, result| Method {
            name: name.into(),
            doc: String::new(),
            kind,
            arguments: Vec::new(),
            result,
            error: None,
        };
        let mut methods = vec![
            method("add", MethodKind::Update, number),
            if self.breaks {
                method("get", MethodKind::Update, text)
            } else {
                method("get", MethodKind::Query, number)
            },
        ];
        if self.breaks {
            methods[0].arguments.push(argument("much"));
        }
        if self.counts {
            methods.push(method("count", MethodKind::Query, number));
        }
        Interface {
            name: "Tally".into(),
            version: self.version.into(),
            doc: "Adds up.".into(),
            types: vec![Type::I64, Type::String],
            event: None,
            init: vec![argument("start")],
            methods,
        }
    }

    /// The module.
    ///
    /// # Panics
    /// When its text is wrong.
    #[must_use]
    pub fn module(self) -> Vec<u8> {
        let description = codec::to_bytes(&self.interface());
        let escaped = description.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>();
        let text = include_str!("tally.wat")
            .replace("DESCRIPTION_LENGTH", &description.len().to_string())
            .replace("\"DESCRIPTION\"", &format!("\"{escaped}\""))
            .replace("EXPORTED_LENGTH", if self.counts { "16" } else { "8" })
            .replace("STEP", &self.step.to_string())
            .replace("ENDED", if self.deaf { "unreachable" } else { "" });
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, and `bytes` of something that nobody looks at.
    #[must_use]
    pub fn module_with(self, bytes: usize) -> Vec<u8> {
        const NAME: &[u8] = b"\x07padding";
        let mut module = self.module();
        module.push(0);
        let mut size = NAME.len() + bytes;
        while size >= 0x80 {
            module.push(size as u8 | 0x80);
            size >>= 7;
        }
        module.push(size as u8);
        module.extend_from_slice(NAME);
        module.resize(module.len() + bytes, 0x55);
        module
    }
}
