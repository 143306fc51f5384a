//! `concoord object build`: compiles a crate to an object's Wasm module.
//!
//! A standard library for `wasm32-unknown-unknown` comes with rustup's target, or is built from source by a compiler
//! that has it. The module's bytes depend on the source and the [`Toolchain`] only, not on where either is kept.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use concoord_module::{Reason, Refusal};
use serde_json::Value;

const TARGET: &str = "wasm32-unknown-unknown";
/// Stripped from a crate's name to name its module.
const CRATE_NAME_PREFIX: &str = "concoord_object_";
/// The linker's default is a megabyte, which every snapshot of every object would carry.
const STACK_BYTES: usize = 64 << 10;
/// Overflow checks make native tests and Wasm answer alike. `*` reaches the dependencies, which a workspace may have
/// given other settings.
const PROFILE: [&str; 12] = [
    r#"profile.object.inherits="release""#,
    r#"profile.object.opt-level=2"#,
    r#"profile.object.lto=true"#,
    r#"profile.object.codegen-units=1"#,
    r#"profile.object.panic="abort""#,
    r#"profile.object.overflow-checks=true"#,
    r#"profile.object.debug=false"#,
    r#"profile.object.strip=true"#,
    r#"profile.object.package."*".opt-level=2"#,
    r#"profile.object.package."*".codegen-units=1"#,
    r#"profile.object.package."*".overflow-checks=true"#,
    r#"profile.object.package."*".debug=false"#,
];
/// Those that name their release come first: the other one is of whatever release was made the machine's default, and its
/// bytes change when that does.
const LINKERS: [&str; 8] =
    ["wasm-ld-23", "wasm-ld-22", "wasm-ld-21", "wasm-ld-20", "wasm-ld-19", "wasm-ld-18", "wasm-ld-17", "wasm-ld"];
const MISSING: &str = "no Rust compiler here can build for wasm32-unknown-unknown: run `rustup target add \
                       wasm32-unknown-unknown`, or on Debian `apt-get install rustc-web rust-web-src \
                       libstd-rust-web-dev lld-19`";

/// A module that was built.
#[derive(Debug)]
pub(crate) struct Built {
    /// The crate's name without `concoord-object-`, such as `counter`.
    pub(crate) name: String,
    /// The module.
    pub(crate) file: PathBuf,
    /// Its length.
    pub(crate) bytes: usize,
    /// What built it.
    pub(crate) toolchain: Toolchain,
}

/// Builds the crate in `crate_dir` and writes its module to `out`, by default `object/<name>.wasm` in the target
/// directory of the crate's workspace. Cargo reports its progress on stderr.
///
/// # Errors
/// When there is no crate, no compiler for it (the message says what to install), the crate does not build, or no replica
/// would run what it builds to.
pub(crate) fn build(crate_dir: &Path, out: Option<&Path>) -> Result<Built> {
    let source = Source::read(crate_dir)?;
    let toolchain = Toolchain::find(&source.directory)?;
    let artifact = toolchain.compile(&source)?;
    let file = out.map_or_else(|| source.target.join(&source.name).with_extension("wasm"), Path::to_owned);
    let module = std::fs::read(&artifact).with_context(|| format!("can't read {}", artifact.display()))?;
    check(&module).with_context(|| format!("{} builds, but not to an object", crate_dir.display()))?;
    std::fs::write(&file, &module).with_context(|| format!("can't write {}", file.display()))?;
    Ok(Built { name: source.name, file, bytes: module.len(), toolchain })
}

/// What a replica would refuse is said before it takes the place of a module that runs.
fn check(module: &[u8]) -> Result<()> {
    match concoord_module::check(module) {
        Err(Refusal { reason: Reason::MissingExport { .. }, .. }) => {
            bail!("its library needs a struct with #[concoord::object] and an impl of it with #[concoord::methods]")
        }
        checked => Ok(checked.map(|_| ())?),
    }
}

