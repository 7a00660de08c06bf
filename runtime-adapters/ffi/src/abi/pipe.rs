//! Output that nobody reads, which by default ends a program: a library in a C program must not.

#[cfg(unix)]
use core::mem::MaybeUninit;
#[cfg(unix)]
use core::ptr;

/// While it is there, a broken pipe is an error to this thread and to those that it starts, and no
/// signal. What the program does about the signal stays as it is.
pub(super) struct Unharmed {
    #[cfg(unix)]
    before: libc::sigset_t,
    #[cfg(unix)]
    was_pending: bool,
}

#[cfg(unix)]
impl Unharmed {
    pub(super) fn begin() -> Self {
        let was_pending = is_pending();
        let mut before = empty();
        let blocked = broken_pipe();
        // SAFETY: both sets are initialized.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before) };
        Self { before, was_pending }
    }
}

#[cfg(unix)]
impl Drop for Unharmed {
    fn drop(&mut self) {
        if is_pending() && !self.was_pending {
            let (blocked, mut signal) = (broken_pipe(), 0);
            // SAFETY: the set is initialized. It returns at once, for the signal is pending.
            unsafe { libc::sigwait(&raw const blocked, &raw mut signal) };
        }
        // SAFETY: the set is the one from before.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut())
        };
    }
}

#[cfg(unix)]
fn empty() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: it initializes the set.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

#[cfg(unix)]
fn broken_pipe() -> libc::sigset_t {
    let mut set = empty();
    // SAFETY: the set is initialized.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGPIPE) };
    set
}

#[cfg(unix)]
fn is_pending() -> bool {
    let mut pending = empty();
    // SAFETY: the set is initialized.
    unsafe {
        libc::sigpending(&raw mut pending);
        libc::sigismember(&raw const pending, libc::SIGPIPE) == 1
    }
}

#[cfg(not(unix))]
impl Unharmed {
    pub(super) const fn begin() -> Self {
        Self {}
    }
}
