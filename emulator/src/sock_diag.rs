//! The TCP sockets that listen in our own network namespace, from the kernel's `sock_diag` (sock_diag(7)).
//!
//! `/proc/net/tcp` has them, too, but behind the last of them the kernel walks its whole table of connections, which
//! takes milliseconds of a processor however few there are. This asks for listening sockets alone.

use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use crate::process::ListeningSocket;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`: every socket.
const REQUEST_ALL: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// A set of states with this one alone.
const LISTEN: u32 = 1 << 10;
/// The bytes of a header of netlink.
const HEADER: usize = 16;
/// The bytes of a request: the header, what is asked for, and an address that is not asked for.
const REQUEST: usize = HEADER + 8 + 48;
/// The kernel fills no more than this at a time.
const BUFFER: usize = 32 * 1024;

/// A connection to the kernel, which answers with lists.
pub struct SockDiag {
    socket: OwnedFd,
    buffer: Box<[u8]>,
}

impl SockDiag {
    /// Opens it.
    ///
    /// # Errors
    /// Where the kernel has no such connections, as some sandboxes.
    pub fn open() -> Result<Self> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(SOCK_DIAG))?;
        Ok(Self { socket, buffer: vec![0; BUFFER].into_boxed_slice() })
    }

    /// The address of every TCP socket that listens in our network namespace.
    ///
    /// # Errors
    /// If the kernel gives no list.
    pub fn listening_addresses(&mut self) -> Result<Vec<SocketAddr>> {
        Ok(self.listening_sockets()?.into_iter().map(|socket| socket.addr).collect())
    }

    pub(crate) fn listening_sockets(&mut self) -> Result<Vec<ListeningSocket>> {
        let mut found = Vec::new();
        for family in [AddressFamily::INET, AddressFamily::INET6] {
            sendto(&self.socket, &request(family), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
            loop {
                let (_, bytes) = match recv(&self.socket, &mut *self.buffer, RecvFlags::TRUNC) {
                    Err(Errno::INTR) => continue,
                    received => received?,
                };
                let answer = self.buffer.get(..bytes).ok_or(ErrorKind::InvalidData)?;
                if read(answer, &mut found)? {
                    break;
                }
            }
        }
        Ok(found)
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(family: AddressFamily) -> [u8; REQUEST] {
    const TCP: u8 = 6;
    let mut bytes = [0; REQUEST];
    bytes[..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&REQUEST_ALL.to_ne_bytes());
    bytes[HEADER] = family.as_raw() as u8;
    bytes[HEADER + 1] = TCP;
    bytes[HEADER + 4..HEADER + 8].copy_from_slice(&LISTEN.to_ne_bytes());
    bytes
}

/// Reads the messages of one answer. Returns whether the last one has come.
fn read(mut answer: &[u8], found: &mut Vec<ListeningSocket>) -> Result<bool> {
    while !answer.is_empty() {
        let bytes = u32::from_ne_bytes(part(answer, 0)?) as usize;
        let message = answer.get(..bytes).filter(|_| bytes >= HEADER).ok_or(ErrorKind::InvalidData)?;
        match u16::from_ne_bytes(part(message, 4)?) {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => return Err(Error::from_raw_os_error(-i32::from_ne_bytes(part(message, HEADER)?))),
            SOCK_DIAG_BY_FAMILY => found.push(socket(&message[HEADER..])?),
            _ => {}
        }
        answer = answer.get(bytes.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// `struct inet_diag_msg`. Ports and addresses are in the order of the network.
fn socket(message: &[u8]) -> Result<ListeningSocket> {
    let ip = match AddressFamily::from_raw(u16::from(part::<1>(message, 0)?[0])) {
        AddressFamily::INET => IpAddr::from(part::<4>(message, 8)?),
        _ => Ipv6Addr::from(part::<16>(message, 8)?).into(),
    };
    let addr = SocketAddr::new(ip, u16::from_be_bytes(part(message, 4)?));
    let uid = u32::from_ne_bytes(part(message, 64)?);
    Ok(ListeningSocket { addr, inode: u32::from_ne_bytes(part(message, 68)?).into(), uid })
}

fn part<const BYTES: usize>(bytes: &[u8], at: usize) -> Result<[u8; BYTES]> {
    let part = bytes.get(at..at + BYTES).and_then(|part| part.try_into().ok());
    part.ok_or_else(|| ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_or_refused_is_an_error() {
        let mut refused = [0; 36];
        refused[..4].copy_from_slice(&36u32.to_ne_bytes());
        refused[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        refused[HEADER..HEADER + 4].copy_from_slice(&(-2i32).to_ne_bytes());
        assert_eq!(read(&refused, &mut Vec::new()).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(read(&refused[..20], &mut Vec::new()).unwrap_err().kind(), ErrorKind::InvalidData);
        // An endless loop otherwise.
        assert_eq!(read(&[0; 16], &mut Vec::new()).unwrap_err().kind(), ErrorKind::InvalidData);
        let mut done = [0; 20];
        done[..4].copy_from_slice(&20u32.to_ne_bytes());
        done[4..6].copy_from_slice(&NLMSG_DONE.to_ne_bytes());
        assert!(read(&done, &mut Vec::new()).unwrap());
        assert!(!read(&[], &mut Vec::new()).unwrap());
    }

    #[test]
    fn lists_come_in_parts() {
        let entry = |port: u16| {
            let mut bytes = [0; HEADER + 72];
            bytes[..4].copy_from_slice(&(HEADER as u32 + 72).to_ne_bytes());
            bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
            bytes[HEADER] = AddressFamily::INET.as_raw() as u8;
            bytes[HEADER + 4..HEADER + 6].copy_from_slice(&port.to_be_bytes());
            bytes
        };
        let mut found = Vec::new();
        assert!(!read(&[entry(80), entry(9000)].concat(), &mut found).unwrap());
        assert!(!read(&entry(81), &mut found).unwrap());
        assert_eq!(found.iter().map(|socket| socket.addr.port()).collect::<Vec<_>>(), [80, 9000, 81]);
    }
}
