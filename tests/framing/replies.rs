//! The other direction: a program whose reply is broken, or is followed by bytes that look like one more reply.
//!
//! A client of the adapter must get a whole reply, a 502 or a visible cut. A reply that nobody has asked for reaches
//! nobody.

use super::support::client::{End, request};
use super::support::program::{Conn, Program};
use fc_testkit::http::Decoder;

/// Looks like the reply to a later request.
const SMUGGLED: &str = "HTTP/1.1 200 OK\r\nX-Smuggled: 1\r\nContent-Length: 7\r\n\r\nsmuggle";

/// What the client of a broken reply gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// 502.
    Gateway,
    /// A connection that is reset before the reply is whole.
    Cut,
    /// The reply is no worse than others that are usual, and has this body.
    Whole(&'static str),
}

use Fate::*;

/// Heads, and what is wrong with them. No further byte could repair one.
const HEADS: &[(&str, Fate)] = &[
    ("SSH-2.0-x\r\n\r\n", Gateway),
    ("\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("\0HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 abc\r\n\r\n", Gateway),
    ("HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", Whole("x")),
    ("HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 0200 OK\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/2 200\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 700 ?\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 099 ?\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 O\u{7}K\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nX: y\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n", Gateway),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nX: a\r\rContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nX: \u{7f}\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\n\tX: y\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\n Content-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nNa\u{1}me: x\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nN\u{e4}me: x\r\nContent-Length: 0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", Gateway),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok", Gateway),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2.0\r\n\r\nok", Gateway),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2 2\r\n\r\nok", Gateway),
    ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", Gateway),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", Gateway),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 3\r\n\r\nok", Gateway),
    ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", Gateway),
    // These statuses have no body, whatever the headers say (RFC 9112 §6.3).
    ("HTTP/1.1 204 -\r\nContent-Length: 2\r\n\r\n", Whole("")),
    ("HTTP/1.1 204 -\r\nTransfer-Encoding: chunked\r\n\r\n", Whole("")),
    ("HTTP/1.1 204 -\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", Gateway),
    ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", Gateway),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n", Gateway),
    ("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", Gateway),
    ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Gateway),
];

/// Bodies in chunks: the reply has begun when the fault is seen, but for those whose fault comes with the head.
const CHUNKS: &[(&str, Fate)] = &[
    ("zz\r\n", Cut),
    ("+1\r\na\r\n", Cut),
    ("-1\r\na\r\n", Cut),
    ("0x1\r\na\r\n", Cut),
    (" 1\r\na\r\n", Cut),
    ("1 \r\na\r\n", Cut),
    ("\r\n", Cut),
    ("1;a\0\r\na\r\n", Cut),
    ("11111111111111111\r\n", Cut),
    ("1\na\r\n", Cut),
    ("1\r\nab", Cut),
    ("1\r\na0\r\n\r\n", Cut),
    ("1\r\na\n0\r\n\r\n", Cut),
    ("1\r\na\r\n0\r\nno colon\r\n\r\n", Cut),
    ("1\r\na\r\n0\n\r\n", Cut),
    ("1\r\na\r\n0\r\nX: y\n\r\n", Cut),
    ("1\r\na\r\n0\r\n z\r\n\r\n", Cut),
    ("1\r\na\r\n0\r\n\r\n", Whole("a")),
    ("1;x=y\r\na\r\n0\r\nX: y\r\n\r\n", Whole("a")),
];

/// Whole replies, which must survive whatever follows them.
const SOUND: &[(&str, &str)] = &[
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"),
    ("HTTP/1.1 404 \r\ncontent-length:0\r\n\r\n", ""),
    ("HTTP/1.1 204 No Content\r\n\r\n", ""),
    ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", "ok"),
    ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "x"),
    ("HTTP/1.1 200 \u{fc}\r\nX:\t\u{fc}\t\u{fc} \r\nContent-Length:\t1 \r\n\r\nx", "x"),
    ("HTTP/1.1 200 OK\r\nX:\r\nContent-Length: 1\r\n\r\nx", "x"),
];

#[test]
fn broken_replies_end_as_a_502_or_a_cut() {
    let chunked = |body: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let heads = HEADS.iter().map(|(reply, fate)| (reply.to_string(), *fate));
    let chunks = CHUNKS.iter().map(|(body, fate)| (chunked(body), *fate));
    let sound = SOUND.iter().map(|(reply, body)| (reply.to_string(), Whole(body)));
    let cases: Vec<(String, Fate)> = heads.chain(chunks).chain(sound).collect();
    let program = Program::new();
    let server = program.setup().env("FC_HOOKS_LOG_MARKERS", "off").expect_stderr().start();
    for (reply, fate) in &cases {
        for how in [Sending::AtOnce, Sending::ByteByByte, Sending::AndReset] {
            let mut client = server.connect();
            let last = request("GET", "/2", &[("connection", "close")], b"");
            client.send([request("POST", "/1", &[], b"1"), last].concat());
            let (mut conn, got) = program.get();
            assert_eq!(got.line(), "POST /1 HTTP/1.1");
            send(&mut conn, reply, how);
            if how == Sending::AndReset {
                conn.reset();
            } else {
                drop(conn);
            }
            // The second request comes on a connection of its own, if the first one's client goes on.
            let seen = std::thread::scope(|scope| {
                let reader = scope.spawn(|| client.rest());
                if *fate != Cut {
                    let (mut conn, got) = program.get();
                    assert_eq!(got.line(), "GET /2 HTTP/1.1", "{reply:?} {how:?}");
                    conn.reply("second");
                }
                reader.join().expect("no panic")
            });
            judge(reply, *fate, how, &seen.0, seen.1);
        }
    }
    server.finish();
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    AtOnce,
    ByteByByte,
    AndReset,
}

/// Sends the reply, and behind it bytes that nobody has asked for. They come together with the reply's last byte: later
/// ones could be the reply to a request that was sent meanwhile. The adapter may leave before it has read them.
fn send(conn: &mut Conn, reply: &str, how: Sending) {
    let (pieces, last) = match how {
        Sending::AtOnce | Sending::AndReset => reply.split_at(0),
        Sending::ByteByByte => reply.split_at(reply.len() - 1),
    };
    let _ = pieces.bytes().all(|byte| conn.try_send([byte])) && conn.try_send([last, SMUGGLED].concat());
}

fn judge(reply: &str, fate: Fate, how: Sending, bytes: &[u8], end: End) {
    let shown = || format!("{reply:?} {how:?}: {end:?} after {}", bytes.escape_ascii());
    let mut decoder = Decoder::default();
    decoder.feed(bytes);
    let mut next = || decoder.response().unwrap_or_else(|why| panic!("{why}: {}", shown()));
    let first = next();
    // A reset may overtake the bytes in front of it.
    let may_be_lost = how == Sending::AndReset;
    match (fate, first) {
        (Cut, None) => return assert_eq!(end, End::Reset, "{}", shown()),
        (Gateway, Some(first)) => assert_eq!(first.status, 502, "{}", shown()),
        (Whole(body), Some(first)) if first.status != 502 => {
            assert_eq!(String::from_utf8_lossy(&first.body), body, "{}", shown());
        }
        (Whole(_), Some(_)) if may_be_lost => {}
        (_, first) => panic!("the first reply is {first:?}: {}", shown()),
    }
    let second = next().unwrap_or_else(|| panic!("no second reply: {}", shown()));
    assert_eq!((second.status, &second.body[..]), (200, &b"second"[..]), "{}", shown());
    assert!(decoder.unread().is_empty() && end == End::Closed, "{}", shown());
}
