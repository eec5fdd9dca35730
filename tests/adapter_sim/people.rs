//! Those who act while the adapter waits: clients, and fate.

use super::message::{Ask, Fault, Framing, Reader, body};
use super::world::{Link, Peer, World, put, take};
use crate::adapter::program::Exit;
use fc_testkit::Rng;
use std::time::Duration;

/// A client with a list of requests.
pub(super) struct Client {
    pub(super) asks: Vec<Ask>,
    /// The call whose tunnel is open.
    tunnel: Option<usize>,
    link: Option<usize>,
    connects_at: Duration,
    /// The next request to send, and the next to be answered.
    sending: usize,
    answered: usize,
    output: Vec<u8>,
    /// What follows the head of a request, once the client may send it.
    held_back: Vec<u8>,
    input: Vec<u8>,
    pipelines: bool,
    half_closes: bool,
    has_ended: bool,
    reads_at: Duration,
    /// It only connects, as a probe does, and stays.
    probes: bool,
    /// It leaves in the middle.
    leaves: bool,
    /// It stops reading for good.
    stalls: bool,
    /// The last reply has announced the end.
    told_to_close: bool,
}

fn one_of<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len())]
}

fn size(rng: &mut Rng) -> usize {
    let most = one_of(rng, &[0, 1, 40, 40, 500, 500, 5_000, 5_000, 30_000, 120_000]);
    rng.below(most + 1)
}

fn ask(rng: &mut Rng, id: usize, is_benign: bool) -> Ask {
    let method = one_of(rng, &["GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE"]);
    let framing = match method {
        "POST" | "PUT" => one_of(rng, &[Framing::Sized, Framing::Sized, Framing::Chunked]),
        _ => Framing::None,
    };
    let mut ask = Ask {
        id,
        method,
        target: format!("/r/{id}"),
        control_path: one_of(rng, &[None, Some("/http-invoke")]),
        framing,
        body_bytes: if framing == Framing::None { 0 } else { size(rng) },
        expects: framing != Framing::None && rng.one_in(6),
        http10: false,
        close: rng.one_in(12),
        status: one_of(rng, &[200, 201, 404, 500, 503]),
        answer_framing: one_of(rng, &[Framing::Sized, Framing::Sized, Framing::Chunked, Framing::UntilClose]),
        answer_bytes: size(rng),
        interim: rng.one_in(10),
        early: false,
        program_closes: rng.one_in(8),
        announces_close: is_benign,
        fault: Fault::Nothing,
        seen_by_program: 0,
        is_hook: false,
        upgrades: false,
        is_forbidden: false,
    };
    match rng.below(12) {
        0 => (ask.status, ask.answer_framing, ask.answer_bytes) = (one_of(rng, &[204, 304]), Framing::None, 0),
        1 => {
            (ask.method, ask.target, ask.control_path) = ("POST", "/invoke".into(), Some("/invoke"));
            ask.framing = Framing::Sized;
        }
        2 if framing != Framing::Chunked && !ask.expects => (ask.http10, ask.close) = (true, true),
        3 => {
            let hook = one_of(rng, &["/initialize", "/pre-freeze", "/pre-stop"]);
            ask.method = if hook == "/initialize" { "POST" } else { "GET" };
            (ask.target, ask.control_path, ask.is_hook) = (hook.into(), Some(hook), true);
            (ask.framing, ask.body_bytes, ask.expects) = (Framing::None, 0, false);
        }
        4 => {
            ask.target = one_of(rng, &["/own/hook", "/OWN//hook", "/own%2fhook", "/x/../own/hook/"]).into();
            ask.is_forbidden = true;
        }
        _ => {}
    }
    if !is_benign && rng.one_in(4) {
        let faults = [
            Fault::LeavesBefore,
            Fault::ResetsBefore,
            Fault::Cut,
            Fault::Garbage,
            Fault::TwoLengths,
            Fault::BadChunk,
            Fault::Surplus,
        ];
        ask.fault = one_of(rng, &faults);
        ask.early = rng.one_in(3);
        ask.program_closes |= ask.early;
    }
    ask
}

