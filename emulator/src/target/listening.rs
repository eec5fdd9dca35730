//! Whose socket listens where, from `/proc`: a verdict is about the target only if the target answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::process::{ListeningSocket, all, held_sockets, listening_sockets, name, started};

/// A connection on this machine is accepted or refused at once.
const CONNECT_WAIT: Duration = Duration::from_secs(1);

/// Who listens on this port of this machine, if anybody does.
pub(super) fn taken(port: u16) -> Option<String> {
    let sockets = listening_sockets(std::process::id());
    if let Some(socket) = sockets.iter().find(|socket| socket.addr.port() == port) {
        return Some(format!("{} listens on {}", holder(socket, &all()), socket.addr));
    }
    let addr = (Ipv4Addr::LOCALHOST, port).into();
    let answers = TcpStream::connect_timeout(&addr, CONNECT_WAIT).is_ok();
    answers.then(|| {
        format!("{addr} accepts connections, though no process here listens: a container engine may forward it")
    })
}

/// Who answers at `addr` in place of the processes `pids`: the end of a sentence. `None` if these processes do, if
/// nobody does, or if it cannot be seen.
pub(super) fn stranger(addr: SocketAddr, pids: &[u32]) -> Option<String> {
    let ours: Vec<Option<Vec<u64>>> =
        pids.iter().map(|pid| held_sockets(*pid).or_else(|| started(*pid).is_none().then(Vec::new))).collect();
    let is_ours = |inode: u64| ours.iter().flatten().any(|held| held.contains(&inode));
    let sockets = listening_sockets(std::process::id());
    let other = sockets.iter().filter(|socket| answers_at(socket, addr)).find(|socket| !is_ours(socket.inode))?;
    let named = holder(other, &all());
    // A process of the target may hide what it holds, as one with more rights than the emulator does.
    if ours.contains(&None) && named.starts_with(HIDDEN) {
        return None;
    }
    Some(format!("{named} listens on {}, and is no process of the target", other.addr))
}

/// Whether nothing here listens at `addr`, so that what accepts connections there is elsewhere.
pub(super) fn nobody(addr: SocketAddr) -> bool {
    !listening_sockets(std::process::id()).iter().any(|socket| answers_at(socket, addr))
}

/// Every address on which these processes listen, in the network of the first.
pub(super) fn of(pids: &[u32]) -> Vec<SocketAddr> {
    let Some(first) = pids.first() else { return Vec::new() };
    let held: Vec<u64> = pids.iter().filter_map(|pid| held_sockets(*pid)).flatten().collect();
    let sockets = listening_sockets(*first).into_iter().filter(|socket| held.contains(&socket.inode));
    let mut found: Vec<SocketAddr> = sockets.map(|socket| socket.addr).collect();
    found.sort();
    found.dedup();
    found
}

/// Whether the platform cannot reach this address.
pub(super) fn is_loopback(addr: &SocketAddr) -> bool {
    addr.ip().to_canonical().is_loopback()
}

const HIDDEN: &str = "a process of the user";

/// The process that holds a socket: `nginx` (pid 17).
fn holder(socket: &ListeningSocket, pids: &[u32]) -> String {
    let holds = |pid: &&u32| held_sockets(**pid).is_some_and(|held| held.contains(&socket.inode));
    match pids.iter().find(holds) {
        Some(pid) => format!("`{}` (pid {pid})", name(*pid).unwrap_or_default()),
        None => format!("{HIDDEN} with the id {}, which cannot be seen from here,", socket.uid),
    }
}

/// Whether a connection to `addr` reaches this socket.
fn answers_at(socket: &ListeningSocket, addr: SocketAddr) -> bool {
    let any = [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
    let ip = socket.addr.ip();
    socket.addr.port() == addr.port() && (any.contains(&ip) || ip.to_canonical() == addr.ip())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_is_taken_by_somebody_with_a_name() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let said = taken(port).unwrap();
        assert!(said.contains(&format!("(pid {})", std::process::id())) && said.contains("127.0.0.1:"), "{said}");
        drop(listener);
        assert_eq!(taken(port), None);
    }

    #[test]
    fn a_stranger_is_told_from_the_target() {
        let own = std::process::id();
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let addr = (Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port()).into();
        assert_eq!(stranger(addr, &[own]), None);
        let said = stranger(addr, &[]).unwrap();
        assert!(said.contains(&format!("(pid {own})")) && said.contains("no process of the target"), "{said}");
        assert!(of(&[own]).contains(&listener.local_addr().unwrap()) && !nobody(addr));
        drop(listener);
        assert!(stranger(addr, &[]).is_none() && nobody(addr));
    }

    #[test]
    fn mapped_addresses_are_loopback_addresses() {
        for (addr, loopback) in [("127.0.0.1:1", true), ("[::1]:1", true), ("[::ffff:127.0.0.1]:1", true)]
            .into_iter()
            .chain([("0.0.0.0:1", false), ("[::]:1", false), ("10.0.0.1:1", false)])
        {
            assert_eq!(is_loopback(&addr.parse().unwrap()), loopback, "{addr}");
        }
    }
}
