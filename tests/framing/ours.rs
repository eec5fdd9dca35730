//! The verdicts of our server, by the real process over real sockets. Its callback describes in headers of the reply
//! the request that reached it.

use super::corpus::Case;
use super::support::client::{Client, End as Hangup};
use super::support::process::{Server, Setup};
use super::verdict::{self, End, Verdict};
use fc_testkit::http::{BodyFraming, Decoder, Head, Response};

/// Time limits so long that none ends a case, even on a busy machine.
pub const PATIENT: &str = "head_ms_max=600000,body_ms_max=600000,linger_ms_max=600000";

pub fn start() -> Server {
    Setup::subject("witness").limits(PATIENT).start()
}

/// Sends each case in one piece. Sends some before it reads, so that client and server work at the same time.
pub fn whole(server: &Server, cases: &[&Case]) -> Vec<Verdict> {
    cases.chunks(32).flat_map(|cases| observe(server, cases, &vec![Vec::new(); cases.len()])).collect()
}

/// Sends each case in pieces that end at its cuts. The server reads each piece alone.
pub fn in_pieces(server: &Server, cases: &[&Case], mut cuts: impl FnMut(&Case) -> Vec<usize>) -> Vec<Verdict> {
    let batches = cases.chunks(400).map(|cases| {
        let cuts: Vec<Vec<usize>> = cases.iter().map(|case| cuts(case)).collect();
        observe(server, cases, &cuts)
    });
    batches.flatten().collect()
}

/// Sends the pieces of all cases, one piece of each in turn.
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
        // On other systems the server may read pieces together. The test is then right, but less thorough.
        if round < last_round && cfg!(target_os = "linux") {
            server.wait_until_read();
        }
    }
    for client in &clients {
        client.half_close();
    }
    clients.into_iter().zip(cases).map(|(client, case)| conclude(client, &case.name)).collect()
}

fn conclude(mut client: Client, name: &str) -> Verdict {
    let (replies, hangup) = client.rest();
    let shown = || replies.escape_ascii();
    assert_eq!(hangup, Hangup::Closed, "{name}: reset after {}", shown());
    let mut verdict = Verdict { requests: Vec::new(), end: End::Waits };
    let mut decoder = Decoder::default();
    decoder.feed(&replies);
    while !decoder.unread().is_empty() {
        assert_eq!(verdict.end, End::Waits, "{name}: another reply after the last: {}", shown());
        let head =
            Head::parse(decoder.unread()).ok().flatten().unwrap_or_else(|| panic!("{name}: not a head: {}", shown()));
        if head.bytes == decoder.unread().len() && head.framing != BodyFraming::Length(0) {
            // The request had the method HEAD, so the reply lacks the content that would say why.
            verdict.end = End::Refused(format!("{} to HEAD", head.status));
            break;
        }
        let reply = decoder.response().ok().flatten();
        let noted = reply.and_then(|reply| note(&reply, &mut verdict));
        noted.unwrap_or_else(|| panic!("{name}: not a reply: {}", shown()));
    }
    verdict
}

/// Adds to the verdict what one reply tells.
fn note(reply: &Response, verdict: &mut Verdict) -> Option<()> {
    let header = |name: &str| reply.header(name);
    if let Some(method) = header("x-method") {
        let (target, body) = (unescaped(header("x-target")?)?, unescaped(header("x-body")?)?);
        verdict.requests.push(verdict::request(method.as_bytes(), &target, &body));
        if reply.closes {
            verdict.end = End::Closed;
        }
    } else if reply.status != 100 {
        let failure: serde_json::Value = serde_json::from_slice(&reply.body).ok()?;
        verdict.end = End::Refused(format!("{} {}", reply.status, failure["errorMessage"].as_str()?));
    }
    Some(())
}

/// The bytes that the witness has escaped and put between quotes.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.strip_prefix('"')?.strip_suffix('"')?;
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
