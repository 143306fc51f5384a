//! One module for each refusal, and what a refusal promises: the reason, a byte inside the module, one line.

use concoord_module::{FEATURES, Limits, REWRITTEN_FEATURES, Reason, Refusal, check, check_within, rewrite};

/// A module that passes, with room to break it: `fields` go in front, and each export can be replaced or left out.
fn object(fields: &str, replaced: &[(&str, &str)]) -> String {
    let exports = [
        ("memory", r#"(memory (export "memory") 1)"#),
        ("concoord_abi", r#"(global (export "concoord_abi") i32 (i32.const 1))"#),
        ("concoord_describe", r#"(func (export "concoord_describe") (result i64) i64.const 0)"#),
        ("concoord_buffer", r#"(func (export "concoord_buffer") (param i32) (result i32) i32.const 0)"#),
        ("concoord_call", r#"(func (export "concoord_call") (param i32) (result i64) i64.const 0)"#),
        ("concoord_export", r#"(func (export "concoord_export") (result i64) i64.const 0)"#),
        ("concoord_import", r#"(func (export "concoord_import") (param i32) (result i64) i64.const 0)"#),
    ];
    let mut text = format!("(module {fields}");
    for (name, field) in exports {
        text.push_str(replaced.iter().find(|(other, _)| *other == name).map_or(field, |(_, instead)| instead));
    }
    text + ")"
}

fn assemble(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn refusal(bytes: &[u8]) -> Refusal {
    let refusal = check(bytes).expect_err("the module must be refused");
    assert!(refusal.offset.is_none_or(|offset| offset <= bytes.len()), "{refusal}");
    let line = refusal.to_string();
    assert!(!line.contains('\n') && line.contains("; ") && line.len() < 600, "{line}");
    refusal
}

/// Refused with a reason that reads like this, at a byte of the module.
fn refused_at_a_byte(text: &str, reason: &str) {
    let refusal = refusal(&assemble(text));
    assert!(refusal.reason.to_string().contains(reason), "{refusal}\ninstead of {reason}, for {text}");
    assert!(refusal.offset.is_some_and(|offset| offset >= 8), "no offset: {refusal}, for {text}");
}

#[test]
fn an_object_passes_with_its_facts() {
    let fields = r#"
        (global (mut i32) (i32.const 65536)) (global i64 (i64.const 7)) (global (mut f64) (f64.const 0))
        (func (export "_initialize")) (global (export "concoord_panic") i32 (i32.const 1024))
        (table 2 funcref) (elem (i32.const 0) func 0)
        (data "passive") (data (i32.const 0) "active")
        (func (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 1)) (drop (table.size 0))
            (memory.copy (i32.const 0) (i32.const 0) (i32.const 1)) (drop (i32.extend8_s (i32.const 0)))
            (drop (i32.trunc_sat_f32_s (f32.const 0))))
        (func (result i32 i32) i32.const 1 i32.const 2)"#;
    let bytes = assemble(&object(fields, &[]));
    let checked = check(&bytes).expect("an object passes");
    assert_eq!(checked.mutable_globals, [0, 2]);
    assert_eq!((checked.functions, checked.memory_pages_min, checked.data_bytes), (8, 1, 13));
    assert_eq!((checked.has_initialize, checked.panic_address), (true, Some(1024)));
    assert_eq!(checked.module_bytes, bytes.len());
}

#[test]
fn what_is_not_a_module_is_refused() {
    assert_eq!(refusal(b"").reason, Reason::NotWasm);
    assert_eq!(refusal(b"#!/bin/sh").reason, Reason::NotWasm);
    assert_eq!(refusal(b"\0asm\x02\0\0\0").reason, Reason::NotWasm);
    assert_eq!(refusal(b"\0asm\x0d\0\x01\0").reason, Reason::Component);
}

#[test]
fn each_thing_that_objects_may_not_have_is_refused_where_it_stands() {
    let cases = [
        (r#"(import "wasi_snapshot_preview1" "fd_write" (func))"#, "imports wasi_snapshot_preview1.fd_write"),
        (r#"(import "env" "memory" (memory 1))"#, "imports env.memory"),
        (r#"(import "a\nb" "\1b[2J" (func))"#, r"imports a\nb.\u{1b}[2J"),
        ("(func $f) (start $f)", "start section"),
        ("(memory 1)", "second memory"),
        ("(table 1 funcref) (table 1 funcref)", "second table"),
        ("(table 1 externref)", "a table of a reference type"),
        ("(global externref (ref.null extern))", "a global of a reference type"),
        ("(global (mut funcref) (ref.null func))", "a global of a reference type"),
        ("(func (param externref))", "a parameter or result of a reference type"),
        ("(func (result funcref) unreachable)", "a parameter or result of a reference type"),
        ("(func (local funcref))", "a local of a reference type"),
        ("(func (block (result funcref) unreachable) unreachable)", "a block's result of a reference type"),
        ("(func (unreachable) (select (result funcref)) drop)", "a selected value of a reference type"),
        ("(func (drop (ref.null func)))", "ref.null"),
        ("(func (drop (ref.is_null (unreachable))))", "ref.is_null"),
        ("(func $f (drop (ref.func $f))) (elem declare func $f)", "ref.func"),
        ("(table 1 funcref) (func (drop (table.get 0 (i32.const 0))))", "table.get"),
        ("(table 1 funcref) (func unreachable (table.set 0))", "table.set"),
        ("(table 1 funcref) (func unreachable (drop (table.grow 0)))", "table.grow"),
        ("(table 1 funcref) (func unreachable (table.fill 0))", "table.fill"),
        ("(table 1 funcref) (func unreachable (table.copy))", "table.copy"),
        ("(table 1 funcref) (elem func) (func unreachable (table.init 0))", "table.init"),
        ("(elem func) (func (elem.drop 0))", "elem.drop"),
        (r#"(data "x") (func (data.drop 0))"#, "data.drop"),
        ("(elem externref)", "an element segment of a reference type"),
        ("(func (drop (v128.const i64x2 0 0)))", "uses SIMD"),
        ("(func (param v128))", "uses SIMD"),
        ("(func (drop (i32.atomic.load (i32.const 0))))", "uses threads"),
        ("(func (return_call 0))", "uses tail calls"),
        ("(tag)", "uses exceptions"),
        ("(global i32 (i32.add (i32.const 1) (i32.const 2)))", "uses extended constant expressions"),
        ("(table i64 1 funcref)", "uses 64-bit memory"),
        ("(func i32.const 0)", "not a valid WebAssembly module"),
        ("(global (export \"$concoord_global_0\") (mut i32) (i32.const 0))", "reserved name $concoord_global_0"),
    ];
    for (fields, reason) in cases {
        refused_at_a_byte(&object(fields, &[]), reason);
    }
}

#[test]
fn a_memory_that_is_no_plain_memory_is_refused() {
    let cases = [
        (r#"(memory (export "memory") 1 1 shared)"#, "shared memory"),
        (r#"(memory (export "memory") i64 1)"#, "64-bit memory"),
        (r#"(memory (export "memory") 4097)"#, "4097 pages of memory at the start, but at most 4096"),
    ];
    for (memory, reason) in cases {
        refused_at_a_byte(&object("", &[("memory", memory)]), reason);
    }
    let declared_maximum = object("", &[("memory", r#"(memory (export "memory") 1 65536)"#)]);
    assert!(check(&assemble(&declared_maximum)).is_ok(), "a declared maximum is ignored");
}

#[test]
fn each_missing_export_is_named() {
    let required = ["concoord_abi", "concoord_describe", "concoord_buffer", "concoord_call", "concoord_export"];
    for name in required.into_iter().chain(["memory", "concoord_import"]) {
        let refusal = refusal(&assemble(&object("", &[(name, "")])));
        assert!(matches!(refusal.reason, Reason::MissingExport { name: missing, .. } if missing == name), "{refusal}");
        assert_eq!(refusal.offset, None);
    }
}

#[test]
fn each_export_of_another_type_is_refused_where_it_stands() {
    let cases = [
        ("memory", r#"(memory 1) (func (export "memory"))"#, "a function () -> ()"),
        ("concoord_abi", r#"(global (export "concoord_abi") (mut i32) (i32.const 1))"#, "a mutable i32 global"),
        ("concoord_abi", r#"(global (export "concoord_abi") i64 (i64.const 1))"#, "an immutable i64 global"),
        ("concoord_abi", r#"(func (export "concoord_abi"))"#, "a function () -> ()"),
        ("concoord_describe", r#"(func (export "concoord_describe") (result i32) i32.const 0)"#, "() -> (i32)"),
        ("concoord_buffer", r#"(func (export "concoord_buffer") (result i32) i32.const 0)"#, "() -> (i32)"),
        ("concoord_call", r#"(global (export "concoord_call") i32 (i32.const 1))"#, "an immutable i32 global"),
        ("concoord_export", r#"(table (export "concoord_export") 1 funcref)"#, "a table"),
        ("concoord_import", r#"(func (export "concoord_import") (param i64))"#, "(i64) -> ()"),
    ];
    for (name, field, found) in cases {
        refused_at_a_byte(&object("", &[(name, field)]), &format!("exports {name} as"));
        refused_at_a_byte(&object("", &[(name, field)]), found);
    }
    refused_at_a_byte(&object(r#"(func (export "_initialize") (param i32))"#, &[]), "exports _initialize as");
    refused_at_a_byte(&object(r#"(func (export "concoord_panic"))"#, &[]), "exports concoord_panic as");
}

#[test]
fn another_abi_is_refused() {
    for version in [0, 2, 1023] {
        let abi = format!(r#"(global (export "concoord_abi") i32 (i32.const {version}))"#);
        let refusal = refusal(&assemble(&object("", &[("concoord_abi", &abi)])));
        assert_eq!(refusal.reason, Reason::Abi { found: version });
    }
}

#[test]
fn the_abi_may_stand_in_memory_as_rust_exports_a_static() {
    let abi = |data: &str, address: i64| {
        let global = format!(r#"(global (export "concoord_abi") i32 (i32.const {address}))"#);
        check(&assemble(&object(data, &[("concoord_abi", &global)]))).map_err(|refusal| refusal.reason)
    };
    let data = r#"(data (i32.const 2000) "....\01\00\00\00\07\00")"#;
    assert!(abi(data, 2004).is_ok());
    assert_eq!(abi(data, 2008), Err(Reason::Abi { found: 7 }));
    assert_eq!(abi(data, 2003), Err(Reason::Abi { found: 0x12e }));
    assert_eq!(abi(data, -1), Err(Reason::Abi { found: 0 }));
    let overwritten = format!(r#"{data} (data (i32.const 2004) "\03")"#);
    assert_eq!(abi(&overwritten, 2004), Err(Reason::Abi { found: 3 }));
}

#[test]
fn the_standard_counter_passes() {
    let counter = include_bytes!("../../../objects-wasm/dist/counter.wasm");
    let checked = check(counter).unwrap_or_else(|refusal| panic!("{refusal}"));
    assert!(checked.panic_address.is_some(), "it tells what it panicked about");
}

#[test]
fn each_limit_holds_at_its_edge() {
    let fields = r#"(type (func (param f32))) (table 3 funcref) (elem (i32.const 0) func 0 0 0)
        (global i32 (i32.const 0)) (data "a") (data "b")
        (func (local i32 i32 i64) i32.const 0 br_table 0 0 0 nop)"#;
    let bytes = assemble(&object(fields, &[]));
    let exact = Limits {
        module_bytes: bytes.len(),
        types: 5,
        functions: 6,
        locals: 3,
        body_bytes: 14,
        branch_targets: 2,
        globals: 2,
        exports: 7,
        data_segments: 2,
        element_segments: 1,
        table_elements: 3,
        memory_pages: 1,
    };
    assert_eq!(check_within(&bytes, &exact).map(|checked| checked.functions), Ok(6));
    let tighter = [
        Limits { module_bytes: exact.module_bytes - 1, ..exact.clone() },
        Limits { types: 4, ..exact.clone() },
        Limits { functions: 5, ..exact.clone() },
        Limits { locals: 2, ..exact.clone() },
        Limits { body_bytes: 13, ..exact.clone() },
        Limits { branch_targets: 1, ..exact.clone() },
        Limits { globals: 1, ..exact.clone() },
        Limits { exports: 6, ..exact.clone() },
        Limits { data_segments: 1, ..exact.clone() },
        Limits { element_segments: 0, ..exact.clone() },
        Limits { table_elements: 2, ..exact.clone() },
        Limits { memory_pages: 0, ..exact.clone() },
    ];
    for limits in tighter {
        let refusal = check_within(&bytes, &limits).expect_err("one over the limit");
        let Reason::Limit { found, limit, .. } = refusal.reason else { panic!("{refusal}") };
        assert_eq!(found, limit + 1, "{refusal}");
    }
}

#[test]
fn a_branch_table_has_no_more_targets_than_can_be_compiled() {
    let table = |targets| format!("(func i32.const 0 br_table {} 0)", "0 ".repeat(targets));
    assert!(check(&assemble(&object(&table(65_520), &[]))).is_ok());
    refused_at_a_byte(&object(&table(65_521), &[]), "65521 targets in one br_table, but at most 65520 are accepted");
}

#[test]
fn a_module_cut_or_damaged_anywhere_is_judged_without_a_panic() {
    let fields = r#"(global (mut i32) (i32.const 65536)) (table 2 funcref) (elem (i32.const 0) func 0)
        (data "passive") (data (i32.const 0) "active") (func (export "_initialize"))
        (func (param i32) (result i32) (local i64) (block (result i32) (br_if 0 (local.get 0) (i32.const 1))))"#;
    let bytes = assemble(&object(fields, &[]));
    for length in 0..bytes.len() {
        judge(&bytes[..length]);
    }
    for at in 0..bytes.len() {
        for damage in [0x00, 0x01, 0x40, 0x7f, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = damage;
            judge(&damaged);
        }
    }
}

/// Either refused in the promised form, or valid by the specification and fit to be rewritten.
fn judge(bytes: &[u8]) {
    match check(bytes) {
        Ok(checked) => {
            let mut validator = wasmparser::Validator::new_with_features(FEATURES);
            validator.validate_all(bytes).expect("what passes is valid");
            let mut validator = wasmparser::Validator::new_with_features(REWRITTEN_FEATURES);
            validator.validate_all(&rewrite(bytes, &checked)).expect("and so is its rewrite");
        }
        Err(_) => drop(refusal(bytes)),
    }
}
