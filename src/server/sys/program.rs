//! The system calls of the adapter's loop, on a real Unix.

use crate::adapter::program::{Exit, Signal};
use crate::config::Listen;
use crate::function::lifecycle::{ClockReading, Machine};
use crate::function::request::Peer;
use crate::server::adapter::system::AdapterSystem;
use crate::server::sys::listen::Listener;
use crate::server::sys::process::{self, Streams};
use crate::server::sys::signals;
use crate::server::sys::unix::Unix;
use crate::server::system::{Interest, Ready, Signals, System, Token};
use crate::start_error::StartError;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SocketAddrUnix, sockopt};
use std::ffi::CString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The platform's side and the program's.
pub(crate) struct Sides {
    unix: Unix,
    listen: Listen,
    socket_mode: Option<u32>,
    program: Address,
    /// The process of the command that runs, or 0.
    command: i32,
}

enum Address {
    Tcp(SocketAddr),
    Unix(SocketAddrUnix),
}

impl Sides {
    /// Handles signals from now on. Listens when it is told to.
    pub(crate) fn new(listen: Listen, socket_mode: Option<u32>, program: &Listen) -> io::Result<Sides> {
        let program = match program {
            Listen::Tcp(address) => Address::Tcp(*address),
            Listen::Unix(path) => Address::Unix(SocketAddrUnix::new(path)?),
        };
        Ok(Sides { unix: Unix::without_listener()?, listen, socket_mode, program, command: 0 })
    }

    /// Where it listens; with port 0 in the configuration, where the kernel has chosen to.
    pub(crate) fn address(&self) -> &Listen {
        &self.listen
    }
}

impl AdapterSystem for Sides {
    fn listen(&mut self) -> Result<(), StartError> {
        let listener = Listener::open(&self.listen, self.socket_mode)
            .map_err(|error| StartError::io(format_args!("listen on {}", self.listen), &error))?;
        self.listen =
            listener.address(&self.listen).map_err(|error| StartError::io("read the listener's address", &error))?;
        self.unix.listen_on(listener);
        crate::server::announce(self.address());
        Ok(())
    }

    fn connect(&mut self) -> Result<OwnedFd, Errno> {
        let family = match &self.program {
            Address::Tcp(SocketAddr::V4(_)) => AddressFamily::INET,
            Address::Tcp(SocketAddr::V6(_)) => AddressFamily::INET6,
            Address::Unix(_) => AddressFamily::UNIX,
        };
        let socket = super::stream_socket(family)?;
        let outcome = match &self.program {
            Address::Tcp(address) => {
                // Pieces of a stream must not wait for each other.
                let _ = super::set_nodelay(&socket);
                net::connect(&socket, address)
            }
            Address::Unix(address) => net::connect(&socket, address),
        };
        match outcome {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error),
        }
    }

    fn take_error(&mut self, socket: &OwnedFd) -> Result<(), Errno> {
        sockopt::socket_error(socket)?
    }

    fn is_connected(&mut self, socket: &OwnedFd) -> bool {
        net::getpeername(socket).is_ok()
    }

    fn read_into(&mut self, socket: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
        rustix::io::read(socket, buffer)
    }

    fn is_quiet(&mut self, socket: &OwnedFd) -> bool {
        matches!(net::recv(socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT), Err(Errno::AGAIN))
    }

    fn park(&mut self, socket: &OwnedFd) {
        self.unix.forget(socket.as_fd());
    }

    fn machine(&self) -> Machine {
        crate::server::PROCESS_ENV.machine
    }

    fn spawn(&mut self, words: &[CString], environment: &[CString]) -> Result<(i32, Option<OwnedFd>), Errno> {
        let child = process::spawn(words, environment, Streams::Piped)?;
        // One command runs at a time.
        self.command = child.pid;
        signals::note_command(child.pid);
        Ok((child.pid, child.output))
    }

    fn signal_group(&mut self, pid: i32, signal: Signal) {
        process::signal_group(pid, signal);
    }

    fn reap(&mut self) -> Option<(i32, Exit)> {
        let ended = process::reap();
        if ended.is_some_and(|(pid, _)| pid == self.command) {
            // Its number may soon be another's.
            self.command = 0;
            signals::note_command(0);
        }
        ended
    }
}

/// Hands every call on.
macro_rules! forward {
    ($(fn $name:ident(&mut self $(, $argument:ident: $type:ty)*) $(-> $output:ty)?;)*) => {
        $(fn $name(&mut self $(, $argument: $type)*) $(-> $output)? {
            self.unix.$name($($argument),*)
        })*
    };
}

impl System for Sides {
    type Socket = OwnedFd;

    forward! {
        fn wait(&mut self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> Result<bool, Errno>;
        fn now(&mut self) -> ClockReading;
        fn monotonic(&mut self) -> Instant;
        fn signals(&mut self) -> Signals;
        fn watch_listener(&mut self, wanted: bool) -> Result<(), Errno>;
        fn stop_listening(&mut self);
        fn accept(&mut self) -> Result<(OwnedFd, Peer), Errno>;
        fn register(&mut self, socket: &OwnedFd, token: Token, interest: Interest) -> Result<(), Errno>;
        fn reregister(&mut self, socket: &OwnedFd, token: Token, interest: Interest);
        fn deregister(&mut self, socket: &OwnedFd);
        fn read(&mut self, socket: &OwnedFd, buffer: &mut Vec<u8>) -> Result<usize, Errno>;
        fn write(&mut self, socket: &OwnedFd, head: &[u8], body: &[u8]) -> Result<usize, Errno>;
        fn shutdown_write(&mut self, socket: &OwnedFd);
        fn set_reset_on_close(&mut self, socket: &OwnedFd);
        fn set_nodelay(&mut self, socket: &OwnedFd);
        fn unacked_bytes(&mut self, socket: &OwnedFd) -> Option<usize>;
        fn has_unread(&mut self, socket: &OwnedFd) -> bool;
        fn print(&mut self, line: &[u8]);
        fn flush_output(&mut self);
    }

    fn is_mid_line(&self) -> bool {
        self.unix.is_mid_line()
    }
}
