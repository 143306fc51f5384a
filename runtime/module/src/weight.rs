//! What a function's frame weighs on the stack, so that "too deep" is the same on every host.
//!
//! How large a frame is depends on compiler, processor and settings. What is counted is therefore not bytes but what a
//! compiler can be made to keep in a frame, from the code as it was written: parameters and locals, operands, and what it
//! may keep of intermediate values that it computes once for several places. The frames that are open together weigh at most
//! [`DEPTH_MAX`]; the native stack has room for twice what the worst code was seen to use of it (`depth.rs` of the
//! executor's tests makes such code), so that the native stack never decides.

/// What the frames that are open together may weigh. A unit stands for eight bytes, which is what was seen at worst.
pub const DEPTH_MAX: u32 = 200_000;

/// What each frame weighs at least: return address, saved registers, and what the rewrite's own code keeps.
const FRAME: u32 = 16;
/// What a local or an operand weighs: compilers give floats sixteen bytes.
const VALUE: u32 = 2;
/// Instructions that weigh one unit together. A value that a compiler computes once for a whole loop and keeps in the frame
/// takes four: two for what it is made of, one to make it, and one to use it.
const INSTRUCTIONS: u32 = 2;

/// The weight of a function's frame, from the number of its parameters and locals together, the most operands that it
/// ever has on the stack, and the number of its instructions.
pub(crate) fn weight(locals: u32, operands: u32, instructions: u32) -> u32 {
    FRAME + VALUE * (locals + operands) + instructions / INSTRUCTIONS
}
