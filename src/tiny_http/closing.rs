//! Closes connections that tiny_http would keep open.
//!
//! tiny_http 0.12 closes a connection only if the client asked for it, and removes `Connection` from every response. It
//! reads on while a request is being answered, so the next request may have been read already when one is refused.
//! Therefore this module finds the socket by the client's address, shuts it down, and remembers the address: requests
//! that still come from that connection get no answer. Must not know requests.

use crate::server::sys::find_socket_by_peer::{FoundSocket, find_socket_by_peer};
use crate::tuning::{LINGER_BYTES_MAX, READ_BYTES};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, sockopt};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The connections that were closed, the latest at the back.
#[derive(Default)]
pub(super) struct Closing {
    /// The listener whose connections these are, if it is known.
    pub(super) listener: Option<SocketAddr>,
    closed: VecDeque<Closed>,
}

struct Closed {
    client: SocketAddr,
    /// `None` if the connection was closed already.
    identity: Option<u64>,
}

/// How many are remembered. A request that still comes from one of them was read before the close, so it comes soon.
const CLOSED_MAX: usize = 1024;

impl Closing {
    /// Whether a request of this client came over a connection that was closed. If so, no more is read from it.
    pub(super) fn has_closed(&mut self, client: SocketAddr) -> bool {
        let Some(at) = self.closed.iter().position(|closed| closed.client == client) else { return false };
        let open = find(client, self.listener);
        if let Some(open) = &open {
            if Some(open.identity) != self.closed[at].identity {
                self.closed.remove(at);
                return false;
            }
            let _ = rustix::net::shutdown(&open.socket, Shutdown::Read);
        }
        true
    }

    /// Sends the last bytes and closes behind them. Before that, reads for a while what the client still sends: closing
    /// a socket with unread input resets the connection, and the client would never see the last bytes.
    pub(super) fn close_with(&mut self, client: SocketAddr, last: &[u8], linger_time_max: Duration) {
        let Some(connection) = self.remember(client) else { return };
        // It fits, unless the client has not taken earlier responses; then other clients should not wait for it.
        let _ = rustix::net::send(&connection.socket, last, SendFlags::DONTWAIT);
        // If these fail, the connection is closed already.
        let _ = rustix::net::shutdown(&connection.socket, Shutdown::Write);
        if read_until_left(&connection, linger_time_max) {
            let _ = rustix::net::shutdown(&connection.socket, Shutdown::Read);
        } else {
            cut(&connection);
        }
    }

    /// Tells the client that nothing more will come. tiny_http reads on until the client leaves or asks for more.
    pub(super) fn shutdown_write(&mut self, client: SocketAddr) {
        if let Some(connection) = self.remember(client) {
            let _ = rustix::net::shutdown(&connection.socket, Shutdown::Write);
        }
    }

    /// Resets the connection, so that the client can tell that its response is not whole.
    pub(super) fn reset(&mut self, client: SocketAddr) {
        if let Some(connection) = self.remember(client) {
            cut(&connection);
        }
    }

    fn remember(&mut self, client: SocketAddr) -> Option<FoundSocket> {
        let open = find(client, self.listener);
        if self.closed.len() == CLOSED_MAX {
            self.closed.pop_front();
        }
        self.closed.push_back(Closed { client, identity: open.as_ref().map(|open| open.identity) });
        open
    }
}

fn find(client: SocketAddr, listener: Option<SocketAddr>) -> Option<FoundSocket> {
    find_socket_by_peer(client, listener).unwrap_or_else(|error| {
        log::error!("cannot find the connection of {client}: {error}");
        None
    })
}

fn cut(connection: &FoundSocket) {
    let _ = sockopt::set_socket_linger(&connection.socket, Some(Duration::ZERO));
    // On Linux this resets at once, although other descriptors are open. Elsewhere the close of the last one does.
    if rustix::net::connect_unspec(&connection.socket).is_err() {
        let _ = rustix::net::shutdown(&connection.socket, Shutdown::Both);
    }
}

/// Reads and drops what the client still sends. True once the client has left.
fn read_until_left(connection: &FoundSocket, time_max: Duration) -> bool {
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
