//! From a module's bytes to code that can be instantiated.

use concoord_consensus::objects::Fault;
use concoord_module::{Checked, Limits, check_within, rewrite};
use wasmtime::{Engine, Module};

/// A checked and compiled module.
pub(crate) struct Code {
    pub(crate) module: Module,
    pub(crate) checked: Checked,
    /// The module's bytes as they came.
    pub(crate) bytes: Vec<u8>,
}

impl Code {
    /// Checks, rewrites and compiles a module.
    ///
    /// A module that passes the check and can't be compiled is a host fault: what is left then are the bounds of this
    /// compiler on this processor, and others may have wider ones. Whoever proposes a module finds that out first, by
    /// [`crate::describe`].
    pub(crate) fn compile(engine: &Engine, bytes: &[u8], limits: &Limits) -> Result<Code, Fault> {
        let checked = check_within(bytes, limits).map_err(|refusal| Fault::Refused(refusal.to_string()))?;
        let module = Module::from_binary(engine, &rewrite(bytes, &checked))
            .map_err(|error| Fault::Host(format!("the module can't be compiled: {error:#}")))?;
        Ok(Code { module, checked, bytes: bytes.to_vec() })
    }
}
