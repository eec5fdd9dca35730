//! The patterns of load for all contenders, and the bytes that are sent.

use crate::harness::BODY;
use crate::results::Pattern;
use fc_emulator::platform::{Caller, Platform};

/// A rate at which latency does not yet depend on the load, except for slow servers.
const LOW_RATE: f64 = 5_000.0;

/// A pattern before its rate is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    connections: u32,
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
/// the quick ones.
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
    ];
    let shapes = if quick && connections.is_empty() { &quick_ones[..] } else { &all[..] };
    let is_wanted = |shape: &&Shape| connections.is_empty() || connections.contains(&shape.connections);
    shapes.iter().filter(is_wanted).copied().collect()
}

/// Parses a number of connections for which there is a pattern.
///
/// # Errors
/// If there is none; the text is for the command line.
pub fn parse_connections(text: &str) -> Result<u32, String> {
    let wanted = text.parse().ok().filter(|wanted| shapes(false, &[]).iter().any(|it| it.connections == *wanted));
    wanted.ok_or_else(|| "expected 1, 16 or 200".to_owned())
}

/// Rounds to three digits, because a rate is not known more exactly.
pub fn round(rate: f64) -> f64 {
    let unit = 10_f64.powi(rate.max(1.0).log10() as i32 - 2).max(1.0);
    (rate / unit).round().max(1.0) * unit
}

/// The requests: an event with the platform's headers, the same bytes for all contenders.
pub struct Requests {
    keep: Vec<u8>,
    close: Vec<u8>,
}

impl Requests {
    /// The requests of this platform.
    pub fn new(platform: &Platform) -> Self {
        let event = [("Content-Type", "application/octet-stream"), ("Connection", "close")];
        let request = |headers: &[(&str, &str)]| {
            platform.request(Caller::Event, "POST", "/invoke", headers, BODY.as_bytes().to_vec()).bytes()
        };
        Self { keep: request(&event[..1]), close: request(&event) }
    }

    /// The request under this pattern.
    pub fn of(&self, pattern: &Pattern) -> &[u8] {
        if pattern.reconnect { &self.close } else { &self.keep }
    }
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
        for text in ["1", "16", "200"] {
            let wanted = parse_connections(text).unwrap();
            let chosen = shapes(true, &[wanted]);
            assert!(!chosen.is_empty() && chosen.iter().all(|shape| shape.connections == wanted), "{chosen:?}");
        }
        for wrong in ["0", "2", "x", ""] {
            assert!(parse_connections(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_a_connection_per_request_asks_for_its_end() {
        let requests = Requests::new(&Platform::new(Settings::default()));
        let [keep, close] = [&requests.keep, &requests.close].map(|bytes| String::from_utf8(bytes.clone()).unwrap());
        assert!(keep.starts_with("POST /invoke HTTP/1.1\r\n") && keep.ends_with("\r\n\r\nready"));
        assert!(!keep.contains("Connection:") && close.contains("\r\nConnection: close\r\n"));
        assert!(keep.contains("\r\nX-Fc-Control-Path: /invoke\r\n"));
    }
}
