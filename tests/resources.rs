//! The resources of an instance: one thread, no wake-up while idle, bounded memory, few system calls. And its behaviour
//! when descriptors, connections or memory run out.

mod support;

use fc_testkit::{proc, say, skip};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::client::{Client, End, request};
use support::process::{Server, Setup};
use support::{is_linux, pattern, temp_dir, wait_until};

/// The binary that ships, if `make build` has built it. The budgets of memory and system calls are those of this build.
fn release_build(check: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/x86_64-unknown-linux-musl/release/fc-hooks");
    if !path.exists() {
        skip(format_args!("{check}: there is no {}; `make build` makes it", path.display()));
    }
    path.exists().then_some(path)
}

/// C-LIM-7: the process has one thread at any moment: at the start, under load, in a callback, while it stops.
#[test]
fn one_thread_at_any_moment() {
    if !is_linux("the number of threads") {
        return;
    }
    let server = Setup::subject("full").env("FC_HOOKS_LOG_MARKERS", "off").limits("drain_ms_max=86400000").start();
    let threads = |when: &str| assert_eq!(proc::threads(server.pid()).expect("it lives"), 1, "{when}");
    threads("at the start");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for number in 0..300 {
                        let mut client = server.connect();
                        assert_eq!(client.get("/thing").status, 200);
                        assert_eq!(client.get(&format!("/do/stream?{}", number * 300)).status, 200);
                        assert_eq!(client.call("POST", "/invoke", &[], &pattern(number * 100)).status, 200);
                    }
                })
            })
            .collect();
        let sampler = scope.spawn(|| {
            let mut samples = 0;
            while !over.load(Ordering::Relaxed) {
                threads("under load");
                samples += 1;
            }
            samples
        });
        let outcomes: Vec<_> = load.into_iter().map(|thread| thread.join()).collect();
        over.store(true, Ordering::Relaxed);
        outcomes.into_iter().for_each(|outcome| outcome.expect("the replies are right"));
        say(format_args!("threads: 1 in each of {} samples under load", sampler.join().expect("one thread")));
    });
    let mut client = server.connect();
    client.send("POST /do/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n");
    let mut spinning = server.connect();
    spinning.send(request("GET", "/do/spin", &[], b""));
    server.process.stdout.wait_for("the callback", |text| text.contains("subject: spinning"));
    threads("in a callback");
    server.process.signal(libc::SIGTERM);
    server.wait_until_not_listening();
    threads("while stopping");
    client.send("x");
    assert_eq!(client.reply().status, 200);
    spinning.half_close();
    client.half_close();
    server.ended();
}

/// C-FRZ-1: without a request nothing runs. With 50 open connections, half of which were used, there is no context
/// switch in five seconds.
#[test]
fn no_wake_up_while_idle() {
    if !is_linux("context switches") {
        return;
    }
    let server = Setup::inspector().start();
    let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
    for client in clients.iter_mut().step_by(2) {
        assert_eq!(client.get("/").status, 200);
    }
    server.wait_until_accepted(50);
    let switches = || proc::context_switches(server.pid()).expect("it lives");
    let before = switches();
    // Not to synchronise: the time that passes is what is tested.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(switches(), before, "[voluntary, involuntary] context switches");
    say("context switches in 5 idle seconds with 50 open connections: 0");
    server.finish();
}

/// Makes 100 calls of all kinds, on two connections.
fn hundred_requests(server: &Server) {
    let mut clients = [server.connect(), server.connect()];
    clients[0].call("POST", "/initialize", &[], b"");
    for number in 0..99 {
        let client = &mut clients[number % 2];
        let reply = match number % 3 {
            0 => client.call("POST", "/invoke", &[("x-fc-request-id", "r")], &pattern(1000)),
            1 => client.get("/some/path?query"),
            _ => client.call("GET", "/pre-freeze", &[], b""),
        };
        assert_eq!(reply.status, 200);
    }
}

