//! The patterns of load for all contenders, and the bytes that are sent.

use std::ops::Range;

use crate::harness::BODY;
use crate::results::{Pattern, RequestKind};
use fc_emulator::platform::{Caller, Platform, ids};

/// So many digits at the end of a request's id count the requests. They are one group of a UUID.
const ID_DIGITS: usize = 12;

/// A rate at which latency does not yet depend on the load, except for slow servers.
const LOW_RATE: f64 = 5_000.0;

/// As many as a server may be given, the most that fc-hooks keeps by default.
const CONNECTIONS_MAX: u32 = 1024;

/// A pattern before its rate is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Connections at once.
    pub connections: u32,
    reconnect: bool,
    pace: PollInterval,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum PollInterval {
    Closed,
    /// This many requests per second.
    Fixed(f64),
    /// The rate that is measured first.
    Half,
}

impl Shape {
    /// The higher fixed rate is half of the maximum under this pattern.
    pub const MAXIMUM: Self = Self::closed(200);

    const fn closed(connections: u32) -> Self {
        Self { connections, reconnect: false, pace: PollInterval::Closed }
    }

    /// Whether its rate is measured first.
    pub fn is_half(&self) -> bool {
        self.pace == PollInterval::Half
    }

    /// The pattern with its rate; `half` is the rate that was measured.
    pub fn pattern(self, half: f64, markers: Option<bool>) -> Pattern {
        let rate = match self.pace {
            PollInterval::Closed => None,
            PollInterval::Fixed(rate) => Some(rate),
            PollInterval::Half => Some(half),
        };
        Pattern { connections: self.connections, reconnect: self.reconnect, rate, markers }
    }
}

/// The patterns in the order in which an instance gets them. Without a list of connections, these are all patterns or
/// the quick ones. A number in the list that has no pattern stands for kept connections without a rate.
pub fn shapes(quick: bool, connections: &[u32]) -> Vec<Shape> {
    let half = Shape { connections: 200, reconnect: false, pace: PollInterval::Half };
    let quick_ones = [Shape::closed(16), half];
    let all = [
        Shape::closed(1),
        Shape::closed(16),
        Shape::MAXIMUM,
        Shape { connections: 16, reconnect: true, pace: PollInterval::Closed },
        Shape { connections: 16, reconnect: false, pace: PollInterval::Fixed(LOW_RATE) },
        half,
        Shape::closed(CONNECTIONS_MAX),
    ];
    let shapes = if quick && connections.is_empty() { &quick_ones[..] } else { &all[..] };
    let is_wanted = |shape: &&Shape| connections.is_empty() || connections.contains(&shape.connections);
    let known = |wanted: &&u32| all.iter().any(|shape| shape.connections == **wanted);
    let others = connections.iter().filter(|wanted| !known(wanted)).map(|wanted| Shape::closed(*wanted));
    shapes.iter().filter(is_wanted).copied().chain(others).collect()
}

/// Parses a number of connections.
///
/// # Errors
/// If it is none that a server may be given; the text is for the command line.
pub fn parse_connections(text: &str) -> Result<u32, String> {
    let wanted = text.parse().ok().filter(|wanted| (1..=CONNECTIONS_MAX).contains(wanted));
    wanted.ok_or_else(|| format!("expected 1 to {CONNECTIONS_MAX}"))
}

/// Rounds to three digits, because a rate is not known more exactly.
pub fn round(rate: f64) -> f64 {
    let unit = 10_f64.powi(rate.max(1.0).log10() as i32 - 2).max(1.0);
    (rate / unit).round().max(1.0) * unit
}

/// The bytes of a request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The first request.
    pub bytes: Vec<u8>,
    /// The digits of its id that differ from request to request, if they do.
    digits: Option<Range<usize>>,
}

impl Request {
    /// Gives it the id of this number.
    pub fn count(&mut self, number: u64) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        if let Some(digits) = self.digits.clone() {
            let places = self.bytes[digits].iter_mut().rev().enumerate();
            places.for_each(|(place, digit)| *digit = HEX[(number >> (4 * place) & 15) as usize]);
        }
    }
}

/// The requests: an event, the same for all contenders.
pub struct Requests {
    keep: Request,
    close: Request,
}

impl Requests {
    /// The requests of this platform.
    pub fn new(platform: &Platform, kind: RequestKind) -> Self {
        Self { keep: event(platform, kind, false), close: event(platform, kind, true) }
    }

    /// The request on a connection that stays open.
    pub fn kept(&self) -> &Request {
        &self.keep
    }

    /// The request under this pattern.
    pub fn of(&self, pattern: &Pattern) -> &Request {
        if pattern.reconnect { &self.close } else { &self.keep }
    }
}

