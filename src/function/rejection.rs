//! The reply to a request that no callback sees, because it breaks HTTP or a limit.

use crate::function::panic::error_json;
use crate::http1::error::ProtocolError;
use crate::http1::response_head::{self, BodyEnd, ConnectionHeader, ResponseHead};
use crate::platform::headers;

/// Appends the whole reply; without its content for HEAD (RFC 9110 §9.3.2). The connection closes after it.
pub(crate) fn write_rejection(out: &mut Vec<u8>, error: ProtocolError, with_content: bool) {
    write_rejection_of(out, error.status(), error.message(), with_content);
}

/// As [`write_rejection`], for a rule that only one engine has.
pub(crate) fn write_rejection_of(out: &mut Vec<u8>, status: u16, message: &str, with_content: bool) {
    let body = error_json(message, "ProtocolError");
    let head = ResponseHead {
        status,
        extra_lines: headers::status_line(true),
        end: BodyEnd::Length(body.len() as u64),
        connection: ConnectionHeader::Close,
    };
    response_head::write_head(out, &head, Some("application/json"), std::iter::empty());
    if with_content {
        out.extend_from_slice(&body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(error: ProtocolError, with_content: bool) -> String {
        let mut out = Vec::new();
        write_rejection(&mut out, error, with_content);
        String::from_utf8(out).unwrap()
    }

    /// The length is right and the body is JSON, for every kind of status.
    #[test]
    fn rejections_are_whole() {
        use ProtocolError::*;
        for error in [BareLineFeed, TargetTooLong, HeadTooLarge, BodyTooLarge, UnknownCoding, Version, BodyTimeout] {
            let whole = text(error, true);
            let (head, body) = whole.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {} ", error.status())), "{head}");
            assert!(head.contains("\r\nx-fc-status: 404\r\n") && head.contains("\r\nconnection: close\r\n"), "{head}");
            assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
            let json: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(json["errorMessage"], error.message());
            assert_eq!(text(error, false), format!("{head}\r\n\r\n"));
        }
    }
}
