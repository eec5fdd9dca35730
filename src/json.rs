//! A writer for JSON objects, field by field.
//!
//! `serde_json` escapes the text. Its `Value` could do the rest too, but it adds 14 kB for a tree and for numbers with
//! fractions, and an allocation for each name. A few fields in a fixed order need none of that.

#[cfg(any(test, feature = "inspector"))]
use std::fmt::Display;
#[cfg(any(test, feature = "inspector"))]
use std::io::Write;

/// An unfinished JSON object or array.
pub(crate) struct Json {
    text: Vec<u8>,
    close: u8,
    /// Follows the comma between two fields: nothing, or a line feed for people.
    separator: &'static [u8],
}

/// Most documents fit in one allocation of this size.
const BYTES_USUAL: usize = 256;

impl Json {
    pub(crate) fn object() -> Json {
        Json::open(b'{', b'}')
    }

    #[cfg(any(test, feature = "inspector"))]
    pub(crate) fn array() -> Json {
        Json::open(b'[', b']')
    }

    fn open(open: u8, close: u8) -> Json {
        let mut text = Vec::with_capacity(BYTES_USUAL);
        text.push(open);
        Json { text, close, separator: b"" }
    }

    /// Puts each field on a line of its own.
    #[cfg(any(test, feature = "inspector"))]
    pub(crate) fn in_lines(mut self) -> Json {
        self.separator = b"\n";
        self
    }

    /// A field whose value is JSON already: a number, a boolean, another object.
    #[cfg(any(test, feature = "inspector"))]
    pub(crate) fn raw(mut self, name: &str, value: impl Display) -> Json {
        self.name(name);
        // Writing to memory does not fail. A `Display` that fails has written what it could.
        let _ = write!(self.text, "{value}");
        self
    }

    pub(crate) fn text(mut self, name: &str, value: &str) -> Json {
        self.name(name);
        self.quoted(value);
        self
    }

    /// A field with a text, or with `null`.
    #[cfg(any(test, feature = "inspector"))]
    pub(crate) fn maybe_text(self, name: &str, value: Option<&str>) -> Json {
        match value {
            Some(value) => self.text(name, value),
            None => self.raw(name, "null"),
        }
    }

    /// An element of an array.
    #[cfg(any(test, feature = "inspector"))]
    pub(crate) fn element(mut self, value: &str) -> Json {
        self.separate();
        self.text.extend_from_slice(value.as_bytes());
        self
    }

    pub(crate) fn end(mut self) -> String {
        self.text.push(self.close);
        // Only whole strings and their escapes were written.
        String::from_utf8(self.text).unwrap_or_default()
    }

    /// Names are our own, or those of headers: none has a character that needs an escape.
    fn name(&mut self, name: &str) {
        self.separate();
        self.unescaped(name);
        self.text.push(b':');
    }

    fn quoted(&mut self, text: &str) {
        if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
            // Serialising text to memory does not fail.
            let _ = serde_json::to_writer(&mut self.text, text);
            return;
        }
        self.unescaped(text);
    }

    /// The buffer grows at most once.
    #[inline(always)]
    fn unescaped(&mut self, text: &str) {
        self.text.reserve(text.len() + 3);
        self.text.push(b'"');
        self.text.extend_from_slice(text.as_bytes());
        self.text.push(b'"');
    }

    #[inline(always)]
    fn separate(&mut self) {
        if self.text.len() > 1 {
            self.text.push(b',');
            if !self.separator.is_empty() {
                self.text.extend_from_slice(self.separator);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_is_written_is_json() {
        let inner = Json::array().element("1").element(&Json::array().element("2").end()).end();
        let text = Json::object()
            .in_lines()
            .raw("number", -7)
            .raw("flag", true)
            .text("text", "a \"quote\" \\ \n\u{1}ä\u{7f}\u{2028}")
            .maybe_text("noText", None)
            .maybe_text("someText", Some(""))
            .raw("inner", inner)
            .raw("empty", Json::object().end())
            .end();
        let expected = json!({
            "number": -7, "flag": true, "text": "a \"quote\" \\ \n\u{1}ä\u{7f}\u{2028}", "noText": null,
            "someText": "", "inner": [1, [2]], "empty": {},
        });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }
}
