//! SIGTERM, SIGINT and SIGCONT, without a thread.
//!
//! The handlers count, and write a byte into a pipe that the loop waits on. The first SIGTERM or SIGINT asks for a stop;
//! the second ends the process from inside the handler, so that it works while a callback is stuck. As PID 1 the
//! kernel ignores signals that have no handler: these are why a container stops when it is told to.
//!
//! `signal-hook` would do the same safely, for two `sigaction` calls a signal instead of one and a registry on the heap:
//! both on the way to the first reply. The handlers below are what it would run.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

/// Signals of any kind so far.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// Stop signals so far.
static STOPS: AtomicU32 = AtomicU32::new(0);
static CONTINUED: AtomicBool = AtomicBool::new(false);
/// The pipe's writing end, or -1.
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// Whether SIGTERM or SIGINT has come.
pub(crate) fn stop_requested() -> bool {
    STOPS.load(Ordering::Relaxed) > 0
}

/// Changes with every signal.
pub(crate) fn count() -> u32 {
    COUNT.load(Ordering::Relaxed)
}

/// Whether SIGCONT has come since the last call.
pub(crate) fn take_continued() -> bool {
    CONTINUED.swap(false, Ordering::Relaxed)
}

/// Ends a wait when a signal comes, also one that comes just before it.
pub(crate) struct WakePipe {
    reader: OwnedFd,
    _writer: OwnedFd,
}

impl WakePipe {
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Empties the pipe. It never blocks; what remains is seen in the next turn.
    pub(crate) fn drain(&self) {
        let _ = rustix::io::read(&self.reader, &mut [0; 16]);
    }
}

impl Drop for WakePipe {
    fn drop(&mut self) {
        // Before the descriptor is closed: its number may soon be another file's.
        WAKE.store(-1, Ordering::Relaxed);
    }
}

/// Takes the three signals over, and makes them end waits on the pipe.
pub(crate) fn install_with_wake() -> io::Result<WakePipe> {
    let (reader, writer) = pipe()?;
    WAKE.store(writer.as_raw_fd(), Ordering::Relaxed);
    install()?;
    Ok(WakePipe { reader, _writer: writer })
}

/// Takes the three signals over.
pub(crate) fn install() -> io::Result<()> {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGCONT] {
        // SAFETY: all zeroes is a valid sigaction (no flags, empty mask) on every Unix.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as usize;
        // An author's blocking call in a callback goes on.
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the handler makes only async-signal-safe calls and stays valid for the life of the process.
        if unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn on_signal(signal: libc::c_int) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    if signal == libc::SIGCONT {
        CONTINUED.store(true, Ordering::Relaxed);
    } else if STOPS.fetch_add(1, Ordering::Relaxed) > 0 {
        // SAFETY: _exit is async-signal-safe and never returns.
        unsafe { libc::_exit(128 + signal) }
    }
    let wake = WAKE.load(Ordering::Relaxed);
    if wake >= 0 {
        // SAFETY: errno is the thread's own; it is put back because the interrupted code may be about to read it.
        // write is async-signal-safe, the byte outlives the call, and a full pipe has already woken the loop.
        unsafe {
            let errno = *errno();
            libc::write(wake, [0u8].as_ptr().cast(), 1);
            *self::errno() = errno;
        }
    }
}

#[cfg(target_os = "linux")]
unsafe fn errno() -> *mut libc::c_int {
    // SAFETY: always valid, for the calling thread.
    unsafe { libc::__errno_location() }
}

#[cfg(target_vendor = "apple")]
unsafe fn errno() -> *mut libc::c_int {
    // SAFETY: always valid, for the calling thread.
    unsafe { libc::__error() }
}

#[cfg(not(target_vendor = "apple"))]
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pipe::PipeFlags;
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
}

#[cfg(target_vendor = "apple")]
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe()?;
    super::prepare(&reader)?;
    super::prepare(&writer)?;
    Ok((reader, writer))
}
