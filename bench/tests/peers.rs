//! The peers of the benchmark answer the same calls with the same bytes; otherwise the comparison would be worth
//! nothing.
//!
//! The test builds the baseline if there is a C compiler; `make peers` builds the others. The test names and skips each
//! peer that was not built.

#![cfg(target_os = "linux")] // the peers run on Linux, and /proc tells when half a request was read

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use fc_emulator::clock::Deadline;
use fc_emulator::http::{Conn, Response};
use fc_emulator::platform::{Hook, Platform, Request, Settings};
use fc_emulator::target::{self, Launch, Port, Ready, Spec, Target};
use serde::Deserialize;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const BUILD: &str = "bench/peers/build";
const BUILT: &str = "target/peers";
const EVENT: &str = "ready";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Peer {
    name: String,
    label: String,
    /// Whether ratios refer to this one.
    #[serde(default)]
    baseline: bool,
    /// A path relative to the checkout, and arguments, in which `{port}` stands for the port.
    command: Vec<String>,
    /// Variables that it needs.
    #[serde(default)]
    env: BTreeMap<String, String>,
    build: String,
    needs: Vec<String>,
    /// Whether it is one static file, which can be a whole image.
    #[serde(rename = "static")]
    is_static: bool,
    /// Whether it answers before it has read a body.
    #[serde(default)]
    answers_early: bool,
    /// Whether a quick run leaves it out where it takes long.
    #[serde(default, rename = "heavy")]
    _is_heavy: bool,
    /// Whether it ignores `Connection: close`.
    #[serde(default)]
    keeps_open: bool,
    /// The headers that it sends in addition to those of the canonical reply, in lower case.
    extra_headers: BTreeSet<String>,
    /// Why it takes part.
    why: String,
    note: String,
    /// How it answers with the request's body.
    #[serde(default)]
    echo: Vec<Echo>,
    /// Why it does not.
    no_echo: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Echo {
    name: String,
    label: String,
    program: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Whether it answers while it still reads.
    #[serde(default, rename = "streams")]
    _streams: bool,
}

/// The table's paths are relative to the checkout, so the test must run there.
fn table() -> Vec<Peer> {
    env::set_current_dir(ROOT).unwrap();
    serde_json::from_str(&fs::read_to_string("bench/peers/peers.json").unwrap()).unwrap()
}

fn build(words: &[&str]) -> Output {
    Command::new(BUILD).args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const SOON: Duration = Duration::from_secs(20);

fn soon() -> Deadline {
    Deadline::after(SOON)
}

#[test]
fn the_table_says_what_is_there() {
    let table = table();
    let names: Vec<_> = table.iter().map(|peer| peer.name.as_str()).collect();
    assert_eq!(text(&build(&["--list"]).stdout).lines().collect::<Vec<_>>(), names);
    let folders = fs::read_dir("bench/peers").unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir());
    let folders: BTreeSet<_> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    // A program from a registry has no source here.
    let without_source = ["statico", "statico_uring"];
    let with_source = names.iter().filter(|name| !without_source.contains(name)).map(ToString::to_string);
    assert_eq!(with_source.collect::<BTreeSet<_>>(), folders);
    for peer in &table {
        let name = &peer.name;
        assert_eq!(peer.baseline, name == "baseline");
        assert_eq!(peer.build, format!("{BUILD} {name}"));
        let program = peer.command[0].strip_prefix(&format!("{BUILT}/{name}"));
        assert!(program.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')), "{:?}", peer.command);
        assert!(!peer.label.is_empty() && !peer.why.is_empty() && !peer.note.is_empty(), "{name}");
        assert!(!peer.needs.is_empty(), "{name}");
        assert!(peer.echo.is_empty() == peer.no_echo.as_ref().is_some_and(|why| !why.is_empty()), "{name}");
        for echo in &peer.echo {
            assert!(echo.name.starts_with(&format!("{name}_")) && !echo.label.is_empty(), "{}", echo.name);
            assert!(echo.program.is_some() || !echo.env.is_empty(), "{}: what makes it echo?", echo.name);
        }
    }
}

#[test]
fn an_unknown_peer_is_not_built() {
    env::set_current_dir(ROOT).unwrap();
    let output = build(&["nobody"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("unknown peer nobody"), "{}", text(&output.stderr));
}

#[test]
#[ignore = "seconds for each peer: make test-all"]
fn every_peer_that_is_built_answers_the_same_calls_with_the_same_bytes() {
    let table = table();
    let baseline = build(&["baseline"]);
    assert!(baseline.status.success(), "{}", text(&baseline.stderr));
    eprint!("{}", text(&baseline.stdout));
    for peer in &table {
        if Path::new(&peer.command[0]).exists() {
            // A starter of a program that is not static may be static itself.
            assert!(is_static(&peer.command[0]) || !peer.is_static, "{}: static", peer.name);
            check(peer);
        } else {
            fc_testkit::skip(format!("{} is not built: make peers, which needs {}", peer.name, peer.needs.join(", ")));
        }
    }
}

/// Whether it is a program without an interpreter, unlike scripts and dynamically linked programs (64-bit ELF).
fn is_static(path: &str) -> bool {
    const INTERPRETER: [u8; 4] = 3_u32.to_ne_bytes();
    let bytes = fs::read(path).unwrap();
    if !bytes.starts_with(b"\x7fELF") {
        return false;
    }
    let number = |at: usize| usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
    let table = usize::try_from(u64::from_ne_bytes(bytes[0x20..0x28].try_into().unwrap())).unwrap();
    let (entry_bytes, entries) = (number(0x36), number(0x38));
    bytes[table..].chunks(entry_bytes).take(entries).all(|entry| entry[..4] != INTERPRETER)
}

fn check(peer: &Peer) {
    let port = Port::free().unwrap();
    let own = peer.env.iter().map(|(name, value)| (name.clone(), value.clone()));
    let env = own.chain([("FC_SERVER_PORT".to_owned(), port.number().to_string())]).collect();
    let launch = Launch { env, port: port.number(), ..Launch::default() };
    let command = peer.command.iter().map(|word| word.replace("{port}", &port.number().to_string())).collect();
    let mut target = target::launch(&Spec::Command(command), &launch).unwrap();
    let ready = target::wait_ready(&mut *target, None, SOON, &mut |_| (), &|| false);
    assert_eq!(ready, Ready::Yes, "{}: {:?}", peer.name, target.output().map(|output| output.all()));

    let calls = calls();
    assert_answers(peer, &*target, &calls, |conn, call| conn.send(&call.bytes(), soon()).unwrap());
    assert_answers(peer, &*target, &calls, |conn, call| {
        send_in_two(conn, port.number(), call, call.head.len() / 2);
    });
    // The last byte of the head alone; then, for calls with a body, the body alone and its last byte alone.
    for cut_from_head_end in [-1, 0, 2] {
        let applies = |call: &&Request| cut_from_head_end < 0 || !call.body.is_empty() && !peer.answers_early;
        let calls: Vec<_> = calls.iter().filter(applies).cloned().collect();
        assert_answers(peer, &*target, &calls, |conn, call| {
            send_in_two(conn, port.number(), call, call.head.len().checked_add_signed(cut_from_head_end).unwrap());
        });
    }
    all_at_once(peer, &*target, &calls);
    assert_eq!(target.output().unwrap().all().len(), 0, "{}: it printed something", peer.name);
}

/// The requests of the benchmark.
fn calls() -> Vec<Request> {
    let platform = Platform::new(Settings::default());
    let hook = |hook| platform.hook(hook);
    let root = platform.http("GET", "/", &[], Vec::new());
    vec![hook(Hook::Initialize), platform.invoke(EVENT), hook(Hook::PreFreeze), hook(Hook::PreStop), root]
}

/// Sends all calls one after the other on one connection, and then a last one that closes it.
fn assert_answers(peer: &Peer, target: &dyn Target, calls: &[Request], send: impl Fn(&mut Conn, &Request)) {
    let mut conn = Conn::open(target.addr(), soon()).unwrap();
    for call in calls {
        send(&mut conn, call);
        assert_canonical(peer, call, &conn.read(soon()));
    }
    end(peer, &mut conn);
}

fn all_at_once(peer: &Peer, target: &dyn Target, calls: &[Request]) {
    let mut conn = Conn::open(target.addr(), soon()).unwrap();
    conn.send(&calls.iter().flat_map(Request::bytes).collect::<Vec<_>>(), soon()).unwrap();
    for call in calls {
        assert_canonical(peer, call, &conn.read(soon()));
    }
    end(peer, &mut conn);
}

/// With `Connection: close` the server closes the connection after the answer; a second answer would arrive before
/// that.
fn end(peer: &Peer, conn: &mut Conn) {
    let headers = [("Connection", "close")];
    let last = Platform::new(Settings::default()).http("POST", "/invoke", &headers, EVENT.into());
    conn.send(&last.bytes(), soon()).unwrap();
    assert_canonical(peer, &last, &conn.read(soon()));
    assert!(
        peer.keeps_open || conn.closes(soon()),
        "{}: it did not close the connection, or sent more than one answer",
        peer.name
    );
}

/// Sends the first `cut` bytes, and the rest when the server has read those.
fn send_in_two(conn: &mut Conn, port: u16, call: &Request, cut: usize) {
    let bytes = call.bytes();
    conn.send(&bytes[..cut], soon()).unwrap();
    soon().until(|| (unread(port) == 0).then_some(())).expect("it reads what has come");
    assert!(!conn.has_answer(Duration::from_millis(2)), "port {port}: {} is answered before its end", call.line);
    conn.send(&bytes[cut..], soon()).unwrap();
}

/// How many bytes wait in the sockets of this local port.
fn unread(port: u16) -> u64 {
    let sockets =
        fs::read_to_string("/proc/net/tcp").unwrap() + &fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    let queue = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (local, state, queues) = (words.get(1)?, words.get(3)?, words.get(4)?);
        // For a listener, this number counts connections.
        let ours = *state == "01" && local.ends_with(&format!(":{port:04X}"));
        ours.then(|| u64::from_str_radix(queues.split_once(':')?.1, 16).ok())?
    };
    sockets.lines().filter_map(queue).sum()
}

fn assert_canonical(peer: &Peer, call: &Request, answer: &Result<Response, String>) {
    const HEADERS: [(&str, &str); 3] =
        [("x-fc-status", "200"), ("content-type", "text/plain; charset=utf-8"), ("content-length", "5")];
    let what = format!("{}, {}: {answer:?}", peer.name, call.line);
    let Ok(answer) = answer else { panic!("{what}") };
    assert_eq!((answer.status, answer.minor_version, answer.body.as_slice()), (200, 1, &b"ready"[..]), "{what}");
    for (name, value) in HEADERS {
        assert_eq!(answer.header(name), Some(value), "{what}");
    }
    // These belong to the connection, not to the reply.
    let of_connection = |name: &String| ["connection", "keep-alive"].contains(&name.as_str());
    let names = answer.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).filter(|name| !of_connection(name));
    let extra: BTreeSet<_> = names.filter(|name| !HEADERS.iter().any(|(known, _)| name == known)).collect();
    assert_eq!(extra, peer.extra_headers, "{what}");
}
