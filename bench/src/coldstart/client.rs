//! The client of a start: it tries to connect until the port is open, and then sends the first two requests.
//!
//! The client sleeps between two attempts to connect. A client that spins would take processor time from the server. A
//! client that sleeps for equal times would see every port open at the same few instants, so each pause has a random
//! length. The client records how long its pauses really were, because they limit how exactly it can see a port open.
//!
//! Both requests use the connection whose opening showed that the port is open. If the server closes it, the client
//! opens another one for the second request, and that time counts. All contenders get the same bytes.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use rustix::time::Timespec;

use super::Outcome;
use crate::harness::{BODY, Contender, FineTimer, micros, now};
use crate::results::Kind;
use fc_emulator::clock::Deadline;
use fc_emulator::http::{Conn, Response};
use fc_emulator::platform::{Hook, Platform, Request, Settings, ids};

/// The time limit of a reply. It is so long that only a server that hangs exceeds it.
const REPLY_WAIT: Duration = Duration::from_secs(10);

/// The approximate time from one attempt to the next, including the attempt.
const PHASE_NS: u64 = 60_000;

/// How the client waits for a port.
#[derive(Clone, Debug)]
pub struct PollInterval {
    /// The range of the pause between two attempts, in nanoseconds.
    pub pause_ns: Range<u64>,
    /// Each pause is at least this share of the time that has passed, so that a start of seconds does not take a
    /// processor of the client for all its time. It is also how exactly such a start is measured.
    pub of_elapsed: f64,
    /// How long to keep trying.
    pub patience: Duration,
}

/// The times of one start.
#[derive(Clone, Copy, Debug)]
pub struct Timestamps {
    /// When a connection was accepted.
    pub port_open: Timespec,
    /// When the whole reply to `POST /initialize` had arrived.
    pub initialized: Timespec,
    /// When the whole reply to the first `POST /invoke` had arrived.
    pub invoked: Timespec,
}

/// The requests, and the lengths of the pauses.
pub struct Client {
    initialize: Request,
    invoke: Request,
    pauses_us: Vec<f64>,
}

impl Default for Client {
    fn default() -> Self {
        let platform = Platform::new(Settings::default());
        Self { initialize: platform.hook(Hook::Initialize), invoke: platform.invoke(BODY), pauses_us: Vec::new() }
    }
}

impl Client {
    /// Waits for the port and sends the first two requests. `ended` returns the reason if the server has ended.
    ///
    /// # Errors
    /// If the port was never open, if a reply did not arrive, or if it is not the reply that the contender should give.
    pub fn first_replies(
        &mut self,
        contender: &Contender,
        address: SocketAddr,
        interval: &PollInterval,
        ended: impl FnMut() -> Option<String>,
    ) -> Outcome<Timestamps> {
        let invoke = self.invoke.bytes();
        let (mut conn, reply, port_open, initialized) = self.first(address, interval, ended)?;
        if !reply.keeps_alive() {
            conn = Conn::open(address, Deadline::after(REPLY_WAIT)).map_err(|why| self.at_invoke(&why))?;
        }
        let second = exchange(&mut conn, &invoke).map_err(|why| self.at_invoke(&why))?;
        let invoked = now();
        self.judge_initialize(contender, &reply)?;
        judge(contender, &second, &[BODY]).map_err(|why| self.at_invoke(&why))?;
        Ok(Timestamps { port_open, initialized, invoked })
    }

    /// Waits for the port and sends the first request. Returns when the whole reply had arrived.
    ///
    /// # Errors
    /// As [`Client::first_replies`].
    pub fn first_reply(
        &mut self,
        contender: &Contender,
        address: SocketAddr,
        interval: &PollInterval,
        ended: impl FnMut() -> Option<String>,
    ) -> Outcome<Timespec> {
        let (_, reply, _, initialized) = self.first(address, interval, ended)?;
        self.judge_initialize(contender, &reply)?;
        Ok(initialized)
    }

    /// The connection, the reply to the first request, and when the port was open and the reply there.
    fn first(
        &mut self,
        address: SocketAddr,
        interval: &PollInterval,
        ended: impl FnMut() -> Option<String>,
    ) -> Outcome<(Conn, Response, Timespec, Timespec)> {
        let initialize = self.initialize.bytes();
        let mut conn = self.connect(address, interval, ended)?;
        let port_open = now();
        let reply = exchange(&mut conn, &initialize).map_err(|why| self.at_initialize(&why))?;
        Ok((conn, reply, port_open, now()))
    }

    /// The first request, for callers that send it themselves.
    pub fn initialize(&self) -> Vec<u8> {
        self.initialize.bytes()
    }

    /// Checks that this is the contender's reply to the first request.
    ///
    /// # Errors
    /// If it is not; the text names the reply.
    pub fn judge_initialize(&self, contender: &Contender, reply: &Response) -> Outcome<()> {
        // The inspector's hooks answer OK. Every other contender answers every request with the same body.
        judge(contender, reply, &[BODY, "OK"]).map_err(|why| self.at_initialize(&why))
    }

