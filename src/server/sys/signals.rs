//! SIGTERM, SIGINT and SIGCONT, without a thread.
//!
//! The handlers count, and write a byte into a pipe that the loop waits on. The first SIGTERM or SIGINT asks for a
//! stop; the second ends the process from inside the handler, so that it works while a callback is stuck. As PID 1
//! the kernel ignores signals that have no handler: these are why a container stops when it is told to.
//!
//! `signal-hook` would do the same safely, for two `sigaction` calls a signal instead of one and a registry on the
//! heap: both on the way to the first reply. The handlers below are what it would run.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Signals of any kind so far.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// When the first stop signal came, on the monotonic clock; 0 until then. One value for both: a signal may come between
/// any two looks.
static STOPPED_AT_MS: AtomicU64 = AtomicU64::new(0);
static CONTINUED: AtomicBool = AtomicBool::new(false);
/// The pipe's writing end, or -1.
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// Whether SIGTERM or SIGINT has come.
pub(crate) fn stop_requested() -> bool {
    STOPPED_AT_MS.load(Ordering::Relaxed) > 0
}

/// How long ago the first of them came: a callback may have kept the loop from seeing it.
pub(crate) fn stop_age() -> Option<Duration> {
    match STOPPED_AT_MS.load(Ordering::Relaxed) {
        0 => None,
        at => Some(Duration::from_millis(monotonic_ms().saturating_sub(at))),
    }
}

/// Changes with every signal.
pub(crate) fn count() -> u32 {
    COUNT.load(Ordering::Acquire)
}

/// Whether SIGCONT has come since the last call.
pub(crate) fn take_continued() -> bool {
    CONTINUED.load(Ordering::Relaxed) && CONTINUED.swap(false, Ordering::Relaxed)
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

    /// Empties the pipe; it never blocks. Whatever is left would end every wait from now on.
    pub(crate) fn drain(&self) {
        let mut bytes = [0; 64];
        while rustix::io::read(&self.reader, &mut bytes).is_ok_and(|count| count == bytes.len()) {}
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
    // What an earlier server of this process was told does not concern this one.
    STOPPED_AT_MS.store(0, Ordering::Relaxed);
    WAKE.store(writer.as_raw_fd(), Ordering::Relaxed);
    install()?;
    Ok(WakePipe { reader, _writer: writer })
}

/// Takes the three signals over.
pub(crate) fn install() -> io::Result<()> {
    take_over(&[libc::SIGTERM, libc::SIGINT, libc::SIGCONT])
}

/// Takes only SIGCONT over: the others are `ctrlc`'s, up to the first of them.
#[cfg(feature = "tiny_http")]
pub(crate) fn install_continued() -> io::Result<()> {
    STOPPED_AT_MS.store(0, Ordering::Relaxed);
    take_over(&[libc::SIGCONT])
}

/// A stop signal has come to `ctrlc`, which does not say its number. The next one has to end the process with it.
#[cfg(feature = "tiny_http")]
pub(crate) fn stop_caught_elsewhere() {
    on_signal(libc::SIGTERM);
    // Where it fails, a second signal comes here again.
    let _ = install();
}

fn take_over(signals: &[libc::c_int]) -> io::Result<()> {
    for &signal in signals {
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
    if signal == libc::SIGCONT {
        CONTINUED.store(true, Ordering::Relaxed);
    } else if STOPPED_AT_MS.compare_exchange(0, monotonic_ms().max(1), Ordering::Relaxed, Ordering::Relaxed).is_err() {
        // SAFETY: _exit is async-signal-safe and never returns.
        unsafe { libc::_exit(128 + signal) }
    }
    // Last: whoever sees the count changed must see the rest.
    COUNT.fetch_add(1, Ordering::Release);
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

fn monotonic_ms() -> u64 {
    // SAFETY: all zeroes is a valid timespec; clock_gettime is async-signal-safe and only writes to it.
    let now = unsafe {
        let mut now: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now);
        now
    };
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
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
    super::set_cloexec_nonblock(&reader)?;
    super::set_cloexec_nonblock(&writer)?;
    Ok((reader, writer))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is left in the pipe would end every wait: a loop that never sleeps again.
    #[test]
    fn any_number_of_signals_is_drained() {
        for count in [0, 1, 63, 64, 65, 1000] {
            let (reader, writer) = pipe().unwrap();
            rustix::io::write(&writer, &vec![0; count]).unwrap();
            let pipe = WakePipe { reader, _writer: writer };
            pipe.drain();
            assert_eq!(rustix::io::read(&pipe.reader, &mut [0; 1]), Err(rustix::io::Errno::AGAIN), "{count}");
        }
    }
}
