//! A kernel for one server and some clients, in memory and deterministic.
//!
//! Clients are scripts of bytes to send. Whenever the server waits, the kernel lets clients act until something is
//! ready for the server. If no client has anything to do, time passes; if nothing is due either, the stop signal
//! comes. So `Loop::run` returns by itself, and a test checks everything afterwards.

use crate::function::dispatch::Dispatcher;
use crate::function::lifecycle::ClockReading;
use crate::function::request::Peer;
use crate::limits::Limits;
use crate::server::event_loop::Loop;
use crate::server::system::{EVENTS_PER_WAIT, Interest, Ready, Signals, System, Token};
use crate::{App, Reply, Route};
use rustix::io::Errno;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Cursor;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

pub(super) const BIG: usize = 100_000;
static BIG_BODY: [u8; BIG] = [b'b'; BIG];

static APP: App<Vec<String>> = App::new(&[
    Route::invoke(|_, _, request| Ok(request.body().to_vec().into())),
    Route::get("/hello", |_, _, _| Ok("hello".into())),
    Route::get("/big", |_, _, _| Ok(BIG_BODY.as_slice().into())),
    Route::get("/stream", |_, _, _| Ok(Reply::stream(Cursor::new(&BIG_BODY)))),
    Route::get("/nothing", |_, _, _| Ok(Reply::stream(Cursor::new(&BIG_BODY)).with_status(204)?)),
    Route::get("/panic", |_, _, _| panic!("simulated")),
    Route::pre_stop(|_, _| Ok(().into())),
    Route::on_thaw(|seen, _, thaw| {
        seen.push(thaw.evidence.to_string());
        Ok(())
    }),
    Route::get("/thaws", |seen, _, _| Ok(seen.join(",").into())),
]);

/// One client's connection.
#[derive(Default)]
pub(super) struct Client {
    pub(super) to_send: Vec<u8>,
    pub(super) sent: usize,
    /// The bytes of its replies that it has read.
    pub(super) received: Vec<u8>,
    /// Written by the server, not yet read by the client.
    pub(super) in_flight: Vec<u8>,
    /// Sent, not yet read by the server.
    pub(super) arrived: VecDeque<u8>,
    /// Bytes that the client's socket holds before the client reads them.
    pub(super) window: usize,
    /// Never reads its replies.
    pub(super) deaf: bool,
    /// Reads each reply the moment it comes.
    pub(super) swift: bool,
    /// Rests so long between two looks at its replies.
    pub(super) rests: Duration,
    pub(super) reads_at: Duration,
    /// Closes when everything is sent, without waiting for replies.
    pub(super) leaves: bool,
    pub(super) left: bool,
    pub(super) accepted: bool,
    /// By a server that had been told to stop.
    pub(super) accepted_late: bool,
    pub(super) server_closed: bool,
    pub(super) server_ended_writing: bool,
    pub(super) reset_on_close: bool,
    pub(super) watched: Option<(Token, Interest)>,
}

impl Client {
    pub(super) fn new(to_send: impl Into<Vec<u8>>) -> Client {
        Client { to_send: to_send.into(), window: 20_000, ..Client::default() }
    }

    fn state(&self) -> String {
        format!(
            "accepted {} sent {}/{} arrived {} in flight {} of {} received {} deaf {} leaves {} left {} closed {} {:?}",
            self.accepted,
            self.sent,
            self.to_send.len(),
            self.arrived.len(),
            self.in_flight.len(),
            self.window,
            self.received.len(),
            self.deaf,
            self.leaves,
            self.left,
            self.server_closed,
            self.watched
        )
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }
}

pub(super) struct World {
    pub(super) clients: Vec<Client>,
    pub(super) elapsed: Duration,
    /// At most so many descriptors; 0 for no bound.
    pub(super) descriptors_max: usize,
    pub(super) accept_failures: usize,
    /// The error of every attempt to accept.
    pub(super) accept_error: Option<Errno>,
    pub(super) accepts: usize,
    /// The error of every wait.
    pub(super) wait_error: Option<Errno>,
    /// What became of the server.
    pub(super) outcome: Result<(), Errno>,
    /// The time that passes in each turn, whatever the loop does in it.
    pub(super) turn_takes: Duration,
    listening: bool,
    listener_watched: bool,
    /// Each passes in one wait, as a freeze does, once clients have nothing more to do.
    pub(super) freezes: Vec<Duration>,
    pub(super) interrupted_by_freeze: bool,
    /// Bytes that the only client sends once the freezes are over.
    pub(super) after_freezes: Vec<u8>,
    stop: bool,
    stop_seen: bool,
    pub(super) lines: Vec<String>,
    pub(super) waits: usize,
    pub(super) infinite_waits: usize,
    /// Waits in which nothing happened.
    pub(super) quiet_waits: usize,
    /// After so many of them the stop signal comes: more than any time limit takes, in turns of the loop.
    pub(super) quiet_waits_max: usize,
}

