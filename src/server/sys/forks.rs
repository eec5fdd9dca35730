//! Whether a process that shares our descriptors may be running: a child that a callback has forked without exec.
//!
//! While a child holds a copy of a socket, closing ours ends neither the connection nor its place in epoll, which would
//! report it for ever. So the sockets are then shut down and taken out first. Without a fork that would cost two system
//! calls for each connection and change nothing.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

static HAS_FORKED: AtomicBool = AtomicBool::new(false);

/// From now on [`may_share_sockets`] knows of forks. `posix_spawn` and `vfork` are none: what they start has other
/// descriptors.
pub(crate) fn watch() {
    static IS_WATCHING: AtomicBool = AtomicBool::new(false);
    if !IS_WATCHING.swap(true, Ordering::Relaxed) {
        // SAFETY: the handler only stores to an atomic and stays valid for the life of the process. Without memory for
        // it the function fails, and forks go unnoticed.
        unsafe { libc::pthread_atfork(None, Some(note), None) };
    }
}

unsafe extern "C" fn note() {
    HAS_FORKED.store(true, Ordering::Relaxed);
}

/// Whether this process has forked.
pub(crate) fn may_share_sockets() -> bool {
    HAS_FORKED.load(Ordering::Relaxed)
}
