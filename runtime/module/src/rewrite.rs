//! From a checked module to the one that is compiled.

use std::convert::Infallible;

use concoord_wire::abi::export;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, FunctionSection, MemorySection, MemoryType, Module, TypeSection,
};
use wasmparser::{
    CodeSectionReader, CompositeInnerType, CustomSectionReader, ExportSectionReader, ExternalKind, FunctionBody,
    FunctionSectionReader, MemorySectionReader, Parser, TypeSectionReader, WasmFeatures,
};

use crate::undo::{Functions, INPUT_EXPORT, KEEP_EXPORT, Layout, UNDO_EXPORT};
use crate::{Checked, FEATURES, RESERVED_PREFIX, writes};

/// What of WebAssembly a rewritten module uses: what an object may, and the memories of the undo log.
pub const REWRITTEN_FEATURES: WasmFeatures = FEATURES.union(WasmFeatures::MULTI_MEMORY);

/// The module to compile, from the bytes that gave `checked`.
///
/// It only appends, so no index moves: the undo log with its memories and functions (`undo.rs`), and an export for each
/// mutable global, which the host reads and sets. Of the bodies that were there, those that write memory are changed
/// (`writes.rs`), and the others are copied. The memory's maximum becomes the replicated cap, so that `memory.grow`
/// fails at the same page everywhere, whatever the module declares. Custom sections are left out: nothing compiles them.
///
/// # Panics
/// For bytes that are not those of `checked`.
#[must_use]
pub fn rewrite(bytes: &[u8], checked: &Checked) -> Vec<u8> {
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut module = Module::new();
    Rewriter::new(checked)
        .parse_core_module(&mut module, parser, bytes)
        .expect("a checked module holds only what the encoder can write");
    module.finish()
}

/// Name under which [`rewrite`] exports the mutable global of this index.
#[must_use]
pub fn global_export(index: u32) -> String {
    format!("{RESERVED_PREFIX}_global_{index}")
}

struct Rewriter<'a> {
    checked: &'a Checked,
    layout: Layout,
    functions: Functions,
    /// Parameters of each type's functions.
    parameters: Vec<u32>,
    /// The type of each function.
    types: Vec<u32>,
    /// Index of `concoord_buffer`.
    buffer: u32,
    /// Bodies so far.
    bodies: usize,
}

impl Rewriter<'_> {
    fn new(checked: &Checked) -> Rewriter<'_> {
        Rewriter {
            checked,
            layout: Layout::new(checked.memory_pages_max),
            functions: Functions::behind(checked.functions),
            parameters: Vec::new(),
            types: Vec::new(),
            buffer: 0,
            bodies: 0,
        }
    }
}

impl Reencode for Rewriter<'_> {
    type Error = Infallible;

    fn parse_type_section(&mut self, types: &mut TypeSection, section: TypeSectionReader<'_>) -> Result<(), Error> {
        utils::parse_type_section(self, types, section.clone())?;
        for group in section {
            for ty in group?.into_types() {
                let parameters = match ty.composite_type.inner {
                    CompositeInnerType::Func(function) => function.params().len(),
                    _ => 0,
                };
                self.parameters.push(u32::try_from(parameters).expect("a type has at most 1000 parameters"));
            }
        }
        Functions::append_types(types);
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        self.types = section.clone().into_iter().collect::<Result<_, _>>()?;
        utils::parse_function_section(self, functions, section)?;
        let types = u32::try_from(self.parameters.len()).expect("a module has at most a million types");
        Functions::declare(functions, types);
        Ok(())
    }

    fn parse_memory_section(
        &mut self,
        memories: &mut MemorySection,
        section: MemorySectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_memory_section(self, memories, section)?;
        for memory in self.layout.memories() {
            memories.memory(memory);
        }
        Ok(())
    }

    fn memory_type(&mut self, memory: wasmparser::MemoryType) -> Result<MemoryType, Error> {
        let maximum = Some(u64::from(self.checked.memory_pages_max));
        Ok(MemoryType { maximum, ..utils::memory_type(self, memory) })
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result<(), Error> {
        for found in section.clone() {
            let found = found?;
            if found.name == export::BUFFER && found.kind == ExternalKind::Func {
                self.buffer = found.index;
            }
        }
        utils::parse_export_section(self, exports, section)?;
        for &index in &self.checked.mutable_globals {
            exports.export(&global_export(index), ExportKind::Global, index);
        }
        let Functions { keep, undo, input, .. } = self.functions;
        for (name, index) in [(INPUT_EXPORT, input), (KEEP_EXPORT, keep), (UNDO_EXPORT, undo)] {
            exports.export(name, ExportKind::Func, index);
        }
        Ok(())
    }

    fn parse_code_section(&mut self, code: &mut CodeSection, section: CodeSectionReader<'_>) -> Result<(), Error> {
        utils::parse_code_section(self, code, section)?;
        self.functions.append_bodies(code, self.layout, self.buffer);
        Ok(())
    }

    fn parse_function_body(&mut self, code: &mut CodeSection, body: FunctionBody<'_>) -> Result<(), Error> {
        let parameters = self.parameters[self.types[self.bodies] as usize];
        self.bodies += 1;
        let functions = self.functions;
        match writes::mark(self, &body, parameters, functions)? {
            Some(function) => code.function(&function),
            None => code.raw(body.as_bytes()),
        };
        Ok(())
    }

    fn parse_custom_section(&mut self, _: &mut Module, _: CustomSectionReader<'_>) -> Result<(), Error> {
        Ok(())
    }
}