impl Client {
    pub(super) fn new(world: &mut World, id: &mut usize) -> Client {
        let rng = &mut world.rng;
        let mut asks = Vec::new();
        for _ in 0..1 + rng.below(8) {
            asks.push(ask(rng, *id, world.is_benign));
            *id += 2;
        }
        if rng.one_in(4) {
            let mut ask = ask(rng, *id, true);
            (ask.method, ask.target, ask.control_path, ask.framing) = ("GET", format!("/r/{id}"), None, Framing::None);
            (ask.http10, ask.close, ask.expects, ask.is_hook, ask.is_forbidden) = (false, false, false, false, false);
            (ask.upgrades, ask.body_bytes) = (true, size(rng));
            asks.push(ask);
            *id += 2;
        }
        let probes = rng.one_in(8);
        if probes {
            asks.clear();
        }
        Client {
            asks,
            probes,
            tunnel: None,
            link: None,
            connects_at: world.now + Duration::from_millis(rng.below(3_000) as u64),
            sending: 0,
            answered: 0,
            output: Vec::new(),
            held_back: Vec::new(),
            input: Vec::new(),
            pipelines: rng.one_in(3),
            half_closes: rng.one_in(5),
            has_ended: false,
            reads_at: Duration::ZERO,
            leaves: !world.is_benign && rng.one_in(5),
            stalls: !world.is_benign && rng.one_in(12),
            told_to_close: false,
        }
    }

    pub(super) fn is_in_call(&self, world: &World) -> bool {
        let pending = self.link.is_some_and(|link| world.backlog.contains(&link));
        self.link.is_some() && (pending || self.answered < self.sending || !self.output.is_empty())
    }
}

impl World {
    /// One step of one that can act. False if nobody can.
    pub(super) fn somebody_acts(&mut self) -> bool {
        let (clients, servants) = (self.clients.len(), self.servants.len());
        let whole = clients + servants + 2;
        let start = self.rng.below(whole);
        for step in 0..whole {
            let who = (start + step) % whole;
            let acted = if who < clients {
                self.client_acts(who)
            } else if who < clients + servants {
                self.servant_acts(who - clients)
            } else if who == clients + servants {
                self.connections_are_made()
            } else {
                self.fate_acts()
            };
            if acted {
                self.progress += 1;
                return true;
            }
        }
        false
    }

    fn connections_are_made(&mut self) -> bool {
        let Some(link) = self.links.iter().position(|link| link.connecting && !link.closed_by_adapter) else {
            return false;
        };
        self.links[link].connecting = false;
        self.program_accepts(link);
        true
    }

    fn fate_acts(&mut self) -> bool {
        if self.stops_early && self.listening && self.rng.one_in(40) {
            self.stops_early = false;
            self.stop();
            return true;
        }
        if self.dies && self.listening && self.rng.one_in(60) {
            self.dies = false;
            self.program_ends(Exit::Signal(11, "SIGSEGV"));
            return true;
        }
        if self.terminates_at.is_some_and(|at| at <= self.now) {
            self.terminates_at = None;
            self.program_ends(Exit::Code(0));
            return true;
        }
        if self.command_runs.is_some_and(|at| at <= self.now) {
            let code = u8::from(self.rng.one_in(3));
            self.command_ends(Exit::Code(code));
            return true;
        }
        false
    }

    pub(super) fn next_timer(&self) -> Option<Duration> {
        let clients = self.clients.iter().filter_map(|client| {
            let is_done = client.answered >= client.asks.len() && !client.probes;
            let connects = client.link.is_none() && self.listening && !is_done;
            let reads = client.link.is_some() && client.reads_at > self.now && !client.stalls;
            if connects { Some(client.connects_at) } else { reads.then_some(client.reads_at) }
        });
        let timers = clients.chain(self.terminates_at).chain(self.command_runs);
        timers.filter(|at| *at > self.now).min()
    }

    pub(super) fn all_is_answered(&self) {
        for client in &self.clients {
            let left = client.asks.len() - client.answered;
            let open = || self.links.iter().filter(|link| !link.closed_by_adapter).collect::<Vec<_>>();
            let ask = client.asks.get(client.answered);
            assert!(left == 0 || !self.is_benign, "{left} calls were never answered: {ask:?}, {:?}", open());
        }
    }

    fn client_acts(&mut self, index: usize) -> bool {
        let mut client = self.clients.remove(index);
        let acted = match client.link {
            None => self.client_connects(&mut client),
            Some(link) => self.client_reads(&mut client, link) || self.client_sends(&mut client, link),
        };
        self.clients.insert(index, client);
        acted
    }

