//! The standard objects: their proxies for programs that call them, and the objects themselves for tests.

pub use concoord_object_counter as counter;
pub use concoord_object_counter::{Counter, CounterProxy};
pub use concoord_object_lock as lock;
pub use concoord_object_lock::{Lock, LockProxy};
