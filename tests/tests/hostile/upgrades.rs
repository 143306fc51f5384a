//! Modules that a harmless object is to go on as.

use concoord_wire::abi::pack;

use super::describing::SPIN;
use super::guest::{Guest, OUTCOME};
use super::kinds::{Expected, Kind};

/// Which takes the state over like this.
fn import(name: &'static str, text: &str, words: &'static str) -> Kind {
    let guest = Guest { import: text.into(), ..Guest::default() };
    Kind { name, module: guest.module(), answer: Expected::Upgrade, words }
}

/// Which gives its state away like this.
fn export(name: &'static str, text: &str, words: &'static str) -> Kind {
    let guest = Guest { export: text.into(), ..Guest::default() };
    Kind { name, module: guest.module(), answer: Expected::Export, words }
}

/// Which answers an import like this.
fn answer(name: &'static str, address: u32, bytes: &[u8], words: &'static str) -> Kind {
    let place = pack(address, u32::try_from(bytes.len()).expect("small"));
    let import = format!("(return (i64.const {place}))");
    let guest = Guest { import, outcome: bytes.to_vec(), ..Guest::default() };
    Kind { name, module: guest.module(), answer: Expected::Upgrade, words }
}

pub(crate) fn kinds() -> Vec<Kind> {
    let buffer = |name, text: &str, words| {
        let guest = Guest { buffer: text.into(), ..Guest::default() };
        Kind { name, module: guest.module(), answer: Expected::Upgrade, words }
    };
    let outside = format!("(i64.const {})", pack(131_000, 1 << 20));
    vec![
        export("an export that never ends", &format!("{SPIN} (i64.const 0)"), "its export: out of gas"),
        export("an export that traps", "unreachable", "its export trapped: stopped itself"),
        export("a state outside the memory", &outside, "exported state of 1048576 bytes at 0x1ffb8, outside"),
        import("an import that never ends", SPIN, "import: out of gas"),
        import("an import that traps", "unreachable", "import trapped: stopped itself"),
        answer("an import that answers nothing", OUTCOME, b"", "its answer is none"),
        answer("an import's answer outside", u32::MAX, &[0; 8], "outside its memory"),
        answer("an import's answer of escapes", OUTCOME, b"\x01\x08\x1b[2J\xc2\x9b1m", r"\u{1b}[2J\u{9b}1m"),
        buffer("a state's buffer that is never given", &format!("{SPIN} (i32.const 0)"), "import: out of gas"),
        buffer("a state's buffer outside the memory", "(i32.const -1)", "outside its memory"),
    ]
}