#[test]
fn resident_memory_after_100_requests() {
    if !is_linux("resident memory") {
        return;
    }
    let Some(binary) = release_build("600 kB of resident memory after 100 requests") else { return };
    let server = Setup::program(binary).start();
    hundred_requests(&server);
    let resident = server.resident_kb();
    say(format_args!("resident after 100 requests, release build: {resident} kB"));
    assert!(resident <= 600, "{resident} kB");
    server.finish();
}

/// A streamed reply needs the memory of one chunk, however long it is, even if its client does not read.
#[test]
fn a_streamed_reply_in_flight_is_bounded() {
    if !is_linux("resident memory") {
        return;
    }
    for name in ["stream", "sized"] {
        let server = Setup::subject("full").start();
        assert_eq!(server.connect().get(&format!("/do/{name}?1000000")).body.len(), 1_000_000);
        let before = server.resident_kb();
        let clients: Vec<Client> = (0..8)
            .map(|_| {
                let mut client = server.connect();
                client.send(request("GET", &format!("/do/{name}?1000000000000"), &[], b""));
                server.wait_until_stuck_on(&client);
                client
            })
            .collect();
        let grown = server.resident_kb().saturating_sub(before);
        say(format_args!("8 endless replies in flight ({name}): {grown} kB more"));
        assert!(grown <= 1024, "{grown} kB for {} replies", clients.len());
        drop(clients);
        assert_eq!(server.connect().get("/thing").status, 200);
        server.finish();
    }
}

/// The server reads nothing from a client that takes no reply. Its further requests wait in the kernel.
#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    if !is_linux("resident memory") {
        return;
    }
    let server = Setup::subject("full").start();
    let mut client = server.connect();
    client.send(request("GET", "/do/big?8000000", &[], b""));
    server.wait_until_stuck_on(&client);
    let before = server.resident_kb();
    let (mut reader, count) = (server.connect(), 20_000);
    reader.send(request("GET", "/thing", &[], b""));
    assert_eq!(reader.reply().status, 200);
    std::thread::scope(|scope| {
        // More requests than the server takes in one read. They wait in the buffers of the kernel.
        client.send(request("GET", "/thing", &[], b"").repeat(count / 10));
        let grown = server.resident_kb().saturating_sub(before);
        assert!(grown <= 256, "{grown} kB");
        let whole = scope.spawn(|| {
            assert!(client.reply().body == pattern(8_000_000));
            (0..count / 10).for_each(|_| assert_eq!(client.reply().text(), "GET thing"));
        });
        whole.join().expect("every reply, in order");
    });
    server.finish();
}

/// Without a free descriptor, open connections are served. Others wait until one closes, and are served then.
#[test]
fn out_of_descriptors() {
    if !is_linux("descriptors") {
        return;
    }
    let server = Setup::subject("full").descriptors(16).expect_stderr().start();
    let free = proc::free_descriptors(server.pid(), 16).expect("it lives").len();
    let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    let warning = "cannot accept connections for now";
    server.process.stderr.wait_for(warning, |text| text.contains(warning));
    clients.iter_mut().for_each(|client| client.send(request("GET", "/thing", &[], b"")));
    let waiting = clients.split_off(free);
    for client in &mut clients {
        assert_eq!(client.reply().text(), "GET thing");
        assert_eq!(client.get("/thing").text(), "GET thing", "it is still served");
    }
    assert!(waiting.iter().all(Client::has_received_nothing), "there was no descriptor for the others");
    for mut client in waiting {
        // One connection closes, so the next is accepted.
        drop(clients.pop());
        assert_eq!(client.reply().text(), "GET thing");
        clients.insert(0, client);
    }
    server.process.signal(libc::SIGTERM);
    let ended = server.process.ended();
    assert_eq!(ended.code, 0);
    assert!(ended.stderr.lines().all(|line| line.contains(warning)), "{}", ended.stderr);
    say(format_args!("out of descriptors: {} warnings", ended.stderr.lines().count()));
}

