//! Objects that are loaded and whose methods then do what they should not.

use concoord_wire::abi::LimitKind;

use super::describing::SPIN;
use super::guest::Guest;
use super::kinds::{Expected, Kind};

/// Whose methods do this.
fn call(name: &'static str, text: &str, answer: Expected, words: &'static str) -> Kind {
    loaded(name, Guest { call: text.into(), ..Guest::default() }, answer, words)
}

/// Whose methods do this, with these beside.
fn with(name: &'static str, fields: &str, text: &str, answer: Expected, words: &'static str) -> Kind {
    let guest = Guest { fields: fields.into(), call: text.into(), ..Guest::default() };
    loaded(name, guest, answer, words)
}

pub(crate) fn loaded(name: &'static str, guest: Guest, answer: Expected, words: &'static str) -> Kind {
    Kind { name, module: guest.module(), answer, words }
}

/// Whose place for inputs is sought like this, but for the first one.
fn buffer(text: &str) -> Guest {
    let buffer = format!("(if (global.get $begun) (then {text})) (i32.const 8192)");
    Guest { buffer, ..Guest::default() }
}

/// Leaves a text where one of a panic is looked for, and stops.
fn panic(text: &str) -> String {
    let bytes: Vec<u8> = text.bytes().chain([0; 8]).collect();
    let words = bytes.chunks_exact(8).zip((2004..).step_by(8));
    let stores = words.map(|(word, address)| {
        let number = i64::from_le_bytes(word.try_into().expect("eight bytes"));
        format!("(i64.store (i32.const {address}) (i64.const {number}))")
    });
    let length = format!("(i32.store (i32.const 2000) (i32.const {})) unreachable", text.len());
    stores.chain([length]).collect()
}

pub(crate) fn kinds() -> Vec<Kind> {
    [endless(), trapping(), panicking()].into_iter().flatten().collect()
}

/// Those that would use up time, stack or memory.
fn endless() -> Vec<Kind> {
    let (gas, depth) = (Expected::Limit(LimitKind::Gas), Expected::Limit(LimitKind::Depth));
    let memory = Expected::Limit(LimitKind::MemoryPages);
    let (too_long, too_deep, too_large) = ("out of gas: a call may use", "too deep", "out of memory: the object may");
    let grow_all = "(loop $again (br_if $again (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0))))";
    let fill = "(drop (memory.grow (i32.const 4000)))
        (loop $again (memory.fill (i32.const 65536) (i32.const 7) (i32.const 250000000)) (br $again))";
    let copy = "(drop (memory.grow (i32.const 4000)))
        (loop $again (memory.copy (i32.const 65536) (i32.const 65537) (i32.const 200000000)) (br $again))";
    let itself = "(func $again (call $again))";
    let wide = format!("(func $again (local {}) (call $again))", "i64 ".repeat(4096));
    let mutual = "(func $one (call $two)) (func $two (call $one))";
    let indirect = "(elem (i32.const 2) $one $two)
        (func $one (call_indirect (i32.const 3))) (func $two (call_indirect (i32.const 2)))";
    let tree = "(func $tree (param i32) (if (local.get 0) (then
        (call $tree (i32.sub (local.get 0) (i32.const 1))) (call $tree (i32.sub (local.get 0) (i32.const 1))))))";
    vec![
        call("a loop without end", SPIN, gas, too_long),
        call("a loop that writes", "(loop $again (i64.store (i32.const 64) (i64.const 1)) (br $again))", gas, too_long),
        with("calls without end", tree, "(call $tree (i32.const 60))", gas, too_long),
        with("recursion", itself, "(call $again)", depth, too_deep),
        with("recursion with 4096 locals", &wide, "(call $again)", depth, too_deep),
        with("recursion of two", mutual, "(call $one)", depth, too_deep),
        with("recursion through the table", indirect, "(call $one)", depth, too_deep),
        call("memory grown to the cap", grow_all, Expected::Answers, "7"),
        call("memory grown beyond the cap, and a trap", &format!("{grow_all} unreachable"), memory, too_large),
        call("4 GiB of memory at once", "(drop (memory.grow (i32.const 65535))) unreachable", memory, too_large),
        call("all memory filled again and again", fill, gas, too_long),
        call("all memory moved again and again", copy, gas, too_long),
        call("a fill of 4 GiB", "(memory.fill (i32.const 8) (i32.const 1) (i32.const -1))", gas, too_long),
        loaded("a buffer that is never given", buffer(SPIN), gas, too_long),
    ]
}

