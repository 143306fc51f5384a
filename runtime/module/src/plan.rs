//! What is added to a body, and where, worked out before any of it is written.
//!
//! # Gas
//! A stretch of code that runs as a whole or not at all is charged for before it runs. It begins at a function's entry, at a
//! loop's head, in each arm of an `if`, where branches meet, and behind a conditional branch. A call does not end one: a
//! callee that does not return ends the whole input. So whatever runs was paid for, and what is paid for runs unless the
//! input fails. What stands behind an unconditional branch and before the next of these places never runs, so nothing is
//! charged for it.
//!
//! # Accesses
//! Compilers make code that accesses several fields of one struct, at one address and different offsets. Only the first
//! access of such a group is compared with the size of memory, for all of them: the input ends either way when one of them
//! is outside, with the same error, and nothing that was done in between is left. A group ends before anything that could
//! end the input with another error, or enlarge the memory. What was once found inside stays inside, since memory never
//! shrinks while an input runs.
//!
//! In the same way a store needs no look at the undo log when one before it, at the same address and an offset that is a
//! little lower, had its page saved: [`crate::undo::REACH_BYTES`] behind each page are saved with it.
//!
//! Both hold along one way through the code, so all that is known of addresses is forgotten where ways meet.

use std::collections::BTreeMap;

use wasmparser::{
    BinaryReaderError, BlockType, ContType, FrameKind, FuncType, FunctionBody, ModuleArity, Operator, RefType, SubType,
};

use crate::body::Access;
use crate::costs::cost;
use crate::flow::Flow;
use crate::undo::REACH_BYTES;

/// The plan for one body.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// For each stretch that costs something: behind how many instructions of the function it begins, and what it costs.
    pub(crate) charges: Vec<(usize, u64)>,
    /// For each load and store, in order.
    pub(crate) accesses: Vec<Need>,
    /// Whether it calls anything.
    pub(crate) calls: bool,
}

/// What one load or store needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    /// How many bytes from the address on have to be in the memory; `None` when that is known.
    pub(crate) within: Option<u64>,
    /// Whether the page may have to be saved; of stores only.
    pub(crate) mark: bool,
}

/// Plans a body that passed the check.
pub(crate) fn plan(body: &FunctionBody<'_>) -> Result<Plan, BinaryReaderError> {
    let mut plan = Plan::default();
    let (mut flow, mut known) = (Flow::begin(), Known::default());
    let (mut begins, mut gas, mut runs) = (0, 0, true);
    let mut operators = body.get_operators_reader()?;
    let mut count = 0;
    while !operators.eof() {
        let operator = operators.read()?;
        count += 1;
        gas += cost(&operator);
        plan.calls |= matches!(operator, Operator::Call { .. } | Operator::CallIndirect { .. });
        known.look(&operator, &mut plan.accesses);
        let step = flow.step(&operator)?;
        if step.ends {
            if runs && gas > 0 {
                plan.charges.push((begins, gas));
            }
            (begins, gas) = (count, 0);
        }
        if step.meets {
            known = Known { values: known.values, ..Known::default() };
        }
        runs = step.runs;
    }
    if runs && gas > 0 {
        plan.charges.push((begins, gas));
    }
    Ok(plan)
}

/// A number for a value: equal numbers are equal values.
type Value = u64;

/// What is known of addresses along one way through the code.
#[derive(Debug, Default)]
struct Known {
    /// Values that have a number.
    values: Value,
    /// What the locals hold.
    locals: BTreeMap<u32, Value>,
    /// What is on the stack, as far as it is known.
    stack: Vec<Value>,
    /// The newest group of each address.
    groups: BTreeMap<Value, Group>,
}

#[derive(Debug)]
struct Group {
    /// Which access is compared with the size of memory, for how many bytes.
    first: usize,
    within: u64,
    /// Whether it may still be compared for more.
    open: bool,
    /// Offsets at which a page was saved if it had to be.
    marked: Vec<u64>,
}

