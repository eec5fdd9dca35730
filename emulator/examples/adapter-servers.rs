//! Checks programs that know nothing of the platform, alone and behind the adapter, and prints which rules each breaks:
//! `make adapter-servers`. `emulator/tests/adapter-servers/install` has put them below `target/adapter-servers`.

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A program, the part of the installation that it needs, and how it is started there.
type Row = (&'static str, &'static str, &'static [&'static str]);

const PORT: &str = "PORT";

const ROWS: &[Row] = &[
    ("Python http.server", "python", &["python/bin/python", "server.py"]),
    ("Flask", "python", &["python/bin/flask", "--app", "plain", "run", "--host", "0.0.0.0", "--port", PORT]),
    ("Express", "node", &["node", "node/plain.js"]),
    ("Go net/http", "go", &["go/plain"]),
    ("Java com.sun.net.httpserver", "java", &["java", "-cp", "java", "Plain"]),
    ("nginx + php-fpm", "php", &["php/serve"]),
];

/// How many programs are checked at the same time.
const AT_ONCE: usize = 2;

fn main() -> ExitCode {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [emulator, adapter, folder, ready] = args.as_slice() else {
        eprintln!("usage: adapter-servers EMULATOR ADAPTER FOLDER READY; READY has the lines of `install`");
        return ExitCode::from(2);
    };
    let Ok(ready) = std::fs::read_to_string(ready) else {
        eprintln!("adapter-servers: cannot read {}: run emulator/tests/adapter-servers/install", ready.display());
        return ExitCode::from(2);
    };
    let check = |row: &Row, behind: bool| {
        let mut command: Vec<String> = Vec::new();
        if behind {
            command.extend([adapter.display().to_string(), "--".to_owned()]);
        }
        let port = "\"$PORT\"";
        let words = row.2.iter().map(|word| if *word == PORT { port } else { word }).collect::<Vec<_>>().join(" ");
        command.extend(["sh".into(), "-c".into(), format!("export PORT=\"$FC_CUSTOM_LISTEN_PORT\"; exec {words}")]);
        let output = Command::new(emulator)
            .args(["check", "--strict", "--format=json", "--"])
            .args(&command)
            .current_dir(folder)
            .output()
            .map_err(|cause| format!("{}: {cause}", emulator.display()))?;
        let report: Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "))?;
        Ok::<_, String>((output.status.success(), broken(&report)))
    };
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let lines = Mutex::new(vec![String::new(); ROWS.len()]);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < ROWS.len()) {
                    let row = &ROWS[index];
                    let line = match missing(row.1, &ready) {
                        Some(why) => format!("SKIPPED: {}: {why}", row.0),
                        None => match check(row, false).and_then(|alone| Ok((alone, check(row, true)?))) {
                            Ok(((_, alone), (passes, behind))) => {
                                failed.fetch_or(!passes, Ordering::Relaxed);
                                format!("| {} | {} | {} |", row.0, shown(&alone), shown(&behind))
                            }
                            Err(why) => {
                                failed.store(true, Ordering::Relaxed);
                                format!("NOT CHECKED: {}: {why}", row.0)
                            }
                        },
                    };
                    eprintln!("{line}");
                    lines.lock().expect("no thread panics with it")[index] = line;
                }
            });
        }
    });
    println!("| program | checks failed alone | checks failed behind the adapter |\n|---|---|---|");
    let lines = lines.into_inner().unwrap_or_default();
    let (rows, others): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.starts_with('|'));
    rows.iter().chain(&others).for_each(|line| println!("{line}"));
    if failed.into_inner() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Why a program cannot be started here.
fn missing(tool: &str, ready: &str) -> Option<String> {
    if ready.lines().any(|line| line.strip_prefix("ready ") == Some(tool)) {
        return None;
    }
    let prefix = format!("missing {tool}: ");
    let why = ready.lines().find_map(|line| line.strip_prefix(&prefix));
    Some(why.unwrap_or("it was not installed").to_owned())
}

/// The checks that failed, each with its rules.
fn broken(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().into_iter().flatten();
    let failed = findings.filter(|finding| finding["outcome"] == "failed" && finding["severity"] != "note");
    failed
        .map(|finding| {
            let text = |name: &str| finding[name].as_str().unwrap_or("?");
            format!("{} ({})", text("id"), text("rule"))
        })
        .collect()
}

fn shown(broken: &[String]) -> String {
    if broken.is_empty() { "none".to_owned() } else { format!("{}: {}", broken.len(), broken.join(", ")) }
}
