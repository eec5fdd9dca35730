//! The most memory that an instance of ours may take: a formula of its limits.
//!
//! Written down from what the server documents, without its code: an attack that gets beyond it has found either a
//! leak or a wrong document.

use serde::Serialize;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The limits that decide, as the server documents their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections.
    pub connections_max: u64,
    /// What all connections hold beyond their own share.
    pub buffered_bytes_max: u64,
    /// A request's head.
    pub head_bytes_max: u64,
    /// A request's body, and, as far as a function echoes it, a reply's.
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
    /// What takes it.
    pub what: &'static str,
    /// How much, in kilobytes of 1,024 bytes.
    pub kb: u64,
}

/// A connection's own share: its slot, twice, because the table of slots doubles when it grows (1 KiB); input that is
/// not counted by `buffered_bytes_max` (32 KiB); output that is not: a head with a small body behind it (16 KiB), and
/// one piece of a stream (16 KiB).
const CONNECTION_KB: u64 = 1 + 32 + 16 + 16;

/// The parts of the bound. `ready_kb` is what the instance takes before the attack, `program_kb` the size of its
/// program, whose pages may all come in later.
pub fn terms(limits: &Limits, ready_kb: u64, program_kb: u64) -> Vec<Term> {
    let Limits { connections_max, buffered_bytes_max, head_bytes_max, body_bytes_max } = *limits;
    let connections = connections_max * CONNECTION_KB;
    // One request of the largest size always has room.
    let buffered = buffered_bytes_max.max(head_bytes_max + body_bytes_max) / KIB;
    // Made while its request is still held, and counted only when it is there.
    let reply = (body_bytes_max + head_bytes_max) / KIB;
    // The allocator rounds small blocks up to a size class, the next of which is a quarter larger at most, and large
    // ones up to pages: two for each connection.
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

/// Their sum.
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
