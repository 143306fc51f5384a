//! The Python environment with what `tests/requirements.txt` lists, which `tests/run` makes.

use std::path::PathBuf;

use crate::cluster;

/// A program of the environment, such as `python`.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let program = cluster::target().join("python").join("bin").join(name);
    assert!(program.is_file(), "{} is missing: tests/run makes it", program.display());
    program
}
