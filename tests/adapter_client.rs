//! `fc-hooks call …`: the client mode of the binary; and a program behind `--` that handles an event.

#![cfg(not(fc_hooks_poll))] // nothing here depends on the poller

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use support::process::{Ended, Setup};

const BINARY: &str = env!("CARGO_BIN_EXE_fc-hooks");

fn call(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let setup =
        arguments.iter().fold(Setup::program(BINARY).arg("call").expect_stderr(), |setup, word| setup.arg(word));
    environment.iter().fold(setup, |setup, (name, value)| setup.env(name, value)).run().ended()
}

/// Accepts one connection, reads one request, sends these bytes and closes. Returns the request.
fn answer(mut connection: impl Read + Write, response: &[u8]) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).expect("a request");
        request.extend(byte);
    }
    connection.write_all(response).expect("the client reads");
    String::from_utf8(request).expect("text")
}

/// The hooks of an instance run as by the platform, also where hook calls need a control path.
#[test]
fn hooks_of_an_instance() {
    let server = Setup::inspector().env("FC_HOOKS_REQUIRE_CONTROL_PATH", "on").start();
    let port = server.tcp().port().to_string();
    for hook in ["initialize", "pre-freeze", "pre-stop"] {
        let ended = call(&[hook, "--port", &port], &[]);
        assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (0, "OK", ""), "{hook}");
    }
    let output = server.finish();
    for word in ["Initialize", "PreFreeze", "PreStop"] {
        assert_eq!(output.matches(&format!("FC {word} Start")).count(), 1, "{word}: {output}");
    }
}

/// Without an option, the call goes where an instance with this environment listens.
#[test]
fn the_address_of_an_instance() {
    let server = Setup::inspector().start();
    let port = server.tcp().port().to_string();
    for variable in ["FC_CUSTOM_LISTEN_PORT", "FC_SERVER_PORT", "PORT"] {
        let ended = call(&["GET", "/a?b=c"], &[(variable, &port)]);
        assert!(ended.code == 0 && ended.stdout.contains(r#""query":"b=c""#), "{}{}", ended.stdout, ended.stderr);
    }
    // A hook of the platform that is a command has the event of nobody.
    let ended = call(&["GET /"], &[("PORT", &port), ("FC_CUSTOM_CONTAINER_EVENT", "event")]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    server.finish();

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket").into_os_string().into_string().expect("text");
    let address = format!("unix:{path}");
    let server = Setup::inspector().env("FC_HOOKS_LISTEN", &address).start_as_configured();
    let by_option = call(&["initialize", "--unix", &path], &[]);
    let by_variable = call(&["initialize"], &[("FC_HOOKS_LISTEN", &address)]);
    for ended in [by_option, by_variable] {
        assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (0, "OK", ""));
    }
    server.finish();
}

/// The exit code follows the status; the body is printed in any case.
#[test]
fn statuses_and_bodies() {
    let long = "x".repeat(200_000);
    let cases: [(&str, String, i32, &str, &str); 7] = [
        ("GET /", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine".into(), 0, "fine", ""),
        ("GET /", "HTTP/1.1 399 \r\n\r\nfine".into(), 0, "fine", ""),
        (
            "POST /warm-up",
            "HTTP/1.1 100 \r\n\r\nHTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n2\r\nfi\r\n2\r\nne\r\n0\r\n\r\n"
                .into(),
            0,
            "fine",
            "",
        ),
        ("GET /", format!("HTTP/1.1 200 \r\ncontent-length: {}\r\n\r\n{long}", long.len()), 0, &long, ""),
        ("GET /", "HTTP/1.1 400 \r\ncontent-length: 3\r\n\r\nbad".into(), 1, "bad", "GET /: status 400"),
        (
            "initialize",
            "HTTP/1.1 404 \r\ncontent-length: 9\r\n\r\nhal".into(),
            1,
            "hal",
            "POST /initialize: the server closed the connection before the response was whole",
        ),
        ("GET /", "SSH-2.0\r\n".into(), 1, "", "GET /: the answer is broken: its head is not HTTP/1.1"),
    ];
    for (words, response, code, body, error) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port().to_string();
        let server = std::thread::spawn(move || answer(listener.accept().expect("a client").0, response.as_bytes()));
        let ended = call(&[words, "--port", &port], &[]);
        assert_eq!((ended.code, &*ended.stdout), (code, body), "{words}: {}", ended.stderr);
        let expected = if error.is_empty() { String::new() } else { format!("fc-hooks: {error}\n") };
        assert_eq!(ended.stderr, expected);
        let request = server.join().expect("the server");
        assert!(request.contains(" HTTP/1.1\r\nhost: localhost\r\n"), "{request}");
    }
}

/// The time limit is one for the whole call: a server that sends a byte now and then does not stretch it.
#[test]
fn no_call_takes_longer_than_its_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).expect("a socket");
    let path = path.to_str().expect("text").to_owned();
    let server = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a client");
        answer(&mut connection, b"HTTP/1.1 200 OK\r\n\r\n");
        // Ends when the client does.
        while connection.write_all(b"x").is_ok() {}
    });
    let ended = call(&["GET /", "--unix", &path, "--timeout", "200ms"], &[]);
    assert_eq!((ended.code, &*ended.stderr), (1, "fc-hooks: GET /: no answer within 200ms\n"));
    server.join().expect("the server");

    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port().to_string();
    let ended = call(&["pre-stop", "--port", &port, "--timeout=10ms"], &[]);
    assert_eq!((ended.code, &*ended.stderr), (1, "fc-hooks: GET /pre-stop: no answer within 10ms\n"));
    drop(silent);
    let ended = call(&["pre-stop", "--port", &port], &[]);
    let refused = format!("fc-hooks: GET /pre-stop: cannot connect to 127.0.0.1:{port}: ");
    assert!(ended.code == 1 && ended.stderr.starts_with(&refused), "{}", ended.stderr);
}

