//! SIGTERM, SIGINT and SIGCONT, without a thread. Where there is a program to pass calls to, SIGCHLD too, and the
//! signals that are meant for that program.
//!
//! The handlers count, and write a byte into a pipe that the loop waits for. The first SIGTERM or SIGINT asks for a
//! stop; the second ends the process in the handler, so that it works while a callback is stuck. For PID 1 the kernel
//! ignores signals that have no handler, so without these a container would not stop when it is told to.
//!
//! `signal-hook` would do the same safely, but it makes two `sigaction` calls for each signal and keeps a registry on
//! the heap, before the first reply. Its handlers would do what the handlers below do.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Signals of any kind so far.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// When the first stop signal came, on the monotonic clock; 0 until then. The flag and its time are one value, so no
/// signal can be seen half written.
static STOPPED_AT_MS: AtomicU64 = AtomicU64::new(0);
/// Changes when a server ends.
static GENERATION: AtomicU32 = AtomicU32::new(0);
static CONTINUED: AtomicBool = AtomicBool::new(false);
/// The descriptor of the pipe's writing end, or -1.
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// Whether SIGTERM or SIGINT has come.
pub(crate) fn stop_requested() -> bool {
    STOPPED_AT_MS.load(Ordering::Relaxed) > 0
}

/// How long ago the first of them came. A callback may have kept the loop from seeing it at once.
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

/// Ends a wait when a signal comes, also if it came just before the wait.
pub(crate) struct WakePipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl WakePipe {
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Empties the pipe, without blocking. A byte that is left would end every wait from now on.
    pub(crate) fn drain(&self) {
        let mut bytes = [0; 64];
        while rustix::io::read(&self.reader, &mut bytes).is_ok_and(|count| count == bytes.len()) {}
    }
}

/// Asks the server of one wake pipe to stop, from any thread. It has both ends of the pipe, so no write can fail for
/// want of a reader.
pub(crate) struct StopRequester {
    _reader: OwnedFd,
    writer: OwnedFd,
    generation: u32,
}

impl StopRequester {
    /// Counts as the first stop signal. Does nothing if the server has ended.
    pub(crate) fn request(&self) {
        if GENERATION.load(Ordering::Acquire) != self.generation {
            return;
        }
        let _ = STOPPED_AT_MS.compare_exchange(0, monotonic_ms().max(1), Ordering::Relaxed, Ordering::Relaxed);
        COUNT.fetch_add(1, Ordering::Release);
        // If the pipe is full, the loop wakes anyway.
        let _ = rustix::io::write(&self.writer, &[0]);
    }
}

impl WakePipe {
    pub(crate) fn stop_requester(&self) -> io::Result<StopRequester> {
        let (reader, writer) = (self.reader.try_clone()?, self.writer.try_clone()?);
        Ok(StopRequester { _reader: reader, writer, generation: GENERATION.load(Ordering::Acquire) })
    }
}

impl Drop for WakePipe {
    fn drop(&mut self) {
        GENERATION.fetch_add(1, Ordering::Release);
        // Before the descriptor is closed, because its number may soon be another file's.
        WAKE.store(-1, Ordering::Relaxed);
    }
}

/// Installs the handler for the three signals, and makes them end waits for the pipe.
pub(crate) fn install_with_wake() -> io::Result<WakePipe> {
    let (reader, writer) = pipe()?;
    // An earlier server of this process may have been stopped.
    STOPPED_AT_MS.store(0, Ordering::Relaxed);
    WAKE.store(writer.as_raw_fd(), Ordering::Relaxed);
    install()?;
    Ok(WakePipe { reader, writer })
}

/// Has the end of a child end waits for the pipe as well.
#[cfg(feature = "adapter")]
pub(crate) fn install_children() -> io::Result<()> {
    take_over(&[libc::SIGCHLD])
}

/// The process groups of the program and of a command, or 0.
#[cfg(feature = "adapter")]
static GROUPS: [AtomicI32; 2] = [AtomicI32::new(0), AtomicI32::new(0)];

/// Passes signals on to the process group of the program, which shares no group with this process. A signal that was
/// ignored when this process began stays ignored, for both. A second stop signal ends this group, too.
#[cfg(feature = "adapter")]
#[cold]
pub(crate) fn forward_to(group: i32) -> io::Result<()> {
    GROUPS[0].store(group, Ordering::Relaxed);
    FORWARDED.iter().filter(|signal| !is_ignored(**signal)).try_for_each(|signal| take_over(&[*signal]))
}

