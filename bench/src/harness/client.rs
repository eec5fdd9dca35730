//! The platform's side of a few calls on one connection, which thaw and density send to all contenders.
//!
//! Sending and waiting are two steps, so that a call can be in progress at many instances at once, or reach a frozen
//! one. Waits block until a deadline; nothing spins. This module measures nothing.

use std::net::SocketAddr;

use super::{BODY, Contender, Instance};
use crate::results::Kind;
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_emulator::http;
use fc_emulator::platform::{Hook, Platform, Request, Settings};

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `POST /initialize`
    Initialize,
    /// `POST /invoke` with [`BODY`].
    Invoke,
    /// `GET /pre-freeze`, which the platform sends before each freeze.
    PreFreeze,
}

/// The requests. All contenders get the same bytes.
#[derive(Debug)]
pub struct Client {
    initialize: Request,
    invoke: Request,
    pre_freeze: Request,
}

/// A connection to one instance, which is kept open.
pub struct Conn<'a> {
    client: &'a Client,
    conn: http::Conn,
    /// A user's own server may have no such hook and may not echo, but it must answer.
    is_custom: bool,
}

impl Default for Client {
    fn default() -> Self {
        let platform = Platform::new(Settings::default());
        let [initialize, pre_freeze] = [Hook::Initialize, Hook::PreFreeze].map(|hook| platform.hook(hook));
        Self { initialize, invoke: platform.invoke(BODY), pre_freeze }
    }
}

impl Client {
    /// Connects as soon as the instance listens.
    ///
    /// # Errors
    /// If the instance ends first, or does not listen in time.
    pub fn connect(&self, contender: &Contender, instance: &Instance, deadline: Deadline) -> Result<Conn<'_>> {
        let ended = || instance.try_exit().map(|status| format!("it ended before it answered: {status}"));
        self.connect_to(contender, instance.address(), deadline, ended)
    }

    /// The same at an address. `ended` returns the reason if the server has ended.
    ///
    /// # Errors
    /// If the server ends first, or does not listen in time.
    pub fn connect_to(
        &self,
        contender: &Contender,
        address: SocketAddr,
        deadline: Deadline,
        ended: impl Fn() -> Option<String>,
    ) -> Result<Conn<'_>> {
        let conn = deadline.until(|| match (http::Conn::open(address, deadline), ended()) {
            (_, Some(why)) => Some(Err(Error::new(why))),
            (Ok(conn), None) => Some(Ok(conn)),
            (Err(_), None) => None,
        });
        let conn = conn.unwrap_or_else(|| Err(Error::new("it did not listen in time")))?;
        Ok(Conn { client: self, conn, is_custom: contender.described.kind == Kind::Custom })
    }

    fn request(&self, call: Call) -> &Request {
        match call {
            Call::Initialize => &self.initialize,
            Call::Invoke => &self.invoke,
            Call::PreFreeze => &self.pre_freeze,
        }
    }
}

impl Conn<'_> {
    /// Sends a call and does not wait for the reply.
    ///
    /// # Errors
    /// If the connection is closed.
    pub fn send(&mut self, call: Call, deadline: Deadline) -> Result<()> {
        let request = self.client.request(call);
        self.conn.send(&request.bytes(), deadline).map_err(|cause| Error::failed("call", &request.line, cause))
    }

    /// Waits for the whole reply to a call that was sent, and checks it.
    ///
    /// # Errors
    /// If there is no reply in time, or a wrong one.
    pub fn reply(&mut self, call: Call, deadline: Deadline) -> Result<()> {
        let line = &self.client.request(call).line;
        let response = self.conn.read(deadline).map_err(|cause| Error::failed("call", line, cause))?;
        let good = match (call, self.is_custom) {
            (Call::Initialize, true) => true,
            (Call::Initialize, false) | (Call::Invoke, true) => response.status == 200,
            // 404 says that the function has no such hook.
            (Call::PreFreeze, _) => matches!(response.status, 200 | 404),
            (Call::Invoke, false) => response.status == 200 && response.body == BODY.as_bytes(),
        };
        let came = || format!("the answer was {} `{}`", response.status, response.body_text(40));
        if good { Ok(()) } else { Err(Error::failed("call", line, came())) }
    }

    /// Sends a call and waits for its reply.
    ///
    /// # Errors
    /// Those of [`Conn::send`] and [`Conn::reply`].
    pub fn call(&mut self, call: Call, deadline: Deadline) -> Result<()> {
        self.send(call, deadline)?;
        self.reply(call, deadline)
    }
}
