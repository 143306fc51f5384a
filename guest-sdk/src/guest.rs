//! The exports of an object's Wasm module: how bytes get in and out of [`Object`]. The layout is that of [`abi`].
//!
//! The host writes an input where [`buffer`] says, calls one export, and reads the result where the returned address
//! says before it calls another. A module has one thread and is never entered twice at once.

use core::cell::{Cell, RefCell};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};
use std::panic::PanicHookInfo;

use concoord_wire::abi::{self, Answer, Invocation, Outcome, RETURNED_BYTES, Rejection, Reply, Trigger};
use concoord_wire::codec;

use crate::{Context, Object};

/// What a buffer keeps when a larger one is not needed any more, so that one large call does not stay in every snapshot.
const BUFFER_BYTES_KEPT: usize = 64 << 10;
/// What the memory for outputs has at least: enough for a plain answer whose length is encoded in one byte.
const OUTPUT_BYTES_MIN: usize = 128 + RETURNED_BYTES;
/// Bytes of a panic's text; with its length it makes 1 KiB.
const PANIC_BYTES_MAX: usize = 1020;

thread_local! {
    static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static RESULT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static RECORDING_PANICS: Cell<bool> = const { Cell::new(false) };
}

/// Text of the last panic. Atomics, because a static that changes must be `Sync`; one thread makes them plain stores.
#[derive(Debug)]
#[repr(C)]
pub struct PanicText {
    length: AtomicU32,
    text: [AtomicU8; PANIC_BYTES_MAX],
}

/// The ABI version. A Rust static is exported as the global that holds its address.
#[allow(unsafe_code, non_upper_case_globals, reason = "the ABI fixes the name")]
// SAFETY: a name in the space of the ABI, which no other crate uses.
#[unsafe(no_mangle)]
pub static concoord_abi: u32 = abi::ABI_VERSION.cast_unsigned();

/// Where the host finds the text of a panic after a trap.
#[allow(unsafe_code, non_upper_case_globals, reason = "the ABI fixes the name")]
// SAFETY: a name in the space of the ABI, which no other crate uses.
#[unsafe(no_mangle)]
pub static concoord_panic: PanicText =
    PanicText { length: AtomicU32::new(0), text: [const { AtomicU8::new(0) }; PANIC_BYTES_MAX] };

/// Writes what fits and drops the rest.
impl Write for &PanicText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let written = self.length.load(Relaxed) as usize;
        let fitting = &text[..text.floor_char_boundary(PANIC_BYTES_MAX - written)];
        for (to, from) in self.text[written..].iter().zip(fitting.bytes()) {
            to.store(from, Relaxed);
        }
        self.length.store((written + fitting.len()) as u32, Relaxed);
        Ok(())
    }
}

fn record_panic(info: &PanicHookInfo<'_>) {
    let mut text = &concoord_panic;
    text.length.store(0, Relaxed);
    let _ = text.write_str(info.payload_as_str().unwrap_or("panic"));
    if let Some(location) = info.location() {
        let _ = write!(text, ", at {location}");
    }
}

/// Every way in passes here, so that a panic is recorded whatever the host calls first.
fn enter() {
    if !RECORDING_PANICS.replace(true) {
        std::panic::set_hook(Box::new(record_panic));
    }
}

/// Address of `length` bytes for the next input.
#[must_use]
pub fn buffer(length: u32) -> u32 {
    enter();
    let length = length as usize;
    INPUT.with_borrow_mut(|input| {
        shrink(input, length);
        // It never becomes shorter otherwise, so that it is not filled with zeros for each input.
        if input.len() < length {
            input.resize(length, 0);
        }
        input.as_mut_ptr().expose_provenance() as u32
    })
}

fn shrink(buffer: &mut Vec<u8>, needed: usize) {
    if buffer.capacity() > BUFFER_BYTES_KEPT && needed <= BUFFER_BYTES_KEPT {
        *buffer = Vec::new();
    }
}

fn with_input<R>(length: u32, read: impl FnOnce(&[u8]) -> R) -> R {
    enter();
    INPUT.with_borrow(|input| {
        let input = input.get(..length as usize).expect("the host asks for a buffer before it writes an input");
        read(input)
    })
}

/// Keeps `bytes` until the next call and tells the host where.
fn output(bytes: Vec<u8>) -> i64 {
    OUTPUT.with_borrow_mut(|output| {
        *output = bytes;
        place_of(output)
    })
}

