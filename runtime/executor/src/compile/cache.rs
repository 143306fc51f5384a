//! Code that was compiled before.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest;

use super::native::HostPrint;
use super::sealed::{SealedDirectory, Unsealed};
use super::{Bounds, CompileError, Compiler, NativeCode};
use crate::engine::{EngineError, engine};
use crate::limits::{CODE_CACHE_BYTES_MAX, CODE_CACHE_FILES_MAX, CODE_CACHE_MEMORY_BYTES_MAX};

/// Compiles each module once, and keeps the code: in a directory, for the next start as well, or in memory.
///
/// Code is found again by a hash over the rewritten module, wasmtime's version and settings, and what this processor
/// can do. A file that is damaged, or that somebody else wrote, is compiled again; so is everything where the directory
/// can't be written. The least recently used goes first.
#[derive(Debug)]
pub struct CodeCache {
    compiler: Arc<dyn Compiler>,
    host: HostPrint,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    Files(SealedDirectory),
    /// By name, the most recently used last.
    Memory(Mutex<VecDeque<(String, NativeCode)>>),
}

impl CodeCache {
    /// Keeps what `compiler` makes in the directory at `path`, which is made where it is missing. Where that can't be
    /// used, the log says so, and code is kept in memory.
    ///
    /// # Errors
    /// [`EngineError`] when this host can't run Wasm.
    pub fn in_directory(path: &Path, compiler: Arc<dyn Compiler>) -> Result<CodeCache, EngineError> {
        let cache = CodeCache::in_memory(compiler)?;
        match SealedDirectory::open(path) {
            Ok(files) => Ok(CodeCache { kept: Kept::Files(files), ..cache }),
            Err(error) => {
                tracing::warn!("native code is not kept, as {} can't be used: {error}", path.display());
                Ok(cache)
            }
        }
    }

    /// Keeps what `compiler` makes as long as the cache lives.
    ///
    /// # Errors
    /// [`EngineError`] when this host can't run Wasm.
    pub fn in_memory(compiler: Arc<dyn Compiler>) -> Result<CodeCache, EngineError> {
        Ok(CodeCache { compiler, host: HostPrint::of(&engine()?), kept: Kept::Memory(Mutex::default()) })
    }

    /// The name that code of this module has here.
    fn name(&self, rewritten: &[u8]) -> String {
        let mut name = digest::Context::new(&digest::SHA256);
        name.update(&self.host.0);
        name.update(rewritten);
        name.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Compiler for CodeCache {
    fn compile(&self, rewritten: &[u8], bounds: Bounds) -> Result<NativeCode, CompileError> {
        let name = self.name(rewritten);
        if let Some(code) = self.kept.find(&name) {
            return Ok(code);
        }
        let code = self.compiler.compile(rewritten, bounds)?;
        self.kept.keep(name, &code);
        Ok(code)
    }
}

impl Kept {
    fn find(&self, name: &str) -> Option<NativeCode> {
        match self {
            Kept::Files(files) => match files.read(name, CODE_CACHE_BYTES_MAX) {
                Ok(code) => Some(NativeCode::from_trusted(code)),
                Err(Unsealed::Missing) => None,
                Err(why) => {
                    let path = files.path().join(name);
                    tracing::warn!("the native code in {} is not used but compiled again: {why}", path.display());
                    None
                }
            },
            Kept::Memory(codes) => {
                let mut codes = codes.lock().unwrap_or_else(PoisonError::into_inner);
                let at = codes.iter().position(|(kept, _)| kept == name)?;
                let found = codes.remove(at)?;
                let code = found.1.clone();
                codes.push_back(found);
                Some(code)
            }
        }
    }

    fn keep(&self, name: String, code: &NativeCode) {
        match self {
            Kept::Files(files) => {
                let written = files.write(&name, code.as_bytes());
                let kept = written.and_then(|()| files.prune(CODE_CACHE_FILES_MAX, CODE_CACHE_BYTES_MAX));
                if let Err(error) = kept {
                    tracing::warn!("native code can't be kept in {}: {error}", files.path().display());
                }
            }
            Kept::Memory(codes) => {
                let mut codes = codes.lock().unwrap_or_else(PoisonError::into_inner);
                codes.push_back((name, code.clone()));
                let bytes = |codes: &VecDeque<(_, NativeCode)>| -> usize {
                    codes.iter().map(|(_, code)| code.as_bytes().len()).sum()
                };
                while bytes(&codes) > CODE_CACHE_MEMORY_BYTES_MAX {
                    codes.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
