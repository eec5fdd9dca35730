//! Checks real servers, which `emulator/tests/real-servers/install` has put below `target/real-servers`, and prints the
//! table of `docs/servers-after-a-freeze.md`: `make real-servers`.
//!
//! Each server gets one whole check with the options by default. Each check of a connection over a freeze then runs
//! alone, with freezes longer than the server's own limits, so that no check hides another one.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

/// A server and how it is started. `PORT` in the command stands for the port.
struct Row {
    name: &'static str,
    settings: &'static str,
    /// Its part of the installation.
    tool: &'static str,
    /// A line for the shell, in the folder of the installation.
    command: &'static str,
    /// The seconds of a freeze and of idle time, longer than its limits if those are less than two minutes. `None`
    /// stands for the default of `fc-emulator check`.
    freeze: Option<u32>,
}

const fn row(
    name: &'static str,
    settings: &'static str,
    tool: &'static str,
    freeze: Option<u32>,
    command: &'static str,
) -> Row {
    Row { name, settings, tool, command, freeze }
}

/// The freezes of the options by default.
const DEFAULT: Option<u32> = None;

const ROWS: &[Row] = &[
    row("Flask", "development server", "python", DEFAULT, "python/bin/flask --app app run --host 0.0.0.0 --port PORT"),
    row("gunicorn sync", "defaults", "python", Some(33), "python/bin/gunicorn -b 0.0.0.0:PORT app:app"),
    row("gunicorn sync", "-t 0", "python", Some(33), "python/bin/gunicorn -b 0.0.0.0:PORT -t 0 app:app"),
    row(
        "gunicorn gthread",
        "defaults, 8 threads",
        "python",
        DEFAULT,
        "python/bin/gunicorn -b 0.0.0.0:PORT -k gthread --threads 8 app:app",
    ),
    row(
        "gunicorn gthread",
        "--keep-alive 900 -t 0",
        "python",
        Some(33),
        "python/bin/gunicorn -b 0.0.0.0:PORT -k gthread --threads 8 --keep-alive 900 -t 0 app:app",
    ),
    row("uvicorn", "defaults", "python", DEFAULT, "python/bin/uvicorn --host 0.0.0.0 --port PORT asgi:app"),
    row(
        "uvicorn",
        "--timeout-keep-alive 900",
        "python",
        DEFAULT,
        "python/bin/uvicorn --host 0.0.0.0 --port PORT --timeout-keep-alive 900 asgi:app",
    ),
    row("hypercorn", "defaults", "python", DEFAULT, "python/bin/hypercorn -b 0.0.0.0:PORT asgi:app"),
    row(
        "hypercorn",
        "--keep-alive 900",
        "python",
        DEFAULT,
        "python/bin/hypercorn -b 0.0.0.0:PORT --keep-alive 900 asgi:app",
    ),
    row("waitress", "defaults", "python", DEFAULT, "python/bin/waitress-serve --listen 0.0.0.0:PORT app:app"),
    row("Express", "defaults", "node", DEFAULT, "node node/express.js"),
    row("Express", "the fix below", "node", Some(75), "FIXED=1 node node/express.js"),
    row("Fastify", "defaults", "node", Some(75), "node node/fastify.js"),
    row("Fastify", "the fix below", "node", Some(75), "FIXED=1 node node/fastify.js"),
    row("Node cluster", "defaults, 2 workers", "node", DEFAULT, "node node/cluster.js"),
    row("Node cluster", "the fix below", "node", Some(75), "FIXED=1 node node/cluster.js"),
    row("Puma", "defaults", "puma", Some(33), "puma -b tcp://0.0.0.0:PORT ruby/config.ru"),
    row("Puma", "the fix below", "puma", Some(33), "puma -C ruby/fixed.rb -b tcp://0.0.0.0:PORT ruby/config.ru"),
    row("PHP", "php -S", "php", DEFAULT, "php -S 0.0.0.0:PORT php/index.php"),
    row("Go net/http", "defaults", "go", DEFAULT, "go/function"),
    row("Go net/http", "all four limits 5 s", "go", DEFAULT, "LIMIT=5s go/function"),
    row("Java com.sun.net.httpserver", "defaults", "java", Some(45), "java -cp java Function"),
    row(
        "Java com.sun.net.httpserver",
        "idleInterval=900",
        "java",
        Some(45),
        "java -Dsun.net.httpserver.idleInterval=900 -cp java Function",
    ),
];

