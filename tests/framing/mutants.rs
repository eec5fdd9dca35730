//! Random mutants of the corpus. No verdict about them is recorded, so the oracles are asked each time.

use super::corpus::{CANARY, Case};
use fc_testkit::Rng;

/// Mutants take at most this many bytes of a case.
const CASE_BYTES_MAX: usize = 1000;

/// Mutants get these texts more often than other bytes.
const MARKS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\"",
    b"0",
    b"5",
    b"\0",
    b"\x0b",
    b"\xff",
    b"x",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"chunked",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: test\r\n",
    b"Connection: close\r\n",
    b"GET / HTTP/1.1\r\n",
];

/// Cases with one to three changes each, and the canary after them.
pub fn of(cases: &[Case], count: usize, random: &mut Rng) -> Vec<Case> {
    (0..count).map(|number| mutant(cases, number, random)).collect()
}

fn mutant(cases: &[Case], number: usize, random: &mut Rng) -> Case {
    let mut below = |end: usize| random.below(end.max(1));
    let body = |case: &Case| case.bytes[..case.bytes.len() - CANARY.len()].to_vec();
    let parent = &cases[below(cases.len())];
    let mut bytes = body(parent);
    bytes.truncate(CASE_BYTES_MAX);
    for _ in 0..1 + below(3) {
        let from = below(bytes.len() + 1);
        let to = (from + below(8)).min(bytes.len());
        match below(6) {
            0 => drop(bytes.drain(from..to)),
            1 => drop(bytes.splice(from..from, bytes[from..to].to_vec())),
            2 => drop(bytes.splice(from..(from + 1).min(bytes.len()), [below(256) as u8])),
            3 => {
                let other = body(&cases[below(cases.len())]);
                let at = below(other.len() + 1);
                bytes.truncate(from);
                bytes.extend_from_slice(&other[at..(at + CASE_BYTES_MAX).min(other.len())]);
            }
            _ => drop(bytes.splice(from..from, MARKS[below(MARKS.len())].iter().copied())),
        }
    }
    bytes.extend_from_slice(CANARY);
    Case { name: format!("mutant-{number}/{}", parent.name), bytes }
}

/// Whether the case contains the word `upgrade`, in upper or lower case.
pub fn names_upgrade(case: &Case) -> bool {
    case.bytes.windows(7).any(|window| window.eq_ignore_ascii_case(b"upgrade"))
}
