//! The answers that the adapter gives itself: failures, and the answers of hooks. Pure.

use crate::adapter::gate::HookAnswer;
use crate::function::panic::error_json;
use crate::http1::response_head::{self, BodyEnd, ConnectionHeader, ResponseHead};
use crate::platform::headers;

/// The header line that says what becomes of the connection.
pub(crate) fn connection(keep: bool, http10: bool) -> ConnectionHeader {
    match (keep, http10) {
        (false, _) => ConnectionHeader::Close,
        (true, true) => ConnectionHeader::KeepAlive,
        (true, false) => ConnectionHeader::Omit,
    }
}

/// Appends a whole answer that tells of a failure.
#[cold]
pub(crate) fn write_failure(
    out: &mut Vec<u8>,
    status: u16,
    kind: &str,
    cause: &str,
    connection: ConnectionHeader,
    with_body: bool,
) {
    write(out, status, true, "application/json", &error_json(cause, kind), connection, with_body);
}

/// Appends the answer of a hook: 200 or 404, whatever the program or the command has said (C-STAT-1).
#[cold]
pub(crate) fn write_hook_answer(out: &mut Vec<u8>, answer: &HookAnswer, connection: ConnectionHeader, with_body: bool) {
    let is_text = std::str::from_utf8(&answer.body).is_ok();
    let kind = if is_text { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    let status = if answer.succeeded { 200 } else { 404 };
    write(out, status, !answer.succeeded, kind, &answer.body, connection, with_body);
}

fn write(
    out: &mut Vec<u8>,
    status: u16,
    failed: bool,
    content_type: &str,
    body: &[u8],
    connection: ConnectionHeader,
    with_body: bool,
) {
    let end = BodyEnd::Length(body.len() as u64);
    let head = ResponseHead { status, extra_lines: headers::status_line(failed), end, connection };
    response_head::write_head(out, &head, Some(content_type), std::iter::empty());
    if with_body {
        out.extend_from_slice(body);
    }
}
