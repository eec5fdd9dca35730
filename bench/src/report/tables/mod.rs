//! The tables of a run as cells, for the terminal and for the page.
//!
//! Decides which figures are shown, in which units and with which precision. Knows nothing of the output format.

mod burst;
mod coldstart;
mod density;
mod image;
mod load;
mod payload;
mod proxy;
mod quota;
mod restore;
mod thaw;

use super::units::{NONE, number};
use crate::results::{Kind, Results};
use crate::stats::figures::ContenderInfo;
use crate::stats::{Estimate, Interval};

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// The title.
    pub title: String,
    /// A sentence about what was measured, and how.
    pub says: String,
    /// The titles of the columns, in lines. The first column holds the contenders.
    pub columns: Vec<&'static str>,
    /// One row for each contender.
    pub rows: Vec<Row>,
    /// Notes below the table.
    pub notes: Vec<String>,
}

/// A row.
#[derive(Clone, Debug)]
pub struct Row {
    /// The role of the contender.
    pub kind: Kind,
    /// As many cells as there are columns.
    pub cells: Vec<String>,
}

/// Every table with content, in the order of measures.
pub fn tables(results: &Results) -> Vec<Table> {
    let mut tables = coldstart::tables(results);
    tables.extend(quota::tables(results));
    tables.extend(burst::tables(results));
    tables.extend(thaw::tables(results));
    tables.extend(load::tables(results));
    tables.extend(density::tables(results));
    tables.extend(restore::tables(results));
    tables.extend(payload::tables(results));
    tables.extend(image::tables(results));
    tables.extend(proxy::tables(results));
    tables.retain(|table| !table.rows.is_empty());
    tables
}

fn row(contender: ContenderInfo, title: &str, cells: impl IntoIterator<Item = String>) -> Row {
    Row { kind: contender.kind, cells: std::iter::once(title.to_owned()).chain(cells).collect() }
}

/// As many decimals as show differences of a few percent in the least value of a column.
fn decimals(values: impl IntoIterator<Item = f64>) -> usize {
    let least = values.into_iter().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    match least {
        least if least >= 100.0 => 0,
        least if least >= 10.0 => 1,
        least if least >= 0.1 => 2,
        _ => 3,
    }
}

/// An estimate, as `median [low–high]`.
fn estimate(estimate: Option<Estimate>, scale: f64, decimals: usize) -> String {
    let Some(Estimate { median, interval: Interval { low, high, .. }, count }) = estimate else {
        return NONE.to_owned();
    };
    if count < 2 {
        return number(median / scale, decimals);
    }
    let to = if low < 0.0 { " to " } else { "–" };
    let [median, low, high] = [median, low, high].map(|value| number(value / scale, decimals));
    format!("{median} [{low}{to}{high}]")
}

/// A ratio to the baseline. The baseline's own ratio is left out.
fn ratio(contender: ContenderInfo, ratio: Option<Estimate>) -> String {
    match contender.kind {
        Kind::Baseline => "1".to_owned(),
        _ => estimate(ratio, 1.0, ratio.map_or(0, |ratio| decimals([ratio.median]).min(2))),
    }
}
