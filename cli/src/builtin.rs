//! The standard objects that come with the command, and what `-o` may name.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, bail};
use concoord_wire::limits::MODULE_BYTES_MAX;

/// A standard object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Builtin {
    /// Its name, also the name it gets in a cluster.
    pub(crate) name: &'static str,
    /// The name under which users of the predecessor know it.
    dotted_name: &'static str,
    /// The Wasm module.
    pub(crate) module: &'static [u8],
}

/// The table of them: `"counter" => "Counter"` is `counter`, `concoord.object.counter.Counter`, and `counter.wasm`.
macro_rules! builtins {
    ($($name:literal => $class:literal,)*) => {
        &[$(Builtin {
            name: $name,
            dotted_name: concat!("concoord.object.", $name, ".", $class),
            module: include_bytes!(concat!("../../objects-wasm/dist/", $name, ".wasm")),
        }),*]
    };
}

/// All standard objects, by name.
const BUILTINS: &[Builtin] = builtins! {
    "bank" => "Bank",
    "barrier" => "Barrier",
    "binarytree" => "BinaryTree",
    "boundedsemaphore" => "BoundedSemaphore",
    "condition" => "Condition",
    "counter" => "Counter",
    "election" => "Election",
    "idgenerator" => "IdGenerator",
    "jobmanager" => "JobManager",
    "kv" => "Kv",
    "latch" => "Latch",
    "lock" => "Lock",
    "log" => "Log",
    "membership" => "Membership",
    "meshmembership" => "MeshMembership",
    "nameservercoord" => "NameserverCoord",
    "pinger" => "Pinger",
    "queue" => "Queue",
    "ratelimiter" => "RateLimiter",
    "rlock" => "RLock",
    "rwlock" => "RwLock",
    "semaphore" => "Semaphore",
    "stack" => "Stack",
};

/// The standard object with this name, short or dotted.
pub(crate) fn find(name: &str) -> Option<Builtin> {
    BUILTINS.iter().copied().find(|builtin| builtin.name == name || builtin.dotted_name == name)
}

/// The names of all, for whoever gave another.
pub(crate) fn names() -> String {
    BUILTINS.iter().map(|builtin| builtin.name).collect::<Vec<_>>().join(", ")
}

/// A module, and the name it goes by.
#[derive(Debug)]
pub(crate) struct Source {
    /// Name for the cluster: that of the standard object, or the file's without its extension.
    pub(crate) name: String,
    /// The module's bytes, unchecked.
    pub(crate) module: Vec<u8>,
    /// Whether it is a standard object.
    pub(crate) is_builtin: bool,
}

/// What `given` names: a standard object, or else a file.
///
/// # Errors
/// When it is neither.
pub(crate) fn resolve(given: &str) -> anyhow::Result<Source> {
    if let Some(builtin) = find(given) {
        return Ok(Source { name: builtin.name.into(), module: builtin.module.into(), is_builtin: true });
    }
    let path = Path::new(given);
    let module = match read_module(path) {
        Err(error) if is_not_found(&error) => {
            bail!("no object '{given}': there is no such file, and the built-in objects are {}", names())
        }
        read => read?,
    };
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("object").to_owned();
    Ok(Source { name, module, is_builtin: false })
}

/// Reads a module's file, up to the size that any replica would take.
///
/// # Errors
/// What the system says, or that the file is too large.
pub(crate) fn read_module(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let mut module = Vec::new();
    // Not by the size that the system names: some files have none, and no end.
    let limit = MODULE_BYTES_MAX as u64 + 1;
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut module));
    read.with_context(|| format!("can't read {shown}"))?;
    if module.len() > MODULE_BYTES_MAX {
        bail!("{shown}: larger than the {MODULE_BYTES_MAX} bytes that a module may have");
    }
    Ok(module)
}

fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_predecessors_name_finds_the_same_object() {
        let dotted = resolve("concoord.object.counter.Counter").expect("built in");
        assert_eq!((dotted.name.as_str(), dotted.module), ("counter", resolve("counter").expect("built in").module));
    }

    #[test]
    fn what_is_neither_built_in_nor_a_file_is_named_with_what_there_is() {
        let error = resolve("concoord.object.counter.Conter").expect_err("no such object").to_string();
        assert!(error.contains("'concoord.object.counter.Conter'"), "{error}");
        assert!(error.contains("no such file"), "{error}");
        assert!(
            error.ends_with(
                "the built-in objects are bank, barrier, binarytree, boundedsemaphore, condition, counter, election, \
                 idgenerator, jobmanager, kv, latch, lock, log, membership, meshmembership, nameservercoord, pinger, \
                 queue, ratelimiter, rlock, rwlock, semaphore, stack"
            ),
            "{error}"
        );
    }

    #[test]
    fn each_is_an_object_that_says_the_name_under_which_it_is_found() {
        for builtin in BUILTINS {
            let interface = concoord_executor::describe(builtin.module, &concoord_executor::InProcess);
            let interface = interface.unwrap_or_else(|error| panic!("{}: {error}", builtin.name));
            assert_eq!(builtin.dotted_name, format!("concoord.object.{}.{}", builtin.name, interface.name));
            assert_eq!(builtin.name, interface.name.to_lowercase());
            let undocumented = interface.methods.iter().find(|method| method.doc.is_empty());
            assert_eq!((undocumented, interface.doc.is_empty()), (None, false), "{}", builtin.name);
        }
    }

    #[test]
    fn what_has_no_end_is_no_module() {
        let error = read_module(Path::new("/dev/zero")).expect_err("endless").to_string();
        assert!(error.starts_with("/dev/zero: larger than the "), "{error}");
    }

    #[test]
    fn a_directory_is_no_module() {
        let error = resolve("/").expect_err("a directory");
        assert!(crate::print::one_line(&error).starts_with("can't read /: "), "{error:#}");
    }
}
