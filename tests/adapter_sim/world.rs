//! One world: its connections, its clock, what happens while the adapter waits.

use super::people::Client;
use super::servant::Servant;
use crate::adapter::program::{Exit, Signal};
use crate::function::lifecycle::ClockReading;
use crate::server::adapter::peers::SPARE_BYTES;
use crate::server::system::{Interest, Ready, Token};
use fc_testkit::Rng;
use rustix::io::Errno;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Read;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

pub(super) type Shared = Rc<RefCell<World>>;

pub(super) const PROGRAM_PID: i32 = 77;
pub(super) const COMMAND_PID: i32 = 78;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Client,
    Program,
}

/// One connection between the adapter and a peer.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: Peer,
    pub(super) to_adapter: VecDeque<u8>,
    pub(super) from_adapter: VecDeque<u8>,
    pub(super) capacity: usize,
    pub(super) registered: Option<(Token, Interest)>,
    pub(super) connecting: bool,
    pub(super) refused: bool,
    pub(super) ended_by_peer: bool,
    pub(super) reset_by_peer: bool,
    pub(super) shut_by_adapter: bool,
    pub(super) closed_by_adapter: bool,
    pub(super) reset_by_adapter: bool,
}

impl Link {
    pub(super) fn new(peer: Peer) -> Link {
        Link {
            peer,
            to_adapter: VecDeque::new(),
            from_adapter: VecDeque::new(),
            capacity: 20_000,
            registered: None,
            connecting: false,
            refused: false,
            ended_by_peer: false,
            reset_by_peer: false,
            shut_by_adapter: false,
            closed_by_adapter: false,
            reset_by_adapter: false,
        }
    }

    fn is_readable(&self) -> bool {
        !self.connecting && (!self.to_adapter.is_empty() || self.ended_by_peer || self.reset_by_peer || self.refused)
    }

    fn is_writable(&self) -> bool {
        let has_room = !self.connecting && self.from_adapter.len() < self.capacity;
        has_room || self.reset_by_peer || self.refused
    }

    fn is_broken(&self) -> bool {
        self.reset_by_peer || self.refused || (self.ended_by_peer && self.shut_by_adapter)
    }
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: Duration,
    pub(super) links: Vec<Link>,
    pub(super) backlog: VecDeque<usize>,
    pub(super) listening: bool,
    pub(super) listener_watched: bool,
    pub(super) clients: Vec<Client>,
    pub(super) servants: Vec<Servant>,
    /// Nobody misbehaves, so no call may be lost.
    pub(super) is_benign: bool,
    pub(super) freezes_left: usize,
    pub(super) freezes: usize,
    /// The adapter logs calls, and not only hooks.
    pub(super) logs_calls: bool,
    /// The length of the log at the adapter's last write, and its writes since the log had that length. One to the
    /// program counts twice.
    written_behind_log: Option<(usize, usize)>,
    /// Waits at which a freeze was announced, after which nothing had happened.
    pub(super) announced: usize,
    pub(super) stops_early: bool,
    pub(super) stopped_at: Option<Duration>,
    pub(super) signals_new: bool,
    pub(super) continued: bool,
    pub(super) serves_at: Duration,
    pub(super) program_dead: bool,
    pub(super) dies: bool,
    pub(super) terminates_at: Option<Duration>,
    pub(super) ignores_sigterm: bool,
    pub(super) children: Vec<(i32, Exit)>,
    pub(super) command_runs: Option<Duration>,
    pub(super) log: Vec<u8>,
    pub(super) calls: usize,
    /// Counts up whenever something happens.
    pub(super) progress: usize,
    progress_before: usize,
    idle_waits: usize,
    pub(super) thaw_hooks: usize,
    /// One world alone tells what is read and written.
    is_told: bool,
}

