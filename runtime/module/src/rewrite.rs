//! From a checked module to the one that is compiled.

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{ExportKind, ExportSection, MemoryType, Module};
use wasmparser::{CustomSectionReader, ExportSectionReader, Parser};

use crate::{Checked, FEATURES, RESERVED_PREFIX};

/// The module to compile, from the bytes that gave `checked`.
///
/// It only appends, so no index moves: an export for each mutable global, which the host reads and sets when it saves
/// and restores an object. The memory's maximum becomes the replicated cap, so that `memory.grow` fails at the same
/// page everywhere, whatever the module declares. Custom sections are left out: nothing compiles them.
///
/// # Panics
/// For bytes that are not those of `checked`.
#[must_use]
pub fn rewrite(bytes: &[u8], checked: &Checked) -> Vec<u8> {
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut module = Module::new();
    Rewriter { checked }
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
}

impl Reencode for Rewriter<'_> {
    type Error = Infallible;

    fn memory_type(&mut self, memory: wasmparser::MemoryType) -> Result<MemoryType, Error> {
        let maximum = Some(u64::from(self.checked.memory_pages_max));
        Ok(MemoryType { maximum, ..utils::memory_type(self, memory) })
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_export_section(self, exports, section)?;
        for &index in &self.checked.mutable_globals {
            exports.export(&global_export(index), ExportKind::Global, index);
        }
        Ok(())
    }

    fn parse_custom_section(&mut self, _: &mut Module, _: CustomSectionReader<'_>) -> Result<(), Error> {
        Ok(())
    }
}
