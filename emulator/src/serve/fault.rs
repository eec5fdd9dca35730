//! What the platform answers in place of an instance.
//!
//! Every answer to an API caller is JSON with `Code`, `Message` and `RequestId`, because the official clients take the
//! request id of an error from the body. Statuses follow the section LIM, C-INIT-3 and C-CONN-2 of the contract.
//! `SessionPaused`, `MethodNotAllowed` and `NotSupportedByEmulator` are codes of the emulator's own.

use hyper::StatusCode;
use serde_json::json;

use super::core::{Failure, Refusal};

/// Why a call got no answer of its instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request breaks a rule of the platform.
    BadRequest(String),
    /// As many calls wait for an instance as can.
    Busy(String),
    /// The instance could not be started.
    NotStarted(String),
    /// The Initializer failed.
    NotInitialized(String),
    /// The session accepts no calls.
    SessionPaused,
    /// The call took longer than the function's time limit.
    TimedOut(String),
    /// The instance ended during the call.
    Exited(String),
    /// The instance answered with something that the platform does not pass on, or broke the connection.
    BadResponse(String),
    /// There is no such thing.
    NotFound {
        /// The code, such as `FunctionNotFound`.
        code: &'static str,
        /// What there is not.
        text: String,
    },
    /// The thing is not in a state for this.
    Conflict {
        /// The code.
        code: &'static str,
        /// Why not.
        text: String,
    },
    /// The signature does not fit.
    Denied(String),
    /// The method is not for this path.
    Method(String),
    /// The emulator does not have this.
    NotSupported(String),
    /// The emulator itself failed.
    Internal(String),
}

impl Fault {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Busy(_) => StatusCode::TOO_MANY_REQUESTS,
            // The platform counts these as the answer of the function (C-INIT-3).
            Self::NotInitialized(_) | Self::TimedOut(_) => StatusCode::OK,
            Self::NotStarted(_) | Self::Exited(_) | Self::BadResponse(_) => StatusCode::BAD_GATEWAY,
            Self::SessionPaused | Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotSupported(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The value of `x-fc-error-type`, for an answer that counts as the function's.
    pub fn error_type(&self) -> Option<&'static str> {
        match self {
            Self::NotInitialized(_) => Some("InitializationError"),
            Self::TimedOut(_) => Some("InvocationTimeout"),
            _ => None,
        }
    }

    /// The code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "InvalidArgument",
            Self::Busy(_) => "ResourceExhausted",
            Self::NotStarted(_) => "FunctionNotStarted",
            Self::NotInitialized(_) => "InitializationError",
            Self::SessionPaused => "SessionPaused",
            Self::TimedOut(_) => "InvocationTimeout",
            Self::Exited(_) => "CAExited",
            Self::BadResponse(_) => "BadResponse",
            Self::NotFound { code, .. } | Self::Conflict { code, .. } => code,
            Self::Denied(_) => "SignatureNotMatch",
            Self::Method(_) => "MethodNotAllowed",
            Self::NotSupported(_) => "NotSupportedByEmulator",
            Self::Internal(_) => "InternalServerError",
        }
    }

    /// The cause in words.
    pub fn text(&self) -> &str {
        match self {
            Self::SessionPaused => "the session is paused: resume it first",
            Self::BadRequest(text)
            | Self::Busy(text)
            | Self::NotStarted(text)
            | Self::NotInitialized(text)
            | Self::TimedOut(text)
            | Self::Exited(text)
            | Self::BadResponse(text)
            | Self::NotFound { text, .. }
            | Self::Conflict { text, .. }
            | Self::Denied(text)
            | Self::Method(text)
            | Self::NotSupported(text)
            | Self::Internal(text) => text,
        }
    }

    /// The body of the answer.
    pub fn body(&self, request_id: &str) -> String {
        match self.error_type() {
            Some(kind) => json!({"errorMessage": self.text(), "errorType": kind}).to_string(),
            None => json!({"Code": self.code(), "Message": self.text(), "RequestId": request_id}).to_string(),
        }
    }

    /// No function has this name.
    pub fn no_function(name: &str) -> Self {
        Self::NotFound { code: "FunctionNotFound", text: format!("function '{name}' does not exist") }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::QueueFull => Self::Busy("every instance is busy, and as many calls wait as can wait".to_owned()),
            Refusal::WaitedTooLong => Self::Busy("no instance was free for this call in time".to_owned()),
            Refusal::SessionPaused => Self::SessionPaused,
            Refusal::Failed(Failure { by_initializer: true, text }) => Self::NotInitialized(text),
            Refusal::Failed(Failure { by_initializer: false, text }) => Self::NotStarted(text),
        }
    }
}
