//! The process around the server: signals and the orderly stop, arguments, where it listens.

mod support;

use fc_testkit::proc;
use std::net::TcpListener;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use support::client::{End, request};
use support::process::{Ended, Setup};
use support::{is_linux, pattern, state_of, sys, temp_dir, users};

const STOPS: [i32; 2] = [libc::SIGTERM, libc::SIGINT];
/// So long that a test which has to wait for it fails.
const DRAIN_FOR_EVER: &str = "drain_ms_max=86400000";
const HALF_A_REQUEST: &str = "POST /do/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel";

/// C-STOP-3: a stop signal runs pre-stop if the platform did not call it, and ends with 0.
#[test]
fn a_stop_signal_runs_pre_stop_once_and_exits_0() {
    let markers = |id| format!("FC PreStop Start RequestId: {id}\nFC PreStop End RequestId: {id}\n");
    for user in users() {
        for signal in STOPS {
            for setup in [Setup::inspector, || Setup::subject("full")] {
                let server = setup().user(user).start();
                server.process.signal(signal);
                assert_eq!(server.ended(), markers("-"), "the platform did not call");
                let server = setup().user(user).start();
                server.connect().call("GET", "/pre-stop", &[("x-fc-request-id", "p")], b"");
                server.process.signal(signal);
                assert_eq!(server.ended(), markers("p"), "the platform has called");
            }
            let server = Setup::subject("bare").user(user).start();
            server.process.signal(signal);
            assert_eq!(server.ended(), "", "there is no such hook");
        }
    }
}

/// C-FRZ-4: however pre-stop fails, the stop is in order.
#[test]
fn a_failing_pre_stop_does_not_spoil_the_stop() {
    for directive in ["error", "panic"] {
        let server = Setup::subject("full").env("SUBJECT_HOOKS", directive).expect_stderr().start();
        let printed = server.finish();
        assert!(printed.ends_with("PreStop End RequestId: -, Error: Unhandled function error\n"), "{printed}");
    }
}

/// What is in hand when the signal comes is finished, and said to be the last on its connection.
#[test]
fn requests_in_hand_are_finished() {
    if !is_linux("when requests are in hand") {
        return;
    }
    for signal in STOPS {
        // In the middle of a body, and one that nobody has looked at yet because the process stands still.
        let server = Setup::subject("full").limits(DRAIN_FOR_EVER).start();
        let mut halfway = server.connect();
        halfway.send(HALF_A_REQUEST);
        server.has_read_everything();
        server.process.signal(libc::SIGSTOP);
        server.process.wait_for_state('T');
        let mut unseen = server.connect();
        unseen.send(request("GET", "/thing", &[], b""));
        server.process.signal(signal);
        server.process.signal(libc::SIGCONT);
        let reply = unseen.reply();
        assert_eq!((reply.text().as_str(), reply.header("connection")), ("GET thing", Some("close")));
        server.has_stopped_listening();
        halfway.send("lo");
        let reply = halfway.reply();
        assert_eq!((reply.text().as_str(), reply.header("connection")), ("hello", Some("close")));
        for mut client in [halfway, unseen] {
            client.half_close();
            client.is_closed();
        }
        server.ended();
    }
}

/// A reply that is on its way arrives whole.
#[test]
fn replies_on_their_way_arrive_whole() {
    if !is_linux("when replies are on their way") {
        return;
    }
    for name in ["big", "stream", "sized"] {
        let server = Setup::subject("full").limits(DRAIN_FOR_EVER).start();
        let mut client = server.connect();
        client.send(request("GET", &format!("/do/{name}?8000000"), &[], b""));
        server.is_stuck_on(&client);
        server.process.signal(libc::SIGTERM);
        server.has_stopped_listening();
        assert!(client.reply().body == pattern(8_000_000), "{name}");
        client.is_closed();
        server.ended();
    }
}

/// A callback can see the signal, return early, and its answer still arrives.
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

/// Connections with nothing on them are closed at once: nobody waits for their clients.
#[test]
fn idle_connections_do_not_delay_the_stop() {
    let server = Setup::subject("full").limits(DRAIN_FOR_EVER).start();
    let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for client in clients.iter_mut().take(10) {
        assert_eq!(client.get("/thing").status, 200);
    }
    server.finish();
    clients.iter_mut().for_each(|client| client.is_closed());
}

