//! Headers on their way through the platform: its own on requests, and those of callers and containers that it drops.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::config::FunctionConfig;
use crate::platform::{Caller, Platform};

/// The id of a call.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-fc-request-id");
/// What went wrong with a function, on an answer with status 200.
pub const ERROR_TYPE: HeaderName = HeaderName::from_static("x-fc-error-type");
/// Whether a call is answered at once or later.
pub const INVOCATION_TYPE: HeaderName = HeaderName::from_static("x-fc-invocation-type");
/// How often an asynchronous call was tried before.
pub const RETRY_COUNT: HeaderName = HeaderName::from_static("x-fc-retry-count");
/// The address of the client.
pub const CLIENT_IP: HeaderName = HeaderName::from_static("x-fc-client-ip");
/// The name of the function.
const FUNCTION_NAME: HeaderName = HeaderName::from_static("x-fc-function-name");
const FUNCTION_MEMORY: HeaderName = HeaderName::from_static("x-fc-function-memory");
const FUNCTION_HANDLER: HeaderName = HeaderName::from_static("x-fc-function-handler");
/// The qualifier that the caller named.
pub const QUALIFIER: HeaderName = HeaderName::from_static("x-fc-qualifier");
/// The word of the container about a call (C-INV-3).
pub const STATUS: HeaderName = HeaderName::from_static("x-fc-status");

/// Headers that belong to one connection (RFC 9110 §7.6.1).
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A value that is known to be plain text.
pub fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The common request headers of the platform, for this function.
pub fn template(platform: &Platform, caller: Caller, config: &FunctionConfig) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(48);
    for (name, text) in platform.common_headers(caller, "") {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            map.insert(name, value(&text));
        }
    }
    for (name, text) in [
        (FUNCTION_NAME, config.name.as_str()),
        (FUNCTION_MEMORY, &config.memory_mb.to_string()),
        (FUNCTION_HANDLER, &config.handler),
    ] {
        if map.contains_key(&name) {
            map.insert(name, value(text));
        }
    }
    map
}

fn is_platform(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-fc-")
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(&name.as_str())
}

/// Adds the headers of an outside client to those of the platform. The client cannot set any of the platform's
/// (C-DISP-3).
pub fn add_client(map: &mut HeaderMap, client: &HeaderMap) {
    for (name, value) in client {
        if !is_platform(name) && !is_hop_by_hop(name) && name != hyper::header::CONTENT_LENGTH {
            map.append(name.clone(), value.clone());
        }
    }
}

/// The headers of a container that an HTTP caller sees (C-INV-4).
pub fn for_caller(container: &HeaderMap) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(container.len() + 4);
    for (name, value) in container {
        let dropped = match name.as_str() {
            "content-length" | "date" | "server" => true,
            "content-disposition" => {
                let text = value.as_bytes();
                text.len() >= 10 && text[..10].eq_ignore_ascii_case(b"attachment")
            }
            _ => is_platform(name) || is_hop_by_hop(name),
        };
        if !dropped {
            map.append(name.clone(), value.clone());
        }
    }
    map
}

/// The size of headers as they stand on the wire.
pub fn size(map: &HeaderMap) -> usize {
    map.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_client_sets_no_header_of_the_platform() {
        let mut sent = map(&[("x-fc-request-id", "ours")]);
        let client =
            map(&[("x-fc-request-id", "theirs"), ("x-fc-new", "1"), ("te", "trailers"), ("host", "h"), ("a", "b")]);
        add_client(&mut sent, &client);
        assert_eq!(sent, map(&[("x-fc-request-id", "ours"), ("host", "h"), ("a", "b")]));
    }

    #[test]
    fn a_caller_sees_no_header_of_the_connection_and_no_attachment() {
        let sent = map(&[
            ("x-fc-status", "200"),
            ("connection", "close"),
            ("content-length", "3"),
            ("date", "now"),
            ("keep-alive", "timeout=5"),
            ("server", "s"),
            ("content-disposition", "Attachment; filename=a"),
            ("content-type", "text/plain"),
            ("set-cookie", "a=b"),
        ]);
        assert_eq!(for_caller(&sent), map(&[("content-type", "text/plain"), ("set-cookie", "a=b")]));
        let inline = map(&[("content-disposition", "inline")]);
        assert_eq!(for_caller(&inline), inline);
    }
}
