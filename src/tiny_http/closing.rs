//! Connections that end because we say so.
//!
//! tiny_http 0.12 closes a connection only if its client asked for it, and drops `Connection` from every response. It
//! reads on while a request is being answered, so what follows a refused request may be waiting for us already.
//! Therefore the socket is looked up by its peer and shut down, and the peer is remembered: what still comes from that
//! connection is not to be answered. Must not know requests.

use crate::server::sys::accepted::{Accepted, accepted_from};
use crate::tuning::{LINGER_BYTES_MAX, READ_BYTES};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, sockopt};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The connections that we have closed, the latest at the back.
#[derive(Default)]
pub(super) struct Closing {
    closed: VecDeque<Closed>,
}

struct Closed {
    peer: SocketAddr,
    /// None if it was gone already.
    identity: Option<u64>,
}

/// How many are remembered. What still comes from one of them was read before it was closed, and so comes soon.
const CLOSED_MAX: usize = 1024;

impl Closing {
    /// Whether a request from this peer came over a connection that we have closed. Then nothing more is read from it.
    pub(super) fn has_closed(&mut self, peer: SocketAddr) -> bool {
        let Some(at) = self.closed.iter().position(|closed| closed.peer == peer) else { return false };
        let open = find(peer);
        if let Some(open) = &open {
            if Some(open.identity) != self.closed[at].identity {
                self.closed.remove(at);
                return false;
            }
            let _ = rustix::net::shutdown(&open.socket, Shutdown::Read);
        }
        true
    }

    /// Sends the last bytes and closes behind them. A client that is still sending is read out for a while: closing a
    /// socket with unread data resets the connection, and it would never see them.
    pub(super) fn close_with(&mut self, peer: SocketAddr, last: &[u8], linger_time_max: Duration) {
        let Some(connection) = self.remember(peer) else { return };
        // It fits, unless the client has not taken what it was sent before; nobody should wait for it then.
        let _ = rustix::net::send(&connection.socket, last, SendFlags::DONTWAIT);
        // A failure of these means that there is nothing left to close.
        let _ = rustix::net::shutdown(&connection.socket, Shutdown::Write);
        if read_out(&connection, linger_time_max) {
            let _ = rustix::net::shutdown(&connection.socket, Shutdown::Read);
        } else {
            cut(&connection);
        }
    }

    /// Tells the client that nothing more will come. tiny_http reads on until it hangs up, or asks for more.
    pub(super) fn shutdown_write(&mut self, peer: SocketAddr) {
        if let Some(connection) = self.remember(peer) {
            let _ = rustix::net::shutdown(&connection.socket, Shutdown::Write);
        }
    }

    /// Cuts it, so that the client can tell that what it got is not whole.
    pub(super) fn reset(&mut self, peer: SocketAddr) {
        if let Some(connection) = self.remember(peer) {
            cut(&connection);
        }
    }

    fn remember(&mut self, peer: SocketAddr) -> Option<Accepted> {
        let open = find(peer);
        if self.closed.len() == CLOSED_MAX {
            self.closed.pop_front();
        }
        self.closed.push_back(Closed { peer, identity: open.as_ref().map(|open| open.identity) });
        open
    }
}

fn find(peer: SocketAddr) -> Option<Accepted> {
    accepted_from(peer).unwrap_or_else(|error| {
        log::error!("cannot find the connection of {peer}: {error}");
        None
    })
}

fn cut(connection: &Accepted) {
    let _ = sockopt::set_socket_linger(&connection.socket, Some(Duration::ZERO));
    // Resets at once on Linux, whoever else has a descriptor of it. Otherwise the last of them does, being closed.
    if rustix::net::connect_unspec(&connection.socket).is_err() {
        let _ = rustix::net::shutdown(&connection.socket, Shutdown::Both);
    }
}

/// Whether the client has hung up meanwhile.
fn read_out(connection: &Accepted, time_max: Duration) -> bool {
    let began = Instant::now();
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes_left = LINGER_BYTES_MAX;
    while bytes_left > 0 {
        let Ok(left) = Timespec::try_from(time_max.saturating_sub(began.elapsed())) else { return false };
        let readable = rustix::event::poll(&mut [PollFd::new(&connection.socket, PollFlags::IN)], Some(&left));
        if readable == Ok(0) {
            return false;
        }
        match rustix::net::recv(&connection.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return true,
            Ok((_, bytes)) => bytes_left = bytes_left.saturating_sub(bytes),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return true,
        }
    }
    false
}
