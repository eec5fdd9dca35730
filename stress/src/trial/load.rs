//! Honest clients: each has one connection and uses it in every way that a server must support.
//!
//! Every call carries a random number, and every answer is compared as a whole. Slow senders and readers rest with the
//! [`AwakeClock`], so that they stay within every time limit of an instance that counts only its awake time. A failure
//! is a fault of the server, unless the client was too slow by its own clock. That is counted separately.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::awake_clock::{AwakeClock, Reading};
use super::slow_client::SlowClient;
use fc_emulator::clock::Deadline;
use fc_emulator::platform::ids;
use fc_testkit::Rng;
use fc_testkit::http::Response;

/// Every answer must arrive within this time, including freezes; otherwise it is lost.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The most faults whose text is kept.
const FAULTS_MAX: usize = 20;

/// The kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallKind {
    Call,
    Event,
    Pipelined,
    SlowHead,
    SlowBody,
    SlowChunks,
    Upload,
    SlowReader,
    SlowStream,
    Stream,
    Idle,
    Again,
}

/// The names of the kinds, in the same order.
const WAYS: [&str; 12] = [
    "calls",
    "events",
    "pipelined",
    "slow heads",
    "slow bodies",
    "slow chunks",
    "uploads",
    "slow readers",
    "slow streams",
    "streams",
    "idle",
    "reconnected",
];

/// What a client is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Spot {
    /// It is connected and idle.
    Idle,
    /// It has sent a part of a head.
    Head,
    /// It has sent a part of a body.
    Body,
    /// It has sent its request, and no byte came back.
    Response,
    /// It is reading, slowly.
    Reading,
}

/// The same with their names.
pub const SPOTS: [(Spot, &str); 5] = [
    (Spot::Idle, "idle"),
    (Spot::Head, "mid-head"),
    (Spot::Body, "mid-body"),
    (Spot::Response, "before a reply"),
    (Spot::Reading, "mid-reply"),
];

/// The state that all clients share, and the results.
pub struct Load<'a> {
    addr: SocketAddr,
    time: &'a AwakeClock,
    /// The shortest time limit of the instance.
    limit: Duration,
    /// The longest rest between two calls, in milliseconds.
    rest_ms_max: u64,
    calls: AtomicU64,
    sum: AtomicU64,
    kinds: [AtomicU64; WAYS.len()],
    late: AtomicU64,
    spots: Vec<AtomicU8>,
    faults: Mutex<(u64, Vec<String>)>,
}

impl<'a> Load<'a> {
    /// The load of this many clients.
    pub fn new(addr: SocketAddr, time: &'a AwakeClock, limit: Duration, clients: usize, rest_ms_max: u64) -> Self {
        Self {
            addr,
            time,
            limit,
            rest_ms_max,
            calls: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            kinds: Default::default(),
            late: AtomicU64::new(0),
            spots: (0..clients).map(|_| AtomicU8::new(Spot::Idle as u8)).collect(),
            faults: Mutex::default(),
        }
    }

    /// The address of the instance.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The number of calls that were answered, and the sum of their numbers.
    pub fn answered(&self) -> (u64, u64) {
        (self.calls.load(Ordering::Relaxed), self.sum.load(Ordering::Relaxed))
    }

    /// The number of calls that exceeded a time limit because the client was too slow.
    pub fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// How often each kind of call was completed.
    pub fn kinds(&self) -> Vec<(&'static str, u64)> {
        WAYS.into_iter().zip(&self.kinds).map(|(name, count)| (name, count.load(Ordering::Relaxed))).collect()
    }

    /// The number of clients in each spot now, in the order of their names.
    pub fn census(&self) -> [u64; SPOTS.len()] {
        let mut census = [0; SPOTS.len()];
        for spot in &self.spots {
            census[usize::from(spot.load(Ordering::Relaxed))] += 1;
        }
        census
    }

