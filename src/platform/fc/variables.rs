//! The environment variables that are read: the platform's, and those by which a user configures the server.

use super::headers;

/// The port to listen on, the newer name first (C-START-1).
pub(crate) const PORTS: &[&str] = &["FC_CUSTOM_LISTEN_PORT", "FC_SERVER_PORT"];

/// The event, if web server mode is off (C-JOB-2).
pub(crate) const EVENT: &str = "FC_CUSTOM_CONTAINER_EVENT";

/// The function's name. The platform sets it; a shell usually does not.
pub(crate) const FUNCTION_NAME: &str = "FC_FUNCTION_NAME";

/// If web server mode is off, no request carries headers. Each variable holds the value of the header beside it.
pub(crate) const HEADERS: [(&str, &str); 11] = [
    (headers::REQUEST_ID, "FC_REQUEST_ID"),
    (headers::ACCESS_KEY_ID, "ALIBABA_CLOUD_ACCESS_KEY_ID"),
    (headers::ACCESS_KEY_SECRET, "ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
    (headers::SECURITY_TOKEN, "ALIBABA_CLOUD_SECURITY_TOKEN"),
    (headers::FUNCTION_NAME, FUNCTION_NAME),
    (headers::FUNCTION_HANDLER, "FC_FUNCTION_HANDLER"),
    (headers::FUNCTION_MEMORY, "FC_FUNCTION_MEMORY_SIZE"),
    (headers::REGION, "FC_REGION"),
    (headers::ACCOUNT_ID, "FC_ACCOUNT_ID"),
    (headers::QUALIFIER, "FC_QUALIFIER"),
    (headers::SERVICE_NAME, "FC_SERVICE_NAME"),
];

// What follows is ours and not the platform's. Users cannot set names that begin with `FC_` in the platform's console,
// but an image can.

pub(crate) const LISTEN: &str = "FC_HOOKS_LISTEN";
pub(crate) const LIMITS: &str = "FC_HOOKS_LIMITS";
pub(crate) const LOG_MARKERS: &str = "FC_HOOKS_LOG_MARKERS";
pub(crate) const HEALTH_PATH: &str = "FC_HOOKS_HEALTH_PATH";
pub(crate) const REQUIRE_CONTROL_PATH: &str = "FC_HOOKS_REQUIRE_CONTROL_PATH";
