//! The check of one function's body.

use wasmparser::{BlockType, FuncValidator, FunctionBody, Operator, ValType, ValidatorResources};

use crate::Limits;
use crate::body::ADDED_LOCALS;
use crate::check::limit;
use crate::refusal::{Reason, Refusal};
use crate::weight::weight;

/// The most declared locals whatever the limits say: beside a thousand parameters, and the locals that the rewrite adds,
/// these make the 50,000 that WebAssembly's implementations have in common.
const LOCALS_MAX: u32 = 50_000 - 1000 - ADDED_LOCALS;

/// Validates a body and refuses what an object's code may not hold. Gives what its frame weighs.
pub(crate) fn check(
    validator: &mut FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
    limits: &Limits,
) -> Result<u32, Refusal> {
    let range = body.range();
    let most = u32::try_from(limits.body_bytes).unwrap_or(u32::MAX);
    limit("bytes in one function", range.len() as u64, most, range.start)?;
    locals(validator, body, limits)?;
    let (mut operands, mut instructions) = (0, 0);
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset()?;
        if let Some(reason) = refused(&operator) {
            return Err(Refusal::at(offset, reason));
        }
        if let Operator::BrTable { targets } = &operator {
            limit("targets in one br_table", targets.len(), limits.branch_targets, offset)?;
        }
        validator.op(offset, &operator)?;
        operands = operands.max(validator.operand_stack_height());
        instructions += 1;
    }
    operators.finish()?;
    Ok(weight(validator.len_locals(), operands, instructions))
}

fn locals(
    validator: &mut FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
    limits: &Limits,
) -> Result<(), Refusal> {
    let mut reader = body.get_locals_reader()?;
    let most = limits.locals.min(LOCALS_MAX);
    let mut total = 0_u64;
    for _ in 0..reader.get_count() {
        let offset = reader.original_position();
        let (count, ty) = reader.read()?;
        total += u64::from(count);
        limit("locals in one function", total, most, offset)?;
        if ty.is_reference_type() {
            return Err(Refusal::at(offset, Reason::Reference("a local")));
        }
        validator.define_locals(offset, count, ty)?;
    }
    Ok(())
}

/// What stands against an instruction: it makes a reference, or changes a table or a segment. `table.size` stays,
/// since a table that nothing changes has one size.
fn refused(operator: &Operator<'_>) -> Option<Reason> {
    let name = match operator {
        Operator::RefNull { .. } => "ref.null",
        Operator::RefIsNull => "ref.is_null",
        Operator::RefFunc { .. } => "ref.func",
        Operator::TableGet { .. } => "table.get",
        Operator::TableSet { .. } => "table.set",
        Operator::TableGrow { .. } => "table.grow",
        Operator::TableFill { .. } => "table.fill",
        Operator::TableCopy { .. } => "table.copy",
        Operator::TableInit { .. } => "table.init",
        Operator::ElemDrop { .. } => "elem.drop",
        Operator::DataDrop { .. } => "data.drop",
        Operator::TypedSelect { ty } if ty.is_reference_type() => return Some(Reason::Reference("a selected value")),
        Operator::TypedSelectMulti { tys } if tys.iter().any(ValType::is_reference_type) => {
            return Some(Reason::Reference("a selected value"));
        }
        Operator::Block { blockty: BlockType::Type(ty) }
        | Operator::Loop { blockty: BlockType::Type(ty) }
        | Operator::If { blockty: BlockType::Type(ty) }
            if ty.is_reference_type() =>
        {
            return Some(Reason::Reference("a block's result"));
        }
        _ => return None,
    };
    Some(Reason::Instruction(name))
}
