//! The program's connections, which act while the adapter waits.

use super::message::{Fault, Reader, SURPLUS, body};
use super::world::{World, put, take};
use std::time::Duration;

/// One connection of the program.
pub(super) struct Servant {
    link: usize,
    reader: Reader,
    /// The answer that is being sent.
    output: Vec<u8>,
    closes: bool,
    resets: bool,
    /// The call whose tunnel it is, and its bytes.
    tunnel: Option<usize>,
    /// The body of an early answer is not read.
    is_deaf: bool,
    idle_since: Duration,
    idle_max: Duration,
    served: usize,
}

impl World {
    pub(super) fn program_accepts(&mut self, link: usize) {
        let idle_max = Duration::from_millis(2_000 + self.rng.below(4_000) as u64);
        self.servants.push(Servant {
            link,
            reader: Reader::default(),
            output: Vec::new(),
            closes: false,
            resets: false,
            tunnel: None,
            is_deaf: false,
            idle_since: self.now,
            idle_max,
            served: 0,
        });
    }

    pub(super) fn servant_acts(&mut self, index: usize) -> bool {
        let mut servant = self.servants.remove(index);
        let acted = self.servant_reads(&mut servant) || self.servant_writes(&mut servant);
        let link = &self.links[servant.link];
        if !(link.ended_by_peer || link.reset_by_peer) {
            self.servants.insert(index.min(self.servants.len()), servant);
        }
        acted
    }

    fn servant_reads(&mut self, servant: &mut Servant) -> bool {
        let pipe = &mut self.links[servant.link];
        if pipe.closed_by_adapter && (pipe.from_adapter.is_empty() || pipe.reset_by_adapter) {
            pipe.ended_by_peer = true;
            return true;
        }
        // Its timer, which was overdue after a freeze, fires before it looks at what has come.
        if servant.is_idle() && self.now > servant.idle_since + servant.idle_max {
            self.servant_leaves(servant);
            return true;
        }
        let pipe = &mut self.links[servant.link];
        if servant.is_deaf || pipe.from_adapter.is_empty() || (!servant.output.is_empty() && servant.tunnel.is_none()) {
            return false;
        }
        let bytes = pipe.from_adapter.len();
        let bytes = if self.rng.one_in(2) { bytes } else { 1 + self.rng.below(bytes) };
        take(&mut pipe.from_adapter, &mut servant.reader.bytes, bytes);
        if servant.tunnel.is_some() {
            self.tunnel_is_read(servant);
        } else {
            self.request_is_read(servant);
        }
        true
    }

    fn servant_leaves(&mut self, servant: &Servant) {
        let pipe = &mut self.links[servant.link];
        pipe.ended_by_peer = true;
        pipe.reset_by_peer = !pipe.from_adapter.is_empty();
        pipe.from_adapter.clear();
    }

    pub(super) fn close_idle_connections(&mut self) {
        let now = self.now;
        let servants = std::mem::take(&mut self.servants);
        for servant in servants {
            if servant.is_idle() && now > servant.idle_since + servant.idle_max {
                self.servant_leaves(&servant);
            } else {
                self.servants.push(servant);
            }
        }
    }

