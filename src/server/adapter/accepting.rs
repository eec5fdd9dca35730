//! Accepting clients, by the machine of the server.

use super::peers::Client;
use super::proxy::Proxy;
use super::system::AdapterSystem;
use crate::adapter::downstream::{CloseReason, State};
use crate::function::request::Peer;
use crate::server::accept::{Accept, Event, is_of_the_connection};
use crate::server::system::{Interest, Token};
use crate::tuning::{ACCEPT_RUN_MAX, KEEP_ALIVE_TIME_MIN, UNUSED_TIME_MIN};
use rustix::io::Errno;
use std::time::Duration;

impl<O: AdapterSystem> Proxy<O> {
    /// Before each wait: whether the listener takes part in it.
    pub(super) fn watch_listener(&mut self) {
        if let Accept::Full { .. } = self.accept.state() {
            let now = self.clock.reading();
            let evictable_at = self.evictable(now).map(|(_, from)| from);
            if evictable_at.is_some_and(|at| at <= now) {
                self.accept.enter(Event::Evictable, Accept::Open);
            } else {
                self.accept.refresh(evictable_at);
            }
        }
        let is_open = self.accept.state() == Accept::Open;
        if let Err(error) = self.system.watch_listener(is_open) {
            self.pause_accepting(error);
        }
    }

    pub(super) fn on_acceptable(&mut self, is_alone: bool) {
        if self.accept.state() == Accept::Open {
            self.accept_run(if is_alone { 1 } else { ACCEPT_RUN_MAX });
        }
    }

    /// Accepts some connections. True if no more connection waits.
    fn accept_run(&mut self, run_max: usize) -> bool {
        for nth in 0..run_max {
            let is_first = nth == 0;
            if self.clients.len() >= self.config.limits.connections_max && !(is_first && self.evict_unused()) {
                if is_first && self.accept.state() == Accept::Open {
                    self.accept.enter(Event::Backlogged, Accept::Full { evictable_at: None });
                }
                return false;
            }
            let accepted = self.system.accept();
            if matches!(accepted, Ok(_) | Err(Errno::AGAIN)) {
                self.accept.none_failed();
            }
            match accepted {
                Ok((socket, peer)) => self.admit(socket, peer),
                Err(Errno::AGAIN) => return true,
                Err(error) if is_of_the_connection(error) && self.accept.may_be_its_own() => {}
                Err(Errno::MFILE | Errno::NFILE) if is_first && self.evict_unused() => {}
                Err(error) => {
                    self.pause_accepting(error);
                    return false;
                }
            }
        }
        false
    }

    fn admit(&mut self, socket: O::Socket, peer: Peer) {
        // A reply goes in several pieces, and none may wait for the client's acknowledgement of the one before.
        self.system.set_nodelay(&socket);
        let token = self.clients.insert(Client::new(socket, peer, self.clock.reading()));
        let Some(client) = self.clients.get(token) else { return };
        if let Err(error) = self.system.register(&client.socket, token, Interest::Read) {
            log::warn!("cannot wait for a connection: {error}");
            client.noted = None;
            self.close(token, CloseReason::NotRegistered);
        }
    }

    /// The next client to close for another, and from when on: one that sent no whole head within a second, or one that
    /// has been idle for 15 minutes (C-CONN-1).
    #[cold]
    #[inline(never)]
    fn evictable(&self, now: Duration) -> Option<(Token, Duration)> {
        let candidates = self.clients.iter().filter_map(|(token, client)| {
            let is_used = client.state() != State::New;
            let time = if is_used { KEEP_ALIVE_TIME_MIN } else { UNUSED_TIME_MIN };
            let is_idle = client.machine.is_between_calls();
            is_idle.then_some((token, is_used, client.since + time))
        });
        let order = |(_, is_used, from): &(Token, bool, Duration)| (*from > now, *is_used && *from <= now, *from);
        candidates.min_by_key(order).map(|(token, _, from)| (token, from))
    }

    #[cold]
    #[inline(never)]
    fn evict_unused(&mut self) -> bool {
        let now = self.clock.reading();
        let Some((token, from)) = self.evictable(now) else { return false };
        let Some(client) = self.clients.get(token) else { return false };
        let can_go = from <= now && !self.system.has_unread(&client.socket);
        if can_go {
            self.close(token, CloseReason::Evicted);
        }
        can_go
    }

    /// Closes an idle client, because a call that was accepted has no descriptor for its connection to the program.
    /// Those that never sent a request come first, then the one that is idle for longest. Such a client can ask again
    /// (RFC 9112 §9.3.1), and the call would be lost. False if all are busy.
    #[cold]
    #[inline(never)]
    pub(super) fn evict_for_call(&mut self) -> bool {
        let idle = self
            .clients
            .iter()
            .filter(|(_, client)| client.machine.is_between_calls() && !self.system.has_unread(&client.socket));
        let first = idle.min_by_key(|(_, client)| (client.state() != State::New, client.since));
        let Some((token, _)) = first else { return false };
        self.close(token, CloseReason::Evicted);
        true
    }

    #[cold]
    #[inline(never)]
    fn pause_accepting(&mut self, error: Errno) {
        if self.accept.pause(self.clock.reading()) {
            log::warn!("cannot accept connections for now: {error}; {} are open", self.clients.len());
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn stop_accepting(&mut self) {
        if !matches!(self.accept.state(), Accept::Draining { .. } | Accept::Closed) {
            let paused_until = self.accept.paused_until();
            self.accept.enter(Event::StopRequested, Accept::Draining { paused_until });
            self.accept_backlog();
        }
    }

    /// Accepts the connections that wait, then closes the listener: the kernel would reset them with it.
    #[cold]
    #[inline(never)]
    pub(super) fn accept_backlog(&mut self) {
        while matches!(self.accept.state(), Accept::Draining { paused_until: None })
            && self.clients.len() < self.config.limits.connections_max
        {
            let is_empty = self.accept_run(ACCEPT_RUN_MAX);
            if let Some(drain) = &mut self.drain {
                drain.polled_once = false;
            }
            if is_empty {
                self.accept.enter(Event::BacklogEmpty, Accept::Closed);
                let _ = self.system.watch_listener(false);
                self.system.stop_listening();
            }
        }
    }
}
