//! The environment variables that are read: the platform's, and those by which a user configures the server.

use super::headers;

/// The port to listen on: the platform's newer name first (C-START-1), then those of other platforms (C-DIA-2).
pub(crate) const PORTS: &[&str] = &["FC_CUSTOM_LISTEN_PORT", "FC_SERVER_PORT", "_FAAS_RUNTIME_PORT", "PORT"];

/// The event, if web server mode is off (C-JOB-2).
pub(crate) const EVENT: &str = "FC_CUSTOM_CONTAINER_EVENT";

/// The function's name. The platform sets it; a shell usually does not.
pub(crate) const FUNCTION_NAME: &str = "FC_FUNCTION_NAME";

/// The instance's memory in MB.
pub(crate) const FUNCTION_MEMORY: &str = "FC_FUNCTION_MEMORY_SIZE";

/// The credentials: access key id, access key secret, security token.
pub(crate) const CREDENTIALS: [&str; 3] =
    ["ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"];

/// The id of the call.
pub(crate) const REQUEST_ID: &str = "FC_REQUEST_ID";

/// If web server mode is off, no request carries headers. Each variable holds the value of the header beside it.
pub(crate) const HEADERS: [(&str, &str); 11] = [
    (headers::REQUEST_ID, REQUEST_ID),
    (headers::ACCESS_KEY_ID, CREDENTIALS[0]),
    (headers::ACCESS_KEY_SECRET, CREDENTIALS[1]),
    (headers::SECURITY_TOKEN, CREDENTIALS[2]),
    (headers::FUNCTION_NAME, FUNCTION_NAME),
    (headers::FUNCTION_HANDLER, "FC_FUNCTION_HANDLER"),
    (headers::FUNCTION_MEMORY, FUNCTION_MEMORY),
    (headers::REGION, "FC_REGION"),
    (headers::ACCOUNT_ID, "FC_ACCOUNT_ID"),
    (headers::QUALIFIER, "FC_QUALIFIER"),
    (headers::SERVICE_NAME, "FC_SERVICE_NAME"),
];

// What follows is ours and not the platform's. Users cannot set names that begin with `FC_` in the platform's console,
// but an image can.

/// How their names begin. No other program has such variables, so one without a setting is a mistake.
pub(crate) const OURS: &str = "FC_HOOKS_";

pub(crate) const LISTEN: &str = "FC_HOOKS_LISTEN";
pub(crate) const SOCKET_MODE: &str = "FC_HOOKS_SOCKET_MODE";
pub(crate) const HOOKS_FROM: &str = "FC_HOOKS_HOOKS_FROM";
pub(crate) const LIMITS: &str = "FC_HOOKS_LIMITS";
pub(crate) const LOG_MARKERS: &str = "FC_HOOKS_LOG_MARKERS";
pub(crate) const HEALTH_PATH: &str = "FC_HOOKS_HEALTH_PATH";
pub(crate) const REQUIRE_CONTROL_PATH: &str = "FC_HOOKS_REQUIRE_CONTROL_PATH";

/// The variables of the adapter.
#[cfg(feature = "adapter")]
pub(crate) mod adapter {
    // What a command of a hook is told: which hook, and about the thaw.

    pub(crate) const TOLD_HOOK: &str = "FC_HOOKS_HOOK";
    pub(crate) const TOLD_GAP: &str = "FC_HOOKS_GAP_MS";
    pub(crate) const TOLD_EVIDENCE: &str = "FC_HOOKS_EVIDENCE";
    pub(crate) const TOLD_CONFIDENCE: &str = "FC_HOOKS_CONFIDENCE";

    // Settings of the adapter.

    pub(crate) const HOOK_INITIALIZE: &str = "FC_HOOKS_INITIALIZE";
    pub(crate) const HOOK_PRE_FREEZE: &str = "FC_HOOKS_PRE_FREEZE";
    pub(crate) const HOOK_PRE_STOP: &str = "FC_HOOKS_PRE_STOP";
    pub(crate) const ON_THAW: &str = "FC_HOOKS_ON_THAW";
    pub(crate) const APP: &str = "FC_HOOKS_APP";
    pub(crate) const EVENT_PATH: &str = "FC_HOOKS_EVENT_PATH";
    pub(crate) const FAIL_ON: &str = "FC_HOOKS_FAIL_ON";
    pub(crate) const READY: &str = "FC_HOOKS_READY";
    pub(crate) const READY_TIMEOUT: &str = "FC_HOOKS_READY_TIMEOUT";
    pub(crate) const STOP_TIMEOUT: &str = "FC_HOOKS_STOP_TIMEOUT";
    pub(crate) const HOOK_TIMEOUT: &str = "FC_HOOKS_HOOK_TIMEOUT";
    pub(crate) const WITHHOLD_SECRETS: &str = "FC_HOOKS_WITHHOLD_SECRETS";
    pub(crate) const COMMAND_SECRETS: &str = "FC_HOOKS_COMMAND_SECRETS";
}
