//! Objects made at random: a generated module with the exports of an object around its functions.
//!
//! An input's last byte says which function is called, and the bytes before it are the arguments, eight for each; all
//! results of the function come back, eight bytes for each.

use std::convert::Infallible;

use concoord_wire::codec;
use concoord_wire::interface::Interface;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType,
    Instruction, InstructionSink, MemArg, MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wasm_smith::{Config, InstructionKind, InstructionKinds};
use wasmparser::{
    CodeSectionReader, CompositeInnerType, ExportSectionReader, FunctionSectionReader, GlobalSectionReader,
    MemorySectionReader, Operator, Parser, TypeSectionReader,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Pages that a generated object may have.
pub(crate) const PAGES_MAX: u32 = 20;
/// Arguments that an input has room for: more than any function takes.
pub(crate) const ARGUMENTS: usize = 10;
/// Where an input is placed, and where its outcome stands.
const BUFFER: u32 = 50_000;
const OUTCOME: u32 = 60_000;
/// Bytes of all results together.
const RESULTS: u64 = 8 * ARGUMENTS as u64;
/// An outcome that returns: `Reply::Now`, `Answer::Returned`, so many bytes; and behind them four empty lists.
const HEAD: [u8; 3] = [1, 0, RESULTS as u8];

/// Bytes that follow from a seed.
pub(crate) fn random_bytes(seed: u64, length: usize) -> Vec<u8> {
    let words = (0_u64..).flat_map(|number| xxh3_64_with_seed(&number.to_le_bytes(), seed).to_le_bytes());
    words.take(length).collect()
}

/// The object of this seed, and how many functions it has.
pub(crate) fn object(seed: u64) -> (Vec<u8>, u8) {
    object_from(&random_bytes(seed, 6000)).expect("there are always enough bytes")
}

/// The object that is made of these bytes, unless they do not do for one.
pub(crate) fn object_from(bytes: &[u8]) -> arbitrary::Result<(Vec<u8>, u8)> {
    use InstructionKind as Kind;
    let kinds = [Kind::Numeric, Kind::Parametric, Kind::Variable, Kind::Memory, Kind::Control];
    let config = Config {
        allowed_instructions: InstructionKinds::new(&kinds),
        allow_start_export: false,
        exceptions_enabled: false,
        extended_const_enabled: false,
        gc_enabled: false,
        max_imports: 0,
        max_funcs: 12,
        min_funcs: 1,
        min_types: 1,
        min_globals: 1,
        min_memories: 1,
        min_exports: 1,
        max_instructions: 300,
        max_memory32_bytes: 8 * 65_536,
        max_table_elements: 100,
        max_values: ARGUMENTS,
        memory64_enabled: false,
        reference_types_enabled: false,
        relaxed_simd_enabled: false,
        simd_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        ..Config::default()
    };
    let mut source = arbitrary::Unstructured::new(bytes);
    let module = wasm_smith::Module::new(config, &mut source)?.to_bytes();
    let mut around = Around::default();
    let mut object = Module::new();
    around.parse_core_module(&mut object, Parser::new(0), &module).expect("it is valid");
    Ok((object.finish(), u8::try_from(around.functions.len()).expect("few functions")))
}

/// Puts the exports of an object around a module.
#[derive(Default)]
struct Around {
    /// Parameters and results of each type.
    types: Vec<(Vec<ValType>, Vec<ValType>)>,
    /// The type of each function.
    functions: Vec<u32>,
    /// How many globals there are, and which of them can change.
    globals: u32,
    mutable: Vec<u32>,
}

const GIVES: (&[ValType], &[ValType]) = (&[], &[ValType::I64]);
const TAKES: (&[ValType], &[ValType]) = (&[ValType::I32], &[ValType::I64]);
const ADDRESS: (&[ValType], &[ValType]) = (&[ValType::I32], &[ValType::I32]);
const EXPORTS: [(&str, u32); 5] = [
    ("concoord_describe", 0),
    ("concoord_export", 0),
    ("concoord_call", 1),
    ("concoord_import", 1),
    ("concoord_buffer", 2),
];

impl Reencode for Around {
    type Error = Infallible;

    fn parse_type_section(&mut self, types: &mut TypeSection, section: TypeSectionReader<'_>) -> Result<(), Error> {
        utils::parse_type_section(self, types, section.clone())?;
        for ty in section.into_iter().flat_map(|group| group.expect("valid").into_types()) {
            let CompositeInnerType::Func(ty) = ty.composite_type.inner else { panic!("only functions") };
            let mut list = |types: &[wasmparser::ValType]| {
                types.iter().map(|ty| self.val_type(*ty).expect("a number")).collect::<Vec<_>>()
            };
            let ty = (list(ty.params()), list(ty.results()));
            self.types.push(ty);
        }
        for (parameters, results) in [GIVES, TAKES, ADDRESS] {
            types.ty().function(parameters.iter().copied(), results.iter().copied());
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        self.functions = section.clone().into_iter().map(|ty| ty.expect("valid")).collect();
        utils::parse_function_section(self, functions, section)?;
        for (_, ty) in EXPORTS {
            functions.function(self.types.len() as u32 + ty);
        }
        Ok(())
    }

    fn parse_memory_section(
        &mut self,
        memories: &mut MemorySection,
        section: MemorySectionReader<'_>,
    ) -> Result<(), Error> {
        for memory in section {
            let memory = MemoryType {
                minimum: memory.expect("valid").initial.max(1),
                maximum: Some(PAGES_MAX.into()),
                memory64: false,
                shared: false,
                page_size_log2: None,
            };
            memories.memory(memory);
        }
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: GlobalSectionReader<'_>,
    ) -> Result<(), Error> {
        for global in section.clone() {
            if global.expect("valid").ty.mutable {
                self.mutable.push(self.globals);
            }
            self.globals += 1;
        }
        utils::parse_global_section(self, globals, section)?;
        let ty = GlobalType { val_type: ValType::I32, mutable: false, shared: false };
        globals.global(ty, &ConstExpr::i32_const(1));
        Ok(())
    }

    fn parse_export_section(&mut self, exports: &mut ExportSection, _: ExportSectionReader<'_>) -> Result<(), Error> {
        exports.export("memory", ExportKind::Memory, 0);
        exports.export("concoord_abi", ExportKind::Global, self.globals);
        for (index, (name, _)) in (self.functions.len() as u32..).zip(EXPORTS) {
            exports.export(name, ExportKind::Func, index);
        }
        for index in &self.mutable {
            exports.export(&format!("global {index}"), ExportKind::Global, *index);
        }
        Ok(())
    }

    fn parse_code_section(&mut self, code: &mut CodeSection, section: CodeSectionReader<'_>) -> Result<(), Error> {
        utils::parse_code_section(self, code, section)?;
        for (name, _) in EXPORTS {
            code.function(&match name {
                "concoord_describe" => describe(),
                "concoord_buffer" => {
                    let mut function = Function::new([]);
                    function.instructions().i32_const(BUFFER.cast_signed()).end();
                    function
                }
                "concoord_call" => self.call(),
                _ => {
                    let mut function = Function::new([]);
                    function.instructions().unreachable().end();
                    function
                }
            });
        }
        Ok(())
    }

    /// Most numbers are within a small memory, so that not every access is outside.
    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Result<Instruction<'a>, Error> {
        match operator {
            // What an object may not do.
            Operator::DataDrop { .. } => Ok(Instruction::Nop),
            Operator::I32Const { value } if value & 7 != 0 => Ok(Instruction::I32Const(value & 0x1_ffff)),
            operator => utils::instruction(self, operator),
        }
    }
}

fn at(offset: u64) -> MemArg {
    MemArg { offset, align: 0, memory_index: 0 }
}

fn write(code: &mut InstructionSink<'_>, address: u32, bytes: &[u8]) {
    for (offset, byte) in (0..).zip(bytes) {
        code.i32_const((address + offset).cast_signed()).i32_const((*byte).into()).i32_store8(at(0));
    }
}

fn describe() -> Function {
    let (name, version, doc) = ("Generated".into(), "1".into(), String::new());
    let description =
        codec::to_bytes(&Interface { name, version, doc, types: vec![], init: vec![], methods: vec![], event: None });
    let mut function = Function::new([]);
    let mut code = function.instructions();
    write(&mut code, OUTCOME, &description);
    code.i64_const((i64::from(OUTCOME) << 32) | description.len() as i64).end();
    function
}

impl Around {
    fn call(&self) -> Function {
        const LENGTH: u32 = 0;
        const KINDS: [ValType; 4] = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];
        // As many locals of each type as there may be results.
        let local = |ty: ValType, index: usize| {
            1 + (KINDS.iter().position(|kind| *kind == ty).expect("a number") * ARGUMENTS + index) as u32
        };
        let mut function = Function::new(KINDS.map(|kind| (ARGUMENTS as u32, kind)));
        let mut code = function.instructions();
        write(&mut code, OUTCOME, &HEAD);
        // Now and then it grows, seldom beyond what it may.
        code.local_get(LENGTH).i32_load8_u(at(u64::from(BUFFER) - 9)).i32_const(15).i32_and().i32_eqz();
        code.if_(BlockType::Empty).i32_const(2).memory_grow(0).drop().end();
        for slot in 0..ARGUMENTS as u64 + 1 {
            let offset = u64::from(OUTCOME) + HEAD.len() as u64 + 8 * slot;
            code.i32_const(0).i64_const(0).i64_store(at(offset));
        }
        for (index, ty) in (0..).zip(&self.functions) {
            let (parameters, results) = &self.types[*ty as usize];
            code.local_get(LENGTH).i32_load8_u(at(u64::from(BUFFER) - 1)).i32_const(index).i32_eq();
            code.if_(BlockType::Empty);
            for (number, parameter) in (1_u64..).zip(parameters) {
                let place = at(u64::from(BUFFER) - 1 - 8 * number);
                code.local_get(LENGTH);
                match parameter {
                    ValType::I32 => code.i32_load(place),
                    ValType::I64 => code.i64_load(place),
                    ValType::F32 => code.f32_load(place),
                    _ => code.f64_load(place),
                };
            }
            code.call(index.cast_unsigned());
            for (number, result) in results.iter().enumerate().rev() {
                code.local_set(local(*result, number));
            }
            for (number, result) in results.iter().enumerate() {
                let place = at(u64::from(OUTCOME) + HEAD.len() as u64 + 8 * number as u64);
                code.i32_const(0).local_get(local(*result, number));
                match result {
                    ValType::I32 => code.i32_store(place),
                    ValType::I64 => code.i64_store(place),
                    ValType::F32 => code.f32_store(place),
                    _ => code.f64_store(place),
                };
            }
            code.end();
        }
        let length = HEAD.len() as u64 + RESULTS + 4;
        code.i64_const((i64::from(OUTCOME) << 32) | length.cast_signed()).end();
        function
    }
}