/// The crate to build.
struct Source {
    directory: PathBuf,
    manifest: PathBuf,
    workspace: PathBuf,
    /// A target directory of its own, so that it does not wait for other builds or undo theirs.
    target: PathBuf,
    library: String,
    name: String,
}

impl Source {
    fn read(crate_dir: &Path) -> Result<Source> {
        let manifest = crate_dir.join("Cargo.toml");
        ensure!(
            manifest.is_file(),
            "{} holds no crate: it has no Cargo.toml; `concoord object new NAME` makes one",
            crate_dir.display()
        );
        let directory = crate_dir.canonicalize()?;
        let manifest = directory.join("Cargo.toml");
        let mut cargo = Command::new(cargo());
        cargo.args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"]).arg(&manifest);
        let metadata: Value = serde_json::from_str(&output(cargo.current_dir(&directory))?)?;
        let path = |key: &str| metadata[key].as_str().map(PathBuf::from).context("cargo metadata without paths");
        let package = metadata["packages"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|package| package["manifest_path"].as_str().map(Path::new) == Some(&manifest))
            .with_context(|| format!("{} is a workspace: name the crate in it to build", crate_dir.display()))?;
        let library = package["targets"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|target| {
                !["bin", "test", "example", "bench", "custom-build"].iter().any(|kind| target["kind"][0] == **kind)
            })
            .and_then(|target| target["name"].as_str())
            .with_context(|| format!("{} has no library: an object is a src/lib.rs", crate_dir.display()))?
            .replace('-', "_");
        let name = library.strip_prefix(CRATE_NAME_PREFIX).unwrap_or(&library).to_owned();
        Ok(Source {
            workspace: path("workspace_root")?,
            target: path("target_directory")?.join("object"),
            directory,
            manifest,
            library,
            name,
        })
    }
}

