//! One call, from its request to its answer: a lease, an exchange, the limits, and a record of it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, UPGRADE, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use tokio::time::Instant;

use super::body::{BodyEnd, LeasedBody};
use super::core::{Event, Found, InstanceId, Phase, Time, Wish};
use super::exchange::{self, Broken};
use super::fault::Fault;
use super::function::{Function, Lease};
use super::headers;
use super::hooks::{AGENT, HOST_VALUE};
use super::journal::{CallRecord, millis};
use super::worker::Sender1;
use crate::platform::ids;

/// A request has at most this many bytes of headers (LIM).
pub const HEADER_BYTES_MAX: usize = 8 * 1024;
/// A path with its query has at most this many bytes (LIM).
pub const PATH_BYTES_MAX: usize = 4 * 1024;
/// The body of a synchronous call has at most this size (LIM).
pub const SYNC_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long to look for the exit of an instance that broke its connection.
const EXIT_LOOKS: u32 = 40;
const EXIT_LOOK_PAUSE: Time = Time::from_millis(5);

/// Where a call is sent: the number of the instance and its name, once it has one.
pub type Place = Arc<OnceLock<(InstanceId, String)>>;

/// A call, ready to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The request id.
    pub id: String,
    /// `http`, `event`, `async` or `async http`.
    pub kind: &'static str,
    /// The method.
    pub method: Method,
    /// The path and the query.
    pub uri: Uri,
    /// The headers of the client, or none for an event.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The session.
    pub session: Option<String>,
    /// How often an asynchronous call was tried before.
    pub tries: u32,
    /// The qualifier, such as `LATEST`.
    pub qualifier: Option<String>,
    /// The address of the client.
    pub client: Option<std::net::IpAddr>,
    /// Is told the instance of the call.
    pub place: Option<Place>,
}

impl Outgoing {
    /// A call with an event (C-INV-1).
    pub fn event(id: String, kind: &'static str, body: Bytes) -> Self {
        Self {
            id,
            kind,
            method: Method::POST,
            uri: Uri::from_static("/invoke"),
            headers: HeaderMap::new(),
            body,
            session: None,
            tries: 0,
            qualifier: None,
            client: None,
            place: None,
        }
    }

    fn is_asynchronous(&self) -> bool {
        self.kind.starts_with("async")
    }

    fn into_request(self, lease: &Lease) -> Request<Full<Bytes>> {
        let is_http = self.kind.ends_with("http");
        let mut map = match is_http {
            true => lease.worker.http_headers.clone(),
            false => lease.worker.event_headers.clone(),
        };
        map.insert(headers::REQUEST_ID, headers::value(&self.id));
        if self.tries > 0 || self.is_asynchronous() {
            map.insert(headers::RETRY_COUNT, HeaderValue::from(self.tries));
        }
        if let Some(qualifier) = &self.qualifier {
            map.insert(headers::QUALIFIER, headers::value(qualifier));
        }
        if let (true, Some(client)) = (is_http, self.client) {
            map.insert(headers::CLIENT_IP, headers::value(&client.to_string()));
        }
        headers::add_client(&mut map, &self.headers);
        if !is_http {
            map.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            map.insert(USER_AGENT, AGENT);
        }
        map.entry(HOST).or_insert(HOST_VALUE);
        if !self.body.is_empty() || !self.method.is_safe() {
            map.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        }
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = map;
        request
    }
}

/// The answer of an instance.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, as the instance sent them.
    pub headers: HeaderMap,
    /// Its body, which holds the instance until it ends.
    pub body: LeasedBody,
}

impl Answer {
    /// Whether the function says that the call failed (C-INV-3).
    pub fn has_failed(&self) -> bool {
        self.headers.get(headers::STATUS).is_some_and(|status| status.as_bytes() != b"200")
    }
}

/// What is known of a call before its answer. [`Ticket::close`] records the call.
pub struct Ticket {
    record: CallRecord,
    began: Time,
    found: Option<Found>,
}

impl Ticket {
    fn new(function: &Function, call: &Outgoing) -> Self {
        let began = function.shared.now();
        let record = CallRecord {
            seq: 0,
            request: call.id.clone(),
            function: function.config.name.clone(),
            instance: None,
            kind: call.kind,
            line: format!("{} {}", call.method, call.uri),
            status: 0,
            error: None,
            at_ms: millis(began),
            waited_ms: 0.0,
            took_ms: 0.0,
            found: None,
        };
        Self { record, began, found: None }
    }

    /// Records the call.
    pub fn close(mut self, function: &Function, status: u16, error: Option<String>) {
        let took = function.shared.now().saturating_sub(self.began);
        self.record.status = status;
        self.record.error = error;
        self.record.took_ms = millis(took);
        function.shared.journal.call(self.record, self.found, took);
    }
}

/// A new request id of a function.
pub fn new_id(function: &Function) -> String {
    ids::request_id(function.config.setup.settings.ids)
}

/// Checks the sizes that the platform limits (LIM).
///
/// # Errors
/// If one is too large.
pub fn check_head(uri: &Uri, map: &HeaderMap) -> Result<(), Fault> {
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    if path > PATH_BYTES_MAX {
        let text = format!("the path and the query have {path} bytes, more than {PATH_BYTES_MAX}");
        return Err(Fault::BadRequest(text));
    }
    let size = headers::size(map);
    if size > HEADER_BYTES_MAX {
        return Err(Fault::BadRequest(format!("the headers have {size} bytes, more than {HEADER_BYTES_MAX}")));
    }
    Ok(())
}

