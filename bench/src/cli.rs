//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use fc_emulator::options::{DataOutputArgs, FreezeArgs};

use crate::measure::{MeasureArgs, Measures};
use crate::{burst, coldstart, density, image, load, payload, proxy, restore, thaw};

/// The end of the help.
const EXIT_STATUS: &str = "\
Exit status:
  0  all that was asked for has figures; a contender that was not built is skipped by name
  1  a contender that --contender or --only names has no figure in a measure; results are there
  2  nothing could be measured, or the arguments are wrong";

/// Measures cold starts, load, thaws and density of fc-hooks and of other servers.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_STATUS)]
pub struct Cli {
    /// The command to carry out.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure cold starts: exec → port open → first /initialize → first /invoke
    #[command(args_override_self = true)]
    Coldstart(MeasureWith<coldstart::Args>),
    /// Measure cold starts on a share of a processor: exec → first /initialize, and how often it was throttled
    #[command(args_override_self = true)]
    Quota(MeasureWith<coldstart::quota::Args>),
    /// Measure bursts of cold starts: 1, 10 and 100 instances at once, until each has answered /initialize
    #[command(args_override_self = true)]
    Burst(MeasureWith<burst::Args>),
    /// Measure requests per second and latency
    #[command(args_override_self = true)]
    Load(MeasureWith<load::Args>),
    /// Measure the first call after a freeze
    #[command(args_override_self = true)]
    Thaw(MeasureWith<Freezing<thaw::Args>>),
    /// Measure many instances at once: memory, start rate, freeze and thaw
    #[command(args_override_self = true)]
    Density(MeasureWith<Freezing<density::Args>>),
    /// Measure restores of virtual machines and by CRIU: bytes saved, restore → first reply, page faults
    #[command(args_override_self = true)]
    Restore(MeasureWith<restore::Args>),
    /// Measure events that come back as replies, from 1 kB to 32 MB: time, memory, processor time, system calls
    #[command(args_override_self = true)]
    Payload(MeasureWith<payload::Args>),
    /// Measure images: bytes unpacked and compressed, layers, time to load one and to make a container of it
    #[command(args_override_self = true)]
    Image(MeasureWith<image::Args>),
    /// Measure proxies before a program: processor time, requests per second, added time, memory
    #[command(args_override_self = true)]
    Proxy(MeasureWith<proxy::Args>),
    /// Be the program behind a proxy, for bodies and streams
    #[command(hide = true)]
    Program,
    /// Wait for the end of a run, and end what it has left
    #[command(hide = true)]
    Watch {
        /// The folder in which the run copies programs
        copies: PathBuf,
        /// The run
        run: String,
    },
    /// Run all of these but restores and proxies
    #[command(args_override_self = true)]
    Bench(Box<MeasureWith<Freezing<AllArgs>>>),
    /// Show results that --export-json wrote
    Report(ReportArgs),
}

/// A measure with the options of all measures and its own.
#[derive(Debug, Args)]
pub struct MeasureWith<A: Args> {
    /// The options of all measures.
    #[command(flatten)]
    pub common: MeasureArgs,

    /// The options of this measure.
    #[command(flatten)]
    pub own: A,
}

/// The options of a measure that freezes.
#[derive(Clone, Debug, Args)]
pub struct Freezing<A: Args> {
    /// How it freezes.
    #[command(flatten)]
    pub freeze: FreezeArgs,

    /// The other options.
    #[command(flatten)]
    pub own: A,
}

/// The options of all these measures.
#[derive(Clone, Debug, Args)]
pub struct AllArgs {
    #[command(flatten)]
    coldstart: coldstart::Args,
    #[command(flatten)]
    quota: coldstart::quota::Args,
    #[command(flatten)]
    burst: burst::Args,
    #[command(flatten)]
    thaw: thaw::Args,
    #[command(flatten)]
    load: load::Args,
    #[command(flatten)]
    density: density::Args,
    #[command(flatten)]
    payload: payload::Args,
    #[command(flatten)]
    image: image::Args,
}

impl Command {
    /// The options and the measures of a command that measures.
    pub fn measures(&self) -> Option<(&MeasureArgs, Measures)> {
        let none = Measures::default();
        Some(match self {
            Self::Coldstart(it) => (&it.common, Measures { coldstart: Some(it.own.clone()), ..none }),
            Self::Quota(it) => (&it.common, Measures { quota: Some(it.own.clone()), ..none }),
            Self::Burst(it) => (&it.common, Measures { burst: Some(it.own.clone()), ..none }),
            Self::Restore(it) => (&it.common, Measures { restore: Some(it.own.clone()), ..none }),
            Self::Payload(it) => (&it.common, Measures { payload: Some(it.own.clone()), ..none }),
            Self::Image(it) => (&it.common, Measures { image: Some(it.own.clone()), ..none }),
            Self::Load(it) => (&it.common, Measures { load: Some(it.own.clone()), ..none }),
            Self::Thaw(it) => {
                let freeze_with = it.own.freeze.freeze_with;
                (&it.common, Measures { freeze_with, thaw: Some(it.own.own.clone()), ..none })
            }
            Self::Density(it) => {
                let freeze_with = it.own.freeze.freeze_with;
                (&it.common, Measures { freeze_with, density: Some(it.own.own.clone()), ..none })
            }
            Self::Bench(it) => {
                let AllArgs { coldstart, quota, burst, thaw, load, density, payload, image } = it.own.own.clone();
                let none = Measures { freeze_with: it.own.freeze.freeze_with, ..none };
                let none = Measures { coldstart: Some(coldstart), quota: Some(quota), burst: Some(burst), ..none };
                let none = Measures { thaw: Some(thaw), load: Some(load), density: Some(density), ..none };
                (&it.common, Measures { payload: Some(payload), image: Some(image), ..none })
            }
            Self::Proxy(_) | Self::Program | Self::Watch { .. } | Self::Report(_) => return None,
        })
    }
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// A file that --export-json wrote
    pub results: PathBuf,

    /// Where the results go.
    #[command(flatten)]
    pub output: DataOutputArgs,

    /// Also write a page with plots to this file
    #[arg(long, value_name = "FILE")]
    pub export_html: Option<PathBuf>,

    /// Also write the plot of cold starts to this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub export_svg: Option<PathBuf>,

    /// Also write one Markdown table, as for a README, to this file
    #[arg(long, value_name = "FILE")]
    pub export_markdown: Option<PathBuf>,
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
