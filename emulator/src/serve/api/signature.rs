//! The signature of a request, as the official clients make it: `ACS3-HMAC-SHA256`.
//!
//! The list of signed headers decides which are looked at: one client signs all of its own, another only some. Two
//! clients sign something else than they send, in a few cases; such a signature is told from a wrong one where that can
//! be seen.

use hmac::{Hmac, Mac};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName};
use hyper::http::request::Parts;
use sha2::{Digest, Sha256};

use super::pairs;

/// The name of the method.
const METHOD: &str = "ACS3-HMAC-SHA256";
/// The header with the digest of the body.
const BODY_DIGEST: &str = "x-acs-content-sha256";

/// A key that callers sign with.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl std::str::FromStr for AccessKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((id, secret)) if !id.is_empty() && !secret.is_empty() => {
                Ok(Self { id: id.to_owned(), secret: secret.to_owned() })
            }
            _ => Err("expected ID:SECRET".to_owned()),
        }
    }
}

/// The parts of an `Authorization` header.
#[derive(Debug, PartialEq, Eq)]
struct Authorization<'a> {
    key: &'a str,
    signed: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix(METHOD)?.strip_prefix(' ')?;
        let (mut key, mut signed, mut signature) = (None, None, None);
        for part in rest.split(',') {
            match part.trim().split_once('=')? {
                ("Credential", value) => key = Some(value),
                ("SignedHeaders", value) => signed = Some(value.split(';').collect()),
                ("Signature", value) => signature = Some(value),
                _ => return None,
            }
        }
        Some(Self { key: key?, signed: signed?, signature: signature? })
    }
}

/// Whether the signature of a request fits to it and to the key. Without a key only what can be seen without one is
/// checked: that there is a signature, and that it is about this body.
///
/// # Errors
/// If it does not fit, with the cause in words.
pub fn verify(parts: &Parts, body: &[u8], key: Option<&AccessKey>) -> Result<(), String> {
    let Some(header) = parts.headers.get(AUTHORIZATION) else {
        return Err("the request has no signature: there is no Authorization header".to_owned());
    };
    let header = header.to_str().map_err(|_| "the Authorization header is no text".to_owned())?;
    let Some(found) = Authorization::parse(header) else {
        return Err(format!("the Authorization header is not of the form {METHOD} Credential=…,SignedHeaders=…"));
    };
    let digest = hex(&Sha256::digest(body));
    let said = text(&parts.headers, BODY_DIGEST);
    if said != digest {
        return Err(format!("the header {BODY_DIGEST} is not the digest of the body, which is {digest}"));
    }
    let Some(key) = key else { return Ok(()) };
    if found.key != key.id {
        return Err(format!("the key {} is not the one of `--access-key`, {}", found.key, key.id));
    }
    let canonical = canonical(parts, &found.signed, &digest);
    let to_sign = format!("{METHOD}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let wrong = || Err(reason(parts, &found.signed));
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.secret.as_bytes()) else { return wrong() };
    mac.update(to_sign.as_bytes());
    match unhex(found.signature) {
        Some(signature) if mac.verify_slice(&signature).is_ok() => Ok(()),
        _ => wrong(),
    }
}

fn canonical(parts: &Parts, signed: &[&str], digest: &str) -> String {
    let mut query = pairs(parts.uri.query().unwrap_or_default());
    query.sort();
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let headers: String = signed.iter().map(|name| format!("{name}:{}\n", text(&parts.headers, name))).collect();
    let (method, path) = (&parts.method, parts.uri.path());
    format!("{method}\n{path}\n{}\n{headers}\n{}\n{digest}", query.join("&"), signed.join(";"))
}

/// The values of a header, trimmed. A client joins several by commas.
fn text(map: &HeaderMap, name: &str) -> String {
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { return String::new() };
    let values = map.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned());
    values.collect::<Vec<_>>().join(",")
}

/// Why a signature may not fit: cases in which official clients sign something else than they send.
fn reason(parts: &Parts, signed: &[&str]) -> String {
    let ascii = |name: &&str| text(&parts.headers, name).is_ascii();
    if !signed.iter().all(ascii) {
        return "the signature does not fit, and a signed header is not ASCII, which the Python client signs in another \
                encoding than it sends"
            .to_owned();
    }
    if parts.uri.path().contains(['\'', '(', ')', '!', '*']) {
        return "the signature does not fit, and the path has a character that the Node.js client signs in another form \
                than it sends"
            .to_owned();
    }
    "the signature does not fit: wrong secret, a change on the way, or one of the headers Content-Type, Accept and \
     User-Agent set by hand with capital letters, which the clients sign in another form than they send"
        .to_owned()
}

