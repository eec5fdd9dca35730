//! What our server makes of cases: the real process over real sockets. A callback says in headers of its reply what
//! reached it, so replies tell the whole story.

use super::corpus::Case;
use super::support::client::{Client, End as Hangup};
use super::support::process::{Server, Setup};
use super::verdict::{self, End, Verdict};

/// No limit of time ends a case, however busy the machine is.
pub fn start() -> Server {
    let patient = "head_ms_max=600000,body_ms_max=600000,linger_ms_max=600000";
    Setup::subject("witness").limits(patient).start()
}

/// Each case in one piece; some at once, so that client and server work side by side.
pub fn whole(server: &Server, cases: &[&Case]) -> Vec<Verdict> {
    cases.chunks(32).flat_map(|cases| observe(server, cases, &vec![Vec::new(); cases.len()])).collect()
}

/// Each case in pieces that end at its cuts, and every piece read alone.
pub fn in_pieces(server: &Server, cases: &[&Case], mut cuts: impl FnMut(&Case) -> Vec<usize>) -> Vec<Verdict> {
    let batches = cases.chunks(400).map(|cases| {
        let cuts: Vec<Vec<usize>> = cases.iter().map(|case| cuts(case)).collect();
        observe(server, cases, &cuts)
    });
    batches.flatten().collect()
}

/// One piece of each case in turn.
fn observe(server: &Server, cases: &[&Case], cuts: &[Vec<usize>]) -> Vec<Verdict> {
    let mut clients: Vec<Client> = cases.iter().map(|_| server.connect()).collect();
    let last_round = cuts.iter().map(Vec::len).max().unwrap_or(0);
    for round in 0..=last_round {
        for ((client, case), cuts) in clients.iter_mut().zip(cases).zip(cuts) {
            let end = |round: usize| cuts.get(round).copied().unwrap_or(case.bytes.len());
            let start = if round == 0 { 0 } else { end(round - 1) };
            if start < end(round) {
                client.send(&case.bytes[start..end(round)]);
            }
        }
        // Elsewhere pieces may reach the server together, which is no less true, only less thorough.
        if round < last_round && cfg!(target_os = "linux") {
            server.has_read_everything();
        }
    }
    for client in &clients {
        client.half_close();
    }
    clients.into_iter().zip(cases).map(|(client, case)| conclude(client, &case.name)).collect()
}

fn conclude(mut client: Client, name: &str) -> Verdict {
    let (replies, hangup) = client.rest();
    assert_eq!(hangup, Hangup::Closed, "{name}: reset behind {}", replies.escape_ascii());
    let mut verdict = Verdict { requests: Vec::new(), end: End::Waits };
    let mut rest = &replies[..];
    while !rest.is_empty() {
        assert_eq!(verdict.end, End::Waits, "{name}: another reply behind the last: {}", rest.escape_ascii());
        rest = take_reply(rest, &mut verdict).unwrap_or_else(|| panic!("{name}: no reply: {}", rest.escape_ascii()));
    }
    verdict
}

/// Notes what the first reply tells, and gives what is behind it.
fn take_reply<'a>(replies: &'a [u8], verdict: &mut Verdict) -> Option<&'a [u8]> {
    let head_bytes = replies.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&replies[..head_bytes]).ok()?;
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    if status == "100" {
        return Some(&replies[head_bytes..]);
    }
    if replies.len() == head_bytes && header("x-method").is_none() {
        // Refused, and nobody asked for the content that would say why.
        verdict.end = End::Refused(format!("{status} to HEAD"));
        return Some(&[]);
    }
    let body_bytes: usize = header("content-length")?.parse().ok()?;
    let body = replies.get(head_bytes..head_bytes + body_bytes)?;
    if let Some(method) = header("x-method") {
        let (target, body) = (unescaped(header("x-target")?)?, unescaped(header("x-body")?)?);
        verdict.requests.push(verdict::request(method.as_bytes(), &target, &body));
        if header("connection") == Some("close") {
            verdict.end = End::Closed;
        }
    } else {
        let failure: serde_json::Value = serde_json::from_slice(body).ok()?;
        verdict.end = End::Refused(format!("{status} {}", failure["errorMessage"].as_str()?));
    }
    Some(&replies[head_bytes + body_bytes..])
}

/// The bytes behind `escape_ascii`.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let mark = behind.get(..1)?;
        let taken = if mark == "x" { 3 } else { 1 };
        bytes.push(match mark {
            "x" => u8::from_str_radix(behind.get(1..3)?, 16).ok()?,
            "r" => b'\r',
            "n" => b'\n',
            "t" => b'\t',
            mark => mark.as_bytes()[0],
        });
        rest = &behind[taken..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}
