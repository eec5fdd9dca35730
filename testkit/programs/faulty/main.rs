//! A small correct server with one thread for each connection and one switch for each fault.
//!
//! `faulty` alone keeps every rule that `fc-emulator check` can test. `faulty --fault NAME` breaks exactly one. With
//! `DIE_AT=PATH` in its environment it exits with code 3 at the first request for this path. It shares no code with the
//! emulator, so that a mistake in one cannot hide a mistake in the other.

mod app;
mod http;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use app::App;

/// The names of all faults. A misspelt name in a test is an error.
const FAULTS: &str = include_str!("names.txt");

/// Whether there is a fault of that name.
fn is_fault(name: &str) -> bool {
    FAULTS.lines().any(|fault| fault == name)
}

/// If the heartbeat pauses for longer than this, the process was frozen.
const FREEZE_SEEN: Duration = Duration::from_millis(900);

fn main() {
    let mut args = std::env::args().skip(1);
    let fault = match (args.next().as_deref(), args.next()) {
        (None, _) => String::new(),
        (Some("--fault"), Some(name)) if is_fault(&name) => name,
        _ => {
            eprintln!("usage: faulty [--fault {}]", FAULTS.trim_end().replace('\n', "|"));
            std::process::exit(2);
        }
    };
    let app = Arc::new(App::new(fault));
    if let Ok(event) = std::env::var("FC_CUSTOM_CONTAINER_EVENT")
        && !app.has("job-serves")
    {
        println!("{event}");
        std::process::exit(i32::from(event == "fail" && !app.has("job-always-0")));
    }
    on_sigterm(&app);
    if app.has("logs-environment") {
        app.print(&format!("environment: {:?}", std::env::vars().collect::<Vec<_>>()));
    }
    watch_for_freezes(&app);
    listen(&app);
}

fn on_sigterm(app: &Arc<App>) {
    if app.has("sigterm-default") {
        return;
    }
    let app = app.clone();
    let handler = move || {
        let hangs = app.has("sigterm-after-pre-stop-hangs") && app.was_stopped();
        if app.has("sigterm-ignored") || hangs {
            return;
        }
        app.flush();
        std::process::exit(i32::from(app.has("sigterm-exit-1")));
    };
    ctrlc::set_handler(handler).expect("no other handler is installed");
}

/// A timer that fires after a thaw, as some servers have one.
fn watch_for_freezes(app: &Arc<App>) {
    const FAULTS: [&str; 4] =
        ["watchdog-on-thaw", "needs-pre-freeze", "stale-before-first-call", "initialize-once-after-thaw"];
    if !FAULTS.iter().any(|fault| app.has(fault)) {
        return;
    }
    let app = app.clone();
    std::thread::spawn(move || {
        loop {
            let asleep = Instant::now();
            std::thread::sleep(Duration::from_millis(20));
            if asleep.elapsed() < FREEZE_SEEN {
                continue;
            }
            if app.has("watchdog-on-thaw") {
                std::process::exit(3);
            }
            app.thawed();
        }
    });
}

fn listen(app: &Arc<App>) {
    if app.has("needs-credentials-in-environment") && std::env::var_os("ALIBABA_CLOUD_SECURITY_TOKEN").is_none() {
        eprintln!("KeyError: ALIBABA_CLOUD_SECURITY_TOKEN");
        std::process::exit(1);
    }
    if app.has("exits-at-start") {
        eprintln!("cannot find the configuration");
        std::process::exit(13);
    }
    if app.has("never-listens") {
        loop {
            std::thread::park();
        }
    }
    let name = if app.has("legacy-port") { "FC_SERVER_PORT" } else { "FC_CUSTOM_LISTEN_PORT" };
    let port = std::env::var(name).ok().and_then(|port| port.parse().ok()).unwrap_or(9000);
    let ip = if app.has("loopback-only") { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let listener = TcpListener::bind((ip, port)).expect("the port is free");
    loop {
        match listener.accept() {
            Ok((stream, _)) if app.has("one-connection") => http::serve(app, stream),
            Ok((stream, _)) => {
                let app = app.clone();
                std::thread::spawn(move || http::serve(&app, stream));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The client closed the connection before we accepted it, or no descriptor is free for the moment.
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}
