//! The requests that the platform sends, with its headers, and the environment that it sets.
//!
//! Everything here is pure: it makes bytes and pairs from values. It follows the sections HDR, ENV and DISPATCH of the
//! contract, and knows neither sockets nor targets nor checks.

mod env;
mod headers;
pub mod ids;

use std::collections::BTreeSet;

pub use env::{JOB_EVENT, PORT_NAMES};
pub use headers::Caller;

/// The generation of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Generation {
    /// FC 2.0: request ids are UUIDs, services exist, pre-freeze is called.
    #[default]
    Fc2,
    /// FC 3.0: ids begin with `1-`, no services, pre-freeze is never called.
    Fc3,
}

/// The form of request ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum IdForm {
    /// A UUID, as in FC 2.0
    #[default]
    Uuid,
    /// `1-<hex time>-<hex>-<hex>`, as in FC 3.0: the time of the call by our clock
    Time,
}

impl IdForm {
    /// The form of a generation.
    pub fn of(generation: Generation) -> Self {
        if generation == Generation::Fc3 { Self::Time } else { Self::Uuid }
    }
}

/// The three lifecycle hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// `POST /initialize`
    Initialize,
    /// `GET /pre-freeze`
    PreFreeze,
    /// `GET /pre-stop`
    PreStop,
}

impl Hook {
    /// All hooks, in the order of a lifecycle.
    pub const ALL: [Self; 3] = [Self::Initialize, Self::PreFreeze, Self::PreStop];

    /// The method of its request.
    pub fn method(self) -> &'static str {
        if self == Self::Initialize { "POST" } else { "GET" }
    }

    /// The path of its request.
    pub fn path(self) -> &'static str {
        match self {
            Self::Initialize => "/initialize",
            Self::PreFreeze => "/pre-freeze",
            Self::PreStop => "/pre-stop",
        }
    }

    /// Its name in log markers, such as `FC PreStop Start RequestId: …`.
    pub fn marker(self) -> &'static str {
        match self {
            Self::Initialize => "Initialize",
            Self::PreFreeze => "PreFreeze",
            Self::PreStop => "PreStop",
        }
    }
}

/// Where an instance finds the credentials of its role. A function can be configured to have them nowhere, or only in
/// one place (`disableInjectCredentials`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Credentials {
    /// In the environment and in the headers of requests.
    #[default]
    Everywhere,
    /// In the environment.
    InEnvironment,
    /// In the headers of requests.
    InHeaders,
    /// Nowhere.
    Nowhere,
}

impl Credentials {
    fn are_in_environment(self) -> bool {
        matches!(self, Self::Everywhere | Self::InEnvironment)
    }

    fn are_in_headers(self) -> bool {
        matches!(self, Self::Everywhere | Self::InHeaders)
    }
}

/// How the platform behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The generation.
    pub generation: Generation,
    /// The form of its request ids.
    pub ids: IdForm,
    /// Whether it sends `x-fc-control-path`. The public local tools do not.
    pub control_path: bool,
    /// Where it gives credentials.
    pub credentials: Credentials,
    /// The hooks that the function is configured with.
    pub hooks: BTreeSet<Hook>,
    /// The time limit of the initializer in seconds, for a header.
    pub initialize_secs: u64,
    /// The time limit of a call in seconds, for a header.
    pub invoke_secs: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            generation: Generation::default(),
            ids: IdForm::default(),
            control_path: true,
            credentials: Credentials::default(),
            hooks: Hook::ALL.into(),
            initialize_secs: 3,
            invoke_secs: 60,
        }
    }
}

/// The platform of one function: its settings and the secrets that it gives out.
#[derive(Clone, Debug)]
pub struct Platform {
    /// How it behaves.
    pub settings: Settings,
    secrets: Secrets,
}

/// Values that a target must never print.
#[derive(Clone)]
struct Secrets {
    key_id: String,
    key_secret: String,
    token: String,
    tracing: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

/// One request, ready to send.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its id, which is also in `x-fc-request-id`.
    pub id: String,
    /// Its method and path, such as `POST /invoke`, for reports.
    pub line: String,
    /// The head with the empty line that ends it.
    pub head: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The head and the body.
    pub fn bytes(&self) -> Vec<u8> {
        [self.head.as_slice(), &self.body].concat()
    }

    /// The same call once more, as the platform repeats an asynchronous one: with the same id, and counted.
    pub fn retried(&self) -> Self {
        let count = |number: u8| format!("\r\n{}: {number}\r\n", headers::RETRY_COUNT);
        let head = String::from_utf8_lossy(&self.head).replace(&count(0), &count(1));
        Self { head: head.into_bytes(), ..self.clone() }
    }
}

impl Platform {
    /// A platform with fresh secrets.
    pub fn new(settings: Settings) -> Self {
        let secrets = Secrets {
            key_id: ids::secret("STS.NT", 29),
            key_secret: ids::secret("sk", 44),
            token: ids::secret("CAIS", 1024),
            tracing: format!("http://tracing.invalid/adapt_{}/api/traces", ids::secret("tr", 40)),
        };
        Self { settings, secrets }
    }

    /// Whether the platform calls this hook.
    pub fn calls(&self, hook: Hook) -> bool {
        let never = hook == Hook::PreFreeze && self.settings.generation == Generation::Fc3;
        self.settings.hooks.contains(&hook) && !never
    }

    /// The request of a hook.
    pub fn hook(&self, hook: Hook) -> Request {
        let caller = if self.settings.control_path { Caller::Hook(hook) } else { Caller::Local };
        self.request(caller, hook.method(), hook.path(), &[], Vec::new())
    }

