//! Eviction: which connection is closed where slots, descriptors or memory do not suffice for all.
//!
//! What is in progress is finished, so new connections wait and large requests are rejected, unless a connection holds
//! what they need and makes no use of it. This module only looks for that connection and closes it: no request of it is
//! read, and no callback runs.

use super::event_loop::Loop;
use crate::server::connection::CloseReason;
use crate::server::system::{System, Token};

impl<S, O: System> Loop<S, O> {
    /// Closes an unused connection, so that another one can be accepted. False if there is none.
    #[cold]
    #[inline(never)]
    pub(super) fn evict_unused(&mut self) -> bool {
        let Some(token) = self.unused_connection() else { return false };
        self.close(token, CloseReason::Evicted);
        true
    }

    /// The next connection to evict, if its time has come and its client has sent nothing that waits to be read.
    fn unused_connection(&mut self) -> Option<Token> {
        let now = self.clock.reading();
        let (token, from) = self.connections.evictable(now)?;
        let connection = self.connections.get(token)?;
        (from <= now && !self.system.has_unread(&connection.socket)).then_some(token)
    }

    /// The memory that a reply may hold until it is sent, beside those of other connections. Where no other connection
    /// holds any, a reply has any size.
    pub(super) fn reply_bytes_max(&self, token: Token) -> usize {
        match self.connections.buffered_bytes_of_others(token) {
            0 => usize::MAX,
            others => self.limits.buffered_bytes_allowed().saturating_sub(others),
        }
    }

    /// Cuts the response that holds most memory, of those that were begun longer ago than a stall may last. False if
    /// there is none.
    pub(super) fn evict_largest_response(&mut self) -> bool {
        let begun_before = self.clock.reading().checked_sub(self.limits.stall_time_max);
        let token = begun_before.and_then(|before| self.connections.largest_buffered_response(before));
        let Some(token) = token else { return false };
        if let Some(connection) = self.connections.get(token) {
            self.system.set_reset_on_close(&connection.socket);
        }
        self.close(token, CloseReason::Evicted);
        true
    }
}
