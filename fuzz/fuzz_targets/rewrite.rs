//! The rewrite of modules: what the check accepts is rewritten, always the same way, into what can be compiled.
#![no_main]

use std::sync::Mutex;

use concoord_fuzz::{Accepted, module};
use concoord_module::{REWRITTEN_FEATURES, check, rewrite};
use libfuzzer_sys::fuzz_target;
use wasmparser::Validator;

static ACCEPTED: Mutex<Accepted> = Mutex::new(Accepted::none());

/// What the rewrite adds to any module, and how many times as large code becomes at most.
const ADDED_BYTES: usize = 64 << 10;
const GROWTH: usize = 25;

fuzz_target!(|input: &[u8]| {
    let Some(bytes) = module(input) else { return };
    let checked = check(&bytes);
    ACCEPTED.lock().expect("nobody panicked").count(checked.is_ok());
    let Ok(checked) = checked else { return };
    let rewritten = rewrite(&bytes, &checked);
    assert_eq!(rewritten, rewrite(&bytes, &checked), "one module, one rewrite");
    assert!(rewritten.len() <= ADDED_BYTES + GROWTH * bytes.len(), "{} bytes of {}", rewritten.len(), bytes.len());
    Validator::new_with_features(REWRITTEN_FEATURES).validate_all(&rewritten).expect("a rewritten module is valid");
});
