//! Processors: the client and the server get different ones, so that neither takes the other's time.

use std::marker::PhantomData;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use fc_emulator::error::{Error, Result};

/// How the processors are shared out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processors {
    /// The client's.
    pub client: Vec<usize>,
    /// The server's. With a single processor, the same one.
    pub server: Vec<usize>,
}

impl Processors {
    /// The first that we may use for the client, the next for the server: a one-threaded server gains nothing from
    /// more, and a threaded one is to show what it does on what an instance of the platform has.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn split() -> Result<Self> {
        let set = of_self()?;
        let ours: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect();
        let client = ours.first().copied().unwrap_or(0);
        Ok(Self { client: vec![client], server: vec![ours.get(1).copied().unwrap_or(client)] })
    }

    /// Whether client and server have processors of their own.
    pub fn apart(&self) -> bool {
        self.client != self.server
    }
}

/// A set for [`sched_setaffinity`], also in a child before its exec.
pub fn set_of(processors: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    processors.iter().for_each(|cpu| set.set(*cpu));
    set
}

/// Keeps the calling thread, and the threads it starts, on these processors.
///
/// # Errors
/// When the kernel refuses.
pub fn pin_self(processors: &[usize]) -> Result<()> {
    sched_setaffinity(None, &set_of(processors))
        .map_err(|cause| Error::failed("use processors", format!("{processors:?}"), cause))
}

/// The calling thread on processors of its own. Dropping it gives the thread back those that it had.
pub struct Pinned {
    before: CpuSet,
    /// The thread that was pinned is the one to be set free.
    _stays: PhantomData<*const ()>,
}

impl Pinned {
    /// [`pin_self`], until this is dropped.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn to(processors: &[usize]) -> Result<Self> {
        let before = of_self()?;
        pin_self(processors)?;
        Ok(Self { before, _stays: PhantomData })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // They were ours before.
        let _ = sched_setaffinity(None, &self.before);
    }
}

fn of_self() -> Result<CpuSet> {
    sched_getaffinity(None).map_err(|cause| Error::failed("read", "the processors to use", cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_pinned_and_set_free() {
        let before = of_self().unwrap();
        let processors = Processors::split().unwrap();
        let pinned = Pinned::to(&processors.client).unwrap();
        assert_eq!(of_self().unwrap(), set_of(&processors.client));
        drop(pinned);
        assert_eq!(of_self().unwrap(), before);
    }
}
