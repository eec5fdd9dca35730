//! A target that somebody else started: it can be called, and nothing more.

use std::net::SocketAddr;

use super::{Exit, Target};
use crate::error::{Error, Result};
use crate::freezer::Proof;
use crate::output::Output;

/// Something that runs already.
pub struct Running(SocketAddr);

impl Running {
    /// Nothing is done before the first call.
    pub fn new(addr: SocketAddr) -> Self {
        Self(addr)
    }
}

fn out_of_reach<T>() -> Result<T> {
    Err(Error::new("an address can only be called: no freeze, no signals"))
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
