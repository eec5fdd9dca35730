//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::measure::{MeasureArgs, Measures};
use crate::{coldstart, density, load, thaw};

/// Measures cold starts, load, thaws and density of fc-hooks beside other servers.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure cold starts: exec → port open → first /initialize → first /invoke, beside other servers.
    #[command(args_override_self = true)]
    Coldstart(MeasureWith<coldstart::Args>),
    /// Measure requests per second and latency, beside other servers.
    #[command(args_override_self = true)]
    Load(MeasureWith<load::Args>),
    /// Measure the first call after a freeze, beside other servers.
    #[command(args_override_self = true)]
    Thaw(MeasureWith<thaw::Args>),
    /// Measure many instances at once: memory, start rate, freeze and thaw.
    #[command(args_override_self = true)]
    Density(MeasureWith<density::Args>),
    /// All four measures.
    #[command(args_override_self = true)]
    Bench(MeasureWith<AllArgs>),
    /// Show results again that `--json` wrote.
    Report(ReportArgs),
}

/// A measure: what all are told, and what is its own.
#[derive(Debug, Args)]
pub struct MeasureWith<A: Args> {
    /// What all are told.
    #[command(flatten)]
    pub common: MeasureArgs,

    /// What is its own.
    #[command(flatten)]
    pub own: A,
}

/// What the measures are told, all at once.
#[derive(Clone, Debug, Args)]
pub struct AllArgs {
    #[command(flatten)]
    coldstart: coldstart::Args,
    #[command(flatten)]
    thaw: thaw::Args,
    #[command(flatten)]
    load: load::Args,
    #[command(flatten)]
    density: density::Args,
}

impl From<AllArgs> for Measures {
    fn from(all: AllArgs) -> Self {
        Self { coldstart: Some(all.coldstart), thaw: Some(all.thaw), load: Some(all.load), density: Some(all.density) }
    }
}

/// Results to show again.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// What `--json` wrote
    pub results: PathBuf,

    /// Write a page with plots to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Write the plot of cold starts to this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,

    /// Print one Markdown table, as for a README
    #[arg(long)]
    pub markdown: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
