//! What each instruction costs in gas.
//!
//! One unit stands for about the time of one simple instruction. The table is a compromise between processors; what matters
//! is that it is the same for all replicas, and that nothing slow is cheap. **A change of it changes what calls come to**,
//! so it has a version, which belongs to what a cluster decides on before it is used.
//!
//! | instruction                                                  | gas                       |
//! |--------------------------------------------------------------|---------------------------|
//! | `block`, `loop`, `end`, `else`, `nop`, `drop`, `unreachable` | 0                         |
//! | constants, locals, globals, arithmetic, comparisons, branches | 1                        |
//! | `br_table`, `memory.size`, conversions from and to floats    | 2                         |
//! | loads                                                        | 3                         |
//! | arithmetic on floats                                         | 4                         |
//! | stores                                                       | 6                         |
//! | calls                                                        | 10, indirect ones 15      |
//! | division and remainder of integers, division and root of floats | 20                     |
//! | `memory.copy`, `memory.fill`, `memory.init`                  | 40, and 1 for each byte   |
//! | `memory.grow`                                                | 100, and 2000 for each page of 64 KiB |

use concoord_wire::version::Versions;
use wasmparser::Operator;

/// Version of the table.
pub const COST_TABLE_VERSION: u32 = 1;

/// A build applies only those versions whose costs it knows: others it refuses before anything is executed.
const _: () = {
    let (first, last) = (Versions::OF_BUILD.first, Versions::OF_BUILD.last);
    assert!(first.cost_table() == COST_TABLE_VERSION && last.cost_table() == COST_TABLE_VERSION);
};

/// Gas of a bulk instruction besides what its bytes cost.
const BULK: u64 = 40;
/// Gas of `memory.grow` besides what its pages cost.
const GROW: u64 = 100;
/// Gas of each page that memory grows by: what a system spends on filling it with zeros, and more.
pub(crate) const GROW_PAGE: u64 = 2000;

/// Gas that an instruction costs before it runs. What depends on its operands comes on top (see `meter.rs`).
pub(crate) fn cost(operator: &Operator<'_>) -> u64 {
    use Operator as O;
    match operator {
        O::Block { .. } | O::Loop { .. } | O::End | O::Else | O::Nop | O::Drop | O::Unreachable => 0,
        O::BrTable { .. } | O::MemorySize { .. } | O::TableSize { .. } => 2,
        O::F32ConvertI32S
        | O::F32ConvertI32U
        | O::F32ConvertI64S
        | O::F32ConvertI64U
        | O::F64ConvertI32S
        | O::F64ConvertI32U
        | O::F64ConvertI64S
        | O::F64ConvertI64U
        | O::I32TruncF32S
        | O::I32TruncF32U
        | O::I32TruncF64S
        | O::I32TruncF64U
        | O::I64TruncF32S
        | O::I64TruncF32U
        | O::I64TruncF64S
        | O::I64TruncF64U
        | O::I32TruncSatF32S
        | O::I32TruncSatF32U
        | O::I32TruncSatF64S
        | O::I32TruncSatF64U
        | O::I64TruncSatF32S
        | O::I64TruncSatF32U
        | O::I64TruncSatF64S
        | O::I64TruncSatF64U
        | O::F32DemoteF64
        | O::F64PromoteF32 => 2,
        O::I32Load { .. }
        | O::I32Load8S { .. }
        | O::I32Load8U { .. }
        | O::I32Load16S { .. }
        | O::I32Load16U { .. }
        | O::I64Load { .. }
        | O::I64Load8S { .. }
        | O::I64Load8U { .. }
        | O::I64Load16S { .. }
        | O::I64Load16U { .. }
        | O::I64Load32S { .. }
        | O::I64Load32U { .. }
        | O::F32Load { .. }
        | O::F64Load { .. } => 3,
        O::F32Add
        | O::F32Sub
        | O::F32Mul
        | O::F32Min
        | O::F32Max
        | O::F32Ceil
        | O::F32Floor
        | O::F32Trunc
        | O::F32Nearest
        | O::F64Add
        | O::F64Sub
        | O::F64Mul
        | O::F64Min
        | O::F64Max
        | O::F64Ceil
        | O::F64Floor
        | O::F64Trunc
        | O::F64Nearest => 4,
        O::I32Store { .. }
        | O::I32Store8 { .. }
        | O::I32Store16 { .. }
        | O::I64Store { .. }
        | O::I64Store8 { .. }
        | O::I64Store16 { .. }
        | O::I64Store32 { .. }
        | O::F32Store { .. }
        | O::F64Store { .. } => 6,
        O::Call { .. } => 10,
        O::CallIndirect { .. } => 15,
        O::I32DivS
        | O::I32DivU
        | O::I32RemS
        | O::I32RemU
        | O::I64DivS
        | O::I64DivU
        | O::I64RemS
        | O::I64RemU
        | O::F32Div
        | O::F32Sqrt
        | O::F64Div
        | O::F64Sqrt => 20,
        O::MemoryCopy { .. } | O::MemoryFill { .. } | O::MemoryInit { .. } => BULK,
        O::MemoryGrow { .. } => GROW,
        _ => 1,
    }
}