/// A compiler, a standard library and a linker for modules. Prints as `dist/TOOLCHAIN` records it: where two print
/// alike, the same source gives the same bytes.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    rustc: PathBuf,
    /// `rustc -vV`.
    version: String,
    /// `cargo -V`: it names the crates to the compiler.
    cargo_version: String,
    sysroot: PathBuf,
    library: Library,
    /// Path and version; `None` for the one that comes with the compiler.
    linker: Option<(PathBuf, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Library {
    /// Comes compiled.
    Installed,
    /// Is built from the compiler's source.
    Source,
}

impl Toolchain {
    /// The best there is for a crate in `directory`, whose rustup override counts.
    ///
    /// # Errors
    /// When there is none; the message says what to install.
    pub(crate) fn find(directory: &Path) -> Result<Toolchain> {
        let compilers = [std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()), "/usr/bin/rustc".into()];
        let library = |library| compilers.iter().find_map(|rustc| Toolchain::with(rustc, library, directory));
        library(Library::Installed).or_else(|| library(Library::Source)).context(MISSING)
    }

    /// What `rustc` makes with this kind of library, if it has it.
    fn with(rustc: &OsString, library: Library, directory: &Path) -> Option<Toolchain> {
        let asked = |arguments: &[&str]| output(Command::new(rustc).args(arguments).current_dir(directory)).ok();
        let version = asked(&["-vV"])?;
        let sysroot = PathBuf::from(asked(&["--print", "sysroot"])?.trim_end());
        let rustlib = sysroot.join("lib/rustlib");
        let present = match library {
            Library::Installed => rustlib.join(TARGET).join("lib").is_dir(),
            Library::Source => rustlib.join("src/rust/library/std/Cargo.toml").is_file(),
        };
        let host = version.lines().find_map(|line| line.strip_prefix("host: "))?;
        let linker = if rustlib.join(host).join("bin/rust-lld").is_file() { None } else { Some(find_linker()?) };
        let cargo_version = output(Command::new(cargo()).arg("-V").current_dir(directory)).ok()?;
        present.then(|| Toolchain { rustc: rustc.into(), version, cargo_version, sysroot, library, linker })
    }

    /// Runs cargo; gives the path of the module.
    fn compile(&self, source: &Source) -> Result<PathBuf> {
        let mut cargo = Command::new(cargo());
        cargo
            .args(["rustc", "--lib", "--crate-type=cdylib", "--profile=object", "--target", TARGET])
            .args(["--message-format=json-render-diagnostics", "--manifest-path"])
            .arg(&source.manifest)
            .arg("--target-dir")
            .arg(&source.target)
            .args(PROFILE.iter().flat_map(|setting| ["--config", setting]))
            .env("RUSTC", &self.rustc)
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags(source).join("\x1f"))
            .current_dir(&source.directory)
            .stderr(Stdio::inherit());
        if self.library == Library::Source {
            cargo.arg("-Zbuild-std=std,panic_abort").env("RUSTC_BOOTSTRAP", "1");
        }
        if let Some((linker, _)) = &self.linker {
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        let ran = run(&mut cargo)?;
        ensure!(ran.status.success(), "{} does not build; cargo says above why", source.directory.display());
        let artifact = String::from_utf8_lossy(&ran.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|message| {
                message["target"]["name"].as_str().is_some_and(|name| name.replace('-', "_") == source.library)
            })
            .filter_map(|message| message["filenames"][0].as_str().map(PathBuf::from))
            .rfind(|file| file.extension().is_some_and(|extension| extension == "wasm"));
        artifact.context("cargo reports no module")
    }

    /// Where two prefixes match, rustc takes the later one.
    fn flags(&self, source: &Source) -> Vec<String> {
        let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let cargo_home = cargo_home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
        let rust_source = self.sysroot.join("lib/rustlib/src/rust");
        // The folders of unpacked crates are named after the registry they came from, which differs between machines.
        let registries = cargo_home.iter().flat_map(|home| std::fs::read_dir(home.join("registry/src"))).flatten();
        let registries = registries.filter_map(|entry| Some((Some(entry.ok()?.path()), "/crates")));
        let remapped = [
            (Some(source.workspace.clone()), "/workspace"),
            (Some(source.target.clone()), "/target"),
            (cargo_home.clone(), "/cargo"),
            (rust_source.canonicalize().ok(), "/rust"),
            (Some(rust_source), "/rust"),
        ];
        // The last that fits is applied.
        let remapped = remapped.into_iter().chain(registries);
        let remapped = remapped.filter_map(|(from, to)| Some(format!("--remap-path-prefix={}={to}", from?.display())));
        link_flags().into_iter().chain(remapped).collect()
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.version.trim_end())?;
        writeln!(f, "cargo: {}", self.cargo_version.trim_end())?;
        let library = match self.library {
            Library::Installed => "as shipped with the compiler",
            Library::Source => "built from the compiler's source",
        };
        writeln!(f, "standard library: {library}")?;
        writeln!(f, "linker: {}", self.linker.as_ref().map_or("rust-lld of the compiler", |(_, version)| version))?;
        writeln!(f, "flags: {}, paths remapped", link_flags().join(" "))?;
        PROFILE.iter().try_for_each(|setting| writeln!(f, "{setting}"))
    }
}

fn link_flags() -> Vec<String> {
    vec![format!("-Clink-arg=-zstack-size={STACK_BYTES}"), "-Clink-arg=--stack-first".into()]
}

fn find_linker() -> Option<(PathBuf, String)> {
    LINKERS.iter().find_map(|name| {
        let version = output(Command::new(name).arg("--version")).ok()?;
        Some((PathBuf::from(name), version.trim_end().to_owned()))
    })
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn run(command: &mut Command) -> Result<Output> {
    command.output().with_context(|| {
        format!("can't run {}, which comes with Rust from https://rustup.rs", command.get_program().display())
    })
}

/// What a command prints.
fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_owned();
    let ran = run(command)?;
    if !ran.status.success() {
        bail!("{} failed: {}", program.display(), String::from_utf8_lossy(&ran.stderr).trim_end());
    }
    Ok(String::from_utf8(ran.stdout)?)
}
