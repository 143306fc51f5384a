//! A page as it is written.

/// What is between two lines of backquotes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The number of its first line in the page, which says what it is.
    pub(super) line: usize,
    /// What it is written in.
    pub(super) language: String,
    /// What stands behind that, after commas.
    pub(super) flags: Vec<String>,
    /// Its lines.
    pub(super) lines: Vec<String>,
}

/// A command and what it prints.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The number of its line in the page.
    pub(super) line: usize,
    /// As a shell reads it.
    pub(super) command: String,
    /// The lines below it.
    pub(super) expected: Vec<String>,
}

/// The blocks of a page.
pub(super) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    // How far the block is indented, which its lines are too.
    let mut indent = 0;
    for (index, line) in page.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (open.take(), fence) {
            (None, Some(about)) => {
                indent = line.len() - line.trim_start().len();
                let mut words = about.split(',').map(|word| word.trim().to_owned());
                let language = words.next().unwrap_or_default();
                open = Some(Block { line: index + 1, language, flags: words.collect(), lines: Vec::new() });
            }
            (Some(block), Some(_)) => blocks.push(block),
            (Some(mut block), None) => {
                let blanks = indent.min(line.len() - line.trim_start().len());
                block.lines.push(line[blanks..].into());
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    blocks
}

impl Block {
    /// Its commands.
    ///
    /// # Errors
    /// The number of a line that is neither a command nor below one, and what it is.
    pub(super) fn steps(&self) -> Result<Vec<Step>, (usize, String)> {
        let mut steps: Vec<Step> = Vec::new();
        let mut continued = false;
        for (index, line) in self.lines.iter().enumerate() {
            let number = self.line + 1 + index;
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (None, Some(step)) if continued => step.command = format!("{}\n{line}", step.command),
                (Some(command), _) => {
                    steps.push(Step { line: number, command: command.into(), expected: Vec::new() });
                }
                (None, Some(step)) => {
                    step.expected.push(line.clone());
                    continue;
                }
                (None, None) => return Err((number, format!("what prints this? {line}"))),
            }
            continued = line.ends_with('\\');
        }
        Ok(steps)
    }

    /// Its text.
    pub(super) fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// Commands that change nothing, and tell of what may take a moment.
const LOOKS: [&str; 7] =
    ["concoord health", "concoord members", "concoord object list", "concoord sessions", "concoord view", "dig", "ls"];

impl Step {
    /// Whether it runs until it is stopped.
    pub(super) fn is_lasting(&self) -> bool {
        let runs_on = ["concoord replica", "concoord logger"].iter().any(|begin| self.words().starts_with(begin));
        (runs_on && !self.fails()) || self.command.ends_with(" &")
    }

    /// Whether it ends with an exit code that is not 0.
    pub(super) fn fails(&self) -> bool {
        self.expected.iter().any(|line| line.starts_with("concoord: ") || line == "degraded" || line == "down")
    }

    /// Whether it may be run again, to see something that was not there yet.
    pub(super) fn only_looks(&self) -> bool {
        let rest = LOOKS.iter().find_map(|look| self.words().strip_prefix(look));
        // What follows `members` or `sessions` without being a flag changes something.
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" -") || rest.starts_with(" +"))
    }

    /// Whether something that was started ends by it.
    pub(super) fn ends_another(&self) -> bool {
        // Signal 0 only asks whether it is there.
        let ends = |begin: &&str| self.words().strip_prefix(begin).is_some_and(|rest| !rest.starts_with(" -0"));
        ["kill", "pkill", "concoord leave"].iter().any(ends)
    }

    /// Whether it can turn out otherwise than the page says.
    pub(super) fn is_checked(&self) -> bool {
        self.is_lasting() || self.ends_another() || !self.expected.is_empty()
    }

    fn words(&self) -> &str {
        self.command.strip_prefix("sudo ").unwrap_or(&self.command)
    }
}
