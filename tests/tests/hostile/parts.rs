//! Modules with parts that an object may not have, or without what it must have.

use super::guest::{Guest, assemble};
use super::kinds::{Kind, check};

/// With this beside what every object has.
fn with(name: &'static str, fields: &str, words: &'static str) -> Kind {
    check(name, Guest { fields: fields.into(), ..Guest::default() }.module(), words)
}

/// With one thing in its text replaced.
fn replaced(name: &'static str, what: &str, by: &str, words: &'static str) -> Kind {
    let text = Guest::default().text();
    assert!(text.contains(what), "{what}");
    check(name, assemble(&text.replace(what, by)), words)
}

pub(crate) fn kinds() -> Vec<Kind> {
    let call = r#"(func (export "concoord_call") (param $length i32) (result i64)"#;
    let buffer = r#"(func (export "concoord_buffer")"#;
    let memory = r#"(memory (export "memory") 2)"#;
    let abi = r#"(global (export "concoord_abi") i32 (i32.const 1))"#;
    vec![
        with("an import", r#"(import "wasi_snapshot_preview1" "fd_write" (func))"#, "imports wasi_snapshot_preview1"),
        with("an import with escapes in its name", r#"(import "\1b[2J" "\c2\9b2J\0a" (func))"#, r"imports \u{1b}[2J"),
        with("a start function", "(func $start (loop (br 0))) (start $start)", "has a start section"),
        with("a second memory", "(memory 1)", "has a second memory"),
        with("a second table", "(table 1 funcref)", "has a second table"),
        with("atomic instructions", "(func (drop (i32.atomic.load (i32.const 0))))", "uses threads"),
        with("SIMD", "(func (drop (v128.const i64x2 0 0)))", "uses SIMD"),
        with("relaxed SIMD", "(func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))", "uses"),
        with("exceptions", "(tag $tag) (func (throw $tag))", "uses exceptions"),
        with("tail calls", "(func (return_call 0))", "uses tail calls"),
        with("garbage collection", "(type (struct (field i32)))", "uses"),
        with("a reference as a parameter", "(func (param externref))", "of a reference type"),
        with("a reference in a global", "(global (mut externref) (ref.null extern))", "of a reference type"),
        with("a table that changes", "(func (drop (table.grow $table (ref.null func) (i32.const 1))))", "ref.null"),
        with("a segment that is dropped", "(func (data.drop $passive))", "data.drop"),
        with("an offset that is computed", "(global i32 (i32.add (i32.const 1) (i32.const 2)))", "extended constant"),
        with("a body of the wrong type", "(func (result i32) (i64.const 0))", "type mismatch"),
        with("a branch to nowhere", "(func (br 7))", "unknown label"),
        with("a reserved export", r#"(func (export "$concoord_undo"))"#, "the reserved name $concoord_undo"),
        with("two exports of one name", r#"(func (export "a")) (func (export "a"))"#, "duplicate export name"),
        replaced("a 64-bit memory", memory, r#"(memory (export "memory") i64 2)"#, "64-bit memory"),
        replaced("a shared memory", memory, r#"(memory (export "memory") 2 2 shared)"#, "shared memory"),
        replaced("data outside the memory", "(i32.const 3000) \"", "(i32.const 131068) \"", "has data up to address"),
        replaced("data at 4 GiB", "(i32.const 3000) \"", "(i32.const -1) \"", "has data up to address"),
        replaced("another ABI", abi, r#"(global (export "concoord_abi") i32 (i32.const 9))"#, "made for object ABI 9"),
        replaced("no ABI", abi, "", "does not export concoord_abi"),
        replaced("no buffer", buffer, "(func", "does not export concoord_buffer"),
        replaced(
            "a call that takes a float",
            call,
            r#"(func (export "concoord_call") (param f32) (result i64) (unreachable)) (func (param $length i32) (result i64)"#,
            "exports concoord_call as a function (f32)",
        ),
        replaced(
            "a memory that is a function",
            memory,
            r#"(memory 2) (func (export "memory"))"#,
            "exports memory as a function",
        ),
    ]
}