    fn client_connects(&mut self, client: &mut Client) -> bool {
        let is_done = client.answered >= client.asks.len() && !client.probes;
        if !self.listening || client.connects_at > self.now || is_done {
            return false;
        }
        client.probes = false;
        // What was lost with the last connection is not asked again.
        client.sending = client.answered;
        let mut link = Link::new(Peer::Client);
        link.capacity = 1 + self.rng.below(40_000);
        self.links.push(link);
        client.link = Some(self.links.len() - 1);
        (client.has_ended, client.told_to_close) = (false, false);
        self.backlog.push_back(self.links.len() - 1);
        true
    }

    fn client_sends(&mut self, client: &mut Client, link: usize) -> bool {
        if client.has_ended || client.told_to_close {
            return false;
        }
        if client.output.is_empty() {
            let is_next = client.held_back.is_empty() && (client.pipelines || client.answered == client.sending);
            let Some(ask) = client.asks.get(client.sending).filter(|_| is_next) else { return false };
            // Behind a request that ends the connection, nothing is sent.
            if client.sending > client.answered && client.asks[client.sending - 1].close {
                return false;
            }
            let (head, body) = ask.request(&mut self.rng);
            client.output = head;
            let waits = ask.expects || (ask.upgrades && self.rng.one_in(2));
            if waits {
                client.held_back = body
            } else {
                client.output.extend(body)
            }
            client.sending += 1;
        }
        let pipe = &mut self.links[link];
        if pipe.closed_by_adapter || pipe.reset_by_adapter {
            return false;
        }
        let room = 60_000_usize.saturating_sub(pipe.to_adapter.len());
        if room == 0 {
            return false;
        }
        let bytes = (1 + self.rng.below(client.output.len())).min(room);
        let bytes = if self.rng.one_in(2) { client.output.len().min(room) } else { bytes };
        let is_blank = client.output.first().is_some_and(|byte| matches!(byte, b'\r' | b'\n'));
        let bytes = if is_blank && self.rng.one_in(2) { 1 } else { bytes };
        put(&mut client.output, &mut pipe.to_adapter, bytes);
        if client.leaves && self.rng.one_in(4) {
            pipe.ended_by_peer = true;
            pipe.reset_by_peer = self.rng.one_in(2);
            // It cares for none of its answers.
            client.answered = client.asks.len();
            client.link = None;
            return true;
        }
        let is_last = client.sending == client.asks.len() && client.output.is_empty() && client.held_back.is_empty();
        if is_last && client.half_closes {
            pipe.ended_by_peer = true;
            client.has_ended = true;
        }
        true
    }

    fn client_reads(&mut self, client: &mut Client, link: usize) -> bool {
        if client.reads_at > self.now || client.stalls {
            return false;
        }
        let pipe = &mut self.links[link];
        let bytes = pipe.from_adapter.len();
        if bytes > 0 {
            let bytes = if self.rng.one_in(2) { bytes } else { 1 + self.rng.below(bytes) };
            take(&mut pipe.from_adapter, &mut client.input, bytes);
            if self.rng.one_in(30) {
                client.reads_at = self.now + Duration::from_millis(self.rng.below(2_000) as u64);
            }
            while self.reply_is_read(client, false) {}
            return true;
        }
        let has_ended = pipe.shut_by_adapter || pipe.closed_by_adapter;
        if !has_ended || self.backlog.contains(&link) {
            return false;
        }
        let is_reset = pipe.reset_by_adapter;
        if !is_reset {
            self.reply_is_read(client, true);
        }
        self.connection_is_lost(client, is_reset);
        self.links[link].ended_by_peer = true;
        client.link = None;
        client.connects_at = self.now + Duration::from_millis(self.rng.below(100) as u64);
        (client.output, client.held_back, client.input) = Default::default();
        true
    }

