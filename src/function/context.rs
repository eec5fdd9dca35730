//! A call as its callback sees it: the platform's headers, typed (contract, HDR), the clocks, and the instance's life.
//!
//! A field is parsed when it is asked for, so a call pays only for the fields that it reads. An empty header means
//! "none": about half of the platform's headers are empty on every call. Secrets have a type that cannot be printed.

use crate::function::lifecycle::{ClockReading, Lifecycle, Machine};
use crate::function::request::{Headers, WITHHELD};
use crate::platform::headers;
use std::fmt;
use std::time::{Duration, Instant};

/// One call: its headers, its deadline, and the life of the instance that serves it.
pub struct Context<'a> {
    pub(crate) headers: Headers<'a>,
    pub(crate) received: ClockReading,
    /// The header that says how many seconds the platform waits for this call, if there is one.
    pub(crate) time_limit: Option<&'static str>,
    pub(crate) lifecycle: &'a Lifecycle,
    pub(crate) env: Env,
}

/// The parts of the outside that the pure core needs: a clock, and whether a stop signal has come.
#[derive(Clone, Copy)]
pub(crate) struct Env {
    pub(crate) now: fn() -> ClockReading,
    pub(crate) cancelled: fn() -> bool,
    pub(crate) machine: Machine,
}

/// One method for each row of the platform's table.
macro_rules! header_methods {
    (
        text { $($(#[$text_doc:meta])* $text:ident $text_name:ident $text_header:literal;)* }
        number { $($(#[$number_doc:meta])* $number:ident $number_name:ident $number_header:literal;)* }
        seconds { $($(#[$seconds_doc:meta])* $seconds:ident $seconds_name:ident $seconds_header:literal;)* }
        secret { $($(#[$secret_doc:meta])* $secret:ident $secret_name:ident $secret_header:literal;)* }
    ) => {
        impl<'a> Context<'a> {
            $($(#[$text_doc])* #[doc = concat!("\n\nHeader `", $text_header, "`.")]
            pub fn $text(&self) -> Option<&'a str> {
                self.header(headers::$text_name)
            })*

            $($(#[$number_doc])* #[doc = concat!("\n\nHeader `", $number_header, "`.")]
            pub fn $number(&self) -> Option<u32> {
                self.number(headers::$number_name)
            })*

            $($(#[$seconds_doc])* #[doc = concat!("\n\nHeader `", $seconds_header, "`, in seconds.")]
            pub fn $seconds(&self) -> Option<Duration> {
                self.seconds(headers::$seconds_name)
            })*

            $($(#[$secret_doc])* #[doc = concat!("\n\nHeader `", $secret_header, "`.")]
            pub fn $secret(&self) -> Option<Secret<'a>> {
                self.header(headers::$secret_name).map(Secret)
            })*
        }
    };
}
headers::context_headers!(header_methods);

impl<'a> Context<'a> {
    /// The tracing headers of EagleEye (`x-fc-eagleeye-…`): name and value of each that is not empty.
    pub fn eagleeye(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        const PREFIX: &str = headers::EAGLEEYE_PREFIX;
        let is_eagleeye = |name: &str| name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
        self.headers.iter().filter_map(move |(name, value)| {
            let value = std::str::from_utf8(value).ok().filter(|value| !value.is_empty())?;
            is_eagleeye(name).then_some((name, value))
        })
    }

    /// The temporary credentials of the function's role, from this request. Those that the environment holds since the
    /// start have expired after a long freeze (C-FRZ-5). None if the function has no role.
    pub fn credentials(&self) -> Option<Credentials<'a>> {
        Some(Credentials {
            access_key_id: Secret(self.header(headers::ACCESS_KEY_ID)?),
            access_key_secret: Secret(self.header(headers::ACCESS_KEY_SECRET)?),
            security_token: self.header(headers::SECURITY_TOKEN).map(Secret),
        })
    }

    /// When the server received the request.
    pub fn received(&self) -> ClockReading {
        self.received
    }

    /// When the platform stops waiting for this call: by the initializer's time limit for `initialize`, by the
    /// function's for events and HTTP calls. None if the platform tells no limit, as for pre-freeze and pre-stop.
    pub fn deadline(&self) -> Option<Instant> {
        self.received.instant.checked_add(self.seconds(self.time_limit?)?)
    }

    /// The time until [`Context::deadline`]; zero after it.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.saturating_duration_since((self.env.now)().instant))
    }

    /// The life of this instance so far.
    pub fn lifecycle(&self) -> &'a Lifecycle {
        self.lifecycle
    }

    /// Whether SIGTERM or SIGINT has come. A callback that takes long can ask, and return early (C-JOB-3).
    pub fn cancelled(&self) -> bool {
        (self.env.cancelled)()
    }

    /// Both clocks, read now.
    pub fn now(&self) -> ClockReading {
        (self.env.now)()
    }

    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name).filter(|value| !value.is_empty())
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.header(name)?.parse().ok()
    }

    #[inline(never)]
    fn seconds(&self, name: &str) -> Option<Duration> {
        self.number(name).map(|seconds| Duration::from_secs(seconds.into()))
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

/// Temporary credentials. `Debug` and `Display` do not show them.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
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

/// Text that `Debug` and `Display` do not show, because an instance's output can reach anonymous callers (C-LOG-5).
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
    use crate::http1::fields::Header;
    use std::time::SystemTime;

    fn now() -> ClockReading {
        ClockReading { instant: Instant::now(), wall: SystemTime::now() }
    }

    fn with_headers<R>(
        pairs: &[(&str, &str)],
        time_limit: Option<&'static str>,
        look: impl FnOnce(&Context<'_>) -> R,
    ) -> R {
        let headers: Vec<_> = pairs.iter().map(|(name, value)| Header::new(name, value.as_bytes())).collect();
        let lifecycle = Lifecycle::new(now());
        look(&Context {
            headers: Headers(&headers),
            received: now(),
            time_limit,
            lifecycle: &lifecycle,
            env: Env { now, cancelled: || false, machine: crate::function::freeze::Machine::UNKNOWN },
        })
    }

    /// HDR: names match in any case; an empty header and a malformed number count as absent.
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
        with_headers(&pairs, None, |context| {
            assert_eq!(context.request_id(), Some("1-2-3"));
            assert_eq!(context.function_memory_mb(), Some(512));
            assert_eq!(context.function_timeout(), Some(Duration::from_secs(60)));
            assert_eq!((context.initialization_timeout(), context.retry_count()), (None, None));
            assert_eq!((context.region(), context.function_name()), (None, None));
            assert_eq!(context.eagleeye().collect::<Vec<_>>(), [("X-Fc-EagleEye-TraceId", "t")]);
        });
    }

    #[test]
    fn credentials_are_whole_or_none_and_show_nothing() {
        let pairs = [
            ("x-fc-access-key-id", "S3CRET-ID"),
            ("x-fc-access-key-secret", "S3CRET-KEY"),
            ("x-fc-security-token", "S3CRET-TOKEN"),
            ("x-fc-tracing-jaeger-endpoint", "http://S3CRET@host"),
        ];
        with_headers(&pairs, None, |context| {
            let credentials = context.credentials().unwrap();
            assert_eq!(credentials.access_key_secret.reveal(), "S3CRET-KEY");
            let jaeger = context.jaeger_endpoint().unwrap();
            let shown = format!("{credentials:?} {credentials} {context:?} {jaeger} {jaeger:?} {:#?}", credentials);
            assert!(!shown.contains("S3CRET"), "{shown}");
        });
        with_headers(&pairs[..1], None, |context| assert!(context.credentials().is_none()));
    }

    #[test]
    fn deadlines() {
        let minute = [("x-fc-function-timeout", "60"), ("x-fc-initialization-timeout", "0")];
        with_headers(&minute, Some("x-fc-function-timeout"), |context| {
            assert!(context.deadline().unwrap() > Instant::now());
            assert!(context.time_left().unwrap() <= Duration::from_secs(60));
        });
        with_headers(&minute, Some("x-fc-initialization-timeout"), |context| {
            assert_eq!(context.time_left(), Some(Duration::ZERO));
        });
        with_headers(&minute, None, |context| assert_eq!((context.deadline(), context.time_left()), (None, None)));
    }
}