impl World {
    pub(super) fn new(clients: Vec<Client>) -> World {
        World {
            clients,
            elapsed: Duration::ZERO,
            descriptors_max: 0,
            accept_failures: 0,
            accept_error: None,
            accepts: 0,
            wait_error: None,
            outcome: Ok(()),
            turn_takes: Duration::ZERO,
            listening: true,
            listener_watched: true,
            freezes: Vec::new(),
            interrupted_by_freeze: false,
            after_freezes: Vec::new(),
            stop: false,
            stop_seen: false,
            lines: Vec::new(),
            waits: 0,
            infinite_waits: 0,
            quiet_waits: 0,
            quiet_waits_max: 2_000,
        }
    }

    /// Runs the server in this world until it stops.
    pub(super) fn run(self, limits: Limits) -> World {
        let world = Rc::new(RefCell::new(self));
        let kernel = Kernel { world: Rc::clone(&world), base: (Instant::now(), SystemTime::now()) };
        let dispatcher = Dispatcher::new(&APP, Vec::new(), crate::server::PROCESS_ENV);
        let mut server = Loop::new(kernel, dispatcher, limits, true);
        let outcome = server.run();
        drop(server);
        World { outcome, ..Rc::into_inner(world).expect("the server is gone").into_inner() }
    }

    /// The stop signal comes before the first wait.
    pub(super) fn stop_now(&mut self) {
        self.stop = true;
    }

    /// Every client has sent everything before the server looks.
    pub(super) fn let_everything_arrive(&mut self) {
        while self.act() {}
    }

    /// One client does something; false if none has anything to do.
    fn act(&mut self) -> bool {
        (0..self.clients.len()).any(|index| self.client_acts(index))
    }

    fn client_acts(&mut self, index: usize) -> bool {
        let unread = self.clients[index].in_flight.len();
        if !self.clients[index].deaf && unread > 0 && self.clients[index].reads_at <= self.elapsed {
            let client = &mut self.clients[index];
            client.reads_at = self.elapsed + client.rests;
            client.received.append(&mut client.in_flight);
            return true;
        }
        let client = &self.clients[index];
        let unsent = client.to_send.len() - client.sent;
        if unsent > 0 && !client.left && !client.server_closed {
            let client = &mut self.clients[index];
            client.arrived.extend(&client.to_send[client.sent..]);
            client.sent += unsent;
            return true;
        }
        let client = &mut self.clients[index];
        let done = client.leaves || client.server_ended_writing;
        let leaves_now = done && unsent == 0 && !client.left && client.in_flight.is_empty();
        client.left |= leaves_now;
        leaves_now
    }

    fn open_descriptors(&self) -> usize {
        self.clients.iter().filter(|client| client.accepted && !client.server_closed).count()
    }

    fn collect(&self, ready: &mut Vec<Ready>) {
        if self.listening && self.listener_watched && self.clients.iter().any(|client| !client.accepted) {
            ready.push(Ready { token: Token::LISTENER, readable: true, writable: false });
        }
        for index in 0..self.clients.len() {
            let client = &self.clients[index];
            let Some((token, interest)) = client.watched.filter(|_| !client.server_closed) else { continue };
            let wanted = client.left
                || match interest {
                    Interest::Read => !client.arrived.is_empty(),
                    Interest::Write => client.in_flight.len() < client.window,
                    #[cfg(feature = "adapter")]
                    Interest::Both => unreachable!("only the adapter waits for both"),
                };
            if wanted {
                ready.push(Ready { token, readable: true, writable: true });
            }
        }
    }
}

struct Kernel {
    world: Rc<RefCell<World>>,
    base: (Instant, SystemTime),
}

/// The server's end of a connection.
struct Socket {
    index: usize,
    world: Rc<RefCell<World>>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.world.borrow_mut().clients[self.index].server_closed = true;
    }
}

impl System for Kernel {
    type Socket = Socket;