/// Without a descriptor for any connection, the server sleeps, and stops in order.
#[test]
fn no_descriptor_for_any_connection() {
    if !is_linux("descriptors") {
        return;
    }
    let server = Setup::inspector().start();
    let first_free = proc::free_descriptors(server.pid(), 1000).expect("it lives")[0];
    server.finish();
    let server = Setup::inspector().descriptors(first_free).expect_stderr().start();
    let client = server.connect();
    let warning = "cannot accept connections for now";
    server.process.stderr.wait_for(warning, |text| text.contains(warning));
    server.process.wait_for_state('S');
    assert!(client.has_received_nothing());
    server.finish();
}

/// Without a free slot, other connections wait in the backlog, and are served when one becomes free.
#[test]
fn out_of_slots() {
    for connections in [1, 3] {
        let server = Setup::subject("full").limits(&format!("connections_max={connections}")).start();
        let mut open: Vec<_> = (0..connections).map(|_| server.connect()).collect();
        open.iter_mut().for_each(|client| assert_eq!(client.get("/thing").status, 200));
        let mut waiting: Vec<_> = (0..5).map(|_| server.connect()).collect();
        waiting.iter_mut().for_each(|client| client.send(request("GET", "/thing", &[], b"")));
        for client in &mut open {
            assert_eq!(client.get("/thing").text(), "GET thing", "open connections are served");
        }
        assert!(waiting.iter().all(Client::has_received_nothing), "no other connection is served");
        for mut client in waiting {
            drop(open.pop());
            assert_eq!(client.reply().text(), "GET thing");
            open.insert(0, client);
        }
        server.finish();
    }
}

/// Connections without a request do not lock others out, neither when slots run out nor when descriptors do.
#[test]
fn silent_connections_do_not_lock_others_out() {
    if !is_linux("descriptors") {
        return;
    }
    let setups =
        [Setup::subject("full").limits("connections_max=8"), Setup::subject("full").descriptors(16).expect_stderr()];
    for setup in setups {
        let server = setup.start();
        let mut used = server.connect();
        assert_eq!(used.get("/thing").status, 200);
        let mut silent: Vec<_> = (0..30).map(|_| server.connect()).collect();
        for client in silent.iter_mut().skip(1).step_by(2) {
            client.send("GET /thing HTTP/1.1\r\nhost:");
        }
        for _ in 0..5 {
            assert_eq!(server.connect().get("/thing").text(), "GET thing");
        }
        assert_eq!(used.get("/thing").status, 200, "C-CONN-1: a connection that was used stays open");
        assert!(silent.iter().any(|client| !client.has_received_nothing()), "a silent one was closed");
        drop(silent);
        server.finish();
    }
}

/// One budget bounds the unfinished bodies of all connections. When it is exhausted, small requests are still served.
/// It has space again as soon as one body is done.
#[test]
fn bodies_of_all_connections_together() {
    const BODY: usize = 1_000_000;
    let server = Setup::inspector().limits("body_bytes_max=1000000,buffered_bytes_max=2500000").start();
    let event = request("POST", "/invoke", &[], &pattern(BODY));
    let mut streaming = [server.connect(), server.connect()];
    for client in &mut streaming {
        client.send(&event[..event.len() - 1]);
        server.wait_until_read();
    }
    let mut third = server.connect();
    third.send(&event);
    let reply = third.reply();
    assert_eq!((reply.status, reply.header("connection")), (503, Some("close")));
    assert!(reply.text().contains("request buffer limit reached"), "{}", reply.text());
    let small = pattern(10_000);
    assert!(server.connect().call("POST", "/invoke", &[], &small).body == small);
    for client in &mut streaming {
        client.send(&event[event.len() - 1..]);
        assert!(client.reply().body == pattern(BODY), "the connections that came first lose nothing");
        assert!(server.connect().call("POST", "/invoke", &[], &pattern(BODY)).body == pattern(BODY));
    }
    server.finish();
}

