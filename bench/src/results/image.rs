//! Images.

use serde::{Deserialize, Serialize};

/// The image of each contender: its size, and what an engine makes of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Images {
    /// The engine and its version, if one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// All contenders.
    pub contenders: Vec<Image>,
}

/// The image of one contender. It holds the files that the contender looks at until it has answered, and no other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// The name of the contender.
    pub name: String,
    /// The number of files.
    pub files: u64,
    /// The bytes of all files.
    pub unpacked_bytes: u64,
    /// The bytes of the layer as a tar archive.
    pub tar_bytes: u64,
    /// The same by `gzip -6`, as registries keep it by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gzip_bytes: Option<u64>,
    /// The same by `zstd -3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zstd_bytes: Option<u64>,
    /// The number of layers that the engine sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<u64>,
    /// The round, and how long `docker load` took.
    #[serde(default)]
    pub load_us: Vec<(u32, f64)>,
    /// The round, and how long `docker create` took.
    #[serde(default)]
    pub create_us: Vec<(u32, f64)>,
    /// What could not be measured, and why.
    #[serde(default)]
    pub failures: Vec<String>,
}
