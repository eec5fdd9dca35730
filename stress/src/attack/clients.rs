//! The attackers: one thread, non-blocking sockets, edge-triggered epoll.
//!
//! The thread plays a [`Script`] on each of many connections, and counts how the server responds. It judges nothing. It
//! runs at a low priority, so that it does not delay the healthy client on the same processor.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, sockopt};
use rustix::time::{ClockId, Timespec, clock_gettime};
use serde::Serialize;

use super::script::{End, Place, Reading, Script};
use fc_bench::harness::pin_self;
use fc_emulator::error::{Error, Result};

/// The most bytes that one attacker sends before the others get their turn.
const BURST_BYTES: usize = 256 * 1024;

/// The most bytes that are read at a time.
const READ_BYTES: usize = 64 * 1024;

/// The receive buffer that a slow reader requests. The kernel uses the least that it allows.
const NARROW_BYTES: usize = 2048;

/// The longest wait, so that the thread soon notices new orders.
const LISTEN: Duration = Duration::from_millis(5);

/// The shortest wait. Attackers that send single bytes on a thousand connections need no exact times.
const TICK: Duration = Duration::from_millis(1);

const EVENTS: usize = 256;

/// `HTTP/1.1 200`
const STATUS_LINE_BYTES: usize = 12;

const REST: u8 = 0;
const ATTACK: u8 = 1;
const END: u8 = 2;

/// How the server responded to the attackers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AttackStats {
    /// Connections that were established.
    pub connected: u64,
    /// Attempts to connect that failed.
    pub refused: u64,
    /// The number of connections for each status of a first reply.
    pub statuses: BTreeMap<u16, u64>,
    /// Connections that the server closed.
    pub closed: u64,
    /// Connections that the server reset.
    pub reset: u64,
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// The share of its processor's time that this thread used while it attacked.
    pub busy: f64,
}

/// The thread of the attackers.
pub struct AttackClients {
    orders: Arc<Orders>,
    thread: Option<JoinHandle<Result<AttackStats>>>,
}

#[derive(Default)]
struct Orders {
    state: AtomicU8,
    /// How many attackers are in place, or were ended, since the attack began.
    arrived: AtomicUsize,
}

impl AttackClients {
    /// Starts the thread. It does not attack yet.
    pub fn raise(address: SocketAddr, scripts: Vec<Script>, processors: Vec<usize>) -> Self {
        let orders = Arc::new(Orders::default());
        let heard = orders.clone();
        let thread = std::thread::spawn(move || {
            pin_self(&processors)?;
            // A failure is harmless: the healthy client then waits a little longer.
            let _ = rustix::process::nice(10);
            Thread::new(address, scripts, heard)?.work()
        });
        Self { orders, thread: Some(thread) }
    }

    /// Starts the attack on all connections.
    pub fn attack(&self) {
        self.orders.arrived.store(0, Ordering::Relaxed);
        self.orders.state.store(ATTACK, Ordering::Release);
    }

    /// Ends all connections, every second one by a reset.
    pub fn rest(&self) {
        self.orders.state.store(REST, Ordering::Release);
    }

    /// How many attackers have arrived since the attack began.
    pub fn arrived(&self) -> usize {
        self.orders.arrived.load(Ordering::Relaxed)
    }

    /// Ends the thread and returns the statistics.
    ///
    /// # Errors
    /// If the thread failed for a reason of our own.
    pub fn dismiss(mut self) -> Result<AttackStats> {
        self.orders.state.store(END, Ordering::Release);
        let ended = self.thread.take().map(JoinHandle::join);
        ended.and_then(std::result::Result::ok).unwrap_or_else(|| Err(Error::new("the attackers' thread failed")))
    }
}

impl Drop for AttackClients {
    fn drop(&mut self) {
        self.orders.state.store(END, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A caller that needs the statistics has called [`AttackClients::dismiss`].
            let _ = thread.join();
        }
    }
}

struct Thread {
    address: SocketAddr,
    epoll: OwnedFd,
    soldiers: Vec<Soldier>,
    orders: Arc<Orders>,
    buffer: Box<[u8]>,
    stats: AttackStats,
}

