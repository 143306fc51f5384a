//! Where gas is charged: at the beginning of each stretch of code that runs as a whole or not at all.
//!
//! A stretch is charged for before it runs. It begins at a function's entry, at a loop's head, in each arm of an `if`, where
//! branches meet, and behind a conditional branch. A call does not end one: a callee that does not return ends the whole
//! input. So whatever runs was paid for, and what is paid for runs unless the input fails.
//!
//! What stands behind an unconditional branch and before the next of these places never runs, so nothing is charged for it.

use std::convert::Infallible;

use wasm_encoder::reencode::Error;
use wasmparser::{FunctionBody, Operator};

use crate::costs::cost;

/// The charges of one function.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Charges {
    /// For each stretch that costs something: behind how many instructions of the function it begins, and what it costs.
    charges: Vec<(usize, u64)>,
    next: usize,
}

impl Charges {
    /// What is to be charged behind so many instructions. To be asked in their order.
    pub(crate) fn after(&mut self, instructions: usize) -> Option<u64> {
        let (at, gas) = self.charges.get(self.next)?;
        (*at == instructions).then(|| {
            self.next += 1;
            *gas
        })
    }
}

/// A block that is open.
struct Frame {
    /// A loop is left by falling out of it alone: branches to it go to its head.
    is_loop: bool,
    /// An `if`, whose arms meet at its end.
    is_if: bool,
    /// Whether a branch leads to its end.
    branched: bool,
}

/// Plans the charges of a body that passed the check.
pub(crate) fn charges(body: &FunctionBody<'_>) -> Result<Charges, Error<Infallible>> {
    let mut operators = body.get_operators_reader()?;
    let mut charges = Vec::new();
    let mut frames = vec![Frame { is_loop: false, is_if: false, branched: false }];
    let (mut begins, mut gas, mut runs) = (0, 0, true);
    let mut count = 0;
    while !operators.eof() {
        let operator = operators.read()?;
        count += 1;
        gas += cost(&operator);
        let mut branch = |depth: u32| {
            let frame = frames.len().checked_sub(1 + depth as usize).and_then(|index| frames.get_mut(index));
            frame.expect("the check lets no branch out of a function through").branched = true;
        };
        // Whether a stretch ends here, and whether what follows runs.
        let (ends, follows) = match operator {
            Operator::Block { .. } => {
                frames.push(Frame { is_loop: false, is_if: false, branched: false });
                (false, runs)
            }
            Operator::Loop { .. } => {
                frames.push(Frame { is_loop: true, is_if: false, branched: false });
                (true, true)
            }
            Operator::If { .. } => {
                frames.push(Frame { is_loop: false, is_if: true, branched: false });
                (true, true)
            }
            Operator::Else => (true, true),
            Operator::End => {
                let frame = frames.pop().expect("the check lets no end too many through");
                let meets = frame.is_if || (frame.branched && !frame.is_loop);
                (meets, meets || runs)
            }
            Operator::BrIf { relative_depth } => {
                branch(relative_depth);
                (true, true)
            }
            Operator::Br { relative_depth } => {
                branch(relative_depth);
                (true, false)
            }
            Operator::BrTable { targets } => {
                branch(targets.default());
                for target in targets.targets() {
                    branch(target?);
                }
                (true, false)
            }
            Operator::Return | Operator::Unreachable => (true, false),
            _ => (false, runs),
        };
        if ends {
            if runs && gas > 0 {
                charges.push((begins, gas));
            }
            (begins, gas) = (count, 0);
        }
        runs = follows;
    }
    if runs && gas > 0 {
        charges.push((begins, gas));
    }
    Ok(Charges { charges, next: 0 })
}

#[cfg(test)]
mod tests {
    use wasmparser::{Parser, Payload};

    use super::*;

    /// The charges of a function's code, as pairs of place and gas.
    fn planned(code: &str) -> Vec<(usize, u64)> {
        let bytes = wat::parse_str(format!("(module (func (param i32) {code}))")).expect("a module");
        let bodies = Parser::new(0).parse_all(&bytes).filter_map(|payload| match payload.expect("readable") {
            Payload::CodeSectionEntry(body) => Some(charges(&body).expect("readable").charges),
            _ => None,
        });
        bodies.last().expect("a function")
    }

    #[test]
    fn straight_code_is_charged_once_with_calls_and_blocks_in_it() {
        assert_eq!(planned(""), []);
        assert_eq!(planned("nop"), []);
        assert_eq!(planned("i32.const 1 drop"), [(0, 1)]);
        assert_eq!(planned("i32.const 1 call 0 i32.const 2 drop"), [(0, 12)]);
        assert_eq!(planned("block i32.const 1 drop end i32.const 2 drop"), [(0, 2)], "nothing branches to its end");
    }

    #[test]
    fn each_place_where_branches_meet_or_part_begins_a_stretch() {
        let branched = "block local.get 0 br_if 0 i32.const 1 drop end i32.const 2 drop i32.const 2 drop";
        assert_eq!(planned(branched), [(0, 2), (3, 1), (6, 2)]);
        let loops = "i32.const 1 drop loop i32.const 1 drop local.get 0 br_if 0 i32.const 3 drop end i32.const 1 drop";
        assert_eq!(planned(loops), [(0, 1), (3, 3), (7, 2)], "falling out of a loop goes on with its last stretch");
        let arms = "local.get 0 if i32.const 1 drop else i32.const 1 drop i32.const 2 drop end i32.const 1 drop";
        assert_eq!(planned(arms), [(0, 2), (2, 1), (5, 2), (10, 1)]);
        let arm = "local.get 0 if i32.const 1 drop end i32.const 1 drop";
        assert_eq!(planned(arm), [(0, 2), (2, 1), (5, 1)]);
    }

    #[test]
    fn what_never_runs_is_not_charged() {
        assert_eq!(planned("return i32.const 1 drop"), [(0, 1)]);
        assert_eq!(planned("unreachable i32.const 1 drop"), []);
        assert_eq!(planned("i32.const 1 drop br 0 i32.const 1 drop block i32.const 1 drop end"), [(0, 2)]);
        let table = "block block local.get 0 br_table 0 1 end i32.const 1 drop i32.const 1 drop end i32.const 1 drop";
        assert_eq!(planned(table), [(0, 3), (5, 2), (10, 1)]);
        assert_eq!(planned("loop br 0 end i32.const 1 drop"), [(1, 1)], "behind an endless loop");
        assert_eq!(planned("block br 0 i32.const 7 drop end"), [(0, 1)]);
    }
}
