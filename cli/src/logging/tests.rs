//! From an event to the logger's files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::*;
use crate::logger::{self, Sink};

const LINES: u64 = 100_000;
/// Far more than a replica says.
const LINES_PER_SECOND: u64 = 50_000;
/// Lines that are said at once.
const BURST: u64 = 1_000;
/// Small enough that the lines fill many files.
const ROTATE_BYTES: &str = "1000000";
/// How long the last lines may take to be in a file.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: logger::Arguments,
}

/// The file and those that it was renamed to, the oldest first.
fn files(path: &Path) -> Vec<PathBuf> {
    let numbered = |number: u32| PathBuf::from(format!("{}.{number}", path.display()));
    let count = (1..).take_while(|number| numbered(*number).exists()).count();
    let older = (1..=u32::try_from(count).expect("few")).rev().map(numbered);
    older.chain([path.to_owned()]).collect()
}

fn lines(path: &Path) -> Vec<String> {
    let read = |file: PathBuf| fs::read_to_string(file).unwrap_or_default();
    files(path).into_iter().flat_map(|file| read(file).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Says so many events, numbered, at a steady rate.
fn say() {
    let began = Instant::now();
    for number in 0..LINES {
        if number.is_multiple_of(BURST) {
            let due = Duration::from_millis(number * 1_000 / LINES_PER_SECOND);
            thread::sleep(due.saturating_sub(began.elapsed()));
        }
        tracing::info!(number, "what a replica says is about as long as this");
    }
}

#[test]
fn a_hundred_thousand_events_are_lines_in_the_files_of_a_logger_that_rotates() {
    let directory = std::env::temp_dir().join(format!("concoord-shipped-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("log");
    let file = path.to_str().expect("UTF-8");
    let arguments = ["logger", "-o", file, "--rotate-bytes", ROTATE_BYTES, "--keep", "1000"];
    let sink = Sink::open(&Line::try_parse_from(arguments).expect("it parses").arguments).expect("it can be written");
    let (bound, address) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let logger = thread::spawn(move || {
        crate::connect::runtime().expect("a runtime").block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            bound.send(listener.local_addr().expect("its address")).expect("the test waits for it");
            tokio::select! {
                ended = logger::take_all(&listener, sink) => panic!("it ended: {ended:?}"),
                _ = stopped => {}
            }
        });
    });
    let address = address.recv().expect("it is bound");

    let began = Instant::now();
    let shipping = ship::start(address.to_string(), "127.0.0.1:14000".parse().expect("an address")).expect("a thread");
    tracing::subscriber::with_default(tracing_subscriber::registry().with(shipped(&shipping)), say);
    let said = began.elapsed();
    drop(shipping);
    let deadline = Instant::now() + PATIENCE;
    while (lines(&path).len() as u64) < LINES && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    println!("{LINES} lines said within {said:.2?} and in {} files after {:.2?}", files(&path).len(), began.elapsed());
    drop(stop);
    logger.join().expect("it takes lines until it is stopped");

    let numbers: Vec<_> = lines(&path)
        .iter()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(line["replica"], "127.0.0.1:14000");
            line["number"].as_u64().unwrap_or_else(|| panic!("no number in {line}"))
        })
        .collect();
    assert!(numbers.iter().copied().eq(0..LINES), "{} of {LINES} lines, or not in order", numbers.len());
    assert!(files(&path).len() > 10, "it was rotated");
    fs::remove_dir_all(&directory).expect("removed");
}
