//! The system calls of the loop, on a real Unix.

use crate::function::lifecycle::ClockReading;
use crate::function::request::Peer;
use crate::server::sys::listen::Listener;
use crate::server::sys::{Poller, forks, signals};
use crate::server::system::{Interest, Ready, Signals, System, Token};
use rustix::buffer::spare_capacity;
use rustix::event;
use rustix::io::Errno;
use rustix::net::{self, SendAncillaryBuffer, SendFlags, Shutdown, sockopt};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

#[cfg(not(target_vendor = "apple"))]
pub(crate) const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;
/// Sockets have an option for it there, which `accept` sets.
#[cfg(target_vendor = "apple")]
pub(crate) const NO_SIGNAL: SendFlags = SendFlags::empty();

pub(crate) struct Unix {
    poller: Poller,
    listener: Option<Listener>,
    listener_watched: bool,
    wake: signals::WakePipe,
    signals_seen: u32,
    owes_watching_forks: bool,
    has_written: bool,
}

impl Unix {
    /// Waits for a listener from now on, and handles SIGTERM, SIGINT and SIGCONT.
    pub(crate) fn new(listener: Listener) -> io::Result<Unix> {
        let mut poller = Poller::new()?;
        let wake = signals::install_with_wake()?;
        poller.add(wake.as_fd(), Token::WAKE, Interest::Read)?;
        poller.add(listener.socket().as_fd(), Token::LISTENER, Interest::Read)?;
        Ok(Unix {
            poller,
            listener: Some(listener),
            listener_watched: true,
            wake,
            signals_seen: 0,
            owes_watching_forks: false,
            has_written: false,
        })
    }
}

impl Unix {
    /// Of the adapter: it listens once its program serves. Children that it starts by `posix_spawn` share no socket.
    #[cfg(feature = "adapter")]
    pub(crate) fn without_listener() -> io::Result<Unix> {
        let mut poller = Poller::new()?;
        let wake = signals::install_with_wake()?;
        signals::install_children()?;
        poller.add(wake.as_fd(), Token::WAKE, Interest::Read)?;
        Ok(Unix {
            poller,
            listener: None,
            listener_watched: false,
            wake,
            signals_seen: 0,
            owes_watching_forks: false,
            has_written: true,
        })
    }

    #[cfg(feature = "adapter")]
    pub(crate) fn listen_on(&mut self, listener: Listener) {
        self.listener = Some(listener);
    }

    /// Waits report nothing more of this source.
    #[cfg(feature = "adapter")]
    pub(crate) fn forget(&mut self, source: BorrowedFd<'_>) {
        self.poller.remove(source);
    }

    pub(crate) fn stop_requester(&self) -> io::Result<signals::StopRequester> {
        self.wake.stop_requester()
    }
}

impl System for Unix {
    type Socket = OwnedFd;

