//! Ports that are open, found out without a connection: the kernel lists its listeners (`NETLINK_SOCK_DIAG`).
//!
//! One list takes less time than two attempts to connect, however many ports are awaited, and takes nothing from the
//! processes that will listen.

use std::collections::HashSet;
use std::io;

use fc_emulator::error::{Error, Result};
use fc_emulator::sock_diag::SockDiag;

/// A connection to the kernel, which answers with lists.
pub struct Listening(SockDiag);

impl Listening {
    /// Opens it.
    ///
    /// # Errors
    /// If the kernel has no such lists, as in some sandboxes.
    pub fn open() -> Result<Self> {
        let mut listening = Self(SockDiag::open().map_err(failed)?);
        listening.ports()?;
        Ok(listening)
    }

    /// The ports of all TCP listeners.
    ///
    /// # Errors
    /// If the kernel does not answer.
    pub fn ports(&mut self) -> Result<HashSet<u16>> {
        let addresses = self.0.listening_addresses().map_err(failed)?;
        Ok(addresses.into_iter().map(|address| address.port()).collect())
    }
}

fn failed(cause: io::Error) -> Error {
    Error::failed("list", "the ports that are open (NETLINK_SOCK_DIAG)", cause)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn listeners_are_listed_without_knocking() {
        let mut listening = match Listening::open() {
            Ok(listening) => listening,
            Err(cause) => return fc_testkit::skip(format!("bursts: {cause}")),
        };
        let listeners = ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"].map(|at| TcpListener::bind(at).ok());
        let ports: Vec<u16> = listeners.iter().flatten().map(|it| it.local_addr().unwrap().port()).collect();
        let seen = listening.ports().unwrap();
        assert!(ports.len() >= 2 && ports.iter().all(|port| seen.contains(port)), "{ports:?} in {seen:?}");
        for listener in listeners.into_iter().flatten() {
            listener.set_nonblocking(true).unwrap();
            assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        }
    }
}
