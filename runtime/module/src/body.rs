//! Function bodies with what meters them and what lets their writes be undone.
//!
//! | where                            | what is added                                                                   |
//! |----------------------------------|---------------------------------------------------------------------------------|
//! | at the entry                     | the frame's weight is added to what is open and compared with the limit           |
//! | behind each call                 | what is open is set back to what it was with this frame                           |
//! | at the start of each stretch     | its gas is taken (`blocks.rs`)                                                    |
//! | before each load and store       | address and width are compared with the size of memory                            |
//! | before each store                | the undo page is saved if it is not yet (`undo.rs`)                               |
//! | before each bulk instruction     | the same for ranges, with gas for the bytes                                       |
//! | instead of `memory.size`, `.grow` | the number that is the size of memory is read or raised                          |
//!
//! A function that calls nothing only compares: nobody would read what it added.
//!
//! Instructions take their operands from the stack, so they are put into locals of the function's own, looked at, and
//! pushed again. The locals come behind all that the function has. But for the weight of what is open, they hold nothing
//! from one instruction to another, so control flow around them does not matter; nor does it whether the code can be
//! reached, since each operand has a type of its own and not one that depends on the stack.

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{BlockType, Function, ValType};
use wasmparser::{FunctionBody, Operator};

use crate::blocks;
use crate::meter::{Meter, Stopped};
use crate::undo::{Layout, UNDO_PAGE_SHIFT};
use crate::weight::DEPTH_MAX;

/// Locals that a function has more when it is rewritten.
pub(crate) const ADDED_LOCALS: u32 = 7;

/// What an instruction does to memory.
enum Access {
    /// Reads so many bytes at an address and this offset.
    Load { offset: u64, width: u64 },
    /// Writes a value of this type, or its low bytes, to an address and this offset.
    Store { value: ValType, offset: u64, width: u64 },
    /// Writes as many bytes as the third operand says to the address that is the first.
    Write,
    /// The same, and reads them at the address that is the second.
    Copy,
    /// Tells the number of pages.
    Size,
    /// Adds pages.
    Grow,
    /// Nothing.
    None,
}

fn access(operator: &Operator<'_>) -> Access {
    use Operator as O;
    let (stored, memory, width) = match operator {
        O::I32Load8S { memarg } | O::I32Load8U { memarg } | O::I64Load8S { memarg } | O::I64Load8U { memarg } => {
            (None, memarg, 1)
        }
        O::I32Load16S { memarg } | O::I32Load16U { memarg } | O::I64Load16S { memarg } | O::I64Load16U { memarg } => {
            (None, memarg, 2)
        }
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
        O::MemoryFill { .. } | O::MemoryInit { .. } => return Access::Write,
        O::MemoryCopy { .. } => return Access::Copy,
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

fn is_call(operator: &Operator<'_>) -> bool {
    matches!(operator, Operator::Call { .. } | Operator::CallIndirect { .. })
}

/// The added locals.
#[derive(Clone, Copy)]
struct Scratch {
    integers: [u32; 3],
    /// What is open with this frame.
    open: u32,
    wide: u32,
    float: u32,
    double: u32,
}

impl Scratch {
    const TYPES: [(u32, ValType); 4] = [(4, ValType::I32), (1, ValType::I64), (1, ValType::F32), (1, ValType::F64)];

    fn behind(locals: u32) -> Scratch {
        let integers = [0, 1, 2].map(|index| locals + index);
        Scratch { integers, open: locals + 3, wide: locals + 4, float: locals + 5, double: locals + 6 }
    }

    fn for_value(self, value: ValType) -> u32 {
        match value {
            ValType::I64 => self.wide,
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
    let mut charges = blocks::charges(body)?;
    let mut writer = Writer { function: Function::new(locals), scratch: Scratch::behind(count), meter };
    writer.enter(weight, calls(body)?);
    let mut operators = body.get_operators_reader()?;
    for instructions in 0.. {
        if let Some(gas) = charges.after(instructions) {
            meter.charge(&mut writer.function.instructions(), gas, writer.scratch.wide);
        }
        if operators.eof() {
            break;
        }
        let operator = operators.read()?;
        let calls = is_call(&operator);
        if !writer.replaced(&operator) {
            writer.function.instruction(&reencode.instruction(operator)?);
        }
        if calls {
            writer.function.instructions().local_get(writer.scratch.open).global_set(meter.globals.depth);
        }
    }
    Ok(writer.function)
}

/// Whether a body calls anything.
fn calls(body: &FunctionBody<'_>) -> Result<bool, Error> {
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        if is_call(&operators.read()?) {
            return Ok(true);
        }
    }
    Ok(false)
}

struct Writer {
    function: Function,
    scratch: Scratch,
    meter: Meter,
}

impl Writer {
    /// Compares what is open with the limit, this frame included.
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
    }

    /// Writes what comes before an instruction that has to do with memory; `true` when it stands for the instruction.
    fn replaced(&mut self, operator: &Operator<'_>) -> bool {
        let (meter, [first, second, third]) = (self.meter, self.scratch.integers);
        let mut code = self.function.instructions();
        match access(operator) {
            Access::None => {}
            Access::Load { offset, width } => {
                code.local_tee(first);
                meter.within(&mut code, offset + width);
                code.local_get(first);
            }
            Access::Store { value, offset, width } => {
                let value = self.scratch.for_value(value);
                code.local_set(value).local_tee(first);
                meter.within(&mut code, offset + width);
                code.local_get(first);
                if offset != 0 {
                    let offset = u32::try_from(offset).expect("the check lets no 64-bit memory through");
                    code.i32_const(offset.cast_signed()).i32_add();
                }
                code.i32_const(UNDO_PAGE_SHIFT.cast_signed()).i32_shr_u().local_tee(second);
                code.i32_load8_u(Layout::map()).i32_eqz();
                code.if_(BlockType::Empty).local_get(second).call(meter.functions.save).end();
                code.local_get(first).local_get(value);
            }
            access @ (Access::Write | Access::Copy) => {
                code.local_set(third).local_set(second).local_tee(first).local_get(third).call(meter.functions.writes);
                if matches!(access, Access::Copy) {
                    code.local_get(second).local_get(third).call(meter.functions.reads);
                }
                code.local_get(first).local_get(second).local_get(third);
            }
            Access::Size => {
                meter.pages(&mut code);
                return true;
            }
            Access::Grow => {
                code.call(meter.functions.grow);
                return true;
            }
        }
        false
    }
}
