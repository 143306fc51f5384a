//! All that the command prints: lines and tables on standard output, one line per error and progress on standard error.
//!
//! Nothing but plain text goes into a pipe, and a reader that went away ends the command quietly.

use std::fmt::{self, Display, Write as _};
use std::io::{ErrorKind, IsTerminal, Write as _, stderr, stdout};
use std::time::{Duration, Instant};

/// How often a progress line changes.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Who read the output is gone: no failure of the command, and nobody is left to be told.
#[derive(Debug)]
pub(crate) struct ReaderGone;

impl Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the output any more")
    }
}

impl std::error::Error for ReaderGone {}

/// Writes `bytes` to standard output as they are.
///
/// # Errors
/// [`ReaderGone`], or what the system says.
pub(crate) fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        Err(error) => Err(anyhow::Error::new(error).context("can't write to standard output")),
        Ok(()) => Ok(()),
    }
}

/// Writes one line, or several, to standard output.
///
/// # Errors
/// As [`bytes`].
pub(crate) fn line(text: impl Display) -> anyhow::Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes a value as one line of JSON.
///
/// # Errors
/// As [`bytes`].
pub(crate) fn json(value: &serde_json::Value) -> anyhow::Result<()> {
    line(json_text(value))
}

/// JSON in which nothing can steer a terminal. JSON itself lets some of that stand in strings as it is.
pub(crate) fn json_text(value: &serde_json::Value) -> String {
    let mut text = String::new();
    for c in value.to_string().chars() {
        match c {
            c if steers(c) => drop(write!(text, "\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text
}

/// Whether a character steers a terminal instead of being shown, or changes the order in which others are shown.
fn steers(c: char) -> bool {
    let orders = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || orders
}

/// Writes one line to standard error, for whoever runs the command by hand.
pub(crate) fn note(text: &str) {
    // When nobody reads standard error, nobody is to be told.
    let _ = writeln!(stderr(), "concoord: {text}");
}

/// Writes the error with its causes as one line to standard error.
pub(crate) fn error(error: &anyhow::Error) {
    // When nobody reads standard error either, there is nothing left to do.
    let _ = writeln!(stderr(), "concoord: {}", one_line(error));
}

/// An error and its causes; a cause that an outer message repeats already is left out.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    clean(&text)
}

/// `text` on one line, without what could steer a terminal: names and messages come from strangers.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' | '\r' | '\t' => clean.push(' '),
            c if steers(c) => drop(write!(clean, "{}", c.escape_default())),
            c => clean.push(c),
        }
    }
    clean
}

/// Rows under one heading, in columns as wide as they need.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column titles.
    pub(crate) fn new(titles: &[&str]) -> Table {
        Table { rows: vec![titles.iter().map(|title| (*title).to_owned()).collect()] }
    }

    /// A table without titles.
    pub(crate) fn untitled() -> Table {
        Table::default()
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| clean(cell)).collect());
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:<width$}  ")?;
            }
            let end = if index + 1 < self.rows.len() { "\n" } else { "" };
            write!(f, "{}{end}", line.trim_end())?;
        }
        Ok(())
    }
}

/// One line on a terminal that is written over and over; on anything else, nothing.
#[derive(Debug)]
pub(crate) struct Progress {
    terminal: bool,
    shown: Option<Instant>,
}

impl Progress {
    /// On standard error, if that is a terminal.
    pub(crate) fn new() -> Progress {
        Progress { terminal: stderr().is_terminal(), shown: None }
    }

    /// Shows what is being done now, unless the line changed just before.
    pub(crate) fn update(&mut self, text: impl FnOnce() -> String) {
        if self.terminal && self.shown.is_none_or(|shown| shown.elapsed() >= PROGRESS_INTERVAL) {
            self.shown = Some(Instant::now());
            self.write(&format!("\r\x1b[K{}", clean(&text())));
        }
    }

    /// Shows a line that stays.
    pub(crate) fn step(&mut self, text: impl Display) {
        if self.terminal {
            self.shown = None;
            self.write(&format!("\r\x1b[K{}\n", clean(&text.to_string())));
        }
    }

    /// Takes the changing line away.
    pub(crate) fn clear(&mut self) {
        if self.shown.take().is_some() {
            self.write("\r\x1b[K");
        }
    }

    fn write(&self, text: &str) {
        // Progress that can't be shown is no reason to stop.
        let _ = stderr().write_all(text.as_bytes());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn tables_line_up_and_end_without_blanks() {
        let mut table = Table::new(&["id", "address", ""]);
        table.row(["1".into(), "127.0.0.1:14000".into(), "leader".into()]);
        table.row(["22".into(), "x".into(), String::new()]);
        assert_eq!(table.to_string(), "id  address\n1   127.0.0.1:14000  leader\n22  x");
    }

    #[test]
    fn errors_are_one_line_and_repeat_nothing() {
        let inner = anyhow::anyhow!("no such\nfile");
        let error =
            Err::<(), _>(inner).context("counter.wasm: no such\nfile").context("can't start").expect_err("is one");
        assert_eq!(one_line(&error), "can't start: counter.wasm: no such file");
    }

    #[test]
    fn strangers_do_not_steer_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\nc"), "a\\u{1b}[2Jb c");
        assert_eq!(clean("a\u{9b}2J\u{7f}\u{202e}b"), "a\\u{9b}2J\\u{7f}\\u{202e}b");
        let value = serde_json::json!({"ö\u{9b}2J": "\x1b\u{7f}\u{202e}\n😀"});
        let text = json_text(&value);
        assert_eq!(text, r#"{"ö\u009b2J":"\u001b\u007f\u202e\n😀"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("it is JSON"), value);
    }
}