    /// The number of faults, and the texts of the first ones.
    pub fn faults(&self) -> (u64, Vec<String>) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records a fault of the server.
    pub fn report_fault(&self, fault: String) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.0 += 1;
        if faults.1.len() < FAULTS_MAX {
            faults.1.push(fault);
        }
    }

    /// Runs one client until the load ends.
    pub fn client(&self, number: usize, rng: Rng) {
        let mut client = Client { load: self, number, rng, began: self.time.reading(), slowest: Duration::ZERO };
        let mut conn = None;
        while self.time.enter() {
            let kind = client.draw();
            let done = client.once(kind, &mut conn);
            client.is_in(Spot::Idle);
            if let Err(fault) = done {
                conn = None;
                if client.was_late(&fault) {
                    self.late.fetch_add(1, Ordering::Relaxed);
                } else {
                    self.report_fault(format!("client {number}, {kind:?}: {fault}"));
                }
            }
            self.time.leave();
            let rest = client.rng.millis(0, self.rest_ms_max);
            self.time.sleep_awake(rest);
        }
    }
}

/// One client.
struct Client<'a> {
    load: &'a Load<'a>,
    number: usize,
    rng: Rng,
    /// When the time limit in question may have begun.
    began: Reading,
    /// The most that a time limit may have counted in one part of the present call.
    slowest: Duration,
}

