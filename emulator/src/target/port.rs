//! Ports for targets, taken from below the range that the system hands to outgoing connections,
//! so that none of our own many connections can sit on a port between choosing and listening.
//!
//! A port is free until the target listens, which it may never do, so "nobody listens" is not
//! enough for two programs like this one side by side: each holds a lock on the ports it gave out.
//! The lock is an abstract socket name, which ends with its holder and is scoped as ports are, by
//! network namespace. Where there are no such names (outside Linux) there is no lock.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::platform::ids;

const FIRST: u64 = 10_000;
const COUNT: u64 = 20_000;

/// Held while a port is tried and while a process is made. A process inherits every descriptor from
/// its making to its exec; one made at the wrong instant would sit on the port that was just tried.
pub fn no_fork() -> MutexGuard<'static, ()> {
    static FORK: Mutex<()> = Mutex::new(());
    FORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A port that is ours until this is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    #[cfg(target_os = "linux")]
    _lock: std::os::unix::net::UnixDatagram,
}

impl Port {
    /// A port that nobody listens on and nobody else of our kind was given.
    ///
    /// # Errors
    /// When every port is taken.
    pub fn free() -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // The first call starts anywhere, so that two programs do not walk in step.
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
    fn a_port_is_ours_until_it_is_dropped() {
        let port = Port::free().unwrap();
        let number = port.number();
        assert!(Port::lock(number).is_none());
        drop(port);
        assert!(Port::lock(number).is_some());
    }
}
