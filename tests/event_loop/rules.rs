//! One rule of the loop each, in a world without chance.

use super::world::{BIG, Client, World};
use crate::limits::Limits;
use crate::tuning::{ACCEPT_RETRY, ACCEPT_RUN_MAX, LINGER_BYTES_MAX};
use rustix::io::Errno;
use std::time::Duration;

const HELLO: &str = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
const SECOND: Duration = Duration::from_secs(1);

fn live(clients: Vec<Client>) -> World {
    World::new(clients).run(Limits::default())
}

fn statuses(client: &Client) -> Vec<u16> {
    let text = client.text();
    text.match_indices("HTTP/1.1 ").map(|(at, _)| text[at + 9..at + 12].parse().unwrap()).collect()
}

#[test]
fn requests_are_answered_in_order_and_idling_costs_no_wake_up() {
    let world = live(vec![Client::new(HELLO.repeat(3)), Client::new("")]);
    assert_eq!(statuses(&world.clients[0]), [200, 200, 200]);
    assert_eq!(world.elapsed, Duration::ZERO, "nothing had a time limit, so no time passed");
    assert_eq!(world.infinite_waits, 1);
    assert!(world.clients.iter().all(|client| client.server_closed));
}

/// C-START-3: probes come and go without a word.
#[test]
fn probes_are_silent() {
    let probe = || Client { leaves: true, ..Client::new("") };
    let world = live(vec![probe(), probe(), Client::new(HELLO)]);
    assert_eq!(statuses(&world.clients[2]), [200]);
    assert_eq!(world.lines[..2], ["FC Invoke Start RequestId: -", "FC Invoke End RequestId: -"]);
    assert_eq!(world.lines.len(), 4, "beside them only pre-stop's: {:?}", world.lines);
}

/// The bytes sent, the message of the rejection, and the limit that has passed.
type Slow = (&'static str, &'static str, fn(&Limits) -> Duration);

const SLOW: [Slow; 3] = [
    ("GET /hel", "the head took too long", |limits| limits.head_time_max),
    ("POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf", "the body took too long", |limits| {
        limits.body_time_max
    }),
    (
        "POST /invoke HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nh",
        "the body took too long",
        |limits| limits.body_time_max,
    ),
];

#[test]
fn a_slow_head_and_a_slow_body_time_out() {
    for (sent, message, limit) in SLOW {
        let world = live(vec![Client::new(sent)]);
        assert_eq!(statuses(&world.clients[0]), [408], "{sent:?}");
        assert!(world.clients[0].text().contains(message));
        let limit = limit(&Limits::default());
        assert!((limit..limit + SECOND).contains(&world.elapsed), "{:?}", world.elapsed);
    }
}

/// C-CONN-3: hours of standing still use up no time limit, whatever a connection was in the middle of. In the end
/// nothing more comes and the limit strikes, but only after its own time on top of the frozen one.
#[test]
fn freezes_use_up_no_time_limit() {
    let hours = vec![Duration::from_secs(3600); 5];
    let frozen: Duration = hours.iter().sum();
    let tolerance = SECOND * 2; // a turn each
    let stalled: [Slow; 2] = [
        ("GET /big HTTP/1.1\r\nHost: a\r\n\r\n", "", |limits| limits.stall_time_max),
        ("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n", "", |limits| limits.stall_time_max),
    ];
    for (deaf, cases) in [(false, &SLOW[..]), (true, &stalled[..])] {
        for (sent, _, limit) in cases {
            let mut world = World::new(vec![Client { deaf, ..Client::new(*sent) }]);
            world.freezes = hours.clone();
            let world = world.run(Limits::default());
            let awake = world.elapsed - frozen;
            assert!(awake >= limit(&Limits::default()) - tolerance, "{sent:?} was cut after {awake:?}");
        }
    }
}

