//! The history of the ten lines: one line of figures for each whole run of a commit, as CSV.
//!
//! The first line names the columns. A later version can add columns; those that it does not know stay as they are.

use std::path::Path;
use std::process::Command;

use crate::results::Results;
use crate::stats::figures;
use fc_emulator::error::{Error, Result};
use fc_emulator::options::write_file;

/// The contender whose figures are kept.
const NAME: &str = "hello";

/// The connections of the load that is kept.
const CONNECTIONS: u32 = 16;

/// The length of the event whose echo is kept.
const PAYLOAD_BYTES: u64 = 32 << 20;
/// The size of the bursts that are kept.
const BURST: u32 = 100;

/// A history in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    columns: Vec<String>,
    lines: Vec<Vec<String>>,
}

/// A figure over the runs: the commit of each, and the value.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The name of the column.
    pub column: String,
    /// The runs that have the figure.
    pub points: Vec<(String, f64)>,
}

impl History {
    /// Reads a history. An empty text is one without runs.
    ///
    /// # Errors
    /// The text is no CSV, or a line has another number of values than the first one.
    pub fn parse(text: &str) -> std::result::Result<History, csv::Error> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let owned = |record: &csv::StringRecord| record.iter().map(str::to_owned).collect::<Vec<_>>();
        let columns = owned(reader.headers()?);
        let lines = reader.records().map(|record| record.map(|record| owned(&record)));
        Ok(History { columns, lines: lines.collect::<std::result::Result<_, _>>()? })
    }

    /// Adds a run. A column that is new is empty in earlier runs.
    pub fn add(&mut self, run: &[(&str, String)]) {
        for (column, _) in run {
            if !self.columns.iter().any(|known| known == column) {
                self.columns.push((*column).to_owned());
                self.lines.iter_mut().for_each(|line| line.push(String::new()));
            }
        }
        let value = |column: &String| run.iter().find(|(name, _)| name == column).map(|(_, value)| value.clone());
        self.lines.push(self.columns.iter().map(|column| value(column).unwrap_or_default()).collect());
    }

    /// The history as CSV.
    ///
    /// # Errors
    /// The writer fails, which it does not in memory.
    pub fn to_csv(&self) -> std::result::Result<String, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&self.columns)?;
        for line in &self.lines {
            writer.write_record(line)?;
        }
        let bytes = writer.into_inner().map_err(|error| error.into_error())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Every column of numbers with at least one value.
    pub fn series(&self) -> Vec<Series> {
        let commit = self.columns.iter().position(|column| column == COMMIT);
        let series = |(index, column): (usize, &String)| {
            let point = |line: &Vec<String>| {
                let value = line[index].parse().ok().filter(|value: &f64| value.is_finite())?;
                Some((commit.map(|commit| line[commit].clone()).unwrap_or_default(), value))
            };
            Series { column: column.clone(), points: self.lines.iter().filter_map(point).collect() }
        };
        let named = self.columns.iter().enumerate().filter(|(_, column)| !matches!(column.as_str(), COMMIT | BEGAN));
        named.map(series).filter(|series| !series.points.is_empty()).collect()
    }
}

const COMMIT: &str = "commit";
const BEGAN: &str = "began";

