//! The loads that everybody is put under, and the bytes that are sent.

use crate::harness::BODY;
use crate::results::Pattern;
use fc_emulator::platform::{Caller, Platform};

/// A rate at which latency is not yet a matter of load, for servers that are not slow.
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
    /// So many requests per second.
    Fixed(f64),
    /// The rate that is found out first.
    Half,
}

impl Shape {
    /// What the higher fixed rate is half of.
    pub const MAXIMUM: Self = Self::closed(200);

    const fn closed(connections: u32) -> Self {
        Self { connections, reconnect: false, pace: PollInterval::Closed }
    }

    /// With `half` for the rate that had to be found out.
    pub fn pattern(self, half: f64, markers: Option<bool>) -> Pattern {
        let rate = match self.pace {
            PollInterval::Closed => None,
            PollInterval::Fixed(rate) => Some(rate),
            PollInterval::Half => Some(half),
        };
        Pattern { connections: self.connections, reconnect: self.reconnect, rate, markers }
    }
}

/// The patterns, in the order in which an instance lives through them: those of so many connections, or, if nobody says
/// how many, all of them or the quick ones.
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

/// A number of connections that there is a pattern of.
///
/// # Errors
/// When there is none; in words for the command line.
pub fn parse_connections(text: &str) -> Result<u32, String> {
    let wanted = text.parse().ok().filter(|wanted| shapes(false, &[]).iter().any(|it| it.connections == *wanted));
    wanted.ok_or_else(|| "there are patterns of 1, 16 and 200 connections".to_owned())
}

/// Three digits are as much as a rate can be known by.
pub fn round(rate: f64) -> f64 {
    let unit = 10_f64.powi(rate.max(1.0).log10() as i32 - 2).max(1.0);
    (rate / unit).round().max(1.0) * unit
}

/// The requests, the same bytes for all: an event with the platform's headers.
pub struct Requests {
    keep: Vec<u8>,
    close: Vec<u8>,
}

impl Requests {
    /// From this platform.
    pub fn new(platform: &Platform) -> Self {
        let event = [("Content-Type", "application/octet-stream"), ("Connection", "close")];
        let request = |headers: &[(&str, &str)]| {
            platform.request(Caller::Event, "POST", "/invoke", headers, BODY.as_bytes().to_vec()).bytes()
        };
        Self { keep: request(&event[..1]), close: request(&event) }
    }

    /// What is sent under this pattern.
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
