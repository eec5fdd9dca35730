//! What clients may send through an HTTP trigger: HEAD, and headers of sessions with any name.

use std::time::Duration;

use super::context::CheckContext;
use super::limits::compare;
use super::{Check, Severity, Stop, Verdict, fail};

/// The bytes of a body that should not be there arrive within this time.
const SURPLUS_WAIT: Duration = Duration::from_millis(50);

/// A session header has a name of 5 to 40 characters and a value of up to 64, from these letters (C-SES-2).
const SESSION_HEADERS: [(&str, &str); 4] = [
    ("s-_09", "7"),
    ("My_Session-0123456789_abcdefghij-ABCDE_9", "a0123456789_abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXY"),
    ("Session_Affinity-", "_x-"),
    ("Mcp-Session-Id", "0f8fad5b-d9cb-469f-a165-70867728950e"),
];

pub const CHECKS: &[Check] = &[
    Check {
        id: "head-without-body",
        rule: "C-CONN-4",
        severity: Severity::Must,
        needs: &["http-call"],
        request: "HEAD of the path of an HTTP call (--http or --http-beside-events)",
        expected: "an answer that ends with its head",
        fix: "send no body in an answer to HEAD: the client takes its bytes for the next answer",
        run: head_without_body,
    },
    Check {
        id: "session-header",
        rule: "C-SES-2",
        severity: Severity::Must,
        needs: &["http-call"],
        request: "an HTTP call with session headers whose names have letters, digits, `-` and `_`",
        expected: "the same answer as without them",
        fix: "accept headers of any name and ignore those that you do not know; users choose the name of this one",
        run: session_header,
    },
];

fn head_without_body(context: &CheckContext<'_>) -> Verdict {
    let instance = context.initialized()?;
    let request = instance.platform.http("HEAD", &context.plan.http_path, &[], Vec::new());
    let deadline = instance.call_deadline();
    let mut conn = instance.conn().map_err(Stop::Fail)?;
    conn.send(&request.bytes(), deadline).map_err(Stop::Fail)?;
    let response = conn.read_head_only(deadline).map_err(|why| Stop::Fail(format!("{}: {why}", request.line)))?;
    let actual = format!("{}: {}", request.line, response.status);
    match conn.surplus(SURPLUS_WAIT) {
        None => Ok(actual),
        Some(surplus) => fail(format!("{actual}, and behind its head {surplus}")),
    }
}

fn session_header(context: &CheckContext<'_>) -> Verdict {
    compare(context, "", &SESSION_HEADERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_headers_keep_the_rule_for_their_names() {
        for (name, value) in SESSION_HEADERS {
            let sound = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            assert!((5..=40).contains(&name.len()) && name.starts_with(|c: char| c.is_ascii_alphabetic()), "{name}");
            assert!(name.chars().all(sound) && value.chars().all(sound), "{name}: {value}");
            assert!((1..=64).contains(&value.len()) && !value.starts_with('-'), "{name}: {value}");
        }
    }
}