impl Client<'_> {
    fn draw(&mut self) -> CallKind {
        match self.rng.within(0, 99) {
            0..=29 => CallKind::Call,
            30..=41 => CallKind::Event,
            42..=49 => CallKind::Pipelined,
            50..=57 => CallKind::SlowHead,
            58..=67 => CallKind::SlowBody,
            68..=74 => CallKind::SlowChunks,
            75..=79 => CallKind::Upload,
            80..=86 => CallKind::SlowReader,
            87..=91 => CallKind::SlowStream,
            92..=94 => CallKind::Stream,
            95..=97 => CallKind::Idle,
            _ => CallKind::Again,
        }
    }

    /// Makes one call or several, and completes them.
    fn once(&mut self, kind: CallKind, kept: &mut Option<SlowClient>) -> Result<(), String> {
        let deadline = Deadline::after(PATIENCE);
        let mut conn = match kept.take().filter(|_| kind != CallKind::Again) {
            Some(conn) => conn,
            None => SlowClient::open(self.load.addr, deadline)?,
        };
        self.slowest = Duration::ZERO;
        let done = match kind {
            CallKind::Call | CallKind::Again => self.calls(&mut conn, 1),
            CallKind::Pipelined => {
                let count = self.rng.within(2, 12);
                self.calls(&mut conn, count)
            }
            CallKind::Event => self.event(&mut conn),
            CallKind::SlowHead => self.slow_head(&mut conn),
            CallKind::SlowBody | CallKind::SlowChunks => self.slow_body(&mut conn, kind == CallKind::SlowChunks),
            CallKind::Upload => self.upload(&mut conn),
            CallKind::SlowReader => self.read("big", (200_000, 1_000_000), true, &mut conn),
            CallKind::SlowStream => self.read("stream", (200_000, 2_000_000), true, &mut conn),
            CallKind::Stream => self.read("sized", (0, 300_000), false, &mut conn),
            CallKind::Idle => {
                let rest = self.rng.millis(0, 300);
                self.load.time.sleep_awake(rest);
                Ok(())
            }
        };
        done.and_then(|()| conn.is_quiet())?;
        *kept = Some(conn);
        self.load.kinds[kind as usize].fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Sends this many calls in one write. Their answers come in order.
    fn calls(&mut self, conn: &mut SlowClient, count: u64) -> Result<(), String> {
        let numbers: Vec<u64> = (0..count).map(|_| number()).collect();
        let requests: String = numbers.iter().map(|number| get(&format!("/echo/{number:016x}"))).collect();
        self.send(conn, requests.as_bytes(), Spot::Head)?;
        numbers.into_iter().try_for_each(|number| self.echoed(conn, number))
    }

    fn event(&mut self, conn: &mut SlowClient) -> Result<(), String> {
        let number = number();
        let rest = self.rng.within(0, 2000) as usize;
        let event = format!("{number:016x}{}", "e".repeat(rest));
        self.send(conn, &post("/invoke", "/invoke", event.as_bytes()), Spot::Body)?;
        let reply = self.reply(conn, false)?;
        self.compare(number, &reply, event.as_bytes())
    }

    /// Sends a head in pieces, within the time limit for heads.
    fn slow_head(&mut self, conn: &mut SlowClient) -> Result<(), String> {
        let number = number();
        let filler = "f".repeat(self.rng.within(0, 1500) as usize);
        let request = format!(
            "GET /echo/{number:016x} HTTP/1.1\r\nhost: a\r\nx-fc-control-path: /http-invoke\r\nx: {filler}\r\n\r\n"
        );
        self.send_slowly(conn, request.as_bytes(), Spot::Head)?;
        self.echoed(conn, number)
    }

    /// Sends a body in pieces, within the time limit for bodies.
    fn slow_body(&mut self, conn: &mut SlowClient, chunked: bool) -> Result<(), String> {
        let (number, body) = self.body(100_000);
        let path = format!("/digest/{number:016x}");
        let (head, framed) = match chunked {
            false => (format!("content-length: {}", body.len()), body.clone()),
            true => ("transfer-encoding: chunked".to_owned(), chunks(&body, self.rng.within(1, 30_000) as usize)),
        };
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\nx-fc-control-path: /http-invoke\r\n{head}\r\n\r\n");
        self.send(conn, head.as_bytes(), Spot::Body)?;
        self.send_slowly(conn, &framed, Spot::Body)?;
        self.digested(conn, number, &body)
    }

    fn upload(&mut self, conn: &mut SlowClient) -> Result<(), String> {
        let (number, body) = self.body(600_000);
        let path = format!("/digest/{number:016x}");
        self.send(conn, &post(&path, "/http-invoke", &body), Spot::Body)?;
        self.digested(conn, number, &body)
    }

    /// Reads a large reply, complete or streamed.
    fn read(
        &mut self,
        route: &str,
        (low, high): (u64, u64),
        slowly: bool,
        conn: &mut SlowClient,
    ) -> Result<(), String> {
        let number = number();
        // Few different sizes, so that the server's allocator soon knows all of them.
        let bytes = self.rng.within(low / 100_000, high / 100_000) as usize * 100_000;
        self.send(conn, get(&format!("/{route}/{number:016x}?{bytes}")).as_bytes(), Spot::Head)?;
        match self.reply(conn, slowly) {
            Ok(reply) => self.compare(number, &reply, &pattern(number, bytes)),
            Err(fault) => {
                if self.was_late(&fault) {
                    // The call has run, although reading its answer took too long.
                    self.count(number);
                }
                Err(fault)
            }
        }
    }

    fn body(&mut self, bytes_max: u64) -> (u64, Vec<u8>) {
        let number = number();
        let bytes = self.rng.within(0, bytes_max / 1000) * 1000;
        (number, pattern(number, bytes as usize))
    }

    fn send(&mut self, conn: &mut SlowClient, bytes: &[u8], spot: Spot) -> Result<(), String> {
        self.began = self.load.time.reading();
        self.is_in(spot);
        conn.send(bytes, Deadline::after(PATIENCE))
    }

    /// Sends two to five pieces with rests between them. The time limit began with the first.
    fn send_slowly(&mut self, conn: &mut SlowClient, bytes: &[u8], spot: Spot) -> Result<(), String> {
        let mut cuts: Vec<usize> = (0..self.rng.within(1, 4)).map(|_| self.cut(bytes.len())).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        if spot == Spot::Head {
            self.began = self.load.time.reading();
        }
        self.is_in(spot);
        let mut from = 0;
        for to in cuts {
            conn.send(&bytes[from..to], Deadline::after(PATIENCE))?;
            from = to;
            if to < bytes.len() {
                let rest = self.rng.millis(1, 50);
                self.load.time.sleep_awake(rest);
            }
        }
        Ok(())
    }

    fn cut(&mut self, bytes: usize) -> usize {
        self.rng.within(0, bytes as u64) as usize
    }

    /// Reads one reply. A slow reader rests before each read, and each rest is a separate part for the server's limits.
    fn reply(&mut self, conn: &mut SlowClient, slowly: bool) -> Result<Response, String> {
        self.is_in(Spot::Response);
        let mut looks = 0_u32;
        conn.reply(Deadline::after(PATIENCE), || {
            // One rest for each amount that the kernel buffers; otherwise a large reply would take seconds.
            looks += 1;
            if slowly && looks.is_multiple_of(8) {
                self.is_in(Spot::Reading);
                self.progress();
                let rest = self.rng.millis(1, 40);
                self.load.time.sleep_awake(rest);
            }
        })
    }

    fn progress(&mut self) {
        let now = self.load.time.reading();
        // Twice, because the server notices it only with its next look.
        self.slowest = self.slowest.max(2 * now.since(self.began));
        self.began = now;
    }

    fn echoed(&mut self, conn: &mut SlowClient, number: u64) -> Result<(), String> {
        let reply = self.reply(conn, false)?;
        self.compare(number, &reply, format!("{number:016x}").as_bytes())
    }

    fn digested(&mut self, conn: &mut SlowClient, number: u64, body: &[u8]) -> Result<(), String> {
        let reply = self.reply(conn, false)?;
        self.compare(number, &reply, format!("{number:016x} {} {:016x}", body.len(), digest(body)).as_bytes())
    }

    fn compare(&mut self, number: u64, reply: &Response, expected: &[u8]) -> Result<(), String> {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        if reply.status != 200 {
            return Err(format!("answered {}: {}", reply.status, shown(&reply.body)));
        }
        if reply.body != expected {
            let (came, wanted) = (shown(&reply.body), shown(expected));
            let bytes = (reply.body.len(), expected.len());
            return Err(format!("a wrong answer: {} bytes `{came}` for {} bytes `{wanted}`", bytes.0, bytes.1));
        }
        if reply.closes {
            return Err("answered with `Connection: close`".into());
        }
        self.count(number);
        Ok(())
    }

    fn count(&self, number: u64) {
        self.load.calls.fetch_add(1, Ordering::Relaxed);
        self.load.sum.fetch_add(number, Ordering::Relaxed);
    }

    /// Whether a time limit may have fired because the client was too slow, as on a busy machine. An idle connection
    /// has no limit.
    fn was_late(&self, fault: &str) -> bool {
        let fired = fault.contains("408") || fault.starts_with("cut") || fault.starts_with("closed");
        fired && self.slowest.max(self.load.time.reading().since(self.began)) >= self.load.limit
    }

    fn is_in(&self, spot: Spot) {
        self.load.spots[self.number].store(spot as u8, Ordering::Relaxed);
    }
}

/// A random number that is never 0.
fn number() -> u64 {
    ids::random() | 1
}

/// A call from outside.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-fc-control-path: /http-invoke\r\n\r\n")
}

/// A call with a body.
pub fn post(path: &str, control_path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\nx-fc-control-path: {control_path}\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// The body of replies and uploads. It depends on the number and on the position.
fn pattern(number: u64, bytes: usize) -> Vec<u8> {
    let of_number = number.to_le_bytes();
    // After so many bytes it begins again.
    let period = bytes.min(8 * 251);
    let first: Vec<u8> = (0..period).map(|position| of_number[position % 8] ^ (position % 251) as u8).collect();
    let mut pattern = first.repeat(bytes.div_ceil(period.max(1)));
    pattern.truncate(bytes);
    pattern
}

fn chunks(body: &[u8], bytes: usize) -> Vec<u8> {
    let framed = body.chunks(bytes).map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    let mut framed: Vec<u8> = framed.flatten().collect();
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}

/// The FNV-1a hash, as the target computes it.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
