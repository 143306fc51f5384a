//! What a function's frame weighs on the stack, so that "too deep" is the same on every host.
//!
//! How large a frame is depends on compiler, processor and settings. What is counted is therefore not bytes but what a
//! compiler can be made to keep in a frame, from the code as it was written: parameters and locals, operands, and what it
//! may keep of intermediate values that it computes once for several places. The frames that are open together weigh at most
//! [`DEPTH_MAX`]; the native stack has room for twice what the worst code was seen to use of it (a test in the executor
//! makes such code), so that the native stack never decides.

/// What the frames that are open together may weigh.
pub const DEPTH_MAX: u32 = 65_536;

/// What each frame weighs at least: return address, saved registers, and what the rewrite's own code keeps.
const FRAME: u32 = 16;
/// Instructions for which one intermediate value is counted: making one takes several, and using it again some more.
const INSTRUCTIONS_PER_VALUE: u32 = 8;

/// The weight of a function's frame, from the number of its parameters and locals together, the most operands that it
/// ever has on the stack, and the number of its instructions.
pub(crate) fn weight(locals: u32, operands: u32, instructions: u32) -> u32 {
    FRAME + locals + operands + instructions / INSTRUCTIONS_PER_VALUE
}
