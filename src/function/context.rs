//! The common request headers of the platform, typed (contract HDR), and what else a callback may ask about its call.
//!
//! Nothing is parsed until it is asked for: a call pays for the fields it reads. An empty header means "none", as about
//! half of the platform's are empty on every call. Secrets have a type that cannot be printed.

use crate::function::lifecycle::{ClockReading, Lifecycle};
use crate::function::request::{Headers, WITHHELD};
use std::fmt;
use std::time::{Duration, Instant};

/// What is known about the call in hand.
pub struct Context<'a> {
    pub(crate) headers: Headers<'a>,
    pub(crate) received: ClockReading,
    /// How long the platform waits for this call, where it says so.
    pub(crate) time_limit: TimeLimit,
    pub(crate) lifecycle: &'a Lifecycle,
    pub(crate) env: Env,
}

/// How long the platform waits, looked up when asked for.
pub(crate) type TimeLimit = fn(&Context<'_>) -> Option<Duration>;

/// What the outside lends to the pure core: a clock, and whether the process was told to stop.
#[derive(Clone, Copy)]
pub(crate) struct Env {
    pub(crate) now: fn() -> ClockReading,
    pub(crate) cancelled: fn() -> bool,
}

macro_rules! text_fields {
    ($($(#[$doc:meta])* $name:ident: $header:literal;)*) => {
        $($(#[$doc])* #[doc = concat!("\n\nHeader `", $header, "`.")]
        pub fn $name(&self) -> Option<&'a str> {
            self.header($header)
        })*
    };
}

impl<'a> Context<'a> {
    text_fields! {
        /// The id of this call: a UUID, or `1-<hex time>-<hex>-<hex>` in FC 3.0.
        request_id: "x-fc-request-id";
        /// What the platform says this call is (C-DISP-1): `/initialize`, `/invoke`, `/http-invoke`, ….
        control_path: "x-fc-control-path";
        /// The function's name.
        function_name: "x-fc-function-name";
        /// The function's handler, as configured.
        function_handler: "x-fc-function-handler";
        /// The handler configured as initializer.
        function_initializer: "x-fc-function-initializer";
        /// The handler configured for pre-stop.
        pre_stop_handler: "x-fc-instance-lifecycle-pre-stop-handler";
        /// The handler configured for pre-freeze.
        pre_freeze_handler: "x-fc-instance-lifecycle-pre-freeze-handler";
        /// The region.
        region: "x-fc-region";
        /// The account that owns the function.
        account_id: "x-fc-account-id";
        /// The version or alias that was called.
        qualifier: "x-fc-qualifier";
        /// The version that is running.
        version_id: "x-fc-version-id";
        /// The service (FC 2.0).
        service_name: "x-fc-service-name";
        /// The log project of the service (FC 2.0).
        service_log_project: "x-fc-service-logproject";
        /// The log store of the service (FC 2.0).
        service_log_store: "x-fc-service-logstore";
        /// The path in front of the client's own (HTTP calls).
        base_path: "x-fc-base-path";
        /// The client's address (HTTP calls).
        client_ip: "x-fc-client-ip";
        /// The address of the platform's API server (HTTP calls).
        api_server_ip: "x-fc-api-server-ip";
        /// The span context of OpenTracing.
        span_context: "x-fc-tracing-opentracing-span-context";
        /// The baggage of OpenTracing: a JSON map in base64.
        span_baggages: "x-fc-tracing-opentracing-span-baggages";
    }

    /// The function's memory in MB. Header `x-fc-function-memory`.
    pub fn function_memory_mb(&self) -> Option<u32> {
        self.number("x-fc-function-memory")
    }

    /// The function's time limit. Header `x-fc-function-timeout`, in seconds; seen, not documented.
    pub fn function_timeout(&self) -> Option<Duration> {
        self.number("x-fc-function-timeout").map(|seconds: u32| Duration::from_secs(seconds.into()))
    }

    /// The initializer's time limit. Header `x-fc-initialization-timeout`, in seconds.
    pub fn initialization_timeout(&self) -> Option<Duration> {
        self.number("x-fc-initialization-timeout").map(|seconds: u32| Duration::from_secs(seconds.into()))
    }

    /// Which retry of an asynchronous call this is; 0 at first (C-INV-8). Header `x-fc-retry-count`.
    pub fn retry_count(&self) -> Option<u32> {
        self.number("x-fc-retry-count")
    }

    /// The Jaeger endpoint, which carries a password. Header `x-fc-tracing-jaeger-endpoint`.
    pub fn jaeger_endpoint(&self) -> Option<Secret<'a>> {
        self.header("x-fc-tracing-jaeger-endpoint").map(Secret)
    }

    /// The tracing headers of EagleEye (`x-fc-eagleeye-…`): name and value of those that are not empty.
    pub fn eagleeye(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        const PREFIX: &str = "x-fc-eagleeye-";
        let named = |name: &str| name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
        self.headers.iter().filter_map(move |(name, value)| {
            let value = std::str::from_utf8(value).ok().filter(|value| !value.is_empty())?;
            named(name).then_some((name, value))
        })
    }

    /// The function role's temporary credentials, always those of the request in hand: what an instance was started
    /// with has expired after a long freeze (C-FRZ-5). None without a role.
    pub fn credentials(&self) -> Option<Credentials<'a>> {
        Some(Credentials {
            access_key_id: Secret(self.header("x-fc-access-key-id")?),
            access_key_secret: Secret(self.header("x-fc-access-key-secret")?),
            security_token: self.header("x-fc-security-token").map(Secret),
        })
    }

    /// When the request was received.
    pub fn received(&self) -> ClockReading {
        self.received
    }

    /// When the platform gives this call up: from the function's time limit, or the initializer's for `initialize`.
    /// None where the platform does not say, as for pre-freeze and pre-stop.
    pub fn deadline(&self) -> Option<Instant> {
        (self.time_limit)(self).and_then(|limit| self.received.instant.checked_add(limit))
    }

    /// What is left until [`Context::deadline`]; zero behind it.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.saturating_duration_since((self.env.now)().instant))
    }

    /// The life of this instance so far.
    pub fn lifecycle(&self) -> &'a Lifecycle {
        self.lifecycle
    }

    /// Whether SIGTERM or SIGINT has come: a callback that takes long may ask, and return early (C-JOB-3).
    pub fn cancelled(&self) -> bool {
        (self.env.cancelled)()
    }

    /// Both clocks, now.
    pub fn now(&self) -> ClockReading {
        (self.env.now)()
    }

    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name).filter(|value| !value.is_empty())
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.header(name)?.parse().ok()
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("request_id", &self.request_id())
            .field("control_path", &self.control_path())
            .field("phase", &self.lifecycle.phase())
            .finish_non_exhaustive()
    }
}