/// Waits in a row that report something and change nothing.
const IDLE_WAITS_MAX: usize = 60;

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let is_benign = rng.one_in(2);
        let mut world = World {
            now: Duration::from_millis(rng.below(1 << 30) as u64),
            links: Vec::new(),
            backlog: VecDeque::new(),
            listening: false,
            listener_watched: false,
            clients: Vec::new(),
            servants: Vec::new(),
            is_benign,
            freezes_left: if rng.one_in(2) { rng.below(4) } else { 0 },
            freezes: 0,
            logs_calls: !seed.is_multiple_of(5),
            written_behind_log: None,
            announced: 0,
            stops_early: !is_benign && rng.one_in(4),
            stopped_at: None,
            signals_new: false,
            continued: false,
            serves_at: Duration::ZERO,
            program_dead: false,
            dies: !is_benign && rng.one_in(6),
            terminates_at: None,
            ignores_sigterm: rng.one_in(6),
            children: Vec::new(),
            command_runs: None,
            log: Vec::new(),
            calls: 0,
            progress: 0,
            progress_before: 0,
            idle_waits: 0,
            thaw_hooks: 0,
            is_told: std::env::var_os("FC_HOOKS_SEED").is_some(),
            rng,
        };
        world.serves_at = world.now + Duration::from_millis(world.rng.below(400) as u64);
        let mut id = 10;
        for _ in 0..1 + world.rng.below(5) {
            let client = Client::new(&mut world, &mut id);
            world.clients.push(client);
        }
        world
    }

    pub(super) fn clocks(&mut self) -> ClockReading {
        static BASE: OnceLock<Instant> = OnceLock::new();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        ClockReading { instant: *BASE.get_or_init(Instant::now) + self.now, wall: wall + self.now }
    }

    /// The adapter waits. After its answer to pre-freeze the platform may freeze it: its log says that nothing else has
    /// begun or ended since, and it has written nothing but that answer. Stored answers and `on_thaw` are not logged.
    pub(super) fn wait(&mut self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> Result<bool, Errno> {
        let last = self.log.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let rests = self.written_behind_log.is_none_or(|(log_bytes, writes)| log_bytes < self.log.len() || writes <= 1);
        if self.logs_calls && rests && last.starts_with(b"FC PreFreeze End ") {
            assert_eq!(SPARE_BYTES.get(), 0, "bytes of spare buffers after pre-freeze");
            self.announced += 1;
        }
        self.idle_waits = if self.progress == self.progress_before { self.idle_waits + 1 } else { 0 };
        self.progress_before = self.progress;
        assert!(self.idle_waits < IDLE_WAITS_MAX, "the loop is busy: {:?}", self.links);
        let deadline = limit.map(|limit| self.now + limit);
        loop {
            for _ in 0..self.rng.below(6) {
                self.somebody_acts();
            }
            if self.may_freeze() && self.rng.one_in(3) {
                return Ok(self.freeze());
            }
            self.report(ready);
            if !ready.is_empty() || limit == Some(Duration::ZERO) {
                if self.is_told {
                    println!("{:>12.3?} waited for {limit:?}: {ready:?}", self.now);
                }
                return Ok(self.is_interrupted());
            }
            if self.somebody_acts() {
                continue;
            }
            let next = self.next_timer();
            match [next, deadline].into_iter().flatten().min() {
                Some(next) => {
                    self.now = self.now.max(next);
                    self.progress += 1;
                    if deadline.is_some_and(|deadline| deadline <= self.now) {
                        return Ok(false);
                    }
                }
                // All is done, and the instance sleeps: the platform ends it.
                None if self.stopped_at.is_none() => {
                    self.all_is_answered();
                    self.stop();
                }
                None => panic!("the adapter waits for ever: {:?}", self.links),
            }
        }
    }

    fn is_interrupted(&mut self) -> bool {
        std::mem::take(&mut self.continued) || (self.signals_new && self.rng.one_in(2))
    }

    /// What the adapter has asked to hear of, in any order.
    fn report(&mut self, ready: &mut Vec<Ready>) {
        if self.listener_watched && !self.backlog.is_empty() {
            ready.push(Ready { token: Token::LISTENER, readable: true, writable: false });
        }
        if self.signals_new {
            ready.push(Ready { token: Token::WAKE, readable: true, writable: false });
        }
        for link in &self.links {
            let Some((token, interest)) = link.registered else { continue };
            let reads = matches!(interest, Interest::Read | Interest::Both);
            let writes = matches!(interest, Interest::Write | Interest::Both);
            let is_broken = link.is_broken();
            let readable = is_broken || (reads && link.is_readable());
            let writable = is_broken || (writes && link.is_writable());
            if readable || writable {
                ready.push(Ready { token, readable, writable });
            }
        }
        for index in (1..ready.len()).rev() {
            ready.swap(index, self.rng.below(index + 1));
        }
        if self.rng.one_in(3) {
            ready.truncate(1);
        }
    }

    /// No call is in progress, so the platform may freeze the instance.
    fn may_freeze(&self) -> bool {
        let is_quiet = self.clients.iter().all(|client| !client.is_in_call(self));
        self.freezes_left > 0 && self.listening && is_quiet && self.stopped_at.is_none()
    }

    /// True if it interrupts the wait.
    fn freeze(&mut self) -> bool {
        self.freezes_left -= 1;
        self.freezes += 1;
        self.progress += 1;
        self.now += Duration::from_millis([300, 4_000, 3_600_000][self.rng.below(3)]);
        // The program was frozen too. Its overdue timers close what is idle, before the adapter looks or later.
        if self.rng.one_in(2) {
            self.close_idle_connections();
        }
        // The next calls have come meanwhile.
        for _ in 0..self.rng.below(8) {
            self.somebody_acts();
        }
        match self.rng.below(3) {
            0 => true,
            1 => {
                (self.continued, self.signals_new) = (true, true);
                true
            }
            _ => false,
        }
    }

    pub(super) fn stop(&mut self) {
        self.stopped_at = Some(self.now);
        (self.signals_new, self.progress) = (true, self.progress + 1);
    }

    /// The adapter has sent a signal to a process group.
    pub(super) fn signalled(&mut self, pid: i32, signal: Signal) {
        match (pid, signal) {
            (PROGRAM_PID, Signal::Terminate) if self.ignores_sigterm => {}
            (PROGRAM_PID, Signal::Terminate) => {
                self.terminates_at = Some(self.now + Duration::from_millis(self.rng.below(300) as u64));
            }
            (PROGRAM_PID, Signal::Kill) => self.program_ends(Exit::Signal(9, "SIGKILL")),
            (COMMAND_PID, _) => self.command_ends(Exit::Signal(9, "SIGKILL")),
            other => panic!("a signal to a stranger: {other:?}"),
        }
    }

    pub(super) fn command_ends(&mut self, exit: Exit) {
        if self.command_runs.take().is_some() {
            self.children.push((COMMAND_PID, exit));
            (self.signals_new, self.progress) = (true, self.progress + 1);
        }
    }

    pub(super) fn program_ends(&mut self, exit: Exit) {
        if std::mem::replace(&mut self.program_dead, true) {
            return;
        }
        self.children.push((PROGRAM_PID, exit));
        (self.signals_new, self.progress) = (true, self.progress + 1);
        for index in 0..self.links.len() {
            let link = &mut self.links[index];
            if link.peer == Peer::Program && !link.refused {
                link.connecting = false;
                link.ended_by_peer = true;
                link.reset_by_peer |= !link.from_adapter.is_empty() || link.closed_by_adapter;
            }
        }
        self.servants.clear();
    }

    pub(super) fn write(&mut self, link: usize, head: &[u8], body: &[u8]) -> Result<usize, Errno> {
        let short = if self.rng.one_in(3) { 1 + self.rng.below(3_000) } else { usize::MAX };
        let link = &mut self.links[link];
        assert!(!link.closed_by_adapter && !link.shut_by_adapter, "writes behind the end");
        let before = self.written_behind_log.filter(|(log_bytes, _)| *log_bytes == self.log.len());
        let writes = before.map_or(0, |(_, writes)| writes) + if link.peer == Peer::Program { 2 } else { 1 };
        self.written_behind_log = Some((self.log.len(), writes));
        if link.refused {
            return Err(Errno::CONNREFUSED);
        }
        if link.reset_by_peer {
            return Err(Errno::PIPE);
        }
        let room = if link.connecting { 0 } else { link.capacity.saturating_sub(link.from_adapter.len()).min(short) };
        if room == 0 {
            return Err(Errno::AGAIN);
        }
        let bytes = room.min(head.len() + body.len());
        let of_head = bytes.min(head.len());
        link.from_adapter.extend(&head[..of_head]);
        link.from_adapter.extend(&body[..bytes - of_head]);
        if self.is_told {
            let text: Vec<u8> = head.iter().chain(body).take(bytes.min(60)).copied().collect();
            println!("{:>12.3?} {:?} write {bytes}: {}", self.now, link.peer, text.escape_ascii());
        }
        self.progress += bytes;
        Ok(bytes)
    }

    pub(super) fn read(&mut self, link: usize, buffer: &mut [u8]) -> Result<usize, Errno> {
        let short = if self.rng.one_in(3) { 1 + self.rng.below(3_000) } else { usize::MAX };
        let link = &mut self.links[link];
        assert!(!buffer.is_empty() && !link.closed_by_adapter);
        if link.refused {
            return Err(Errno::CONNREFUSED);
        }
        if !link.to_adapter.is_empty() {
            let bytes = link.to_adapter.len().min(buffer.len()).min(short);
            link.to_adapter.read_exact(&mut buffer[..bytes]).expect("so many are there");
            self.progress += bytes;
            if self.is_told {
                println!(
                    "{:>12.3?} {:?} read {bytes}: {}",
                    self.now,
                    link.peer,
                    buffer[..bytes.min(60)].escape_ascii()
                );
            }
            return Ok(bytes);
        }
        self.progress += usize::from(link.reset_by_peer || link.ended_by_peer);
        match (link.reset_by_peer, link.ended_by_peer) {
            (true, _) => Err(Errno::CONNRESET),
            (false, true) => Ok(0),
            (false, false) => Err(Errno::AGAIN),
        }
    }
}

/// Moves bytes into a pipe. `extend` by what `drain` gives would move one after another, as below.
pub(super) fn put(from: &mut Vec<u8>, to: &mut VecDeque<u8>, bytes: usize) {
    to.extend(&from[..bytes]);
    from.drain(..bytes);
}

/// Moves bytes out of a pipe.
pub(super) fn take(from: &mut VecDeque<u8>, to: &mut Vec<u8>, bytes: usize) {
    let (front, back) = from.as_slices();
    let of_front = bytes.min(front.len());
    to.extend_from_slice(&front[..of_front]);
    to.extend_from_slice(&back[..bytes - of_front]);
    from.drain(..bytes);
}