/// The columns of the table, each with its check.
const COLUMNS: &[(&str, &str)] = &[
    ("idle", "keepalive-idle"),
    ("waits", "call-while-frozen"),
    ("at reply", "freeze-at-reply"),
    ("after", "keepalive-over-freeze"),
    ("head", "freeze-in-head"),
    ("kept head", "freeze-in-kept-head"),
    ("body", "freeze-in-body"),
    ("reply", "freeze-in-reply"),
];

/// How many servers are checked at the same time.
const AT_ONCE: usize = 2;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [emulator, folder, ready, wanted @ ..] = args.as_slice() else {
        eprintln!("usage: real-servers EMULATOR FOLDER READY [NAME...]; READY has the lines of `install`");
        return ExitCode::from(2);
    };
    let Ok(ready) = std::fs::read_to_string(ready) else {
        eprintln!("real-servers: cannot read {ready}: run emulator/tests/real-servers/install");
        return ExitCode::from(2);
    };
    let is_wanted = |row: &&Row| wanted.is_empty() || wanted.iter().any(|name| row.name.contains(name.as_str()));
    let rows: Vec<&Row> = ROWS.iter().filter(is_wanted).collect();
    if rows.is_empty() {
        eprintln!("real-servers: no server has a name with {}", wanted.join(" or "));
        return ExitCode::from(2);
    }
    let trial = Trial { emulator: PathBuf::from(emulator), folder: PathBuf::from(folder) };
    let results: Vec<_> = rows.iter().map(|_| Mutex::new(String::new())).collect();
    let (next, broken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < rows.len()) {
                    let line = match missing(rows[index], &ready) {
                        Some(why) => format!("SKIPPED: {} ({}): {why}", rows[index].name, rows[index].settings),
                        None => trial.line(rows[index]).unwrap_or_else(|why| {
                            broken.fetch_add(1, Ordering::Relaxed);
                            format!("NOT CHECKED: {} ({}): {why}", rows[index].name, rows[index].settings)
                        }),
                    };
                    eprintln!("{line}");
                    *results[index].lock().expect("no thread panics with it") = line;
                }
            });
        }
    });
    let lines: Vec<_> = results.into_iter().map(|line| line.into_inner().unwrap_or_default()).collect();
    print_table(&lines);
    if broken.load(Ordering::Relaxed) > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn print_table(lines: &[String]) {
    let names: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
    println!("| server | settings | freeze | {} | exit code: other checks that failed |", names.join(" | "));
    println!("|---|---|---:|{}---|", "---|".repeat(names.len()));
    let (rows, others): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.starts_with('|'));
    rows.iter().chain(&others).for_each(|line| println!("{line}"));
}

/// Why a row cannot be checked here.
fn missing(row: &Row, ready: &str) -> Option<String> {
    if ready.lines().any(|line| line.strip_prefix("ready ") == Some(row.tool)) {
        return None;
    }
    let prefix = format!("missing {}: ", row.tool);
    let why = ready.lines().find_map(|line| line.strip_prefix(&prefix));
    Some(why.unwrap_or("it was not installed").to_owned())
}

struct Trial {
    emulator: PathBuf,
    folder: PathBuf,
}

