//! Which of this process's threads gives way to all others of the machine.

use std::io;

use libc::pid_t;

/// A thread of this process, as the system names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadId(pid_t);

impl ThreadId {
    /// The calling thread.
    #[allow(unsafe_code)]
    pub(crate) fn current() -> ThreadId {
        // SAFETY: takes nothing and can't fail.
        ThreadId(unsafe { libc::gettid() })
    }

    /// From now on it runs when nothing else wants its processor (`SCHED_IDLE`, sched(7)).
    ///
    /// # Errors
    /// What the system says; anybody may do so.
    pub(crate) fn give_way(self) -> io::Result<()> {
        self.schedule(libc::SCHED_IDLE)
    }

    /// From now on it runs as others do.
    ///
    /// # Errors
    /// What the system says: a process needs the right to, by CAP_SYS_NICE or an RLIMIT_NICE of 20.
    pub(crate) fn take_part(self) -> io::Result<()> {
        self.schedule(libc::SCHED_OTHER)
    }

    #[allow(unsafe_code)]
    fn schedule(self, policy: libc::c_int) -> io::Result<()> {
        let plain = libc::sched_param { sched_priority: 0 };
        // SAFETY: the system only reads `plain`, which outlives the call; a thread that is gone is an error.
        match unsafe { libc::sched_setscheduler(self.0, policy, &plain) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[allow(unsafe_code)]
    fn policy() -> libc::c_int {
        // SAFETY: takes a number; 0 is the calling thread.
        unsafe { libc::sched_getscheduler(0) }
    }

    #[test]
    fn one_thread_gives_way_and_takes_part_again_where_it_may() {
        let of_others = policy();
        let other = thread::spawn(|| {
            let me = ThreadId::current();
            me.give_way().expect("anybody may");
            assert_eq!(policy(), libc::SCHED_IDLE);
            let back = me.take_part();
            let expected = if back.is_ok() { libc::SCHED_OTHER } else { libc::SCHED_IDLE };
            assert_eq!(policy(), expected, "{back:?}");
        });
        other.join().expect("it panicked");
        assert_eq!(policy(), of_others);
    }
}
