//! A server that is stopped from elsewhere in its process, one at a time: signals belong to the whole process.

use fc_hooks::{App, Config, Context, Listen, Request, Result, Route, Server, Stopper};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// A process has one server at a time.
static ONE_SERVER: Mutex<()> = Mutex::new(());

/// What ran, in order, and what stops the server.
struct State {
    ran: std::sync::mpsc::Sender<&'static str>,
    stopper: Option<Stopper>,
}

static APP: App<State> = App::new(&[
    Route::get("/", |state, _, _| note(state, "call")),
    Route::get("/last", stop_here),
    Route::pre_stop(|state, _| note(state, "pre-stop")),
]);

fn note(state: &mut State, what: &'static str) -> Result {
    state.ran.send(what)?;
    Ok(what.into())
}

fn stop_here(state: &mut State, _: &Context, _: &Request) -> Result {
    state.stopper.as_ref().ok_or("no stopper")?.stop();
    note(state, "last")
}

fn bind() -> (Server, SocketAddr) {
    let server = Server::bind(Config::new().listen("127.0.0.1:0").unwrap()).unwrap();
    let Listen::Tcp(address) = server.address().clone() else { panic!("not TCP") };
    (server, address)
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(client, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    reply
}

/// The call in hand is answered, pre-stop runs, `run` returns, and nothing listens any more. A second server of the
/// same process is not affected by the stopper of the first.
#[test]
fn another_thread_stops_it_in_order() {
    let _guard = ONE_SERVER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (sender, ran) = std::sync::mpsc::channel();
    let mut used_up: Option<Stopper> = None;
    for _ in 0..2 {
        let (server, address) = bind();
        let stopper = server.stopper().unwrap();
        if let Some(stale) = used_up.take() {
            stale.stop();
        }
        let client = thread::spawn(move || {
            let reply = get(address, "/");
            stopper.stop();
            stopper.stop();
            (reply, stopper)
        });
        server.run(&APP, State { ran: sender.clone(), stopper: None }).expect("it serves");
        let (reply, stopper) = client.join().unwrap();
        assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
        assert!(TcpStream::connect(address).is_err(), "nothing listens");
        assert_eq!(ran.try_iter().collect::<Vec<_>>(), ["call", "pre-stop"]);
        used_up = Some(stopper);
    }
}

#[test]
fn a_callback_stops_it_and_is_answered() {
    let _guard = ONE_SERVER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (sender, ran) = std::sync::mpsc::channel();
    let (server, address) = bind();
    let state = State { ran: sender, stopper: Some(server.stopper().unwrap()) };
    let client = thread::spawn(move || get(address, "/last"));
    server.run(&APP, state).expect("it serves");
    assert!(client.join().unwrap().ends_with("last"), "the call in hand is answered");
    assert_eq!(ran.try_iter().collect::<Vec<_>>(), ["last", "pre-stop"]);
}
