//! The process that compiles: a second one of the same program, which can be ended without harm.
//!
//! It reads a length and the module from standard input, and writes for which hosts its code is and the code to standard
//! output; that it ends with exit code 0 says that the code is whole. It also ends as soon as its standard input does,
//! however its parent went, so none is left behind.
//!
//! How much of a processor and of memory it takes is watched from outside: the watch knows which of the bounds was reached,
//! and what the process does can't get in its way. Memory grows by little between two looks, since each new page is
//! cleared first. Should the host run out of memory before, the kernel ends this process before any other.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitCode, ExitStatus, Stdio, exit};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::OptLevel;

use super::native::HostPrint;
use super::{Bounds, CompileError, Compiler, NativeCode};
use crate::engine::engine;
use crate::limits::{COMPILE_REASON_BYTES_MAX, COMPILE_WAIT};

/// Time between two looks at the process.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Length of the ticks that Linux tells the time of processes in, the same on every machine.
const MILLIS_PER_TICK: u64 = 10;
/// Exit code of a compiler that does not take the module; its reason is on standard error.
const REFUSED: u8 = 3;
/// Exit code of one that can't do its work.
const FAILED: u8 = 1;
/// Bytes of a [`HostPrint`].
const HOST_BYTES: u64 = 32;

/// This program, also where its file was replaced by a newer one meanwhile.
const PROGRAM: &str = "/proc/self/exe";

/// Compiles each module in a process of its own.
#[derive(Clone, Debug)]
pub struct ChildCompiler {
    arguments: Vec<OsString>,
}

impl ChildCompiler {
    /// Starts this program with `arguments` for each module. They have to lead it to [`serve_compiling`].
    pub fn new(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> ChildCompiler {
        ChildCompiler { arguments: arguments.into_iter().map(Into::into).collect() }
    }

    fn start(&self) -> io::Result<Running> {
        let mut command = Command::new(PROGRAM);
        // So that it is listed under its name.
        command.arg0(env::args_os().next().unwrap_or_else(|| PROGRAM.into()));
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A terminal's ^C is for the parent, which then decides what becomes of this.
        command.process_group(0);
        command.spawn().map(Running)
    }
}

impl Compiler for ChildCompiler {
    fn compile(&self, rewritten: &[u8], bounds: Bounds) -> Result<NativeCode, CompileError> {
        let started = Instant::now();
        let host = HostPrint::of(&engine().map_err(|error| failed(error.to_string()))?);
        let mut child = self.start().map_err(|error| failed(format!("the compiler can't be started: {error}")))?;
        let deadline = started + bounds.time * COMPILE_WAIT;
        let (watched, ended) = thread::scope(|scope| {
            let pipes = child.pipes();
            let (tell, told) = mpsc::channel();
            scope.spawn(move || tell.send(exchange(pipes, rewritten, HOST_BYTES + bounds.code_bytes)));
            let watched = child.watch(deadline, bounds, &told);
            // Once it has ended the pipes are closed, and so the exchange ends too.
            let ended = child.end(if watched.is_ok() { deadline } else { started });
            (watched, ended)
        });
        let (said, Taken { time, memory_bytes }) = watched?;
        let said = said.map_err(|error| failed(format!("the compiler can't be talked with: {error}")))?;
        let code = said.into_native(ended.map_err(|error| failed(error.to_string()))?, host, bounds)?;
        tracing::debug!(
            "compiled a module of {} bytes to {} bytes in {:.3} s, with {:.2} s of a processor and {} MiB of memory",
            rewritten.len(),
            code.as_bytes().len(),
            started.elapsed().as_secs_f64(),
            time.as_secs_f64(),
            memory_bytes >> 20
        );
        Ok(code)
    }
}

fn failed(why: String) -> CompileError {
    CompileError::Failed(why)
}

/// What a process has taken of the host.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    /// Time of a processor.
    time: Duration,
    /// The most memory that it had at a time.
    memory_bytes: u64,
}

/// The process. Dropping it ends it.
struct Running(Child);

impl Running {
    fn pipes(&mut self) -> Pipes {
        let Running(child) = self;
        let asked = "it was asked for";
        let input = child.stdin.take().expect(asked);
        Pipes { input, output: child.stdout.take().expect(asked), reasons: child.stderr.take().expect(asked) }
    }

    /// Looks at it until it has said all, or reaches one of the bounds. Gives what it said, and what it was last seen to
    /// have taken.
    fn watch(&self, deadline: Instant, bounds: Bounds, told: &Receiver<Exchanged>) -> Result<Watched, CompileError> {
        let mut taken = Taken::default();
        loop {
            match told.recv_timeout(LOOK_EVERY) {
                Ok(said) => return Ok((said, taken)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the exchange tells how it went"),
            }
            // It tells of nothing once it has ended.
            taken = self.taken().unwrap_or(taken);
            if taken.memory_bytes > bounds.memory_bytes {
                return Err(CompileError::Memory { limit_bytes: bounds.memory_bytes });
            }
            if taken.time > bounds.time {
                return Err(CompileError::Slow { limit: bounds.time });
            }
            if Instant::now() >= deadline {
                let (time, waited) = (taken.time.as_secs_f64(), (bounds.time * COMPILE_WAIT).as_secs_f64());
                return Err(failed(format!("the compiler got {time} s of a processor's time in {waited} s")));
            }
        }
    }

    /// What it has taken until now. Nobody waits for it before `end`, so its id is its own.
    fn taken(&self) -> Option<Taken> {
        let read = |file| fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).ok();
        let (stat, status) = (read("stat")?, read("status")?);
        // proc_pid_stat(5): fields 14 and 15, of which 3 is the first behind the name in parentheses.
        let fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(14 - 3);
        let ticks = fields.take(2).map_while(|field| field.parse::<u64>().ok()).sum::<u64>();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix("kB")?;
        let time = Duration::from_millis(ticks * MILLIS_PER_TICK);
        Some(Taken { time, memory_bytes: kib.trim().parse::<u64>().ok()? << 10 })
    }

