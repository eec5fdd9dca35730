//! A request as a test writes it.

use serde_core::Serialize;

/// A request for [`Instance::call`](super::Instance::call). `Host` and `Content-Length` are added to it.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request with this method and this path, which may have a query.
    pub fn new(method: &str, target: &str) -> Request {
        Request { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// `GET` of this path, which may have a query: `/stock?item=tea`.
    pub fn get(target: &str) -> Request {
        Request::new("GET", target)
    }

    /// `POST` to this path.
    pub fn post(target: &str) -> Request {
        Request::new("POST", target)
    }

    /// `PUT` to this path.
    pub fn put(target: &str) -> Request {
        Request::new("PUT", target)
    }

    /// `DELETE` of this path.
    pub fn delete(target: &str) -> Request {
        Request::new("DELETE", target)
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a header if there is none of this name.
    pub(super) fn or_header(self, name: &str, value: &str) -> Request {
        if self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            self
        } else {
            self.header(name, value)
        }
    }

    /// Sets the body.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Request {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Sets the body to a value, as JSON.
    ///
    /// # Panics
    /// If the value cannot be JSON.
    pub fn json(self, value: &(impl Serialize + ?Sized)) -> Request {
        self.body(serde_json::to_vec(value).expect("a value that can be JSON")).or_header("content-type", JSON)
    }

    /// The bytes as a client sends them.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        let Request { method, target, headers, body } = self;
        out.extend_from_slice(format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n").as_bytes());
        for (name, value) in headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        out.extend_from_slice(body);
    }
}

const JSON: &str = "application/json";
