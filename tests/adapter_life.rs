//! The adapter's hooks, freezes and stop, with the test as the program behind it.

#![cfg(not(fc_hooks_poll))]

mod support;

use support::client::request;
use support::program::{Program, started};
use support::wait_until;

const OUTSIDE: (&str, &str) = ("x-fc-control-path", "/http-invoke");

/// No outside caller reaches the path of a hook, and no header of its own makes it the platform.
#[test]
fn outside_callers_reach_no_hook() {
    let program = Program::new();
    let setup = program.setup().env("FC_HOOKS_INITIALIZE", "POST /warm-up").env("FC_HOOKS_LOG_MARKERS", "off");
    let server = started(setup.env("FC_HOOKS_PRE_STOP", "GET /flush/all"));
    let mut client = server.connect();
    let spelled = [
        "/warm-up",
        "/WARM-UP/",
        "//warm-up",
        "/./warm-up/.",
        "/%77arm-up",
        "/%2577arm-up",
        "/x/../warm-up?a",
        "/x/%2e%2e/warm-up",
        "/warm-up;x=y",
        "/warm-up%00",
        "/warm-up%20",
        "/flush%2fall",
        "/flush%252Fall",
        "/flush%5Call",
        "//host/warm-up",
        "/%2f/host/flush//all",
        "http://test/warm-up",
        "HTTP://test:80/x/../Warm-Up",
        "https://test//host/flush/all?x",
    ];
    for target in spelled {
        for method in ["GET", "POST"] {
            let reply = client.call(method, target, &[OUTSIDE], b"");
            assert_eq!((reply.status, reply.header("x-fc-status")), (403, Some("404")), "{method} {target}");
            assert_eq!(client.call(method, target, &[], b"").status, 403, "{method} {target} without a control path");
        }
    }
    // The platform's own paths are calls like others.
    client.send(request("POST", "/initialize", &[OUTSIDE], b""));
    let (mut conn, got) = program.get();
    assert_eq!(got.line(), "POST /initialize HTTP/1.1");
    conn.reply("");
    assert_eq!(client.reply().status, 200);
    drop(conn);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut conn, got) = program.get();
            assert_eq!(got.line(), "GET /flush/all HTTP/1.1");
            conn.reply("");
        });
        let output = server.finish();
        assert!(output.contains("FC PreStop Start RequestId: -\nFC PreStop End RequestId: -\n"), "{output}");
    });
}

