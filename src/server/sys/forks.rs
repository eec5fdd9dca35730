//! Whether a process that shares our descriptors may be running: a child that a callback has forked without exec.
//!
//! While a child holds a copy of a socket, closing ours ends neither the connection nor its place in epoll, which would
//! report it for ever. So the sockets are then shut down and taken out first. Without a fork that would cost two system
//! calls for each connection and change nothing.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

static HAS_FORKED: AtomicBool = AtomicBool::new(false);

/// From now on [`may_share_sockets`] knows of forks. A child of before counts as one, whatever it is. `posix_spawn` and
/// `vfork` are none: what they start has other descriptors.
///
/// The C library allocates for it, which costs two page faults, so it waits until the first reply has left.
#[cold]
#[inline(never)]
pub(crate) fn watch() {
    static IS_WATCHING: AtomicBool = AtomicBool::new(false);
    if IS_WATCHING.swap(true, Ordering::Relaxed) {
        return;
    }
    // SAFETY: the handler only stores to an atomic and stays valid for the life of the process (without memory for it
    // the call fails, and forks go unnoticed); all zeroes is a valid siginfo, which waitid writes to. It takes no
    // child's status away.
    let has_child = unsafe {
        libc::pthread_atfork(None, Some(note), None);
        let mut info = std::mem::zeroed();
        libc::waitid(libc::P_ALL, 0, &mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) == 0
    };
    if has_child {
        HAS_FORKED.store(true, Ordering::Relaxed);
    }
}

unsafe extern "C" fn note() {
    HAS_FORKED.store(true, Ordering::Relaxed);
}

/// Whether this process has forked.
pub(crate) fn may_share_sockets() -> bool {
    HAS_FORKED.load(Ordering::Relaxed)
}
