//! Whose fault a trap is.

use wasmtime::Trap;

/// What a trap means. The words are ours, since they go into replicated replies and wasmtime may change its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The guest's: it happens on every host.
    Guest(&'static str),
    /// The guest stopped itself, as a panic does. It may have left words about it.
    Stopped,
    /// This host's: another may not have it.
    Host(&'static str),
}

/// Classifies a trap. `None` for one that is not known here, which is then treated as the host's.
pub(crate) fn cause(trap: Trap) -> Option<Cause> {
    let cause = match trap {
        Trap::UnreachableCodeReached => Cause::Stopped,
        Trap::MemoryOutOfBounds => Cause::Guest("access outside its memory"),
        Trap::TableOutOfBounds => Cause::Guest("call through a function table index out of range"),
        Trap::IndirectCallToNull => Cause::Guest("call of a null function pointer"),
        Trap::BadSignature => Cause::Guest("call of a function pointer of another type"),
        Trap::IntegerOverflow => Cause::Guest("integer overflow"),
        Trap::IntegerDivisionByZero => Cause::Guest("integer division by zero"),
        Trap::BadConversionToInteger => Cause::Guest("float out of the range of an integer"),
        Trap::StackOverflow => Cause::Host("the native stack is used up: the object recurses too deeply"),
        Trap::Interrupt => Cause::Host("the watchdog ended a call that did not return"),
        Trap::OutOfFuel => Cause::Host("out of fuel, which is not in use"),
        // From parts of WebAssembly that the check refuses and the engine has switched off.
        Trap::HeapMisaligned
        | Trap::AtomicWaitNonSharedMemory
        | Trap::NullReference
        | Trap::ArrayOutOfBounds
        | Trap::AllocationTooLarge
        | Trap::CastFailure
        | Trap::CannotEnterComponent
        | Trap::NoAsyncResult
        | Trap::UnhandledTag
        | Trap::ContinuationAlreadyConsumed
        | Trap::DisabledOpcode
        | Trap::AsyncDeadlock
        | Trap::CannotLeaveComponent
        | Trap::CannotBlockSyncTask
        | Trap::InvalidChar
        | Trap::DebugAssertStringEncodingFinished
        | Trap::DebugAssertEqualCodeUnits
        | Trap::DebugAssertPointerAligned
        | Trap::DebugAssertUpperBitsUnset
        | Trap::StringOutOfBounds
        | Trap::ListOutOfBounds
        | Trap::InvalidDiscriminant
        | Trap::UnalignedPointer
        | Trap::TaskCancelNotCancelled
        | Trap::TaskCancelOrReturnTwice
        | Trap::SubtaskCancelAfterTerminal
        | Trap::TaskReturnInvalid
        | Trap::WaitableSetDropHasWaiters
        | Trap::SubtaskDropNotResolved
        | Trap::ThreadNewIndirectInvalidType
        | Trap::ThreadNewIndirectUninitialized
        | Trap::BackpressureOverflow
        | Trap::UnsupportedCallbackCode
        | Trap::CannotResumeThread
        | Trap::ConcurrentFutureStreamOp
        | Trap::ReferenceCountOverflow
        | Trap::StreamOpTooBig
        | Trap::WaitableSyncAndAsync
        | Trap::UncaughtException => Cause::Host("a trap that no checked module can raise"),
        _ => return None,
    };
    Some(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trap_of_this_wasmtime_is_classified() {
        let traps: Vec<Trap> = (0..=u8::MAX).filter_map(Trap::from_u8).collect();
        assert!(traps.contains(&Trap::MemoryOutOfBounds), "the enumeration works");
        let unknown: Vec<Trap> = traps.into_iter().filter(|trap| cause(*trap).is_none()).collect();
        assert!(unknown.is_empty(), "say in `cause` whose fault these are: {unknown:?}");
    }
}
