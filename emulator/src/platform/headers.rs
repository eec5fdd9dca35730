//! The common request headers (section HDR of the contract), in the spelling of the HTTP client of Go.

use super::{Generation, Hook, Platform};

/// The header that counts how often a call was repeated.
pub(super) const RETRY_COUNT: &str = "X-Fc-Retry-Count";

/// The caller of a request, which decides its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The platform itself, for a hook.
    Hook(Hook),
    /// The platform, with an event.
    Event,
    /// An outside client, through an HTTP trigger.
    Http,
    /// A public local tool, or Kubernetes. It sends no control path.
    Local,
    /// A client that does not know the platform. It sends no common header at all.
    Stranger,
}

impl Caller {
    fn control_path(self) -> Option<&'static str> {
        match self {
            Self::Hook(hook) => Some(hook.path()),
            Self::Event => Some("/invoke"),
            Self::Http => Some("/http-invoke"),
            Self::Local | Self::Stranger => None,
        }
    }
}

impl Platform {
    /// The common headers of one request, in a fixed order. An empty value means "none".
    pub(crate) fn common_headers(&self, caller: Caller, id: &str) -> Vec<(&'static str, String)> {
        if caller == Caller::Stranger {
            return Vec::new();
        }
        let mut headers = vec![("X-Fc-Request-Id", id.to_owned())];
        if self.settings.credentials.are_in_headers() {
            headers.extend(self.credentials());
        }
        headers.extend(self.function());
        headers.extend(self.lifecycle());
        headers.extend(tracing(&self.secrets.tracing, caller));
        if let Some(path) = caller.control_path() {
            headers.push(("X-Fc-Control-Path", path.to_owned()));
        }
        if matches!(caller, Caller::Http) {
            headers.push(("X-Fc-Base-Path", String::new()));
            headers.push(("X-Fc-Client-Ip", "203.0.113.7".to_owned()));
            headers.push(("X-Fc-Api-Server-Ip", String::new()));
        }
        if matches!(caller, Caller::Http | Caller::Event) {
            headers.push((RETRY_COUNT, "0".to_owned()));
        }
        headers
    }

    fn credentials(&self) -> [(&'static str, String); 3] {
        [
            ("X-Fc-Access-Key-Id", self.secrets.key_id.clone()),
            ("X-Fc-Access-Key-Secret", self.secrets.key_secret.clone()),
            ("X-Fc-Security-Token", self.secrets.token.clone()),
        ]
    }

    fn function(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("X-Fc-Function-Name", "fc-emulator".to_owned()),
            ("X-Fc-Function-Handler", "index.handler".to_owned()),
            ("X-Fc-Function-Memory", "512".to_owned()),
            ("X-Fc-Function-Timeout", self.settings.invoke_secs.to_string()),
            ("X-Fc-Region", "cn-hangzhou".to_owned()),
            ("X-Fc-Account-Id", "1234567890123456".to_owned()),
            ("X-Fc-Qualifier", String::new()),
            ("X-Fc-Version-Id", String::new()),
        ];
        if self.settings.generation == Generation::Fc2 {
            headers.push(("X-Fc-Service-Name", "fc-emulator".to_owned()));
            headers.push(("X-Fc-Service-Logproject", String::new()));
            headers.push(("X-Fc-Service-Logstore", String::new()));
        }
        headers
    }

    /// The configured hooks. The names of the handlers mean nothing in a custom container.
    fn lifecycle(&self) -> Vec<(&'static str, String)> {
        let handler = |hook, name: &str| if self.calls(hook) { name.to_owned() } else { String::new() };
        let initialize_secs = match self.calls(Hook::Initialize) {
            true => self.settings.initialize_secs.to_string(),
            false => String::new(),
        };
        let mut headers = vec![
            ("X-Fc-Function-Initializer", handler(Hook::Initialize, "index.initialize")),
            ("X-Fc-Initialization-Timeout", initialize_secs),
            ("X-Fc-Instance-Lifecycle-Pre-Stop-Handler", handler(Hook::PreStop, "index.preStop")),
        ];
        if self.settings.generation == Generation::Fc2 {
            let pre_freeze = handler(Hook::PreFreeze, "index.preFreeze");
            headers.push(("X-Fc-Instance-Lifecycle-Pre-Freeze-Handler", pre_freeze));
        }
        headers
    }
}

/// Tracing is off on an HTTP call, as in the dumps that users published. It is on for other calls, because its endpoint
/// is a secret that a target must not log.
fn tracing(endpoint: &str, caller: Caller) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("X-Fc-Tracing-Opentracing-Span-Context", String::new()),
        ("X-Fc-Tracing-Opentracing-Span-Baggages", String::new()),
    ];
    if caller != Caller::Http {
        headers[1].1 = "e30=".to_owned();
        headers.push(("X-Fc-Tracing-Jaeger-Endpoint", endpoint.to_owned()));
    }
    headers
}
