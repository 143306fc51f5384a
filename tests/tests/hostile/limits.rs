//! Modules that are too much of something, and those that are hard to compile.

use concoord_tests::bombs;
use concoord_wire::limits::MODULE_BYTES_MAX;
use wasm_encoder::{CodeSection, Function, FunctionSection, Instruction, Module, TypeSection, ValType};

use super::guest::Guest;
use super::kinds::{Expected, Kind, check};

fn with(name: &'static str, fields: String, words: &'static str) -> Kind {
    check(name, Guest { fields, ..Guest::default() }.module(), words)
}

/// A function of so many locals, which takes four bytes to say.
fn locals(count: u32) -> Vec<u8> {
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    functions.function(0);
    let mut function = Function::new([(count, ValType::I64)]);
    function.instruction(&Instruction::End);
    code.function(&function);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    module.finish()
}

/// A module that passes the check, made by hand to be hard to compile.
fn bomb(name: &'static str, bomb: &str, answer: Expected, words: &'static str) -> Kind {
    Kind { name, module: bombs::find(bomb).module(), answer, words }
}

pub(crate) fn kinds() -> Vec<Kind> {
    let many = |text: &str, times: usize| text.repeat(times);
    let parameters = format!("(func (param {}))", many("i64 ", 1001));
    let table = format!("(func (block (br_table {} (i32.const 0))))", many("0 ", 65_522));
    let large = [Guest::default().module(), vec![0; MODULE_BYTES_MAX]].concat();
    vec![
        check("more than 8 MiB", large, "8388608"),
        with("100,000 functions", many("(func)", 100_000), "functions, but at most 32768"),
        with("100,000 locals", format!("(func (local {}))", many("i64 ", 100_000)), "100000 locals in one function"),
        check("4,000,000,000 locals", locals(4_000_000_000), "4000000000 locals in one function"),
        with("a function of 1 MiB", format!("(func {})", many("nop ", 1 << 20)), "bytes in one function"),
        with("1001 parameters", parameters, "not a valid WebAssembly module"),
        with("65,521 targets of a branch", table, "65521 targets in one br_table, but at most 65520"),
        with("20,000 types", (0..20_000).map(|_| "(type (func (param i64)))").collect(), "types, but at most 10000"),
        with("10,000 exports", (0..10_000).map(|at| format!(r#"(export "{at}" (func $other))"#)).collect(), "exports"),
        with("5000 globals", many("(global (mut i64) (i64.const 1))", 5000), "globals, but at most 1024"),
        with("20,000 data segments", many(r#"(data "x")"#, 20_000), "data segments, but at most 16384"),
        with("5000 element segments", many("(elem func $other)", 5000), "element segments, but at most 1024"),
        check(
            "a table of 4,294,967,295 entries",
            super::guest::assemble(
                &Guest::default().text().replace("(table $table 4 funcref)", "(table $table 4294967295 funcref)"),
            ),
            "4294967295 table entries, but at most 32768",
        ),
        check("4 GiB of memory at the start", Guest { pages: 65_536, ..Guest::default() }.module(), "pages of memory"),
        bomb("82,000 loops in one another", "loops", Expected::Trial, "compiling it took more than 1024 MiB of memory"),
        bomb("87,000 blocks in one another", "blocks", Expected::Load, "the constructor broke the object ABI"),
        bomb("65,000 targets of a branch", "table", Expected::Load, "the constructor broke the object ABI"),
    ]
}
