//! One thread, non-blocking sockets, edge-triggered epoll: the loop that loads a server.
//!
//! Own, because the usual ones do not serve here: `wrk` has no fixed rate and gives no samples; `oha` needs more
//! processor time for a request than the servers that it would have to tell apart. A request on a kept connection costs
//! one `send`, one `recv` and shares of one `epoll_wait`; nothing is allocated.
//!
//! Decides nothing: who sends when is [`Traffic`]'s affair. It does not spin: a timer descriptor, which knows no timer
//! slack, wakes it when a request is due.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};
use rustix::time::{ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime};
use rustix::time::{timerfd_create, timerfd_settime};

use super::counters::Counters;
use super::open;
use super::reply::{Pieces, Reply};
use super::traffic::{Traffic, Window};
use super::{Nanos, Task};
use fc_emulator::error::{Error, Result};

/// How long after its end a run still waits for the replies to what it has sent.
const GRACE: Nanos = 1_000_000_000;

/// How long the server may take to close a connection after its last reply.
const CLOSE_WAIT: Nanos = 200_000_000;

/// The most connections of a run that has one for each request; it ends early then. Those that are over take up room in
/// the kernel's tables for some seconds, and small machines have 65,536 places in them.
const OPENED_MAX: usize = 40_000;

/// The most that is read at a time.
const READ_BYTES: usize = 64 * 1024;

/// The most events that are taken at a time.
const EVENTS: usize = 256;

/// The event of the timer. Every other number is a connection's.
const TIMER: u64 = u64::MAX;

/// What a run gave.
pub struct Outcome {
    /// The books.
    pub counters: Counters,
    /// How long was measured.
    pub seconds: f64,
    /// Share of its processor's time that this thread used.
    pub client_busy: f64,
    /// Processor time that the server used meanwhile.
    pub server_cpu: Nanos,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no socket.
    Closed,
    /// A socket that is not connected yet, and is not to send anything when it is.
    Connecting,
    Free,
    /// So much of its request is sent.
    Sending(usize),
    Receiving,
    /// Answered for the last time, at this time; the server is to close it.
    Ending(Nanos),
}

struct Connection {
    state: State,
    socket: Option<OwnedFd>,
    pieces: Pieces,
}

/// Readings at an edge of the window.
#[derive(Clone, Copy)]
struct Reading {
    at: Nanos,
    client_cpu: Nanos,
    server_cpu: Nanos,
}

/// A clock of processor time.
type CpuClock<'a> = &'a dyn Fn() -> Result<Nanos>;

struct Client<'a> {
    task: &'a Task<'a>,
    address: SocketAddr,
    server_cpu: CpuClock<'a>,
    epoll: OwnedFd,
    timer: OwnedFd,
    /// When the timer rings, if that is still to come.
    armed: Nanos,
    connections: Vec<Connection>,
    /// Those that have to be opened before they can be free.
    to_open: Vec<usize>,
    /// How many were opened for a request each.
    opened: usize,
    traffic: Traffic,
    buffer: Box<[u8]>,
    begin: Option<Reading>,
    end: Option<Reading>,
}

/// Loads the server at `address`.
///
/// # Errors
/// When it could not be loaded at all: no connection, nothing but failures, or something of our own gave out.
pub fn run(address: SocketAddr, task: &Task<'_>, server_cpu: CpuClock<'_>) -> Result<Outcome> {
    let mut client = Client::new(address, task, server_cpu)?;
    client.work()?;
    client.finish()
}

