//! The process around the server: signals and the orderly stop, the command line, the addresses that it listens on.

mod support;

use fc_testkit::proc;
use std::net::TcpListener;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use support::client::{End, request};
use support::process::{Ended, Setup};
use support::{is_linux, pattern, state_of, sys, temp_dir, users};

const STOPS: [i32; 2] = [libc::SIGTERM, libc::SIGINT];
/// A test that had to wait for the end of this drain would fail.
const ENDLESS_DRAIN: &str = "drain_ms_max=86400000";
const HALF_A_REQUEST: &str = "POST /do/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel";

/// C-STOP-3: at a stop signal the process runs pre-stop if the platform has not called it, and exits with 0.
#[test]
fn a_stop_signal_runs_pre_stop_once_and_exits_0() {
    let markers = |id| format!("FC PreStop Start RequestId: {id}\nFC PreStop End RequestId: {id}\n");
    for user in users() {
        for signal in STOPS {
            for setup in [Setup::inspector, || Setup::subject("full")] {
                let server = setup().user(user).start();
                server.process.signal(signal);
                assert_eq!(server.ended(), markers("-"), "the platform has not called");
                let server = setup().user(user).start();
                server.connect().call("GET", "/pre-stop", &[("x-fc-request-id", "p")], b"");
                server.process.signal(signal);
                assert_eq!(server.ended(), markers("p"), "the platform has called");
            }
            let server = Setup::subject("bare").user(user).start();
            server.process.signal(signal);
            assert_eq!(server.ended(), "", "the table has no such hook");
        }
    }
}

/// C-FRZ-4: a pre-stop that fails does not change the stop or its exit code.
#[test]
fn the_stop_is_orderly_even_if_pre_stop_fails() {
    for directive in ["error", "panic"] {
        let server = Setup::subject("full").env("SUBJECT_HOOKS", directive).expect_stderr().start();
        let printed = server.finish();
        assert!(printed.ends_with("PreStop End RequestId: -, Error: Unhandled function error\n"), "{printed}");
    }
}

/// Requests in progress when the signal comes are finished. Their replies say that the connection closes.
#[test]
fn requests_in_progress_are_finished() {
    if !is_linux("requests in progress") {
        return;
    }
    for signal in STOPS {
        // One request in the middle of its body, and one that the server cannot have read because it is stopped.
        let server = Setup::subject("full").limits(ENDLESS_DRAIN).start();
        let mut halfway = server.connect();
        halfway.send(HALF_A_REQUEST);
        server.wait_until_read();
        server.process.signal(libc::SIGSTOP);
        server.process.wait_for_state('T');
        let mut unseen = server.connect();
        unseen.send(request("GET", "/thing", &[], b""));
        server.process.signal(signal);
        server.process.signal(libc::SIGCONT);
        let reply = unseen.reply();
        assert_eq!((reply.text().as_str(), reply.header("connection")), ("GET thing", Some("close")));
        server.wait_until_not_listening();
        halfway.send("lo");
        let reply = halfway.reply();
        assert_eq!((reply.text().as_str(), reply.header("connection")), ("hello", Some("close")));
        for mut client in [halfway, unseen] {
            client.half_close();
            client.expect_close();
        }
        server.ended();
    }
}

/// A reply in progress when the signal comes arrives whole.
#[test]
fn replies_in_progress_arrive_whole() {
    if !is_linux("replies in progress") {
        return;
    }
    for name in ["big", "stream", "sized"] {
        let server = Setup::subject("full").limits(ENDLESS_DRAIN).start();
        let mut client = server.connect();
        client.send(request("GET", &format!("/do/{name}?8000000"), &[], b""));
        server.wait_until_stuck_on(&client);
        server.process.signal(libc::SIGTERM);
        server.wait_until_not_listening();
        assert!(client.reply().body == pattern(8_000_000), "{name}");
        client.expect_close();
        server.ended();
    }
}

/// A callback can see the signal and return early. Its answer still arrives.
#[test]
fn a_callback_sees_that_it_is_cancelled() {
    for signal in STOPS {
        let server = Setup::subject("full").start();
        let mut client = server.connect();
        client.send(request("GET", "/do/spin", &[], b""));
        server.process.stdout.wait_for("the callback", |text| text.contains("subject: spinning"));
        server.process.signal(signal);
        let reply = client.reply();
        assert_eq!((reply.text().as_str(), reply.header("connection")), ("cancelled", Some("close")));
        client.half_close();
        server.ended();
    }
}

