//! A function under test: its table and its state, without a socket, with a clock that the test sets.
//!
//! An [`Instance`] lives the life that the platform gives a container, one call at a time. Requests go through the same
//! code as on a real server, from the bytes of the request to those of the response; only the sockets are left out. It
//! needs no feature, and a binary that does not use it does not contain it.
//!
//! ```
//! use fc_hooks::testing::{Freeze, Instance, Request};
//! use fc_hooks::{App, Route};
//! use std::time::Duration;
//!
//! static APP: App<Vec<String>> = App::new(&[
//!     Route::initialize(|stock, _| {
//!         stock.push("tea".to_owned());
//!         Ok("ready".into())
//!     }),
//!     Route::on_thaw(|stock, _, thaw| {
//!         stock.push(format!("frozen for {:?}", thaw.gap));
//!         Ok(())
//!     }),
//!     Route::get("/stock", |stock, _, _| Ok(stock.join(", ").into())),
//! ]);
//!
//! let mut shop = Instance::new(&APP, Vec::new());
//! assert_eq!(shop.initialize().text(), "ready");
//! assert_eq!(shop.call(Request::get("/stock?all")).text(), "tea");
//! shop.freeze(Duration::from_secs(60), Freeze::ControlGroup);
//! let answer = shop.call(Request::get("/stock"));
//! assert_eq!((answer.status(), answer.text()), (200, "tea, frozen for 60s"));
//! assert_eq!(shop.lifecycle().counts().thawed, 1);
//! ```

mod answer;
mod clock;
mod request;
mod transcript;

pub use answer::Answer;
pub use clock::Freeze;
pub use request::Request;

use crate::config::Config;
use crate::function::app::App;
use crate::function::dispatch::Dispatcher;
use crate::function::exchange::{self, Allowance, Exchange, Next, Received};
use crate::function::lifecycle::Lifecycle;
use crate::function::request::Peer;
use crate::http1::decoder::{RequestDecoder, Step};
use crate::limits::Limits;
use crate::platform::headers;
use crate::platform::hooks::{HTTP_PATH, Hook, INVOKE_METHOD, INVOKE_PATH};
use clock::Clock;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use transcript::Transcript;

/// One instance of a function.
///
/// Its clocks stand still unless the test moves them, also while callbacks run. Callbacks see them through
/// [`Context::now`](crate::Context::now) and [`Context::time_left`](crate::Context::time_left); the standard library's
/// clocks are the real ones.
///
/// What callbacks log is part of the [`Answer`], unless the test has set a logger of its own before. What they print is
/// not.
pub struct Instance<S: 'static> {
    dispatcher: Dispatcher<S>,
    clock: Clock,
    limits: Limits,
    /// Requests so far, for their ids.
    requests: u64,
}

impl<S> Instance<S> {
    /// An instance that no call has reached yet, with the default configuration.
    pub fn new(app: &'static App<S>, state: S) -> Instance<S> {
        Instance::with_config(app, state, &Config::new())
    }

    /// As [`Instance::new`], with a configuration: its limits, its health path. It listens nowhere.
    pub fn with_config(app: &'static App<S>, state: S, config: &Config) -> Instance<S> {
        transcript::capture_log();
        let clock = Clock::new();
        clock.show();
        let dispatcher = exchange::dispatcher(app, state, config, clock::ENV);
        Instance { dispatcher, clock, limits: config.limits.clone(), requests: 0 }
    }

    /// The platform's `POST /initialize`.
    pub fn initialize(&mut self) -> Answer {
        self.hook(Hook::Initialize)
    }

    /// The platform's `GET /pre-freeze`. FC 3.0 never calls it (C-FRZ-2). It does not freeze the instance:
    /// [`Instance::freeze`] does.
    pub fn pre_freeze(&mut self) -> Answer {
        self.hook(Hook::PreFreeze)
    }

    /// The platform's `GET /pre-stop`.
    pub fn pre_stop(&mut self) -> Answer {
        self.hook(Hook::PreStop)
    }

    /// The platform's `POST /invoke` with this event.
    pub fn invoke(&mut self, event: impl AsRef<[u8]>) -> Answer {
        self.by_platform(Request::new(INVOKE_METHOD, INVOKE_PATH).body(event), INVOKE_PATH)
    }

