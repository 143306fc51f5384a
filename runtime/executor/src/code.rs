//! From a module's bytes to code that can be instantiated.

use concoord_consensus::objects::Fault;
use concoord_module::{Checked, Limits, Refusal, check_within, rewrite};
use wasmtime::{Engine, Module};

use crate::compile::{Bounds, CompileError, Compiler};

/// A checked and compiled module.
pub(crate) struct Code {
    pub(crate) module: Module,
    pub(crate) checked: Checked,
    /// The module's bytes as they came.
    pub(crate) bytes: Vec<u8>,
}

/// Why a module can't be asked what it can do, or loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescribeError {
    /// The check refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no native code of it within the bounds.
    #[error(transparent)]
    NotCompiled(#[from] CompileError),
    /// It does not answer, or this host can't run it.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Code {
    /// Checks, rewrites and compiles a module.
    pub(crate) fn compile(
        engine: &Engine,
        compiler: &dyn Compiler,
        bytes: &[u8],
        limits: &Limits,
        bounds: Bounds,
    ) -> Result<Code, DescribeError> {
        let checked = check_within(bytes, limits)?;
        let module = compiler.compile(&rewrite(bytes, &checked), bounds)?.load(engine)?;
        Ok(Code { module, checked, bytes: bytes.to_vec() })
    }
}

/// A module that passes the check and can't be compiled is a host fault: what is left then are the bounds of this
/// compiler on this host, and others may have wider ones. Whoever proposes a module finds that out first, by
/// [`crate::describe`], within tighter bounds.
impl From<DescribeError> for Fault {
    fn from(error: DescribeError) -> Fault {
        match error {
            DescribeError::Refused(refusal) => Fault::Refused(refusal.to_string()),
            DescribeError::NotCompiled(error) => Fault::Host(format!("the module can't be compiled here: {error}")),
            DescribeError::Fault(fault) => fault,
        }
    }
}
