//! The check, section by section.

use std::collections::BTreeMap;

use wasmparser::{
    CompositeInnerType, ConstExpr, DataKind, DataSectionReader, ElementItems, ElementSectionReader,
    ExportSectionReader, ExternalKind, FuncToValidate, FuncValidatorAllocations, FunctionBody, GlobalSectionReader,
    MemorySectionReader, Operator, Parser, Payload, RefType, SectionLimited, TableSectionReader, TypeSectionReader,
    ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

use crate::refusal::{Reason, Refusal, shown};
use crate::{Limits, PAGE_BYTES, RESERVED_PREFIX, code, exports, undo};

/// What of WebAssembly an object may use: version 2 without SIMD. rustc's output needs the encodings that came with
/// reference types and bulk memory; reference *values* are refused one by one.
pub const FEATURES: WasmFeatures =
    WasmFeatures::WASM2.difference(WasmFeatures::SIMD).difference(WasmFeatures::GC_TYPES);

/// Facts of a module that passed the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Its size in bytes.
    pub module_bytes: usize,
    /// Number of its functions.
    pub functions: u32,
    /// Bytes of all function bodies.
    pub code_bytes: usize,
    /// Bytes of all data segments.
    pub data_bytes: usize,
    /// Pages that its memory begins with.
    pub memory_pages_min: u32,
    /// Pages that its memory may grow to: the replicated cap, whatever the module declares.
    pub memory_pages_max: u32,
    /// Number of its globals.
    pub globals: u32,
    /// Indices of its mutable globals, in order: with the memory, its whole state.
    pub mutable_globals: Vec<u32>,
    /// What each function's frame weighs on the stack.
    pub weights: Vec<u32>,
    /// Whether it has constructors to run before its first input.
    pub has_initialize: bool,
    /// Where it leaves the text of a panic, if it says so.
    pub panic_address: Option<u32>,
}

/// Checks a module against the default [`Limits`].
///
/// # Errors
/// [`Refusal`] for the first thing that stands against it.
pub fn check(bytes: &[u8]) -> Result<Checked, Refusal> {
    check_within(bytes, &Limits::default())
}

/// Checks a module against `limits`, which must be the same on every replica.
///
/// # Errors
/// [`Refusal`] for the first thing that stands against it.
pub fn check_within(bytes: &[u8], limits: &Limits) -> Result<Checked, Refusal> {
    if bytes.len() > limits.module_bytes {
        let (found, limit) = (bytes.len() as u64, limits.module_bytes as u64);
        return Err(Refusal { offset: None, reason: Reason::Limit { what: "bytes in the module", found, limit } });
    }
    if Parser::is_component(bytes) {
        return Err(Refusal::at(0, Reason::Component));
    }
    if !Parser::is_core_wasm(bytes) {
        return Err(Refusal::at(0, Reason::NotWasm));
    }
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut validator = Validator::new_with_features(FEATURES);
    let mut module = Inspection::new(bytes.len(), limits);
    for payload in parser.parse_all(bytes) {
        let payload = payload?;
        // Ours first: it knows what to advise. The validator then judges the same section by the specification.
        module.section(&payload)?;
        match validator.payload(&payload)? {
            ValidPayload::Func(function, body) => module.function(function, &body)?,
            ValidPayload::End(types) => return module.finish(types.as_ref()),
            ValidPayload::Ok | ValidPayload::Parser(_) => {}
        }
    }
    Err(Refusal::at(bytes.len(), Reason::Invalid("unexpected end".into())))
}

/// What has been seen of a module so far.
struct Inspection<'a> {
    limits: &'a Limits,
    checked: Checked,
    /// For each global, the value of an `i32.const` that it begins with.
    globals: Vec<Option<i32>>,
    exports: BTreeMap<&'a str, exports::Found>,
    /// What the memory begins with: where, and which bytes, later ones over earlier ones.
    data: Vec<(u32, &'a [u8])>,
    allocations: FuncValidatorAllocations,
}

