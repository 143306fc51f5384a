//! Native code as bytes, and the one place where it becomes a module that can run.

use std::fmt;
use std::hash::{Hash, Hasher};

use ring::digest;
use wasmtime::{Engine, Module, OptLevel};

use super::CompileError;
use crate::engine::engine_for;

/// What [`wasmtime::Engine::precompile_module`] gave, here or in another process of this program. Bytes from anywhere else
/// never become one, since running it is running whatever stands in it.
#[derive(Clone, PartialEq, Eq)]
pub struct NativeCode(Vec<u8>);

impl fmt::Debug for NativeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeCode").field("bytes", &self.0.len()).finish()
    }
}

impl NativeCode {
    /// Compiles a rewritten module in this process.
    pub(super) fn compile(rewritten: &[u8], optimise: OptLevel) -> Result<NativeCode, CompileError> {
        let engine = engine_for(optimise).map_err(|error| CompileError::Failed(error.to_string()))?;
        let code = engine.precompile_module(rewritten).map_err(|error| CompileError::Refused(format!("{error:#}")))?;
        Ok(NativeCode(code))
    }

    /// Takes bytes for what another process of this program compiled. The caller has to know that they are.
    pub(super) fn from_trusted(bytes: Vec<u8>) -> NativeCode {
        NativeCode(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The module that this is the code of.
    pub(crate) fn load(&self, engine: &Engine) -> Result<Module, CompileError> {
        // SAFETY: the bytes are what `precompile_module` gave to a process that runs this program, and unchanged since:
        // they are made by `compile` here, come over the pipe of a child that was started for it, or stand in a file
        // under a code that only this replica can make (`sealed.rs`). That the code is for another version, other
        // settings or another processor, wasmtime looks at itself.
        #[allow(unsafe_code)]
        let module = unsafe { Module::deserialize(engine, &self.0) };
        module.map_err(|error| CompileError::Failed(format!("its native code does not load: {error:#}")))
    }
}

/// What native code depends on beside the module: wasmtime's exact version, its settings, and what this processor can
/// do. Hosts with the same of it can run each other's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HostPrint(pub(super) [u8; digest::SHA256_OUTPUT_LEN]);

impl HostPrint {
    /// That of code for this engine.
    pub(super) fn of(engine: &Engine) -> HostPrint {
        let mut feeder = Feeder(digest::Context::new(&digest::SHA256));
        engine.precompile_compatibility_hash().hash(&mut feeder);
        HostPrint(feeder.0.finish().as_ref().try_into().expect("its own length"))
    }
}

/// Gives what is hashed to a stronger hash than [`Hasher`] asks for.
struct Feeder(digest::Context);

impl Hasher for Feeder {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("what is hashed into this does not ask what came of it")
    }
}
