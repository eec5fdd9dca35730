//! Readiness by epoll(7), level-triggered.

use crate::server::system::{EVENTS_PER_WAIT, Interest, Ready, Token};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
#[cfg(feature = "adapter")]
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

pub(crate) struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    /// The system call that waits.
    pub(crate) const WAIT: &str = "epoll_pwait";

    pub(crate) fn new() -> Result<Poller, Errno> {
        Ok(Poller { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    pub(crate) fn add(&mut self, source: BorrowedFd<'_>, token: Token, interest: Interest) -> Result<(), Errno> {
        epoll::add(&self.epoll, source, EventData::new_u64(token.0), flags(interest))
    }

    pub(crate) fn change(&mut self, source: BorrowedFd<'_>, token: Token, interest: Interest) {
        // Fails only for a source that was never added; every source was.
        let changed = epoll::modify(&self.epoll, source, EventData::new_u64(token.0), flags(interest));
        debug_assert!(changed.is_ok(), "epoll_ctl: {changed:?}");
    }

    pub(crate) fn remove(&mut self, source: BorrowedFd<'_>) {
        let removed = epoll::delete(&self.epoll, source);
        debug_assert!(removed.is_ok(), "epoll_ctl: {removed:?}");
    }

    /// Nothing to do: closing the only copy of a descriptor removes it from epoll.
    pub(crate) fn forget_before_close(&mut self, _: BorrowedFd<'_>) {}

    /// Waits, and adds to `ready` what became ready.
    pub(crate) fn wait(&mut self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> Result<(), Errno> {
        #[cfg(feature = "adapter")]
        let limit = limit.map(|limit| self.wait_for_microseconds(limit));
        let limit = limit.map(whole_milliseconds);
        let mut room = [const { MaybeUninit::<Event>::uninit() }; EVENTS_PER_WAIT];
        let (events, _) = epoll::wait(&self.epoll, &mut room, limit.as_ref())?;
        for event in events {
            let (flags, data) = (event.flags, event.data);
            let broken = flags.intersects(EventFlags::HUP | EventFlags::ERR);
            ready.push(Ready {
                token: Token(data.u64()),
                readable: broken || flags.contains(EventFlags::IN),
                writable: broken || flags.contains(EventFlags::OUT),
            });
        }
        Ok(())
    }
}

#[cfg(feature = "adapter")]
impl Poller {
    /// Waits for less than a millisecond, and returns how long is to be waited still. `epoll_wait` knows whole
    /// milliseconds, in which a program has long begun to listen.
    fn wait_for_microseconds(&self, limit: Duration) -> Duration {
        if limit.is_zero() || limit >= Duration::from_millis(1) {
            return limit;
        }
        let limit = Timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
        // Where that is not allowed, the wait is only shorter.
        let _ = rustix::event::poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&limit));
        Duration::ZERO
    }
}

fn flags(interest: Interest) -> EventFlags {
    match interest {
        Interest::Read => EventFlags::IN,
        Interest::Write => EventFlags::OUT,
        #[cfg(feature = "adapter")]
        Interest::Both => EventFlags::IN.union(EventFlags::OUT),
    }
}

/// Rounded up, so that no wait ends before a deadline. With whole milliseconds rustix calls `epoll_pwait`, which every
/// seccomp profile allows.
fn whole_milliseconds(limit: Duration) -> Timespec {
    let milliseconds = limit.as_nanos().div_ceil(1_000_000) as i64;
    Timespec { tv_sec: milliseconds / 1000, tv_nsec: (milliseconds % 1000 * 1_000_000) as _ }
}
