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

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::freezer::FreezeWith;
use crate::platform::Hook;
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

/// Reads a file of environment variables in Docker's format. A line is `NAME=VALUE`, or `NAME` alone, which takes the
/// value from our own environment and means nothing if it has none. Empty lines and lines that begin with `#` do not
/// count. A value reaches to the end of its line, quotes and spaces included.
///
/// # Errors
/// If the file cannot be read, or a line has no name or a space in its name; the text names the line.
pub fn env_file(path: &Path) -> Result<Vec<(String, String)>> {
    let bytes = std::fs::read(path).map_err(|cause| Error::failed("read", path.display(), cause))?;
    let lines = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes).split(|byte| *byte == b'\n');
    let mut variables = Vec::new();
    for (number, line) in (1..).zip(lines) {
        let wrong = |what: &str| Err(Error::new(format!("{}, line {number}: {what}", path.display())));
        let Ok(line) = std::str::from_utf8(line) else { return wrong("the line is not UTF-8") };
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line, None),
        };
        if name.is_empty() {
            return wrong("there is no name before `=`: expected NAME=VALUE");
        }
        if name.contains(char::is_whitespace) {
            return wrong(&format!(
                "the name `{name}` contains a space: expected NAME=VALUE, with no space before `=`"
            ));
        }
        if line.contains('\0') {
            return wrong("the line contains a NUL byte, which no variable can hold");
        }
        if let Some(value) = value.or_else(|| std::env::var(name).ok()) {
            variables.push((name.to_owned(), value));
        }
    }
    Ok(variables)
}

/// A set of hooks in one argument.
#[derive(Clone, Debug)]
pub struct Hooks(BTreeSet<Hook>);

impl FromIterator<Hook> for Hooks {
    fn from_iter<I: IntoIterator<Item = Hook>>(hooks: I) -> Self {
        Self(hooks.into_iter().collect())
    }
}

impl Hooks {
    /// The hooks.
    pub fn set(&self) -> &BTreeSet<Hook> {
        &self.0
    }
}

pub(crate) fn parse_hooks(text: &str) -> std::result::Result<Hooks, String> {
    if text == "none" {
        return Ok(Hooks(BTreeSet::new()));
    }
    let hook = |name: &str| {
        let named = Hook::ALL.into_iter().find(|hook| &hook.path()[1..] == name);
        named.ok_or_else(|| format!("unknown hook `{name}`: expected initialize, pre-freeze or pre-stop"))
    };
    text.split(',').map(hook).collect::<std::result::Result<_, _>>().map(Hooks)
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
    #[arg(long, visible_alias = "junit", value_name = "FILE")]
    pub export_junit: Option<PathBuf>,

    /// Also write the result as TAP to this file
    #[arg(long, value_name = "FILE")]
    pub export_tap: Option<PathBuf>,
}

impl OutputArgs {
    /// Prints a result on standard output, and writes the files that were asked for. If one of these cannot be written,
    /// the others are written all the same.
    ///
    /// # Errors
    /// If standard output or a file cannot be written.
    pub fn write(&self, report: &impl Report) -> Result<()> {
        let files =
            [(&self.export_json, Format::Json), (&self.export_junit, Format::Junit), (&self.export_tap, Format::Tap)];
        let mut outcome = print(&report::render(report, self.format), self.format == Format::Human);
        for (file, format) in files {
            if let Some(file) = file {
                outcome = outcome.and(write_file(file, &report::render(report, format)));
            }
        }
        outcome
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
    /// Prints a result on standard output, and writes the file that was asked for. If one of both cannot be written,
    /// the other is written all the same. `human` makes the text for people.
    ///
    /// # Errors
    /// If standard output or the file cannot be written.
    pub fn write(&self, data: &impl Serialize, human: impl FnOnce() -> String) -> Result<()> {
        let printed = match self.format {
            DataFormat::Human => print(&human(), true),
            DataFormat::Json => print(&report::json(data), false),
        };
        let written = self.export_json.as_ref().map(|file| write_file(file, &report::json(data)));
        printed.and(written.unwrap_or(Ok(())))
    }
}

/// Looks before long work whether a file can be written behind it. What is in it stays.
///
/// # Errors
/// If the file cannot be written.
pub fn check_file(path: &Path) -> Result<()> {
    let failed = |cause| Error::failed("write", path.display(), cause);
    match File::options().write(true).create_new(true).open(path) {
        Ok(_) => std::fs::remove_file(path).map_err(failed),
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {
            File::options().append(true).open(path).map(drop).map_err(failed)
        }
        Err(cause) => Err(failed(cause)),
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
    fn a_file_of_variables_reads_as_docker_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let read = |bytes: &[u8]| {
            let path = folder.path().join("env");
            std::fs::write(&path, bytes).unwrap();
            env_file(&path).map_err(|error| error.to_string().replace(&path.display().to_string(), "env"))
        };
        let text = "\u{feff}# comment\r\nA=b=c\r\n\n  B= x \"y\" # no comment\nC=\nFC_EMULATOR_UNSET\nCARGO_PKG_NAME\n";
        let expected = [("A", "b=c"), ("B", " x \"y\" # no comment"), ("C", ""), ("CARGO_PKG_NAME", "fc-emulator")];
        assert_eq!(read(text.as_bytes()), Ok(expected.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec()));
        for (bytes, told) in [
            (&b"A=1\n=2"[..], "env, line 2: there is no name"),
            (b"\n\nA B=1", "env, line 3: the name `A B` contains a space"),
            (b"A =1", "env, line 1: the name `A ` contains a space"),
            (b"A=\xff", "env, line 1: the line is not UTF-8"),
            (b"A=\0", "env, line 1: the line contains a NUL byte"),
        ] {
            let error = read(bytes).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
        assert!(env_file(&folder.path().join("none")).unwrap_err().to_string().starts_with("failed to read"));
    }

    #[test]
    fn variables_have_a_name() {
        assert_eq!(variable("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert!(variable("=x").is_err() && variable("A").is_err());
    }
}
