//! Connections to the program that wait for the next request.

use super::peers::Owner;
use super::proxy::Proxy;
use super::system::AdapterSystem;
use crate::adapter::upstream;
use crate::server::system::Token;
use crate::tuning::{KEPT_IDLE_TIME_MAX, KEPT_MAX, KEPT_TRUSTED_TIME_MAX};
use std::time::Duration;

impl<O: AdapterSystem> Proxy<O> {
    /// A connection that a request may use. One that the program may be about to close is none for a request that
    /// cannot be repeated.
    pub(super) fn take_kept(&mut self, is_repeatable: bool) -> Option<Token> {
        if self.gate.suspects_freeze() {
            self.drop_kept();
        }
        while let Some(token) = self.kept.pop() {
            let Some(upstream) = self.upstreams.get(token) else { continue };
            let age = self.now.instant.saturating_duration_since(upstream.idle_since);
            let is_watched = age <= KEPT_TRUSTED_TIME_MAX && upstream.idle_in_turn != self.turn;
            let is_sure = is_watched || self.system.is_quiet(&upstream.socket);
            if is_sure && (is_repeatable || age <= upstream.idle_max) {
                return Some(token);
            }
            self.close_upstream(token, upstream::CloseReason::Old);
        }
        None
    }

    pub(super) fn give_back(&mut self, kept: Option<Token>) {
        self.kept.extend(kept);
    }

    /// The program was frozen too, and its overdue timers close what is idle.
    #[cold]
    #[inline(never)]
    pub(super) fn drop_kept(&mut self) {
        for token in std::mem::take(&mut self.kept) {
            self.close_upstream(token, upstream::CloseReason::Thawed);
        }
    }

    /// Keeps a connection for the next request, if it can serve one.
    pub(super) fn keep_upstream(&mut self, token: Token, is_uploaded: bool) {
        let Some(upstream) = self.upstreams.get(token) else { return };
        let can_serve = upstream.keeps && is_uploaded && !upstream.is_deaf && upstream.output.is_empty();
        if !can_serve || self.kept.len() >= KEPT_MAX || self.drain.is_some() {
            return self.close_upstream(token, upstream::CloseReason::Done);
        }
        upstream.machine.enter(upstream::Event::Finished, upstream::State::Kept);
        (upstream.owner, upstream.idle_since, upstream.idle_in_turn) = (Owner::Nobody, self.now.instant, self.turn);
        self.kept.push(token);
        self.note_upstream_interest(token, false);
    }

    /// How long a connection may be idle before a request that cannot be repeated takes no risk with it.
    pub(super) fn idle_time_max(seconds: Option<u32>) -> Duration {
        seconds.map_or(KEPT_IDLE_TIME_MAX, |seconds| KEPT_IDLE_TIME_MAX.min(Duration::from_secs(seconds.into()) / 2))
    }
}
