//! Options of the command line that every tool spells alike: how to freeze, durations, variables, and where results go.
//!
//! Each group is a [`clap::Args`] structure to flatten into a command, and each parser is a `value_parser`:
//!
//! ```
//! use std::time::Duration;
//! use clap::Parser;
//! use fc_emulator::options::{DURATION, FreezeArgs, OutputArgs, duration};
//!
//! #[derive(Parser)]
//! struct Tool {
//!     /// Length of a freeze
//!     #[arg(long, default_value = "7s", value_name = DURATION, value_parser = duration)]
//!     freeze_for: Duration,
//!
//!     #[command(flatten)]
//!     freeze: FreezeArgs,
//!
//!     #[command(flatten)]
//!     output: OutputArgs,
//! }
//!
//! let tool = Tool::parse_from(["tool", "--freeze-for", "1.5s", "--freeze-with", "sigstop", "--format", "tap"]);
//! assert_eq!(tool.freeze_for, Duration::from_millis(1500));
//! ```

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::freezer::FreezeWith;
use crate::report::{self, Report};

/// The name of a duration in the help.
pub const DURATION: &str = "DURATION";

/// The longest duration that [`duration`] accepts.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Parses a duration with its unit, such as `500ms`, `10s`, `1.5s`, `2m` or `1m 30s`; at most a day.
///
/// # Errors
/// If the text is no such duration; the text of the error says what is expected.
pub fn duration(text: &str) -> std::result::Result<Duration, String> {
    let expected = |_| "expected a number with its unit, such as 500ms, 10s or 2m".to_owned();
    let span = humantime::parse_duration(text).map_err(expected)?;
    if span > LONGEST { Err("a duration can be at most 24h".to_owned()) } else { Ok(span) }
}

/// Parses an environment variable, `NAME=VALUE`.
///
/// # Errors
/// If there is no `=`, or no name before it.
pub fn variable(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// How to freeze.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct FreezeArgs {
    /// How to freeze the target
    #[arg(long, value_enum, default_value_t, value_name = "METHOD")]
    pub freeze_with: FreezeWith,
}

/// A format for results that are a list of test cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Text for people, in colour on a terminal unless NO_COLOR is set
    #[default]
    Human,
    /// One JSON document
    Json,
    /// JUnit XML, as continuous integration reads it
    Junit,
    /// Test Anything Protocol, version 13
    Tap,
}

/// A format for results that are no list of test cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
pub enum DataFormat {
    /// Text for people, in colour on a terminal unless NO_COLOR is set
    #[default]
    Human,
    /// One JSON document
    Json,
}

/// Where a list of test cases goes.
#[derive(Clone, Debug, Default, Args)]
pub struct OutputArgs {
    /// The format of the result on standard output
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// Also write the result as JSON to this file
    #[arg(long, value_name = "FILE")]
    pub export_json: Option<PathBuf>,

    /// Also write the result as JUnit XML to this file
    #[arg(long, value_name = "FILE")]
    pub export_junit: Option<PathBuf>,

    /// Also write the result as TAP to this file
    #[arg(long, value_name = "FILE")]
    pub export_tap: Option<PathBuf>,
}

impl OutputArgs {
    /// Prints a result on standard output, and writes the files that were asked for.
    ///
    /// # Errors
    /// If standard output or a file cannot be written.
    pub fn write(&self, report: &impl Report) -> Result<()> {
        let files =
            [(&self.export_json, Format::Json), (&self.export_junit, Format::Junit), (&self.export_tap, Format::Tap)];
        for (file, format) in files {
            if let Some(file) = file {
                write_file(file, &report::render(report, format))?;
            }
        }
        print(&report::render(report, self.format), self.format == Format::Human)
    }
}

/// Where data go that are no list of test cases.
#[derive(Clone, Debug, Default, Args)]
pub struct DataOutputArgs {
    /// The format of the result on standard output
    #[arg(long, value_enum, default_value_t)]
    pub format: DataFormat,

    /// Also write the result as JSON to this file
    #[arg(long, value_name = "FILE")]
    pub export_json: Option<PathBuf>,
}

impl DataOutputArgs {
    /// Prints a result on standard output, and writes the file that was asked for. `human` makes the text for people.
    ///
    /// # Errors
    /// If standard output or the file cannot be written.
    pub fn write(&self, data: &impl Serialize, human: impl FnOnce() -> String) -> Result<()> {
        if let Some(file) = &self.export_json {
            write_file(file, &report::json(data))?;
        }
        match self.format {
            DataFormat::Human => print(&human(), true),
            DataFormat::Json => print(&report::json(data), false),
        }
    }
}

/// Writes a text to a file.
///
/// # Errors
/// If the file cannot be written.
pub fn write_file(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|cause| Error::failed("write", path.display(), cause))
}

/// Prints on standard output. Text for people loses its colours where they are not wanted.
fn print(text: &str, for_people: bool) -> Result<()> {
    let printed = match for_people {
        true => write_all(anstream::stdout().lock(), text),
        false => write_all(std::io::stdout().lock(), text),
    };
    printed.map_err(|cause| Error::failed("write to", "standard output", cause))
}

fn write_all(mut stream: impl Write, text: &str) -> std::io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, ms) in
            [("500ms", 500), ("10s", 10_000), ("1.5s", 1500), ("2m", 120_000), ("1m 30s", 90_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "7", "-1s", "fast", "7 parsecs", "25h"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("7").unwrap_err().contains("such as 500ms, 10s or 2m"));
    }

    #[test]
    fn variables_have_a_name() {
        assert_eq!(variable("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert!(variable("=x").is_err() && variable("A").is_err());
    }
}
