//! What kernels, sandboxes and authors do that a server could do without: forbidden system calls, forks, signals put
//! back to their defaults, lines without an end.

#![cfg(target_os = "linux")]

mod support;

use fc_testkit::{proc, say};
use support::client::{End, request};
use support::process::Setup;
use support::{sys, temp_dir};

/// A security profile forbids to accept: the server says so, rests between its tries, and a stop does not wait.
#[test]
fn a_sandbox_that_forbids_to_accept() {
    let server = Setup::subject("full").forbid(libc::SYS_accept4, libc::EPERM).expect_stderr().start();
    let _waiting = server.connect();
    let warned = server.process.stderr.wait_for("a warning", |text| text.contains('\n'));
    assert!(warned.contains("WARN") && warned.contains("cannot accept connections for now: "), "{warned}");
    server.process.wait_for_state('S');
    server.process.signal(libc::SIGTERM);
    let ended = server.process.ended();
    assert_eq!((ended.code, ended.stderr.lines().count()), (0, 1), "{}", ended.stderr);
}

/// A kernel or a sandbox has no call to wait by: a message that names it, and exit code 1.
#[cfg(not(fc_hooks_poll))]
#[test]
fn a_sandbox_that_forbids_to_wait() {
    for (error, cause) in [(libc::ENOSYS, "Function not implemented"), (libc::EPERM, "permission denied")] {
        let setup = Setup::inspector().env("FC_HOOKS_LISTEN", "127.0.0.1:0").forbid(libc::SYS_epoll_pwait, error);
        let ended = setup.expect_stderr().run().ended();
        assert_eq!(ended.code, 1, "{}", ended.stderr);
        let message = format!("fc-hooks: cannot wait for connections by epoll_pwait: {cause}");
        assert!(ended.stderr.starts_with(&message) && ended.stderr.lines().count() == 1, "{}", ended.stderr);
    }
}

/// A callback forks without exec, and the child lives on with a copy of every descriptor. Clients see the end of their
/// connections all the same, the server rests, and it stops.
#[test]
fn a_fork_keeps_no_connection_open() {
    let server = Setup::subject("full").expect_stderr().start();
    let idle = server.connect();
    let mut client = server.connect();
    let child: u32 = client.get("/do/fork").text().parse().expect("an id");
    client.send(request("GET", "/thing", &[("connection", "close")], b""));
    assert_eq!(client.reply().text(), "GET thing");
    client.expect_close();
    drop(client);
    let mut rejected = server.connect();
    rejected.send("nonsense\r\n\r\n");
    assert_eq!(rejected.reply().status, 400);
    let mut cut = server.connect();
    cut.send(request("GET", "/do/broken?100000", &[], b""));
    assert_eq!(cut.rest().1, End::Reset, "a reply that is not whole");
    for mut client in [idle, rejected] {
        client.half_close();
        client.expect_close();
    }
    // A connection that epoll went on reporting would keep it from ever sleeping.
    server.wait_until_accepted(0);
    let mut left = server.connect();
    assert_eq!(left.get("/thing").text(), "GET thing", "life goes on");
    server.process.signal(libc::SIGTERM);
    left.expect_close();
    drop(left);
    server.wait_until_not_listening();
    // It holds the pipes of the output.
    sys::kill(child, libc::SIGKILL);
    server.ended();
}

/// An author has put SIGPIPE back to its default, as programs do that print into pipes. A client that leaves in the
/// middle of its reply ends its connection and nothing else.
#[test]
fn no_client_can_send_sigpipe() {
    let directory = temp_dir();
    for listen in ["127.0.0.1:0".to_owned(), format!("unix:{}", directory.path().join("socket").display())] {
        for target in ["/do/big?10000000", "/do/stream?10000000"] {
            let setup = Setup::subject("full").env("SUBJECT_SIGPIPE", "default").env("FC_HOOKS_LISTEN", &listen);
            let server = setup.start_as_configured();
            let mut client = server.connect();
            client.send(request("GET", target, &[], b""));
            server.wait_until_stuck_on(&client);
            drop(client);
            server.wait_until_accepted(0);
            assert_eq!(server.connect().get("/thing").text(), "GET thing", "{listen} {target}");
            server.finish();
        }
    }
}

