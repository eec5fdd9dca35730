//! A server that already runs: we can call it, and nothing more.

use std::net::SocketAddr;

use super::{Exit, Target};
use crate::error::{Error, Result};
use crate::freezer::Proof;
use crate::output::Output;

/// A server that already runs.
pub struct Running(SocketAddr);

impl Running {
    /// Does nothing: the first call opens the first connection.
    pub fn new(addr: SocketAddr) -> Self {
        Self(addr)
    }
}

fn out_of_reach<T>() -> Result<T> {
    Err(Error::new("a server that already runs can only be called: it gets no freezes and no signals"))
}

impl Target for Running {
    fn addr(&self) -> SocketAddr {
        self.0
    }

    fn outer_addr(&self) -> Option<SocketAddr> {
        None
    }

    fn output(&self) -> Option<&Output> {
        None
    }

    fn pid(&self) -> Option<u32> {
        None
    }

    fn freezer(&self) -> Option<&'static str> {
        None
    }

    fn freeze(&mut self) -> Result<Proof> {
        out_of_reach()
    }

    fn thaw(&mut self) -> Result<()> {
        out_of_reach()
    }

    fn terminate(&mut self) -> Result<()> {
        out_of_reach()
    }

    fn try_exit(&mut self) -> Option<Exit> {
        None
    }
}
