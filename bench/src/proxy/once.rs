//! The figures that are counted once for each proxy: system calls, idle time, bodies, and streams that stand still.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::program::KERNEL_BUFFER;
use super::stage::Stage;
use crate::harness::strace;
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_emulator::http::Conn;
use fc_emulator::platform::Request;
use fc_testkit::proc;

/// The time limit of a call, also of one with a large body.
const CALL_WAIT: Duration = Duration::from_secs(60);

/// Calls that are counted, after as many that warm up.
const CALLS: u32 = 200;

/// Calls before and beside streams.
const HEALTHY_CALLS: usize = 50;

/// How often the resident memory must have been the same, with this pause, before streams count as standing still.
const STILL: (u32, Duration) = (5, Duration::from_millis(100));

fn call(conn: &mut Conn, event: &[u8]) -> Result<()> {
    let reply = conn.exchange(event, Deadline::after(CALL_WAIT)).map_err(Error::new)?;
    if reply.status == 200 { Ok(()) } else { Err(Error::new(format!("a call was answered with {}", reply.status))) }
}

fn open(stage: &Stage) -> Result<Conn> {
    Conn::open(stage.address(), Deadline::after(CALL_WAIT)).map_err(Error::new)
}

/// The system calls of the proxy for one call on one kept connection, by name, as strace counts them.
///
/// # Errors
/// If there is no strace, it cannot attach, or a call fails.
pub fn system_calls(stage: &Stage, event: &Request) -> Result<Vec<(String, f64)>> {
    let (bytes, mut conn) = (event.bytes(), open(stage)?);
    (0..CALLS).try_for_each(|_| call(&mut conn, &bytes))?;
    strace::system_calls(stage.pid(), CALLS, || call(&mut conn, &bytes))
}

/// The context switches of the proxy while nobody calls it and one connection stays open.
///
/// # Errors
/// If a call fails.
pub fn idle_switches(stage: &Stage, event: &Request, idle: Duration) -> Result<u64> {
    let mut conn = open(stage)?;
    call(&mut conn, &event.bytes())?;
    // The proxy may still be about to wait again.
    let asleep = || proc::all_asleep(stage.pid()).is_ok_and(|it| it).then_some(());
    let _ = Deadline::after(CALL_WAIT).until(asleep);
    let before = stage.switches()?;
    std::thread::sleep(idle);
    Ok(stage.switches()? - before)
}

/// The most resident memory after one body of this length has passed to the program.
///
/// # Errors
/// If the call fails.
pub fn request_body(stage: &Stage, bytes: u64) -> Result<u64> {
    let mut request = format!("POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n").into_bytes();
    request.resize(request.len() + bytes as usize, b'x');
    call(&mut open(stage)?, &request)?;
    peak(stage)
}

/// The most resident memory after one body of this length has passed from the program.
///
/// # Errors
/// If the call fails, or the body is cut.
pub fn reply_body(stage: &Stage, bytes: u64) -> Result<u64> {
    let mut stream = ask_for(stage, bytes)?;
    read(&mut stream, bytes)?;
    peak(stage)
}

fn peak(stage: &Stage) -> Result<u64> {
    proc::peak_kb(stage.pid()).map_err(|cause| Error::failed("read", "the proxy's memory", cause))
}

fn resident(stage: &Stage) -> Result<u64> {
    let memory = proc::Memory::of(stage.pid()).map_err(|cause| Error::failed("read", "the proxy's memory", cause))?;
    Ok(memory.resident_kb)
}

/// Resident memory after a few calls.
///
/// # Errors
/// If the proxy has ended.
pub fn resident_kb(stage: &Stage) -> Result<u64> {
    resident(stage)
}

/// A connection on which a stream was asked for.
fn ask_for(stage: &Stage, bytes: u64) -> Result<TcpStream> {
    let failed = |cause| Error::failed("ask for", "a stream", cause);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).map_err(failed)?;
    socket.set_recv_buffer_size(KERNEL_BUFFER).map_err(failed)?;
    socket.connect(&stage.address().into()).map_err(failed)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(CALL_WAIT)).map_err(failed)?;
    let request = format!("GET /stream/{bytes} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    Ok(stream)
}

/// Reads at least this many bytes, of head and body together.
fn read(stream: &mut TcpStream, bytes: u64) -> Result<()> {
    let mut buffer = [0; 64 * 1024];
    let mut came = 0;
    while came < bytes {
        match stream.read(&mut buffer).map_err(|cause| Error::failed("read", "a stream", cause))? {
            0 => return Err(Error::new(format!("a stream was cut after {came} bytes"))),
            count => came += count as u64,
        }
    }
    Ok(())
}

/// What many streams that stand still cost.
pub struct Stalled {
    /// Resident memory of the proxy.
    pub resident_kb: u64,
    /// Median and longest time of a call before there was a stream, in microseconds.
    pub before: (f64, f64),
    /// The same beside the streams.
    pub beside: (f64, f64),
}

/// Opens this many streams of this length, reads `each` bytes of each, and then reads no more. Calls go on beside them.
///
/// # Errors
/// If a stream or a call fails.
pub fn stalled(stage: &Stage, event: &Request, (streams, length): (u32, u64), each: u64) -> Result<Stalled> {
    let mut healthy = open(stage)?;
    let bytes = event.bytes();
    let before = times(&mut healthy, &bytes)?;
    let mut open = Vec::new();
    for _ in 0..streams {
        let mut stream = ask_for(stage, length)?;
        read(&mut stream, each)?;
        open.push(stream);
    }
    let (looks, pause) = STILL;
    let (mut last, mut same) = (resident(stage)?, 0);
    let deadline = Deadline::after(CALL_WAIT);
    while same < looks && !deadline.passed() {
        std::thread::sleep(pause);
        let now = resident(stage)?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    let beside = times(&mut healthy, &bytes)?;
    drop(open);
    Ok(Stalled { resident_kb: last, before, beside })
}

fn times(conn: &mut Conn, event: &[u8]) -> Result<(f64, f64)> {
    let mut all = Vec::with_capacity(HEALTHY_CALLS);
    for _ in 0..HEALTHY_CALLS {
        let began = Instant::now();
        call(conn, event)?;
        all.push(began.elapsed().as_secs_f64() * 1e6);
    }
    all.sort_unstable_by(f64::total_cmp);
    Ok((all[all.len() / 2], all[all.len() - 1]))
}