/// C-LOG-1: whatever a callback prints, every marker begins at column 0, in hooks, events and HTTP calls; lines that
/// have an end get no second one.
#[test]
fn markers_begin_at_column_0() {
    let server = Setup::subject("full").start();
    let mut client = server.connect();
    for directive in ["say", "say-flush", "say-long", "say-lines", "say-whole", "static"] {
        let headers = [("x-fc-function-handler", directive), ("x-fc-request-id", "1")];
        assert_eq!(client.call("POST", "/invoke", &headers, b"").status, 200);
        assert_eq!(client.call("GET", "/pre-freeze", &headers, b"").status, 200);
        assert_eq!(client.call("POST", &format!("/do/{directive}"), &headers[1..], b"").status, 200);
    }
    let log = server.finish();
    assert!(log.matches("working...\n").count() == 6 && !log.contains("\n\n"), "{log}");
    let markers = ["FC Invoke Start ", "FC Invoke End ", "FC PreFreeze Start ", "FC PreFreeze End "];
    for (marker, count) in markers.into_iter().zip([12, 12, 6, 6]) {
        assert_eq!(log.matches(marker).count(), count, "{log}");
        assert_eq!(log.lines().filter(|line| line.starts_with(marker)).count(), count, "{log}");
    }
}

/// Three of the largest events at once in an instance of 128 MB: some are refused, and the kernel has no reason to end
/// the instance.
#[test]
fn large_events_in_a_small_instance() {
    const BODY: usize = 32 << 20;
    let server = Setup::inspector().env("FC_FUNCTION_MEMORY_SIZE", "128").start();
    let event = request("POST", "/invoke", &[], &vec![b'x'; BODY]);
    let (last, most) = event.split_last().expect("bytes");
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(most);
    }
    let statuses: Vec<u16> = clients
        .iter_mut()
        .map(|client| {
            // A client that was refused may find its connection closed.
            let _ = client.try_send([*last]);
            client.reply().status
        })
        .collect();
    // Who asks for more than is left is refused; whoever is left over has all of it.
    assert!(statuses.contains(&200) && statuses.contains(&503), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    let peak = proc::status(server.pid(), "VmHWM").expect("it lives");
    let peak_kb: u64 = peak.trim_end_matches(" kB").trim().parse().expect("a number");
    assert!(peak_kb < 100_000, "{peak_kb} kB of 128 MB");
    assert_eq!(server.connect().call("POST", "/invoke", &[], b"event").text(), "event");
    drop(clients);
    server.finish();
}

/// An event is sent back from the memory that it came in: at most a twentieth more than itself, whole or in chunks.
#[test]
fn an_event_that_is_echoed_takes_no_more_memory_than_itself() {
    const BODY: usize = 32 << 20;
    let event: Vec<u8> = (0..BODY).map(|at| (at / 251) as u8).collect();
    for chunked in [false, true] {
        let server = Setup::inspector().start();
        let mut client = server.connect();
        assert_eq!(client.call("POST", "/invoke", &[], b"small").text(), "small");
        let before = proc::peak_kb(server.pid()).unwrap();
        let reply = if chunked {
            client.send(format!("POST /invoke HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{BODY:x}\r\n"));
            client.send(&event);
            // The next request is there before this one is answered.
            client.send("\r\n0\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n");
            client.reply()
        } else {
            client.call("POST", "/invoke", &[], &event)
        };
        assert!(reply.status == 200 && reply.body == event, "{} with {} bytes", reply.status, reply.body.len());
        if chunked {
            assert!(client.reply().text().contains("/none"));
        }
        let grown = proc::peak_kb(server.pid()).unwrap() - before;
        say(format_args!("peak while {BODY} bytes are echoed, chunked {chunked}: {grown} kB more"));
        assert!(grown <= (BODY as u64 >> 10) * 105 / 100, "{grown} kB for {BODY} bytes");
        server.finish();
    }
}