    /// An HTTP call through the platform's gateway, which adds `x-fc-request-id` and `x-fc-control-path`. A header of
    /// the request comes in place of the gateway's.
    pub fn call(&mut self, request: Request) -> Answer {
        self.by_platform(request, HTTP_PATH)
    }

    /// A request of a client that reaches the port itself: nothing is added to it.
    pub fn send(&mut self, request: Request) -> Answer {
        self.clock.show();
        transcript::begin();
        let mut exchange = Exchange::default();
        let mut decoder = RequestDecoder::new();
        if let Ok(buffer) = decoder.buffer_for_reading(usize::MAX) {
            request.write_to(buffer);
        }
        let (response, is_cut) = self.respond(&mut decoder, &mut exchange);
        self.dispatcher.before_wait();
        Answer::parse(response, is_cut, transcript::end())
    }

    /// The bytes of the response, and whether they end too early because the author's stream failed.
    fn respond(&mut self, decoder: &mut RequestDecoder, exchange: &mut Exchange) -> (Vec<u8>, bool) {
        let mut response = Vec::new();
        loop {
            let by_head = decoder.is_by_head();
            let mut storage = Vec::new();
            match decoder.advance(Duration::ZERO, &self.limits, &mut storage) {
                Step::HeadDone { .. } => continue,
                // The request is whole, so this is a head that its own headers end too early.
                Step::NeedMore => return (response, true),
                Step::Refuse(error) => exchange.reject(error, !by_head),
                Step::Request(head, body) => {
                    let client = Peer::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
                    let received = Received { head, body, client, at: self.clock.reading() };
                    let allowance = Allowance { keep: true, reply_bytes_max: usize::MAX };
                    let started = exchange.start(&mut self.dispatcher, received, allowance, &mut Transcript);
                    if started.wants_body {
                        let (request, body) = decoder.take_body();
                        exchange.hand_over(request, body);
                    }
                }
            }
            break;
        }
        loop {
            let bytes = match exchange.next(&mut self.dispatcher, &mut Transcript) {
                Ok(Next::Write(head, body)) => {
                    response.extend_from_slice(head);
                    response.extend_from_slice(body);
                    head.len() + body.len()
                }
                Ok(Next::Done) => return (response, false),
                Err(_) => return (response, true),
            };
            exchange.advance(bytes);
        }
    }

    fn hook(&mut self, hook: Hook) -> Answer {
        self.by_platform(Request::new(hook.method(), hook.path()), hook.path())
    }

    fn by_platform(&mut self, request: Request, control_path: &str) -> Answer {
        self.requests += 1;
        let id = self.clock.request_id(self.requests);
        self.send(request.or_header(headers::REQUEST_ID, &id).or_header(headers::CONTROL_PATH, control_path))
    }

    /// Lets time pass in which the instance is awake and has nothing to do.
    pub fn advance(&mut self, time: Duration) {
        self.clock.advance(time);
        self.clock.show();
    }

    /// Stops the instance for this long, and leaves the signs that such a freeze leaves. The next call thaws it.
    pub fn freeze(&mut self, time: Duration, how: Freeze) {
        self.dispatcher.record_evidence(self.clock.freeze(time, how));
        self.clock.show();
    }

    /// SIGTERM: callbacks see it by [`Context::cancelled`](crate::Context::cancelled). The instance serves until
    /// [`Instance::stop`].
    pub fn cancel(&mut self) {
        self.clock.cancel();
        self.clock.show();
    }

    /// The orderly end after SIGTERM: runs pre-stop if the platform did not call it (C-STOP-3). Returns the lines of
    /// the log.
    pub fn stop(&mut self) -> Vec<String> {
        self.cancel();
        transcript::begin();
        self.dispatcher.stop(&mut Transcript);
        transcript::end()
    }

    /// The life of the instance so far.
    pub fn lifecycle(&self) -> &Lifecycle {
        self.dispatcher.lifecycle()
    }

    /// The function's state.
    pub fn state(&self) -> &S {
        self.dispatcher.state()
    }

    /// The function's state, to change it between calls.
    pub fn state_mut(&mut self) -> &mut S {
        self.dispatcher.state_mut()
    }
}

#[cfg(test)]
mod tests;