    /// The request with an event.
    pub fn invoke(&self, event: impl Into<Vec<u8>>) -> Request {
        let caller = if self.settings.control_path { Caller::Event } else { Caller::Local };
        let headers = [("Content-Type", "application/octet-stream")];
        self.request(caller, "POST", "/invoke", &headers, event.into())
    }

    /// The request of a client, through an HTTP trigger.
    pub fn http(&self, method: &str, target: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Request {
        let caller = if self.settings.control_path { Caller::Http } else { Caller::Local };
        self.request(caller, method, target, headers, body)
    }

    /// Any request. The caller decides which common headers it has.
    pub fn request(
        &self,
        caller: Caller,
        method: &str,
        target: &str,
        extra: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Request {
        let id = ids::request_id(self.settings.ids);
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: function.invalid\r\n");
        head.push_str("User-Agent: Go-http-client/1.1\r\n");
        if method != "GET" && method != "HEAD" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for (name, value) in self.common_headers(caller, &id) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        for (name, value) in extra {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        Request { id, line: format!("{method} {target}"), head: head.into_bytes(), body }
    }

    /// The values that a target must never print, each with its name.
    pub fn secrets(&self) -> [(&'static str, &str); 4] {
        let Secrets { key_id, key_secret, token, tracing } = &self.secrets;
        [
            ("the access key id", key_id),
            ("the access key secret", key_secret),
            ("the security token", token),
            ("the tracing endpoint", tracing),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(generation: Generation) -> Platform {
        Platform::new(Settings { generation, ids: IdForm::of(generation), ..Settings::default() })
    }

    fn fc_headers(request: &Request) -> Vec<(String, String)> {
        let head = String::from_utf8(request.head.clone()).unwrap();
        let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        head.lines().filter_map(pair).filter(|(name, _)| name.starts_with("X-Fc-")).collect()
    }

    #[test]
    fn an_http_call_of_fc2_carries_26_headers_about_half_of_them_empty() {
        let mut platform = platform(Generation::Fc2);
        platform.settings.hooks.clear();
        let headers = fc_headers(&platform.http("GET", "/", &[], Vec::new()));
        let empty = headers.iter().filter(|(_, value)| value.is_empty()).count();
        assert_eq!(headers.len(), 26);
        assert!((11..=14).contains(&empty), "{empty} are empty");
    }

    #[test]
    fn fc3_has_no_services_and_never_calls_pre_freeze() {
        let platform = platform(Generation::Fc3);
        let request = platform.invoke("x");
        assert!(request.id.starts_with("1-"));
        assert!(fc_headers(&request).iter().all(|(name, _)| !name.contains("Service")));
        assert!(!platform.calls(Hook::PreFreeze));
        assert!(platform.calls(Hook::PreStop));
    }

    #[test]
    fn the_control_path_names_the_caller() {
        let platform = platform(Generation::Fc2);
        let value = |request: &Request| {
            let headers = fc_headers(request);
            headers.into_iter().find(|(name, _)| name == "X-Fc-Control-Path").map(|(_, value)| value)
        };
        assert_eq!(value(&platform.hook(Hook::PreStop)).as_deref(), Some("/pre-stop"));
        assert_eq!(value(&platform.invoke("")).as_deref(), Some("/invoke"));
        assert_eq!(value(&platform.http("GET", "/pre-stop", &[], vec![])).as_deref(), Some("/http-invoke"));

        let silent = Platform::new(Settings { control_path: false, ..Settings::default() });
        assert_eq!(value(&silent.invoke("")), None);
    }

    #[test]
    fn a_retry_has_the_same_id_and_another_count() {
        let call = platform(Generation::Fc3).invoke("x");
        let value = |request: &Request, wanted: &str| {
            fc_headers(request).into_iter().find(|(name, _)| name == wanted).map(|(_, value)| value)
        };
        let again = call.retried();
        assert_eq!(value(&again, "X-Fc-Request-Id"), Some(call.id.clone()));
        assert_eq!(value(&call, "X-Fc-Retry-Count").as_deref(), Some("0"));
        assert_eq!(value(&again, "X-Fc-Retry-Count").as_deref(), Some("1"));
        assert_eq!(fc_headers(&again).len(), fc_headers(&call).len());
    }

    /// C-ENV-1: neither the headers nor the environment have any.
    #[test]
    fn a_function_can_be_configured_without_credentials() {
        let mut platform = platform(Generation::Fc2);
        for (credentials, in_headers, in_environment) in [
            (Credentials::Everywhere, true, true),
            (Credentials::InEnvironment, false, true),
            (Credentials::InHeaders, true, false),
            (Credentials::Nowhere, false, false),
        ] {
            platform.settings.credentials = credentials;
            let head = String::from_utf8(platform.invoke("x").head).unwrap();
            let env = format!("{:?}", platform.env(9000));
            for (text, there) in [(&head, in_headers), (&env, in_environment)] {
                assert!(platform.secrets()[..3].iter().all(|(_, secret)| text.contains(secret) == there), "{text}");
            }
            assert_eq!((head.contains("Access-Key"), env.contains("ALIBABA")), (in_headers, in_environment));
        }
    }

    #[test]
    fn a_platform_does_not_print_its_secrets() {
        let platform = platform(Generation::Fc2);
        let shown = format!("{platform:?}");
        assert!(platform.secrets().iter().all(|(_, secret)| !shown.contains(secret)));
    }
}
