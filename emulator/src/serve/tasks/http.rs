//! An asynchronous call that came through an HTTP trigger: its head, to be stored and sent later.

use std::net::IpAddr;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};

use serde::{Deserialize, Serialize};

use crate::serve::call::Outgoing;
use crate::serve::headers;

/// The head of a request to an HTTP trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCall {
    /// The method.
    pub method: String,
    /// The path and the query.
    pub uri: String,
    /// The headers of the client.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The address of the client.
    pub client: Option<IpAddr>,
}

impl HttpCall {
    /// The head of a request.
    pub fn new(method: &Method, uri: &Uri, map: &HeaderMap, client: IpAddr) -> Self {
        let mut kept = HeaderMap::new();
        headers::add_client(&mut kept, map);
        let headers = kept.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_owned())).collect();
        Self { method: method.to_string(), uri: uri.to_string(), headers, client: Some(client) }
    }

    /// The request of this head, with the id and the body of `event`.
    pub fn outgoing(&self, event: Outgoing) -> Outgoing {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            // Both were taken from a request.
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
                map.append(name, value);
            }
        }
        Outgoing {
            kind: "async http",
            method: self.method.parse().unwrap_or(Method::POST),
            uri: self.uri.parse().unwrap_or_default(),
            headers: map,
            client: self.client,
            ..event
        }
    }
}
