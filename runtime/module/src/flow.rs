//! The control flow of a function's body, as far as metering needs it.

use wasmparser::{BinaryReaderError, Operator};

/// The blocks that are open while a body is read, one instruction after another.
#[derive(Debug)]
pub(crate) struct Flow {
    frames: Vec<Frame>,
    runs: bool,
}

/// What one instruction means for what stands behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// A stretch of code that runs as a whole or not at all ends here.
    pub(crate) ends: bool,
    /// Ways other than from this instruction lead to what stands behind it.
    pub(crate) meets: bool,
    /// What stands behind it runs at all.
    pub(crate) runs: bool,
    /// It may leave the function.
    pub(crate) leaves: bool,
}

/// A block that is open.
#[derive(Debug, Default)]
struct Frame {
    kind: Kind,
    /// Whether a branch leads to its end.
    branched: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Kind {
    /// Of a function or a `block`.
    #[default]
    Block,
    /// It is left by falling out of it alone: branches to it go to its head.
    Loop,
    /// Its arms meet at its end.
    If,
}

impl Flow {
    /// At the beginning of a body that passed the check.
    pub(crate) fn begin() -> Flow {
        Flow { frames: vec![Frame::default()], runs: true }
    }

    /// Goes on by one instruction.
    ///
    /// # Errors
    /// When the instruction can't be read.
    ///
    /// # Panics
    /// For a body that did not pass the check.
    pub(crate) fn step(&mut self, operator: &Operator<'_>) -> Result<Step, BinaryReaderError> {
        let (mut leaves, before) = (false, self.runs);
        let (ends, meets, runs) = match operator {
            Operator::Block { .. } => {
                self.open(Kind::Block);
                (false, false, before)
            }
            Operator::Loop { .. } => {
                self.open(Kind::Loop);
                (true, true, true)
            }
            Operator::If { .. } => {
                self.open(Kind::If);
                (true, false, true)
            }
            Operator::Else => (true, true, true),
            Operator::End => {
                let frame = self.frames.pop().expect("the check lets no end too many through");
                leaves = self.frames.is_empty();
                let meets = frame.kind == Kind::If || (frame.branched && frame.kind == Kind::Block);
                (meets, meets, meets || before)
            }
            Operator::BrIf { relative_depth } => {
                leaves = self.branch(*relative_depth);
                (true, false, true)
            }
            Operator::Br { relative_depth } => {
                leaves = self.branch(*relative_depth);
                (true, false, false)
            }
            Operator::BrTable { targets } => {
                leaves = self.branch(targets.default());
                for target in targets.targets() {
                    leaves |= self.branch(target?);
                }
                (true, false, false)
            }
            Operator::Return => {
                leaves = true;
                (true, false, false)
            }
            Operator::Unreachable => (true, false, false),
            _ => (false, false, before),
        };
        self.runs = runs;
        Ok(Step { ends, meets, runs, leaves })
    }

    fn open(&mut self, kind: Kind) {
        self.frames.push(Frame { kind, branched: false });
    }

    /// A branch to the block that is so many levels out; whether that is the function itself.
    fn branch(&mut self, depth: u32) -> bool {
        let index = self.frames.len().checked_sub(1 + depth as usize);
        let index = index.expect("the check lets no branch out of a function through");
        self.frames[index].branched = true;
        index == 0
    }
}
