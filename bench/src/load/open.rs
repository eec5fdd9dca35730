//! How connections to the server are opened.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::Task;
use super::reply::{self, Reply};
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};

/// How long one connection may take to be opened and to get its first reply.
const ONE_WAIT: Duration = Duration::from_secs(2);

/// The parts that are the same for all connections of a run.
const ALL_WAIT: Duration = Duration::from_secs(20);

/// Opens all connections of a run and gets one reply on each, so that the server has accepted them and allocated their
/// memory. Opens one after the other, so that no queue of the kernel overflows.
///
/// # Errors
/// If the server does not accept all of them. The text names the first one that failed.
pub fn all(address: SocketAddr, task: &Task<'_>) -> Result<Vec<OwnedFd>> {
    let deadline = Deadline::after(ALL_WAIT);
    let open = |number| {
        let left = deadline.left().unwrap_or_default().min(ONE_WAIT);
        one(address, &task.request.bytes, Deadline::after(left)).map_err(|cause| {
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
            Some(Reply { bytes, .. }) if bytes < came.len() => return Err("more bytes came than the reply".into()),
            Some(_) => break,
            None => {}
        }
    }
    stream.set_nonblocking(true).map_err(|cause| cause.to_string())?;
    Ok(stream.into())
}