impl Known {
    fn new_value(&mut self) -> Value {
        self.values += 1;
        self.values
    }

    fn pop(&mut self) -> Value {
        self.stack.pop().unwrap_or_else(|| self.new_value())
    }

    fn look(&mut self, operator: &Operator<'_>, accesses: &mut Vec<Need>) {
        match *operator {
            Operator::LocalGet { local_index } => {
                let value = match self.locals.get(&local_index) {
                    Some(value) => *value,
                    None => self.new_value(),
                };
                self.locals.insert(local_index, value);
                self.stack.push(value);
                return;
            }
            Operator::LocalSet { local_index } => {
                let value = self.pop();
                self.locals.insert(local_index, value);
                return;
            }
            Operator::LocalTee { local_index } => {
                let value = self.pop();
                self.locals.insert(local_index, value);
                self.stack.push(value);
                return;
            }
            _ => {}
        }
        match Access::of(operator) {
            Access::Load { offset, width } => {
                let address = self.pop();
                let need = self.access(address, offset + width, accesses.len(), accesses);
                accesses.push(need);
                let loaded = self.new_value();
                self.stack.push(loaded);
            }
            Access::Store { offset, width, .. } => {
                self.pop();
                let address = self.pop();
                let mut need = self.access(address, offset + width, accesses.len(), accesses);
                let group = self.groups.get_mut(&address).expect("the access made it, if it was not there");
                need.mark = !group.marked.iter().any(|at| (*at..=at + REACH_BYTES - width).contains(&offset));
                if need.mark {
                    group.marked.push(offset);
                }
                accesses.push(need);
            }
            Access::Bulk { .. } | Access::Size | Access::Grow | Access::None => self.other(operator),
        }
    }

    /// An access to so many bytes from an address on.
    fn access(&mut self, address: Value, within: u64, index: usize, accesses: &mut [Need]) -> Need {
        match self.groups.get_mut(&address) {
            Some(group) if within <= group.within => Need::default(),
            Some(group) if group.open => {
                group.within = within;
                accesses[group.first].within = Some(within);
                Need::default()
            }
            group => {
                let marked = group.map(|group| std::mem::take(&mut group.marked)).unwrap_or_default();
                self.groups.insert(address, Group { first: index, within, open: true, marked });
                Need { within: Some(within), mark: false }
            }
        }
    }

    /// An instruction that accesses no memory, or many bytes of it.
    fn other(&mut self, operator: &Operator<'_>) {
        match operator.operator_arity(&Unknown) {
            Some((pops, pushes)) => {
                for _ in 0..pops {
                    self.pop();
                }
                for _ in 0..pushes {
                    let value = self.new_value();
                    self.stack.push(value);
                }
            }
            // Calls and blocks: what is below their operands stays, but how many those are is not worth knowing.
            None => self.stack.clear(),
        }
        if !is_harmless(operator) {
            self.groups.values_mut().for_each(|group| group.open = false);
        }
    }
}

/// Whether an instruction goes on to the next whatever its operands, and leaves the memory as large as it is.
fn is_harmless(operator: &Operator<'_>) -> bool {
    use Operator as O;
    let harmful = matches!(
        operator,
        O::I32DivS
            | O::I32DivU
            | O::I32RemS
            | O::I32RemU
            | O::I64DivS
            | O::I64DivU
            | O::I64RemS
            | O::I64RemU
            | O::I32TruncF32S
            | O::I32TruncF32U
            | O::I32TruncF64S
            | O::I32TruncF64U
            | O::I64TruncF32S
            | O::I64TruncF32U
            | O::I64TruncF64S
            | O::I64TruncF64U
            | O::MemoryGrow { .. }
            | O::MemoryFill { .. }
            | O::MemoryCopy { .. }
            | O::MemoryInit { .. }
            | O::Unreachable
            | O::Return
            | O::Br { .. }
            | O::BrIf { .. }
            | O::BrTable { .. }
            | O::End
            | O::Else
    );
    // What has no arity of its own is a call or opens a block.
    !harmful && operator.operator_arity(&Unknown).is_some()
}

