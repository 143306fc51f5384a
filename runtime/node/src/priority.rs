//! Which of this process's threads gives way to all others (`SCHED_IDLE` of Linux, sched(7)).

#![allow(unsafe_code, reason = "the system calls for this are in no crate")]

use std::io;

/// A thread of this process, as the system names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadId {
    #[cfg(target_os = "linux")]
    thread: libc::c_long,
}

#[cfg(target_os = "linux")]
impl ThreadId {
    /// The calling thread.
    pub(crate) fn current() -> ThreadId {
        // SAFETY: takes nothing and can't fail.
        ThreadId { thread: unsafe { libc::syscall(libc::SYS_gettid) } }
    }

    /// From now on it runs when nothing else of its control group wants its processor.
    ///
    /// # Errors
    /// What the system says; anybody may do so.
    pub(crate) fn give_way(self) -> io::Result<()> {
        self.schedule(libc::SCHED_IDLE)
    }

    /// From now on it runs as others do.
    ///
    /// # Errors
    /// What the system says: a process needs the right to, by `CAP_SYS_NICE` or an `RLIMIT_NICE` of 20.
    pub(crate) fn take_part(self) -> io::Result<()> {
        self.schedule(libc::SCHED_OTHER)
    }

    fn schedule(self, policy: libc::c_int) -> io::Result<()> {
        // The priority that both policies have.
        let parameter: libc::c_int = 0;
        // SAFETY: the system only reads `parameter`, which is all of its `sched_param` and outlives the call; a thread that is
        // gone is an error.
        match unsafe { libc::syscall(libc::SYS_sched_setscheduler, self.thread, policy, &raw const parameter) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Other systems have no such thing.
#[cfg(not(target_os = "linux"))]
impl ThreadId {
    pub(crate) fn current() -> ThreadId {
        ThreadId {}
    }

    pub(crate) fn give_way(self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn take_part(self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::thread;

    use super::*;

    fn policy() -> libc::c_long {
        // SAFETY: takes a number; 0 is the calling thread.
        unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) }
    }

    #[test]
    fn one_thread_gives_way_and_takes_part_again_where_it_may() {
        let of_others = policy();
        let other = thread::spawn(|| {
            let me = ThreadId::current();
            me.give_way().expect("anybody may");
            assert_eq!(policy(), libc::c_long::from(libc::SCHED_IDLE));
            let back = me.take_part();
            let expected = if back.is_ok() { libc::SCHED_OTHER } else { libc::SCHED_IDLE };
            assert_eq!(policy(), libc::c_long::from(expected), "{back:?}");
        });
        other.join().expect("it panicked");
        assert_eq!(policy(), of_others);
    }
}
