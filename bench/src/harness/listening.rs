//! Ports that are open, found out without a connection: the kernel lists its listeners (`NETLINK_SOCK_DIAG`).
//!
//! One list takes less time than two attempts to connect, however many ports are awaited, and takes nothing from the
//! processes that will listen.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

use fc_emulator::error::{Error, Result};

/// Numbers of `linux/netlink.h` and `linux/sock_diag.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`
const DUMP: u16 = 0x301;
const HEADER: usize = 16;
const TCP: u8 = 6;
/// The bit of the state TCP_LISTEN.
const LISTEN: u32 = 1 << 10;

/// A connection to the kernel, which answers with lists.
pub struct Listening {
    socket: OwnedFd,
    buffer: Box<[u8]>,
}

impl Listening {
    /// Opens it.
    ///
    /// # Errors
    /// If the kernel has no such lists, as in some sandboxes.
    pub fn open() -> Result<Self> {
        let protocol = Some(netlink::SOCK_DIAG);
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol);
        let socket = socket.map_err(failed)?;
        let mut listening = Self { socket, buffer: vec![0; 64 * 1024].into_boxed_slice() };
        listening.ports()?;
        Ok(listening)
    }

    /// The ports of all TCP listeners.
    ///
    /// # Errors
    /// If the kernel does not answer.
    pub fn ports(&mut self) -> Result<HashSet<u16>> {
        let mut ports = HashSet::new();
        for family in [AddressFamily::INET, AddressFamily::INET6] {
            send(&self.socket, &request(family), SendFlags::empty()).map_err(failed)?;
            loop {
                let (count, _) = match recv(&self.socket, &mut *self.buffer, RecvFlags::empty()) {
                    Err(Errno::INTR) => continue,
                    other => other.map_err(failed)?,
                };
                if take(&self.buffer[..count], &mut ports).map_err(failed)? {
                    break;
                }
            }
        }
        Ok(ports)
    }
}

fn failed(cause: Errno) -> Error {
    Error::failed("list", "the ports that are open (NETLINK_SOCK_DIAG)", cause)
}

/// A header and an `inet_diag_req_v2`, whose other fields are zero and choose nothing.
fn request(family: AddressFamily) -> [u8; 72] {
    let mut bytes = [0; 72];
    bytes[..4].copy_from_slice(&72_u32.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&DUMP.to_ne_bytes());
    bytes[HEADER] = family.as_raw() as u8;
    bytes[HEADER + 1] = TCP;
    bytes[HEADER + 4..HEADER + 8].copy_from_slice(&LISTEN.to_ne_bytes());
    bytes
}

/// Adds the ports of a part of a list, and returns whether it was the last part.
fn take(mut bytes: &[u8], ports: &mut HashSet<u16>) -> std::result::Result<bool, Errno> {
    while let Some((header, _)) = bytes.split_at_checked(HEADER) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(message) = bytes.get(HEADER..length) else { return Err(Errno::BADMSG) };
        match u16::from_ne_bytes([header[4], header[5]]) {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = message.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
                return Err(Errno::from_raw_os_error(-code));
            }
            // The port stands behind family, state, timer and retransmits, in network order.
            _ => ports.extend(message.get(4..6).map(|port| u16::from_be_bytes([port[0], port[1]]))),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
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

    #[test]
    fn lists_come_in_parts_and_errors_are_errors() {
        let message = |kind: u16, body: &[u8]| {
            let mut bytes = vec![0; HEADER];
            bytes[..4].copy_from_slice(&((HEADER + body.len()) as u32).to_ne_bytes());
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes.extend_from_slice(body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let entry =
            |port: u16| message(SOCK_DIAG_BY_FAMILY, &[&[2, 10, 0, 0][..], &port.to_be_bytes(), &[0; 3]].concat());
        let mut ports = HashSet::new();
        assert_eq!(take(&[entry(80), entry(9000)].concat(), &mut ports), Ok(false));
        assert_eq!(take(&[entry(81), message(NLMSG_DONE, &[0; 4])].concat(), &mut ports), Ok(true));
        assert_eq!(ports, HashSet::from([80, 81, 9000]));
        let refused = message(NLMSG_ERROR, &(-Errno::NOENT.raw_os_error()).to_ne_bytes());
        assert_eq!(take(&refused, &mut ports), Err(Errno::NOENT));
        assert_eq!(take(&entry(80)[..20], &mut ports), Err(Errno::BADMSG));
    }
}
