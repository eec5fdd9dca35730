//! The attacks: what each connection does, and what a correct server may answer.

use super::script::{End, Reading, Script};
use fc_emulator::platform::ids;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// One attack.
pub struct Attack {
    /// The name for `--only`. It does not change between versions.
    pub name: &'static str,
    /// What the attackers do.
    pub what: &'static str,
    /// The number of attackers at once.
    pub connections: usize,
    /// The statuses that attackers may get. Any other status is a fault.
    pub may: &'static [u16],
    /// The statuses that some attacker must get; otherwise the attack did not reach its goal.
    pub must: &'static [u16],
    /// The attackers only hold connections and hardly send. With `--strict` the p99 of healthy calls may at most
    /// double.
    pub steady: bool,
    /// Environment variables for the server.
    pub env: &'static [(&'static str, &'static str)],
    /// The server's limit of descriptors. It is below the number of attackers, so calls on new connections may wait
    /// until they leave.
    pub descriptors: Option<u32>,
    /// The attack continues while the server is stopped.
    pub until_the_end: bool,
    /// The script of the attacker with this number.
    pub script: fn(usize) -> Script,
}

impl Attack {
    /// The number of attackers that must connect at least.
    pub fn wanted(&self) -> u64 {
        self.descriptors.map_or(self.connections as u64, u64::from)
    }
}

const USUAL: Attack = Attack {
    name: "",
    what: "",
    connections: 1000,
    may: &[],
    must: &[],
    steady: false,
    env: &[],
    descriptors: None,
    until_the_end: false,
    script: |_| Script::open(""),
};

/// All attacks, in the order of reports.
pub const ATTACKS: [Attack; 17] = [
    Attack {
        name: "slow-heads",
        what: "1,000 connections send a head, one byte every 300 ms",
        steady: true,
        script: |_| Script::open("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").then("a", u64::MAX).every_ms(300),
        ..USUAL
    },
    Attack {
        name: "slow-bodies",
        what: "1,000 connections send a body with a Content-Length, one byte every 300 ms",
        steady: true,
        script: |_| Script::open(post("Content-Length: 1000000")).then("x", 1_000_000).every_ms(300),
        ..USUAL
    },
    Attack {
        name: "slow-chunks",
        what: "1,000 connections send a chunk of one byte every 300 ms",
        steady: true,
        script: |_| Script::open(post(CHUNKED)).then("1\r\nx\r\n", u64::MAX).every_ms(300),
        ..USUAL
    },
    Attack {
        name: "slow-readers",
        what: "1,000 connections request 64 kB, 32 of them 6 MB, and read 16 bytes every 300 ms",
        may: &[200],
        must: &[200],
        steady: true,
        script: |number| {
            let body_bytes = if number % 32 == 0 { 6 * MIB } else { 64 * KIB };
            echo(body_bytes).reading(Reading::Slowly(16)).every_ms(300)
        },
        ..USUAL
    },
    Attack { name: "idle", what: "1,000 connections send nothing", steady: true, ..USUAL },
    Attack {
        name: "descriptors",
        what: "4,000 connections open to an instance with 256 descriptors",
        connections: 4000,
        descriptors: Some(256),
        ..USUAL
    },
    Attack {
        name: "rst-storm",
        what: "64 connections are reset at once, or in the middle of a request or of a reply, again and again",
        connections: 64,
        may: &[200],
        script: |number| {
            let script = match number % 4 {
                0 => Script::open(""),
                1 => Script::open("GET / HTTP/1.1\r\nHo"),
                2 => Script::open(post("Content-Length: 100000")).then("x", 50),
                _ => echo(256 * KIB),
            };
            script.end(End::Reset).rest_ms(0)
        },
        ..USUAL
    },
    Attack {
        name: "big-bodies",
        what: "64 connections send 32 MiB each and stop one byte short",
        connections: 64,
        may: &[503],
        must: &[503],
        // 601 times 55,831 bytes are one less than 32 MiB.
        script: |_| Script::open(post("Content-Length: 33554432")).then(vec![b'x'; 55_831], 601).rest_ms(200),
        ..USUAL
    },
    Attack {
        name: "endless-head",
        what: "32 connections send a request line without end, or a header",
        connections: 32,
        may: &[414, 431],
        must: &[414, 431],
        script: |number| {
            let opening = if number % 2 == 0 { "GET /" } else { "GET / HTTP/1.1\r\nHost: a\r\nX: " };
            Script::open(opening).then(vec![b'a'; KIB], u64::MAX)
        },
        ..USUAL
    },
    Attack {
        name: "endless-headers",
        what: "32 connections send smallest possible headers without end",
        connections: 32,
        may: &[431],
        must: &[431],
        script: |_| Script::open("GET / HTTP/1.1\r\nHost: a\r\n").then("a:\r\n".repeat(256), u64::MAX),
        ..USUAL
    },
    Attack {
        name: "endless-chunks",
        what: "32 connections send chunks of one byte, extensions or trailers without end",
        connections: 32,
        may: &[400, 413, 503],
        must: &[400],
        script: |number| match number % 3 {
            0 => Script::open(post(CHUNKED)).then("1\r\nx\r\n".repeat(1000), u64::MAX),
            1 => Script::open(post(CHUNKED) + "1;").then("e".repeat(KIB), u64::MAX),
            _ => Script::open(post(CHUNKED) + "0\r\n").then("a: b\r\n".repeat(200), u64::MAX),
        },
        ..USUAL
    },
    Attack {
        name: "unread-replies",
        what: "64 connections request 8 MiB, send a thousand requests after it, and read nothing",
        connections: 64,
        may: &[200, 503],
        must: &[200],
        script: |_| echo(8 * MIB).then(GET, 1000).reading(Reading::Never),
        ..USUAL
    },
    Attack {
        name: "pipelining",
        what: "16 connections send 100,000 requests in a row and read nothing",
        connections: 16,
        may: &[200],
        must: &[200],
        script: |_| Script::open(GET).then(GET.repeat(100), 1000).reading(Reading::Never),
        ..USUAL
    },
    Attack {
        name: "half-open",
        what: "500 connections send nothing, half a request or a whole one, and close their half",
        connections: 500,
        may: &[200],
        must: &[200],
        script: |number| {
            let opening = ["", "GET / HTTP/1.1\r\nHost", GET][number % 3];
            Script::open(opening).end(End::HalfClose).rest_ms(50)
        },
        ..USUAL
    },
    Attack {
        name: "garbage",
        what: "100 connections send random bytes",
        connections: 100,
        may: &[400, 414, 431, 501, 505],
        must: &[400],
        script: |number| Script::open(noise(if number % 2 == 0 { 64 } else { 8 * KIB })).rest_ms(5),
        ..USUAL
    },
    Attack {
        name: "hooks-by-outsiders",
        what: "100 connections request every hook, as an outside caller or without a control path",
        connections: 100,
        may: &[200, 403, 404],
        env: &[("FC_HOOKS_REQUIRE_CONTROL_PATH", "on")],
        script: |number| {
            let control = if number % 2 == 0 { "x-fc-control-path: /http-invoke\r\n" } else { "" };
            let of = |line: &str| format!("{line} HTTP/1.1\r\nHost: a\r\n{control}Content-Length: 0\r\n\r\n");
            let all = ["POST /initialize", "GET /pre-freeze", "GET /pre-stop"].map(of).concat();
            Script::open(all.clone()).then(all, u64::MAX)
        },
        ..USUAL
    },
    Attack {
        name: "stop",
        what: "the server gets SIGTERM while 400 connections are silent, or slow with heads, bodies or reading",
        connections: 400,
        may: &[200],
        until_the_end: true,
        env: &[("FC_HOOKS_LIMITS", "drain_ms_max=1000")],
        script: |number| match number % 4 {
            0 => Script::open(""),
            1 => Script::open("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").then("a", u64::MAX).every_ms(100),
            2 => Script::open(post("Content-Length: 1000000")).then("x", 1_000_000).every_ms(100),
            _ => echo(if number % 32 == 3 { 6 * MIB } else { 64 * KIB }).reading(Reading::Slowly(16)).every_ms(100),
        },
        ..USUAL
    },
];

