//! An answer as a test reads it.

use crate::http1::chunked::Decoder;
use crate::http1::fields;
use crate::platform::headers;
use serde_core::Deserialize;

/// What came of one request: the response, and the lines of the log.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    is_cut: bool,
    log: Vec<String>,
}

impl Answer {
    /// From the bytes of a response that the server made, so nothing about it can be wrong.
    pub(super) fn parse(response: Vec<u8>, is_cut: bool, log: Vec<String>) -> Answer {
        let mut storage = Vec::new();
        let line_end = response.iter().position(|byte| *byte == b'\n').map_or(response.len(), |end| end + 1);
        let Ok(head_bytes) = fields::parse(&response, line_end, &mut storage, usize::MAX) else {
            return Answer { status: 0, headers: Vec::new(), body: Vec::new(), is_cut: true, log };
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = storage.iter().map(|header| (text(header.name), text(header.value))).collect();
        let status = text(&response[..line_end]).split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let mut answer = Answer { status, headers, body: response[head_bytes..].to_vec(), is_cut, log };
        if answer.header("transfer-encoding").is_some() {
            answer.unchunk();
        }
        answer
    }

    fn unchunk(&mut self) {
        let written = match Decoder::new().decode(&mut self.body, 0, 0, usize::MAX) {
            Ok(progress) => progress.written,
            Err(_) => 0,
        };
        self.body.truncate(written);
    }

    /// The status; 0 if the server sent no response.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Name and value of every header, also of those that the server writes.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of the first header with that name, whose case does not matter.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body, without its chunks.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// The body as a value, from JSON.
    ///
    /// # Panics
    /// If it is no JSON of this shape.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> T {
        serde_json::from_slice(&self.body).expect("a body of JSON")
    }

    /// Whether the platform counts the call as failed (C-INV-3).
    pub fn is_failed(&self) -> bool {
        self.header(headers::STATUS) == Some(headers::STATUS_FAILED)
    }

    /// Whether the response ends too early, because the author's stream failed. A client sees a reset.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The lines of the log, in order: the markers of the call, and what the server and the callbacks logged, with the
    /// level in front.
    pub fn log(&self) -> &[String] {
        &self.log
    }
}
