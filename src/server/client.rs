//! The client mode of the binary, for images without curl: one call, its body on standard output, an exit code.

use crate::adapter::client::{ClientCall, Response};
use crate::adapter::config::time_text;
use crate::config::Listen;
use crate::limits::Limits;
use crate::server::sys::unix::{NO_SIGNAL, write_all};
use crate::tuning::READ_BYTES;
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketType};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Makes a call and prints the body of its response. The exit code is 0 for a status from 200 to 399, else 1; a line on
/// standard error says why.
pub fn call(call: &ClientCall) -> ExitCode {
    // Not an error of its own: the probe of an instance that is starting fails, and so it should.
    let failure = match exchange(call) {
        Ok(status) if (200..400).contains(&status) => return ExitCode::SUCCESS,
        Ok(status) => format!("status {status}"),
        Err(cause) => cause,
    };
    super::eprint_line(format_args!("fc-hooks: {call}: {failure}"));
    ExitCode::FAILURE
}

/// Prints a text. The exit code is 1 if nobody takes it.
pub fn print(text: &str) -> ExitCode {
    match write_all(rustix::stdio::stdout(), text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Says what is wrong with the arguments or the environment.
pub fn refuse(error: &str) -> ExitCode {
    super::eprint_line(format_args!("fc-hooks: {error}"));
    ExitCode::from(2)
}

fn exchange(call: &ClientCall) -> Result<u16, String> {
    let end = Instant::now() + call.time_max;
    let socket =
        connect(call, end).map_err(|error| in_words(call, error, &format!("cannot connect to {}", call.address)))?;
    let failed = |error| in_words(call, error, "the connection broke");
    let (request, mut sent) = (call.request(), 0);
    while sent < request.len() {
        limit(&socket, Timeout::Send, end).map_err(failed)?;
        sent += net::send(&socket, &request[sent..], NO_SIGNAL).map_err(failed)?;
    }
    let (mut response, limits) = (Response::new(call), Limits::default());
    let mut bytes = Vec::with_capacity(READ_BYTES);
    loop {
        limit(&socket, Timeout::Recv, end).map_err(failed)?;
        let count = rustix::io::read(&socket, rustix::buffer::spare_capacity(&mut bytes)).map_err(failed)?;
        let is_whole = match count {
            0 => response.ends_with_connection(),
            _ => response.take(&mut bytes, &limits).map_err(|broken| format!("the answer is broken: {broken}"))?,
        };
        write_all(rustix::stdio::stdout(), &bytes).map_err(|error| format!("cannot print the body: {error}"))?;
        bytes.clear();
        match response.status() {
            Some(status) if is_whole => return Ok(status),
            _ if count == 0 => return Err("the server closed the connection before the response was whole".to_owned()),
            _ => {}
        }
    }
}

fn connect(call: &ClientCall, end: Instant) -> Result<OwnedFd, Errno> {
    let family = match &call.address {
        Listen::Tcp(address) if address.is_ipv4() => AddressFamily::INET,
        Listen::Tcp(_) => AddressFamily::INET6,
        Listen::Unix(_) => AddressFamily::UNIX,
    };
    let socket = net::socket(family, SocketType::STREAM, None)?;
    // On Linux it bounds the time to connect as well.
    limit(&socket, Timeout::Send, end)?;
    match &call.address {
        Listen::Tcp(address) => net::connect(&socket, address)?,
        Listen::Unix(path) => net::connect(&socket, &SocketAddrUnix::new(path)?)?,
    }
    Ok(socket)
}

/// The next call on this socket fails at the end.
fn limit(socket: &OwnedFd, of: Timeout, end: Instant) -> Result<(), Errno> {
    let left = end.saturating_duration_since(Instant::now());
    // The kernel takes no time at all for no limit, and rounds down to microseconds.
    if left < Duration::from_millis(1) {
        Err(Errno::AGAIN)
    } else {
        sockopt::set_socket_timeout(socket, of, Some(left))
    }
}

fn in_words(call: &ClientCall, error: Errno, otherwise: &str) -> String {
    match error {
        // The kernel calls a wait for a connection that took too long one in progress.
        Errno::AGAIN | Errno::INPROGRESS => ["no answer within ", &time_text(call.time_max)].concat(),
        error => format!("{otherwise}: {error}"),
    }
}