/// Temporary credentials. Printing them shows nothing.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// Access key id.
    pub access_key_id: Secret<'a>,
    /// Access key secret.
    pub access_key_secret: Secret<'a>,
    /// Security token; a role's credentials always have one.
    pub security_token: Option<Secret<'a>>,
}

impl fmt::Display for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WITHHELD)
    }
}

/// Text that `Debug` and `Display` do not show (C-LOG-5): output of an instance can reach anonymous callers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret<'a>(&'a str);

impl<'a> Secret<'a> {
    /// The text itself.
    pub fn reveal(&self) -> &'a str {
        self.0
    }
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WITHHELD)
    }
}

impl fmt::Display for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WITHHELD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn now() -> ClockReading {
        ClockReading { instant: Instant::now(), wall: SystemTime::now() }
    }

    fn with_headers<R>(pairs: &[(&str, &str)], time_limit: TimeLimit, look: impl FnOnce(&Context<'_>) -> R) -> R {
        let headers: Vec<_> =
            pairs.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() }).collect();
        let lifecycle = Lifecycle::new(now());
        look(&Context {
            headers: Headers(&headers),
            received: now(),
            time_limit,
            lifecycle: &lifecycle,
            env: Env { now, cancelled: || false },
        })
    }

    /// HDR: names in any case, empty means none, numbers that are none are none.
    #[test]
    fn fields() {
        let pairs = [
            ("X-Fc-Request-Id", "1-2-3"),
            ("x-fc-function-memory", "512"),
            ("x-fc-function-timeout", "60"),
            ("x-fc-initialization-timeout", "x"),
            ("x-fc-retry-count", "-1"),
            ("x-fc-region", ""),
            ("X-Fc-EagleEye-TraceId", "t"),
            ("x-fc-eagleeye-rpcid", ""),
        ];
        with_headers(
            &pairs,
            |_| None,
            |context| {
                assert_eq!(context.request_id(), Some("1-2-3"));
                assert_eq!(context.function_memory_mb(), Some(512));
                assert_eq!(context.function_timeout(), Some(Duration::from_secs(60)));
                assert_eq!((context.initialization_timeout(), context.retry_count()), (None, None));
                assert_eq!((context.region(), context.function_name()), (None, None));
                assert_eq!(context.eagleeye().collect::<Vec<_>>(), [("X-Fc-EagleEye-TraceId", "t")]);
            },
        );
    }

    #[test]
    fn credentials_are_whole_or_none_and_show_nothing() {
        let pairs = [
            ("x-fc-access-key-id", "S3CRET-ID"),
            ("x-fc-access-key-secret", "S3CRET-KEY"),
            ("x-fc-security-token", "S3CRET-TOKEN"),
            ("x-fc-tracing-jaeger-endpoint", "http://S3CRET@host"),
        ];
        with_headers(
            &pairs,
            |_| None,
            |context| {
                let credentials = context.credentials().unwrap();
                assert_eq!(credentials.access_key_secret.reveal(), "S3CRET-KEY");
                let jaeger = context.jaeger_endpoint().unwrap();
                let shown = format!("{credentials:?} {credentials} {context:?} {jaeger} {jaeger:?} {:#?}", credentials);
                assert!(!shown.contains("S3CRET"), "{shown}");
            },
        );
        with_headers(&pairs[..1], |_| None, |context| assert!(context.credentials().is_none()));
    }

    #[test]
    fn deadlines() {
        let minute = [("x-fc-function-timeout", "60"), ("x-fc-initialization-timeout", "0")];
        with_headers(
            &minute,
            |context| context.function_timeout(),
            |context| {
                assert!(context.deadline().unwrap() > Instant::now());
                assert!(context.time_left().unwrap() <= Duration::from_secs(60));
            },
        );
        with_headers(
            &minute,
            |context| context.initialization_timeout(),
            |context| {
                assert_eq!(context.time_left(), Some(Duration::ZERO));
            },
        );
        with_headers(&minute, |_| None, |context| assert_eq!((context.deadline(), context.time_left()), (None, None)));
    }
}
