//! `Function::answer` in a tiny_http server that the caller runs.

use crate::support::client::{Client, request};
use crate::support::pattern;
use fc_hooks::tiny_http::{Function, Unanswered};
use fc_hooks::{App, Config, Error, Reply, Route};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle, ThreadId};
use tiny_http::{Response, Server, TestRequest};

/// The threads that callbacks ran on. The type is not `Send`.
type State = Rc<RefCell<Vec<ThreadId>>>;

static APP: App<State> = App::<State>::new(&[
    Route::initialize(|threads, _| note(threads, "ready")),
    Route::invoke(|threads, _, event| note(threads, event.body().to_vec())),
    Route::get("/call", |threads, _, request| note(threads, format!("{} from {}", request.path(), request.peer()))),
    Route::get("/evil", |_, _, _| Err(Error::typed("E\r\nset-cookie: a", "\r\nset-cookie: b\n\rset-cookie: c"))),
    Route::get("/cut", |_, _, _| Ok(Reply::stream_sized(&b"short"[..], 6))),
    Route::pre_stop(|threads, _| note(threads, "bye")),
])
.show_errors();

fn note(threads: &State, reply: impl Into<Reply>) -> fc_hooks::Result {
    threads.borrow_mut().push(thread::current().id());
    Ok(reply.into())
}

/// The outcome of each request, and for each callback whether it ran on the thread of the loop.
type Outcome = (Vec<Result<(), Unanswered>>, Vec<bool>);

/// A server that answers `/mine` itself. It ends when it is unblocked.
fn serve(config: &Config) -> (Arc<Server>, SocketAddr, JoinHandle<Outcome>) {
    let config = config.clone();
    let (sender, receiver) = channel();
    let handle = thread::spawn(move || {
        let server = Arc::new(Server::http("127.0.0.1:0").expect("a free port"));
        sender.send(server.clone()).expect("the test waits");
        let state = State::default();
        let mut function = Function::with_config(&APP, state.clone(), &config).expect("a configuration");
        let mut outcomes = Vec::new();
        while let Ok(request) = server.recv() {
            match request.url() {
                "/mine" => request.respond(Response::from_string("mine")).expect("a client"),
                _ => outcomes.push(function.answer(request)),
            }
        }
        function.stop();
        let here = thread::current().id();
        let on_this_thread = state.borrow().iter().map(|id| *id == here).collect();
        (outcomes, on_this_thread)
    });
    let server = receiver.recv().expect("a server");
    let address = server.server_addr().to_ip().expect("an address");
    (server, address, handle)
}

fn connect(address: SocketAddr) -> Client {
    Client::tcp(TcpStream::connect(address).expect("a connection"), Arc::default())
}

#[test]
fn requests_of_a_server_of_ones_own() {
    let mut config = Config::default();
    config.set("limit", "body_bytes_max=2000").expect("a setting");
    config.set("health-path", "/healthz").expect("a setting");
    config.set("log-markers", "off").expect("a setting");
    let (server, address, handle) = serve(&config);
    let mut client = connect(address);
    let local = client.local();
    // The server's own request and the function's, pipelined on one connection.
    client.send([request("GET", "/mine", &[], b""), request("POST", "/initialize", &[], b"")].concat());
    assert_eq!([client.reply().text(), client.reply().text()], ["mine", "ready"]);
    assert_eq!(client.get("/healthz").text(), "ok");
    assert!(client.call("POST", "/invoke", &[], &pattern(2000)).body == pattern(2000));
    assert_eq!(client.get("/mine").text(), "mine");
    assert_eq!(client.get("/call").text(), format!("/call from {local}"));
    assert_eq!(client.get("/nowhere").status, 404);
    assert_eq!(client.call("HEAD", "/call", &[], b"").status, 200);
    let failed = client.get("/evil");
    assert_eq!(failed.error().1, "\r\nset-cookie: b\n\rset-cookie: c");
    assert_eq!(failed.headers.len(), 3, "{failed:?}");
    let mut cut = connect(address);
    cut.send(request("GET", "/cut", &[], b""));
    assert_eq!(cut.rest().1, crate::support::client::End::Reset);
    // A rejected request ends the connection. Bytes after it reach no callback and get no reply.
    let events = request("POST", "/invoke", &[], b"smuggled");
    client.send([b"POST /invoke HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n", &events[..], &events].concat());
    assert_eq!(client.reply().status, 400);
    client.expect_close();
    drop(client);
    let mut other = connect(address);
    assert_eq!(other.call("POST", "/invoke", &[], &pattern(2001)).status, 413);
    other.expect_close();
    drop(other);
    assert_eq!(connect(address).get("/call").status, 200);

    server.unblock();
    let (outcomes, on_this_thread) = handle.join().expect("the loop ends");
    use Unanswered::{Closed, Refused, StreamFailed};
    let (closed, told): (Vec<_>, Vec<_>) =
        outcomes.into_iter().filter_map(Result::err).partition(|unanswered| *unanswered == Closed);
    assert_eq!(told, [StreamFailed, Refused(400), Refused(413)]);
    assert!(closed.len() <= 2, "{closed:?}");
    assert_eq!(on_this_thread, [true; 6], "initialize, invoke, call, call, call, pre-stop");
}