    fn request_is_read(&mut self, servant: &mut Servant) {
        let Some(head) = servant.reader.head() else { return };
        for name in ["keep-alive", "te", "trailer", "expect", "proxy-connection"] {
            assert_eq!(head.count(name), 0, "{name} reached the program");
        }
        let upgrades = head.get("upgrade") == Some("websocket");
        assert_eq!((head.count("connection"), head.count("upgrade")), (upgrades.into(), upgrades.into()));
        assert_eq!(head.count("host"), 1, "{head:?}");
        let whole = servant.reader.body(&head, head.framing(), false);
        if head.line.starts_with("POST /thaw ") {
            self.thaw_hooks += 1;
            // The platform announces a freeze that may not come.
            let evidence = head.get("x-fc-hooks-evidence").expect("signs of a freeze");
            assert!(self.freezes > 0 || evidence == "pre-freeze", "{head:?}");
            servant.reader.bytes.clear();
            servant.output = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
            return;
        }
        let Some(id) = head.get("x-id") else {
            // Pre-stop at the end, which no call has brought about.
            assert!(self.stopped_at.is_some() && head.line.starts_with("GET /own/stop "), "{head:?}");
            servant.reader.bytes.clear();
            servant.output = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
            return;
        };
        let id: usize = id.parse().expect("a number");
        let ask = self.clients.iter().flat_map(|client| &client.asks).find(|ask| ask.id == id).expect("asked").clone();
        assert!(!ask.is_forbidden, "an outside caller has reached a hook: {ask:?}");
        if whole.is_none() && !ask.early {
            return;
        }
        let target = match (&*ask.target, ask.is_hook) {
            ("/initialize", true) => "/own/hook",
            ("/pre-stop", true) => "/own/stop",
            ("/invoke", _) => "/event",
            (target, _) => target,
        };
        assert_eq!(head.line.split(' ').nth(1), Some(target), "{ask:?}");
        if let Some((content, bytes)) = whole {
            let expected = if ask.upgrades { Vec::new() } else { body(id, ask.body_bytes) };
            assert!(content == expected, "{} bytes for {ask:?}", content.len());
            servant.reader.drop_front(bytes);
            servant.tunnel = ask.upgrades.then_some(id);
            assert!(ask.upgrades || servant.reader.bytes.is_empty(), "a second request before the reply: {ask:?}");
        } else {
            servant.is_deaf = true;
        }
        self.note_seen(id, ask.is_repeatable());
        let (output, closes) = ask.answer(&mut self.rng);
        servant.resets = ask.fault == Fault::ResetsBefore;
        servant.output = output;
        servant.closes = closes || ask.early;
        servant.served += 1;
        self.tunnel_is_read(servant);
        if servant.output.is_empty() {
            self.servant_ends(servant);
        }
    }

    /// Ends a tunnel once all has come that the client sends in it.
    fn tunnel_is_read(&mut self, servant: &mut Servant) {
        let Some(id) = servant.tunnel else { return };
        let mut asks = self.clients.iter().flat_map(|client| &client.asks);
        let ask = asks.find(|ask| ask.id == id).expect("asked");
        let expected = body(id, ask.body_bytes);
        assert!(expected.starts_with(&servant.reader.bytes), "{} bytes in the tunnel", servant.reader.bytes.len());
        if servant.reader.bytes.len() == expected.len() {
            servant.closes = true;
            if servant.output.is_empty() {
                self.servant_ends(servant);
            }
        }
    }

    fn note_seen(&mut self, id: usize, is_repeatable: bool) {
        for ask in self.clients.iter_mut().flat_map(|client| &mut client.asks).filter(|ask| ask.id == id) {
            ask.seen_by_program += 1;
            let most = if is_repeatable { 2 } else { 1 };
            assert!(ask.seen_by_program <= most, "sent too often: {ask:?}");
        }
    }

    fn servant_writes(&mut self, servant: &mut Servant) -> bool {
        let pipe = &mut self.links[servant.link];
        let room = 50_000_usize.saturating_sub(pipe.to_adapter.len());
        if servant.output.is_empty() || room == 0 || pipe.closed_by_adapter {
            return false;
        }
        let bytes = servant.output.len().min(room);
        let bytes = if self.rng.one_in(2) { bytes } else { 1 + self.rng.below(bytes) };
        // Surplus bytes that come later than their reply may be the reply to the next request: nobody can tell.
        let bytes = if servant.output[bytes..] == *SURPLUS { bytes + 1 } else { bytes };
        put(&mut servant.output, &mut pipe.to_adapter, bytes);
        if servant.output.is_empty() {
            servant.idle_since = self.now;
            if servant.closes {
                self.servant_ends(servant);
            }
        }
        true
    }

    fn servant_ends(&mut self, servant: &Servant) {
        let pipe = &mut self.links[servant.link];
        pipe.ended_by_peer = true;
        pipe.reset_by_peer = servant.resets;
    }
}

impl Servant {
    fn is_idle(&self) -> bool {
        self.output.is_empty() && self.reader.bytes.is_empty() && self.served > 0 && self.tunnel.is_none()
    }
}
