//! What the loop needs of the operating system, so that a simulation can stand in for it.

use crate::function::lifecycle::ClockReading;
use crate::function::marker_log::Output;
use crate::function::request::Peer;
use rustix::io::Errno;
use std::time::Duration;

/// Names what became ready. A slot's generation is in it: an event for a connection that was closed earlier in the
/// same turn must not reach the one that took its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u64);

impl Token {
    pub(crate) const LISTENER: Token = Token(u64::MAX);
    /// Signals; only there to end a wait.
    pub(crate) const WAKE: Token = Token(u64::MAX - 1);

    pub(crate) fn of_slot(index: usize, generation: u32) -> Token {
        Token(u64::from(generation) << 32 | index as u64)
    }

    pub(crate) fn index(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What a connection waits for. Always one of the two: while a reply is on its way nothing is read, so that a client
/// that does not take its replies cannot make us hold more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Write,
}

/// Something is ready. A connection that broke is both readable and writable: the next call on it says how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// What signals came since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signals {
    /// How long ago the first SIGTERM or SIGINT came, if one did.
    pub(crate) stop_age: Option<Duration>,
    /// SIGCONT.
    pub(crate) continued: bool,
    /// Either of them since the last look: explains an interrupted wait.
    pub(crate) any: bool,
}

/// Events that one wait reports at most; what is left comes with the next.
pub(crate) const EVENTS_PER_WAIT: usize = 64;

/// The system calls of the loop. `AGAIN` means what it says; every other error of a socket ends its connection.
/// Errors are bare numbers: `std::io::Error` would bring 3 kB of names along that nobody reads.
pub(crate) trait System {
    type Socket;

    /// Waits until something is ready, no longer than `limit`, and puts it in `ready`. True if the wait was
    /// interrupted.
    fn wait(&mut self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> bool;
    fn now(&mut self) -> ClockReading;
    fn signals(&mut self) -> Signals;

    /// Whether the listener takes part in the next wait.
    fn watch_listener(&mut self, wanted: bool) -> Result<(), Errno>;
    /// Refuses connections from now on.
    fn stop_listening(&mut self);
    fn accept(&mut self) -> Result<(Self::Socket, Peer), Errno>;

    /// Has a new connection take part in waits.
    fn register(&mut self, socket: &Self::Socket, token: Token, interest: Interest) -> Result<(), Errno>;
    fn reregister(&mut self, socket: &Self::Socket, token: Token, interest: Interest);
    fn deregister(&mut self, socket: &Self::Socket);

    /// Appends to `buffer` what fits in its spare capacity; 0 is the peer's end.
    fn read(&mut self, socket: &Self::Socket, buffer: &mut Vec<u8>) -> Result<usize, Errno>;
    /// Writes from both slices in one call.
    fn write(&mut self, socket: &Self::Socket, head: &[u8], body: &[u8]) -> Result<usize, Errno>;
    /// Tells the peer that nothing more will come.
    fn shutdown_write(&mut self, socket: &Self::Socket);
    /// Has the coming close be a reset: what was sent is not whole.
    fn set_reset_on_close(&mut self, socket: &Self::Socket);
    /// Sends every piece at once from now on.
    fn set_nodelay(&mut self, socket: &Self::Socket);
    /// Bytes written that the peer's kernel has not taken yet, where ours can tell.
    fn unacked_bytes(&mut self, socket: &Self::Socket) -> Option<usize>;

    /// One line, line feed included, in one write to standard output.
    fn print(&mut self, line: &[u8]);
    /// Sends on what callbacks have printed without a line feed.
    fn flush_output(&mut self);
}

impl<O: System> Output for O {
    fn print(&mut self, line: &[u8]) {
        System::print(self, line);
    }

    fn flush_output(&mut self) {
        System::flush_output(self);
    }
}
