//! The most memory that one of our instances may take, as a formula of its limits.
//!
//! The formula follows the server's documentation, not its code. An attack that exceeds it has found a leak or an error
//! in the documentation.

use serde::Serialize;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The limits in the formula, with their documented defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections.
    pub connections_max: u64,
    /// The buffers of all connections together, beyond the own share of each.
    pub buffered_bytes_max: u64,
    /// The head of a request.
    pub head_bytes_max: u64,
    /// The body of a request, and of a reply if a function echoes it.
    pub body_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            buffered_bytes_max: 256 * MIB,
            head_bytes_max: 32 * KIB,
            body_bytes_max: 32 * MIB,
        }
    }
}

/// One part of the bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Term {
    /// The part that takes the memory.
    pub what: &'static str,
    /// The memory in kilobytes of 1,024 bytes.
    pub kb: u64,
}

/// The own share of a connection: its entry in the connection table, twice, because the table doubles when it grows (1
/// KiB); input that `buffered_bytes_max` does not count (32 KiB); output that it does not count: a head with a small
/// body (16 KiB) and one piece of a stream (16 KiB).
const CONNECTION_KB: u64 = 1 + 32 + 16 + 16;

/// The parts of the bound. `ready_kb` is the memory of the instance before the attack, and `program_kb` the size of its
/// program, because all its pages may be loaded later.
pub fn terms(limits: &Limits, ready_kb: u64, program_kb: u64) -> Vec<Term> {
    let Limits { connections_max, buffered_bytes_max, head_bytes_max, body_bytes_max } = *limits;
    let connections = connections_max * CONNECTION_KB;
    // One request of the largest size always fits.
    let buffered = buffered_bytes_max.max(head_bytes_max + body_bytes_max) / KIB;
    // The reply is made while its request is still in memory, and counts only when it is complete.
    let reply = (body_bytes_max + head_bytes_max) / KIB;
    // The allocator rounds small blocks up to a size class, and the next class is at most a quarter larger. It rounds
    // large blocks up to pages: two for each connection.
    let rounding = connections / 4 + connections_max * 2 * 4;
    vec![
        Term { what: "ready", kb: ready_kb },
        Term { what: "the rest of the program", kb: program_kb },
        Term { what: "connections", kb: connections },
        Term { what: "buffered_bytes_max", kb: buffered },
        Term { what: "one largest reply", kb: reply },
        Term { what: "rounding of the allocator", kb: rounding },
    ]
}

/// The sum of the parts.
pub fn kb(terms: &[Term]) -> u64 {
    terms.iter().map(|term| term.kb).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_counts() {
        let least = Limits { connections_max: 1, buffered_bytes_max: 0, head_bytes_max: KIB, body_bytes_max: 0 };
        let of = |limits: Limits| kb(&terms(&limits, 0, 0));
        let base = of(least);
        assert_eq!(base, CONNECTION_KB + 1 + 1 + CONNECTION_KB / 4 + 8);
        assert_eq!(of(Limits { buffered_bytes_max: MIB, ..least }), base + 1024 - 1);
        assert_eq!(of(Limits { body_bytes_max: MIB, ..least }), base + 2048, "a request and its reply");
        assert!(of(Limits { connections_max: 2, ..least }) > base + CONNECTION_KB);
        assert_eq!(kb(&terms(&least, 10, 20)), base + 30);
    }

    /// The number that SECURITY.md gives for the defaults.
    #[test]
    fn the_defaults_are_as_documented() {
        let terms = terms(&Limits::default(), 0, 0);
        let of = |what| terms.iter().find(|term| term.what == what).map(|term| term.kb);
        assert_eq!(of("connections").zip(of("buffered_bytes_max")), Some((65 * 1024, 256 * 1024)));
    }
}