impl<'a> Client<'a> {
    fn new(address: SocketAddr, task: &'a Task<'a>, server_cpu: CpuClock<'a>) -> Result<Self> {
        let ours = |cause| Error::failed("prepare", "the load", cause);
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(ours)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(ours)?;
        let wanted = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), wanted).map_err(ours)?;
        let closed = || Connection { state: State::Closed, socket: None, pieces: Pieces::default() };
        let mut connections: Vec<Connection> = (0..task.connections).map(|_| closed()).collect();
        if !task.reconnect {
            for (number, socket) in open::all(address, task)?.into_iter().enumerate() {
                watch(&epoll, &socket, number, EventFlags::OUT).map_err(ours)?;
                connections[number] = Connection { state: State::Free, socket: Some(socket), ..closed() };
            }
        }
        let start = now();
        let from = start + nanos(task.warm_up);
        let window = Window { from, to: from + nanos(task.length) };
        Ok(Self {
            task,
            address,
            server_cpu,
            epoll,
            timer,
            armed: 0,
            connections,
            to_open: Vec::new(),
            opened: 0,
            traffic: Traffic::new(task.connections, task.rate, start, window),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            begin: None,
            end: None,
        })
    }

    fn work(&mut self) -> Result<()> {
        let mut events = [MaybeUninit::<Event>::uninit(); EVENTS];
        loop {
            let at = now();
            if self.traffic.is_hopeless() || self.opened >= OPENED_MAX {
                self.traffic.end_at(at);
            }
            let Window { from, to } = self.traffic.window();
            if self.begin.is_none() && at >= from {
                self.begin = Some(self.reading(at)?);
            }
            if at >= to && self.end.is_none() {
                self.end = Some(self.reading(at)?);
            }
            self.reset_kept(at);
            self.send_all(at)?;
            if at >= to && (at >= to + GRACE || !self.traffic.is_awaited()) {
                return Ok(());
            }
            for number in std::mem::take(&mut self.to_open) {
                if at < to {
                    self.open(number)?;
                }
            }
            let timeout = self.set_timer(at)?;
            let (came, _) = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
                Ok(came) => came,
                Err(Errno::INTR) => continue,
                Err(cause) => return Err(Error::failed("wait for", "the connections", cause)),
            };
            for event in came {
                let number = event.data.u64();
                if number != TIMER {
                    self.step(number as usize, event.flags)?;
                }
            }
        }
    }

    /// Has the timer ring when there is something to do though nothing comes. If there is something already: zero.
    fn set_timer(&mut self, at: Nanos) -> Result<Option<Timespec>> {
        let Window { from, to } = self.traffic.window();
        let edge = [from, to, to + GRACE].into_iter().find(|edge| *edge > at).unwrap_or(at);
        let kept = self.ending().map(|(_, since)| since + CLOSE_WAIT).min();
        let next = [self.traffic.wake(), kept].into_iter().flatten().fold(edge, Nanos::min);
        if next <= at || !self.to_open.is_empty() {
            return Ok(Some(Timespec::default()));
        }
        // One that rings earlier than needed does no harm; setting it costs a system call.
        if self.armed <= at || self.armed > next {
            let it_value = Timespec { tv_sec: (next / 1_000_000_000) as i64, tv_nsec: (next % 1_000_000_000) as i64 };
            let time = Itimerspec { it_interval: Timespec::default(), it_value };
            timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &time)
                .map_err(|cause| Error::failed("set", "the timer", cause))?;
            self.armed = next;
        }
        Ok(None)
    }

    fn send_all(&mut self, at: Nanos) -> Result<()> {
        while let Some(number) = self.traffic.next(at) {
            if self.task.reconnect {
                self.begin_anew(number)?;
            } else {
                self.send(number, 0)?;
            }
        }
        Ok(())
    }

    /// Something happened to a connection.
    fn step(&mut self, number: usize, flags: EventFlags) -> Result<()> {
        let gone = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        match self.connections[number].state {
            State::Closed => Ok(()),
            State::Connecting => match self.socket_error(number) {
                None => {
                    self.connections[number].state = State::Free;
                    self.traffic.freed(number, now());
                    Ok(())
                }
                Some(cause) => self.fail(number, || format!("no connection: {cause}")),
            },
            State::Free if gone || flags.contains(EventFlags::IN) => {
                // Closed, or there is a reply that nobody asked for.
                self.traffic.lost(number);
                self.traffic.counters.closed += 1;
                self.drop_socket(number);
                self.to_open.push(number);
                Ok(())
            }
            State::Free => Ok(()),
            State::Sending(sent) if flags.contains(EventFlags::OUT) => self.send(number, sent),
            State::Sending(_) => Ok(()),
            State::Receiving => self.receive(number, gone),
            State::Ending(_) => self.await_end(number),
        }
    }

    fn send(&mut self, number: usize, sent: usize) -> Result<()> {
        let connection = &mut self.connections[number];
        let Some(socket) = &connection.socket else { return Ok(()) };
        match send(socket, &self.task.request[sent..], SendFlags::NOSIGNAL) {
            Ok(count) if sent + count == self.task.request.len() => connection.state = State::Receiving,
            Ok(count) => connection.state = State::Sending(sent + count),
            Err(Errno::AGAIN | Errno::INTR) => connection.state = State::Sending(sent),
            Err(cause) => return self.fail(number, || format!("sending failed: {cause}")),
        }
        Ok(())
    }

    fn receive(&mut self, number: usize, gone: bool) -> Result<()> {
        loop {
            let connection = &mut self.connections[number];
            let Some(socket) = &connection.socket else { return Ok(()) };
            let count = match recv(socket, &mut *self.buffer, RecvFlags::empty()) {
                Ok((0, _)) => {
                    return self.fail(number, || "the server closed the connection instead of a reply".into());
                }
                Ok((count, _)) => count,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(cause) => return self.fail(number, || format!("receiving failed: {cause}")),
            };
            let came = connection.pieces.add(&self.buffer[..count]);
            match came {
                Ok(Some(reply)) => return self.reply(number, reply, gone),
                // Less than asked for means that no more is there now; its end may be there all the same.
                Ok(None) if count < READ_BYTES && !gone => return Ok(()),
                Ok(None) => {}
                Err(cause) => return self.fail(number, || cause.into()),
            }
        }
    }

    fn reply(&mut self, number: usize, reply: Reply, gone: bool) -> Result<()> {
        let at = now();
        self.traffic.answered(number, at);
        if self.task.reconnect {
            self.connections[number].state = State::Ending(at);
            return self.await_end(number);
        }
        if reply.closes || gone {
            self.traffic.counters.closed += 1;
            self.drop_socket(number);
            self.to_open.push(number);
            return Ok(());
        }
        self.connections[number].state = State::Free;
        self.traffic.freed(number, at);
        self.send_all(at)
    }

    /// The server closes first, as it was asked to; it has nothing more to say when our reset comes. So neither end of
    /// the connection rests (TIME_WAIT), no port gets scarce, and a firewall forgets it within seconds. It remembers
    /// orderly ends for two minutes: with them the table of a machine with Docker (262,144 connections) was full before
    /// the last round, and then packets of everybody are lost.
    fn await_end(&mut self, number: usize) -> Result<()> {
        let Some(socket) = &self.connections[number].socket else { return Ok(()) };
        match recv(socket, &mut *self.buffer, RecvFlags::empty()) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            // The reply was whole, so what comes after it has nothing to do with the request.
            Ok(_) | Err(_) => self.drop_socket(number),
        }
        let at = now();
        self.traffic.freed(number, at);
        self.send_all(at)
    }

    /// The connections that the server is to close, and since when.
    fn ending(&self) -> impl Iterator<Item = (usize, Nanos)> + '_ {
        let of_one = |(number, connection): (usize, &Connection)| match connection.state {
            State::Ending(since) => Some((number, since)),
            _ => None,
        };
        // Of those that are to be kept there is none.
        let those = if self.task.reconnect { self.connections.as_slice() } else { &[] };
        those.iter().enumerate().filter_map(of_one)
    }

    /// Does itself what the server was to do.
    fn reset_kept(&mut self, at: Nanos) {
        loop {
            let kept = self.ending().find(|(_, since)| at >= since + CLOSE_WAIT);
            let Some((number, _)) = kept else { return };
            self.traffic.counters.kept += 1;
            self.drop_socket(number);
            self.traffic.freed(number, at);
        }
    }

    /// Opens a connection and sends its request at once.
    fn begin_anew(&mut self, number: usize) -> Result<()> {
        self.opened += 1;
        match open::begin(self.address)? {
            Err(cause) => self.fail(number, || format!("no connection: {cause}")),
            Ok(socket) => {
                self.connections[number].socket = Some(socket);
                self.connections[number].pieces.clear();
                self.send(number, 0)?;
                // Whether the kernel still has to tell when there is room is known only now.
                let sending = matches!(self.connections[number].state, State::Sending(_));
                self.watch(number, if sending { EventFlags::OUT } else { EventFlags::empty() })
            }
        }
    }

    /// Opens a connection that is to be kept.
    fn open(&mut self, number: usize) -> Result<()> {
        match open::begin(self.address)? {
            Err(cause) => self.fail(number, || format!("no connection: {cause}")),
            Ok(socket) => {
                let connection = &mut self.connections[number];
                *connection = Connection { state: State::Connecting, socket: Some(socket), pieces: Pieces::default() };
                self.watch(number, EventFlags::OUT)
            }
        }
    }

    fn watch(&self, number: usize, more: EventFlags) -> Result<()> {
        let Some(socket) = &self.connections[number].socket else { return Ok(()) };
        watch(&self.epoll, socket, number, more).map_err(|cause| Error::failed("watch", "a connection", cause))
    }

    /// The connection is of no use any more; another takes its place.
    fn fail(&mut self, number: usize, cause: impl FnOnce() -> String) -> Result<()> {
        self.traffic.failed(number, cause);
        self.drop_socket(number);
        if self.task.reconnect {
            self.traffic.freed(number, now());
        } else {
            self.to_open.push(number);
        }
        Ok(())
    }

    fn socket_error(&self, number: usize) -> Option<Errno> {
        let socket = self.connections[number].socket.as_ref()?;
        sockopt::socket_error(socket).unwrap_or_else(Err).err()
    }

    /// Ends a connection with a reset.
    fn drop_socket(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        connection.state = State::Closed;
        connection.pieces.clear();
        if let Some(socket) = connection.socket.take() {
            reset(&socket);
        }
    }

    fn reading(&self, at: Nanos) -> Result<Reading> {
        Ok(Reading { at, client_cpu: clock(ClockId::ThreadCPUTime), server_cpu: (self.server_cpu)()? })
    }

    fn finish(self) -> Result<Outcome> {
        self.connections.iter().filter_map(|connection| connection.socket.as_ref()).for_each(reset);
        let Window { from, to } = self.traffic.window();
        let hopeless = self.traffic.is_hopeless();
        let counters = self.traffic.close(now());
        let (Some(begin), Some(end), false) = (self.begin, self.end, hopeless && counters.requests == 0) else {
            let cause = counters.first_error.unwrap_or_default();
            return Err(Error::new(format!("nothing but failures, the first: {cause}")));
        };
        let wall = (end.at - begin.at).max(1);
        Ok(Outcome {
            counters,
            seconds: (to - from) as f64 / 1e9,
            client_busy: (end.client_cpu - begin.client_cpu) as f64 / wall as f64,
            server_cpu: end.server_cpu.saturating_sub(begin.server_cpu),
        })
    }
}

fn watch(epoll: &OwnedFd, socket: &OwnedFd, number: usize, more: EventFlags) -> rustix::io::Result<()> {
    let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET | more;
    epoll::add(epoll, socket, EventData::new_u64(number as u64), flags)
}

/// The close that follows sends a reset. If that cannot be set, the close is orderly, and its port rests.
fn reset(socket: &OwnedFd) {
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

fn now() -> Nanos {
    clock(ClockId::Monotonic)
}

fn clock(id: ClockId) -> Nanos {
    let time = clock_gettime(id);
    time.tv_sec as Nanos * 1_000_000_000 + time.tv_nsec as Nanos
}

fn nanos(span: Duration) -> Nanos {
    span.as_nanos() as Nanos
}
