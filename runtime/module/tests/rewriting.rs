//! What the rewrite adds, and that it adds nothing else.

use concoord_module::{
    BEGIN_EXPORT, BYTES_EXPORT, GAS_EXPORT, KEEP_EXPORT, Limits, NOTES_EXPORT, PAGES_MAX_EXPORT, PLACE_EXPORT,
    REFUSED_EXPORT, REWRITTEN_FEATURES, RUN_EXPORT, STOPPED_EXPORT, UNDO_EXPORT, check, check_within, global_export,
    rewrite,
};
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
    (;more;) (func (param f32) (local i64) (f32.store offset=9 (i32.const 3) (local.get 0)))
    (@custom "big" "left out"))"#;

#[derive(Default, Debug, PartialEq)]
struct Seen {
    exports: Vec<(String, ExternalKind, u32)>,
    bodies: Vec<Vec<u8>>,
    memories: Vec<(u64, Option<u64>)>,
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
                let memories = section.into_iter().map(|memory| memory.expect("a memory"));
                seen.memories = memories.map(|memory| (memory.initial, memory.maximum)).collect();
            }
            Payload::CustomSection(_) => seen.custom_sections += 1,
            _ => {}
        }
    }
    seen
}

#[test]
fn the_rewrite_appends_and_moves_no_index() {
    let bytes = wat::parse_str(OBJECT).unwrap();
    let checked = check(&bytes).unwrap();
    let (before, rewritten) = (read(&bytes), rewrite(&bytes, &checked));
    assert_eq!((before.memories.as_slice(), before.custom_sections), ([(1, Some(3))].as_slice(), 1));
    let after = read(&rewritten);
    assert_eq!(after.custom_sections, 0);

    let global = |name: &str, index| (name.to_owned(), ExternalKind::Global, index);
    let function = |name: &str, index| (name.to_owned(), ExternalKind::Func, index);
    let added = [
        global(&global_export(0), 0),
        global(&global_export(1), 1),
        global(GAS_EXPORT, 3),
        global(BYTES_EXPORT, 5),
        global(PAGES_MAX_EXPORT, 6),
        global(STOPPED_EXPORT, 7),
        global(REFUSED_EXPORT, 8),
        function(BEGIN_EXPORT, 12),
        function(PLACE_EXPORT, 13),
        function(RUN_EXPORT, 14),
        function(KEEP_EXPORT, 15),
        function(UNDO_EXPORT, 16),
        (NOTES_EXPORT.to_owned(), ExternalKind::Memory, 1),
    ];
    assert_eq!(after.exports, before.exports.iter().cloned().chain(added).collect::<Vec<_>>());
    assert_eq!(after.bodies.len(), before.bodies.len() + 11);

    let [guest, appended @ ..] = after.memories.as_slice() else { panic!("no memory") };
    let pages = u64::from(checked.memory_pages_max) + 1;
    assert_eq!(*guest, (pages, Some(pages)), "the replicated cap, and one for the undo log");
    assert_eq!(appended.len(), 2);
    assert!(appended.iter().all(|(initial, maximum)| *maximum == Some(*initial)), "they never grow: {appended:?}");
    assert_eq!(rewritten, rewrite(&bytes, &checked), "the same bytes each time");
}

#[test]
fn a_rewritten_module_is_valid_and_can_not_be_given_as_an_object() {
    let bytes = wat::parse_str(OBJECT).unwrap();
    let rewritten = rewrite(&bytes, &check(&bytes).unwrap());
    valid(&rewritten);
    let refusal = check(&rewritten).unwrap_err();
    assert!(refusal.to_string().contains("pages of memory at the start"), "{refusal}");
}

/// Code that is never reached takes its operands from a stack without types; so do some of the operands here.
#[test]
fn writes_in_unreachable_code_are_rewritten_validly() {
    let values = [
        ("i32", "i32.store"),
        ("i32", "i32.store8"),
        ("i32", "i32.store16"),
        ("i64", "i64.store"),
        ("i64", "i64.store8"),
        ("i64", "i64.store16"),
        ("i64", "i64.store32"),
        ("f32", "f32.store"),
        ("f64", "f64.store"),
    ];
    let bulk = ["memory.fill", "memory.copy", "memory.init 0"];
    let stores = values.iter().flat_map(|(ty, store)| {
        [format!("unreachable {store}"), format!("unreachable {ty}.const 1 {store} offset=7"), format!("br 0 {store}")]
    });
    let bulk = bulk.iter().flat_map(|bulk| {
        [
            format!("unreachable {bulk}"),
            format!("br 0 i32.const 1 {bulk}"),
            format!("br 0 i32.const 1 i32.const 2 {bulk}"),
        ]
    });
    for code in stores.chain(bulk) {
        let functions = format!(
            "(func {code}) (func (result i64) (block (result i64) i64.const 1 (block {code}) drop unreachable))
             (func (param f64) (local f32) (loop (if (i32.const 1) (then {code}) (else {code} nop))) {code})"
        );
        let bytes = wat::parse_str(OBJECT.replace("(;more;)", &functions)).unwrap();
        valid(&rewrite(&bytes, &check(&bytes).unwrap_or_else(|refusal| panic!("{refusal}: {code}"))));
    }
}

/// As many locals, as large a body and as large a memory as the limits let through, and as 32 bits let through.
#[test]
fn what_is_rewritten_stays_within_the_limits_of_webassembly() {
    let stores = "i64.store offset=100 ".repeat((256 << 10) / 3 - 100);
    let parameters = "f64 ".repeat(1000);
    let function = |locals, stores: &str| {
        format!("(func (param {parameters}) (local {}) unreachable {stores})", "i64 ".repeat(locals))
    };
    let with = |fields: &str| wat::parse_str(OBJECT.replace("(;more;)", fields)).unwrap();
    let bytes = with(&function(4096, &stores));
    valid(&rewrite(&bytes, &check(&bytes).unwrap()));

    let wide = Limits { locals: u32::MAX, memory_pages: 65_536, ..Limits::default() };
    let bytes = with(&function(48_992, "i64.store"));
    let checked = check_within(&bytes, &wide).unwrap();
    assert!((58_000..65_536).contains(&checked.memory_pages_max), "{}", checked.memory_pages_max);
    valid(&rewrite(&bytes, &checked));
    assert!(check_within(&with(&function(48_993, "i64.store")), &wide).is_err());
}

fn valid(bytes: &[u8]) {
    wasmparser::Validator::new_with_features(REWRITTEN_FEATURES)
        .validate_all(bytes)
        .expect("a rewritten module is valid");
}
