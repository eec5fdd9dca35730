//! The server under load: an instance that has answered its first calls, and the clock of its processor time.

use std::net::SocketAddr;
use std::time::Duration;

use super::Nanos;
use crate::harness::{BODY, Contender, Instance, Start};
use crate::results::Kind;
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_emulator::http::{Conn, Response};
use fc_emulator::platform::{Hook, Platform, Request};

/// From the start to the reply to the first event.
const READY_WAIT: Duration = Duration::from_secs(10);

/// A running server.
pub struct Server {
    instance: Instance,
}

impl Server {
    /// Starts an instance on these processors, and sends `/initialize` and an event.
    ///
    /// # Errors
    /// If it does not start, or answers incorrectly.
    pub fn start(
        contender: &Contender,
        markers: Option<bool>,
        processors: &[usize],
        platform: &Platform,
    ) -> Result<Self> {
        let markers = markers.map(|on| ("FC_HOOKS_LOG_MARKERS", if on { "on" } else { "off" }));
        let start = Start { processors, env: markers.as_slice(), ..Start::default() };
        let instance = Instance::start(contender, &start)?;
        let server = Self { instance };
        server.first_calls(contender, platform)?;
        Ok(server)
    }

    /// The address at which it listens.
    pub fn address(&self) -> SocketAddr {
        self.instance.address()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.instance.pid()
    }

    /// The processor time of all its threads, including those that have ended.
    ///
    /// # Errors
    /// If it has ended.
    pub fn cpu(&self) -> Result<Nanos> {
        self.instance.cpu()
    }

    fn first_calls(&self, contender: &Contender, platform: &Platform) -> Result<()> {
        let deadline = Deadline::after(READY_WAIT);
        let connected = deadline.until(|| match (self.instance.try_exit(), Conn::open(self.address(), deadline)) {
            (Some(status), _) => Some(Err(Error::new(format!("it ended before it listened: {status}")))),
            (None, Ok(conn)) => Some(Ok(conn)),
            (None, Err(_)) => None,
        });
        let conn = connected.ok_or_else(|| Error::new("the server did not listen in time"))??;
        // A user's own server may not know the hook, but it must answer.
        let is_custom = contender.described.kind == Kind::Custom;
        let initialized = exchange(conn, &platform.hook(Hook::Initialize), deadline)?;
        if !is_custom && initialized.status != 200 {
            return Err(Error::new(format!("/initialize was answered with {}", initialized.status)));
        }
        let conn = Conn::open(self.address(), deadline).map_err(Error::new)?;
        let invoked = exchange(conn, &platform.invoke(BODY), deadline)?;
        if invoked.status != 200 || (!is_custom && invoked.body != BODY.as_bytes()) {
            let body = invoked.body_text(40);
            return Err(Error::new(format!("/invoke was answered with {} and `{body}`", invoked.status)));
        }
        Ok(())
    }
}

fn exchange(mut conn: Conn, request: &Request, deadline: Deadline) -> Result<Response> {
    conn.exchange(&request.bytes(), deadline).map_err(|cause| Error::failed("call", &request.line, cause))
}
