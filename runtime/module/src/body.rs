//! Function bodies with what meters them and what lets their writes be undone. Where it goes stands in `plan.rs`.
//!
//! | where                             | what is added                                                                  |
//! |-----------------------------------|--------------------------------------------------------------------------------|
//! | at the entry                      | the frame's weight is added to what is open and compared with the limit          |
//! | at the start of each stretch      | its gas is taken                                                                 |
//! | around each call                  | gas goes to the global and comes back; what is open is what it was before        |
//! | before what leaves the function   | gas goes to the global                                                           |
//! | before the first load or store of a group | its address and bytes are compared with the size of memory               |
//! | before a store                    | the undo page is saved if it is not yet (`undo.rs`)                              |
//! | before each bulk instruction      | the same for ranges, with gas for the bytes                                      |
//! | instead of `memory.size`, `.grow` | the number that is the size of memory is read or raised                          |
//!
//! Within a function gas is kept in a local, since code that counts it in memory waits for that memory at each count. A
//! function that calls nothing does not add its weight to what is open: nobody would read it.
//!
//! Instructions take their operands from the stack, so they are put into locals of the function's own, looked at, and
//! pushed again. The locals come behind all that the function has. But for gas and for what is open, they hold nothing
//! from one instruction to another, so control flow around them does not matter; nor does it whether the code can be
//! reached, since each operand has a type of its own and not one that depends on the stack.

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{BlockType, Function, ValType};
use wasmparser::{FunctionBody, Operator};

use crate::flow::Flow;
use crate::meter::{Meter, Stopped};
use crate::plan::{Need, plan};
use crate::undo::{Layout, UNDO_PAGE_SHIFT};
use crate::weight::DEPTH_MAX;

/// Locals that a function has more when it is rewritten.
pub(crate) const ADDED_LOCALS: u32 = 8;

/// What an instruction does to memory.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// Reads so many bytes at an address and this offset.
    Load { offset: u64, width: u64 },
    /// Writes a value of this type, or its low bytes, to an address and this offset.
    Store { value: ValType, offset: u64, width: u64 },
    /// Writes as many bytes as the third operand says to the address that is the first; if it copies, it reads them at the
    /// address that is the second.
    Bulk { copies: bool },
    /// Tells the number of pages.
    Size,
    /// Adds pages.
    Grow,
    /// Nothing.
    None,
}

impl Access {
    /// What this instruction does.
    pub(crate) fn of(operator: &Operator<'_>) -> Access {
        use Operator as O;
        let (stored, memory, width) = match operator {
            O::I32Load8S { memarg } | O::I32Load8U { memarg } | O::I64Load8S { memarg } | O::I64Load8U { memarg } => {
                (None, memarg, 1)
            }
            O::I32Load16S { memarg }
            | O::I32Load16U { memarg }
            | O::I64Load16S { memarg }
            | O::I64Load16U { memarg } => (None, memarg, 2),
            O::I32Load { memarg } | O::F32Load { memarg } | O::I64Load32S { memarg } | O::I64Load32U { memarg } => {
                (None, memarg, 4)
            }
            O::I64Load { memarg } | O::F64Load { memarg } => (None, memarg, 8),
            O::I32Store8 { memarg } => (Some(ValType::I32), memarg, 1),
            O::I32Store16 { memarg } => (Some(ValType::I32), memarg, 2),
            O::I32Store { memarg } => (Some(ValType::I32), memarg, 4),
            O::I64Store8 { memarg } => (Some(ValType::I64), memarg, 1),
            O::I64Store16 { memarg } => (Some(ValType::I64), memarg, 2),
            O::I64Store32 { memarg } => (Some(ValType::I64), memarg, 4),
            O::I64Store { memarg } => (Some(ValType::I64), memarg, 8),
            O::F32Store { memarg } => (Some(ValType::F32), memarg, 4),
            O::F64Store { memarg } => (Some(ValType::F64), memarg, 8),
            O::MemoryFill { .. } | O::MemoryInit { .. } => return Access::Bulk { copies: false },
            O::MemoryCopy { .. } => return Access::Bulk { copies: true },
            O::MemorySize { .. } => return Access::Size,
            O::MemoryGrow { .. } => return Access::Grow,
            _ => return Access::None,
        };
        let offset = memory.offset;
        match stored {
            Some(value) => Access::Store { value, offset, width },
            None => Access::Load { offset, width },
        }
    }
}

fn is_call(operator: &Operator<'_>) -> bool {
    matches!(operator, Operator::Call { .. } | Operator::CallIndirect { .. })
}

/// The added locals.
#[derive(Clone, Copy)]
struct Scratch {
    integers: [u32; 3],
    /// What is open with this frame.
    open: u32,
    /// Gas that is left.
    gas: u32,
    long: u32,
    float: u32,
    double: u32,
}

impl Scratch {
    const TYPES: [(u32, ValType); 4] = [(4, ValType::I32), (2, ValType::I64), (1, ValType::F32), (1, ValType::F64)];

    fn behind(locals: u32) -> Scratch {
        let [first, second, third, open, gas, long, float, double] =
            [0, 1, 2, 3, 4, 5, 6, 7].map(|index| locals + index);
        Scratch { integers: [first, second, third], open, gas, long, float, double }
    }