/// The kernel ends waits when it thaws a control group, without any signal.
#[test]
fn an_interrupted_wait_is_evidence_of_a_freeze() {
    for (interrupted, evidence) in [(true, "interrupted"), (false, "")] {
        let mut world = World::new(vec![Client::new("")]);
        (world.freezes, world.interrupted_by_freeze) = (vec![SECOND], interrupted);
        world.after_freezes = b"GET /thaws HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
        let world = world.run(Limits::default());
        assert!(world.clients[0].text().ends_with(&format!("\r\n\r\n{evidence}")), "{}", world.clients[0].text());
    }
}

#[test]
fn a_client_that_takes_nothing_is_cut_and_its_reply_spoiled() {
    for path in ["/big", "/stream"] {
        let deaf = Client { deaf: true, ..Client::new(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")) };
        let world = live(vec![deaf, Client::new(HELLO)]);
        assert!(world.clients[0].reset_on_close && world.clients[0].server_closed);
        let stall = Limits::default().stall_time_max;
        assert!((stall..stall + SECOND).contains(&world.elapsed), "{:?}", world.elapsed);
        assert_eq!(statuses(&world.clients[1]), [200], "others are served meanwhile");
        let count = |what: &str| world.lines.iter().filter(|line| line.contains(what)).count();
        assert_eq!((count("Invoke Start"), count("Invoke End")), (2, 2), "a call that is cut ends in the log too");
    }
}

/// The stall limit also strikes a client that pipelines more than one turn serves and takes none of the replies: not
/// later where its socket was full behind a whole reply, and with the next one where it was behind as many as a turn
/// serves.
#[test]
fn a_deaf_pipeline_is_cut() {
    let reply_bytes = live(vec![Client::new(HELLO)]).clients[0].text().len();
    for (window, times) in [(1, 1), (reply_bytes, 1), (16 * reply_bytes, 2)] {
        let world = live(vec![Client { deaf: true, window, ..Client::new(HELLO.repeat(1_000)) }]);
        let (stall, took) = (Limits::default().stall_time_max * times, world.elapsed);
        assert!(world.clients[0].server_closed && (stall..stall + SECOND).contains(&took), "{window}: {took:?}");
    }
}

/// Nor is a client cut for our own slowness: it has taken everything, and there are more of them than one turn serves.
#[test]
fn a_swift_pipeline_is_not_cut() {
    let stream = "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    for (requests, replies) in [(HELLO.repeat(64), 64), (stream, 1)] {
        let clients = (0..200).map(|_| Client { swift: true, ..Client::new(requests.clone()) }).collect();
        let mut world = World::new(clients);
        world.let_everything_arrive();
        world.turn_takes = Duration::from_millis(100);
        let world = world.run(Limits { stall_time_max: Duration::from_millis(50), ..Limits::default() });
        assert!(world.clients.iter().all(|client| statuses(client).len() == replies && !client.reset_on_close));
    }
}

/// A status without content ends its call, and its log, though the handler gave a stream.
#[test]
fn every_call_that_starts_ends() {
    let requests = ["/nothing", "/stream", "/hello"].map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let world = live(vec![Client::new(requests.concat()), Client { deaf: true, ..Client::new(requests[1].clone()) }]);
    let count = |what: &str| world.lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!((count("Invoke Start"), count("Invoke End")), (4, 4), "{:?}", world.lines);
}

#[test]
fn a_refused_client_is_read_out_before_the_close() {
    let body_bytes = Limits::default().body_bytes_max + 1;
    let head = format!("POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Length: {body_bytes}\r\n\r\n");
    let world = live(vec![Client::new([head.as_bytes(), &vec![0; 1 << 20]].concat())]);
    let client = &world.clients[0];
    assert_eq!((statuses(client), client.sent), (vec![413], client.to_send.len()));
    assert!(
        client.server_ended_writing && client.left && !client.reset_on_close,
        "it saw the answer and left by itself"
    );
}

#[test]
fn a_refused_client_that_never_stops_or_never_leaves_is_cut() {
    let endless = [b"BAD\n".as_slice(), &vec![b'x'; LINGER_BYTES_MAX + (1 << 20)]].concat();
    let world = live(vec![Client::new(endless)]);
    assert_eq!(statuses(&world.clients[0]), [400]);
    assert!(world.clients[0].server_closed && !world.clients[0].arrived.is_empty(), "it was not read to the end");
    let world = live(vec![Client { deaf: true, ..Client::new("BAD\n") }]);
    assert!(world.clients[0].server_closed && world.elapsed >= Limits::default().linger_time_max);
}

#[test]
fn full_slots_and_no_descriptors_only_delay() {
    let many = || (0..50).map(|_| Client { leaves: true, ..Client::new(HELLO) }).collect::<Vec<_>>();
    let full = World::new(many()).run(Limits { connections_max: 2, ..Limits::default() });
    let mut short = World::new(many());
    short.descriptors_max = 3;
    let mut failing = World::new(many());
    failing.accept_failures = 7;
    for world in [full, short.run(Limits::default()), failing.run(Limits::default())] {
        assert!(world.clients.iter().all(|client| client.accepted && client.server_closed));
    }
}

/// An error that says something of one connection says it of the server if it never ends. The server then tries a few
/// times a second, and a stop does not wait for the connections that it cannot accept.
#[test]
fn accepting_that_fails_for_good_is_no_busy_loop() {
    let of_connections = [Errno::PERM, Errno::CONNABORTED, Errno::PROTO, Errno::NETDOWN, Errno::HOSTUNREACH];
    let of_the_server = [Errno::MFILE, Errno::NOSYS, Errno::INVAL];
    for error in of_connections.into_iter().chain(of_the_server) {
        let mut world = World::new(vec![Client::new(HELLO)]);
        (world.accept_error, world.quiet_waits_max) = (Some(error), 40);
        let world = world.run(Limits::default());
        assert_eq!(world.outcome, Ok(()), "{error}");
        let (tries, awake) = (world.accepts - ACCEPT_RUN_MAX.min(world.accepts), world.elapsed);
        assert!(tries <= 50, "{error}: {} tries in {awake:?}", world.accepts);
        assert!(awake >= ACCEPT_RETRY * 40 && awake < ACCEPT_RETRY * 50, "{error}: {awake:?}");
        assert!(!world.clients[0].accepted && world.lines.len() == 2, "{error}: pre-stop ran: {:?}", world.lines);
    }
}

/// A wait that fails is no reason to panic: everything is closed, pre-stop runs, and the caller learns of it.
#[test]
fn a_wait_that_fails_ends_the_server_in_order() {
    for error in [Errno::NOSYS, Errno::PERM, Errno::BADF] {
        let mut world = World::new(vec![Client::new(HELLO)]);
        world.wait_error = Some(error);
        let world = world.run(Limits::default());
        assert_eq!((world.outcome, world.waits), (Err(error), 1));
        assert_eq!(world.lines, ["FC PreStop Start RequestId: -", "FC PreStop End RequestId: -"]);
    }
}

/// Clients that send no request, silent or slow, lock no other out. A client that did, or is sending a body, stays.
#[test]
fn a_place_goes_to_who_makes_use_of_it() {
    let body = "POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
    for (sent, makes_room) in [("", true), ("GET /hel", true), ("\r", true), (HELLO, false), (body, false)] {
        let newcomer = "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let clients = [sent, sent, newcomer, newcomer, newcomer].map(Client::new).into();
        let limits = Limits { connections_max: 2, ..Limits::default() };
        let world = World::new(clients).run(limits.clone());
        let in_time = |client: &&Client| statuses(client) == [200] && !client.accepted_late;
        let served = world.clients[2..].iter().filter(in_time).count();
        if makes_room {
            assert!(served == 3 && world.elapsed < limits.head_time_max + SECOND, "{sent:?}: {:?}", world.elapsed);
            assert_eq!(statuses(&world.clients[0]), [0; 0], "{sent:?}: its place was needed");
        } else if sent == HELLO {
            assert_eq!(served, 0, "{sent:?}: C-CONN-1, it has 15 minutes");
        } else {
            assert_eq!((served, world.elapsed >= limits.body_time_max), (3, true), "{sent:?}: after the time limit");
        }
    }
}

/// C-CONN-1: its 15 minutes begin when its reply is sent, however long that took.
#[test]
fn a_connection_idles_from_the_end_of_its_reply() {
    let slow = Client { window: 4_000, rests: SECOND * 40, ..Client::new("GET /big HTTP/1.1\r\nHost: a\r\n\r\n") };
    let mut world = World::new(vec![slow, Client::new(HELLO)]);
    world.quiet_waits_max = 6_000;
    let world = world.run(Limits { connections_max: 1, ..Limits::default() });
    assert!(world.clients[0].text().ends_with(&"b".repeat(BIG)) && world.elapsed > SECOND * 1_500);
    assert!(world.clients[1].accepted_late, "its place was taken right behind its reply");
}

/// Requests in progress are finished, pre-stop runs, and no client can delay the exit for longer than the bound.
#[test]
fn a_stop_is_bounded() {
    let mut world = World::new(vec![Client { deaf: true, ..Client::new("GET /big HTTP/1.1\r\nHost: a\r\n\r\n") }]);
    world.let_everything_arrive();
    world.stop_now();
    let limits = Limits { stall_time_max: Duration::from_secs(86_400), ..Limits::default() };
    let world = world.run(limits.clone());
    let bound = limits.drain_time_max..limits.drain_time_max + SECOND;
    assert!(bound.contains(&world.elapsed), "{:?}", world.elapsed);
    assert_eq!(world.lines.last().unwrap(), "FC PreStop End RequestId: -");
}

/// Connections that wait in the backlog when the signal comes are served by the stopping server, not reset.
#[test]
fn a_stop_serves_who_waits_for_a_place() {
    for short_of_descriptors in [false, true] {
        let mut world = World::new((0..9).map(|_| Client::new(HELLO)).collect());
        world.let_everything_arrive();
        world.stop_now();
        world.descriptors_max = if short_of_descriptors { 2 } else { 0 };
        let connections_max = if short_of_descriptors { 1024 } else { 2 };
        let world = world.run(Limits { connections_max, ..Limits::default() });
        assert!(world.clients.iter().all(|client| statuses(client) == [200]), "descriptors: {short_of_descriptors}");
    }
}

/// A request that had arrived when the signal came is served, though the loop had not seen its connection yet.
#[test]
fn a_stop_serves_what_had_arrived() {
    // More than one wait reports.
    let mut world = World::new((0..300).map(|_| Client::new(HELLO)).collect());
    world.let_everything_arrive();
    world.stop_now();
    let world = world.run(Limits::default());
    for client in &world.clients {
        assert_eq!(statuses(client), [200]);
        assert!(client.text().contains("\r\nconnection: close\r\n"));
    }
}

#[test]
fn a_panic_is_one_failed_call() {
    let world = live(vec![Client::new(format!("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n{HELLO}"))]);
    assert_eq!(statuses(&world.clients[0]), [500, 200]);
    assert_eq!(world.lines[1], "FC Invoke End RequestId: -, Error: Unhandled function error");
}

#[test]
fn connections_close_when_the_client_asks() {
    let cases = [
        ("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", true, 1),
        ("GET /hello HTTP/1.0\r\n\r\n", true, 1),
        ("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /hello HTTP/1.0\r\n\r\n", true, 2),
        ("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, 1),
        (HELLO, false, 1),
    ];
    for (sent, closes, replies) in cases {
        let world = live(vec![Client::new(sent)]);
        let said = world.clients[0].text().contains("connection: close");
        assert_eq!((said, statuses(&world.clients[0]).len()), (closes, replies), "{sent:?}");
    }
}

/// Replies without content carry no byte of it, or the next reply would be misread.
#[test]
fn head_has_no_body() {
    let requests = ["/hello", "/big", "/stream"].map(|path| format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let world = live(vec![Client::new(requests.concat())]);
    let text = world.clients[0].text();
    assert_eq!((statuses(&world.clients[0]), text.matches("\r\n\r\nHTTP").count()), (vec![200; 3], 2));
    assert!(text.ends_with("\r\n\r\n") && text.contains(&format!("content-length: {BIG}\r\n")));
}