    fn wait(&mut self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> Result<bool, Errno> {
        ready.clear();
        if std::mem::take(&mut self.owes_watching_forks) {
            forks::watch();
        }
        match self.poller.wait(ready, limit) {
            Ok(()) => {
                if ready.iter().any(|event| event.token == Token::WAKE) {
                    self.wake.drain();
                }
                Ok(false)
            }
            Err(Errno::INTR) => Ok(true),
            // An old kernel, or a sandbox that forbids the call.
            Err(error) => Err(error),
        }
    }

    fn now(&mut self) -> ClockReading {
        ClockReading { instant: Instant::now(), wall: SystemTime::now() }
    }

    fn monotonic(&mut self) -> Instant {
        Instant::now()
    }

    #[inline(always)]
    fn signals(&mut self) -> Signals {
        let seen = signals::count();
        let any = seen != self.signals_seen;
        self.signals_seen = seen;
        Signals { stop_age: signals::stop_age(), continued: signals::take_continued(), any }
    }

    fn watch_listener(&mut self, wanted: bool) -> Result<(), Errno> {
        let Some(listener) = &self.listener else { return Ok(()) };
        match (self.listener_watched, wanted) {
            (true, false) => self.poller.remove(listener.socket().as_fd()),
            (false, true) => self.poller.add(listener.socket().as_fd(), Token::LISTENER, Interest::Read)?,
            _ => {}
        }
        self.listener_watched = wanted;
        Ok(())
    }

    fn stop_listening(&mut self) {
        if forks::may_share_sockets()
            && let Some(listener) = &self.listener
        {
            // Otherwise the kernel would go on completing connections, for nobody.
            let _ = net::shutdown(listener.socket(), Shutdown::Both);
        }
        self.listener = None;
    }

    fn accept(&mut self) -> Result<(OwnedFd, Peer), Errno> {
        let Some(listener) = &self.listener else { return Err(Errno::AGAIN) };
        let (socket, address) = accept(listener.socket())?;
        let Some(Ok(address)) = address.map(SocketAddr::try_from) else { return Ok((socket, Peer::Unix)) };
        // A connection can do without.
        let _ = super::set_keepalive(&socket);
        Ok((socket, Peer::Ip(address)))
    }

    fn register(&mut self, socket: &OwnedFd, token: Token, interest: Interest) -> Result<(), Errno> {
        self.poller.add(socket.as_fd(), token, interest)
    }

    fn reregister(&mut self, socket: &OwnedFd, token: Token, interest: Interest) {
        self.poller.change(socket.as_fd(), token, interest);
    }

    fn deregister(&mut self, socket: &OwnedFd) {
        if forks::may_share_sockets() {
            self.poller.remove(socket.as_fd());
            // The connection may have been reset before.
            let _ = net::shutdown(socket, Shutdown::Both);
        } else {
            self.poller.forget_before_close(socket.as_fd());
        }
    }

    fn read(&mut self, socket: &OwnedFd, buffer: &mut Vec<u8>) -> Result<usize, Errno> {
        rustix::io::read(socket, spare_capacity(buffer))
    }

    #[inline(always)]
    fn write(&mut self, socket: &OwnedFd, head: &[u8], body: &[u8]) -> Result<usize, Errno> {
        self.owes_watching_forks |= !std::mem::replace(&mut self.has_written, true);
        // Not `write`: its SIGPIPE would end a process whose author has put that signal back to its default.
        match (head.is_empty(), body.is_empty()) {
            (_, true) => net::send(socket, head, NO_SIGNAL),
            (true, false) => net::send(socket, body, NO_SIGNAL),
            (false, false) => {
                let pieces = [IoSlice::new(head), IoSlice::new(body)];
                net::sendmsg(socket, &pieces, &mut SendAncillaryBuffer::default(), NO_SIGNAL)
            }
        }
    }

    fn shutdown_write(&mut self, socket: &OwnedFd) {
        // The client may have left already; the next read shows it.
        let _ = net::shutdown(socket, Shutdown::Write);
    }

    fn set_reset_on_close(&mut self, socket: &OwnedFd) {
        let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
        if forks::may_share_sockets() {
            // On Linux this resets at once; our close may not be the last.
            let _ = net::connect_unspec(socket);
        }
    }

    fn set_nodelay(&mut self, socket: &OwnedFd) {
        // Not possible, and not needed, on Unix sockets.
        let _ = super::set_nodelay(socket);
    }

    fn unacked_bytes(&mut self, socket: &OwnedFd) -> Option<usize> {
        super::unacked_bytes(socket.as_fd())
    }

    fn has_unread(&mut self, socket: &OwnedFd) -> bool {
        rustix::io::ioctl_fionread(socket).is_ok_and(|bytes| bytes > 0)
    }

    fn print(&mut self, line: &[u8]) {
        // No call may fail because its log cannot be written.
        let _ = crate::server::print(line);
    }

    fn flush_output(&mut self) {
        let _ = crate::server::flush_output();
    }

    fn is_mid_line(&self) -> bool {
        super::stdout::is_mid_line()
    }
}

/// Writes all of it, in one call where the kernel takes it whole. Waits for the reader of a pipe that another process
/// has made non-blocking.
pub(crate) fn write_all(output: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(output, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => match event::poll(&mut [event::PollFd::new(&output, event::PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(not(target_vendor = "apple"))]
fn accept(listener: &OwnedFd) -> Result<(OwnedFd, Option<net::SocketAddrAny>), Errno> {
    use rustix::net::SocketFlags;
    net::acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
}

#[cfg(target_vendor = "apple")]
fn accept(listener: &OwnedFd) -> Result<(OwnedFd, Option<net::SocketAddrAny>), Errno> {
    let (socket, address) = net::acceptfrom(listener)?;
    super::set_cloexec_nonblock(&socket)?;
    sockopt::set_socket_nosigpipe(&socket, true)?;
    Ok((socket, address))
}
