//! Whether standard output is in the middle of a line, so that a log marker can begin at column 0 (C-LOG-1).
//!
//! A callback that prints without a line feed leaves the cursor behind its text. The standard library does not tell
//! whether its buffer held anything, and the kernel does not tell what was written last; to find out by system calls
//! would cost every call two of them. So on Linux this module has a `write` of its own, which the linker takes instead
//! of the C library's: it makes the same system call, and looks at the last byte that goes to descriptor 1. It is no
//! cancellation point of POSIX threads, which Rust programs do not use.
//!
//! What reaches the descriptor in another way is not seen: by child processes, by C's `printf`, by `writev`.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

static IS_MID_LINE: AtomicBool = AtomicBool::new(false);

/// Whether the last byte on standard output was no line feed.
pub(crate) fn is_mid_line() -> bool {
    IS_MID_LINE.load(Ordering::Relaxed)
}

/// The server has written something itself.
pub(crate) fn note(written: &[u8]) {
    if let Some(last) = written.last() {
        IS_MID_LINE.store(*last != b'\n', Ordering::Relaxed);
    }
}

/// write(2), and a look at what goes to standard output.
///
/// # Safety
/// As of write(2): `bytes` points to `count` readable bytes. An address that is wrong is an error of the kernel's.
#[cfg(all(target_os = "linux", not(miri)))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(
    descriptor: libc::c_int,
    bytes: *const libc::c_void,
    count: libc::size_t,
) -> libc::ssize_t {
    // SAFETY: the caller answers for the address; `syscall` sets errno as `write` does.
    let written = unsafe { libc::syscall(libc::SYS_write, descriptor, bytes, count) } as libc::ssize_t;
    if descriptor == libc::STDOUT_FILENO && written > 0 {
        // SAFETY: the kernel has just read so many bytes from there.
        note(unsafe { std::slice::from_raw_parts(bytes.cast(), written as usize) });
    }
    written
}
