//! Modules that pass the check and are hard to compile.
//!
//! Each is a whole object that describes itself and has functions beside that which nobody calls. They go as far as the
//! limits of the check let them, in one direction each: what a compiler does with them grows faster than they do.

use concoord_module::limits::{BODY_BYTES_MAX, FUNCTIONS_MAX, LOCALS_MAX};
use concoord_wire::codec;
use concoord_wire::interface::Interface;
use concoord_wire::limits::MODULE_BYTES_MAX;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataSection, Encode, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, Instruction, MemArg, MemorySection, MemoryType, Module, TypeSection, ValType,
};

/// Bytes of a function's body that the check lets through, less what its locals and its end take.
const BODY_BYTES: usize = BODY_BYTES_MAX - 64;
/// Bytes of functions that fit in a module with all else.
const MODULE_BYTES: usize = MODULE_BYTES_MAX - (64 << 10);
/// Functions that it lets through, less those that every object has.
const FUNCTIONS: usize = FUNCTIONS_MAX as usize - 8;
/// Where the description is in memory.
const DESCRIPTION: i32 = 1024;

/// A module by what it is made of.
pub struct Bomb {
    /// What it has too much of.
    pub name: &'static str,
    make: fn() -> Vec<u8>,
}

impl Bomb {
    /// Its bytes.
    #[must_use]
    pub fn module(&self) -> Vec<u8> {
        (self.make)()
    }
}

/// The one with this name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn find(name: &str) -> Bomb {
    BOMBS.into_iter().find(|bomb| bomb.name == name).unwrap_or_else(|| panic!("no bomb '{name}'"))
}

/// One of each kind.
pub const BOMBS: [Bomb; 10] = [
    Bomb { name: "nothing", make: || object(Vec::new(), 0) },
    Bomb { name: "functions", make: || object(vec![small(); FUNCTIONS], 0) },
    Bomb { name: "blocks", make: || object(vec![nested(Instruction::Block(BlockType::Empty), 0)], 0) },
    Bomb { name: "loops", make: || object(vec![nested(Instruction::Loop(BlockType::Empty), LOCALS_MAX)], 0) },
    Bomb { name: "table", make: || object(vec![wide_table()], 0) },
    Bomb { name: "branches", make: || object(vec![branches()], 0) },
    Bomb { name: "values", make: || object(vec![sums()], 0) },
    Bomb { name: "stores", make: || object(vec![stores()], 0) },
    Bomb { name: "stores, all", make: || object(vec![stores(); MODULE_BYTES / BODY_BYTES], 0) },
    Bomb { name: "results", make: || object(vec![wide_calls()], 1000) },
];

/// An object with these functions, of which each takes and gives nothing, and two with so many results and parameters.
fn object(functions: Vec<Vec<u8>>, wide: usize) -> Vec<u8> {
    let interface = Interface {
        name: "Bomb".into(),
        version: "1".into(),
        doc: String::new(),
        types: vec![],
        event: None,
        init: vec![],
        methods: vec![],
    };
    let description = codec::to_bytes(&interface);
    let mut types = TypeSection::new();
    types.ty().function([], []);
    types.ty().function([], [ValType::I64]);
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32], [ValType::I64]);
    types.ty().function([], vec![ValType::I64; wide]);
    types.ty().function(vec![ValType::I64; wide], []);

    // What every object has, then the wide two, then the rest.
    let (mut kinds, mut code, mut exports) = (FunctionSection::new(), CodeSection::new(), ExportSection::new());
    let place = i64::from(DESCRIPTION) << 32 | description.len() as i64;
    let all: [(&str, u32, Instruction<'_>); 5] = [
        ("concoord_describe", 1, Instruction::I64Const(place)),
        ("concoord_export", 1, Instruction::I64Const(0)),
        ("concoord_buffer", 2, Instruction::I32Const(8192)),
        ("concoord_call", 3, Instruction::I64Const(0)),
        ("concoord_import", 3, Instruction::I64Const(0)),
    ];
    for (at, (name, kind, instruction)) in all.iter().enumerate() {
        kinds.function(*kind);
        code.function(&body([], std::slice::from_ref(instruction)));
        exports.export(name, ExportKind::Func, at as u32);
    }
    kinds.function(4).function(5);
    code.function(&body([], &vec![Instruction::I64Const(1); wide]));
    code.function(&body([], &[]));
    for function in functions {
        kinds.function(0);
        code.raw(&function);
    }

    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    exports.export("memory", ExportKind::Memory, 0);
    let mut globals = GlobalSection::new();
    globals.global(GlobalType { val_type: ValType::I32, mutable: false, shared: false }, &ConstExpr::i32_const(1));
    exports.export("concoord_abi", ExportKind::Global, 0);
    let mut data = DataSection::new();
    data.active(0, &ConstExpr::i32_const(DESCRIPTION), description);
    let mut module = Module::new();
    module.section(&types).section(&kinds).section(&memories).section(&globals).section(&exports);
    module.section(&code).section(&data);
    module.finish()
}