/// A module of which nothing is known: only instructions that always take and give as many operands have an arity in it.
struct Unknown;

impl ModuleArity for Unknown {
    fn sub_type_at(&self, _: u32) -> Option<&SubType> {
        None
    }

    fn tag_type_arity(&self, _: u32) -> Option<(u32, u32)> {
        None
    }

    fn type_index_of_function(&self, _: u32) -> Option<u32> {
        None
    }

    fn func_type_of_cont_type(&self, _: &ContType) -> Option<&FuncType> {
        None
    }

    fn sub_type_of_ref_type(&self, _: &RefType) -> Option<&SubType> {
        None
    }

    fn control_stack_height(&self) -> u32 {
        0
    }

    fn label_block(&self, _: u32) -> Option<(BlockType, FrameKind)> {
        None
    }
}

#[cfg(test)]
mod tests {
    use wasmparser::{Parser, Payload};

    use super::*;

    /// The plan of a function's code.
    fn planned(code: &str) -> Plan {
        let text = format!("(module (memory 1) (func (param i32) (local i32 i32) {code}))");
        let bytes = wat::parse_str(text).expect("a module");
        let bodies = Parser::new(0).parse_all(&bytes).filter_map(|payload| match payload.expect("readable") {
            Payload::CodeSectionEntry(body) => Some(plan(&body).expect("readable")),
            _ => None,
        });
        bodies.last().expect("a function")
    }

    fn charged(code: &str) -> Vec<(usize, u64)> {
        planned(code).charges
    }

    #[test]
    fn straight_code_is_charged_once_with_calls_and_blocks_in_it() {
        assert_eq!(charged(""), []);
        assert_eq!(charged("nop"), []);
        assert_eq!(charged("i32.const 1 drop"), [(0, 1)]);
        assert_eq!(charged("i32.const 1 call 0 i32.const 2 drop"), [(0, 12)]);
        assert_eq!(charged("block i32.const 1 drop end i32.const 2 drop"), [(0, 2)], "nothing branches to its end");
    }

    #[test]
    fn each_place_where_branches_meet_or_part_begins_a_stretch() {
        let branched = "block local.get 0 br_if 0 i32.const 1 drop end i32.const 2 drop i32.const 2 drop";
        assert_eq!(charged(branched), [(0, 2), (3, 1), (6, 2)]);
        let loops = "i32.const 1 drop loop i32.const 1 drop local.get 0 br_if 0 i32.const 3 drop end i32.const 1 drop";
        assert_eq!(charged(loops), [(0, 1), (3, 3), (7, 2)], "falling out of a loop goes on with its last stretch");
        let arms = "local.get 0 if i32.const 1 drop else i32.const 1 drop i32.const 2 drop end i32.const 1 drop";
        assert_eq!(charged(arms), [(0, 2), (2, 1), (5, 2), (10, 1)]);
        let arm = "local.get 0 if i32.const 1 drop end i32.const 1 drop";
        assert_eq!(charged(arm), [(0, 2), (2, 1), (5, 1)]);
    }

    #[test]
    fn what_never_runs_is_not_charged() {
        assert_eq!(charged("return i32.const 1 drop"), [(0, 1)]);
        assert_eq!(charged("unreachable i32.const 1 drop"), []);
        assert_eq!(charged("i32.const 1 drop br 0 i32.const 1 drop block i32.const 1 drop end"), [(0, 2)]);
        let table = "block block local.get 0 br_table 0 1 end i32.const 1 drop i32.const 1 drop end i32.const 1 drop";
        assert_eq!(charged(table), [(0, 3), (5, 2), (10, 1)]);
        assert_eq!(charged("loop br 0 end i32.const 1 drop"), [(1, 1)], "behind an endless loop");
        assert_eq!(charged("block br 0 i32.const 7 drop end"), [(0, 1)]);
    }

