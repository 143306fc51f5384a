//! A directory for one test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::command::{self, Finished};

/// A directory under `target/tmp`, removed when a test passed and kept for a look when it failed.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// An empty one.
    ///
    /// # Panics
    /// When there is no place for it.
    #[must_use]
    pub fn new(name: &str) -> Scratch {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = command::target().join("tmp").join(format!("{name}-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("can't make {}: {error}", path.display()));
        Scratch { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file, and gives its path.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.path.join(name);
        fs::write(&file, bytes).unwrap_or_else(|error| panic!("can't write {}: {error}", file.display()));
        file
    }

    /// Runs `concoord` in this directory to its end.
    #[must_use]
    pub fn concoord(&self, arguments: &[&str]) -> Finished {
        command::run_in(&self.path, arguments, &[], "")
    }

    /// The same with these environment variables, and with this on standard input.
    #[must_use]
    pub fn concoord_with(&self, arguments: &[&str], environment: &[(String, String)], input: &str) -> Finished {
        command::run_in(&self.path, arguments, environment, input)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for a look: {}", self.path.display());
        } else {
            // What can't be removed lies where `cargo clean` finds it.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
