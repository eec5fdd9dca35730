//! The reasons why we differ from an oracle. A difference that no reason explains fails the test, and so does a reason
//! that explains no difference.

use super::verdict::Relation::{self, ClosesFirst, Differs, Laxer, StaysOpen, Stricter};

/// The differences that a reason explains, and the reason.
pub struct Reason {
    pub relation: Relation,
    /// The oracle. Empty stands for all of them.
    oracle: &'static str,
    /// The end of our error message.
    ours: &'static str,
    /// The beginnings of the names of the cases.
    cases: &'static [&'static str],
    pub why: &'static str,
}

impl Reason {
    pub fn explains(&self, relation: Relation, oracle: &str, case: &str, ours: &str) -> bool {
        self.relation == relation
            && (self.oracle.is_empty() || self.oracle == oracle)
            && ours.ends_with(self.ours)
            && self.cases.iter().any(|beginning| case.starts_with(beginning))
    }
}

/// We reject with this message requests that others accept.
const fn refused(ours: &'static str, why: &'static str) -> Reason {
    Reason { relation: Stricter, oracle: "", ours, cases: &[""], why }
}

const fn about(relation: Relation, oracle: &'static str, cases: &'static [&'static str], why: &'static str) -> Reason {
    Reason { relation, oracle, ours: "", cases, why }
}

/// The first reason that fits counts.
pub const REASONS: &[Reason] = &[
    refused(
        "the request has both Content-Length and Transfer-Encoding",
        "RFC 9112 §6.1: a server may reject a request with both, and §6.3 says that it ought to be an error. The \
         other parsers ignore the length.",
    ),
    refused(
        "Content-Length is not one whole number",
        "RFC 9110 §8.6: the length is one number. RFC 9112 §6.3 allows a recipient to merge equal lengths. We do not, \
         because a repeated length shows that the request was changed on its way. If a coding is there, hyper ignores \
         a length that it cannot read.",
    ),
    refused(
        "unsupported Transfer-Encoding",
        "RFC 9112 §6.1: chunked is applied once and comes last; it has no parameters (§7.1), and HTTP/1.0 does not \
         have it. A request that breaks this has faulty framing.",
    ),
    refused("unsupported transfer coding", "RFC 9112 §6.1: a coding that is not understood is 501."),
    refused(
        "HTTP/1.1 needs exactly one Host header, with one host",
        "RFC 9112 §3.2: a request without Host, with more than one, or with one that is no host must get 400. hyper \
         leaves this check to its users, node accepts more than one, and no oracle checks the host. Two are ambiguous \
         for HTTP/1.0 too. A name may hold a comma, which some readers take for a separator of two hosts.",
    ),
    refused(
        "a line of the head ends in LF without CR",
        "RFC 9112 §2.2: a recipient may take a bare LF for a line end. If two readers disagree about it, a client can \
         smuggle a request.",
    ),
    refused(
        "a chunk size is malformed",
        "RFC 9112 §7.1: 1*HEXDIG, then `;` or CRLF. Others accept white space after the size, a bare LF or CR, or \
         control bytes in extensions: the leaks of \"Funky Chunks\".",
    ),
    refused(
        "a trailer line is malformed",
        "RFC 9112 §7.1.2: trailers are fields, so they hold no bare LF or CR, no folding, and no control bytes. \
         Others skip them without a check.",
    ),
    refused(
        "neither a path nor an absolute http URI",
        "RFC 9112 §3.2: a target has the origin form or the absolute form, or is `*` with OPTIONS. The authority form \
         is for CONNECT, which is for proxies. A target has no fragment; hyper cuts it off, others pass it on \
         (CVE-2023-45539).",
    ),
    refused(
        "the body is too large",
        "RFC 9110 §15.5.14: this is our limit. The others wait for bytes that never come.",
    ),
    refused(
        "unsupported expectation",
        "RFC 9110 §10.1.1: a server may answer 417. The others ignore an unknown expectation.",
    ),
    refused(
        "the HTTP version is neither 1.0 nor 1.1",
        "RFC 9110 §15.6.6: 505 is for a version that the server does not support. A higher minor version should be \
         read as 1.1 (§2.5), but no client sends one.",
    ),
    Reason {
        relation: Stricter,
        oracle: "h11",
        ours: "the head is not HTTP/1.1",
        cases: &[""],
        why: "RFC 9112 §5.2: a server may reject folded lines; h11 unfolds them. RFC 9110 §5.5: control bytes in \
              values are invalid; h11 lets all but CR, LF and NUL pass.",
    },
    Reason {
        relation: Stricter,
        oracle: "node",
        ours: "the head is not HTTP/1.1",
        cases: &[""],
        why: "RFC 9112 §2.2, §3: the request line has single spaces, a version, and CRLF. node accepts several spaces, \
              names of other protocols, a bare CR in front, and a line without a version, which it takes for HTTP/0.9.",
    },
    about(
        Laxer,
        "h11",
        &["before/", "behind-body/", "line-end/", "chunk-end/", "chunks/final-twice"],
        "RFC 9112 §2.2: a server should ignore an empty line before a request. h11 rejects it.",
    ),
    about(
        Laxer,
        "h11",
        &["cl/"],
        "RFC 9110 §8.6: a length may have any number of digits. h11 rejects more than 20, leading zeros included.",
    ),
    about(
        Laxer,
        "",
        &["line/GET_%2fa%c2%a0b"],
        "RFC 9112 §3: a URI has no bytes above 0x7F. We pass UTF-8 in a target on as it came; it has no effect on \
         framing.",
    ),
    about(
        Laxer,
        "",
        &["trailer/", "trick/trailer-as-field"],
        "RFC 9110 §6.5.1: trailers must not hold framing fields. h11 and node apply the rules of the head to them; we \
         drop them.",
    ),
    about(
        Laxer,
        "hyper",
        &["target/", "byte/target"],
        "RFC 3986 §2: a URI does not hold these characters. We pass them on as they came; they have no effect on \
         framing.",
    ),
    about(
        Laxer,
        "node",
        &["method/", "byte/method", "byte/line-start", "cl/", "cl-name/"],
        "RFC 9110 §9.1: a method is any token, and callbacks decide. node knows a list of methods, and rejects bytes \
         after a body that do not begin with one.",
    ),
    about(
        Laxer,
        "node",
        &["chunk-ext", "chunk-end/extension", "byte/extension", "trick/EXT.TERM-quoted-CRLF"],
        "RFC 9112 §7.1.1: a recipient must ignore unknown extensions. node checks their grammar; we skip any text up \
         to CRLF, as h11 and hyper do.",
    ),
    about(
        Laxer,
        "node",
        &["te/", "byte/te-end", "byte/cl-end"],
        "RFC 9110 §5.5: a tab after a value is white space around it, and no part of it. node rejects it.",
    ),
    about(
        StaysOpen,
        "h11",
        &["cl/http10", "connection/", "expect/http10", "host10/", "version/"],
        "RFC 9112 §9.3: HTTP/1.0 with keep-alive persists. h11 always closes after HTTP/1.0.",
    ),
    about(
        StaysOpen,
        "node",
        &["misleading/", "trailer/Connection"],
        "RFC 9110 §7.6.1: neither Proxy-Connection nor a trailer closes the connection. For node both do.",
    ),
    about(
        ClosesFirst,
        "node",
        &["connection/"],
        "RFC 9112 §9.3: close counts before keep-alive. With HTTP/1.0 node sees only the keep-alive.",
    ),
    about(
        Differs,
        "node",
        &["upgrade/", "trick/h2c-upgrade"],
        "RFC 9110 §7.8: a server may ignore Upgrade, and then goes on in HTTP/1.1. node, without a listener for it, \
         serves the request and drops all bytes after it.",
    ),
];
