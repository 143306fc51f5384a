//! The committed objects are what their source builds, and a built one runs.

use std::path::{Path, PathBuf};

use concoord_consensus::objects::Objects;
use concoord_executor::Executor;
use concoord_tests::cluster::{Cluster, Scratch, concoord};
use concoord_wire::abi::{Invocation, ObjectLimits, Outcome, Reply, Trigger};
use concoord_wire::{ObjectId, Position, Timestamp};

fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../objects-wasm").join(name)
}

fn read(file: &Path) -> Vec<u8> {
    std::fs::read(file).unwrap_or_else(|error| panic!("can't read {}: {error}", file.display()))
}

/// The module and the toolchain that made it, from `concoord object build`.
fn build(scratch: &Scratch) -> (PathBuf, PathBuf) {
    let (module, toolchain) = (scratch.path().join("built.wasm"), scratch.path().join("TOOLCHAIN"));
    let [source, output, record] = [&committed("counter"), &module, &toolchain].map(|path| path.display().to_string());
    let built = concoord(&["object", "build", &source, "-o", &output, "--toolchain", &record]);
    // Without a toolchain this says what to install, and so does tests/run, which installs it.
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    (module, toolchain)
}

/// What a replica would answer to calls that reach every method, the wrong ones included.
fn replies(module: &[u8]) -> Vec<Reply> {
    let mut executor = Executor::new().expect("this host runs Wasm");
    let object = ObjectId(1);
    executor.load(object, module, ObjectLimits::default()).expect("it passes the checks");
    let calls: [(&str, &[u8]); 9] = [
        ("getvalue", &[]),
        ("increment", &[]),
        ("increment", &[]),
        ("increment", &[1]),
        ("decrement", &[]),
        ("multiply", &[]),
        ("decrement", &[]),
        ("decrement", &[]),
        ("getvalue", &[]),
    ];
    let triggers = calls.map(|(method, arguments)| (Trigger::Call { method }, arguments));
    let inputs = [(Trigger::Init, &[][..])].into_iter().chain(triggers).zip(1..);
    let run = inputs.map(|((trigger, arguments), position)| {
        let (position, now) = (Position(position), Timestamp(1_000_000 + position));
        let invocation = Invocation { position, now, seed: 42, call: None, caller: None, trigger };
        let outcome = executor.invoke(object, &invocation, arguments, &|_: &Outcome| Ok(()));
        outcome.expect("no call of these traps").reply
    });
    run.collect()
}

#[test]
fn the_committed_counter_is_what_its_source_builds() {
    let scratch = Scratch::new("built");
    let (module, toolchain) = build(&scratch);
    let (built, kept) = (read(&module), read(&committed("dist/counter.wasm")));
    let of = |file: &Path| String::from_utf8(read(file)).expect("it is text").trim_end().to_owned();
    if of(&toolchain) == of(&committed("dist/TOOLCHAIN")) {
        assert!(built == kept, "dist/counter.wasm is not what its source builds: rebuild and commit it");
        println!("the toolchain of dist/TOOLCHAIN, the same {} bytes", built.len());
    } else {
        println!("another toolchain than that of dist/TOOLCHAIN, so only replies are compared");
    }
    let expected = replies(&kept);
    assert_eq!(replies(&built), expected);
    println!("{} replies alike", expected.len());

    let mut cluster = Cluster::new("built-runs");
    let replica = cluster.start(&["--object", &module.display().to_string()]).to_string();
    for (method, printed) in [("increment", "1\n"), ("built.increment", "2\n"), ("getvalue", "2\n")] {
        let called = concoord(&["call", "-c", &replica, method]);
        assert_eq!((called.stdout.as_str(), called.stderr.as_str()), (printed, ""), "{method}");
    }
}