    fn for_value(self, value: ValType) -> u32 {
        match value {
            ValType::I64 => self.long,
            ValType::F32 => self.float,
            ValType::F64 => self.double,
            _ => self.integers[2],
        }
    }
}

/// The body as it is compiled, for a function of so many parameters whose frame has this weight.
pub(crate) fn rewritten<R: Reencode<Error = Infallible>>(
    reencode: &mut R,
    body: &FunctionBody<'_>,
    parameters: u32,
    weight: u32,
    meter: Meter,
) -> Result<Function, Error> {
    let (mut locals, mut count) = (Vec::new(), parameters);
    for group in body.get_locals_reader()? {
        let (size, ty) = group?;
        locals.push((size, reencode.val_type(ty)?));
        count += size;
    }
    locals.extend(Scratch::TYPES);
    let plan = plan(body)?;
    let (mut charges, mut needs) = (plan.charges.iter().peekable(), plan.accesses.iter());
    let mut writer = Writer { function: Function::new(locals), scratch: Scratch::behind(count), meter };
    writer.enter(weight, plan.calls);
    let mut operators = body.get_operators_reader()?;
    let mut flow = Flow::begin();
    for instructions in 0.. {
        if let Some((_, gas)) = charges.next_if(|(behind, _)| *behind == instructions) {
            meter.charge(&mut writer.function.instructions(), *gas, writer.scratch.gas);
        }
        if operators.eof() {
            break;
        }
        let operator = operators.read()?;
        if is_call(&operator) {
            writer.store_gas();
            writer.function.instruction(&reencode.instruction(operator)?);
            writer.load_gas();
            writer.function.instructions().local_get(writer.scratch.open).global_set(meter.globals.depth);
            continue;
        }
        if flow.step(&operator)?.leaves {
            writer.store_gas();
        }
        if !writer.replaced(Access::of(&operator), || *needs.next().expect("each load and store was planned")) {
            writer.function.instruction(&reencode.instruction(operator)?);
        }
    }
    Ok(writer.function)
}

struct Writer {
    function: Function,
    scratch: Scratch,
    meter: Meter,
}

impl Writer {
    /// Compares what is open with the limit, this frame included, and takes over the gas.
    fn enter(&mut self, weight: u32, calls: bool) {
        let mut code = self.function.instructions();
        let (weight, most) = (weight.cast_signed(), DEPTH_MAX.cast_signed());
        code.global_get(self.meter.globals.depth);
        if calls {
            // The sum is far from wrapping: what is open is at most the limit, and a body is small.
            code.i32_const(weight).i32_add().local_tee(self.scratch.open).global_set(self.meter.globals.depth);
            code.local_get(self.scratch.open).i32_const(most).i32_gt_s();
        } else {
            code.i32_const(most - weight).i32_gt_s();
        }
        self.meter.stop_if(&mut code, Stopped::Depth);
        self.load_gas();
    }

    fn load_gas(&mut self) {
        self.function.instructions().global_get(self.meter.globals.gas).local_set(self.scratch.gas);
    }

    fn store_gas(&mut self) {
        self.function.instructions().local_get(self.scratch.gas).global_set(self.meter.globals.gas);
    }

    /// Writes what comes before an instruction that has to do with memory; `true` when it stands for the instruction.
    fn replaced(&mut self, access: Access, need: impl FnOnce() -> Need) -> bool {
        let (meter, [first, second, third]) = (self.meter, self.scratch.integers);
        let mut code = self.function.instructions();
        match access {
            Access::None => {}
            Access::Load { .. } => {
                if let Some(bytes) = need().within {
                    code.local_tee(first);
                    meter.within(&mut code, bytes);
                    code.local_get(first);
                }
            }
            Access::Store { value, offset, .. } => {
                let (need, value) = (need(), self.scratch.for_value(value));
                if need == Need::default() {
                    return false;
                }
                code.local_set(value).local_set(first);
                if let Some(bytes) = need.within {
                    code.local_get(first);
                    meter.within(&mut code, bytes);
                }
                if need.mark {
                    code.local_get(first);
                    if offset != 0 {
                        let offset = u32::try_from(offset).expect("the check lets no 64-bit memory through");
                        code.i32_const(offset.cast_signed()).i32_add();
                    }
                    code.i32_const(UNDO_PAGE_SHIFT.cast_signed()).i32_shr_u().local_tee(second);
                    code.i32_load8_u(Layout::map()).i32_eqz();
                    code.if_(BlockType::Empty).local_get(second).call(meter.functions.save).end();
                }
                code.local_get(first).local_get(value);
            }
            Access::Bulk { copies } => {
                code.local_set(third).local_set(second).local_set(first);
                self.store_gas();
                let mut code = self.function.instructions();
                code.local_get(first).local_get(third).call(meter.functions.writes);
                if copies {
                    code.local_get(second).local_get(third).call(meter.functions.reads);
                }
                self.load_gas();
                self.function.instructions().local_get(first).local_get(second).local_get(third);
            }
            Access::Size => {
                meter.pages(&mut code);
                return true;
            }
            Access::Grow => {
                self.store_gas();
                self.function.instructions().call(meter.functions.grow);
                self.load_gas();
                return true;
            }
        }
        false
    }
}
