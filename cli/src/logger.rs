//! `concoord logger`: takes the lines of replicas, and prints them or writes them to files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use crate::{connect, print, replica};

/// Where a logger listens if nothing else is said.
pub(crate) const PORT_DEFAULT: u16 = 12000;
/// Replicas that send at a time.
const CONNECTIONS_MAX: usize = 1024;
/// Bytes of one line; a longer one is cut into several.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Bytes that are read at a time.
const READ_BYTES: usize = 64 << 10;
/// How long a replica that sends nothing is kept: its machine may be gone without a word.
const IDLE_MAX: Duration = Duration::from_secs(3600);

/// Take the lines that replicas send with -l, and print them
///
/// Each line is one JSON object that says which replica it comes from. It runs until it is interrupted. What it listens to
/// is plain TCP with lines of text: `nc -lk 12000` prints the same, and a socket source of Vector takes it.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Address to listen on
    #[arg(short, long, default_value = "127.0.0.1")]
    addr: String,

    /// Port on that address
    #[arg(short, long, default_value_t = PORT_DEFAULT)]
    port: u16,

    /// Write to this file, at its end, and not to standard output [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Size in bytes at which the file is renamed to FILE.1, FILE.1 to FILE.2 and so on, and a new one begun
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20, requires = "output")]
    rotate_bytes: u64,

    /// How many of the renamed files are kept
    #[arg(long, value_name = "NUMBER", default_value_t = 9, requires = "output")]
    keep: u32,

    /// Listen on an address that is not loopback, although nobody who sends is authenticated [default: off]
    #[arg(long)]
    insecure: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let listen = SocketAddr::new(replica::ip_address(&arguments.addr)?, arguments.port);
    if !listen.ip().is_loopback() && !arguments.insecure {
        bail!("{} is not loopback, and whoever reaches it may write: give --insecure if that is meant", listen.ip());
    }
    let sink = Sink::open(arguments)?;
    connect::runtime()?.block_on(async {
        let listener = TcpListener::bind(listen).await.with_context(|| format!("can't listen on {listen}"))?;
        print::note(&format!("listening on {}", listener.local_addr()?));
        tokio::select! {
            ended = take_all(&listener, sink) => ended,
            interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        }
    })
}

/// Takes the lines of all that connect, for ever.
///
/// # Errors
/// When they can't be written.
pub(crate) async fn take_all(listener: &TcpListener, sink: Sink) -> anyhow::Result<()> {
    let sink = Arc::new(Mutex::new(sink));
    let (failed, mut failures) = mpsc::unbounded_channel();
    tokio::select! {
        () = accept(listener, &sink, &failed) => Ok(()),
        Some(error) = failures.recv() => Err(error),
    }
}

async fn accept(listener: &TcpListener, sink: &Arc<Mutex<Sink>>, failed: &mpsc::UnboundedSender<anyhow::Error>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // It never closes.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                print::note(&format!("a connection could not be accepted: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (sink, failed) = (Arc::clone(sink), failed.clone());
        tokio::spawn(async move {
            if let Err(error) = take_lines(stream, &sink).await {
                // Nobody listens only when another one has failed before.
                let _ = failed.send(error);
            }
            drop(place);
        });
    }
}

/// Takes lines until the connection ends.
///
/// # Errors
/// When they can't be written.
async fn take_lines(stream: TcpStream, sink: &Mutex<Sink>) -> anyhow::Result<()> {
    let mut stream = BufReader::with_capacity(READ_BYTES, stream);
    let mut pending = Vec::new();
    loop {
        let read = tokio::time::timeout(IDLE_MAX, stream.read_buf(&mut pending)).await;
        let more = matches!(read, Ok(Ok(bytes)) if bytes > 0);
        let whole = pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let whole = if whole == 0 && (pending.len() >= LINE_BYTES_MAX || !more) { pending.len() } else { whole };
        if whole > 0 {
            let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            sink.write(&pending[..whole])?;
            if pending[whole - 1] != b'\n' {
                sink.write(b"\n")?;
            }
            pending.drain(..whole);
        }
        if !more {
            return Ok(());
        }
    }
}

/// Where lines go.
#[derive(Debug)]
pub(crate) enum Sink {
    Stdout,
    File { file: File, path: PathBuf, bytes: u64, rotate_bytes: u64, keep: u32 },
}

impl Sink {
    /// What the arguments name; a file that is there is gone on with.
    ///
    /// # Errors
    /// When the file can't be written to.
    pub(crate) fn open(arguments: &Arguments) -> anyhow::Result<Sink> {
        let Some(path) = arguments.output.clone() else { return Ok(Sink::Stdout) };
        let file = append(&path).with_context(|| format!("can't write to {}", path.display()))?;
        let bytes = file.metadata()?.len();
        Ok(Sink::File { file, path, bytes, rotate_bytes: arguments.rotate_bytes, keep: arguments.keep })
    }

    fn write(&mut self, lines: &[u8]) -> anyhow::Result<()> {
        match self {
            Sink::Stdout => print::bytes(lines),
            Sink::File { file, path, bytes, rotate_bytes, keep } => {
                let failed = || format!("can't write to {}", path.display());
                if *bytes > 0 && *bytes + lines.len() as u64 > *rotate_bytes {
                    *file = rotate(path, *keep).with_context(failed)?;
                    *bytes = 0;
                }
                file.write_all(lines).with_context(failed)?;
                *bytes += lines.len() as u64;
                Ok(())
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Renames the files of `path` by one number each, the last one away, and begins a new one.
fn rotate(path: &Path, keep: u32) -> io::Result<File> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    if keep == 0 {
        fs::remove_file(path)?;
        return append(path);
    }
    for number in (1..keep).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, numbered(1))?;
    append(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_rotated_by_size_and_the_oldest_go() {
        let directory = std::env::temp_dir().join(format!("concoord-logger-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let path = directory.join("log");
        let arguments = Arguments {
            addr: "127.0.0.1".into(),
            port: 0,
            output: Some(path.clone()),
            rotate_bytes: 10,
            keep: 2,
            insecure: false,
        };
        let mut sink = Sink::open(&arguments).expect("it can be written");
        for line in ["one\n", "two\n", "three\n", "four\n", "a line that is longer\n", "six\n"] {
            sink.write(line.as_bytes()).expect("written");
        }
        let read = |name: &str| fs::read_to_string(directory.join(name)).expect("a file");
        assert_eq!(read("log"), "six\n");
        assert_eq!(read("log.1"), "a line that is longer\n");
        assert_eq!(read("log.2"), "four\n");
        assert!(!directory.join("log.3").exists());
        let mut again = Sink::open(&arguments).expect("it can be written");
        again.write(b"7\n").expect("written");
        assert_eq!(read("log"), "six\n7\n", "a file that is there is gone on with");
        fs::remove_dir_all(&directory).expect("removed");
    }
}
