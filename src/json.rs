//! Writing JSON objects field by field.
//!
//! `serde_json` knows how text is escaped. Its `Value` would do the rest as well, with a tree, an allocation for each
//! name, and 14 kB for the tree and for numbers with fractions, neither of which is needed to write a few fields in
//! order.

use std::fmt::{Display, Write};

/// A JSON object or array being written. Names are the caller's own and hold nothing to escape.
pub(crate) struct Json {
    text: String,
    close: char,
    /// What stands between two fields: nothing, or a line feed for people.
    separator: &'static str,
}

impl Json {
    pub(crate) fn object() -> Json {
        Json { text: "{".to_owned(), close: '}', separator: "" }
    }

    #[cfg(any(test, feature = "inspector"))]
    pub(crate) fn array() -> Json {
        Json { text: "[".to_owned(), close: ']', separator: "" }
    }

    /// One field on each line.
    #[cfg(any(test, feature = "inspector"))]
    pub(crate) fn in_lines(mut self) -> Json {
        self.separator = "\n";
        self
    }

    /// A field whose value is JSON as it is: a number, a boolean, another object.
    #[cfg(any(test, feature = "inspector"))]
    pub(crate) fn raw(self, name: &str, value: impl Display) -> Json {
        self.put(name, &value)
    }

    pub(crate) fn text(self, name: &str, value: &str) -> Json {
        self.put(name, &quoted(value))
    }

    /// `null` where there is none.
    #[cfg(any(test, feature = "inspector"))]
    pub(crate) fn maybe_text(self, name: &str, value: Option<&str>) -> Json {
        match value {
            Some(value) => self.text(name, value),
            None => self.put(name, &"null"),
        }
    }

    /// An element of an array.
    #[cfg(any(test, feature = "inspector"))]
    pub(crate) fn element(mut self, value: &str) -> Json {
        self.separate();
        self.text.push_str(value);
        self
    }

    pub(crate) fn end(mut self) -> String {
        self.text.push(self.close);
        self.text
    }

    fn put(mut self, name: &str, value: &dyn Display) -> Json {
        self.separate();
        self.text.push_str(&quoted(name));
        // Writing to a String does not fail; a Display that does has written what it could.
        let _ = write!(self.text, ":{value}");
        self
    }

    fn separate(&mut self) {
        if self.text.len() > 1 {
            self.text.push(',');
            self.text.push_str(self.separator);
        }
    }
}

/// A JSON string.
pub(crate) fn quoted(text: &str) -> String {
    // Serialising text to memory has nothing to fail with.
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_is_written_is_json() {
        let inner = Json::array().element("1").element(&quoted("\"\n\u{1}ä")).end();
        let text = Json::object()
            .in_lines()
            .raw("number", -7)
            .raw("flag", true)
            .text("text", "a \"quote\" \\ \u{7f}\u{2028}")
            .maybe_text("noText", None)
            .maybe_text("someText", Some(""))
            .text("a \"name\"", "")
            .raw("inner", inner)
            .raw("empty", Json::object().end())
            .end();
        let expected = json!({
            "number": -7, "flag": true, "text": "a \"quote\" \\ \u{7f}\u{2028}", "noText": null,
            "someText": "", "a \"name\"": "", "inner": [1, "\"\n\u{1}ä"], "empty": {},
        });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }
}