/// A client that does not do its part is cut when the drain's time is over: half a head, half a body, a reply it does
/// not take, a refusal it does not take leave from.
#[test]
fn the_drain_is_bounded() {
    let unread = request("GET", "/do/big?30000000", &[], b"");
    let cases: [&[u8]; 4] = [b"GET / HT", HALF_A_REQUEST.as_bytes(), &unread, b"BAD\r\n\r\n"];
    for sent in cases {
        let server = Setup::subject("full").limits("drain_ms_max=100,linger_ms_max=86400000").start();
        let mut client = server.connect();
        client.send(sent);
        server.has_read_everything();
        server.process.signal(libc::SIGTERM);
        server.ended();
        assert!(matches!(client.rest().1, End::Closed | End::Reset));
    }
}

/// A second signal ends the process at once, with 128 and its number, whatever the process is doing.
#[test]
fn a_second_signal_exits_at_once() {
    if !is_linux("when a signal has been delivered") {
        return;
    }
    for (first, second) in STOPS.iter().flat_map(|first| STOPS.map(|second| (*first, second))) {
        // In a callback that never returns, in pre-stop, and while a client is waited for.
        for stuck_in in ["/do/stuck", "pre-stop", "the drain"] {
            let directive = if stuck_in == "pre-stop" { "stuck" } else { "" };
            let server = Setup::subject("full").env("SUBJECT_HOOKS", directive).limits(DRAIN_FOR_EVER).start();
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
            server.has_read_everything();
            server.process.deliver(first);
            match stuck_in {
                "pre-stop" => _ = server.process.stdout.wait_for("pre-stop", is_stuck),
                "the drain" => server.has_stopped_listening(),
                _ => server.process.wait_for_state('S'),
            }
            server.process.signal(second);
            assert_eq!(server.process.ended().code, 128 + second, "{first} then {second} in {stuck_in}");
        }
    }
}

/// As PID 1 the kernel ignores signals without a handler: ours have one.
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

#[test]
fn help_and_version() {
    let version = format!("fc-hooks {}\n", env!("CARGO_PKG_VERSION"));
    let cases = [
        (&["--help"][..], "Usage: fc-hooks [OPTIONS]"),
        (&["-h"], "Exit codes: 0 stopped in order; 1 cannot listen; 2 misuse; 128 + n second signal n"),
        (&["--version"], &version),
        (&["-V"], &version),
        (&["--limit", "help"], "head_bytes_max"),
    ];
    for (arguments, expected) in cases {
        let ended = run(arguments, &[]);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(ended.stdout.contains(expected) && ended.stdout.ends_with('\n'), "{arguments:?}: {}", ended.stdout);
    }
}