    fn wait(&mut self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> Result<bool, Errno> {
        ready.clear();
        let mut world = self.world.borrow_mut();
        world.waits += 1;
        if let Some(error) = world.wait_error {
            return Err(error);
        }
        let turn_takes = world.turn_takes;
        world.elapsed += turn_takes;
        if world.waits > 1_000_000 {
            let states = world.clients.iter().map(Client::state).collect::<Vec<_>>();
            panic!("the server never comes to rest: limit {limit:?}, {states:#?}");
        }
        loop {
            world.collect(ready);
            // In turn, as epoll_wait does.
            let first = world.waits * EVENTS_PER_WAIT % ready.len().max(1);
            ready.rotate_left(first);
            ready.truncate(EVENTS_PER_WAIT);
            if !ready.is_empty() || limit == Some(Duration::ZERO) {
                return Ok(false);
            }
            if world.act() {
                continue;
            }
            if let Some(freeze) = world.freezes.pop() {
                world.elapsed += freeze;
                let late = std::mem::take(&mut world.after_freezes);
                world.clients[0].to_send.extend(late);
                return Ok(world.interrupted_by_freeze);
            }
            let Some(limit) = limit else {
                world.infinite_waits += 1;
                world.stop = true;
                return Ok(true);
            };
            world.elapsed += limit;
            // Out of descriptors the loop looks again four times a second, for as long as it takes.
            world.quiet_waits += 1;
            world.stop |= world.quiet_waits > world.quiet_waits_max;
            return Ok(false);
        }
    }

    fn now(&mut self) -> ClockReading {
        let elapsed = self.world.borrow().elapsed;
        ClockReading { instant: self.base.0 + elapsed, wall: self.base.1 + elapsed }
    }

    fn monotonic(&mut self) -> Instant {
        self.now().instant
    }

    fn signals(&mut self) -> Signals {
        let mut world = self.world.borrow_mut();
        let any = world.stop && !world.stop_seen;
        world.stop_seen = world.stop;
        Signals { stop_age: world.stop.then_some(Duration::ZERO), continued: false, any }
    }

    fn watch_listener(&mut self, wanted: bool) -> Result<(), Errno> {
        self.world.borrow_mut().listener_watched = wanted;
        Ok(())
    }

    fn stop_listening(&mut self) {
        self.world.borrow_mut().listening = false;
    }

    fn accept(&mut self) -> Result<(Socket, Peer), Errno> {
        let mut world = self.world.borrow_mut();
        if !world.listening {
            return Err(Errno::AGAIN);
        }
        world.accepts += 1;
        if let Some(error) = world.accept_error {
            return Err(error);
        }
        if world.accept_failures > 0 {
            world.accept_failures -= 1;
            return Err(if world.accept_failures.is_multiple_of(2) { Errno::MFILE } else { Errno::CONNABORTED });
        }
        if world.descriptors_max > 0 && world.open_descriptors() >= world.descriptors_max {
            return Err(Errno::MFILE);
        }
        let index = world.clients.iter().position(|client| !client.accepted).ok_or(Errno::AGAIN)?;
        let stop = world.stop;
        (world.clients[index].accepted, world.clients[index].accepted_late) = (true, stop);
        Ok((Socket { index, world: Rc::clone(&self.world) }, Peer::Unix))
    }

    fn register(&mut self, socket: &Socket, token: Token, interest: Interest) -> Result<(), Errno> {
        self.world.borrow_mut().clients[socket.index].watched = Some((token, interest));
        Ok(())
    }

    fn reregister(&mut self, socket: &Socket, token: Token, interest: Interest) {
        let watched = self.world.borrow_mut().clients[socket.index].watched.replace((token, interest));
        assert!(watched.is_some_and(|(known, before)| known == token && before != interest));
    }

    fn deregister(&mut self, socket: &Socket) {
        assert!(self.world.borrow_mut().clients[socket.index].watched.take().is_some());
    }

    fn read(&mut self, socket: &Socket, buffer: &mut Vec<u8>) -> Result<usize, Errno> {
        let mut world = self.world.borrow_mut();
        let room = buffer.capacity() - buffer.len();
        assert!(room > 0, "a read into a full buffer looks like the client's end");
        let available = world.clients[socket.index].arrived.len().min(room);
        if available == 0 {
            return if world.clients[socket.index].left { Ok(0) } else { Err(Errno::AGAIN) };
        }
        buffer.extend(world.clients[socket.index].arrived.drain(..available));
        Ok(available)
    }

    fn write(&mut self, socket: &Socket, head: &[u8], body: &[u8]) -> Result<usize, Errno> {
        let mut world = self.world.borrow_mut();
        let client = &world.clients[socket.index];
        assert!(!client.server_ended_writing, "nothing may be written after the end");
        if client.left {
            return Err(Errno::PIPE);
        }
        let room = client.window.saturating_sub(client.in_flight.len()).min(head.len() + body.len());
        if room == 0 {
            return Err(Errno::AGAIN);
        }
        let of_head = room.min(head.len());
        let client = &mut world.clients[socket.index];
        let to = if client.swift { &mut client.received } else { &mut client.in_flight };
        to.extend_from_slice(&head[..of_head]);
        to.extend_from_slice(&body[..room - of_head]);
        Ok(room)
    }

    fn shutdown_write(&mut self, socket: &Socket) {
        self.world.borrow_mut().clients[socket.index].server_ended_writing = true;
    }

    fn set_reset_on_close(&mut self, socket: &Socket) {
        self.world.borrow_mut().clients[socket.index].reset_on_close = true;
    }

    fn set_nodelay(&mut self, _: &Socket) {}

    fn unacked_bytes(&mut self, socket: &Socket) -> Option<usize> {
        Some(self.world.borrow().clients[socket.index].in_flight.len())
    }

    fn has_unread(&mut self, socket: &Socket) -> bool {
        !self.world.borrow().clients[socket.index].arrived.is_empty()
    }

    fn flush_output(&mut self) {}

    fn print(&mut self, line: &[u8]) {
        assert!(line.ends_with(b"\n") && !line[..line.len() - 1].contains(&b'\n'), "one line in one write");
        self.world.borrow_mut().lines.push(String::from_utf8_lossy(line).trim_end().to_owned());
    }
}
