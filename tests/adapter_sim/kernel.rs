//! The kernel of a world: connections with bounded buffers, readiness, clocks and signals, as the adapter sees them.

use super::world::{Link, Peer as LinkPeer, Shared, World};
use crate::adapter::program::{Exit, Signal};
use crate::function::lifecycle::{ClockReading, Machine};
use crate::function::request::Peer;
use crate::server::adapter::system::AdapterSystem;
use crate::server::system::{Interest, Ready, Signals, System, Token};
use crate::start_error::StartError;
use rustix::io::Errno;
use std::ffi::CString;
use std::time::{Duration, Instant};

pub(super) struct Kernel {
    pub(super) world: Shared,
}

impl Kernel {
    fn with<T>(&mut self, look: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world.borrow_mut();
        world.calls += 1;
        look(&mut world)
    }
}

/// A socket closes when it is dropped.
pub(super) struct Socket {
    world: Shared,
    link: usize,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A panic of the adapter may have come while the world was borrowed.
        if let Ok(mut world) = self.world.try_borrow_mut() {
            let link = &mut world.links[self.link];
            link.registered = None;
            link.closed_by_adapter = true;
            if !link.to_adapter.is_empty() {
                // As the kernel does for unread input.
                link.reset_by_adapter = true;
            }
            if link.reset_by_adapter {
                link.from_adapter.clear();
            }
        }
    }
}

impl System for Kernel {
    type Socket = Socket;

    fn wait(&mut self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> Result<bool, Errno> {
        ready.clear();
        self.with(|world| world.wait(ready, limit))
    }

    fn now(&mut self) -> ClockReading {
        self.with(|world| world.clocks())
    }

    fn monotonic(&mut self) -> Instant {
        self.with(|world| world.clocks().instant)
    }

    fn signals(&mut self) -> Signals {
        self.with(|world| {
            let any = std::mem::take(&mut world.signals_new);
            let continued = std::mem::take(&mut world.continued);
            let stop_age = world.stopped_at.map(|at| world.now.saturating_sub(at));
            Signals { stop_age, continued, any }
        })
    }

    fn watch_listener(&mut self, wanted: bool) -> Result<(), Errno> {
        self.with(|world| world.listener_watched = wanted && world.listening);
        Ok(())
    }

    fn stop_listening(&mut self) {
        self.with(|world| {
            world.listening = false;
            while let Some(link) = world.backlog.pop_front() {
                world.links[link].reset_by_adapter = true;
            }
        });
    }

    fn accept(&mut self) -> Result<(Socket, Peer), Errno> {
        let link = self.with(|world| {
            if world.rng.one_in(200) {
                return Err(Errno::CONNABORTED);
            }
            world.backlog.pop_front().ok_or(Errno::AGAIN)
        })?;
        Ok((Socket { world: self.world.clone(), link }, Peer::Unix))
    }

    fn register(&mut self, socket: &Socket, token: Token, interest: Interest) -> Result<(), Errno> {
        self.with(|world| {
            let registered = &mut world.links[socket.link].registered;
            assert!(registered.is_none(), "registered twice");
            *registered = Some((token, interest));
        });
        Ok(())
    }

    fn reregister(&mut self, socket: &Socket, token: Token, interest: Interest) {
        self.with(|world| {
            let registered = &mut world.links[socket.link].registered;
            assert!(registered.is_some(), "changed but not registered");
            *registered = Some((token, interest));
        });
    }

    fn deregister(&mut self, socket: &Socket) {
        self.with(|world| world.links[socket.link].registered = None);
    }

    fn read(&mut self, _: &Socket, _: &mut Vec<u8>) -> Result<usize, Errno> {
        unreachable!("the adapter reads into its own buffer")
    }

    fn write(&mut self, socket: &Socket, head: &[u8], body: &[u8]) -> Result<usize, Errno> {
        self.with(|world| world.write(socket.link, head, body))
    }

    fn shutdown_write(&mut self, socket: &Socket) {
        self.with(|world| world.links[socket.link].shut_by_adapter = true);
    }

    fn set_reset_on_close(&mut self, socket: &Socket) {
        self.with(|world| world.links[socket.link].reset_by_adapter = true);
    }

    fn set_nodelay(&mut self, _: &Socket) {}

    fn unacked_bytes(&mut self, socket: &Socket) -> Option<usize> {
        self.with(|world| Some(world.links[socket.link].from_adapter.len()))
    }

    fn has_unread(&mut self, socket: &Socket) -> bool {
        self.with(|world| !world.links[socket.link].to_adapter.is_empty())
    }

    fn print(&mut self, line: &[u8]) {
        self.with(|world| world.log.extend_from_slice(line));
    }

    fn flush_output(&mut self) {}
}

impl AdapterSystem for Kernel {
    fn listen(&mut self) -> Result<(), StartError> {
        self.with(|world| {
            assert!(!world.listening, "listens once");
            world.listening = true;
        });
        Ok(())
    }

    fn connect(&mut self) -> Result<Socket, Errno> {
        let link = self.with(|world| {
            let mut link = Link::new(LinkPeer::Program);
            link.refused = world.program_dead || world.serves_at > world.now;
            link.connecting = !link.refused && world.rng.one_in(3);
            world.links.push(link);
            let index = world.links.len() - 1;
            if !world.links[index].refused && !world.links[index].connecting {
                world.program_accepts(index);
            }
            index
        });
        Ok(Socket { world: self.world.clone(), link })
    }

    fn take_error(&mut self, socket: &Socket) -> Result<(), Errno> {
        self.with(|world| {
            let link = &world.links[socket.link];
            match (link.refused, link.reset_by_peer) {
                (true, _) => Err(Errno::CONNREFUSED),
                (_, true) => Err(Errno::CONNRESET),
                _ => Ok(()),
            }
        })
    }

    fn is_connected(&mut self, socket: &Socket) -> bool {
        self.with(|world| !world.links[socket.link].refused && !world.links[socket.link].connecting)
    }

    fn read_into(&mut self, socket: &Socket, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.with(|world| world.read(socket.link, buffer))
    }

    fn is_quiet(&mut self, socket: &Socket) -> bool {
        self.with(|world| {
            let link = &world.links[socket.link];
            link.to_adapter.is_empty() && !link.ended_by_peer && !link.reset_by_peer
        })
    }

    fn park(&mut self, socket: &Socket) {
        self.with(|world| {
            assert!(world.links[socket.link].registered.take().is_some(), "parked but not registered");
        });
    }

    fn machine(&self) -> Machine {
        Machine::UNKNOWN
    }

    fn spawn(&mut self, _: &[CString], _: &[CString]) -> Result<(i32, Option<Socket>), Errno> {
        self.with(|world| {
            if world.rng.one_in(4) {
                return Err(Errno::NOENT);
            }
            world.command_runs = Some(world.now + Duration::from_millis(world.rng.below(3_000) as u64));
            Ok((super::world::COMMAND_PID, None))
        })
    }

    fn signal_group(&mut self, pid: i32, signal: Signal) {
        self.with(|world| world.signalled(pid, signal));
    }

    fn reap(&mut self) -> Option<(i32, Exit)> {
        self.with(|world| world.children.pop())
    }
}
