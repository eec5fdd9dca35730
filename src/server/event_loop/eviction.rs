//! Who has to go, and who has to wait, where there is not enough for all: slots, descriptors, memory.
//!
//! The rule: what is in hand is finished, so those who come have to wait or are refused, unless somebody holds what
//! they need and makes no use of it.

use super::{CloseReason, Loop};
use crate::server::system::{System, Token};
use crate::tuning;
use rustix::io::Errno;
use std::time::Duration;

impl<S, O: System> Loop<S, O> {
    /// `room_at` as [`Loop::room_at`] says.
    pub(super) fn watch_listener(&mut self, next_evictable_at: Option<Duration>) {
        let has_room = !self.accept_backlogged || next_evictable_at.is_some_and(|at| at <= self.clock.reading());
        let wanted = has_room && self.draining.is_none() && self.accept_paused_until.is_none();
        if let Err(error) = self.os.watch_listener(wanted) {
            self.rest(error);
        }
    }

    /// Leaves the listener alone for a moment.
    pub(super) fn rest(&mut self, error: Errno) {
        let now = self.clock.reading();
        if self.accept_warning_muted_until.is_none_or(|until| until <= now) {
            log::warn!("cannot accept connections for now: {error}; {} are open", self.connections.open());
            self.accept_warning_muted_until = Some(now + tuning::EXHAUSTION_SILENCE);
        }
        self.accept_paused_until = Some(now + tuning::ACCEPT_RETRY);
    }

    /// When there will be room for who was turned away, if by nobody's doing.
    pub(super) fn next_evictable_at(&mut self) -> Option<Duration> {
        self.accept_backlogged &= self.connections.is_full();
        if !self.accept_backlogged || self.draining.is_some() {
            return None;
        }
        self.connections.replaceable(self.clock.reading()).map(|(_, from)| from)
    }

    /// Closes the connection that is of least use, unless it turns out to be of use in this moment. False if it does,
    /// or there is none.
    pub(super) fn evict_idle(&mut self) -> bool {
        let now = self.clock.reading();
        let candidate = self.connections.replaceable(now).filter(|(_, from)| *from <= now);
        let Some((token, _)) = candidate else { return false };
        let outcome = self.receive(token);
        self.settle(token, outcome);
        let Some(connection) = self.connections.get(token) else { return true };
        let of_no_use = connection.replaceable_from().is_some_and(|from| from <= now);
        if of_no_use {
            self.close(token, CloseReason::Evicted);
        }
        of_no_use
    }

    /// What a reply may hold on to beside those of others. A single one may be as large as it likes.
    pub(super) fn reply_bytes_max(&self, token: Token) -> usize {
        match self.connections.held_by_others(token) {
            0 => usize::MAX,
            others => self.limits.buffered_bytes_allowed().saturating_sub(others),
        }
    }

    /// Cuts the reply that holds most, of those that their readers had enough time for. False if there is none.
    pub(super) fn evict_largest_reply(&mut self) -> bool {
        let begun_before = self.clock.reading().checked_sub(self.limits.stall_time_max);
        let Some(token) = begun_before.and_then(|before| self.connections.largest_buffered_reply(before)) else {
            return false;
        };
        if let Some(connection) = self.connections.get(token) {
            self.os.set_reset_on_close(&connection.socket);
        }
        self.close(token, CloseReason::Evicted);
        true
    }
}
