//! What the rewrite adds, and that it adds nothing else.

use concoord_module::{check, global_export, rewrite};
use wasmparser::{ExternalKind, Parser, Payload};

const OBJECT: &str = r#"(module
    (memory (export "memory") 1 3) (global (mut i32) (i32.const 9)) (global (export "seen") (mut i64) (i64.const 8))
    (global (export "concoord_abi") i32 (i32.const 1)) (table 2 funcref) (elem (i32.const 0) func 0)
    (data "passive") (data (i32.const 5) "active")
    (func (export "concoord_describe") (result i64)
        (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 1)) i64.const 0)
    (func (export "concoord_buffer") (param i32) (result i32) local.get 0)
    (func (export "concoord_call") (param i32) (result i64) (call_indirect (result i64) (i32.const 0)))
    (func (export "concoord_export") (result i64) i64.const 0)
    (func (export "concoord_import") (param i32) (result i64) i64.const 0)
    (@custom "big" "left out"))"#;

#[derive(Default, Debug, PartialEq)]
struct Seen {
    exports: Vec<(String, ExternalKind, u32)>,
    bodies: Vec<Vec<u8>>,
    memory: Option<(u64, Option<u64>)>,
    custom_sections: usize,
}

fn read(bytes: &[u8]) -> Seen {
    let mut seen = Seen::default();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.expect("a readable module") {
            Payload::ExportSection(section) => {
                let exports = section.into_iter().map(|export| export.expect("an export"));
                seen.exports = exports.map(|export| (export.name.to_owned(), export.kind, export.index)).collect();
            }
            Payload::CodeSectionEntry(body) => seen.bodies.push(body.as_bytes().to_vec()),
            Payload::MemorySection(section) => {
                let memory = section.into_iter().next().expect("a memory").expect("a readable one");
                seen.memory = Some((memory.initial, memory.maximum));
            }
            Payload::CustomSection(_) => seen.custom_sections += 1,
            _ => {}
        }
    }
    seen
}

#[test]
fn the_rewrite_exports_the_mutable_globals_and_caps_the_memory() {
    let bytes = wat::parse_str(OBJECT).unwrap();
    let checked = check(&bytes).unwrap();
    let before = read(&bytes);
    assert_eq!((before.memory, before.custom_sections), (Some((1, Some(3))), 1));
    let memory = Some((1, Some(u64::from(checked.memory_pages_max))));
    let mut expected = Seen { memory, custom_sections: 0, ..before };
    for index in [0, 1] {
        expected.exports.push((global_export(index), ExternalKind::Global, index));
    }
    let rewritten = rewrite(&bytes, &checked);
    assert_eq!(read(&rewritten), expected);
    assert_eq!(rewritten, rewrite(&bytes, &checked), "the same bytes each time");
}

#[test]
fn a_rewritten_module_is_valid_and_can_not_be_given_as_an_object() {
    let bytes = wat::parse_str(OBJECT).unwrap();
    let rewritten = rewrite(&bytes, &check(&bytes).unwrap());
    wasmparser::Validator::new_with_features(concoord_module::FEATURES).validate_all(&rewritten).unwrap();
    let refusal = check(&rewritten).unwrap_err();
    assert!(refusal.to_string().contains("reserved name"), "{refusal}");
}