    /// For each access how many bytes are compared, 0 for none.
    fn compared(code: &str) -> Vec<u64> {
        planned(code).accesses.iter().map(|need| need.within.unwrap_or(0)).collect()
    }

    const LOAD: &str = "local.get 0 i32.load drop";
    const FAR: &str = "local.get 0 i64.load offset=92 drop";

    #[test]
    fn one_access_is_compared_for_all_of_a_group() {
        assert_eq!(compared(&format!("{LOAD} {FAR} {LOAD}")), [100, 0, 0]);
        assert_eq!(compared("local.get 0 local.tee 1 i32.load drop local.get 1 i64.load offset=8 drop"), [16, 0]);
        assert_eq!(compared("local.get 0 local.get 0 i32.load i32.store offset=8"), [12, 0], "as operands stand");
        assert_eq!(compared(&format!("{LOAD} block {LOAD} end {LOAD}")), [4, 0, 0]);
        assert_eq!(compared(&format!("{LOAD} local.get 1 br_if 0 {LOAD}")), [4, 0]);
        assert_eq!(
            compared("i32.const 8 i32.load drop i32.const 8 i32.load drop"),
            [4, 4],
            "constants are not followed"
        );
    }

    #[test]
    fn what_may_end_the_input_otherwise_ends_a_group() {
        for between in ["call 0", "i32.const 1 i32.const 0 i32.div_u drop", "f32.const 0 i32.trunc_f32_s drop"] {
            let between = between.replace("call 0", "i32.const 1 call 0");
            assert_eq!(compared(&format!("{LOAD} {between} {LOAD} {FAR}")), [4, 0, 100], "{between}");
        }
        for between in ["i32.const 1 memory.grow drop", "local.get 1 br_if 0", "local.get 1 if unreachable end"] {
            let compared = compared(&format!("{LOAD} {between} {FAR}"));
            assert_eq!(compared, [4, 100], "{between}");
        }
    }

    #[test]
    fn another_address_is_another_group() {
        assert_eq!(compared(&format!("{LOAD} i32.const 5 local.set 0 {LOAD}")), [4, 4]);
        assert_eq!(compared(&format!("{LOAD} local.get 1 i32.load drop {LOAD}")), [4, 4, 0]);
        assert_eq!(compared("local.get 0 i32.load local.tee 0 i32.load drop"), [4, 4]);
    }

    #[test]
    fn nothing_is_known_where_ways_meet() {
        assert_eq!(compared(&format!("{LOAD} loop {LOAD} end {LOAD}")), [4, 4, 0]);
        assert_eq!(compared(&format!("{LOAD} block local.get 1 br_if 0 {LOAD} end {LOAD}")), [4, 0, 4]);
        assert_eq!(compared(&format!("{LOAD} local.get 1 if {LOAD} else {LOAD} end {LOAD}")), [4, 0, 4, 4]);
    }

    #[test]
    fn a_store_close_behind_another_needs_no_look_at_the_log() {
        let marks = |code: &str| planned(code).accesses.iter().map(|need| need.mark).collect::<Vec<_>>();
        let store = |offset: u64| format!("local.get 0 i64.const 1 i64.store offset={offset}");
        let reach = REACH_BYTES;
        assert_eq!(marks(&[store(8), store(8), store(reach), store(reach + 1)].join(" ")), [true, false, false, true]);
        assert_eq!(marks(&[store(8), store(0)].join(" ")), [true, true], "not before it");
        assert_eq!(marks(&[store(0), "i32.const 1 call 0".into(), store(8)].join(" ")), [true, false]);
        assert_eq!(marks(&[store(0), "loop".into(), store(8), "end".into()].join(" ")), [true, true]);
        assert_eq!(marks(LOAD), [false]);
    }
}