/// As [`output`] with an encoded outcome, in the memory of the output before.
fn output_outcome(outcome: Outcome) -> i64 {
    let place = OUTPUT.with_borrow_mut(|output| {
        output.clear();
        shrink(output, 0);
        outcome.append(output);
        place_of(output)
    });
    if let Reply::Now(Answer::Returned(result)) = outcome.reply {
        give_back(result);
    }
    place
}

/// As [`output`] with the outcome of a call that returned and wants nothing else. The memory stays as long as it is, so that it
/// is not filled with zeros for each output.
fn output_returned(result: Vec<u8>) -> i64 {
    let place = OUTPUT.with_borrow_mut(|output| {
        shrink(output, OUTPUT_BYTES_MIN);
        if output.len() < OUTPUT_BYTES_MIN {
            output.resize(OUTPUT_BYTES_MIN, 0);
        }
        let length = Outcome::write_returned(&result, output)?;
        Some(place_of(&output[..length]))
    });
    match place {
        Some(place) => {
            give_back(result);
            place
        }
        None => output_outcome(Outcome { reply: Reply::Now(Answer::Returned(result)), ..Outcome::default() }),
    }
}

/// Memory for the next result, empty: that of one before.
pub(crate) fn result_memory() -> Vec<u8> {
    RESULT.take()
}

fn give_back(mut result: Vec<u8>) {
    result.clear();
    shrink(&mut result, 0);
    RESULT.set(result);
}

fn place_of(output: &[u8]) -> i64 {
    abi::pack(output.as_ptr().expose_provenance() as u32, output.len() as u32)
}

/// The encoded interface.
#[must_use]
pub fn describe<T: Object>() -> i64 {
    enter();
    output(codec::to_bytes(&T::interface()))
}

/// Runs the input of `length` bytes in the buffer.
pub fn call<T: Object>(state: &mut Option<T>, length: u32) -> i64 {
    with_input(length, |input| {
        let (invocation, arguments): (Invocation<'_>, &[u8]) =
            Invocation::take(input).expect("the host encodes invocations as this ABI says");
        match (&invocation.trigger, state.as_mut()) {
            (Trigger::Init, _) => output_outcome(init(state, T::create(arguments))),
            (trigger, Some(object)) => {
                let mut cx = Context::new(&invocation);
                match object.react(&mut cx, trigger, arguments) {
                    Reply::Now(Answer::Returned(result)) if cx.wants_nothing() => output_returned(result),
                    reply => output_outcome(cx.finish(reply)),
                }
            }
            (_, None) => panic!("called before Init"),
        }
    })
}

fn init<T>(state: &mut Option<T>, created: Result<T, Rejection>) -> Outcome {
    let answer = match created {
        Ok(object) => {
            *state = Some(object);
            Answer::Returned(Vec::new())
        }
        Err(why) => Answer::Rejected(why),
    };
    Outcome { reply: Reply::Now(answer), ..Outcome::default() }
}

/// The state as the object encodes it.
#[must_use]
pub fn export<T: Object>(state: &Option<T>) -> i64 {
    enter();
    output(state.as_ref().expect("called before Init").export())
}

/// Takes over the state of `length` bytes in the buffer; leaves the object as it was when it does not fit.
pub fn import<T: Object>(state: &mut Option<T>, length: u32) -> i64 {
    let imported = with_input(length, T::import).map(|object| *state = Some(object));
    output(codec::to_bytes(&imported))
}

/// Exports the object `$object`. The names are those of [`abi::export`].
#[doc(hidden)]
#[macro_export]
macro_rules! __export_object {
    ($object:ty) => {
        #[allow(unsafe_code, reason = "a module's exports have fixed names")]
        const _: () = {
            use ::core::cell::RefCell;
            use $crate::__private::guest;

            ::std::thread_local! {
                static STATE: RefCell<Option<$object>> = const { RefCell::new(None) };
            }

            // SAFETY (of each): a name in the space of the ABI; a module holds one object.
            #[unsafe(no_mangle)]
            extern "C" fn concoord_describe() -> i64 {
                guest::describe::<$object>()
            }

            #[unsafe(no_mangle)]
            extern "C" fn concoord_buffer(length: u32) -> u32 {
                guest::buffer(length)
            }

            #[unsafe(no_mangle)]
            extern "C" fn concoord_call(length: u32) -> i64 {
                STATE.with_borrow_mut(|state| guest::call(state, length))
            }

            #[unsafe(no_mangle)]
            extern "C" fn concoord_export() -> i64 {
                STATE.with_borrow(|state| guest::export(state))
            }

            #[unsafe(no_mangle)]
            extern "C" fn concoord_import(length: u32) -> i64 {
                STATE.with_borrow_mut(|state| guest::import(state, length))
            }
        };
    };
}
