//! An object with as much state as one wants, none of whose bytes is zero.

use concoord_wire::codec;
use concoord_wire::interface::{Interface, Method, MethodKind, Type, TypeIndex};

/// Bytes of a page of Wasm memory.
const PAGE_BYTES: usize = 65_536;

/// The module of one with so many pages. Its method `call` changes eight numbers that lie apart.
///
/// # Panics
/// When the text of the module is none.
#[must_use]
pub fn module(pages: usize) -> Vec<u8> {
    let call = Method {
        name: "call".into(),
        doc: String::new(),
        kind: MethodKind::Update,
        arguments: vec![],
        result: TypeIndex(0),
        error: None,
    };
    let (name, version, doc) = ("Large".into(), "1".into(), String::new());
    let interface =
        Interface { name, version, doc, types: vec![Type::F64], init: vec![], methods: vec![call], event: None };
    let description = codec::to_bytes(&interface);
    let data: String = description.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let bytes = pages * PAGE_BYTES;
    let text = include_str!("../../runtime/executor/examples/large.wat")
        .replace("DESCRIPTION_LENGTH", &description.len().to_string())
        .replace("DESCRIPTION", &data)
        .replace("1025", &(pages + 1).to_string())
        .replace("0x4000000", &bytes.to_string())
        .replace("0x7fff00", &(bytes / 8 - 256).to_string());
    wat::parse_str(text).expect("a module")
}
