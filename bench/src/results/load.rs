//! The requests of a load.

use serde::{Deserialize, Serialize};

/// The requests of a load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum RequestKind {
    /// A small event with the platform's headers and a token of 1 kB, each request with an id of its own
    Real,
    /// The same, but the same bytes each time. Results without a kind are of this one
    #[default]
    Canned,
    /// A small event with two of the platform's headers, the same bytes each time
    Small,
}