/// The budget counts unread replies too. When it is exhausted, another large reply is answered with 503. Small replies,
/// streams and calls of the platform are still served.
#[test]
fn unread_replies_of_all_connections_together() {
    if !is_linux("a client that does not read") {
        return;
    }
    let limits = "body_bytes_max=1000,buffered_bytes_max=100000";
    let server = Setup::subject("full").expect_stderr().limits(limits).start();
    let mut unread = server.connect();
    unread.send(request("GET", "/do/big?8000000", &[], b""));
    server.wait_until_stuck_on(&unread);
    let mut other = server.connect();
    let reply = other.get("/do/big?200000");
    assert_eq!((reply.status, reply.header("x-fc-status")), (503, Some("404")));
    assert_eq!(reply.json()["errorType"], "Overloaded");
    for (method, path) in [("GET", "/thing"), ("POST", "/invoke"), ("POST", "/initialize"), ("GET", "/pre-freeze")] {
        assert_eq!(other.call(method, path, &[], b"").status, 200, "{path}");
    }
    assert!(other.get("/do/stream?8000000").body == pattern(8_000_000));
    assert!(unread.reply().body == pattern(8_000_000), "the reply that came first is whole");
    for client in [&mut unread, &mut other] {
        assert!(client.get("/do/big?8000000").body == pattern(8_000_000), "a single reply may have any size");
    }
    server.finish();
}

/// When memory is short, a client that takes its reply drop by drop may delay others no longer than the stall limit.
#[test]
fn slow_readers_are_cut_when_memory_is_short() {
    if !is_linux("a client that does not read") {
        return;
    }
    let limits = "body_bytes_max=300000,buffered_bytes_max=100000,stall_ms_max=1000";
    for upload in [false, true] {
        let server = Setup::subject("full").expect_stderr().limits(limits).start();
        let mut slow = server.connect();
        slow.shrink_receive_buffer();
        slow.send(request("GET", "/do/big?50000000", &[], b""));
        server.wait_until_stuck_on(&slow);
        let bytes = if upload { request("POST", "/do/echo", &[], &pattern(300_000)) } else { Vec::new() };
        wait_until("others get its memory", || {
            slow.take(3000);
            let mut other = server.connect();
            match upload {
                false => other.get("/do/big?200000").status == 200,
                true => {
                    other.send(&bytes);
                    other.reply().status == 200
                }
            }
        });
        assert_eq!(slow.rest().1, End::Reset, "the client sees that its reply is not whole");
        server.finish();
    }
}

/// Slow readers and slow senders do not delay others: calls on another connection are served meanwhile.
#[test]
fn slow_clients_do_not_delay_others() {
    if !is_linux("a client that does not read") {
        return;
    }
    let server = Setup::subject("full").start();
    let slow = ["/do/big", "/do/stream", "/do/sized"].map(|path| {
        let mut client = server.connect();
        client.send(request("GET", &format!("{path}?8000000"), &[], b""));
        server.wait_until_stuck_on(&client);
        client
    });
    let whole = request("POST", "/do/echo", &[], b"hello");
    let mut senders: Vec<_> = (1..whole.len()).map(|cut| (cut, server.connect())).collect();
    for (cut, client) in &mut senders {
        client.send(&whole[..*cut]);
    }
    let mut other = server.connect();
    for _ in 0..100 {
        assert_eq!(other.get("/thing").text(), "GET thing");
    }
    assert!(other.get("/do/stream?8000000").body == pattern(8_000_000), "large replies too");
    for (cut, client) in &mut senders {
        assert!(client.has_received_nothing());
        client.send(&whole[*cut..]);
        assert_eq!(client.reply().text(), "hello");
    }
    for mut client in slow {
        assert!(client.reply().body == pattern(8_000_000));
    }
    server.finish();
}

/// The path of strace, if the machine has it.
fn strace(check: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join("strace")).find(|path| path.exists());
    if found.is_none() {
        skip(format_args!("{check}: there is no strace"));
    }
    found
}

