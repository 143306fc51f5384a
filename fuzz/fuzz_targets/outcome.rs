//! The decoding of outcomes: bytes are one or are refused, within the memory that they are worth.
#![no_main]

use std::mem::size_of;

use concoord_wire::CallId;
use concoord_wire::abi::{Answer, Event, Outcome, Rejection, Reply, Timer};
use concoord_wire::codec;
use libfuzzer_sys::fuzz_target;

/// What may be kept for lengths that were only announced, and how many times its own length for an outcome's bytes: an
/// empty line for the log takes one byte, its place in memory 24, and a list may have grown to twice what it needs.
const ANNOUNCED_BYTES: usize = 8 << 20;
const TIMES: usize = 128;

fn of_answer(answer: &Answer) -> usize {
    match answer {
        Answer::Returned(bytes) | Answer::Failed(bytes) => bytes.capacity(),
        Answer::Rejected(Rejection::Arguments(why)) => why.capacity(),
        Answer::Rejected(Rejection::UnknownMethod) => 0,
    }
}

/// Bytes of memory that it holds.
fn held(Outcome { reply, answered, events, timers, log }: &Outcome) -> usize {
    let lists = answered.capacity() * size_of::<(CallId, Answer)>()
        + events.capacity() * size_of::<Event>()
        + timers.capacity() * size_of::<Timer>()
        + log.capacity() * size_of::<String>();
    let reply = if let Reply::Now(answer) = reply { of_answer(answer) } else { 0 };
    let answered = answered.iter().map(|(_, answer)| of_answer(answer)).sum::<usize>();
    let events = events.iter().map(|event| event.topic.capacity() + event.payload.capacity()).sum::<usize>();
    lists + reply + answered + events + log.iter().map(String::capacity).sum::<usize>()
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(outcome) = codec::from_bytes::<Outcome>(bytes) else { return };
    let held = held(&outcome);
    assert!(held <= ANNOUNCED_BYTES + TIMES * bytes.len(), "{held} bytes of memory for {}", bytes.len());
    let again = codec::to_bytes(&outcome);
    // Numbers can be written longer than they need to be; whoever writes them so is understood, and not repeated.
    assert!(again == bytes || again.len() < bytes.len());
    assert_eq!(codec::from_bytes::<Outcome>(&again).as_ref(), Ok(&outcome));
});