/// The server closes idle connections at once, and does not wait for their clients.
#[test]
fn idle_connections_do_not_delay_the_stop() {
    let server = Setup::subject("full").limits(ENDLESS_DRAIN).start();
    let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for client in clients.iter_mut().take(10) {
        assert_eq!(client.get("/thing").status, 200);
    }
    server.finish();
    clients.iter_mut().for_each(|client| client.expect_close());
}

/// When the drain's time is over, the server closes the connections of clients that delay it: by half a head, half a
/// body, a reply that they do not take, or a rejection after which they do not close.
#[test]
fn the_drain_is_bounded() {
    let unread = request("GET", "/do/big?30000000", &[], b"");
    let cases: [&[u8]; 4] = [b"GET / HT", HALF_A_REQUEST.as_bytes(), &unread, b"BAD\r\n\r\n"];
    for sent in cases {
        let server = Setup::subject("full").limits("drain_ms_max=100,linger_ms_max=86400000").start();
        let mut client = server.connect();
        client.send(sent);
        server.wait_until_read();
        server.process.signal(libc::SIGTERM);
        server.ended();
        assert!(matches!(client.rest().1, End::Closed | End::Reset));
    }
}

/// A second signal ends the process at once, whatever it is doing. The exit code is 128 and the signal's number.
#[test]
fn a_second_signal_exits_at_once() {
    if !is_linux("the delivery of signals") {
        return;
    }
    for (first, second) in STOPS.iter().flat_map(|first| STOPS.map(|second| (*first, second))) {
        // In a callback that never returns, in such a pre-stop, and while the server waits for a client.
        for stuck_in in ["/do/stuck", "pre-stop", "the drain"] {
            let directive = if stuck_in == "pre-stop" { "stuck" } else { "" };
            let server = Setup::subject("full").env("SUBJECT_HOOKS", directive).limits(ENDLESS_DRAIN).start();
            let mut client = server.connect();
            match stuck_in {
                "pre-stop" => {}
                "the drain" => client.send(HALF_A_REQUEST),
                path => client.send(request("GET", path, &[], b"")),
            }
            let is_stuck = |text: &str| text.contains("subject: stuck\n");
            if stuck_in == "/do/stuck" {
                server.process.stdout.wait_for("the callback", is_stuck);
            }
            server.wait_until_read();
            server.process.deliver_signal(first);
            match stuck_in {
                "pre-stop" => _ = server.process.stdout.wait_for("pre-stop", is_stuck),
                "the drain" => server.wait_until_not_listening(),
                _ => server.process.wait_for_state('S'),
            }
            server.process.signal(second);
            assert_eq!(server.process.ended().code, 128 + second, "{first} then {second} in {stuck_in}");
        }
    }
}

/// The kernel drops signals for PID 1 that have no handler. The server handles its stop signals.
#[test]
fn as_pid_1() {
    if !is_linux("PID 1") {
        return;
    }
    if !fc_testkit::is_root() || !std::path::Path::new("/usr/bin/unshare").exists() {
        return fc_testkit::skip("PID 1 needs root and unshare");
    }
    let binary = env!("CARGO_BIN_EXE_fc-hooks");
    for signal in STOPS {
        let setup = Setup::program("/usr/bin/unshare").arg("--pid").arg("--fork").arg("--kill-child").arg(binary);
        let server = setup.start();
        let family = proc::family(server.pid());
        let [_, pid_1] = family[..] else { panic!("not one child: {family:?}") };
        assert_eq!(proc::status(pid_1, "NSpid").expect("it lives").split_whitespace().nth(1), Some("1"));
        assert_eq!(server.connect().call("POST", "/invoke", &[], b"event").text(), "event");
        sys::kill(pid_1, signal);
        server.ended();
    }
}