    fn connection_is_lost(&mut self, client: &mut Client, is_reset: bool) {
        let is_owed = client.answered < client.sending && !client.told_to_close;
        if !is_owed {
            return;
        }
        let ask = &client.asks[client.answered];
        let may_break = matches!(ask.fault, Fault::Cut | Fault::BadChunk) || self.program_dead;
        let is_over = self.stopped_at.is_some();
        let has_part = !client.input.is_empty();
        assert!(is_over || (may_break && is_reset) || !self.is_benign, "a call was lost: {ask:?}");
        assert!(!has_part || is_reset || is_over, "a reply that is not whole ended in order: {ask:?}");
        // A reset takes along what was not read; what was sent may have run, and is not sent again.
        client.answered = client.sending;
    }

    /// Takes one reply. True if there was one.
    fn reply_is_read(&mut self, client: &mut Client, ended: bool) -> bool {
        if let Some(tunnel) = client.tunnel {
            let ask = &client.asks[tunnel];
            let expected = body(ask.id + 1, ask.answer_bytes);
            assert!(expected.starts_with(&client.input), "{} bytes in the tunnel of {ask:?}", client.input.len());
            if ended {
                let is_whole = client.input.len() == expected.len();
                assert!(is_whole || !self.is_benign || self.stopped_at.is_some(), "a tunnel was cut: {ask:?}");
                client.input.clear();
                client.tunnel = None;
                client.answered += 1;
            }
            return false;
        }
        let reader = Reader { bytes: std::mem::take(&mut client.input) };
        let Some(head) = reader.head() else {
            client.input = reader.bytes;
            return false;
        };
        if head.status() < 200 {
            if head.status() == 101 {
                let ask = &client.asks[client.answered];
                assert!(ask.upgrades && head.get("upgrade") == Some("websocket"), "{head:?} for {ask:?}");
                client.tunnel = Some(client.answered);
            }
            if matches!(head.status(), 100 | 101) {
                client.output.append(&mut client.held_back);
            }
            let whole = reader.body(&head, Framing::None, false).expect("a head");
            client.input = reader.bytes[whole.1..].to_vec();
            return true;
        }
        assert!(client.answered < client.sending, "a reply to nothing: {head:?}");
        let ask = client.asks[client.answered].clone();
        let is_bodiless = ask.method == "HEAD" || matches!(head.status(), 204 | 304);
        let framing = match head.framing() {
            _ if is_bodiless => Framing::None,
            Framing::None => Framing::UntilClose,
            framing => framing,
        };
        let Some((content, bytes)) = reader.body(&head, framing, ended) else {
            client.input = reader.bytes;
            return false;
        };
        self.check_reply(&ask, &head, &content);
        assert!(!ask.http10 || head.get("transfer-encoding").is_none(), "chunks for HTTP/1.0: {head:?}");
        client.input = reader.bytes[bytes..].to_vec();
        client.answered += 1;
        if client.answered == client.sending {
            // The answer has come without a 100.
            client.held_back.clear();
        }
        if head.get("connection") == Some("close") {
            client.told_to_close = true;
            client.sending = client.answered;
            client.output.clear();
        }
        true
    }

    fn check_reply(&mut self, ask: &Ask, head: &super::message::Head, content: &[u8]) {
        assert_eq!(head.count("x-fc-status"), 1, "{head:?}");
        let is_own = head.get("x-id").is_none();
        match (ask.is_hook, ask.is_forbidden) {
            (true, _) => return assert!(matches!(head.status(), 200 | 404 | 502), "{head:?}"),
            (_, true) => return assert!(matches!(head.status(), 403 | 408), "{head:?}"),
            _ => {}
        }
        if is_own {
            let is_usual = matches!(head.status(), 502) || (head.status() == 408);
            assert!(is_usual && !self.is_benign, "{head:?} for {ask:?}");
            return;
        }
        assert_eq!((head.status(), head.get("x-id")), (ask.status, Some(&*ask.id.to_string())));
        let is_bodiless = ask.method == "HEAD" || ask.answer_framing == Framing::None;
        let expected = if is_bodiless { Vec::new() } else { body(ask.id + 1, ask.answer_bytes) };
        let is_cut_unseen = ask.fault == Fault::Cut && ask.answer_framing == Framing::UntilClose;
        let is_cut_unseen = is_cut_unseen || (self.program_dead && ask.answer_framing == Framing::UntilClose);
        assert!(content == expected || is_cut_unseen, "{} bytes of {} for {ask:?}", content.len(), expected.len());
        let failed = if ask.status >= 500 { "404" } else { "200" };
        assert_eq!(head.get("x-fc-status"), Some(failed));
    }
}