const CHUNKED: &str = "Transfer-Encoding: chunked";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nx-fc-control-path: /http-invoke\r\n\r\n";

/// The head of an event. Its body follows.
fn post(framing: &str) -> String {
    format!("POST /invoke HTTP/1.1\r\nHost: a\r\nx-fc-control-path: /invoke\r\n{framing}\r\n\r\n")
}

/// An event of this many bytes, which the server echoes.
fn echo(body_bytes: usize) -> Script {
    let mut request = post(&format!("Content-Length: {body_bytes}")).into_bytes();
    request.resize(request.len() + body_bytes, b'x');
    Script::open(request)
}

/// Bytes that no request begins with: a letter, and then random bytes.
fn noise(bytes: usize) -> Vec<u8> {
    let random = (0..bytes.div_ceil(8)).flat_map(|_| ids::random().to_le_bytes());
    let mut noise: Vec<u8> = random.take(bytes).collect();
    // Some random bytes could be the start of a head. With this line the server rejects them in any case.
    noise.extend_from_slice(b"\r\n \n\n\r\n\r\n");
    noise
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_single_and_what_must_come_may_come() {
        let names: BTreeSet<&str> = ATTACKS.iter().map(|attack| attack.name).collect();
        assert_eq!(names.len(), ATTACKS.len());
        for attack in &ATTACKS {
            assert!(attack.must.iter().all(|status| attack.may.contains(status)), "{}", attack.name);
            assert!(!attack.what.is_empty() && attack.connections > 0, "{}", attack.name);
        }
    }

    #[test]
    fn a_big_body_lacks_one_byte() {
        let script = (ATTACKS.iter().find(|attack| attack.name == "big-bodies").unwrap().script)(0);
        assert_eq!(script.piece.len() as u64 * script.times, 32 * MIB as u64 - 1);
    }
}