    /// Gives it until `deadline` to end by itself.
    fn end(&mut self, deadline: Instant) -> io::Result<ExitStatus> {
        let Running(child) = self;
        while Instant::now() < deadline {
            if let Some(ended) = child.try_wait()? {
                return Ok(ended);
            }
            thread::sleep(Duration::from_millis(1));
        }
        child.kill()?;
        child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, but for a panic or an error on the way.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Pipes {
    input: ChildStdin,
    output: ChildStdout,
    reasons: ChildStderr,
}

/// What the process said.
struct Said {
    /// A [`HostPrint`] and the code for it.
    output: Vec<u8>,
    /// In words, cut at [`COMPILE_REASON_BYTES_MAX`].
    reason: String,
}

type Exchanged = io::Result<Said>;

type Watched = (Exchanged, Taken);

/// Hands the module over, and takes what comes, up to a byte more than `output_bytes`.
fn exchange(pipes: Pipes, module: &[u8], output_bytes: u64) -> Exchanged {
    let Pipes { mut input, output, reasons } = pipes;
    let length = u32::try_from(module.len()).map_err(io::Error::other)?;
    // One that takes no input is about to say why.
    let _ = input.write_all(&length.to_le_bytes()).and_then(|()| input.write_all(module));
    let (mut said, mut reason) = (Vec::new(), Vec::new());
    output.take(output_bytes + 1).read_to_end(&mut said)?;
    reasons.take(COMPILE_REASON_BYTES_MAX).read_to_end(&mut reason)?;
    Ok(Said { output: said, reason: String::from_utf8_lossy(&reason).trim().replace('\n', "; ") })
}

impl Said {
    fn into_native(self, ended: ExitStatus, host: HostPrint, bounds: Bounds) -> Result<NativeCode, CompileError> {
        let Said { mut output, reason } = self;
        if output.len() as u64 > HOST_BYTES + bounds.code_bytes {
            return Err(CompileError::Code { limit_bytes: bounds.code_bytes });
        }
        match ended.code() {
            Some(0) if output.starts_with(&host.0) => {
                output.drain(..host.0.len());
                Ok(NativeCode::from_trusted(output))
            }
            Some(0) => Err(failed("the compiler is that of another program".into())),
            Some(code) if code == i32::from(REFUSED) => Err(CompileError::Refused(reason)),
            _ if reason.is_empty() => Err(failed(format!("the compiler ended with {ended}"))),
            _ => Err(failed(format!("the compiler ended with {ended}: {reason}"))),
        }
    }
}

/// What the process does that [`ChildCompiler`] starts, from its standard input to its exit code.
pub fn serve_compiling() -> ExitCode {
    // Where the host runs out of memory, it is this that may go. Not every host lets it say so.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let module = match read_module() {
        Ok(module) => module,
        Err(error) => return say(FAILED, &format!("it can't read the module: {error}")),
    };
    if let Err(error) = thread::Builder::new().spawn(end_with_input) {
        return say(FAILED, &format!("it can't start a thread: {error}"));
    }
    match engine().map(|engine| (HostPrint::of(&engine), NativeCode::compile(&module, OptLevel::Speed))) {
        Ok((host, Ok(code))) => match write_all(&[&host.0, code.as_bytes()]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => say(FAILED, &format!("it can't hand over the code: {error}")),
        },
        Ok((_, Err(CompileError::Refused(why)))) => say(REFUSED, &why),
        Ok((_, Err(error))) => say(FAILED, &error.to_string()),
        Err(error) => say(FAILED, &error.to_string()),
    }
}

fn write_all(parts: &[&[u8]]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    parts.iter().try_for_each(|part| output.write_all(part))?;
    output.flush()
}

fn say(code: u8, why: &str) -> ExitCode {
    let _ = io::stderr().write_all(why.as_bytes());
    ExitCode::from(code)
}

fn read_module() -> io::Result<Vec<u8>> {
    let mut input = io::stdin().lock();
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    let mut module = Vec::new();
    input.take(length.into()).read_to_end(&mut module)?;
    if module.len() as u64 == u64::from(length) { Ok(module) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Ends the process when the parent closes the pipe, or ends.
fn end_with_input() {
    let mut ignored = [0; 1];
    while io::stdin().read(&mut ignored).is_ok_and(|bytes| bytes > 0) {}
    exit(FAILED.into());
}