#[test]
fn misuse_exits_2() {
    let expected = "call: expected initialize, pre-freeze, pre-stop or METHOD /PATH, not";
    let cases: [(&[&str], &str); 8] = [
        (&[], &format!("{expected} ''")),
        (&["restart"], &format!("{expected} 'restart'")),
        (&["initialize", "pre-stop"], &format!("{expected} 'initialize pre-stop'")),
        (&["get", "/"], &format!("{expected} 'get /'")),
        (&["pre-stop", "--port", "0"], "call: expected a port from 1 to 65535, not '0'"),
        (&["pre-stop", "--unix="], "call: expected [ADDR:]PORT (such as 0.0.0.0:9000) or unix:PATH, not 'unix:'"),
        (
            &["pre-stop", "--timeout", "3"],
            "--timeout: expected a time such as 500ms, 3s or 2m, at most 24 hours, not '3'",
        ),
        (&["pre-stop", "--listen", "1"], "invalid option '--listen' (--help lists the options)"),
    ];
    for (arguments, message) in cases {
        let ended = call(arguments, &[]);
        let expected = format!("fc-hooks: {message}\n");
        assert_eq!((ended.code, &*ended.stdout, ended.stderr), (2, "", expected), "{arguments:?}");
    }
}

/// C-JOB-2: with an event in the environment no server starts. The program takes the place of the adapter.
#[test]
fn an_event_is_the_programs() {
    let event = |words: &[&str]| {
        let setup = Setup::program(BINARY).env("FC_CUSTOM_CONTAINER_EVENT", "event").env("PATH", "/usr/bin:/bin");
        let setup = setup.env("FC_HOOKS_FAIL_ON", "a mistake, which nobody reads").expect_stderr();
        words.iter().fold(setup.arg("--nonsense").arg("--"), |setup, word| setup.arg(word)).run()
    };
    let program = event(&["sh", "-c", "echo $$ $FC_CUSTOM_CONTAINER_EVENT $0 $@; exit 7", "--", "a b", "--help"]);
    let pid = program.pid();
    let ended = program.ended();
    assert_eq!((ended.code, ended.stdout, ended.stderr), (7, format!("{pid} event -- a b --help\n"), String::new()));
    // SIGPIPE has its default action, which Rust had taken away.
    let ended = event(&["sh", "-c", "kill -PIPE $$; echo alive"]).ended();
    assert_eq!((ended.code, &*ended.stdout), (-128 - libc::SIGPIPE, ""));
    for (name, code, cause) in [
        ("./none", 127, "no such file or directory"),
        ("none", 127, "no such file or directory"),
        ("/dev/null", 126, "permission denied"),
    ] {
        let ended = event(&[name]).ended();
        let expected = format!("fc-hooks: cannot execute {name}: {cause}\n");
        assert_eq!((ended.code, &*ended.stdout, ended.stderr), (code, "", expected));
    }
    let ended = event(&[]).ended();
    assert_eq!((ended.code, &*ended.stderr), (2, "fc-hooks: invalid option '--nonsense' (--help lists the options)\n"));
}
