//! Which call a request is: a hook, an event, an HTTP call, or the health check.
//!
//! Wherever the platform's control path is present it decides alone. With an HTTP trigger an outside caller can ask for
//! the path of a hook, but it cannot set that header (C-DISP-2, C-DISP-3).

use crate::function::request::{Headers, Request};
use crate::platform::headers;
use crate::platform::hooks::{Hook, INVOKE_METHOD, INVOKE_PATH};

/// The kinds of calls.
pub(crate) enum Call {
    Health,
    Hook(Hook),
    Event,
    Http,
    /// The path of a hook or of the event with another method than this one.
    WrongMethod(&'static str),
    /// A hook without the control path that this instance requires.
    Unauthorised(Hook),
}

/// Which call this request is, for an instance with this health path.
pub(crate) fn classify(request: &Request<'_>, health_path: Option<&str>, control_path_required: bool) -> Call {
    let (method, path) = (request.method, request.path());
    let checks_health = health_path == Some(path) && matches!(method, "GET" | "HEAD" | "OPTIONS");
    match control_path(request.headers) {
        Some(INVOKE_PATH) => Call::Event,
        Some(control_path) => match Hook::from_path(control_path) {
            Some(hook) => Call::Hook(hook),
            None if checks_health => Call::Health,
            None => Call::Http,
        },
        None if checks_health => Call::Health,
        None if path == INVOKE_PATH && method == INVOKE_METHOD => Call::Event,
        None if path == INVOKE_PATH => Call::WrongMethod(INVOKE_METHOD),
        None => match Hook::from_path(path) {
            None => Call::Http,
            Some(hook) if method != hook.method() => Call::WrongMethod(hook.method()),
            Some(hook) if control_path_required => Call::Unauthorised(hook),
            Some(hook) => Call::Hook(hook),
        },
    }
}

/// The control path of a request. The platform never contradicts itself: a request with two control paths comes from
/// an outside caller (C-DISP-3), and so does one whose control path is not UTF-8.
fn control_path<'a>(request: Headers<'a>) -> Option<&'a str> {
    const OUTSIDE: &str = "?";
    let mut found = None;
    for header in request.0 {
        if header.is(headers::CONTROL_PATH) && !header.value.is_empty() {
            // Most requests are events.
            let value = match header.value {
                value if value == INVOKE_PATH.as_bytes() => INVOKE_PATH,
                value => std::str::from_utf8(value).unwrap_or(OUTSIDE),
            };
            if found.replace(value).is_some() {
                return Some(OUTSIDE);
            }
        }
    }
    found
}
