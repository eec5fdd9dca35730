//! Readiness by poll(2), level-triggered: for kernels without epoll, and to compare with it in tests.

use crate::server::system::{Interest, Ready, Token};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

pub(crate) struct Poller {
    sources: Vec<libc::pollfd>,
    /// At the same index as its source.
    tokens: Vec<Token>,
}

impl Poller {
    /// The system call that waits.
    pub(crate) const WAIT: &str = "poll";

    pub(crate) fn new() -> Result<Poller, Errno> {
        Ok(Poller { sources: Vec::new(), tokens: Vec::new() })
    }

    pub(crate) fn add(&mut self, source: BorrowedFd<'_>, token: Token, interest: Interest) -> Result<(), Errno> {
        self.sources.push(libc::pollfd { fd: source.as_raw_fd(), events: events(interest), revents: 0 });
        self.tokens.push(token);
        Ok(())
    }

    pub(crate) fn change(&mut self, source: BorrowedFd<'_>, _: Token, interest: Interest) {
        if let Some(index) = self.index(source) {
            self.sources[index].events = events(interest);
        }
    }

    pub(crate) fn remove(&mut self, source: BorrowedFd<'_>) {
        if let Some(index) = self.index(source) {
            self.sources.swap_remove(index);
            self.tokens.swap_remove(index);
        }
    }

    /// Otherwise the kernel would report the closed descriptor, or the next one that gets its number.
    pub(crate) fn forget_before_close(&mut self, source: BorrowedFd<'_>) {
        self.remove(source);
    }

    /// Waits, and adds to `ready` what became ready.
    #[allow(unsafe_code)]
    pub(crate) fn wait(&mut self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> Result<(), Errno> {
        // Rounded up, so that no wait ends before a deadline.
        let limit = limit.map_or(-1, |limit| limit.as_nanos().div_ceil(1_000_000) as libc::c_int);
        // SAFETY: pointer and length are those of a vector that no other code uses during the call.
        let count = unsafe { libc::poll(self.sources.as_mut_ptr(), self.sources.len() as libc::nfds_t, limit) };
        if count < 0 {
            return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL));
        }
        for (source, token) in self.sources.iter().zip(&self.tokens).filter(|(source, _)| source.revents != 0) {
            let broken = source.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0;
            ready.push(Ready {
                token: *token,
                readable: broken || source.revents & libc::POLLIN != 0,
                writable: broken || source.revents & libc::POLLOUT != 0,
            });
        }
        Ok(())
    }

    fn index(&self, source: BorrowedFd<'_>) -> Option<usize> {
        self.sources.iter().position(|known| known.fd == source.as_raw_fd())
    }
}

fn events(interest: Interest) -> libc::c_short {
    match interest {
        Interest::Read => libc::POLLIN,
        Interest::Write => libc::POLLOUT,
        #[cfg(feature = "adapter")]
        Interest::Both => libc::POLLIN | libc::POLLOUT,
    }
}
