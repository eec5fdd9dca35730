//! LIM and HDR: the target must accept what the platform lets through, and must not send what the platform would cut.

use std::time::Instant;

use super::context::{CheckContext, success};
use super::invoke::answers;
use super::{Check, Severity, Stop, Verdict, blocked, fail};
use crate::http::Response;
use crate::instance::Instance;

/// Response headers may have this many bytes (C-LIM-5).
const RESPONSE_HEAD_BYTES_MAX: usize = 8 * 1024;

/// A client may send this many bytes of headers beside those of the platform (C-LIM-1).
const REQUEST_HEADER_BYTES: usize = 8 * 1024 - 256;

/// A client may send this many bytes as path with query (C-LIM-2).
const TARGET_BYTES: usize = 4 * 1024 - 16;

pub const CHECKS: &[Check] = &[
    Check {
        id: "response-headers",
        rule: "C-LIM-5",
        severity: Severity::Must,
        needs: &["invoke"],
        request: "a call, every hook and an HTTP call",
        expected: "at most 8 KB of headers in each answer",
        fix: "send fewer bytes in headers: beyond 8 KB the platform answers 502 in place of the target",
        run: response_headers,
    },
    Check {
        id: "request-headers",
        rule: "C-LIM-1",
        severity: Severity::Must,
        needs: &["http-call"],
        request: "an HTTP call with 8 KB of headers of a client beside those of the platform",
        expected: "the same answer as without them",
        fix: "raise the limit of the server for request headers to 16 KB or more",
        run: request_headers,
    },
    Check {
        id: "request-target",
        rule: "C-LIM-2",
        severity: Severity::Must,
        needs: &["http-call"],
        request: "an HTTP call with a query of 4 KB",
        expected: "the same answer as without it",
        fix: "raise the limit of the server for the request line to 8 KB",
        run: request_target,
    },
    Check {
        id: "header-case",
        rule: "C-HDR-1",
        severity: Severity::Must,
        needs: &["invoke"],
        request: "a call with all header names in lower case, then in upper case",
        expected: "2xx for both",
        fix: "ignore the case of header names when you compare them",
        run: header_case,
    },
];

fn response_headers(context: &CheckContext<'_>) -> Verdict {
    let instance = context.initialized()?;
    let mut all = answers(context, &instance)?;
    let (line, response) = http(context, &instance, "", &[])?;
    all.push((line, response));
    let largest = all.into_iter().max_by_key(|(_, response)| response.head_bytes);
    let Some((line, response)) = largest else { return Err(Stop::Untested("there was no answer".into())) };
    let actual = format!("at most {} bytes ({line})", response.head_bytes);
    if response.head_bytes <= RESPONSE_HEAD_BYTES_MAX { Ok(actual) } else { fail(actual) }
}

/// Sends the configured HTTP call with a longer query or more headers.
fn http(
    context: &CheckContext<'_>,
    instance: &Instance,
    query: &str,
    headers: &[(&str, &str)],
) -> Result<(String, Response), Stop> {
    let path = &context.plan.http_path;
    let mark = if query.is_empty() { "" } else { "?" };
    // An answer to HEAD has no body and is read differently; these limits do not depend on the method.
    let method = if context.plan.http_method == "HEAD" { "GET" } else { &context.plan.http_method };
    let target = if path.contains('?') { path.clone() } else { format!("{path}{mark}{query}") };
    let request = instance.platform.http(method, &target, headers, Vec::new());
    let response = instance.send(&request).map_err(Stop::Fail)?;
    Ok((format!("{method} {path}"), response))
}

/// Fails if the target refuses the larger request and not the smaller one.
pub fn compare(context: &CheckContext<'_>, query: &str, headers: &[(&str, &str)]) -> Verdict {
    let instance = context.initialized()?;
    let small = match http(context, &instance, "", &[]) {
        Ok((_, small)) => small,
        Err(Stop::Fail(why)) => return blocked("http-call", why),
        Err(stop) => return Err(stop),
    };
    let (_, large) = http(context, &instance, query, headers)?;
    let actual = format!("{} in place of {}", large.status, small.status);
    let refused = matches!(large.status, 400 | 413 | 414 | 431) || large.status >= 500;
    if refused && large.status != small.status { fail(actual) } else { Ok(format!("{}", large.status)) }
}

fn request_headers(context: &CheckContext<'_>) -> Verdict {
    let value = "h".repeat(REQUEST_HEADER_BYTES / 8 - 16);
    let names: Vec<String> = (1..=8).map(|number| format!("X-Client-{number}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
    compare(context, "", &headers)
}

fn request_target(context: &CheckContext<'_>) -> Verdict {
    let taken = context.plan.http_path.len() + "?q=".len();
    let query = format!("q={}", "t".repeat(TARGET_BYTES.saturating_sub(taken)));
    compare(context, &query, &[])
}

/// Another spelling of a header name.
type Respell = fn(&str) -> String;

fn header_case(context: &CheckContext<'_>) -> Verdict {
    let instance = context.initialized()?;
    context.invoke(&instance)?;
    let cases: [(&str, Respell); 2] =
        [("lower case", str::to_ascii_lowercase), ("upper case", str::to_ascii_uppercase)];
    for (name, change) in cases {
        let mut request = context.request(&instance);
        request.head = change_names(&request.head, change);
        success(name, Instant::now(), instance.send(&request))?;
    }
    Ok("2xx for both".into())
}

/// The head with each header name respelt. The request line stays as it is.
fn change_names(head: &[u8], change: Respell) -> Vec<u8> {
    let text = String::from_utf8_lossy(head);
    let lines = text.split("\r\n").enumerate().map(|(number, line)| match line.split_once(':') {
        Some((name, value)) if number > 0 => format!("{}:{value}", change(name)),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_change() {
        let head = b"POST /Invoke:x HTTP/1.1\r\nHost: A\r\nX-Fc-Id: B:C\r\n\r\n";
        let changed = String::from_utf8(change_names(head, str::to_ascii_lowercase)).unwrap();
        assert_eq!(changed, "POST /Invoke:x HTTP/1.1\r\nhost: A\r\nx-fc-id: B:C\r\n\r\n");
    }
}
