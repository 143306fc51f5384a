//! A command that does not outlive this process.

#![allow(unsafe_code, reason = "what runs in the child before it becomes the command")]

use std::io;
use std::process::{Child, Command};

/// Starts a command that is killed when this process ends, however that comes. Must be called on the first thread: the system looks at
/// the thread that starts it.
#[cfg(target_os = "linux")]
pub(crate) fn spawn_bound_to_this(command: &mut Command) -> io::Result<Child> {
    use std::os::unix::process::CommandExt as _;

    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

    let this = getpid();
    let bind = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // This process may have ended before that.
        if getppid() == Some(this) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    };
    // SAFETY: between fork and exec, this makes two system calls, takes no lock and allocates nothing.
    unsafe { command.pre_exec(bind) };
    command.spawn()
}

/// Starts a command. This system does not tell it when this process ends.
#[cfg(not(target_os = "linux"))]
pub(crate) fn spawn_bound_to_this(command: &mut Command) -> io::Result<Child> {
    command.spawn()
}
