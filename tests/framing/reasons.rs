//! Why we differ from an oracle, class by class. A difference that no row explains fails the test, and so does a row
//! that explains none.

use super::verdict::Relation::{self, ClosesFirst, Differs, Laxer, StaysOpen, Stricter};

/// What it explains, and the reason.
pub struct Reason {
    pub relation: Relation,
    /// Empty: all of them.
    oracle: &'static str,
    /// How our word for the refusal ends.
    ours: &'static str,
    /// How the names of the cases begin.
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

/// We refuse, with this word, what others accept.
const fn refused(ours: &'static str, why: &'static str) -> Reason {
    Reason { relation: Stricter, oracle: "", ours, cases: &[""], why }
}

const fn about(relation: Relation, oracle: &'static str, cases: &'static [&'static str], why: &'static str) -> Reason {
    Reason { relation, oracle, ours: "", cases, why }
}

/// The first that fits counts.
pub const REASONS: &[Reason] = &[
    refused(
        "the request has both Content-Length and Transfer-Encoding",
        "RFC 9112 §6.1: a server may refuse a request with both, and §6.3 says that it ought to be an error. The \
         others ignore the length.",
    ),
    refused(
        "Content-Length is not one whole number",
        "RFC 9110 §8.6: one number of digits. RFC 9112 §6.3 lets a recipient merge equal ones; whoever repeats a \
         length was tampered with, so we do not. hyper takes what it cannot read for no length at all if chunked is \
         there.",
    ),
    refused(
        "unsupported Transfer-Encoding",
        "RFC 9112 §6.1: chunked is applied once and comes last, has no parameters (§7.1), and HTTP/1.0 does not know \
         it: a request that says otherwise has faulty framing.",
    ),
    refused("unsupported transfer coding", "RFC 9112 §6.1: a coding that is not understood is 501."),
    refused(
        "HTTP/1.1 needs exactly one Host header, with one host",
        "RFC 9112 §3.2: none, more than one, or one that is no host must be 400. hyper leaves that to its users, node \
         takes more than one, nobody looks at the host; for HTTP/1.0, too, two are ambiguous. A comma, which a name \
         may hold, makes two hosts to some.",
    ),
    refused(
        "a line of the head ends in LF without CR",
        "RFC 9112 §2.2: a recipient may take a bare LF for a line's end; two that disagree about it are smuggled \
         past.",
    ),
    refused(
        "a chunk size is malformed",
        "RFC 9112 §7.1: 1*HEXDIG, then `;` or CRLF. The others take white space behind the size, a bare LF or CR, or \
         control bytes in extensions: the leaks of \"Funky Chunks\".",
    ),
    refused(
        "a trailer line is malformed",
        "RFC 9112 §7.1.2: trailers are fields, so no bare LF or CR, no folding, no control bytes. Others skip them \
         unread.",
    ),
    refused(
        "neither a path nor an absolute http URI",
        "RFC 9112 §3.2: origin form, absolute form, or `*` with OPTIONS; the authority form is for CONNECT, which is \
         for proxies. A fragment is never sent: hyper cuts it off, others pass it on (CVE-2023-45539).",
    ),
    refused("the body is too large", "RFC 9110 §15.5.14: our limit. The others wait for bytes that never come."),
    refused(
        "unsupported expectation",
        "RFC 9110 §10.1.1: a server may answer 417; the others ignore what they do not know.",
    ),
    refused(
        "the HTTP version is neither 1.0 nor 1.1",
        "RFC 9110 §15.6.6: 505 for a version that is not supported. A higher minor one should be read as 1.1 (§2.5), \
         but nobody sends it.",
    ),
    Reason {
        relation: Stricter,
        oracle: "h11",
        ours: "the head is not HTTP/1.1",
        cases: &[""],
        why: "RFC 9112 §5.2: a server may refuse folded lines, h11 unfolds them. RFC 9110 §5.5: control bytes in \
              values are invalid, h11 lets all but CR, LF and NUL pass.",
    },
    Reason {
        relation: Stricter,
        oracle: "node",
        ours: "the head is not HTTP/1.1",
        cases: &[""],
        why: "RFC 9112 §2.2, §3: single spaces in the request line, one version, CRLF. node takes several spaces, \
              other protocols' names, a bare CR in front, and a line without a version, which it takes for HTTP/0.9.",
    },
    about(
        Laxer,
        "h11",
        &["before/", "behind-body/", "line-end/", "chunk-end/", "chunks/final-twice"],
        "RFC 9112 §2.2: a server should ignore an empty line in front of a request. h11 refuses it.",
    ),
    about(
        Laxer,
        "h11",
        &["cl/"],
        "RFC 9110 §8.6: any number of digits. h11 refuses more than 20, leading zeros included.",
    ),
    about(
        Laxer,
        "",
        &["line/GET_%2fa%c2%a0b"],
        "RFC 9112 §3: bytes of 8 bits are no URI. UTF-8 in a target is handed on as it came, and frames nothing.",
    ),
    about(
        Laxer,
        "",
        &["trailer/", "trick/trailer-as-field"],
        "RFC 9110 §6.5.1: framing fields must not be in trailers. h11 and node apply the rules of the head to them; \
         we drop them.",
    ),
    about(
        Laxer,
        "hyper",
        &["target/", "byte/target"],
        "RFC 3986 §2: these marks are no part of a URI. They are handed on as they came, and frame nothing.",
    ),
    about(
        Laxer,
        "node",
        &["method/", "byte/method", "byte/line-start", "cl/", "cl-name/"],
        "RFC 9110 §9.1: a method is any token; callbacks decide. node knows a list of them, and refuses what follows \
         a body if that does not begin with one.",
    ),
    about(
        Laxer,
        "node",
        &["chunk-ext", "chunk-end/extension", "byte/extension", "trick/EXT.TERM-quoted-CRLF"],
        "RFC 9112 §7.1.1: unknown extensions are to be ignored. node holds them to their grammar; we skip any text \
         up to CRLF, as h11 and hyper do.",
    ),
    about(
        Laxer,
        "node",
        &["te/", "byte/te-end", "byte/cl-end"],
        "RFC 9110 §5.5: a tab behind a value is white space around it, and no part of it. node refuses it.",
    ),
    about(
        StaysOpen,
        "h11",
        &["cl/http10", "connection/", "expect/http10", "host10/", "version/"],
        "RFC 9112 §9.3: HTTP/1.0 with keep-alive persists. h11 always closes behind HTTP/1.0.",
    ),
    about(
        StaysOpen,
        "node",
        &["misleading/", "trailer/Connection"],
        "RFC 9110 §7.6.1: neither Proxy-Connection nor a trailer closes. For node they do.",
    ),
    about(
        ClosesFirst,
        "node",
        &["connection/"],
        "RFC 9112 §9.3: close counts before keep-alive. With HTTP/1.0 node sees the keep-alive only.",
    ),
    about(
        Differs,
        "node",
        &["upgrade/", "trick/h2c-upgrade"],
        "RFC 9110 §7.8: a server may ignore Upgrade, and then goes on in HTTP/1.1. node, without a listener for it, \
         serves the request and drops everything behind it.",
    ),
];