struct Soldier {
    script: Script,
    socket: Option<OwnedFd>,
    place: Place,
    /// When it may connect, send its next piece or read on. `None`: not before an event.
    due: Option<Instant>,
    readable: bool,
    writable: bool,
    connected: bool,
    gone: bool,
    ended: bool,
    arrived: bool,
    first: Vec<u8>,
}

/// The result of a look at a socket.
enum Look {
    Nothing,
    /// There is more to do at once.
    Hot,
    /// The connection has ended.
    Over,
}

impl Thread {
    fn new(address: SocketAddr, scripts: Vec<Script>, orders: Arc<Orders>) -> Result<Self> {
        let epoll =
            epoll::create(CreateFlags::CLOEXEC).map_err(|cause| Error::failed("prepare", "an attack", cause))?;
        let soldiers = scripts.into_iter().map(Soldier::new).collect();
        let buffer = vec![0; READ_BYTES].into_boxed_slice();
        Ok(Self { address, epoll, soldiers, orders, buffer, stats: AttackStats::default() })
    }

    fn work(mut self) -> Result<AttackStats> {
        let (mut attacked, mut used) = (Duration::ZERO, Duration::ZERO);
        loop {
            match self.orders.state.load(Ordering::Acquire) {
                ATTACK => {
                    let (began, cpu) = (Instant::now(), thread_time());
                    self.attack()?;
                    attacked += began.elapsed();
                    used += thread_time().saturating_sub(cpu);
                }
                REST => std::thread::sleep(LISTEN),
                _ => break,
            }
        }
        self.stats.busy = used.as_secs_f64() / attacked.as_secs_f64().max(1e-9);
        Ok(self.stats)
    }

    /// Runs until the orders change.
    fn attack(&mut self) -> Result<()> {
        let count = self.soldiers.len();
        let began = Instant::now();
        for (number, soldier) in self.soldiers.iter_mut().enumerate() {
            // Attackers that send single bytes do so at different times.
            let part = soldier.script.every.mul_f64(number as f64 / count as f64);
            soldier.due = Some(began + part.min(Duration::from_millis(200)));
            soldier.arrived = false;
        }
        let mut events = [MaybeUninit::<Event>::uninit(); EVENTS];
        while self.orders.state.load(Ordering::Acquire) == ATTACK {
            let now = Instant::now();
            let (mut hot, mut next) = (false, now + LISTEN);
            for number in 0..count {
                hot |= self.turn(number, now)?;
                next = self.soldiers[number].due.map_or(next, |due| due.min(next));
            }
            let wait = if hot { Duration::ZERO } else { next.saturating_duration_since(now).max(TICK) };
            let wait = Timespec { tv_sec: 0, tv_nsec: wait.as_nanos() as _ };
            match epoll::wait(&self.epoll, &mut events, Some(&wait)) {
                Ok((came, _)) => came.iter().for_each(|event| {
                    let flags = event.flags;
                    self.soldiers[event.data.u64() as usize].notice(flags);
                }),
                Err(Errno::INTR) => {}
                Err(cause) => return Err(Error::failed("wait for", "the attackers' connections", cause)),
            }
        }
        for (number, soldier) in self.soldiers.iter_mut().enumerate() {
            soldier.leave(number % 2 == 0, &mut self.stats);
        }
        Ok(())
    }

    /// One turn of an attacker. Returns true if it could continue at once.
    fn turn(&mut self, number: usize, now: Instant) -> Result<bool> {
        let soldier = &mut self.soldiers[number];
        let due = soldier.due.is_some_and(|due| due <= now);
        if soldier.socket.is_none() {
            if due {
                self.connect(number, now)?;
            }
            return Ok(false);
        }
        if !(due || soldier.readable || soldier.writable || soldier.gone) {
            return Ok(false);
        }
        let look = soldier.go_on(now, due, &mut self.buffer, &mut self.stats);
        if !soldier.arrived && (soldier.is_in_place() || matches!(look, Look::Over)) {
            soldier.arrived = true;
            self.orders.arrived.fetch_add(1, Ordering::Relaxed);
        }
        match look {
            Look::Nothing => Ok(false),
            Look::Hot => Ok(true),
            Look::Over => {
                soldier.leave(soldier.script.end == End::Reset, &mut self.stats);
                soldier.due = soldier.script.rest.map(|rest| now + rest);
                Ok(soldier.script.rest == Some(Duration::ZERO))
            }
        }
    }

