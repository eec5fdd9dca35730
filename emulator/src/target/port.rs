//! Ports for targets. They lie below the range that the kernel uses for outgoing connections, so that no connection of
//! ours can take a port between our choice and the start of the target.
//!
//! A chosen port stays free until the target listens, which it may never do. So two emulators that run at the same time
//! could choose the same port, and each holds a lock on its ports. The lock is an abstract socket name: it ends with
//! the process that holds it, and like a port it belongs to a network namespace. Outside Linux there are no such names,
//! and no lock.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::platform::ids;

const FIRST: u64 = 10_000;
const COUNT: u64 = 20_000;

/// Hold this lock while you try a port and while you start a process. A new process has every descriptor of ours from
/// its fork to its exec, so one that is started at the wrong moment would keep the port that was just tried in use.
pub fn no_fork() -> MutexGuard<'static, ()> {
    static FORK: Mutex<()> = Mutex::new(());
    FORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A port that is reserved for us until this value is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    #[cfg(target_os = "linux")]
    _lock: std::os::unix::net::UnixDatagram,
}

impl Port {
    /// Reserves a port that no process listens on and that no other emulator has reserved.
    ///
    /// # Errors
    /// If every port is in use.
    pub fn free() -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // The first search starts at a random port, so that two emulators rarely try the same ones.
        let start = ids::random() % COUNT + 1;
        let _ = NEXT.compare_exchange(0, start, Ordering::Relaxed, Ordering::Relaxed);
        let _alone = no_fork();
        for _ in 0..COUNT {
            let number = (FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) as u16;
            if let Some(port) = Self::lock(number)
                && TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).is_ok()
            {
                return Ok(port);
            }
        }
        Err(Error::new("there is no free port"))
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    #[cfg(target_os = "linux")]
    fn lock(number: u16) -> Option<Self> {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixDatagram};
        let name = SocketAddr::from_abstract_name(format!("fc-emulator-port-{number}")).ok()?;
        UnixDatagram::bind_addr(&name).ok().map(|lock| Self { number, _lock: lock })
    }

    #[cfg(not(target_os = "linux"))]
    fn lock(number: u16) -> Option<Self> {
        Some(Self { number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_different() {
        let (one, two) = (Port::free().unwrap(), Port::free().unwrap());
        assert_ne!(one.number(), two.number());
        TcpListener::bind(("127.0.0.1", one.number())).unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_port_is_reserved_until_it_is_dropped() {
        let port = Port::free().unwrap();
        let number = port.number();
        assert!(Port::lock(number).is_none());
        drop(port);
        assert!(Port::lock(number).is_some());
    }
}
