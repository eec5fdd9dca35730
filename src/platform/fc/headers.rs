//! The headers that the platform adds to requests and reads from replies (contract, HDR).

/// How the name of each header begins that belongs to the platform. Clients cannot set such headers (C-DISP-3), and
/// callbacks must not.
pub(crate) const PREFIX: &str = "x-fc-";

/// The table of the headers that [`Context`](crate::Context) has a method for: what the method says about itself, its
/// name, the name of the constant below, the header. Hands the table to the macro `$callback`.
macro_rules! context_headers {
    ($callback:ident) => {
        $callback! {
            text {
                /// The id of this call: a UUID, or `1-<hex time>-<hex>-<hex>` in FC 3.0.
                request_id REQUEST_ID "x-fc-request-id";
                /// The kind of this call (C-DISP-1): the path of a hook, `/invoke` for an event, `/http-invoke` for an
                /// HTTP call.
                control_path CONTROL_PATH "x-fc-control-path";
                /// The function's name.
                function_name FUNCTION_NAME "x-fc-function-name";
                /// The function's handler, as configured.
                function_handler FUNCTION_HANDLER "x-fc-function-handler";
                /// The handler that is configured as initializer.
                function_initializer FUNCTION_INITIALIZER "x-fc-function-initializer";
                /// The handler that is configured for pre-stop.
                pre_stop_handler PRE_STOP_HANDLER "x-fc-instance-lifecycle-pre-stop-handler";
                /// The handler that is configured for pre-freeze.
                pre_freeze_handler PRE_FREEZE_HANDLER "x-fc-instance-lifecycle-pre-freeze-handler";
                /// The region.
                region REGION "x-fc-region";
                /// The account that owns the function.
                account_id ACCOUNT_ID "x-fc-account-id";
                /// The version or alias that the caller asked for.
                qualifier QUALIFIER "x-fc-qualifier";
                /// The version that is running.
                version_id VERSION_ID "x-fc-version-id";
                /// The service (FC 2.0).
                service_name SERVICE_NAME "x-fc-service-name";
                /// The log project of the service (FC 2.0).
                service_log_project SERVICE_LOG_PROJECT "x-fc-service-logproject";
                /// The log store of the service (FC 2.0).
                service_log_store SERVICE_LOG_STORE "x-fc-service-logstore";
                /// The path that precedes the client's own path (HTTP calls).
                base_path BASE_PATH "x-fc-base-path";
                /// The client's address (HTTP calls).
                client_ip CLIENT_IP "x-fc-client-ip";
                /// The address of the platform's API server (HTTP calls).
                api_server_ip API_SERVER_IP "x-fc-api-server-ip";
                /// The span context of OpenTracing.
                span_context SPAN_CONTEXT "x-fc-tracing-opentracing-span-context";
                /// The baggage of OpenTracing: a JSON map in base64.
                span_baggages SPAN_BAGGAGES "x-fc-tracing-opentracing-span-baggages";
            }
            number {
                /// The function's memory in MB.
                function_memory_mb FUNCTION_MEMORY "x-fc-function-memory";
                /// The number of this retry of an asynchronous call; 0 for the first attempt (C-INV-8).
                retry_count RETRY_COUNT "x-fc-retry-count";
            }
            seconds {
                /// The function's time limit. The platform sends it but does not document it.
                function_timeout FUNCTION_TIMEOUT "x-fc-function-timeout";
                /// The initializer's time limit.
                initialization_timeout INITIALIZATION_TIMEOUT "x-fc-initialization-timeout";
            }
            secret {
                /// The Jaeger endpoint, which holds a password.
                jaeger_endpoint JAEGER_ENDPOINT "x-fc-tracing-jaeger-endpoint";
            }
        }
    };
}
pub(crate) use context_headers;

macro_rules! constants {
    ($($kind:ident { $($(#[$doc:meta])* $method:ident $name:ident $header:literal;)* })*) => {
        $($(pub(crate) const $name: &str = $header;)*)*
    };
}
context_headers!(constants);

/// Why a hook is refused where the control path is required.
pub(crate) const CONTROL_PATH_ABSENT: &str = "x-fc-control-path is absent";

/// How the tracing headers of EagleEye begin.
pub(crate) const EAGLEEYE_PREFIX: &str = "x-fc-eagleeye-";

pub(crate) const ACCESS_KEY_ID: &str = "x-fc-access-key-id";
pub(crate) const ACCESS_KEY_SECRET: &str = "x-fc-access-key-secret";
pub(crate) const SECURITY_TOKEN: &str = "x-fc-security-token";

/// Output never shows the values of these (C-LOG-5).
pub(crate) const SECRET: [&str; 4] = [ACCESS_KEY_ID, ACCESS_KEY_SECRET, SECURITY_TOKEN, JAEGER_ENDPOINT];

/// The header of a reply that tells the platform whether the call succeeded (C-INV-3).
pub(crate) const STATUS: &str = "x-fc-status";

/// Its value for a call that failed.
pub(crate) const STATUS_FAILED: &str = "404";

/// The line of a reply's head that tells the platform whether the call succeeded (C-INV-3), with a CRLF in front of it.
pub(crate) const fn status_line(failed: bool) -> &'static [u8] {
    if failed { b"\r\nx-fc-status: 404" } else { b"\r\nx-fc-status: 200" }
}

/// Whether a header belongs to the platform.
#[cfg(feature = "adapter")]
pub(crate) fn is_of_platform(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

// What the adapter tells its program about a freeze. The names are ours; clients cannot set them (C-DISP-3).

/// The milliseconds between the last activity and the call that ended the freeze.
#[cfg(feature = "adapter")]
pub(crate) const GAP: &str = "x-fc-hooks-gap-ms";
/// The signs of the freeze, with `+` between them.
#[cfg(feature = "adapter")]
pub(crate) const EVIDENCE: &str = "x-fc-hooks-evidence";
#[cfg(feature = "adapter")]
pub(crate) const CONFIDENCE: &str = "x-fc-hooks-confidence";
