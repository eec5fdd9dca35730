//! The program behind a proxy where bodies and streams are measured: a thread for each connection.
//!
//! `GET /stream/N` gets N bytes. Every other request gets the canonical body, after its own body has been read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use socket2::SockRef;

use crate::harness::BODY;
use fc_emulator::error::{Error, Result};

/// Small, because there are a thousand of them.
const STACK: usize = 128 * 1024;

/// The kernel's buffers of the program and of the client of a stream. The kernel would let them grow to megabytes each,
/// and a thousand streams would then show its limits and not those of the proxy.
pub const KERNEL_BUFFER: usize = 64 * 1024;

/// How many bytes are written at a time.
const PIECE: usize = 16 * 1024;

/// Serves on the port `FC_SERVER_PORT` until it is killed.
///
/// # Errors
/// If it cannot listen, or a thread cannot be started.
pub fn serve() -> Result<()> {
    let port = std::env::var("FC_SERVER_PORT").ok().and_then(|text| text.parse().ok()).unwrap_or(9000);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .map_err(|cause| Error::failed("listen on", format!("port {port}"), cause))?;
    for stream in listener.incoming().flatten() {
        let serve = move || {
            // A client that leaves ends its connection and nothing else.
            let _ = connection(&stream);
        };
        let started = std::thread::Builder::new().stack_size(STACK).spawn(serve);
        started.map_err(|cause| Error::failed("start", "a thread", cause))?;
    }
    Ok(())
}

fn connection(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_send_buffer_size(KERNEL_BUFFER)?;
    let mut input = BufReader::with_capacity(PIECE, stream);
    let mut output = stream;
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let streamed = line.split(' ').nth(1).and_then(|path| path.strip_prefix("/stream/")?.parse::<u64>().ok());
        let mut length = 0;
        loop {
            let mut header = String::new();
            input.read_line(&mut header)?;
            let Some((name, value)) = header.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(std::io::Error::other("a chunked body is not expected here"));
            }
        }
        std::io::copy(&mut input.by_ref().take(length), &mut std::io::sink())?;
        let mut left = streamed.unwrap_or(BODY.len() as u64);
        write!(output, "HTTP/1.1 200 OK\r\nx-fc-status: 200\r\ncontent-length: {left}\r\n\r\n")?;
        if streamed.is_none() {
            output.write_all(BODY.as_bytes())?;
            continue;
        }
        let piece = [b'x'; PIECE];
        while left > 0 {
            let count = left.min(PIECE as u64);
            output.write_all(&piece[..count as usize])?;
            left -= count;
        }
    }
}
