//! Processors: the client and the server get different ones, so that neither takes time from the other.

use std::marker::PhantomData;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use fc_emulator::error::{Error, Result};

/// How the processors are shared out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processors {
    /// The client's processors.
    pub client: Vec<usize>,
    /// The server's processors. If there is only one processor, client and server share it.
    pub server: Vec<usize>,
}

impl Processors {
    /// The first processor that we may use is the client's, and the next is the server's. One is enough for a server
    /// with one thread. A server with more threads is measured with what an instance of the platform has.
    ///
    /// # Errors
    /// If the kernel does not tell which processors we may use.
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

/// Keeps the calling thread, and the threads that it starts, on these processors.
///
/// # Errors
/// If the kernel refuses.
pub fn pin_self(processors: &[usize]) -> Result<()> {
    sched_setaffinity(None, &set_of(processors))
        .map_err(|cause| Error::failed("use processors", format!("{processors:?}"), cause))
}

/// Keeps the calling thread on these processors. Dropping it restores the processors that the thread had before.
pub struct Pinned {
    before: CpuSet,
    /// It must be dropped by the thread that was pinned.
    _stays: PhantomData<*const ()>,
}

impl Pinned {
    /// Pins the calling thread as [`pin_self`] does, until the value is dropped.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn to(processors: &[usize]) -> Result<Self> {
        let before = of_self()?;
        pin_self(processors)?;
        Ok(Self { before, _stays: PhantomData })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // The thread had these processors before.
        let _ = sched_setaffinity(None, &self.before);
    }
}

/// Gives the calling thread real-time priority: it runs before every ordinary thread of its processor. Dropping it
/// restores the ordinary priority.
pub struct RealTime {
    /// It must be dropped by the thread whose priority was raised.
    _stays: PhantomData<*const ()>,
}

impl RealTime {
    /// Raises the priority to the lowest real-time priority, which is above all ordinary ones.
    ///
    /// # Errors
    /// If the kernel refuses, as it does without the privilege CAP_SYS_NICE.
    pub fn take() -> Result<Self> {
        set_policy(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, 1)
            .map_err(|cause| Error::failed("use", "real-time priority", cause))?;
        Ok(Self { _stays: PhantomData })
    }
}

impl Drop for RealTime {
    fn drop(&mut self) {
        // Lowering a priority needs no privilege.
        let _ = set_policy(libc::SCHED_OTHER, 0);
    }
}

fn set_policy(policy: libc::c_int, sched_priority: libc::c_int) -> std::io::Result<()> {
    let parameters = libc::sched_param { sched_priority };
    // SAFETY: the kernel reads `parameters` during the call, and 0 names the calling thread.
    match unsafe { libc::sched_setscheduler(0, policy, &parameters) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
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