impl Trial {
    /// The line of the table.
    fn line(&self, row: &Row) -> Result<String, String> {
        let all = self.check(row, &[])?;
        let keeps = match outcome(&all, "keepalive") {
            Some("passed") => true,
            Some("failed") => false,
            other => return Err(format!("keepalive: {}", other.unwrap_or("not in the report"))),
        };
        let cells: Vec<_> = std::thread::scope(|scope| {
            let cell = |check: &'static str| scope.spawn(move || self.cell(row, check));
            let running: Vec<_> = COLUMNS.iter().map(|(_, check)| cell(check)).collect();
            running.into_iter().map(|cell| cell.join().unwrap_or_else(|_| Err("panicked".into()))).collect()
        });
        let cells = cells.into_iter().zip(COLUMNS).map(|(cell, (_, check))| {
            let on_kept = !matches!(*check, "freeze-in-head" | "freeze-in-body" | "freeze-in-reply");
            if on_kept && !keeps { Ok("–".to_owned()) } else { cell }
        });
        let cells = cells.collect::<Result<Vec<_>, _>>()?;
        let shown = |id: &str| COLUMNS.iter().any(|(_, check)| *check == id);
        let failed: Vec<_> = findings(&all)
            .filter(|finding| finding["outcome"] == "failed" && finding["severity"] != "note")
            .filter_map(|finding| Some((finding["id"].as_str()?, finding["severity"] == "must")))
            .filter(|(id, _)| !shown(id))
            .map(|(id, must)| if must { format!("**{id}**") } else { id.to_owned() })
            .collect();
        let failed = if failed.is_empty() { "none".to_owned() } else { failed.join(", ") };
        let code = all["exit_code"].as_i64().unwrap_or(-1);
        let Row { name, settings, .. } = row;
        let freeze = row.freeze.map_or_else(|| usual_freeze(&all), |secs| Some(format!("{secs} s")));
        let freeze = freeze.ok_or("the report does not say how long it froze")?;
        Ok(format!("| {name} | {settings} | {freeze} | {} | {code}: {failed} |", cells.join(" | ")))
    }

    fn cell(&self, row: &Row, check: &str) -> Result<String, String> {
        let span = |secs| ["freeze", "idle"].map(|what| format!("--{what}-for={secs}s")).to_vec();
        let spans = row.freeze.map_or(Vec::new(), span);
        let report = self.check(row, &[spans, vec![format!("--only={check}")]].concat())?;
        let finding = findings(&report).next().ok_or("the report is empty")?;
        let actual = finding["actual"].as_str().unwrap_or_default();
        Ok(match finding["outcome"].as_str() {
            Some("passed") => "ok".to_owned(),
            Some("failed") => format!("**{}**", ending(actual)),
            Some(other) => other.to_owned(),
            None => return Err("a finding without an outcome".to_owned()),
        })
    }

    /// The report of one `fc-emulator check`, with its exit code.
    fn check(&self, row: &Row, options: &[String]) -> Result<Value, String> {
        let command = row.command.replace("PORT", "\"$FC_CUSTOM_LISTEN_PORT\"");
        // The server itself is the main process, not the shell.
        let (variables, program) = match command.split_once(' ') {
            Some((variable, rest)) if variable.contains('=') => (format!("export {variable}; "), rest),
            _ => (String::new(), command.as_str()),
        };
        let output = Command::new(&self.emulator)
            .args(["check", "--format=json", "--call-timeout=30s"])
            .args(options)
            .args(["--", "sh", "-c", &format!("{variables}exec {program}")])
            .current_dir(Path::new(&self.folder))
            .stderr(Stdio::piped())
            .output()
            .map_err(|cause| format!("{}: {cause}", self.emulator.display()))?;
        let mut report: Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "))?;
        report["exit_code"] = output.status.code().into();
        Ok(report)
    }
}

/// How long the freezes of this report were: "6.5 s".
fn usual_freeze(report: &Value) -> Option<String> {
    let lines = report["circumstances"].as_array()?.iter().filter_map(Value::as_str);
    let spans = lines.filter_map(|line| line.strip_prefix("freezes of ")?.split(':').next());
    spans.map(str::to_owned).next()
}

fn findings(report: &Value) -> impl Iterator<Item = &Value> {
    report["findings"].as_array().into_iter().flatten()
}

fn outcome<'a>(report: &'a Value, id: &str) -> Option<&'a str> {
    findings(report).find(|finding| finding["id"] == id)?["outcome"].as_str()
}

/// How a call ended, in one word.
fn ending(actual: &str) -> String {
    let status = |text: &str| {
        text.split([':', ' ']).find(|word| word.len() == 3 && word.parse::<u16>().is_ok()).map(str::to_owned)
    };
    match actual {
        _ if actual.contains("`Keep-Alive") => "advertised".to_owned(),
        _ if actual.contains("reset") || actual.contains("Broken pipe") => "reset".to_owned(),
        _ if actual.contains("within an answer") => "cut".to_owned(),
        _ if actual.contains("closed the ") => "closed".to_owned(),
        _ => status(actual).unwrap_or_else(|| "failed".to_owned()),
    }
}