/// Those that trap.
fn trapping() -> Vec<Kind> {
    let outside = "trapped: access outside its memory";
    let trap = |name, text: &str, words| call(name, text, Expected::Trap, words);
    vec![
        trap("unreachable", "unreachable", "trapped: stopped itself (unreachable)"),
        trap("a division by zero", "(drop (i32.div_u (i32.const 1) (i32.const 0)))", "integer division by zero"),
        trap("a remainder by zero", "(drop (i64.rem_s (i64.const 1) (i64.const 0)))", "integer division by zero"),
        trap("an overflow", "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", "integer overflow"),
        trap("a float that is no number", "(drop (i32.trunc_f32_s (f32.const nan)))", "float out of the range"),
        trap("a float that is too large", "(drop (i64.trunc_f64_u (f64.const 1e300)))", "integer overflow"),
        trap("a call of nothing", "(call_indirect (i32.const 0))", "call of a null function pointer"),
        trap("a call with another signature", "(call_indirect (i32.const 1))", "call of a function pointer of another"),
        trap("a call outside the table", "(call_indirect (i32.const -1))", "function table index out of range"),
        trap("a load outside", "(drop (i64.load (i32.const 131065)))", outside),
        trap("a load behind 4 GiB", "(drop (i64.load offset=4294967295 (i32.const -1)))", outside),
        trap("a store outside", "(i32.store8 (i32.const 131072) (i32.const 1))", outside),
        trap("a copy from outside", "(memory.copy (i32.const 0) (i32.const -4) (i32.const 8))", outside),
        trap("a copy to outside", "(memory.copy (i32.const 131070) (i32.const 0) (i32.const 8))", outside),
        trap("a fill outside", "(memory.fill (i32.const 131000) (i32.const 1) (i32.const 100))", outside),
        trap(
            "data from outside its segment",
            "(memory.init $passive (i32.const 0) (i32.const 5) (i32.const 9))",
            outside,
        ),
        loaded("a trap instead of a buffer", buffer("unreachable"), Expected::Trap, "stopped itself"),
        loaded(
            "a buffer outside the memory",
            buffer("(return (i32.const -1))"),
            Expected::Misbehaves,
            "input buffer outside",
        ),
        loaded(
            "a buffer at the memory's end",
            buffer("(return (i32.const 131071))"),
            Expected::Misbehaves,
            "input buffer",
        ),
    ]
}

/// Those that tell of a panic.
fn panicking() -> Vec<Kind> {
    let at = |panic| Guest { panic, call: "unreachable".into(), ..Guest::default() };
    let long = "(i32.store (i32.const 2000) (i32.const -1)) unreachable";
    let escapes = panic("\u{1b}[2J\u{1b}]0;yours\u{7}\u{9b}31mred\r\n\u{202e}drawkcab");
    let bytes = "(i64.store (i32.const 2004) (i64.const -1)) (i32.store (i32.const 2000) (i32.const 8)) unreachable";
    vec![
        call("a panic", &panic("no more apples"), Expected::Trap, "trapped: panicked: no more apples"),
        loaded("a panic's text outside the memory", at(131_071), Expected::Trap, "stopped itself"),
        loaded("a panic's text at 4 GiB", at(u32::MAX), Expected::Trap, "stopped itself"),
        call("a panic's text of 4 GiB", long, Expected::Trap, "panicked: "),
        call(
            "a panic's text full of escapes",
            &escapes,
            Expected::Trap,
            r"panicked: \u{1b}[2J\u{1b}]0;yours\u{7}\u{9b}",
        ),
        call("a panic's text that is no text", bytes, Expected::Trap, "panicked: \u{fffd}"),
    ]
}