/// Misuse: exit code 2, one line that names what is wrong, and nothing on standard output.
#[test]
fn misuse_exits_2() {
    let neither = "is neither ADDR:PORT (such as 0.0.0.0:9000) nor unix:PATH";
    let cases: [(Arguments<'_>, Environment<'_>, &str); 14] = [
        (&["--nope"], &[], "invalid option '--nope' (--help lists the options)"),
        (&["-x"], &[], "invalid option '-x' (--help lists the options)"),
        (&["serve"], &[], "unexpected argument \"serve\" (--help lists the options)"),
        (&["--listen"], &[], "missing argument for option '--listen'"),
        (&["--listen", "9000"], &[], &format!("--listen: '9000' {neither}")),
        (&["--require-control-path=yes"], &[], "unexpected argument for option '--require-control-path': \"yes\""),
        (&["--health-path", "x"], &[], "--health-path: 'x' is not a path"),
        (&["--limit", "x=1"], &[], "--limit: no limit is called 'x'"),
        (&["--limit", "headers_max=0"], &[], "--limit: limit headers_max: 0 is not between 1 and "),
        (&[], &[("FC_CUSTOM_LISTEN_PORT", "x")], "FC_CUSTOM_LISTEN_PORT: 'x' is not a port"),
        (&[], &[("FC_SERVER_PORT", "70000")], "FC_SERVER_PORT: '70000' is not a port"),
        (&[], &[("FC_HOOKS_LISTEN", "x")], &format!("FC_HOOKS_LISTEN: 'x' {neither}")),
        (&[], &[("FC_HOOKS_LIMITS", "body_ms_max=x")], "FC_HOOKS_LIMITS: limit body_ms_max: 'x' is not a whole number"),
        (&[], &[("FC_HOOKS_LOG_MARKERS", "no")], "FC_HOOKS_LOG_MARKERS: 'no' is neither on nor off"),
    ];
    for (arguments, environment, message) in cases {
        let ended = run(arguments, environment);
        let expected = format!("fc-hooks: {message}");
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{arguments:?} {environment:?}");
        assert!(ended.stderr.starts_with(&expected), "{arguments:?} {environment:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    let ended = Setup::subject("full").env("FC_HOOKS_LIMITS", "x=1").expect_stderr().run().ended();
    assert_eq!((ended.code, &*ended.stderr), (2, "fc-hooks: FC_HOOKS_LIMITS: no limit is called 'x'\n"));
}

/// Exit code 1 and the reason where it cannot listen. C-START-1: the documented variable wins over the older one.
#[test]
fn cannot_listen_exits_1() {
    let taken = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let (local, missing) = (format!("127.0.0.1:{port}"), "unix:/nonexistent/socket");
    let cases: [(Arguments<'_>, Environment<'_>, &str, &str); 6] = [
        (&["--listen", &local], &[], &local, "address in use"),
        (&[], &[("FC_HOOKS_LISTEN", &local), ("FC_CUSTOM_LISTEN_PORT", "0")], &local, "address in use"),
        (
            &[],
            &[("FC_CUSTOM_LISTEN_PORT", &port.to_string()), ("FC_SERVER_PORT", "0")],
            &format!("0.0.0.0:{port}"),
            "address in use",
        ),
        (&[], &[("FC_SERVER_PORT", &port.to_string())], &format!("0.0.0.0:{port}"), "address in use"),
        (&["--listen", "192.0.2.1:0"], &[], "192.0.2.1:0", "address not available"),
        (&["--listen", missing], &[], missing, "no such file or directory"),
    ];
    for (arguments, environment, address, reason) in cases {
        let ended = run(arguments, environment);
        let message = format!("fc-hooks: cannot listen on {address}: {reason}\n");
        assert_eq!((ended.code, ended.stdout, ended.stderr), (1, String::new(), message));
    }
}

/// C-START-1, C-LOG-4: on every address, on the port that the platform says; the cold start's end is marked there.
#[test]
fn listens_where_the_platform_says() {
    for variable in ["FC_CUSTOM_LISTEN_PORT", "FC_SERVER_PORT"] {
        let server = Setup::inspector().env(variable, "0").env("FC_FUNCTION_NAME", "shop").start_as_configured();
        assert!(server.address.starts_with("0.0.0.0:") && server.tcp().port() > 0, "{}", server.address);
        server
            .process
            .stdout
            .wait_for("the mark", |text| text.contains("\nFunctionCompute fc-hooks runtime inited.\n"));
        assert_eq!(server.connect().call("POST", "/invoke", &[], b"event").text(), "event");
        server.finish();
    }
    let bad = [("FC_HOOKS_LISTEN", "unix:")];
    assert_eq!(run(&["--help"], &bad).code, 0, "help is to be had in a bad environment too");
    assert_eq!(run(&["--listen", "127.0.0.1:0"], &bad).code, 2, "an argument does not hide it");
}

/// A Unix socket serves like any other, replaces what nobody listens on, and is gone at the end.
#[test]
fn unix_sockets() {
    for user in users() {
        let directory = temp_dir();
        let path = directory.path().join("socket");
        for stale in [false, true] {
            if stale {
                drop(UnixListener::bind(&path).expect("a socket file"));
                // Its owner may replace it; in a directory with the sticky bit nobody else.
                std::os::unix::fs::chown(&path, user, user).expect("hand it over");
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

/// What is not a socket that nobody listens on is left alone.
#[test]
fn a_file_that_is_not_ours_is_left_alone() {
    let directory = temp_dir();
    let path = directory.path().join("file");
    let address = format!("unix:{}", path.display());
    let in_use = format!("fc-hooks: cannot listen on {address}: address in use\n");
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

/// A stopping server has closed its listener; another may take the path over before it ends, and must keep it.
#[test]
fn a_successors_socket_survives_the_predecessors_end() {
    let directory = temp_dir();
    let address = format!("unix:{}", directory.path().join("socket").display());
    let serve = || Setup::subject("full").limits(DRAIN_FOR_EVER).env("FC_HOOKS_LISTEN", &address).start_as_configured();
    let first = serve();
    let mut client = first.connect();
    client.send(HALF_A_REQUEST);
    first.has_read_everything();
    first.process.signal(libc::SIGTERM);
    first.has_stopped_listening();
    let second = serve();
    client.send("lo");
    assert_eq!(client.reply().text(), "hello");
    client.half_close();
    first.ended();
    assert!(directory.path().join("socket").exists(), "the first server has removed the second one's socket");
    assert_eq!(state_of(&second)["calls"], 1);
    second.finish();
}