/// C-STOP-5: a call after pre-stop revives the instance, so its connections stay open.
#[test]
fn connections_live_on_after_pre_stop() {
    let (server, address, handle) = serve(&Config::default());
    let mut client = connect(address);
    assert_eq!(client.call("GET", "/pre-stop", &[], b"").text(), "bye");
    client.send([request("POST", "/invoke", &[], b"late"), request("POST", "/invoke", &[], b"later")].concat());
    for event in ["late", "later"] {
        let reply = client.reply();
        assert_eq!((reply.text().as_str(), reply.header("connection")), (event, None));
    }
    server.unblock();
    let (outcomes, on_this_thread) = handle.join().expect("the loop ends");
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(on_this_thread, [true; 4], "pre-stop, two events, and pre-stop again");
}

/// Limits are checked before any request is served. A request without a connection can be answered too.
#[test]
fn without_a_connection() {
    let mut config = Config::default();
    config.limits.headers_max = 0;
    let error = Function::with_config(&APP, State::default(), &config).err().expect("a limit out of range");
    assert_eq!(error.to_string(), "limit headers_max: 0 is not between 1 and 256");
    let state = State::default();
    let mut function = Function::new(&APP, state.clone());
    let host = "host: a".parse::<tiny_http::Header>().expect("a header");
    assert_eq!(function.answer(TestRequest::new().with_path("/call").with_header(host).into()), Ok(()));
    assert_eq!(function.answer(TestRequest::new().into()), Err(Unanswered::Refused(400)));
    assert_eq!(state.borrow().len(), 1);
}

/// A connection from the same client address to another listener of the process: it is not touched, whatever the
/// function does to its own.
#[test]
fn a_connection_of_another_listener_is_left_alone() {
    for is_told in [true, false] {
        let server = Server::http("127.0.0.1:0").expect("a free port");
        let address = server.server_addr().to_ip().expect("an address");
        let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let state = State::default();
        let mut function = Function::new(&APP, state);
        if is_told {
            function = function.listening_on(address);
        }
        // Both connections come from one address of the client.
        let mut theirs = from_one_address(None, other.local_addr().expect("an address"));
        let client = theirs.local_addr().expect("an address");
        let (mut accepted, _) = other.accept().expect("a connection");
        let mut ours = from_one_address(Some(client), address);
        assert_eq!(ours.local_addr().expect("an address"), client);
        ours.write_all(b"GET /cut HTTP/1.1\r\nhost: a\r\n\r\n").expect("sent");
        let request = server.recv().expect("a request");
        assert_eq!(function.answer(request), Err(Unanswered::StreamFailed));
        if is_told {
            let mut reply = Vec::new();
            assert!(ours.read_to_end(&mut reply).is_err(), "its own is reset: {}", reply.escape_ascii());
        }
        accepted.write_all(b"still here").expect("the other connection lives");
        let mut received = [0; 10];
        theirs.read_exact(&mut received).expect("the other connection lives");
        assert_eq!(received, *b"still here");
    }
}

/// Connects from this address of the client, or from any that other connections may share.
fn from_one_address(client: Option<SocketAddr>, server: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, sockopt};
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    sockopt::set_socket_reuseaddr(&socket, true).expect("an option");
    let client = client.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    rustix::net::bind(&socket, &client).expect("a shared address");
    rustix::net::connect(&socket, &server).expect("a connection");
    TcpStream::from(socket)
}