type Arguments<'a> = &'a [&'a str];
type Environment<'a> = &'a [(&'a str, &'a str)];

fn run(arguments: Arguments<'_>, environment: Environment<'_>) -> Ended {
    let setup = arguments.iter().fold(Setup::inspector().expect_stderr(), |setup, argument| setup.arg(argument));
    environment.iter().fold(setup, |setup, (name, value)| setup.env(name, value)).run().ended()
}

/// The help is compared with a recorded text. After a wanted change, `cargo run -- --help > tests/help.txt` records it.
#[test]
fn help_and_version() {
    let (help, version) = (include_str!("help.txt"), concat!("fc-hooks ", env!("CARGO_PKG_VERSION"), "\n"));
    for (argument, expected) in [("--help", help), ("-h", help), ("--version", version), ("-V", version)] {
        let ended = run(&[argument], &[]);
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (0, expected, ""), "{argument}");
    }
    let ended = run(&["--limit", "help"], &[]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    for limit in fc_hooks::Limits::NAMES {
        let entry = format!("\n  {}={}\n      {} [{} to ", limit.name, limit.default, limit.meaning, limit.min);
        assert!(ended.stdout.contains(&entry) && !limit.meaning.is_empty(), "{entry}{}", ended.stdout);
    }
}

/// Misuse ends with exit code 2, one line on standard error that names the mistake, and nothing on standard output.
#[test]
fn misuse_exits_2() {
    let address = "expected [ADDR:]PORT (such as 0.0.0.0:9000) or unix:PATH, not";
    let cases: [(Arguments<'_>, Environment<'_>, &str); 17] = [
        (&["--nope"], &[], "invalid option '--nope' (--help lists the options)"),
        (&["-x"], &[], "invalid option '-x' (--help lists the options)"),
        (&["serve"], &[], "unexpected argument 'serve' (a program stands behind --; --help lists the options)"),
        (&["--listen"], &[], "missing argument for option '--listen'"),
        (&["--listen", "host:9000"], &[], &format!("--listen: {address} 'host:9000'")),
        (&["--socket-mode", "rw"], &[], "--socket-mode: expected a mode such as 0660, not 'rw'"),
        (&["--hooks-from", "me"], &[], "--hooks-from: expected loopback, ADDR or ADDR/PREFIX, with commas "),
        (&["--require-control-path=yes"], &[], "unexpected argument for option '--require-control-path': \"yes\""),
        (&["--health-path", "x"], &[], "--health-path: 'x': the path does not begin with '/'"),
        (&["--limit", "x=1"], &[], "--limit: unknown limit 'x'"),
        (&["--limit", "headers_max=0"], &[], "--limit: limit headers_max: 0 is not between 1 and "),
        (&[], &[("FC_CUSTOM_LISTEN_PORT", "x")], "FC_CUSTOM_LISTEN_PORT: expected a port from 1 to 65535, not 'x'"),
        (&[], &[("FC_SERVER_PORT", "70000")], "FC_SERVER_PORT: expected a port from 1 to 65535, not '70000'"),
        (&[], &[("FC_SERVER_PORT", "0")], "FC_SERVER_PORT: expected a port from 1 to 65535, not '0'"),
        (&[], &[("FC_HOOKS_LISTEN", "x")], &format!("FC_HOOKS_LISTEN: {address} 'x'")),
        (&[], &[("FC_HOOKS_LIMITS", "body_ms_max=x")], "FC_HOOKS_LIMITS: limit body_ms_max: 'x' is not a whole number"),
        (&[], &[("FC_HOOKS_LOG_MARKERS", "no")], "FC_HOOKS_LOG_MARKERS: expected on or off, not 'no'"),
    ];
    for (arguments, environment, message) in cases {
        let ended = run(arguments, environment);
        let expected = format!("fc-hooks: {message}");
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{arguments:?} {environment:?}");
        assert!(ended.stderr.starts_with(&expected), "{arguments:?} {environment:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    let ended = Setup::subject("full").env("FC_HOOKS_LIMITS", "x=1").expect_stderr().run().ended();
    assert_eq!((ended.code, &*ended.stderr), (2, "fc-hooks: FC_HOOKS_LIMITS: unknown limit 'x'\n"));
}

/// The table refuses the path of a route when it is compiled; for a path from the environment the start is the time.
#[test]
fn a_health_path_that_hides_a_route_exits_2() {
    for (path, cause) in [
        ("/thing", "a route of the table has the health check's path"),
        ("/any", "a route of the table has the health check's path"),
        ("/pre-stop", "the path belongs to a hook; only the hook's own constructor in Route can serve it"),
    ] {
        let ended = Setup::subject("full").env("FC_HOOKS_HEALTH_PATH", path).expect_stderr().run().ended();
        assert_eq!((ended.code, &*ended.stdout), (2, ""), "{path}");
        assert!(
            ended.stderr.starts_with("fc-hooks: ") && ended.stderr.ends_with(&format!("'{path}': {cause}\n")),
            "{}",
            ended.stderr
        );
    }
}

const IN_USE: &str = "address in use: end the process that listens there, or choose another address by FC_HOOKS_LISTEN";

/// A server that cannot listen says why and what to do, and exits with 1. C-START-1: the documented variable wins over
/// the older one.
#[test]
fn cannot_listen_exits_1() {
    let taken = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let (local, missing) = (format!("127.0.0.1:{port}"), "unix:/nonexistent/socket");
    let cases: [(Arguments<'_>, Environment<'_>, &str, &str); 6] = [
        (&["--listen", &local], &[], &local, IN_USE),
        (&[], &[("FC_HOOKS_LISTEN", &local), ("FC_CUSTOM_LISTEN_PORT", "1")], &local, IN_USE),
        (
            &[],
            &[("FC_CUSTOM_LISTEN_PORT", &port.to_string()), ("FC_SERVER_PORT", "x")],
            &format!("0.0.0.0:{port}"),
            IN_USE,
        ),
        (&[], &[("FC_SERVER_PORT", &port.to_string())], &format!("0.0.0.0:{port}"), IN_USE),
        (&["--listen", "192.0.2.1:0"], &[], "192.0.2.1:0", "address not available"),
        (&["--listen", missing], &[], missing, "no such file or directory"),
    ];
    for (arguments, environment, address, reason) in cases {
        let ended = run(arguments, environment);
        let message = format!("fc-hooks: cannot listen on {address}: {reason}\n");
        assert_eq!((ended.code, ended.stdout, ended.stderr), (1, String::new(), message));
    }
}

/// A port that nobody listens on, outside of the range that the kernel chooses from.
fn free_port() -> u16 {
    let first = 10_000 + (std::process::id() % 10_000) as u16;
    (first..).find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok()).expect("a free port")
}

/// C-START-1, C-LOG-4, C-DIA-2: the server listens on every address, on the platform's port. In an instance of the
/// platform it marks the end of the cold start in the log.
#[test]
fn listens_where_the_platform_says() {
    for variable in ["FC_CUSTOM_LISTEN_PORT", "FC_SERVER_PORT", "_FAAS_RUNTIME_PORT", "PORT"] {
        let port = free_port().to_string();
        let server = Setup::inspector().env(variable, &port).env("FC_FUNCTION_NAME", "shop").start_as_configured();
        assert_eq!(server.address, format!("0.0.0.0:{port}"));
        server
            .process
            .stdout
            .wait_for("the mark", |text| text.contains("\nFunctionCompute fc-hooks runtime inited.\n"));
        assert_eq!(server.connect().call("POST", "/invoke", &[], b"event").text(), "event");
        server.finish();
    }
    let bad = [("FC_HOOKS_LISTEN", "unix:")];
    assert_eq!(run(&["--help"], &bad).code, 0, "help needs no valid environment");
    assert_eq!(run(&["--listen", "127.0.0.1:0"], &bad).code, 2, "a valid argument does not hide the mistake");
}

/// A port alone and a name for this machine are addresses too; `[::]` takes clients of both kinds.
#[test]
fn listens_where_the_user_says() {
    for (listen, expected) in [("0", "0.0.0.0:"), (":0", "0.0.0.0:"), ("localhost:0", "127.0.0.1:")] {
        let server = Setup::inspector().arg("--listen").arg(listen).start_as_configured();
        assert!(server.address.starts_with(expected), "{listen}: {}", server.address);
        assert_eq!(server.connect().get("/").status, 200);
        server.finish();
    }
    if TcpListener::bind("[::1]:0").is_err() {
        return fc_testkit::skip("listening on [::]: this machine has no IPv6");
    }
    let server = Setup::inspector().arg("--listen").arg("[::]:0").start_as_configured();
    assert!(server.address.starts_with("[::]:"), "{}", server.address);
    for client in ["127.0.0.1", "::1"] {
        std::net::TcpStream::connect((client, server.tcp().port())).expect("a connection");
    }
    server.finish();
}

/// An empty event is no event: a platform or a shell may set every variable that it knows of.
#[test]
fn an_empty_event_is_no_event() {
    for setup in [Setup::inspector(), Setup::subject("full")] {
        let server = setup.env("FC_CUSTOM_CONTAINER_EVENT", "").start();
        assert_eq!(server.connect().call("POST", "/invoke", &[], b"event").text(), "event");
        server.finish();
    }
}

/// A misspelt variable changes nothing, so the server warns of it. It does not show its value.
#[test]
fn misspelt_variables_are_warned_of() {
    for setup in [Setup::inspector(), Setup::subject("full")] {
        let server =
            setup.env("FC_HOOKS_LIMIT", "headers_max=1").env("FC_HOOKS_LOG_MARKERS", "off").expect_stderr().start();
        let warned = server.process.stderr.wait_for("the warning", |text| text.contains('\n'));
        assert!(warned.contains("WARN") && warned.contains("no setting has the variable FC_HOOKS_LIMIT"), "{warned}");
        assert!(warned.lines().count() == 1 && !warned.contains("headers_max"), "{warned}");
        assert_eq!(
            server.connect().call("POST", "/invoke", &[("a", "b")], b"event").text(),
            "event",
            "no limit is set"
        );
        server.process.signal(libc::SIGTERM);
        server.ended();
    }
}

/// A server on a Unix socket serves like on TCP. It replaces a socket file without a listener, and removes its own at
/// the end.
#[test]
fn unix_sockets() {
    for user in users() {
        let directory = temp_dir();
        let path = directory.path().join("socket");
        for stale in [false, true] {
            if stale {
                drop(UnixListener::bind(&path).expect("a socket file"));
                // The server may replace its own file. In a directory with the sticky bit it may replace no other.
                std::os::unix::fs::chown(&path, user, user).expect("the server gets it");
            }
            let address = format!("unix:{}", path.display());
            let server = Setup::inspector().user(user).env("FC_HOOKS_LISTEN", &address).start_as_configured();
            assert_eq!(server.address, address);
            assert!(path.symlink_metadata().expect("a file").file_type().is_socket());
            let mut client = server.connect();
            assert_eq!(client.get("/").json()["request"]["peer"], "unix");
            assert!(client.call("POST", "/invoke", &[], &pattern(1 << 20)).body == pattern(1 << 20));
            server.finish();
            assert!(!path.exists(), "removed at the end");
        }
    }
}

/// The permissions of the socket's file are those that are asked for, whatever the umask is.
#[test]
fn the_mode_of_a_unix_socket() {
    use std::os::unix::fs::PermissionsExt;
    let directory = temp_dir();
    let path = directory.path().join("socket");
    for mode in [0o600, 0o660, 0o777] {
        let listen = format!("unix:{}", path.display());
        let by_option = Setup::inspector().arg("--listen").arg(&listen).arg("--socket-mode").arg(format!("0{mode:o}"));
        let by_variable =
            Setup::inspector().env("FC_HOOKS_LISTEN", &listen).env("FC_HOOKS_SOCKET_MODE", format!("{mode:o}"));
        for setup in [by_option, by_variable] {
            let server = setup.start_as_configured();
            assert_eq!(path.symlink_metadata().expect("a file").permissions().mode() & 0o7777, mode);
            assert_eq!(server.connect().get("/").status, 200);
            server.finish();
        }
    }
}

/// The server leaves files that are no sockets alone, and sockets with a listener.
#[test]
fn a_file_that_is_not_ours_is_left_alone() {
    let directory = temp_dir();
    let path = directory.path().join("file");
    let address = format!("unix:{}", path.display());
    let in_use = format!("fc-hooks: cannot listen on {address}: {IN_USE}\n");
    std::fs::write(&path, "precious").expect("a file");
    let ended = run(&["--listen", &address], &[]);
    assert_eq!((ended.code, ended.stderr.as_str()), (1, in_use.as_str()));
    assert_eq!(std::fs::read_to_string(&path).expect("still there"), "precious");
    std::fs::remove_file(&path).expect("ours");
    let server = Setup::inspector().arg("--listen").arg(&address).start_as_configured();
    let ended = run(&["--listen", &address], &[]);
    assert_eq!((ended.code, ended.stderr.as_str()), (1, in_use.as_str()));
    assert_eq!(server.connect().get("/").status, 200, "the first one still serves");
    server.finish();
}

/// Once a stopping server has closed its listener, another server may take the path. It must keep it when the first one
/// ends.
#[test]
fn a_successors_socket_survives_the_predecessors_end() {
    let directory = temp_dir();
    let address = format!("unix:{}", directory.path().join("socket").display());
    let serve = || Setup::subject("full").limits(ENDLESS_DRAIN).env("FC_HOOKS_LISTEN", &address).start_as_configured();
    let first = serve();
    let mut client = first.connect();
    client.send(HALF_A_REQUEST);
    first.wait_until_read();
    first.process.signal(libc::SIGTERM);
    first.wait_until_not_listening();
    let second = serve();
    client.send("lo");
    assert_eq!(client.reply().text(), "hello");
    client.half_close();
    first.ended();
    assert!(directory.path().join("socket").exists(), "the first server removed the socket of the second");
    assert_eq!(state_of(&second)["calls"], 1);
    second.finish();
}
