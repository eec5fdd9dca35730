//! The names of Alibaba Cloud Function Compute, FC 2.0 and FC 3.0.

pub(crate) mod errors;
pub(crate) mod headers;
pub(crate) mod hooks;
pub(crate) mod markers;
pub(crate) mod request_id;
pub(crate) mod variables;
