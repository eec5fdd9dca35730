//! How a program's reply reaches its client: framing, connection, status for the platform. Pure.

use crate::adapter::head::{After, ReplyChanges};
use crate::adapter::relay::{Reader, Relay, Writer};
use crate::adapter::reply_head::ReplyHead;
use crate::adapter::settings::Statuses;

/// What decides on the client's side.
#[derive(Clone, Copy)]
pub(crate) struct ClientFacts {
    /// The client and the adapter are ready for another exchange.
    pub(crate) keep: bool,
    pub(crate) http10: bool,
    pub(crate) is_head: bool,
    /// The request was passed on to its end.
    pub(crate) is_uploaded: bool,
}

pub(crate) struct ReplyPlan {
    pub(crate) relay: Relay,
    pub(crate) changes: ReplyChanges,
    /// The client's connection stays open.
    pub(crate) keep: bool,
    /// The program's connection can be used again.
    pub(crate) program_keeps: bool,
    pub(crate) failed: bool,
}

/// For a final reply. `fail_on`: the statuses that stand for a failed call (C-INV-3).
pub(crate) fn plan(head: &ReplyHead<'_>, client: ClientFacts, fail_on: &Statuses) -> ReplyPlan {
    let is_bodiless = head.is_bodiless(client.is_head);
    let (relay, closes) = match head.body {
        _ if is_bodiless => (Relay::NONE, false),
        body @ Reader::Sized(_) => (Relay::new(body, Writer::Plain), false),
        // A client of HTTP/1.0 knows no chunks: the close ends its reply.
        body if client.http10 => (Relay::new(body, Writer::Plain), true),
        body => (Relay::new(body, Writer::Chunked), false),
    };
    // An early reply: what the client still sends would look like a request.
    let keep = client.keep && client.is_uploaded && !closes;
    let after = match (keep, client.http10) {
        (false, _) => After::Close,
        (true, true) => After::KeepOld,
        (true, false) => After::Keep,
    };
    let failed = head.own_status.unwrap_or_else(|| fail_on.contains(head.status));
    let changes = ReplyChanges {
        failed: head.own_status.is_none().then_some(failed),
        after,
        chunked: relay.writer == Writer::Chunked,
        drop_length: head.status == NO_CONTENT,
    };
    let program_keeps = head.keeps && (is_bodiless || head.body != Reader::UntilClose);
    ReplyPlan { relay, changes, keep, program_keeps, failed }
}

/// RFC 9110 §8.6: no length in a 204.
const NO_CONTENT: u16 = 204;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::head::{Lines, write_reply};
    use crate::adapter::reply_head::parse;
    use crate::limits::Limits;

    const CLIENT: ClientFacts = ClientFacts { keep: true, http10: false, is_head: false, is_uploaded: true };

    /// The head that the client gets without its status line, whether both connections stay open.
    fn pass(reply: &str, client: ClientFacts) -> (String, bool, bool) {
        let mut storage = Vec::new();
        let head = parse(reply.as_bytes(), &mut storage, &Limits::default()).unwrap().unwrap();
        let plan = plan(&head, client, &Statuses(vec![(500, 599)]));
        let lines = Lines { head: &reply.as_bytes()[..head.bytes], headers: head.headers };
        let mut out = b"HTTP/1.1 200 OK\r\n".to_vec();
        write_reply(&mut out, &lines, &plan.changes);
        let text = String::from_utf8(out).unwrap().replace("\r\n", "|");
        (text.strip_prefix("HTTP/1.1 200 OK|").unwrap().to_owned(), plan.keep, plan.program_keeps)
    }

    #[test]
    fn every_framing_for_every_client() {
        let old = ClientFacts { http10: true, ..CLIENT };
        let head = ClientFacts { is_head: true, ..CLIENT };
        let early = ClientFacts { is_uploaded: false, ..CLIENT };
        let (ok, sized) = ("HTTP/1.1 200 OK", "a: b\r\nContent-Length: 3");
        let cases = [
            (ok, sized, CLIENT, "x-fc-status: 200|a: b|Content-Length: 3||", true, true),
            (ok, sized, old, "x-fc-status: 200|a: b|Content-Length: 3|connection: keep-alive||", true, true),
            (ok, sized, head, "x-fc-status: 200|a: b|Content-Length: 3||", true, true),
            (ok, sized, early, "x-fc-status: 200|a: b|Content-Length: 3|connection: close||", false, true),
            (ok, "a: b", CLIENT, "x-fc-status: 200|a: b|transfer-encoding: chunked||", true, false),
            (ok, "a: b", old, "x-fc-status: 200|a: b|connection: close||", false, false),
            (ok, "a: b", head, "x-fc-status: 200|a: b||", true, true),
            (ok, "Transfer-Encoding: chunked", CLIENT, "x-fc-status: 200|transfer-encoding: chunked||", true, true),
            (ok, "Transfer-Encoding: chunked", old, "x-fc-status: 200|connection: close||", false, true),
            (ok, "Transfer-Encoding: chunked", head, "x-fc-status: 200||", true, true),
            ("HTTP/1.1 204 No", "content-length: 0", CLIENT, "x-fc-status: 200||", true, true),
            ("HTTP/1.1 304 No", "content-length: 9", CLIENT, "x-fc-status: 200|content-length: 9||", true, true),
            ("HTTP/1.1 503 No", "content-length: 0", CLIENT, "x-fc-status: 404|content-length: 0||", true, true),
            ("HTTP/1.1 404 No", "content-length: 0", CLIENT, "x-fc-status: 200|content-length: 0||", true, true),
            // What the program says itself counts.
            (ok, "X-Fc-Status: 404\r\ncontent-length: 0", CLIENT, "X-Fc-Status: 404|content-length: 0||", true, true),
        ];
        for (line, headers, client, expected, keep, program_keeps) in cases {
            let seen = pass(&format!("{line}\r\n{headers}\r\n\r\n"), client);
            assert_eq!(seen, (expected.to_owned(), keep, program_keeps), "{line} {headers}");
        }
    }

    /// RFC 9110 §7.6.1: what concerns one connection stays on it.
    #[test]
    fn lines_of_the_connection_stay_on_it() {
        let reply = "HTTP/1.1 200 OK\r\nConnection: close, X-One\r\nKeep-Alive: timeout=5\r\nX-One: 1\r\nX-Two: 2\r\n\
                     Trailer: X-T\r\nUpgrade: h2c\r\nProxy-Connection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(pass(reply, CLIENT), ("x-fc-status: 200|X-Two: 2|Content-Length: 0||".to_owned(), true, false));
    }
}