/// The system calls of one run of the binary, one a line.
fn traced(strace: &Path, binary: &Path, markers: &str, live: impl FnOnce(&Server)) -> Vec<String> {
    let directory = temp_dir();
    let log = directory.path().join("calls");
    // -D: strace runs as a grandchild, so that the child that we started is the server itself.
    let setup = Setup::program(strace).arg("-D").arg("-f").arg("-o").arg(&log).arg(binary);
    let server = setup.env("FC_HOOKS_LOG_MARKERS", markers).start();
    live(&server);
    server.finish();
    let calls = std::fs::read_to_string(&log).expect("strace has written");
    calls.lines().filter(|line| !line.contains("+++ exited") && !line.contains("--- SIG")).map(str::to_owned).collect()
}

/// An event takes one wait, one read and one write, and one write more for each marker (C-LOG-1).
#[test]
fn system_calls_per_event() {
    let check = "system calls per event";
    let (true, Some(strace)) = (is_linux(check), strace(check)) else { return };
    let release = release_build("system calls of the release build: those of this build are counted instead");
    let binary = release.unwrap_or_else(|| env!("CARGO_BIN_EXE_fc-hooks").into());
    const REQUESTS: usize = 1000;
    for (markers, per_request) in [("off", 3), ("on", 5)] {
        let calls = traced(&strace, &binary, markers, |server| {
            let mut client = server.connect();
            let mut event = |target: &str| {
                let headers = [("x-fc-control-path", "/invoke"), ("x-fc-request-id", "r")];
                assert_eq!(client.call("POST", target, &headers, b"event").text(), "event");
            };
            (0..10).for_each(|_| event("/warm-up"));
            event("/begin");
            (1..REQUESTS).for_each(|_| event("/more"));
            event("/end");
        });
        let at = |request: &str| calls.iter().position(|call| call.contains(request)).expect("the request");
        let between = &calls[at("\"POST /begin")..at("\"POST /end")];
        say(format_args!("system calls per event, markers {markers}: {}", between.len() as f64 / REQUESTS as f64));
        let usual = ["poll(", "wait(", "read(", "write(", "sendto("];
        let unusual: Vec<_> = between.iter().filter(|call| !usual.iter().any(|usual| call.contains(usual))).collect();
        assert!(between.len() <= per_request * REQUESTS, "{} calls, among them {unusual:#?}", between.len());
        // Each marker is one write.
        let lines = between.iter().filter(|call| call.contains("write(1, \"FC Invoke "));
        assert_eq!(lines.count(), if markers == "on" { 2 * REQUESTS } else { 0 });
    }
}

/// The system calls from exec until the server can answer a request.
#[test]
fn system_calls_up_to_the_first_wait() {
    let check = "system calls up to the first wait";
    let (true, Some(strace)) = (is_linux(check), strace(check)) else { return };
    let Some(binary) = release_build("30 system calls up to the first wait") else { return };
    // The call makes sure that the server has waited before the signal ends it.
    let calls = traced(&strace, &binary, "on", |server| assert_eq!(server.connect().get("/").status, 200));
    // At its start the standard library polls its three descriptors without waiting.
    let is_wait = |call: &String| {
        ["epoll_pwait(", "epoll_wait(", "poll("].iter().any(|wait| call.contains(wait)) && !call.contains("{fd=0,")
    };
    let first_wait = calls.iter().position(is_wait).expect("a wait");
    // Only with port 0, which only tests use, the server asks for its address. The exec itself counts.
    let before: Vec<_> = calls[..first_wait].iter().filter(|call| !call.contains(" getsockname(")).collect();
    say(format_args!("system calls from exec to the first wait: {}", before.len()));
    assert!(before.len() <= 30, "{}: {before:#?}", before.len());
}

/// Many connections that come at once are all served, although the server accepts only a few in a row.
#[test]
fn many_connections_at_once_are_served() {
    let server = Setup::subject("full").start();
    let mut clients: Vec<_> = (0..300).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(request("GET", "/thing", &[], b"")));
    clients.iter_mut().for_each(|client| assert_eq!(client.reply().text(), "GET thing"));
    drop(clients);
    server.wait_for_no_connection();
    server.finish();
}