    fn connect(&mut self, number: usize, now: Instant) -> Result<()> {
        let ours = |cause: Errno| Error::failed("connect to", self.address, cause);
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).map_err(ours)?;
        let soldier = &mut self.soldiers[number];
        if matches!(soldier.script.reading, Reading::Slowly(_)) {
            sockopt::set_socket_recv_buffer_size(&socket, NARROW_BYTES).map_err(ours)?;
        }
        match net::connect(&socket, &self.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(Errno::CONNREFUSED | Errno::CONNRESET | Errno::TIMEDOUT | Errno::ADDRNOTAVAIL | Errno::AGAIN) => {
                self.stats.refused += 1;
                soldier.due = Some(now + soldier.script.rest.unwrap_or(LISTEN).max(LISTEN));
                return Ok(());
            }
            Err(cause) => return Err(ours(cause)),
        }
        let wanted = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &socket, EventData::new_u64(number as u64), wanted).map_err(ours)?;
        soldier.begin(socket);
        Ok(())
    }
}

impl Soldier {
    fn new(script: Script) -> Self {
        Self {
            script,
            socket: None,
            place: Place::default(),
            due: None,
            readable: false,
            writable: false,
            connected: false,
            gone: false,
            ended: false,
            arrived: false,
            first: Vec::new(),
        }
    }

    fn begin(&mut self, socket: OwnedFd) {
        let script = self.script.clone();
        *self = Self { socket: Some(socket), arrived: self.arrived, ..Self::new(script) };
    }

    fn leave(&mut self, by_reset: bool, stats: &mut AttackStats) {
        let Some(socket) = self.socket.take() else { return };
        let mut line = [0; STATUS_LINE_BYTES];
        if self.first.is_empty()
            && let Ok((bytes, _)) = net::recv(&socket, &mut line, RecvFlags::empty())
        {
            self.look_at(&line[..bytes], stats);
        }
        if by_reset {
            // If this fails, the connection is closed in order.
            let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
        }
    }

    /// Records the status of the first reply.
    fn look_at(&mut self, came: &[u8], stats: &mut AttackStats) {
        let more = STATUS_LINE_BYTES - self.first.len();
        if more > 0 {
            self.first.extend_from_slice(&came[..came.len().min(more)]);
            if let Some(status) = status(&self.first) {
                *stats.statuses.entry(status).or_default() += 1;
            }
        }
    }

    fn notice(&mut self, flags: EventFlags) {
        self.readable |= flags.contains(EventFlags::IN);
        self.writable |= flags.contains(EventFlags::OUT);
        self.gone |= flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
    }

    /// Whether the attacker has reached its goal: one that sends without end has begun, and one that reads slowly has
    /// bytes to read.
    fn is_in_place(&self) -> bool {
        let Script { times, every, reading, .. } = self.script;
        let is_done = match reading {
            Reading::Slowly(_) => !self.first.is_empty(),
            Reading::Never => true,
            Reading::All => times == u64::MAX || !every.is_zero() || self.place.unsent(&self.script).is_empty(),
        };
        self.connected && self.place.is_open(&self.script) && is_done
    }

