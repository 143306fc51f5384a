//! Runs the commands of a page of the book as they stand there, and compares what they print.
//!
//! What is run are the blocks that begin with ```` ```console ````. In them,
//!
//! - a line that begins with `$ ` is a command, with the lines after it that it continues by a `\` at its end;
//! - the lines below it, up to the next command, are what it prints. It may fail, and has to, only if one of them begins with
//!   `concoord: `, or is `degraded` or `down`;
//! - one that only looks at what goes on, such as `concoord members` or `dig`, is run again until it prints them;
//! - a command that runs until it is stopped, `concoord replica`, `concoord logger` or one that ends with ` &`, runs until the page
//!   ends. The next one comes once what stands below it was printed, or else once the replica is healthy. What it prints later is
//!   not looked at;
//! - after `kill`, `pkill` or `concoord leave` the next one comes once something that was started so has ended.
//!
//! All commands of a page run in one shell and one directory, which is empty at first. What is printed is compared letter by
//! letter, but for this:
//!
//! - `...` in a line stands for anything in that line, and a line `...` for any number of lines;
//! - where there are two or more blanks, there may be more or less, but two: columns are as wide as what is in them;
//! - numbers that differ from cluster to cluster are named behind the block's language, as in
//!   ```` ```console,any=17,any=22-0 ````. From there on to the end of the page `17` stands for whatever number was printed in its
//!   place first, in what is printed and in commands. So does an id such as `9f86d081884c7d65` for one as long, and a time
//!   such as `1.15 s` for any other, as `999 ms`;
//! - in a block ```` ```console,unordered ```` the lines that a command prints may come in any order, and of members another one may
//!   lead;
//! - the log of a replica is read as it is shown on a terminal, without the times.
//!
//! A block ```` ```console,log=14001 ```` has no commands: what was started last with the word `14001` prints these
//! lines, one after the other, among others and maybe later.
//!
//! A block may be left out for one of the [reasons](ELSEWHERE): ```` ```console,ignore=delegation ````.

mod compare;
mod links;
mod page;
mod processes;
mod programs;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use compare::{Extent, Free};
pub use links::broken_links;
use page::{Block, Step, blocks};
use processes::{Shell, Started, on_a_terminal};
pub use programs::{strange_programs, texts};

/// How long it may take until a command that looks sees what the page says, and a process that was told to end has ended.
const LOOK_LIMIT: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 20 });
/// How long it waits before it looks again.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Why a block is not run, and what runs the same.
pub const ELSEWHERE: [(&str, &str); 5] = [
    ("authors", "tests/tests/authors.rs"),
    ("delegation", "tests/tests/delegation.rs"),
    ("disk_faults", "tests/tests/disk_faults.rs"),
    ("languages", "tests/tests/languages.rs"),
    ("route53", "tests/tests/route53.rs"),
];

/// What the commands of the pages need.
#[derive(Clone, Copy, Debug)]
pub struct Tools<'a> {
    /// Where the `concoord` command is.
    pub commands: &'a Path,
    /// Where the programs are that `cargo run --example` runs.
    pub examples: &'a Path,
    /// Variables for all of them.
    pub environment: &'a [(String, String)],
}

/// What was run of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Commands whose output was compared.
    pub compared: usize,
    /// Commands that ran until the page's end.
    pub started: usize,
    /// Blocks that are run elsewhere.
    pub elsewhere: usize,
}

/// Runs a page's commands in an empty directory.
///
/// # Errors
/// What differs from the page, and at which line of it.
pub fn run_page(page: &str, directory: &Path, tools: Tools<'_>) -> Result<Ran, String> {
    let mut session = Session {
        shell: Shell::start(directory, tools)?,
        started: Vec::new(),
        directory,
        tools,
        free: Free::default(),
        ran: Ran::default(),
    };
    for block in blocks(page).iter().filter(|block| block.language == "console") {
        session.run_block(block).map_err(|(line, why)| format!("line {line}: {why}"))?;
    }
    match session.ran.compared {
        0 => Err("nothing of it is compared".into()),
        _ => Ok(session.ran),
    }
}