    /// The median and the longest time from one attempt to connect to the next.
    pub fn pauses(&self) -> (f64, f64) {
        let mut sorted = self.pauses_us.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        (sorted.get(sorted.len() / 2).copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0))
    }

    fn connect(
        &mut self,
        address: SocketAddr,
        interval: &PollInterval,
        mut ended: impl FnMut() -> Option<String>,
    ) -> Outcome<Conn> {
        let _fine = FineTimer::set();
        let deadline = Deadline::after(interval.patience);
        let began = now();
        let mut last: Option<Timespec> = None;
        // The first pause shifts all later attempts. Without the shift, all attempts would follow each exec at the same
        // intervals, and a port that opens a microsecond after an attempt would always seem to need one more pause.
        let mut shift = ids::random() % PHASE_NS;
        loop {
            let attempt = now();
            self.pauses_us.extend(last.map(|last| micros(last, attempt)));
            last = Some(attempt);
            match Conn::open(address, deadline) {
                Ok(conn) => return Ok(conn),
                Err(_) if deadline.passed() => return Err("its port was not open in time".to_owned()),
                Err(_) => {}
            }
            if let Some(why) = ended() {
                return Err(format!("{why} before its port was open"));
            }
            let Range { start, end } = interval.pause_ns;
            let start = start.max((micros(began, attempt) * 1e3 * interval.of_elapsed) as u64);
            let end = end.max(start + start / 2);
            let pause = start + ids::random() % (end - start) + std::mem::take(&mut shift);
            std::thread::sleep(Duration::from_nanos(pause));
        }
    }

    fn at_initialize(&self, why: &str) -> String {
        format!("{}: {why}", self.initialize.line)
    }

    fn at_invoke(&self, why: &str) -> String {
        format!("{}: {why}", self.invoke.line)
    }
}

fn exchange(conn: &mut Conn, request: &[u8]) -> Outcome<Response> {
    conn.exchange(request, Deadline::after(REPLY_WAIT))
}

/// The body is checked only for our own servers and the peers. A user's own server may answer with any body.
fn judge(contender: &Contender, reply: &Response, bodies: &[&str]) -> Outcome<()> {
    let known = contender.described.kind != Kind::Custom;
    let right = !known || bodies.iter().any(|body| reply.body == body.as_bytes());
    match (reply.status, right) {
        (200, true) => Ok(()),
        (200, false) => Err(format!("the body is `{}`, not `{}`", reply.body_text(40), bodies.join("` or `"))),
        (status, _) => Err(format!("status {status}, `{}`", reply.body_text(40))),
    }
}

#[cfg(test)]
pub mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;
    use crate::results::Described;

    const POLL_INTERVAL: PollInterval =
        PollInterval { pause_ns: 1_000..2_000, of_elapsed: 0.0, patience: Duration::from_secs(10) };

    /// A contender that is never started.
    pub fn contender(kind: Kind) -> Contender {
        let described = Described {
            name: "it".into(),
            label: "it".into(),
            kind,
            command: vec![],
            env: vec![],
            binary_bytes: None,
            note: String::new(),
        };
        Contender { described, static_file: None, has_markers: false, is_heavy: false }
    }

    /// Reads one request, whose head has a Content-Length, and sends one reply.
    fn serve(stream: &mut TcpStream, reply: &str) {
        let mut got = Vec::new();
        let whole = |got: &[u8]| {
            let text = String::from_utf8_lossy(got).into_owned();
            let (head, body) = text.split_once("\r\n\r\n")?;
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?;
            (body.len() == length.parse::<usize>().ok()?).then_some(())
        };
        while whole(&got).is_none() {
            let mut some = [0; 4096];
            match stream.read(&mut some) {
                Ok(count @ 1..) => got.extend_from_slice(&some[..count]),
                _ => return,
            }
        }
        stream.write_all(reply.as_bytes()).unwrap();
    }

    /// A server that sends these replies, one list for each connection.
    fn server(connections: &'static [&'static [&'static str]]) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for replies in connections {
                let mut stream = listener.accept().unwrap().0;
                replies.iter().for_each(|reply| serve(&mut stream, reply));
            }
        });
        address
    }

    fn ask(kind: Kind, connections: &'static [&'static [&'static str]]) -> Outcome<Timestamps> {
        Client::default().first_replies(&contender(kind), server(connections), &POLL_INTERVAL, || None)
    }

    const READY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready";
    const LAST: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nready";
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK";
    const MISSING: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone";

    #[test]
    fn both_calls_go_over_one_connection_if_it_is_kept() {
        const GOOD: [&[&[&str]]; 3] = [&[&[READY, READY]], &[&[OK, READY]], &[&[LAST], &[READY]]];
        for connections in GOOD {
            let timestamps = ask(Kind::Peer, connections).unwrap();
            assert!(micros(timestamps.port_open, timestamps.initialized) > 0.0, "{connections:?}");
            assert!(micros(timestamps.initialized, timestamps.invoked) > 0.0, "{connections:?}");
        }
    }

    #[test]
    fn wrong_replies_are_failures() {
        let why = |kind, connections| ask(kind, connections).unwrap_err();
        assert_eq!(why(Kind::Peer, &[&[MISSING, READY]]), "POST /initialize: status 404, `gone`");
        assert_eq!(why(Kind::Custom, &[&[READY, MISSING]]), "POST /invoke: status 404, `gone`");
        assert_eq!(why(Kind::Peer, &[&[READY, OK]]), "POST /invoke: the body is `OK`, not `ready`");
        assert!(ask(Kind::Custom, &[&[READY, OK]]).is_ok());
        assert!(why(Kind::Peer, &[&[READY]]).starts_with("POST /invoke: "));
    }

    #[test]
    fn waiting_in_vain_ends_and_pauses_are_kept() {
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let mut client = Client::default();
        assert_eq!(client.pauses(), (0.0, 0.0));
        let mut looks = 0;
        let ended = || {
            looks += 1;
            (looks == 4).then(|| "it exited with code 1".to_owned())
        };
        let ended = client.first_replies(&contender(Kind::Peer), closed, &POLL_INTERVAL, ended);
        assert_eq!(ended.unwrap_err(), "it exited with code 1 before its port was open");
        assert_eq!(client.pauses_us.len(), 3);
        let (median, longest) = client.pauses();
        assert!(0.0 < median && median <= longest);
    }
}
