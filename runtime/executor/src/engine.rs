//! The engine: settings under which the same module does the same everywhere, and the watchdog.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use concoord_module::REWRITTEN_FEATURES;
use wasmtime::{Config, Engine, OptLevel, WasmFeatures};

use crate::limits::{MEMORY_GUARD_BYTES, MEMORY_RESERVED_BYTES, WASM_STACK_BYTES_MAX};

/// This host can't run Wasm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this host can't run objects: {0}")]
pub struct EngineError(pub(crate) String);

/// Time between two ticks of the watchdog.
const TICK: Duration = Duration::from_secs(1);

pub(crate) fn engine() -> Result<Engine, EngineError> {
    engine_for(OptLevel::Speed)
}

/// An engine whose compiler optimises so much. Code of one runs in another.
pub(crate) fn engine_for(optimise: OptLevel) -> Result<Engine, EngineError> {
    let mut config = Config::new();
    // Exactly what the check accepts and what the rewrite adds, so that no side knows an instruction that another doesn't.
    config.wasm_features(WasmFeatures::all(), false).wasm_features(REWRITTEN_FEATURES, true);
    // Without this, which NaN an operation gives depends on the processor.
    config.cranelift_nan_canonicalization(true);
    config.cranelift_opt_level(optimise);
    // The other is for stacks of a kind that is not in use, and must not be smaller.
    config.async_stack_size(WASM_STACK_BYTES_MAX).max_wasm_stack(WASM_STACK_BYTES_MAX);
    config.memory_reservation(MEMORY_RESERVED_BYTES).memory_guard_size(MEMORY_GUARD_BYTES).memory_may_move(false);
    // An image shared copy-on-write would make the first write to each page a fault, and needs a memfd for each module.
    config.memory_init_cow(false);
    // For the watchdog.
    config.epoch_interruption(true);
    // A trap is told by its kind and the guest's own words; nobody reads native backtraces of a guest.
    config.wasm_backtrace_max_frames(None).generate_address_map(false).debug_symbols(false);
    Engine::new(&config).map_err(|error| EngineError(format!("{error:#}")))
}

/// Advances the engine's epoch once a second as long as it lives, so that calls can be given a deadline. A host fault
/// when it strikes, since hosts differ in speed: gas is what bounds a guest the same everywhere.
pub(crate) struct Watchdog {
    /// Dropping it ends the thread.
    _alive: mpsc::Sender<()>,
}

impl Watchdog {
    pub(crate) fn start(engine: &Engine) -> Result<Watchdog, EngineError> {
        let (alive, dropped) = mpsc::channel();
        let engine = engine.clone();
        let watch = move || {
            while dropped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                engine.increment_epoch();
            }
        };
        thread::Builder::new()
            .name("concoord-watchdog".into())
            .spawn(watch)
            .map_err(|error| EngineError(format!("the watchdog's thread can't start: {error}")))?;
        Ok(Watchdog { _alive: alive })
    }
}
