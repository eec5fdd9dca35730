//! The figures of each measure, contender by contender, the baseline first: the content of tables and plots.
//!
//! Decides what is compared with what. Knows nothing of how it is shown.

mod burst;
mod fleet;
mod image;
mod load;
mod payload;
mod quota;
mod request;
mod restore;
mod start;
mod thaw;

pub use burst::{BurstFigures, BurstRow, bursts};
pub use fleet::{FleetFigures, Fleets, fleets};
pub use image::{ImageFigures, images};
pub use load::{CLIENT_BUSY_MAX, LoadBlock, LoadFigures, load};
pub use payload::{COLLECTS, OURS as OUR_ECHO, PayloadFigures, PayloadRow, payloads};
pub use quota::{QuotaFigures, QuotaRow, quota};
pub use request::{RequestFigures, requests};
pub use restore::{RestoreFigures, RestoreRow, restores};
pub use start::{CountFigures, StartFigures, counts, starts};
pub use thaw::{ThawFigures, thaw};

use super::order::{Sorted, median};
use super::paired::InRound;
use crate::results::{Kind, Results};

/// The contender of some figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContenderInfo<'a> {
    /// The short name.
    pub name: &'a str,
    /// The name in reports.
    pub label: &'a str,
    /// Its role in the comparison.
    pub kind: Kind,
    /// The size of the program's own file.
    pub binary_bytes: Option<u64>,
}

/// The contender of this name. Without a description, its name stands for the label.
pub fn contender<'a>(results: &'a Results, name: &'a str) -> ContenderInfo<'a> {
    match results.contenders.iter().find(|described| described.name == name) {
        Some(it) => ContenderInfo { name, label: &it.label, kind: it.kind, binary_bytes: it.binary_bytes },
        None => ContenderInfo { name, label: name, kind: Kind::Custom, binary_bytes: None },
    }
}

/// The name of the baseline, if one took part.
pub fn baseline(results: &Results) -> Option<&str> {
    let baseline = results.contenders.iter().find(|described| described.kind == Kind::Baseline);
    baseline.map(|described| described.name.as_str())
}

/// Sorts the rows in the order of reports: the baseline first, then as described.
fn in_order<T>(results: &Results, rows: &mut [T], name: impl Fn(&T) -> &str) {
    rows.sort_by_key(|row| {
        let name = name(row);
        let place = results.contenders.iter().position(|described| described.name == name);
        (baseline(results) != Some(name), place.unwrap_or(usize::MAX))
    });
}

fn sorted(samples: &[InRound]) -> Sorted {
    Sorted::new(samples.iter().map(|(_, value)| *value))
}
