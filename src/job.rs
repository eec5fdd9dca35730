//! Web server mode off (FC 2.0): the event comes from the environment, the result is the exit code (C-JOB-1, C-JOB-2).
//!
//! There is no HTTP, and no hook runs: the invoke callback runs once. Its [`Context`](crate::Context) is filled from
//! environment variables, which hold the values of some headers.

use crate::function::app::App;
use crate::function::dispatch::{CallLog, Dispatcher, LogMarker};
use crate::function::reply::Body;
use crate::function::request::{Headers, LoggedId, Peer, Request};
use crate::http1::fields::Header;
use crate::platform::headers::CONTROL_PATH;
use crate::platform::hooks::{INVOKE_METHOD, INVOKE_PATH};
use crate::platform::variables::HEADERS;
use crate::server::sys::signals;
use crate::server::{PROCESS_ENV, eprint_line, flush_output, print};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

/// 128 + SIGTERM, like a shell: the client has cancelled the request (C-JOB-3).
const CANCELLED: u8 = 143;

/// Runs the invoke callback on the event. The body of its reply goes to standard output, the JSON of a failure to
/// standard error.
// Out of line, because its frame would be part of that of a server.
#[inline(never)]
pub(crate) fn run<S>(app: &'static App<S>, state: S, event: OsString) -> ExitCode {
    if let Err(error) = signals::install() {
        // The event can be handled nevertheless; a cancellation then ends the process at once.
        log::warn!("cannot install signal handlers: {error}");
    }
    let values = HEADERS.map(|(_, variable)| std::env::var_os(variable).map(OsString::into_vec).unwrap_or_default());
    // The control path follows the headers that come from variables.
    let control_path = Header::new(CONTROL_PATH, INVOKE_PATH.as_bytes());
    let mut headers = [control_path; HEADERS.len() + 1];
    for ((header, (name, _)), value) in headers.iter_mut().zip(HEADERS).zip(&values) {
        *header = Header::new(name, value);
    }
    let event = event.into_vec();
    let request = Request {
        method: INVOKE_METHOD,
        path_and_query: INVOKE_PATH,
        headers: Headers(&headers),
        body: &event,
        peer: Peer::None,
    };
    let mut dispatcher = Dispatcher::new(app, state, PROCESS_ENV);
    let answer = dispatcher.handle(&request, (PROCESS_ENV.now)(), usize::MAX, &mut Silent);
    // The dispatcher has read a streamed reply whole (C-INV-6), so the bytes are there.
    let body = if let Body::OfRequest(_) = answer.reply.body { Some(request.body) } else { answer.reply.body.bytes() };
    let body = body.unwrap_or_default();
    let mut failed = answer.failed;
    if failed {
        eprint_line(format_args!("{}", String::from_utf8_lossy(body)));
    } else if let Err(error) = flush_output().and_then(|()| print(body)) {
        // A result that could not be written is no success.
        eprint_line(format_args!("fc-hooks: cannot write the result: {error}"));
        failed = true;
    }
    crate::function::panic::drop_catching_panic(Box::new(dispatcher));
    match (signals::stop_requested(), failed) {
        (true, _) => ExitCode::from(CANCELLED),
        (false, true) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    }
}

/// There are no log markers without web server mode: standard output is the result.
struct Silent;

impl CallLog for Silent {
    fn start(&mut self, _: LogMarker, _: LoggedId<'_>) {}

    fn end(&mut self, _: LogMarker, _: LoggedId<'_>, _: bool) {}
}
