//! How connections to the server begin.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use super::Task;
use super::reply::{self, Reply};
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};

/// How long one connection may take to be opened and answered once.
const ONE_WAIT: Duration = Duration::from_secs(2);

/// The same for all of a run.
const ALL_WAIT: Duration = Duration::from_secs(20);

/// Starts to connect. That it is not done yet is no error; what the server refuses at once is the inner one.
///
/// # Errors
/// When what we lack ourselves keeps us from it: a descriptor, a port, memory.
pub fn begin(address: SocketAddr) -> Result<std::result::Result<OwnedFd, Errno>> {
    let ours = |cause: Errno| Error::failed("connect to", address, cause);
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, flags, None).map_err(ours)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(Ok(socket)),
        Err(cause @ (Errno::CONNREFUSED | Errno::CONNRESET | Errno::TIMEDOUT)) => Ok(Err(cause)),
        Err(cause) => Err(ours(cause)),
    }
}

/// All connections of a run, each of which has been answered once: the server has accepted it, and made what it makes
/// for a connection. One after the other, so that no queue of the kernel overflows.
///
/// # Errors
/// When the server does not let all of them in; the text says which was the first.
pub fn all(address: SocketAddr, task: &Task<'_>) -> Result<Vec<OwnedFd>> {
    let deadline = Deadline::after(ALL_WAIT);
    let open = |number| {
        let left = deadline.left().unwrap_or_default().min(ONE_WAIT);
        one(address, task.request, Deadline::after(left)).map_err(|cause| {
            Error::new(format!("connection {number} of {} could not be used: {cause}", task.connections))
        })
    };
    (1..=task.connections).map(open).collect()
}

fn one(address: SocketAddr, request: &[u8], deadline: Deadline) -> std::result::Result<OwnedFd, String> {
    let left = || deadline.left().ok_or("no answer in time");
    let mut stream = TcpStream::connect_timeout(&address, left()?).map_err(|cause| cause.to_string())?;
    stream.set_write_timeout(Some(left()?)).map_err(|cause| cause.to_string())?;
    stream.write_all(request).map_err(|cause| format!("sending failed: {cause}"))?;
    let mut came = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        stream.set_read_timeout(Some(left()?)).map_err(|cause| cause.to_string())?;
        match stream.read(&mut chunk) {
            Ok(0) => return Err("the server closed it instead of a reply".into()),
            Ok(count) => came.extend_from_slice(&chunk[..count]),
            Err(cause) if cause.kind() == std::io::ErrorKind::WouldBlock => return Err("no answer in time".into()),
            Err(cause) => return Err(format!("receiving failed: {cause}")),
        }
        match reply::parse(&came)? {
            Some(Reply { bytes, .. }) if bytes < came.len() => return Err("more came than the reply".into()),
            Some(_) => break,
            None => {}
        }
    }
    stream.set_nonblocking(true).map_err(|cause| cause.to_string())?;
    Ok(stream.into())
}
