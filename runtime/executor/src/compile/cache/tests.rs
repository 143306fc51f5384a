use std::env::temp_dir;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::id;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::InProcess;
use super::*;

/// The least that wasmtime takes.
const EMPTY: &[u8] = b"\0asm\x01\0\0\0";
/// Another module: one with an empty custom section.
const OTHER: &[u8] = b"\0asm\x01\0\0\0\0\x02\x01x";

/// Compiles here, and counts.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

impl Counting {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Compiler for Counting {
    fn compile(&self, rewritten: &[u8], bounds: Bounds) -> Result<NativeCode, CompileError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        InProcess.compile(rewritten, bounds)
    }
}

/// A directory for one test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = temp_dir().join(format!("concoord-code-{}-{name}", id()));
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    /// The cache at `name` in it, as at another start, and its compiler.
    fn open(&self, name: &str) -> (CodeCache, Arc<Counting>) {
        let compiler = Arc::new(Counting::default());
        (CodeCache::in_directory(&self.0.join(name), Arc::clone(&compiler) as _).unwrap(), compiler)
    }

    /// How often `EMPTY` is compiled when it is asked for after another start. What is given always runs.
    fn compiled_again(&self, name: &str) -> usize {
        let (cache, compiler) = self.open(name);
        let code = cache.compile(EMPTY, Bounds::DECIDED).unwrap();
        code.load(&engine().unwrap()).unwrap();
        compiler.count()
    }

    /// The only file of code in the cache at `name`.
    fn code_file(&self, name: &str) -> PathBuf {
        let entries = fs::read_dir(self.0.join(name)).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.filter(|path| !path.ends_with("key")).collect::<Vec<_>>();
        let [file] = &files[..] else { panic!("not one file: {files:?}") };
        file.clone()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn each_module_is_compiled_once_also_over_starts() {
    let scratch = Scratch::new("once");
    let (cache, compiler) = scratch.open("a");
    let first = cache.compile(EMPTY, Bounds::PROPOSED).unwrap();
    assert_eq!(cache.compile(EMPTY, Bounds::DECIDED).unwrap(), first);
    assert_eq!(compiler.count(), 1);
    cache.compile(OTHER, Bounds::DECIDED).unwrap();
    assert_eq!(compiler.count(), 2);
    assert_eq!(scratch.compiled_again("a"), 0);
    assert_eq!(scratch.compiled_again("b"), 1, "directories share nothing");
}

#[test]
fn in_memory_it_lasts_as_long_as_the_cache() {
    let compiler = Arc::new(Counting::default());
    for count in 1..3 {
        let cache = CodeCache::in_memory(Arc::clone(&compiler) as _).unwrap();
        let first = cache.compile(EMPTY, Bounds::DECIDED).unwrap();
        assert_eq!(cache.compile(EMPTY, Bounds::DECIDED).unwrap(), first);
        assert_eq!(compiler.count(), count);
    }
}

#[test]
fn whatever_byte_of_a_file_is_damaged_it_is_compiled_again() {
    let scratch = Scratch::new("damage");
    assert_eq!(scratch.compiled_again("a"), 1);
    let whole = fs::read(scratch.code_file("a")).unwrap();
    // Seal, beginning, and everywhere in it.
    let places = [0, 31, 32, 33].into_iter().chain((0..40).map(|part| part * whole.len() / 40));
    for at in places.chain([whole.len() - 1]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(scratch.code_file("a"), bytes).unwrap();
        assert_eq!(scratch.compiled_again("a"), 1, "byte {at}");
        assert_eq!(scratch.compiled_again("a"), 0, "it is whole again");
    }
    for length in [0, 1, 31, 32, whole.len() / 2, whole.len() - 1] {
        fs::write(scratch.code_file("a"), &whole[..length]).unwrap();
        assert_eq!(scratch.compiled_again("a"), 1, "{length} bytes");
    }
    fs::write(scratch.code_file("a"), [&whole[..], &[0]].concat()).unwrap();
    assert_eq!(scratch.compiled_again("a"), 1, "a byte more");
}

#[test]
fn files_of_another_directory_another_name_or_a_copy_are_foreign() {
    let scratch = Scratch::new("foreign");
    let (cache, _) = scratch.open("a");
    cache.compile(EMPTY, Bounds::DECIDED).unwrap();
    assert_eq!(scratch.compiled_again("b"), 1);
    fs::copy(scratch.code_file("a"), scratch.code_file("b")).unwrap();
    assert_eq!(scratch.compiled_again("b"), 1, "it has another key");

    // With its key, as when the whole data directory is copied.
    fs::create_dir(scratch.0.join("copy")).unwrap();
    fs::set_permissions(scratch.0.join("copy"), fs::Permissions::from_mode(0o700)).unwrap();
    for file in [scratch.code_file("a"), scratch.0.join("a/key")] {
        fs::copy(&file, scratch.0.join("copy").join(file.file_name().unwrap())).unwrap();
    }
    assert_eq!(scratch.compiled_again("copy"), 1, "the key's file is another one");
    assert_eq!(scratch.compiled_again("a"), 0, "the original is as it was");

    fs::copy(scratch.code_file("a"), scratch.0.join("a").join(cache.name(OTHER))).unwrap();
    let (cache, compiler) = scratch.open("a");
    cache.compile(OTHER, Bounds::DECIDED).unwrap();
    assert_eq!(compiler.count(), 1, "it is the code of another module");
}

#[test]
fn code_for_another_engine_is_not_looked_at() {
    let scratch = Scratch::new("engine");
    let (cache, compiler) = scratch.open("a");
    cache.compile(EMPTY, Bounds::DECIDED).unwrap();
    let other = CodeCache { host: HostPrint([7; 32]), ..cache };
    other.compile(EMPTY, Bounds::DECIDED).unwrap();
    assert_eq!(compiler.count(), 2);

    let mut config = wasmtime::Config::new();
    config.epoch_interruption(false);
    let other = wasmtime::Engine::new(&config).unwrap();
    assert_ne!(HostPrint::of(&other), HostPrint::of(&engine().unwrap()));
    assert_eq!(HostPrint::of(&engine().unwrap()), HostPrint::of(&engine().unwrap()));
}

#[test]
fn what_others_could_write_is_not_used() {
    let scratch = Scratch::new("open");
    assert_eq!(scratch.compiled_again("a"), 1);
    fs::set_permissions(scratch.code_file("a"), fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(scratch.compiled_again("a"), 1, "an open file");
    fs::set_permissions(scratch.0.join("a/key"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(scratch.compiled_again("a"), 1, "an open key is replaced");
    assert_eq!(scratch.compiled_again("a"), 0);

    fs::set_permissions(scratch.0.join("a"), fs::Permissions::from_mode(0o755)).unwrap();
    let (cache, _) = scratch.open("a");
    assert!(matches!(cache.kept, Kept::Memory(_)), "an open directory");
    fs::set_permissions(scratch.0.join("a"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink(scratch.0.join("a"), scratch.0.join("link")).unwrap();
    let (cache, _) = scratch.open("link");
    assert!(matches!(cache.kept, Kept::Memory(_)), "a link");
}

#[test]
fn the_least_recently_used_goes_first_and_what_is_unfinished_at_the_next_start() {
    let scratch = Scratch::new("prune");
    let path = scratch.0.join("a");
    let files = SealedDirectory::open(&path).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH;
    for (age, name) in ["x", "y", "z"].into_iter().enumerate() {
        files.write(name, name.as_bytes()).unwrap();
        let file = fs::File::options().write(true).open(path.join(name)).unwrap();
        file.set_modified(old + std::time::Duration::from_secs(age as u64)).unwrap();
    }
    assert_eq!(files.read("x", 1).unwrap(), b"x", "it is used, so y is the oldest now");
    files.prune(2, 1000).unwrap();
    assert!(matches!(files.read("y", 1), Err(Unsealed::Missing)));
    files.prune(2, 33).unwrap();
    assert!(matches!(files.read("z", 1), Err(Unsealed::Missing)));
    assert_eq!(files.read("x", 1).unwrap(), b"x");
    assert!(matches!(files.read("x", 0), Err(Unsealed::Length { bytes: 33, limit: 32 })));

    fs::write(path.join("w.part"), b"half").unwrap();
    drop(files);
    SealedDirectory::open(&path).unwrap();
    assert!(!path.join("w.part").exists());
}
