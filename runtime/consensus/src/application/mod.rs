//! placeholder
/// x
pub struct Application;