/// Sends a call to an instance, and returns its answer. The call is recorded when the body of the answer ends.
///
/// # Errors
/// If there is no answer of an instance.
pub async fn perform(function: &Arc<Function>, call: Outgoing) -> Result<Answer, Fault> {
    let mut ticket = Ticket::new(function, &call);
    match exchange_on_lease(function, call, None, &mut ticket).await {
        Ok((lease, response, sender, started)) => Ok(answer(function, ticket, lease, response, sender, started)),
        Err(fault) => {
            ticket.close(function, fault.status().as_u16(), Some(fault.text().to_owned()));
            Err(fault)
        }
    }
}

/// The answer to a request for another protocol.
pub struct UpgradeAnswer {
    /// The answer; its connection belongs to it alone.
    pub response: Response<Incoming>,
    /// The instance.
    pub lease: Lease,
    /// The record, still open.
    pub ticket: Ticket,
}

/// Sends a request for another protocol. The time limit of calls holds for the answer only.
///
/// # Errors
/// If there is no answer of an instance.
pub async fn perform_upgrade(
    function: &Arc<Function>,
    call: Outgoing,
    protocol: HeaderValue,
) -> Result<UpgradeAnswer, Fault> {
    let mut ticket = Ticket::new(function, &call);
    match exchange_on_lease(function, call, Some(protocol), &mut ticket).await {
        Ok((lease, response, _, _)) => Ok(UpgradeAnswer { response, lease, ticket }),
        Err(fault) => {
            ticket.close(function, fault.status().as_u16(), Some(fault.text().to_owned()));
            Err(fault)
        }
    }
}

type Exchanged = (Lease, Response<Incoming>, Sender1, Instant);

async fn exchange_on_lease(
    function: &Arc<Function>,
    call: Outgoing,
    protocol: Option<HeaderValue>,
    ticket: &mut Ticket,
) -> Result<Exchanged, Fault> {
    let mut lease = function.lease(call.session.clone(), call.is_asynchronous()).await?;
    lease.name(&call.id);
    if let Some(place) = &call.place {
        // A call is sent once, so its place is empty.
        let _ = place.set((lease.instance, lease.worker.name.clone()));
    }
    ticket.record.instance = Some(lease.instance);
    ticket.record.waited_ms = millis(function.shared.now().saturating_sub(ticket.began));
    ticket.found = Some(lease.found);
    ticket.record.found = Some(lease.found.name());
    let (started, limit) = (Instant::now(), function.config.setup.limits.call);
    let mut request = call.into_request(&lease);
    if let Some(protocol) = protocol {
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(UPGRADE, protocol);
    }
    match tokio::time::timeout_at(started + limit, exchange::send(&lease.worker, request)).await {
        Ok(Ok((response, sender))) => {
            let size = headers::size(response.headers());
            if size > HEADER_BYTES_MAX {
                let text = format!("the response headers have {size} bytes, more than {HEADER_BYTES_MAX}");
                return Err(Fault::BadResponse(text));
            }
            Ok((lease, response, sender, started))
        }
        Ok(Err(Broken(why))) => Err(broken(function, &lease, why).await),
        Err(_) => {
            abandon(function, lease.instance);
            Err(Fault::TimedOut(function.timed_out()))
        }
    }
}

/// An instance whose call takes too long or is stopped gets no other one. It is killed, unless it serves others
/// meanwhile.
pub fn abandon(function: &Arc<Function>, instance: InstanceId) {
    let running = function
        .look(|scheduler| scheduler.instances().iter().find(|one| one.id == instance).map_or(0, |one| one.running));
    function.apply(Event::Asked(instance, if running > 1 { Wish::Reclaim } else { Wish::Kill }));
}

/// An instance that breaks a connection has often ended, and the caller should read that.
async fn broken(function: &Arc<Function>, lease: &Lease, why: String) -> Fault {
    for _ in 0..EXIT_LOOKS {
        if let Some(exit) = lease.worker.try_exit() {
            function.apply(Event::Lost(lease.instance));
            return Fault::Exited(format!("the instance {exit} during the call"));
        }
        let gone = function.look(|scheduler| {
            !scheduler.instances().iter().any(|one| one.id == lease.instance && one.phase != Phase::Ending)
        });
        if gone {
            return Fault::Exited("the instance was ended during the call".to_owned());
        }
        tokio::time::sleep(EXIT_LOOK_PAUSE).await;
    }
    Fault::BadResponse(format!("the instance sent no valid response: {why}"))
}

fn answer(
    function: &Arc<Function>,
    ticket: Ticket,
    lease: Lease,
    response: Response<Incoming>,
    sender: Sender1,
    started: Instant,
) -> Answer {
    let (parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    let failed = parts.headers.get(headers::STATUS).is_some_and(|status| status.as_bytes() != b"200");
    let owner = function.clone();
    let on_end = move |end: BodyEnd, lease: Lease| {
        let error = match end {
            BodyEnd::Whole if failed => Some("the function says that the call failed".to_owned()),
            BodyEnd::Whole => None,
            BodyEnd::Broken => Some("the instance broke off its response".to_owned()),
            BodyEnd::CallerLeft => Some("the caller left before the end of the response".to_owned()),
            BodyEnd::TimedOut => {
                abandon(&owner, lease.instance);
                Some(owner.timed_out())
            }
        };
        drop(lease);
        ticket.close(&owner, status, error);
    };
    let limit = function.config.setup.limits.call;
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: LeasedBody::new(body, lease, sender, (started, limit), on_end),
    }
}
