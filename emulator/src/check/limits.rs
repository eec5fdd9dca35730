//! LIM and HDR: what the platform lets through, the target must take; what it would cut, the
//! target must not send.

use std::time::Instant;

use super::context::{CheckContext, success};
use super::invoke::answers;
use super::{Check, Severity, Stop, Verdict, blocked, fail};
use crate::http::Response;
use crate::instance::Instance;

/// The most that response headers may take.
const RESPONSE_HEAD_BYTES_MAX: usize = 8 * 1024;

/// What a client may send in headers, beside the platform's own.
const REQUEST_HEADER_BYTES: usize = 8 * 1024 - 256;

/// What a client may send as path with query.
const TARGET_BYTES: usize = 4 * 1024 - 16;

pub const CHECKS: &[Check] = &[
    Check {
        id: "response-headers",
        rule: "C-LIM",
        severity: Severity::Must,
        needs: &["invoke"],
        request: "a call, every hook and an HTTP call",
        expected: "at most 8 KB of headers in each answer",
        fix: "send less in headers: beyond 8 KB the platform answers 502 instead",
        run: response_headers,
    },
    Check {
        id: "request-headers",
        rule: "C-LIM",
        severity: Severity::Must,
        needs: &["http-call"],
        request: "an HTTP call with 8 KB of a client's headers beside the platform's own",
        expected: "the same answer as without them",
        fix: "raise the server's limits for headers to 16 KB or more",
        run: request_headers,
    },
    Check {
        id: "request-target",
        rule: "C-LIM",
        severity: Severity::Must,
        needs: &["http-call"],
        request: "an HTTP call with a query of 4 KB",
        expected: "the same answer as without it",
        fix: "raise the server's limit for the request line to 8 KB",
        run: request_target,
    },
    Check {
        id: "header-case",
        rule: "C-HDR",
        severity: Severity::Must,
        needs: &["invoke"],
        request: "a call with all header names in lower case, then in upper case",
        expected: "2xx, as in any other case",
        fix: "compare header names without regard to case",
        run: header_case,
    },
];

fn response_headers(context: &CheckContext<'_>) -> Verdict {
    let instance = context.initialized()?;
    let mut all = answers(context, &instance)?;
    let (line, response) = http(context, &instance, "", &[])?;
    all.push((line, response));
    let largest = all.into_iter().max_by_key(|(_, response)| response.head_bytes);
    let Some((line, response)) = largest else { return Err(Stop::Cannot("there was no answer".into())) };
    let came = format!("at most {} bytes ({line})", response.head_bytes);
    if response.head_bytes <= RESPONSE_HEAD_BYTES_MAX { Ok(came) } else { fail(came) }
}

/// The configured HTTP call, with more in its query or headers.
fn http(
    context: &CheckContext<'_>,
    instance: &Instance,
    query: &str,
    headers: &[(&str, &str)],
) -> Result<(String, Response), Stop> {
    let path = &context.plan.http_path;
    let mark = if query.is_empty() { "" } else { "?" };
    // HEAD would have to be read differently; what is asked here does not depend on the method.
    let method = if context.plan.http_method == "HEAD" { "GET" } else { &context.plan.http_method };
    let target = if path.contains('?') { path.clone() } else { format!("{path}{mark}{query}") };
    let request = instance.platform.http(method, &target, headers, Vec::new());
    let response = instance.send(&request).map_err(Stop::Fail)?;
    Ok((format!("{method} {path}"), response))
}

/// Whether the larger request is refused where the smaller is not.
fn compare(context: &CheckContext<'_>, query: &str, headers: &[(&str, &str)]) -> Verdict {
    let instance = context.initialized()?;
    let small = match http(context, &instance, "", &[]) {
        Ok((_, small)) => small,
        Err(Stop::Fail(why)) => return blocked("http-call", why),
        Err(stop) => return Err(stop),
    };
    let (_, large) = http(context, &instance, query, headers)?;
    let came = format!("{} instead of {}", large.status, small.status);
    let refused = matches!(large.status, 400 | 413 | 414 | 431) || large.status >= 500;
    if refused && large.status != small.status { fail(came) } else { Ok(format!("{}", large.status)) }
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
    Ok("2xx in both".into())
}

/// The head with each header name changed; the request line stays.
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
