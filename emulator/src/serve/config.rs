//! One function, as the user configured it.

use std::time::Duration;

use super::core::Policy;
use super::tasks::book::AsyncPolicy;
use crate::instance::Setup;

/// Everything that is known of a function before it runs.
#[derive(Clone, Debug)]
pub struct FunctionConfig {
    /// Its name, 1 to 64 letters, digits, `_` and `-`.
    pub name: String,
    /// How its instances are started, called and frozen.
    pub setup: Setup,
    /// How its instances are scheduled.
    pub policy: Policy,
    /// How asynchronous calls are repeated.
    pub async_policy: AsyncPolicy,
    /// How calls find their session.
    pub affinity: Affinity,
    /// The health check, if there is one.
    pub health: Option<HealthRequest>,
    /// The memory in MB, for a header and a variable.
    pub memory_mb: u64,
    /// The handler, which a container ignores.
    pub handler: String,
}

/// How calls find their session (C-SES-1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Affinity {
    /// There are no sessions.
    #[default]
    None,
    /// By the request header of this name.
    Header(String),
    /// By a cookie that the platform makes.
    Cookie,
}

/// The request of the health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthRequest {
    /// The path.
    pub path: String,
    /// How long it may take.
    pub timeout: Duration,
}

/// The name of a function or a service: letters, digits, `_` and `-`, no digit or `-` first.
pub fn is_function_name(text: &str) -> bool {
    let tail = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let head = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    head && text.len() <= 64 && text.bytes().all(tail)
}