/// C-INIT-2: again after a failure, the stored answer after a success; the body is the program's.
#[test]
fn a_hook_is_a_request_to_the_program() {
    let program = Program::new();
    let server = started(program.setup().env("FC_HOOKS_INITIALIZE", "POST /warm-up?x").expect_stderr());
    let mut client = server.connect();
    let headers = [("x-fc-control-path", "/initialize"), ("x-fc-request-id", "id"), ("x-fc-access-key-id", "k")];
    let statuses = [("500 No", 404, "404"), ("204 None", 200, "200")];
    for (line, status, of_platform) in statuses {
        client.send(request("POST", "/initialize", &headers, b""));
        let (mut conn, got) = program.get();
        assert_eq!((got.line(), got.header("x-fc-access-key-id")), ("POST /warm-up?x HTTP/1.1", Some("k")));
        let body = if status == 404 { "why" } else { "" };
        conn.send(format!("HTTP/1.1 {line}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        assert_eq!(client.reply().summary(), (status, Some(of_platform), body.into()));
    }
    assert_eq!(client.call("POST", "/initialize", &headers, b"").summary(), (200, Some("200"), "".into()));
    // A hook without a setting has nothing to do.
    let reply = client.call("GET", "/pre-stop", &[("x-fc-control-path", "/pre-stop")], b"");
    assert_eq!(reply.summary(), (200, Some("200"), "".into()));
    let output = server.finish();
    assert_eq!(output.matches("FC Initialize Start RequestId: id\n").count(), 2, "{output}");
}

/// Calls wait while a hook runs, and pass in their order behind it.
#[test]
fn calls_wait_for_a_hook() {
    let program = Program::new();
    let server =
        started(program.setup().env("FC_HOOKS_INITIALIZE", "POST /warm-up").env("FC_HOOKS_LOG_MARKERS", "off"));
    let mut platform = server.connect();
    platform.send(request("POST", "/initialize", &[("x-fc-control-path", "/initialize")], b""));
    let (mut hook, _) = program.get();
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for (nth, client) in clients.iter_mut().enumerate() {
        client.send(request("POST", &format!("/{nth}"), &[], b"body"));
        server.wait_until_read();
    }
    hook.reply("ready");
    assert_eq!(platform.reply().text(), "ready");
    for (nth, client) in clients.iter_mut().enumerate() {
        let (mut conn, got) = program.get();
        assert_eq!((got.line(), &*got.body), (&*format!("POST /{nth} HTTP/1.1"), &b"body"[..]));
        conn.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(client.reply().status, 200);
    }
    server.finish();
}

/// After a freeze `on_thaw` runs first, and no connection from before is used.
#[test]
fn a_thaw() {
    let program = Program::new();
    let setup = program.setup().env("FC_HOOKS_ON_THAW", "POST /reconnect").env("FC_HOOKS_LOG_MARKERS", "off");
    let server = started(setup.expect_stderr());
    let mut client = server.connect();
    client.send(request("GET", "/", &[], b""));
    let (mut before, _) = program.get();
    before.reply("");
    client.reply();
    server.wait_until_read();
    server.process.signal(libc::SIGSTOP);
    server.process.wait_for_state('T');
    client.send(request("POST", "/after", &[("x-fc-request-id", "id"), ("x-fc-region", "r"), ("cookie", "c")], b"x"));
    server.process.deliver_signal(libc::SIGCONT);
    before.expect_close();
    let (mut hook, got) = program.get();
    assert_eq!(got.line(), "POST /reconnect HTTP/1.1");
    let told = (got.header("x-fc-hooks-evidence"), got.header("x-fc-hooks-confidence"), got.header("x-fc-region"));
    assert!(told.0.is_some_and(|signs| signs.contains("sigcont")), "{got:?}");
    assert_eq!((told.1, told.2, got.header("cookie")), (Some("certain"), Some("r"), None));
    assert!(got.header("x-fc-hooks-gap-ms").is_some_and(|gap| gap.parse::<u64>().is_ok()), "{got:?}");
    hook.send("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    drop(hook);
    let (mut conn, got) = program.get();
    assert_eq!((got.line(), &*got.body), ("POST /after HTTP/1.1", &b"x"[..]));
    conn.reply("served");
    assert_eq!(client.reply().text(), "served");
    server.process.signal(libc::SIGTERM);
    let ended = server.process.ended();
    assert_eq!(ended.code, 0);
    assert!(ended.stderr.contains("the program answered a hook with 500"), "{}", ended.stderr);
}

/// A stop finishes what is in progress, and takes no new connections.
#[test]
fn a_stop_finishes_what_is_in_progress() {
    let program = Program::new();
    let server = program.start();
    let (mut client, mut idle) = (server.connect(), server.connect());
    client.send(request("POST", "/", &[], b"x"));
    let (mut conn, _) = program.get();
    server.process.signal(libc::SIGTERM);
    server.wait_until_not_listening();
    idle.expect_close();
    conn.reply("finished");
    let reply = client.reply();
    assert_eq!((reply.text(), reply.header("connection")), ("finished".into(), Some("close")));
    drop(client);
    server.ended();
}

/// The program's end is the instance's end; what is in hand is answered.
#[test]
fn a_program_that_dies_ends_the_instance() {
    let setup = support::process::Setup::program(env!("CARGO_BIN_EXE_fc-hooks"));
    let script = "import os, socket, signal\nl = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n\
                  while True:\n  c, _ = l.accept()\n  if c.recv(1000): os.kill(os.getpid(), signal.SIGKILL)\n";
    let setup = setup.env("PATH", "/usr/bin:/bin").arg("--").arg("python3").arg("-c").arg(script).expect_stderr();
    let server = setup.env("FC_HOOKS_LOG_MARKERS", "off").start();
    let mut client = server.connect();
    let reply = client.call("POST", "/", &[], b"x");
    assert_eq!((reply.status, reply.header("x-fc-status")), (502, Some("404")));
    drop(client);
    let ended = server.process.ended();
    assert_eq!(ended.code, 137);
    assert!(ended.stderr.contains("fc-hooks: python3 was killed by SIGKILL"), "{}", ended.stderr);
}

/// An idle instance never wakes.
#[test]
fn an_idle_instance_sleeps() {
    if !support::is_linux("that an idle instance sleeps") {
        return;
    }
    let program = Program::new();
    let server = program.start();
    let mut client = server.connect();
    client.send(request("GET", "/", &[], b""));
    let (mut conn, _) = program.get();
    conn.reply("");
    client.reply();
    server.wait_until_read();
    let wakes = || fc_testkit::proc::status(server.pid(), "voluntary_ctxt_switches").expect("it lives");
    let before = wakes();
    let start = std::time::Instant::now();
    wait_until("a second has passed", || start.elapsed().as_secs() >= 1);
    assert_eq!(wakes(), before);
    drop((conn, client));
    server.finish();
}

/// When the time of a stop is over, the program gets its SIGTERM without calls that it would wait for.
#[test]
fn a_stop_closes_what_does_not_end() {
    let program = Program::new();
    let folder = support::temp_dir();
    let done = folder.path().join("done");
    let script = format!("trap '' TERM; until [ -e {} ]; do sleep 0.01; done", done.display());
    let setup = program.setup_with(&script).limits("drain_ms_max=100").env("FC_HOOKS_LOG_MARKERS", "off");
    let server = setup.env("FC_HOOKS_STOP_TIMEOUT", "60s").start();
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc");
    let mut conn = program.accept();
    conn.head();
    assert_eq!(conn.take(3), b"abc");
    server.process.signal(libc::SIGTERM);
    client.expect_close();
    conn.expect_close();
    std::fs::write(&done, "").expect("a file");
    server.ended();
}