/// Encodes as RFC 3986 does.
fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|value| value as u8)).collect();
    let digits = digits?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    /// A request as the Python client signed it with dummy keys.
    fn signed(change: impl FnOnce(&mut Parts)) -> Parts {
        let names = "accept;content-type;host;user-agent;x-acs-action;x-acs-content-sha256;x-acs-credentials-provider;\
                     x-acs-date;x-acs-signature-nonce;x-acs-version;x-fc-log-type";
        let signature = "5b987c621a93444f1b9aac6b7c13b82d835e40a00659820a206abebea5bc891b";
        let request = Request::post("/2023-03-30/functions/my-func/invocations?qualifier=prod+1")
            .header("accept", "application/json")
            .header("content-type", "application/octet-stream")
            .header("host", "127.0.0.1:18080")
            .header("user-agent", "AlibabaCloud (Linux; x86_64) Python/3.11.7 Core/0.4.3 TeaDSL/2")
            .header("x-acs-action", "InvokeFunction")
            .header(BODY_DIGEST, "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862")
            .header("x-acs-credentials-provider", "static_ak")
            .header("x-acs-date", "2026-01-02T03:04:05Z")
            .header("x-acs-signature-nonce", "0123456789abcdef0123456789abcdef")
            .header("x-acs-version", "2023-03-30")
            .header("x-fc-log-type", "Tail")
            .header("content-length", "7")
            .header(AUTHORIZATION, format!("{METHOD} Credential=AKDUMMY,SignedHeaders={names},Signature={signature}"));
        let mut parts = request.body(()).unwrap().into_parts().0;
        change(&mut parts);
        parts
    }

    fn key(text: &str) -> AccessKey {
        text.parse().unwrap()
    }

    #[test]
    fn the_signature_of_a_client_fits_and_a_changed_request_does_not() {
        let (ours, body) = (key("AKDUMMY:SKDUMMY"), br#"{"a":1}"#);
        assert_eq!(verify(&signed(|_| ()), body, Some(&ours)), Ok(()));
        assert_eq!(verify(&signed(|parts| drop(parts.headers.remove("content-length"))), body, Some(&ours)), Ok(()));
        let told = |parts: Parts, body: &[u8], key: Option<&AccessKey>| verify(&parts, body, key).unwrap_err();
        let other_query = |parts: &mut Parts| parts.uri = "/2023-03-30/functions/my-func/invocations".parse().unwrap();
        assert!(told(signed(other_query), body, Some(&ours)).contains("does not fit"));
        let other_header = |parts: &mut Parts| drop(parts.headers.insert("x-fc-log-type", "None".parse().unwrap()));
        assert!(told(signed(other_header), body, Some(&ours)).contains("does not fit"));
        assert!(told(signed(|_| ()), b"{}", None).contains("digest of the body"));
        assert!(told(signed(|_| ()), body, Some(&key("AKDUMMY:other"))).contains("wrong secret"));
        assert!(told(signed(|_| ()), body, Some(&key("other:SKDUMMY"))).contains("AKDUMMY is not the one"));
        assert!(told(signed(|parts| drop(parts.headers.remove(AUTHORIZATION))), body, None).contains("no signature"));
        let odd = |parts: &mut Parts| drop(parts.headers.insert(AUTHORIZATION, "Basic x".parse().unwrap()));
        assert!(told(signed(odd), body, None).contains("not of the form"));
        assert_eq!(verify(&signed(|_| ()), body, None), Ok(()), "without a key, the form and the body are checked");
    }

    #[test]
    fn a_key_has_an_id_and_a_secret_that_is_not_shown() {
        assert!("a".parse::<AccessKey>().is_err() && ":b".parse::<AccessKey>().is_err());
        assert!(!format!("{:?}", key("id:hidden")).contains("hidden"));
        assert_eq!((unhex("0aFf"), unhex("0"), unhex("zz")), (Some(vec![10, 255]), None, None));
        assert_eq!(encoded("a b*/~ü"), "a%20b%2A%2F~%C3%BC");
    }
}