/// A second stop signal ends this group, too; 0 for none.
#[cfg(feature = "adapter")]
pub(crate) fn note_command(group: i32) {
    GROUPS[1].store(group, Ordering::Relaxed);
}

/// What people send to servers by hand, and what a terminal sends.
#[cfg(feature = "adapter")]
const FORWARDED: [libc::c_int; 4] = [libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

#[cfg(feature = "adapter")]
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: all zeroes is a valid sigaction; the call only writes to it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Sends a signal to a group that was noted.
#[cfg(feature = "adapter")]
fn send_to_group(place: usize, signal: libc::c_int) {
    let group = GROUPS[place].load(Ordering::Relaxed);
    if group > 1 {
        // SAFETY: kill is async-signal-safe and takes numbers only.
        unsafe { libc::kill(-group, signal) };
    }
}

/// True if the signal was for the program alone.
#[cfg(feature = "adapter")]
fn is_forwarded(signal: libc::c_int) -> bool {
    let is_of_program = FORWARDED.contains(&signal);
    if is_of_program {
        // SAFETY: errno belongs to this thread; it is restored because the interrupted code may be about to read it.
        unsafe {
            let errno = *errno();
            send_to_group(0, signal);
            *self::errno() = errno;
        }
    }
    is_of_program
}

#[cfg(not(feature = "adapter"))]
fn is_forwarded(_signal: libc::c_int) -> bool {
    false
}

/// Installs the handler for the three signals.
pub(crate) fn install() -> io::Result<()> {
    take_over(&[libc::SIGTERM, libc::SIGINT, libc::SIGCONT])
}

/// Installs the handler for SIGCONT only. `ctrlc` handles the others, up to the first of them.
#[cfg(feature = "tiny_http")]
pub(crate) fn install_continued() -> io::Result<()> {
    STOPPED_AT_MS.store(0, Ordering::Relaxed);
    take_over(&[libc::SIGCONT])
}

/// `ctrlc` has caught a stop signal; it does not tell the number. The next one must end the process.
#[cfg(feature = "tiny_http")]
pub(crate) fn stop_caught_elsewhere() {
    on_signal(libc::SIGTERM);
    // If it fails, `ctrlc` catches the second signal as well, and this function is called again.
    let _ = install();
}

fn take_over(signals: &[libc::c_int]) -> io::Result<()> {
    for &signal in signals {
        // SAFETY: all zeroes is a valid sigaction (no flags, empty mask) on every Unix.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as usize;
        // A blocking call in an author's callback goes on. A child that is stopped is no news.
        action.sa_flags = libc::SA_RESTART | libc::SA_NOCLDSTOP;
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
    } else if signal == libc::SIGCHLD || is_forwarded(signal) {
        // It only ends the wait.
    } else if STOPPED_AT_MS.compare_exchange(0, monotonic_ms().max(1), Ordering::Relaxed, Ordering::Relaxed).is_err() {
        // Nobody else would end them: the group of this process is another one.
        #[cfg(feature = "adapter")]
        [0, 1].into_iter().for_each(|place| send_to_group(place, libc::SIGKILL));
        // SAFETY: _exit is async-signal-safe and never returns.
        unsafe { libc::_exit(128 + signal) }
    }
    // Last: code that sees the new count must see the values above.
    COUNT.fetch_add(1, Ordering::Release);
    let wake = WAKE.load(Ordering::Relaxed);
    if wake >= 0 {
        // SAFETY: errno belongs to this thread; it is restored because the interrupted code may be about to read it.
        // write is async-signal-safe, the byte outlives the call, and if the pipe is full, the loop wakes anyway.
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

    /// A byte that is left in the pipe would end every wait, and the loop would never sleep again.
    #[test]
    fn any_number_of_signals_is_drained() {
        for count in [0, 1, 63, 64, 65, 1000] {
            let (reader, writer) = pipe().unwrap();
            rustix::io::write(&writer, &vec![0; count]).unwrap();
            let pipe = WakePipe { reader, writer };
            pipe.drain();
            assert_eq!(rustix::io::read(&pipe.reader, &mut [0; 1]), Err(rustix::io::Errno::AGAIN), "{count}");
        }
    }
}
