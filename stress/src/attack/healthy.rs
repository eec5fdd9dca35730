//! The healthy client during an attack: one connection that stays open and is called at a fixed rate, and one new
//! connection for each further call.
//!
//! Every call has a body of its own, so an answer that belongs to another call is detected. Latencies count from the
//! time when a call was due, unless the client itself woke up too late. This module judges nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fc_bench::harness::pin_self;
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_emulator::http::Conn;
use fc_emulator::platform::{Caller, Platform, Settings};

/// Calls per second on the connection that stays open.
const KEPT_RATE: f64 = 500.0;

/// Calls per second on new connections.
const FRESH_RATE: f64 = 40.0;

/// A call without an answer after this time is lost.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// How the client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionMode {
    /// All calls use one connection.
    Kept,
    /// Each call uses a new connection.
    Fresh,
}

/// One call.
#[derive(Clone, Debug)]
pub struct CallSample {
    /// The window in which the call was due.
    pub window: u32,
    /// The time from when it was due to its answer, in microseconds, or the failure.
    pub outcome: std::result::Result<f64, String>,
}

/// A client on a thread of its own.
pub struct Healthy {
    shared: Arc<Shared>,
    /// The time from which each window is open.
    windows: Vec<(Instant, u32)>,
    thread: Option<JoinHandle<Vec<Made>>>,
}

/// A call with the time when it was due.
type Made = (Instant, std::result::Result<f64, String>);

#[derive(Default)]
struct Shared {
    /// Calls that are overdue by more than this are left out.
    forget: AtomicBool,
    over: AtomicBool,
}

struct Worker {
    mode: ConnectionMode,
    address: SocketAddr,
    platform: Platform,
    /// Whether the server echoes events, as ours do.
    echoes: bool,
    conn: Option<Conn>,
}

impl Healthy {
    /// Starts to call, in window 0.
    pub fn begin(mode: ConnectionMode, address: SocketAddr, echoes: bool, processors: Vec<usize>) -> Self {
        let shared = Arc::new(Shared::default());
        let heard = shared.clone();
        let thread = std::thread::spawn(move || {
            // Without a processor of its own, the client calls nevertheless. The table says whether processors are
            // separate.
            let _ = pin_self(&processors);
            let platform = Platform::new(Settings::default());
            Worker { mode, address, platform, echoes, conn: None }.work(&heard)
        });
        Self { shared, windows: Vec::new(), thread: Some(thread) }
    }

    /// Calls that are due from now on belong to this window. Calls that are overdue when it begins are left out.
    pub fn enter(&mut self, window: u32) {
        self.shared.forget.store(true, Ordering::Relaxed);
        self.windows.push((Instant::now(), window));
    }

    /// Ends the client and returns every call.
    ///
    /// # Errors
    /// If the thread failed.
    pub fn end(mut self) -> Result<Vec<CallSample>> {
        self.shared.over.store(true, Ordering::Relaxed);
        let calls = self.thread.take().and_then(|thread| thread.join().ok());
        let calls = calls.ok_or_else(|| Error::new("the healthy client's thread failed"))?;
        let window = |due| self.windows.iter().rev().find(|(from, _)| *from <= due).map_or(0, |(_, window)| *window);
        Ok(calls.into_iter().map(|(due, outcome)| CallSample { window: window(due), outcome }).collect())
    }
}

impl Drop for Healthy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A caller that needs the calls has called [`Healthy::end`].
            let _ = thread.join();
        }
    }
}

impl Worker {
    fn work(mut self, shared: &Shared) -> Vec<Made> {
        let rate = if self.mode == ConnectionMode::Kept { KEPT_RATE } else { FRESH_RATE };
        let interval = Duration::from_secs_f64(1.0 / rate);
        let (mut calls, mut due) = (Vec::new(), Instant::now());
        while !shared.over.load(Ordering::Relaxed) {
            if shared.forget.swap(false, Ordering::Relaxed) {
                due = due.max(Instant::now());
            }
            let left = due.saturating_duration_since(Instant::now());
            std::thread::sleep(left);
            // A late wake-up of the client does not count. A delay by the previous call does.
            let from = if left.is_zero() { due } else { Instant::now() };
            let outcome = self.call(calls.len()).map(|()| from.elapsed().as_secs_f64() * 1e6);
            if outcome.is_err() {
                // Calls that were due during a lost call are not lost as well.
                (self.conn, due) = (None, Instant::now());
            }
            calls.push((from, outcome));
            due += interval;
        }
        calls
    }

    fn call(&mut self, number: usize) -> std::result::Result<(), String> {
        let deadline = Deadline::after(LOST_AFTER);
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => Conn::open(self.address, deadline)?,
        };
        let event = format!("{:?} call {number}", self.mode);
        let connection = if self.mode == ConnectionMode::Kept { "keep-alive" } else { "close" };
        let headers = [("Connection", connection)];
        let request = self.platform.request(Caller::Event, "POST", "/invoke", &headers, event.clone().into_bytes());
        let response = conn.exchange(&request.bytes(), deadline)?;
        if response.status != 200 || (self.echoes && response.body != event.as_bytes()) {
            return Err(format!("{} was answered with {} `{}`", event, response.status, response.body_text(60)));
        }
        if self.mode == ConnectionMode::Kept && response.keeps_alive() {
            self.conn = Some(conn);
        } else if self.mode == ConnectionMode::Fresh {
            // A reset, so that neither end stays in TIME_WAIT.
            conn.reset();
        }
        Ok(())
    }
}