/// What the commands of a page share.
struct Session<'a> {
    shell: Shell,
    started: Vec<Started>,
    directory: &'a Path,
    tools: Tools<'a>,
    free: Free,
    ran: Ran,
}

impl Session<'_> {
    fn run_block(&mut self, block: &Block) -> Result<(), (usize, String)> {
        let here = |why| (block.line, why);
        let (mut log, mut extent) = (None, Extent::Whole);
        for flag in &block.flags {
            match flag.split_once('=') {
                None if flag == "unordered" => extent = Extent::WholeInAnyOrder,
                Some(("log", word)) => log = Some(word),
                Some(("ignore", reason)) if ELSEWHERE.iter().any(|(known, _)| *known == reason) => {
                    self.ran.elsewhere += 1;
                    return Ok(());
                }
                Some(("any", word)) => self.free.declare(word).map_err(here)?,
                _ => return Err(here(format!("'{flag}' is no reason to leave a block out, and nothing else"))),
            }
        }
        if let Some(word) = log {
            return self.read_log(word, &block.lines).map_err(here);
        }
        let steps = block.steps()?;
        if !steps.iter().any(Step::is_checked) {
            return Err(here("nothing in this block is compared".into()));
        }
        steps.iter().try_for_each(|step| self.run_step(step, extent).map_err(|why| (step.line, why)))
    }

    fn run_step(&mut self, step: &Step, extent: Extent) -> Result<(), String> {
        let command = self.free.put_into(&step.command)?;
        if step.is_lasting() {
            let number = self.started.len();
            let mut started = Started::start(&command, &self.shell.state()?, number, self.directory, self.tools)?;
            if !step.expected.is_empty() {
                started.wait_for(|printed| self.free.compare(&step.expected, printed, Extent::Beginning))?;
            } else if command.contains("concoord replica") {
                started.wait_until_healthy(self.tools)?;
            }
            self.started.push(started);
            self.ran.started += 1;
            return Ok(());
        }
        let deadline = Instant::now() + if step.only_looks() { LOOK_LIMIT } else { Duration::ZERO };
        let running = self.running();
        while let Err(why) = self.run_to_its_end(&command, step, extent) {
            if Instant::now() >= deadline {
                return Err(why);
            }
            thread::sleep(LOOK_INTERVAL);
        }
        if step.ends_another() {
            self.wait_for_fewer(running)?;
        }
        self.ran.compared += usize::from(!step.expected.is_empty());
        Ok(())
    }

    fn run_to_its_end(&mut self, command: &str, step: &Step, extent: Extent) -> Result<(), String> {
        let (printed, code) = self.shell.run(command)?;
        self.free.compare(&step.expected, &on_a_terminal(&printed), extent)?;
        if step.fails() == (code == 0) {
            return Err(format!("exit code {code} of: {command}"));
        }
        Ok(())
    }

    /// What runs beside and was started last with this word prints these lines.
    fn read_log(&mut self, word: &str, lines: &[String]) -> Result<(), String> {
        let started = self.started.iter_mut().rev().find(|started| started.has_word(word));
        let started = started.ok_or_else(|| format!("nothing was started with {word}"))?;
        started.wait_for(|printed| self.free.compare(lines, printed, Extent::Part))?;
        self.ran.compared += 1;
        Ok(())
    }

    /// How many of those that were started run still.
    fn running(&mut self) -> usize {
        self.started.iter_mut().filter_map(|started| started.runs().then_some(())).count()
    }

    fn wait_for_fewer(&mut self, running: usize) -> Result<(), String> {
        let deadline = Instant::now() + LOOK_LIMIT;
        while self.running() >= running {
            if Instant::now() >= deadline {
                return Err("nothing that was started has ended".into());
            }
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