    fn go_on(&mut self, now: Instant, due: bool, buffer: &mut [u8], stats: &mut AttackStats) -> Look {
        if !self.connected && (self.writable || self.gone) {
            let Some(socket) = &self.socket else { return Look::Nothing };
            if !matches!(sockopt::socket_error(socket), Ok(Ok(()))) {
                stats.refused += 1;
                return Look::Over;
            }
            self.connected = true;
            stats.connected += 1;
        }
        if !self.connected {
            return Look::Nothing;
        }
        if due {
            self.due = None;
        }
        let sent = self.send(now, due, stats);
        if matches!(sent, Look::Over) {
            return sent;
        }
        let read = self.read(due, buffer, stats);
        let slow = matches!(self.script.reading, Reading::Slowly(_));
        if !self.script.every.is_zero() && (slow || !self.place.unsent(&self.script).is_empty()) {
            self.due.get_or_insert(now + self.script.every);
        }
        match (sent, read) {
            (_, Look::Over) => Look::Over,
            (Look::Hot, _) | (_, Look::Hot) => Look::Hot,
            _ => Look::Nothing,
        }
    }

    fn send(&mut self, now: Instant, due: bool, stats: &mut AttackStats) -> Look {
        let Some(socket) = &self.socket else { return Look::Nothing };
        let mut left = BURST_BYTES;
        while self.writable && left > 0 {
            let unsent = self.place.unsent(&self.script);
            if unsent.is_empty() {
                return self.finish_sending();
            }
            let is_slow = self.place.is_open(&self.script) && !self.script.every.is_zero();
            if is_slow && !due {
                return Look::Nothing;
            }
            match net::send(socket, &unsent[..unsent.len().min(left)], SendFlags::NOSIGNAL) {
                Ok(bytes) => {
                    stats.sent_bytes += bytes as u64;
                    left -= bytes.min(left);
                    if self.place.sent(&self.script, bytes) && is_slow {
                        self.due = Some(now + self.script.every);
                        return Look::Nothing;
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => self.writable = false,
                // The reading side reports how the connection ended.
                Err(_) => {
                    (self.writable, self.gone) = (false, true);
                }
            }
        }
        if self.writable { Look::Hot } else { Look::Nothing }
    }

    fn finish_sending(&mut self) -> Look {
        let Some(socket) = &self.socket else { return Look::Nothing };
        match self.script.end {
            End::Stay => {}
            End::Reset => return Look::Over,
            End::HalfClose if !std::mem::replace(&mut self.ended, true) => {
                // The server may have closed the connection already. The next read reports it.
                let _ = net::shutdown(socket, Shutdown::Write);
            }
            End::HalfClose => {}
        }
        self.writable = false;
        Look::Nothing
    }

    fn read(&mut self, due: bool, buffer: &mut [u8], stats: &mut AttackStats) -> Look {
        let Some(socket) = &self.socket else { return Look::Nothing };
        let wanted = match self.script.reading {
            // A connection that has ended needs no reset. The remaining bytes tell its status.
            _ if self.gone => buffer.len(),
            Reading::All if self.readable => buffer.len(),
            Reading::Slowly(bytes) if due => bytes,
            _ => return Look::Nothing,
        };
        match net::recv(socket, &mut buffer[..wanted], RecvFlags::empty()) {
            Ok((0, _)) => {
                stats.closed += 1;
                Look::Over
            }
            Ok((bytes, _)) => {
                self.look_at(&buffer[..bytes], stats);
                if self.gone || self.script.reading == Reading::All { Look::Hot } else { Look::Nothing }
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                // A connection that the server closed without a reply has ended, too. A read of zero bytes reports it.
                (self.readable, self.gone) = (false, false);
                Look::Nothing
            }
            Err(_) => {
                stats.reset += 1;
                Look::Over
            }
        }
    }
}

/// The status in the beginning of a status line.
fn status(line: &[u8]) -> Option<u16> {
    let digits = line.get(..STATUS_LINE_BYTES)?.strip_prefix(b"HTTP/1.")?.get(2..)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_from_whole_lines_only() {
        assert_eq!(status(b"HTTP/1.1 503"), Some(503));
        assert_eq!(status(b"HTTP/1.0 200"), Some(200));
        for other in [&b"HTTP/1.1 50"[..], b"SSH-2.0-Open", b"HTTP/1.1 abc"] {
            assert_eq!(status(other), None);
        }
    }
}
