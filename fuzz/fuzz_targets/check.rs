//! The check of modules: it judges anything without a panic, by what is there, and in one line that says where.
#![no_main]

use std::sync::Mutex;

use concoord_fuzz::{Accepted, module};
use concoord_module::{FEATURES, check};
use libfuzzer_sys::fuzz_target;
use wasmparser::Validator;

static ACCEPTED: Mutex<Accepted> = Mutex::new(Accepted::none());

/// Bytes of a refusal, the stranger's text in it included.
const LINE_BYTES_MAX: usize = 1000;

fuzz_target!(|input: &[u8]| {
    // The first byte says how many of the next are damage: which byte, and what it becomes.
    let Some((&count, rest)) = input.split_first() else { return };
    let (damage, rest) = rest.split_at(rest.len().min(usize::from(count % 8) * 3));
    let Some(mut bytes) = module(rest) else { return };
    for part in damage.chunks_exact(3) {
        let length = bytes.len();
        if length > 0 {
            bytes[usize::from(u16::from_le_bytes([part[0], part[1]])) % length] = part[2];
        }
    }
    let judged = check(&bytes);
    ACCEPTED.lock().expect("nobody panicked").count(judged.is_ok());
    assert_eq!(judged, check(&bytes), "the same bytes give the same answer");
    match judged {
        Ok(checked) => {
            assert_eq!(checked.module_bytes, bytes.len());
            assert_eq!(checked.weights.len(), checked.functions as usize);
            assert!(checked.mutable_globals.iter().all(|index| *index < checked.globals));
            Validator::new_with_features(FEATURES).validate_all(&bytes).expect("what passes is valid");
        }
        Err(refusal) => {
            assert!(refusal.offset.is_none_or(|offset| offset <= bytes.len()), "{refusal}");
            let line = refusal.to_string();
            assert!(line.len() <= LINE_BYTES_MAX && !line.chars().any(char::is_control), "{line}");
        }
    }
});