impl<'a> Inspection<'a> {
    fn new(module_bytes: usize, limits: &'a Limits) -> Inspection<'a> {
        let checked = Checked {
            module_bytes,
            functions: 0,
            code_bytes: 0,
            data_bytes: 0,
            memory_pages_min: 0,
            memory_pages_max: limits.memory_pages.min(undo::MEMORY_PAGES_MAX),
            globals: 0,
            mutable_globals: Vec::new(),
            weights: Vec::new(),
            has_initialize: false,
            panic_address: None,
        };
        let allocations = FuncValidatorAllocations::default();
        let (globals, exports, data) = (Vec::new(), BTreeMap::new(), Vec::new());
        Inspection { limits, checked, globals, exports, data, allocations }
    }

    fn section(&mut self, payload: &Payload<'a>) -> Result<(), Refusal> {
        match payload {
            Payload::TypeSection(section) => self.types(section.clone()),
            Payload::ImportSection(section) => match section.clone().into_imports_with_offsets().next() {
                Some(import) => {
                    let (offset, import) = import?;
                    let (module, name) = (shown(import.module), shown(import.name));
                    Err(Refusal::at(offset, Reason::Import { module, name }))
                }
                None => Ok(()),
            },
            Payload::FunctionSection(section) => {
                self.checked.functions = section.count();
                within("functions", section, self.limits.functions)
            }
            Payload::TableSection(section) => self.tables(section.clone()),
            Payload::MemorySection(section) => self.memories(section.clone()),
            Payload::GlobalSection(section) => self.global_section(section.clone()),
            Payload::ExportSection(section) => self.export_section(section.clone()),
            Payload::StartSection { range, .. } => Err(Refusal::at(range.start, Reason::Start)),
            Payload::ElementSection(section) => self.elements(section.clone()),
            Payload::DataSection(section) => self.data_section(section.clone()),
            // The rest is left to the validator; custom sections change nothing and do not reach the compiler.
            _ => Ok(()),
        }
    }

    fn types(&self, section: TypeSectionReader<'_>) -> Result<(), Refusal> {
        within("types", &section, self.limits.types)?;
        for group in section.into_iter_with_offsets() {
            let (offset, group) = group?;
            for ty in group.into_types() {
                if let CompositeInnerType::Func(function) = ty.composite_type.inner
                    && function.params().iter().chain(function.results()).any(|ty| ty.is_reference_type())
                {
                    return Err(Refusal::at(offset, Reason::Reference("a parameter or result")));
                }
            }
        }
        Ok(())
    }

    fn tables(&self, section: TableSectionReader<'_>) -> Result<(), Refusal> {
        for (index, table) in section.into_iter_with_offsets().enumerate() {
            let (offset, table) = table?;
            if index > 0 {
                return Err(Refusal::at(offset, Reason::SecondTable));
            }
            if table.ty.element_type != RefType::FUNCREF {
                return Err(Refusal::at(offset, Reason::Reference("a table")));
            }
            limit("table entries", table.ty.initial, self.limits.table_elements, offset)?;
        }
        Ok(())
    }

    fn memories(&mut self, section: MemorySectionReader<'_>) -> Result<(), Refusal> {
        for (index, memory) in section.into_iter_with_offsets().enumerate() {
            let (offset, memory) = memory?;
            let refuse = |reason| Err(Refusal::at(offset, reason));
            if index > 0 {
                return refuse(Reason::SecondMemory);
            }
            if memory.shared {
                return refuse(Reason::SharedMemory);
            }
            if memory.memory64 {
                return refuse(Reason::Memory64);
            }
            let pages = limit("pages of memory at the start", memory.initial, self.checked.memory_pages_max, offset)?;
            self.checked.memory_pages_min = pages;
        }
        Ok(())
    }

    fn global_section(&mut self, section: GlobalSectionReader<'_>) -> Result<(), Refusal> {
        within("globals", &section, self.limits.globals)?;
        self.checked.globals = section.count();
        for (index, global) in (0..).zip(section.into_iter_with_offsets()) {
            let (offset, global) = global?;
            if global.ty.content_type.is_reference_type() {
                return Err(Refusal::at(offset, Reason::Reference("a global")));
            }
            if global.ty.mutable {
                self.checked.mutable_globals.push(index);
            }
            self.globals.push(constant(&global.init_expr)?);
        }
        Ok(())
    }

    fn export_section(&mut self, section: ExportSectionReader<'a>) -> Result<(), Refusal> {
        within("exports", &section, self.limits.exports)?;
        for export in section.into_iter_with_offsets() {
            let (offset, export) = export?;
            if export.name.starts_with(RESERVED_PREFIX) {
                return Err(Refusal::at(offset, Reason::ReservedName(shown(export.name))));
            }
            let global = (export.kind == ExternalKind::Global).then_some(export.index);
            self.exports.insert(export.name, exports::Found { offset, global });
        }
        Ok(())
    }

    fn elements(&self, section: ElementSectionReader<'_>) -> Result<(), Refusal> {
        within("element segments", &section, self.limits.element_segments)?;
        for element in section.into_iter_with_offsets() {
            let (offset, element) = element?;
            match element.items {
                ElementItems::Expressions(ty, _) if ty != RefType::FUNCREF => {
                    return Err(Refusal::at(offset, Reason::Reference("an element segment")));
                }
                ElementItems::Expressions(_, items) => {
                    limit("entries in an element segment", items.count(), self.limits.table_elements, offset)?;
                }
                ElementItems::Functions(items) => {
                    limit("entries in an element segment", items.count(), self.limits.table_elements, offset)?;
                }
            }
        }
        Ok(())
    }

    fn data_section(&mut self, section: DataSectionReader<'a>) -> Result<(), Refusal> {
        within("data segments", &section, self.limits.data_segments)?;
        let bytes = u64::from(self.checked.memory_pages_min) * PAGE_BYTES as u64;
        for data in section.into_iter_with_offsets() {
            let (offset, data) = data?;
            self.checked.data_bytes += data.data.len();
            if let DataKind::Active { offset_expr, .. } = &data.kind
                && let Some(address) = constant(offset_expr)?
            {
                let end = u64::from(address.cast_unsigned()) + data.data.len() as u64;
                if end > bytes {
                    return Err(Refusal::at(offset, Reason::DataOutside { end, bytes }));
                }
                self.data.push((address.cast_unsigned(), data.data));
            }
        }
        Ok(())
    }

    fn function(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<(), Refusal> {
        self.checked.code_bytes += body.range().len();
        let mut validator = function.into_validator(std::mem::take(&mut self.allocations));
        self.checked.weights.push(code::check(&mut validator, body, self.limits)?);
        self.allocations = validator.into_allocations();
        Ok(())
    }

    fn finish(mut self, types: wasmparser::types::TypesRef<'_>) -> Result<Checked, Refusal> {
        let facts = exports::check(&self.exports, &self.globals, &self.data, types)?;
        self.checked.has_initialize = facts.has_initialize;
        self.checked.panic_address = facts.panic_address;
        Ok(self.checked)
    }
}

/// Value of an expression that is one `i32.const`. Without imports and extended expressions every `i32` one is.
fn constant(expression: &ConstExpr<'_>) -> Result<Option<i32>, Refusal> {
    match expression.get_operators_reader().read()? {
        Operator::I32Const { value } => Ok(Some(value)),
        _ => Ok(None),
    }
}

fn within<T>(what: &'static str, section: &SectionLimited<'_, T>, most: u32) -> Result<(), Refusal> {
    limit(what, section.count(), most, section.range().start).map(|_| ())
}

/// `found` as a count that is within its limit.
pub(crate) fn limit(what: &'static str, found: impl Into<u64>, most: u32, offset: usize) -> Result<u32, Refusal> {
    let found = found.into();
    u32::try_from(found)
        .ok()
        .filter(|found| *found <= most)
        .ok_or_else(|| Refusal::at(offset, Reason::Limit { what, found, limit: u64::from(most) }))
}