fn body(
    locals: impl IntoIterator<Item = (u32, ValType), IntoIter: ExactSizeIterator>,
    instructions: &[Instruction<'_>],
) -> Function {
    let mut function = Function::new(locals);
    for instruction in instructions {
        function.instruction(instruction);
    }
    function.instruction(&Instruction::End);
    function
}

/// A body with `locals` of 64 bits, which begins with the first, repeats the second and then the third as often as fits, and
/// ends with the fourth.
fn filled(locals: u32, parts: [&[Instruction<'_>]; 4]) -> Vec<u8> {
    let [first, again, after, last] = parts.map(|instructions| {
        let mut bytes = Vec::new();
        instructions.iter().for_each(|instruction| instruction.encode(&mut bytes));
        bytes
    });
    let times = (BODY_BYTES - first.len() - last.len()) / (again.len() + after.len());
    let mut function = Function::new((locals > 0).then_some((locals, ValType::I64)));
    function.raw([first, again.repeat(times), after.repeat(times), last].concat());
    function.instruction(&Instruction::End);
    function.into_raw_body()
}

fn small() -> Vec<u8> {
    let store = Instruction::I64Store(MemArg { offset: 0, align: 3, memory_index: 0 });
    let one = [Instruction::I32Const(64), Instruction::I64Const(1), store];
    let mut instructions = Vec::new();
    (0..24).for_each(|_| instructions.extend(one.clone()));
    body([], &instructions).into_raw_body()
}

/// Blocks in one another, and in the innermost each local is read once.
fn nested(block: Instruction<'_>, locals: u32) -> Vec<u8> {
    let reads = (0..locals).flat_map(|local| [Instruction::LocalGet(local), Instruction::Drop]).collect::<Vec<_>>();
    let times = (BODY_BYTES - 4 * reads.len()) / 3;
    let blocks = vec![block; times];
    body(
        (locals > 0).then_some((locals, ValType::I64)),
        &[&blocks[..], &reads, &vec![Instruction::End; times]].concat(),
    )
    .into_raw_body()
}

fn wide_table() -> Vec<u8> {
    let targets = vec![0; 65_000];
    let table = Instruction::BrTable(targets.into(), 0);
    body([], &[Instruction::Block(BlockType::Empty), Instruction::I32Const(1), table, Instruction::End]).into_raw_body()
}

fn branches() -> Vec<u8> {
    let add = [
        Instruction::Block(BlockType::Empty),
        Instruction::LocalGet(0),
        Instruction::I64Eqz,
        Instruction::BrIf(0),
        Instruction::LocalGet(1),
        Instruction::LocalGet(2),
        Instruction::I64Add,
        Instruction::LocalSet(3),
        Instruction::End,
    ];
    filled(LOCALS_MAX, [&[], &add, &[], &[]])
}

/// Many values at a time, of which none can be computed later.
fn sums() -> Vec<u8> {
    let load = Instruction::I64Load(MemArg { offset: 0, align: 3, memory_index: 0 });
    let parts: [&[Instruction<'_>]; 4] =
        [&[Instruction::I64Const(0)], &[Instruction::I32Const(8), load], &[Instruction::I64Add], &[Instruction::Drop]];
    filled(0, parts)
}

fn stores() -> Vec<u8> {
    let store = Instruction::I64Store(MemArg { offset: 0, align: 3, memory_index: 0 });
    filled(0, [&[], &[Instruction::I32Const(8), Instruction::I64Const(1), store], &[], &[]])
}

/// Calls the two wide functions in turn.
fn wide_calls() -> Vec<u8> {
    filled(0, [&[], &[Instruction::Call(5), Instruction::Call(6)], &[], &[]])
}