/// The figures of a run, by column. A figure that was not measured is empty.
pub fn run(results: &Results, commit: &str) -> Vec<(&'static str, String)> {
    let text =
        |value: Option<f64>, decimals: usize| value.map(|value| format!("{value:.decimals$}")).unwrap_or_default();
    let whole = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    let described = results.contenders.iter().find(|contender| contender.name == NAME);
    let processes = results.coldstart.as_ref().map_or(&[][..], |coldstart| &coldstart.process);
    let starts = figures::starts(results, processes);
    let start = starts.iter().find(|row| row.contender.name == NAME);
    let counts = figures::counts(results);
    let counts = counts.iter().find(|row| row.contender.name == NAME).map(|row| row.counts);
    let blocks = figures::load(results);
    let is_kept = |block: &&figures::LoadBlock| {
        block.pattern.connections == CONNECTIONS && block.pattern.rate.is_none() && !block.pattern.reconnect
    };
    let rows = blocks.iter().find(is_kept).map_or(&[][..], |block| &block.rows);
    let load = rows.iter().find(|row| row.contender.name == NAME && row.markers != Some(true));
    let thaws = figures::thaw(results);
    let thaw = thaws.iter().find(|row| row.contender.name == NAME);
    let payloads = figures::payloads(results);
    let payload = payloads.iter().find(|block| block.body_bytes == PAYLOAD_BYTES).map_or(&[][..], |block| &block.rows);
    let echo = payload.iter().find(|row| row.contender.name == figures::OUR_ECHO);
    let hyper = payload.iter().find(|row| row.contender.name == figures::COLLECTS);
    let fleets = figures::fleets(results);
    let fleet = fleets.first().and_then(|fleets| fleets.rows.iter().find(|row| row.contender.name == NAME));
    let requests = figures::requests(results);
    let request = requests.iter().find(|row| row.contender.name == NAME);
    let bursts = figures::bursts(results);
    let burst = bursts.iter().find(|figures| figures.instances == BURST);
    let burst = burst.and_then(|figures| figures.rows.iter().find(|row| row.contender.name == NAME));
    vec![
        (COMMIT, commit.to_owned()),
        (BEGAN, results.began.to_string()),
        ("binary_bytes", whole(described.and_then(|contender| contender.binary_bytes))),
        ("calls_to_first_reply", whole(counts.and_then(|counts| counts.calls_to_initialize))),
        ("faults_to_first_reply", whole(counts.and_then(|counts| counts.minor_faults_to_initialize))),
        ("instructions_to_first_reply", whole(counts.and_then(|counts| counts.instructions))),
        ("start_ms", text(start.and_then(|row| row.initialize.median()).map(|us| us / 1e3), 3)),
        ("start_x_baseline", text(start.and_then(|row| row.ratio).map(|ratio| ratio.median), 3)),
        ("requests_per_second", text(load.and_then(|row| row.per_second.median()), 0)),
        ("load_x_baseline", text(load.and_then(|row| row.ratio).map(|ratio| ratio.median), 3)),
        ("server_cpu_us", text(load.and_then(|row| row.server_cpu_us), 2)),
        ("request_calls", text(request.and_then(|row| row.calls), 1)),
        ("request_instructions", text(request.and_then(|row| row.instructions), 0)),
        ("request_user_us", text(request.and_then(|row| row.user.median()), 2)),
        ("burst_ready_ms", text(burst.and_then(|row| row.last.median()).map(|us| us / 1e3), 1)),
        ("burst_x_baseline", text(burst.and_then(|row| row.ratio).map(|ratio| ratio.median), 3)),
        ("burst_cpu_ms", text(burst.and_then(|row| row.cpu.median()).map(|us| us / 1e3), 1)),
        ("burst_cpu_x_baseline", text(burst.and_then(|row| row.cpu_ratio).map(|ratio| ratio.median), 3)),
        ("thaw_us", text(thaw.and_then(|row| row.reply.median()), 1)),
        ("echo_32_mb_x_hyper", text(hyper.and_then(|row| row.ours).map(|ratio| ratio.median), 3)),
        ("echo_32_mb_cpu_x_hyper", text(hyper.and_then(|row| row.ours_cpu).map(|ratio| ratio.median), 3)),
        ("echo_32_mb_peak_x_body", text(echo.and_then(|row| row.peak), 3)),
        ("private_kb", text(fleet.and_then(|row| row.private_kb), 0)),
    ]
}

/// Adds a run to a file, which need not exist, and returns the whole history. A checkout with changes has no commit
/// that the figures could be of, so its run is left out, and the reason is returned too.
///
/// # Errors
/// The file cannot be read, is no history, or cannot be written.
pub fn append(path: &Path, root: &Path, results: &Results) -> Result<(History, Option<String>)> {
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other.map_err(|cause| Error::failed("read", &name, cause))?,
    };
    let mut history = History::parse(&text).map_err(|cause| Error::failed("parse", &name, cause))?;
    let commit = match commit(path, root) {
        Ok(commit) => commit,
        Err(reason) => return Ok((history, Some(format!("{name} has no new line: {reason}")))),
    };
    history.add(&run(results, &commit));
    let text = history.to_csv().map_err(|cause| Error::failed("write", &name, cause))?;
    write_file(path, &text)?;
    Ok((history, None))
}

/// The commit that is checked out, or why the figures are of none.
fn commit(history: &Path, root: &Path) -> std::result::Result<String, String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(arguments).output();
        match output {
            Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            Ok(output) => Err(format!("git: {}", String::from_utf8_lossy(&output.stderr).trim())),
            Err(cause) => Err(format!("git cannot be run: {cause}")),
        }
    };
    // The history itself changes with every run.
    let own = history.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    match changed.lines().find(|line| !line.ends_with(&own)) {
        Some(line) => Err(format!("the checkout has changes: {}", line.trim())),
        None => git(&["rev-parse", "--short", "HEAD"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_other_versions_stay() {
        let mut history = History::parse("commit,old,start_ms\na1,7,0.5\n\"b,2\",8,\n").unwrap();
        history.add(&[("commit", "c3".to_owned()), ("start_ms", "0.4".to_owned()), ("new", "1".to_owned())]);
        let text = history.to_csv().unwrap();
        assert_eq!(text, "commit,old,start_ms,new\na1,7,0.5,\n\"b,2\",8,,\nc3,,0.4,1\n");
        assert_eq!(History::parse(&text).unwrap(), history);
        let point = |commit: &str, value| (commit.to_owned(), value);
        let series = history.series();
        assert_eq!(series.iter().map(|series| &*series.column).collect::<Vec<_>>(), ["old", "start_ms", "new"]);
        assert_eq!(series[1].points, [point("a1", 0.5), point("c3", 0.4)]);
    }

    #[test]
    fn what_is_no_history_is_refused() {
        assert!(History::parse("commit,start_ms\na1\n").is_err());
        assert_eq!(History::parse("").unwrap().series(), []);
    }
}
