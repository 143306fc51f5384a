//! What an author reads who wrote something that can't be an object: each file of `ui` does not compile, and says so as
//! the `.stderr` file beside it. `TRYBUILD=overwrite` writes those anew; the difference is the review.

use std::path::Path;
use std::process::Command;

/// Whether the compiler is that of `dist/TOOLCHAIN`: others word their own errors in their own way.
fn is_known_compiler() -> bool {
    let compiler = Command::new("rustc").arg("-V").output().expect("the tests were compiled by one").stdout;
    let known = Path::new(env!("CARGO_MANIFEST_DIR")).join("../objects-wasm/dist/TOOLCHAIN");
    std::fs::read(known).expect("it is committed").starts_with(&compiler)
}

#[test]
fn what_can_not_be_an_object_is_refused_at_its_line_with_advice() {
    let cases = trybuild::TestCases::new();
    // What the attributes say themselves is the same under every compiler.
    cases.compile_fail("tests/ui/attributes/*.rs");
    if is_known_compiler() {
        cases.compile_fail("tests/ui/compiler/*.rs");
    } else {
        println!("another compiler than that of dist/TOOLCHAIN, so only the attributes' own errors are compared");
    }
}
