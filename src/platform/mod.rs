//! Every name that the platform gives: hooks, headers, environment variables, log markers and error fields.
//!
//! Alibaba Cloud Function Compute (FC) is the only platform so far, and the folder `fc` holds its names, one table for
//! each kind. No other file of `src/` spells one of them; `tests/tidy.rs` checks that.
//!
//! The seam for another platform is here: a second folder beside `fc` with the same files and the same items, and a
//! choice between the two folders below, by a feature. The rest of the crate asks this module alone. What the names
//! mean, which hook runs how often for example, is decided in `function`.

mod fc;

pub(crate) use fc::{errors, headers, hooks, markers, request_id, variables};
