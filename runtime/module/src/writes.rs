//! Function bodies in which each instruction that writes memory marks first what it will touch (see `undo.rs`).
//!
//! Every one of these instructions takes its operands from the stack, so they are put into locals of the function's own,
//! marked with, and pushed again. The locals come behind all that the function has. They hold nothing from one
//! instruction to another, so control flow around them does not matter; nor does it whether the code can be reached, since
//! each operand has a type of its own and not one that depends on the stack.

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{BlockType, Function, ValType};
use wasmparser::{FunctionBody, Operator};

use crate::undo::{Functions, Layout, UNDO_PAGE_SHIFT};

/// Locals that a function which writes has more when it is rewritten.
pub(crate) const ADDED_LOCALS: u32 = 6;

/// What an instruction writes.
enum Write {
    /// A value of this type, or the low part of it, to an address and this offset.
    Store { value: ValType, offset: u64 },
    /// As many bytes as the third operand says, to the address that is the first.
    Bulk,
}

fn write(operator: &Operator<'_>) -> Option<Write> {
    let (value, memory) = match operator {
        Operator::I32Store { memarg } | Operator::I32Store8 { memarg } | Operator::I32Store16 { memarg } => {
            (ValType::I32, memarg)
        }
        Operator::I64Store { memarg }
        | Operator::I64Store8 { memarg }
        | Operator::I64Store16 { memarg }
        | Operator::I64Store32 { memarg } => (ValType::I64, memarg),
        Operator::F32Store { memarg } => (ValType::F32, memarg),
        Operator::F64Store { memarg } => (ValType::F64, memarg),
        Operator::MemoryFill { .. } | Operator::MemoryCopy { .. } | Operator::MemoryInit { .. } => {
            return Some(Write::Bulk);
        }
        _ => return None,
    };
    Some(Write::Store { value, offset: memory.offset })
}

/// The added locals.
struct Scratch {
    integers: [u32; 3],
    wide: u32,
    float: u32,
    double: u32,
}

impl Scratch {
    const TYPES: [(u32, ValType); 4] = [(3, ValType::I32), (1, ValType::I64), (1, ValType::F32), (1, ValType::F64)];

    fn behind(locals: u32) -> Scratch {
        let integers = [0, 1, 2].map(|index| locals + index);
        Scratch { integers, wide: locals + 3, float: locals + 4, double: locals + 5 }
    }

    fn for_value(&self, value: ValType) -> u32 {
        match value {
            ValType::I64 => self.wide,
            ValType::F32 => self.float,
            ValType::F64 => self.double,
            _ => self.integers[2],
        }
    }
}

/// The body with its writes marked, for a function of so many parameters. `None` when it writes nothing.
pub(crate) fn mark<R: Reencode<Error = Infallible>>(
    reencode: &mut R,
    body: &FunctionBody<'_>,
    parameters: u32,
    functions: Functions,
) -> Result<Option<Function>, Error> {
    let mut operators = body.get_operators_reader()?;
    let mut writes = false;
    while !writes && !operators.eof() {
        writes = write(&operators.read()?).is_some();
    }
    if !writes {
        return Ok(None);
    }
    let (mut locals, mut count) = (Vec::new(), parameters);
    for group in body.get_locals_reader()? {
        let (size, ty) = group?;
        locals.push((size, reencode.val_type(ty)?));
        count += size;
    }
    locals.extend(Scratch::TYPES);
    let (mut function, scratch) = (Function::new(locals), Scratch::behind(count));
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let operator = operators.read()?;
        match write(&operator) {
            Some(Write::Store { value, offset }) => before_store(&mut function, &scratch, value, offset, functions),
            Some(Write::Bulk) => before_bulk(&mut function, &scratch, functions),
            None => {}
        }
        function.instruction(&reencode.instruction(operator)?);
    }
    Ok(Some(function))
}

fn before_store(function: &mut Function, scratch: &Scratch, value: ValType, offset: u64, functions: Functions) {
    let (value, [address, page, _]) = (scratch.for_value(value), scratch.integers);
    let mut code = function.instructions();
    code.local_set(value).local_tee(address);
    if offset != 0 {
        let offset = u32::try_from(offset).expect("the check lets no 64-bit memory through");
        // Where this exceeds 32 bits the store traps, whatever is marked.
        code.i32_const(offset.cast_signed()).i32_add();
    }
    code.i32_const(UNDO_PAGE_SHIFT.cast_signed()).i32_shr_u().local_tee(page);
    code.i32_load8_u(Layout::map()).i32_eqz();
    code.if_(BlockType::Empty).local_get(page).call(functions.save).end();
    code.local_get(address).local_get(value);
}

fn before_bulk(function: &mut Function, scratch: &Scratch, functions: Functions) {
    let [address, second, length] = scratch.integers;
    let mut code = function.instructions();
    code.local_set(length).local_set(second).local_tee(address);
    code.local_get(length).call(functions.mark);
    code.local_get(address).local_get(second).local_get(length);
}
