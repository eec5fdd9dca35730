//! The event loop that loads a server: one thread, non-blocking sockets, edge-triggered epoll.
//!
//! We wrote our own, because the usual ones do not fit. `wrk` has no fixed rate and returns no samples. `wrk2` has a
//! fixed rate, but it returns no samples and measures no processor time of the server. `oha` needs more processor time
//! for a request than the servers that it would have to tell apart. Here, a request on a kept connection costs one
//! `send`, one `recv` and a share of one `epoll_wait`, and no allocation.
//!
//! The loop decides nothing: [`Traffic`] decides which connection sends when. The loop does not spin: a timer
//! descriptor, which has no timer slack, wakes it when a request is due.

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
use super::patterns::Request;
use super::reply::{Pieces, Reply};
use super::traffic::{Traffic, Window};
use super::{Nanos, Task};
use crate::harness::{connect_soon, reset};
use fc_emulator::error::{Error, Result};

/// How long a run waits after its end for the replies to the requests that it has sent.
const GRACE: Nanos = 1_000_000_000;

/// How long the server may take to close a connection after its last reply.
const CLOSE_WAIT: Nanos = 200_000_000;

/// The most connections of a run that opens one for each request; after that the run ends early. The kernel keeps
/// closed connections in its tables for some seconds, and small machines have 65,536 entries there.
const OPENED_MAX: usize = 40_000;

/// The most bytes that are read at a time.
const READ_BYTES: usize = 64 * 1024;

/// The most events that are taken at a time.
const EVENTS: usize = 256;

/// The event number of the timer. Every other number is that of a connection.
const TIMER: u64 = u64::MAX;

/// The result of a run.
pub struct Outcome {
    /// The counters.
    pub counters: Counters,
    /// The length of the measured window.
    pub seconds: f64,
    /// The share of its processor's time that this thread used.
    pub client_busy: f64,
    /// The processor time that the server used in the window.
    pub server_cpu: Nanos,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no socket.
    Closed,
    /// The socket is not connected yet, and sends nothing when it is.
    Connecting,
    Free,
    /// This many bytes of the request are sent.
    Sending(usize),
    Receiving,
    /// The last reply came at this time, and the server should close the connection.
    Ending(Nanos),
}

struct Connection {
    state: State,
    socket: Option<OwnedFd>,
    pieces: Pieces,
}

/// Clock readings at an edge of the window.
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
    /// When the timer fires, if it is set.
    armed: Nanos,
    connections: Vec<Connection>,
    /// Connections that must be opened before they are free.
    to_open: Vec<usize>,
    /// How many connections were opened for one request each.
    opened: usize,
    /// The request that is being sent, and the number of requests before it. A request that could not be sent in one
    /// piece ends behind its id, so a later one does not change it.
    request: Request,
    sent: u64,
    traffic: Traffic,
    buffer: Box<[u8]>,
    begin: Option<Reading>,
    end: Option<Reading>,
}

/// Loads the server at `address`.
///
/// # Errors
/// If the server could not be loaded at all: no connection, nothing but failures, or a failure of our own.
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
            request: task.request.clone(),
            sent: 0,
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

    /// Sets the timer to the next time at which there is something to do without an event. Returns zero if there is
    /// something to do now.
    fn set_timer(&mut self, at: Nanos) -> Result<Option<Timespec>> {
        let Window { from, to } = self.traffic.window();
        let edge = [from, to, to + GRACE].into_iter().find(|edge| *edge > at).unwrap_or(at);
        let kept = self.ending().map(|(_, since)| since + CLOSE_WAIT).min();
        let next = [self.traffic.wake(), kept].into_iter().flatten().fold(edge, Nanos::min);
        if next <= at || !self.to_open.is_empty() {
            return Ok(Some(Timespec::default()));
        }
        // A timer that fires too early does no harm, and setting it costs a system call.
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

    /// Handles the event of a connection.
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
                // The server closed the connection, or sent a reply without a request.
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
        if sent == 0 {
            self.sent += 1;
            self.request.count(self.sent);
        }
        match send(socket, &self.request.bytes[sent..], SendFlags::NOSIGNAL) {
            Ok(count) if sent + count == self.request.bytes.len() => connection.state = State::Receiving,
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
                // Fewer bytes than asked for means that no more are there now. The end of the connection may still
                // follow.
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

    /// Waits until the server closes the connection, as we asked it to, and then resets it; the server has nothing more
    /// to send at that time. So neither end stays in TIME_WAIT, ports stay available, and a firewall forgets the
    /// connection within seconds. It remembers orderly closes for two minutes: with them, the connection table of a
    /// machine with Docker (262,144 entries) was full before the last round, and packets of all programs were lost.
    fn await_end(&mut self, number: usize) -> Result<()> {
        let Some(socket) = &self.connections[number].socket else { return Ok(()) };
        match recv(socket, &mut *self.buffer, RecvFlags::empty()) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            // The reply was whole, so later bytes do not belong to the request.
            Ok(_) | Err(_) => self.drop_socket(number),
        }
        let at = now();
        self.traffic.freed(number, at);
        self.send_all(at)
    }

    /// The connections that the server should close, and since when.
    fn ending(&self) -> impl Iterator<Item = (usize, Nanos)> + '_ {
        let of_one = |(number, connection): (usize, &Connection)| match connection.state {
            State::Ending(since) => Some((number, since)),
            _ => None,
        };
        // Kept connections are none of these.
        let those = if self.task.reconnect { self.connections.as_slice() } else { &[] };
        those.iter().enumerate().filter_map(of_one)
    }

    /// Closes the connection in place of the server.
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
        match connect_soon(self.address)? {
            Err(cause) => self.fail(number, || format!("no connection: {cause}")),
            Ok(socket) => {
                self.connections[number].socket = Some(socket);
                self.connections[number].pieces.clear();
                self.send(number, 0)?;
                // Only now it is known whether the kernel must report when the socket can be written.
                let sending = matches!(self.connections[number].state, State::Sending(_));
                self.watch(number, if sending { EventFlags::OUT } else { EventFlags::empty() })
            }
        }
    }

    /// Opens a connection that stays open.
    fn open(&mut self, number: usize) -> Result<()> {
        match connect_soon(self.address)? {
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

    /// Drops a connection that can no longer be used. Another one takes its place.
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
        // Both readings are due at the ends of the window, and a client without a turn makes them when it has one.
        if wall < (to - from) / 2 {
            return Err(Error::new(
                "the client had no turn for most of the run: other programs keep the processors busy",
            ));
        }
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
