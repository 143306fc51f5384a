//! The process that compiles: what it takes is bounded, and none is left behind.
//!
//! The test is a program of its own, without the usual harness, since what compiles is the same program again: called with
//! `compile-module` it compiles, and with `compile-bomb` it stands for a replica that dies while it has a bomb compiled.
//! With `--measure` it shows what each bomb takes.

use std::fs;
use std::process::{Command, ExitCode, Stdio, id};
use std::time::{Duration, Instant};

use concoord_consensus::objects::Objects;
use concoord_executor::{
    Bounds, ChildCompiler, CompileError, Compiler, Executor, InProcess, describe, serve_compiling,
};
use concoord_module::{check, rewrite};
use concoord_tests::bombs::{self, BOMBS};
use concoord_tests::cluster::wait_for;
use concoord_wire::ObjectId;
use concoord_wire::abi::ObjectLimits;

const COUNTER: &[u8] = include_bytes!("../../objects-wasm/dist/counter.wasm");
/// So wide that no test reaches it but by the bound that it narrows.
const WIDE: Bounds = Bounds { time: Duration::from_secs(600), memory_bytes: 8 << 30, code_bytes: 1 << 30 };

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("compile-module") => return serve_compiling(),
        Some("compile-bomb") => compile_bomb(),
        Some("say-hello") => println!("hello"),
        Some("--measure") => measure(),
        _ => test(),
    }
    ExitCode::SUCCESS
}

fn test() {
    let tests: [(&str, fn()); 5] = [
        ("code from the process runs", code_from_the_process_runs),
        ("each bound ends it with a reason of its own", each_bound_ends_it_with_a_reason_of_its_own),
        ("what the compiler does not take is refused", what_the_compiler_does_not_take_is_refused),
        ("a program that answers something else is not believed", another_program_is_not_believed),
        ("it ends when its parent does", it_ends_when_its_parent_does),
    ];
    for (name, test) in tests {
        test();
        println!("test {name} ... ok");
    }
    // As the usual harness says it, for whoever counts; a test that fails ends all.
    println!("test result: ok. {} passed; 0 failed", tests.len());
}

fn compiler() -> ChildCompiler {
    ChildCompiler::new(["compile-module"])
}

fn rewritten(module: &[u8]) -> Vec<u8> {
    rewrite(module, &check(module).expect("the check lets it through"))
}

fn code_from_the_process_runs() {
    let executor = Executor::new().expect("a host that runs Wasm");
    let mut executor = executor.with_compiler(std::sync::Arc::new(compiler()));
    executor.load(ObjectId(1), COUNTER, ObjectLimits::default()).expect("the counter loads");
    assert_eq!(describe(COUNTER, &compiler()), describe(COUNTER, &InProcess));
}

fn each_bound_ends_it_with_a_reason_of_its_own() {
    let (slow, large) = (rewritten(&bombs::find("stores").module()), rewritten(&bombs::find("loops").module()));
    let time = Duration::from_millis(300);
    assert_eq!(compiler().compile(&slow, Bounds { time, ..WIDE }), Err(CompileError::Slow { limit: time }));
    let memory_bytes = 300 << 20;
    assert_eq!(
        compiler().compile(&large, Bounds { memory_bytes, ..WIDE }),
        Err(CompileError::Memory { limit_bytes: memory_bytes })
    );
    let code = compiler().compile(&rewritten(COUNTER), WIDE).expect("it compiles");
    let code_bytes = code.as_bytes().len() as u64;
    assert_eq!(compiler().compile(&rewritten(COUNTER), Bounds { code_bytes, ..WIDE }), Ok(code));
    let code_bytes = code_bytes - 1;
    assert_eq!(
        compiler().compile(&rewritten(COUNTER), Bounds { code_bytes, ..WIDE }),
        Err(CompileError::Code { limit_bytes: code_bytes })
    );
    assert_eq!(children_of(id()), Vec::<u32>::new(), "all have ended");
}

fn what_the_compiler_does_not_take_is_refused() {
    let refused = compiler().compile(b"\0asm, or not", WIDE);
    assert!(matches!(&refused, Err(CompileError::Refused(why)) if !why.is_empty()), "{refused:?}");
}

fn another_program_is_not_believed() {
    let compiler = ChildCompiler::new(["say-hello"]);
    let failed = compiler.compile(&rewritten(COUNTER), WIDE);
    assert!(matches!(&failed, Err(CompileError::Failed(why)) if why.contains("another program")), "{failed:?}");
}

fn it_ends_when_its_parent_does() {
    let this = std::env::current_exe().expect("a test knows its own file");
    let mut parent = Command::new(this).arg("compile-bomb").stdin(Stdio::null()).spawn().expect("it starts");
    let child = wait_for("a process that compiles", || {
        children_of(parent.id()).first().copied().ok_or_else(|| "none yet".to_owned())
    });
    // Not while it reads: it is to be ended while it compiles.
    wait_for("it to compile", || match memory_mib(child) {
        Some(mib) if mib > 100 => Ok(()),
        seen => Err(format!("{seen:?} MiB")),
    });
    parent.kill().expect("it can be killed");
    parent.wait().expect("it was a child");
    // One that nobody waits for any more has no memory.
    wait_for("the process that compiles to end", || match memory_mib(child) {
        None => Ok(()),
        Some(mib) => Err(format!("it runs, with {mib} MiB")),
    });
}

fn compile_bomb() {
    let bounds = Bounds { memory_bytes: 2 << 30, ..WIDE };
    let outcome = compiler().compile(&rewritten(&bombs::find("loops").module()), bounds);
    panic!("its parent should have been killed before: {outcome:?}");
}

fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("this system has it").filter_map(|entry| {
        let process = entry.ok()?.file_name().to_str()?.parse::<u32>().ok()?;
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let of = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse::<u32>().ok()?;
        (of == parent).then_some(process)
    });
    processes.collect()
}

/// `None` when it has ended.
fn memory_mib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib >> 10)
}

/// What each bomb takes. What a process took is read when it has ended, of all that have ended.
fn measure() {
    println!("{:46} {:>9} {:>10} {:>10}  took", "", "bytes", "rewritten", "code");
    for bomb in BOMBS {
        let module = bomb.module();
        let checked = match check(&module) {
            Ok(checked) => checked,
            Err(refusal) => {
                println!("{:46} {:>9}  {refusal}", bomb.name, module.len());
                continue;
            }
        };
        let rewriting = Instant::now();
        let rewritten = rewrite(&module, &checked);
        let (rewriting, before) = (rewriting.elapsed(), waited_for());
        let compiling = Instant::now();
        let outcome = compiler().compile(&rewritten, Bounds { memory_bytes: 4 << 30, ..WIDE });
        let code = outcome.as_ref().map_or_else(ToString::to_string, |code| code.as_bytes().len().to_string());
        println!(
            "{:46} {:>9} {:>10} {:>10}  rewriting {:.2} s, compiling {:.2} s of a processor, {:.2} s in all",
            bomb.name,
            module.len(),
            rewritten.len(),
            code,
            rewriting.as_secs_f64(),
            (waited_for() - before).as_secs_f64(),
            compiling.elapsed().as_secs_f64(),
        );
    }
}

/// Time of a processor that the processes took which this one started and which have ended.
fn waited_for() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("this system has it");
    let fields = stat.rsplit_once(')').expect("a name in parentheses").1.split_ascii_whitespace().skip(16 - 3);
    Duration::from_millis(10 * fields.take(2).map(|field| field.parse::<u64>().expect("a number")).sum::<u64>())
}
