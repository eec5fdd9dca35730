//! What the loop needs of the operating system, so that a simulation can stand in for it.

use crate::function::lifecycle::ClockReading;
use crate::function::marker_log::Output;
use crate::function::request::Peer;
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// The name of what became ready. It holds the generation of a connection's slot: an event for a connection that was
/// closed earlier in the same turn must not reach the next one in that slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u64);

impl Token {
    pub(crate) const LISTENER: Token = Token(u64::MAX);
    /// The pipe that the signal handlers write to: it only ends a wait.
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

/// What a connection waits for. A connection of the server waits for one of the two: while a response is on its way the
/// server reads nothing, so a client that does not take its responses cannot make it hold more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Write,
    /// The adapter passes bytes on in both directions.
    #[cfg(feature = "adapter")]
    Both,
}

/// What is ready. A connection that broke is both readable and writable: the next call on it fails with the cause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// The signals that came since the loop last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signals {
    /// How long ago the first SIGTERM or SIGINT came, if one did.
    pub(crate) stop_age: Option<Duration>,
    /// SIGCONT came.
    pub(crate) continued: bool,
    /// Any of them came since, which explains an interrupted wait.
    pub(crate) any: bool,
}

/// Events that one wait reports at most; the others come with the next wait.
pub(crate) const EVENTS_PER_WAIT: usize = 64;

/// The system calls of the loop. `AGAIN`: the socket is not ready. Every other error of a socket ends its connection.
/// Errors are bare numbers: `std::io::Error` would add 3 kB of names that nobody reads.
pub(crate) trait System {
    type Socket;

    /// Waits until something is ready, no longer than `limit`, and puts it in `ready`. True if the wait was
    /// interrupted. After an error the server cannot go on.
    fn wait(&mut self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> Result<bool, Errno>;
    fn now(&mut self) -> ClockReading;
    /// The monotonic clock alone.
    fn monotonic(&mut self) -> Instant;
    fn signals(&mut self) -> Signals;

    /// Whether the next wait reports the listener.
    fn watch_listener(&mut self, wanted: bool) -> Result<(), Errno>;
    /// Closes the listener: the kernel refuses connections from now on, and resets those in its backlog.
    fn stop_listening(&mut self);
    fn accept(&mut self) -> Result<(Self::Socket, Peer), Errno>;

    /// Has waits report a new connection.
    fn register(&mut self, socket: &Self::Socket, token: Token, interest: Interest) -> Result<(), Errno>;
    fn reregister(&mut self, socket: &Self::Socket, token: Token, interest: Interest);
    fn deregister(&mut self, socket: &Self::Socket);

    /// Appends to `buffer` what fits in its spare capacity; 0 means that the client sends nothing more.
    fn read(&mut self, socket: &Self::Socket, buffer: &mut Vec<u8>) -> Result<usize, Errno>;
    /// Writes from both slices in one call.
    fn write(&mut self, socket: &Self::Socket, head: &[u8], body: &[u8]) -> Result<usize, Errno>;
    /// Tells the client that nothing more will come.
    fn shutdown_write(&mut self, socket: &Self::Socket);
    /// Has the coming close reset the connection: the client must see that its response is not whole.
    fn set_reset_on_close(&mut self, socket: &Self::Socket);
    /// Has the kernel send every piece at once from now on.
    fn set_nodelay(&mut self, socket: &Self::Socket);
    /// Bytes written that the client's kernel has not acknowledged, where ours can tell.
    fn unacked_bytes(&mut self, socket: &Self::Socket) -> Option<usize>;
    /// Whether bytes of the client wait to be read. Changes nothing.
    fn has_unread(&mut self, socket: &Self::Socket) -> bool;

    /// Prints one line, line feed included, to standard output in one write.
    fn print(&mut self, line: &[u8]);
    /// Writes out what callbacks have printed without a line feed.
    fn flush_output(&mut self);
    /// Whether the last byte that was written out was no line feed.
    fn is_mid_line(&self) -> bool {
        false
    }
}

impl<O: System> Output for O {
    fn print(&mut self, line: &[u8]) {
        System::print(self, line);
    }

    fn flush_output(&mut self) {
        System::flush_output(self);
    }

    fn is_mid_line(&self) -> bool {
        System::is_mid_line(self)
    }
}
