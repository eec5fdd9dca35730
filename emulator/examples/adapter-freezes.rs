//! Freezes servers behind the adapter for longer than their own limits of idle connections, and counts the calls that
//! are lost: `make adapter-freezes`. `emulator/tests/adapter-servers/install` has put the servers below
//! `target/adapter-servers`.
//!
//! In each freeze one call is sent on a connection that had one before, and one on a new connection. Two more follow
//! the thaw at once. All four are events, which nobody may send twice.

use fc_emulator::cleanup;
use fc_emulator::clock::Deadline;
use fc_emulator::freezer::FreezeWith;
use fc_emulator::http::Conn;
use fc_emulator::instance::{Instance, Limits, Setup, Variant};
use fc_emulator::platform::Settings;
use fc_emulator::target::{Ready, Spec};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A server, the part of the installation that it needs, how long it is frozen, how many instances of it run side by
/// side, and how it is started.
type Row = (&'static str, &'static str, Duration, usize, &'static str);

const ROWS: &[Row] = &[
    ("Node http (Express), keep-alive 5 s", "node", Duration::from_secs(7), 10, "node node/plain.js"),
    (
        "uvicorn, keep-alive 5 s",
        "python",
        Duration::from_secs(7),
        10,
        "python/bin/uvicorn --host 0.0.0.0 --port \"$PORT\" --log-level warning plain_asgi:app",
    ),
    (
        "gunicorn gthread, keep-alive 2 s",
        "python",
        Duration::from_secs(4),
        10,
        "python/bin/gunicorn -b \"0.0.0.0:$PORT\" -k gthread --threads 8 --log-level warning plain:app",
    ),
    ("Apache event, keep-alive 5 s", "apache", Duration::from_secs(7), 10, "apache/serve"),
    ("Tomcat, keep-alive 60 s", "tomcat", Duration::from_secs(63), 20, "tomcat/serve"),
];

const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [adapter, folder, ready, freezes, wanted @ ..] = args.as_slice() else {
        eprintln!("usage: adapter-freezes ADAPTER|- FOLDER READY FREEZES [NAME...]; `-` tries the servers alone");
        return ExitCode::from(2);
    };
    let (Ok(ready), Ok(freezes)) = (std::fs::read_to_string(ready), freezes.parse::<usize>()) else {
        eprintln!("adapter-freezes: {ready} cannot be read, or {freezes} is no number");
        return ExitCode::from(2);
    };
    let begun = cleanup::on_interrupt().map_err(|cause| cause.to_string());
    let begun = begun.and_then(|()| std::env::set_current_dir(folder).map_err(|cause| format!("{folder}: {cause}")));
    if let Err(cause) = begun {
        eprintln!("adapter-freezes: {cause}");
        return ExitCode::from(2);
    }
    let mut is_good = true;
    println!("| server | freezes | of | calls | lost |\n|---|---:|---:|---:|---:|");
    for row in ROWS.iter().filter(|row| wanted.is_empty() || wanted.iter().any(|name| row.0.contains(name.as_str()))) {
        if !ready.lines().any(|line| line.strip_prefix("ready ") == Some(row.1)) {
            let prefix = format!("missing {}: ", row.1);
            let why = ready.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or("it was not installed");
            println!("SKIPPED: {}: {why}", row.0);
            continue;
        }
        let counts = Counts::default();
        let instances = row.3.min(freezes);
        std::thread::scope(|scope| {
            for number in 0..instances {
                let share = freezes / instances + usize::from(number < freezes % instances);
                let counts = &counts;
                scope.spawn(move || {
                    if let Err(cause) = live(adapter, row, number, share, counts) {
                        eprintln!("{}: {cause}", row.0);
                        counts.broken.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let [done, calls, lost, broken] =
            [&counts.freezes, &counts.calls, &counts.lost, &counts.broken].map(|count| count.load(Ordering::Relaxed));
        is_good &= lost == 0 && broken == 0 && done == freezes;
        println!("| {} | {done} | {} s | {calls} | {lost} |", row.0, row.2.as_secs());
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Counts {
    freezes: AtomicUsize,
    calls: AtomicUsize,
    lost: AtomicUsize,
    /// Instances that could not be started or frozen.
    broken: AtomicUsize,
}

fn live(adapter: &str, row: &Row, number: usize, freezes: usize, counts: &Counts) -> Result<(), String> {
    let script = format!("export PORT=\"$FC_CUSTOM_LISTEN_PORT\"; exec {}", row.4);
    let program = ["sh", "-c", &script].map(str::to_owned);
    let command = if adapter == "-" { vec![] } else { vec![adapter.to_owned(), "--".to_owned()] };
    let limits = Limits {
        ready: 2 * PATIENCE,
        initialize: PATIENCE,
        call: PATIENCE,
        pre_freeze: PATIENCE,
        pre_stop: PATIENCE,
        term: PATIENCE,
    };
    let setup = Setup {
        spec: Spec::Command(command.into_iter().chain(program).collect()),
        settings: Settings::default(),
        freeze_with: FreezeWith::Auto,
        machines: None,
        port: None,
        env: Vec::new(),
        limits,
    };
    let mut instance = Instance::start(&setup, &Variant::default()).map_err(|cause| cause.to_string())?;
    let ready = instance.wait_ready();
    if ready != Ready::Yes {
        return Err(format!("not ready: {ready:?}"));
    }
    for freeze in 0..freezes {
        // Calls side by side, so that the adapter keeps several connections.
        let mut kept = (0..3).map(|_| instance.conn()).collect::<Result<Vec<Conn>, _>>()?;
        let event = |text: &str| instance.platform.invoke(format!("{text} {number} {freeze}")).bytes();
        let before = event("before");
        kept.iter_mut().try_for_each(|conn| conn.send(&before, Deadline::after(PATIENCE)))?;
        for conn in &mut kept {
            conn.read(Deadline::after(PATIENCE))?;
        }
        // The moment of the freeze differs from time to time.
        std::thread::sleep(Duration::from_millis(((number * 37 + freeze * 101) % 400) as u64));
        let (on_kept, on_new) = (event("frozen, kept"), event("frozen, new"));
        let (at_once, later) = (event("thawed, kept"), event("thawed, new"));
        instance.target.freeze().map_err(|cause| cause.to_string())?;
        std::thread::sleep(row.2);
        let mut new = instance.conn()?;
        kept[0].send(&on_kept, Deadline::after(PATIENCE))?;
        new.send(&on_new, Deadline::after(PATIENCE))?;
        instance.target.thaw().map_err(|cause| cause.to_string())?;
        let _ = kept[1].send(&at_once, Deadline::after(PATIENCE));
        let mut last = instance.conn()?;
        last.send(&later, Deadline::after(PATIENCE))?;
        let [first, second, ..] = &mut kept[..] else { return Err("three connections".to_owned()) };
        for (conn, text) in
            [(first, "frozen, kept"), (&mut new, "frozen, new"), (second, "thawed, kept"), (&mut last, "thawed, new")]
        {
            counts.calls.fetch_add(1, Ordering::Relaxed);
            let reply = conn.read(Deadline::after(PATIENCE));
            let expected = format!("{text} {number} {freeze}");
            match reply {
                Ok(reply) if reply.status == 200 && reply.body == expected.as_bytes() => {}
                other => {
                    counts.lost.fetch_add(1, Ordering::Relaxed);
                    let other = other.map(|reply| (reply.status, String::from_utf8_lossy(&reply.body).into_owned()));
                    eprintln!("{}: `{expected}` is lost: {other:?}", row.0);
                }
            }
        }
        counts.freezes.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