/// An event, as the only request of its connection or not.
fn event(platform: &Platform, kind: RequestKind, closes: bool) -> Request {
    let id = ids::request_id(platform.settings.ids);
    let mut headers = vec![("Content-Type", "application/octet-stream")];
    let caller = match kind {
        RequestKind::Real | RequestKind::Canned => Caller::Event,
        RequestKind::Small => {
            headers.extend([("X-Fc-Request-Id", id.as_str()), ("X-Fc-Control-Path", "/invoke")]);
            Caller::Stranger
        }
    };
    headers.extend(closes.then_some(("Connection", "close")));
    let request = platform.request(caller, "POST", "/invoke", &headers, BODY.as_bytes().to_vec());
    let (bytes, id) = (request.bytes(), request.id.into_bytes());
    let place = (kind == RequestKind::Real).then(|| bytes.windows(id.len()).position(|part| part == id)).flatten();
    let digits = place.map(|place| place + id.len() - ID_DIGITS..place + id.len());
    Request { bytes, digits }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fc_emulator::platform::Settings;

    #[test]
    fn rates_have_three_digits() {
        for (rate, rounded) in [(0.2, 1.0), (7.4, 7.0), (123.4, 123.0), (1_234.0, 1_230.0), (28_765.4, 28_800.0)] {
            assert_eq!(round(rate), rounded);
        }
    }

    #[test]
    fn patterns_differ_and_the_quick_ones_are_among_them() {
        let all = shapes(false, &[]);
        for (index, shape) in all.iter().enumerate() {
            assert!(!all[..index].contains(shape), "{shape:?}");
        }
        assert!(shapes(true, &[]).iter().all(|shape| all.contains(shape)));
    }

    #[test]
    fn every_choice_of_connections_leaves_a_pattern() {
        for text in ["1", "7", "16", "200", "1024"] {
            let wanted = parse_connections(text).unwrap();
            let chosen = shapes(true, &[wanted]);
            assert!(!chosen.is_empty() && chosen.iter().all(|shape| shape.connections == wanted), "{chosen:?}");
        }
        for wrong in ["0", "1025", "x", ""] {
            assert!(parse_connections(wrong).is_err(), "{wrong}");
        }
    }

    fn requests(kind: RequestKind) -> Requests {
        Requests::new(&Platform::new(Settings::default()), kind)
    }

    fn text(request: &Request) -> String {
        String::from_utf8(request.bytes.clone()).unwrap()
    }

    #[test]
    fn only_a_connection_per_request_asks_for_its_end() {
        for kind in [RequestKind::Real, RequestKind::Canned, RequestKind::Small] {
            let requests = requests(kind);
            let [keep, close] = [&requests.keep, &requests.close].map(text);
            assert!(keep.starts_with("POST /invoke HTTP/1.1\r\n") && keep.ends_with("\r\n\r\nready"));
            assert!(!keep.contains("Connection:") && close.contains("\r\nConnection: close\r\n"));
            assert!(keep.contains("\r\nX-Fc-Control-Path: /invoke\r\n"));
            assert_eq!(keep.matches("\r\nX-Fc-Request-Id: ").count(), 1);
        }
    }

    /// Section HDR of the contract: an event lacks three headers of an HTTP call, which are about its client, and has
    /// the endpoint of the tracing.
    #[test]
    fn a_real_request_has_the_headers_of_the_platform() {
        let keep = text(&requests(RequestKind::Real).keep);
        let platform = keep.lines().filter(|line| line.starts_with("X-Fc-"));
        let token = keep.lines().find_map(|line| line.strip_prefix("X-Fc-Security-Token: ")).unwrap();
        assert_eq!((platform.count(), token.len()), (24, 1024), "{keep}");
        assert_eq!(text(&requests(RequestKind::Small).keep).lines().filter(|line| line.contains(": ")).count(), 6);
    }

    #[test]
    fn each_real_request_has_an_id_of_its_own_and_others_are_the_same_bytes() {
        let mut real = requests(RequestKind::Real).keep;
        let id = |request: &Request| {
            let line = text(request).lines().find_map(|line| Some(line.strip_prefix("X-Fc-Request-Id: ")?.to_owned()));
            line.unwrap()
        };
        let before = text(&real);
        let first = id(&real);
        real.count(0x00ab_cdef_0123);
        assert_eq!(id(&real), format!("{}00abcdef0123", &first[..first.len() - ID_DIGITS]));
        real.count(u64::MAX);
        assert!(id(&real).ends_with("-ffffffffffff"));
        assert_eq!(text(&real).len(), before.len());
        for kind in [RequestKind::Canned, RequestKind::Small] {
            let mut same = requests(kind).keep;
            let before = text(&same);
            same.count(7);
            assert_eq!(text(&same), before);
        }
    }
}
