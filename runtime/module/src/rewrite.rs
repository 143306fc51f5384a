//! From a checked module to the one that is compiled.

use std::convert::Infallible;

use concoord_wire::abi::export;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, FunctionSection, GlobalSection, MemorySection, MemoryType, Module,
    TypeSection,
};
use wasmparser::{
    CodeSectionReader, CompositeInnerType, CustomSectionReader, ExportSectionReader, ExternalKind, FunctionBody,
    FunctionSectionReader, GlobalSectionReader, MemorySectionReader, Parser, TypeSectionReader, WasmFeatures,
};

use crate::appended::{Functions, Guest, append_bodies};
use crate::meter::{Globals, Meter};
use crate::undo::{Layout, NOTES, NOTES_EXPORT, Notes};
use crate::{Checked, FEATURES, RESERVED_PREFIX, body};

/// What of WebAssembly a rewritten module uses: what an object may, and the memories of the undo log.
pub const REWRITTEN_FEATURES: WasmFeatures = FEATURES.union(WasmFeatures::MULTI_MEMORY);

/// The module to compile, from the bytes that gave `checked`.
///
/// It only appends, so no index moves: the undo log with its memories (`undo.rs`), what meters inputs (`meter.rs`), and an
/// export for each mutable global, which the host reads and sets. Into the bodies that were there goes what `body.rs`
/// says. Custom sections are left out: nothing compiles them.
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

/// Where the host finds things in the memory [`NOTES_EXPORT`] of a rewritten module.
#[must_use]
pub fn notes(checked: &Checked) -> Notes {
    Layout::new(checked.memory_pages_max).notes()
}

struct Rewriter<'a> {
    checked: &'a Checked,
    layout: Layout,
    meter: Meter,
    /// Parameters of each type's functions.
    parameters: Vec<u32>,
    /// The type of each function.
    types: Vec<u32>,
    guest: Guest,
    /// Bodies so far.
    bodies: usize,
}

impl Rewriter<'_> {
    fn new(checked: &Checked) -> Rewriter<'_> {
        let globals = Globals::behind(checked.globals);
        Rewriter {
            checked,
            layout: Layout::new(checked.memory_pages_max),
            meter: Meter { globals, functions: Functions::behind(checked.functions) },
            parameters: Vec::new(),
            types: Vec::new(),
            guest: Guest::default(),
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
        let pages = u64::from(self.checked.memory_pages_max) + 1;
        Ok(MemoryType { minimum: pages, maximum: Some(pages), ..utils::memory_type(self, memory) })
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: GlobalSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_global_section(self, globals, section)?;
        Globals::append(globals, self.checked);
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result<(), Error> {
        for found in section.clone() {
            let found = found?;
            match (found.name, found.kind) {
                (export::BUFFER, ExternalKind::Func) => self.guest.buffer = found.index,
                (export::CALL, ExternalKind::Func) => self.guest.call = found.index,
                _ => {}
            }
        }
        utils::parse_export_section(self, exports, section)?;
        for &index in &self.checked.mutable_globals {
            exports.export(&global_export(index), ExportKind::Global, index);
        }
        for (name, index) in self.meter.globals.exported() {
            exports.export(name, ExportKind::Global, index);
        }
        for (name, index) in self.meter.functions.exported() {
            exports.export(name, ExportKind::Func, index);
        }
        exports.export(NOTES_EXPORT, ExportKind::Memory, NOTES);
        Ok(())
    }

    fn parse_code_section(&mut self, code: &mut CodeSection, section: CodeSectionReader<'_>) -> Result<(), Error> {
        utils::parse_code_section(self, code, section)?;
        append_bodies(code, self.meter, self.layout, self.guest);
        Ok(())
    }

    fn parse_function_body(&mut self, code: &mut CodeSection, body: FunctionBody<'_>) -> Result<(), Error> {
        let parameters = self.parameters[self.types[self.bodies] as usize];
        let weight = self.checked.weights[self.bodies];
        self.bodies += 1;
        let meter = self.meter;
        code.function(&body::rewritten(self, &body, parameters, weight, meter)?);
        Ok(())
    }

    fn parse_custom_section(&mut self, _: &mut Module, _: CustomSectionReader<'_>) -> Result<(), Error> {
        Ok(())
    }
}
