//! One burst: its instances, and the client of all of them.
//!
//! The client is one thread, and must not be what limits. While many ports are closed it asks the kernel which ones are
//! open and connects to those; the last few it tries, which sees them sooner. It looks for replies between any two
//! connections, so a reply is seen at once. It sleeps for twice as long as each look took, and the results tell how
//! busy it was and how long an instance waited between two looks.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};
use rustix::process::Signal;
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::Missing;
use crate::harness::{
    BODY, Call, Capacity, Client, Contender, FineTimer, Instance, Listening, Start, connect_soon, micros, now, reset,
};
use crate::results::{BurstSample, Kind};
use fc_emulator::clock::{Deadline, seconds};
use fc_emulator::error::{Error, Result};
use fc_emulator::platform::{Hook, Platform, Settings, ids};
use fc_testkit::http::{Decoder, Response};
use fc_testkit::proc::{self, Memory};

/// A shell that stops itself, and becomes the contender when it is let go.
const GATE: [&str; 4] = ["sh", "-c", "kill -STOP $$; exec \"$@\"", "sh"];

/// How long all shells together may take to stop.
const STOP_WAIT: Duration = Duration::from_secs(30);

/// The pause between two looks: at least this long, this many times as long as the look took, and this share of the
/// time that has passed.
const PAUSE_MIN_US: f64 = 20.0;
const PAUSE_OF_LOOK: f64 = 2.0;
const PAUSE_OF_ELAPSED: f64 = 0.001;

/// So many closed ports are tried. If there are more, the kernel is asked.
const TRIED_MAX: usize = 3;

/// The longest wait for replies when all ports are open.
const REPLY_WAIT_US: f64 = 20_000.0;

const EVENTS: usize = 64;
const READ_BYTES: usize = 16 * 1024;

/// What all bursts have in common.
pub struct Crowd {
    processors: Vec<usize>,
    limit: Duration,
    request: Vec<u8>,
}

impl Crowd {
    /// Instances that share these processors, and must have answered within this time.
    pub fn new(processors: Vec<usize>, limit: Duration) -> Self {
        let request = Platform::new(Settings::default()).hook(Hook::Initialize).bytes();
        Self { processors, limit, request }
    }

    /// The private memory of one instance that has answered. A failure shows again in its bursts.
    pub fn private_kb(&self, contender: &Contender) -> Option<u64> {
        let start = Start { processors: &self.processors, ..Start::default() };
        let instance = Instance::start(contender, &start).ok()?;
        let (client, deadline) = (Client::default(), Deadline::after(self.limit));
        client.connect(contender, &instance, deadline).ok()?.call(Call::Initialize, deadline).ok()?;
        Memory::of_family(instance.pid()).ok().map(|memory| memory.private_kb)
    }

    /// Starts this many at once. No instance is left afterwards.
    pub fn burst(
        &self,
        contender: &Contender,
        size: u32,
        each_kb: Option<u64>,
    ) -> std::result::Result<BurstSample, Missing> {
        let failed = |cause: Error| Missing::Failed(cause.to_string());
        let capacity = Capacity::make(size).map_err(failed)?;
        if let Some(why) = each_kb.and_then(|each_kb| capacity.lacks_memory(size, each_kb)) {
            return Err(Missing::NoRoom(why));
        }
        let prefix = GATE.map(str::to_owned);
        let start = Start { processors: &self.processors, prefix: &prefix, ..Start::default() };
        let mut instances = Vec::with_capacity(size as usize);
        for number in 0..size as usize {
            if let Some(why) = capacity.shortage(number) {
                return Err(Missing::NoRoom(why));
            }
            instances.push(Instance::start(contender, &start).map_err(failed)?);
        }
        let stopped = |instance: &Instance| proc::state(instance.pid()).is_ok_and(|state| state == 'T');
        let all_stopped = Deadline::after(STOP_WAIT).until(|| instances.iter().all(stopped).then_some(()));
        all_stopped.ok_or_else(|| Missing::Failed("the shells that start it did not stop in time".to_owned()))?;
        let sample = Gathering::new(self, contender, &instances).and_then(|gathering| gathering.run());
        // All at once, because a kill that waits takes time.
        instances.iter().for_each(|instance| instance.signal(Signal::KILL));
        sample.map_err(failed)
    }
}

/// How far the client is with an instance.
enum State {
    /// Its port is not open yet.
    Waiting,
    /// Connected, and this much of the request is sent.
    Sending(OwnedFd, usize),
    Receiving(OwnedFd, Decoder),
    /// It has answered, and its connection stays open.
    Ready {
        us: f64,
        _kept: OwnedFd,
    },
}

/// One burst from the release to the last reply.
struct Gathering<'a> {
    crowd: &'a Crowd,
    contender: &'a Contender,
    instances: &'a [Instance],
    states: Vec<State>,
    /// Those whose ports are not open.
    waiting: Vec<usize>,
    listening: Listening,
    epoll: OwnedFd,
    released: Timespec,
    longest_pause_us: f64,
    buffer: Box<[u8]>,
}

impl<'a> Gathering<'a> {
    fn new(crowd: &'a Crowd, contender: &'a Contender, instances: &'a [Instance]) -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|cause| Error::failed("prepare", "a burst", cause))?;
        Ok(Self {
            crowd,
            contender,
            instances,
            states: instances.iter().map(|_| State::Waiting).collect(),
            waiting: (0..instances.len()).collect(),
            listening: Listening::open()?,
            epoll,
            released: now(),
            longest_pause_us: 0.0,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    fn run(mut self) -> Result<BurstSample> {
        let _fine = FineTimer::set();
        let before = self.cpu_us()?;
        let client = clock_gettime(ClockId::ThreadCPUTime);
        let deadline = Deadline::after(self.crowd.limit);
        self.released = now();
        self.instances.iter().for_each(|instance| instance.signal(Signal::CONT));
        let mut last = self.released;
        while !self.all_ready() {
            if deadline.passed() {
                return Err(self.late());
            }
            let began = now();
            if !self.waiting.is_empty() {
                self.longest_pause_us = self.longest_pause_us.max(micros(last, began));
            }
            last = began;
            self.look()?;
            if self.waiting.is_empty() {
                self.events(REPLY_WAIT_US)?;
            } else {
                let pause = (micros(began, now()) * PAUSE_OF_LOOK).max(micros(self.released, began) * PAUSE_OF_ELAPSED);
                // Pauses of equal length would see every port open at the same few instants.
                let random = 1.0 + (ids::random() % 512) as f64 / 1024.0;
                self.events(pause.max(PAUSE_MIN_US) * random)?;
            }
        }
        let cpu_us = self.cpu_us()? - before;
        let ready_us: Vec<f64> = self.states.iter().filter_map(State::ready_us).collect();
        let wall_us = micros(self.released, now());
        let client_us = micros(client, clock_gettime(ClockId::ThreadCPUTime));
        Ok(BurstSample {
            round: 0,
            ready_us,
            cpu_us,
            client_busy: client_us / wall_us.max(1.0),
            attempt_pause_us: self.longest_pause_us,
        })
    }

    fn all_ready(&self) -> bool {
        self.states.iter().all(|state| matches!(state, State::Ready { .. }))
    }

    fn cpu_us(&self) -> Result<f64> {
        self.instances.iter().map(|instance| Ok(instance.cpu()? as f64 / 1e3)).sum()
    }

    fn late(&self) -> Error {
        let ready = self.states.iter().filter(|state| state.ready_us().is_some()).count();
        let (limit, all) = (seconds(self.crowd.limit), self.states.len());
        Error::new(format!("time: {ready} of {all} answered within {limit}"))
    }

    /// Connects to the instances whose ports are open by now.
    fn look(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let open = (waiting.len() > TRIED_MAX).then(|| self.listening.ports()).transpose()?;
        for number in waiting {
            let address = self.instances[number].address();
            let socket = match &open {
                Some(ports) if !ports.contains(&address.port()) => None,
                _ => connect_soon(address)?.ok(),
            };
            // On the loopback interface a refusal is there at once.
            match socket.filter(|socket| matches!(sockopt::socket_error(socket), Ok(Ok(())))) {
                Some(socket) => {
                    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
                    epoll::add(&self.epoll, &socket, EventData::new_u64(number as u64), flags)
                        .map_err(|cause| Error::failed("watch", "a connection", cause))?;
                    self.states[number] = State::Sending(socket, 0);
                    self.events(0.0)?;
                }
                None => {
                    self.waiting.push(number);
                    if let Some(status) = self.instances[number].try_exit() {
                        return Err(Error::new(format!("instance {} ended before it answered: {status}", number + 1)));
                    }
                }
            }
        }
        Ok(())
    }

    /// Handles what has happened, or happens within these microseconds.
    fn events(&mut self, wait_us: f64) -> Result<()> {
        let ours = |cause| Error::failed("wait for", "the replies", cause);
        if wait_us > 0.0 {
            // epoll_wait itself counts in milliseconds.
            let nanos = (wait_us * 1e3) as i64;
            let timeout = Timespec { tv_sec: nanos / 1_000_000_000, tv_nsec: nanos % 1_000_000_000 };
            match poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(cause) => return Err(ours(cause)),
            }
        }
        let mut events = [MaybeUninit::<Event>::uninit(); EVENTS];
        match epoll::wait(&self.epoll, &mut events, Some(&Timespec::default())) {
            Ok((came, _)) => {
                let numbers: Vec<usize> = came.iter().map(|event| event.data.u64() as usize).collect();
                numbers.into_iter().try_for_each(|number| self.step(number))
            }
            Err(Errno::INTR) => Ok(()),
            Err(cause) => Err(ours(cause)),
        }
    }

    fn step(&mut self, number: usize) -> Result<()> {
        let wrong = |why: &str| Error::new(format!("instance {}: POST /initialize: {why}", number + 1));
        if let State::Sending(socket, sent) = &mut self.states[number] {
            match send(&*socket, &self.crowd.request[*sent..], SendFlags::NOSIGNAL) {
                Ok(count) => *sent += count,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                // The port was not open after all.
                Err(Errno::CONNREFUSED | Errno::CONNRESET | Errno::PIPE) if *sent == 0 => {
                    self.states[number] = State::Waiting;
                    self.waiting.push(number);
                    return Ok(());
                }
                Err(cause) => return Err(wrong(&cause.to_string())),
            }
            if *sent < self.crowd.request.len() {
                return Ok(());
            }
            let State::Sending(socket, _) = std::mem::replace(&mut self.states[number], State::Waiting) else {
                return Ok(());
            };
            self.states[number] = State::Receiving(socket, Decoder::default());
        }
        let State::Receiving(socket, decoder) = &mut self.states[number] else { return Ok(()) };
        let mut ended = false;
        loop {
            match recv(&*socket, &mut *self.buffer, RecvFlags::empty()) {
                Ok((0, _)) => ended = true,
                Ok((count, _)) => decoder.feed(&self.buffer[..count]),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(cause) => return Err(wrong(&cause.to_string())),
            }
            let reply = if ended { decoder.end() } else { decoder.response() };
            if let Some(reply) = reply.map_err(|why| wrong(&why))? {
                let us = micros(self.released, now());
                judge(self.contender, &reply).map_err(|why| wrong(&why))?;
                let State::Receiving(kept, _) = std::mem::replace(&mut self.states[number], State::Waiting) else {
                    return Ok(());
                };
                reset(&kept);
                self.states[number] = State::Ready { us, _kept: kept };
                return Ok(());
            }
            if ended {
                return Err(wrong("the server closed the connection instead of a reply"));
            }
        }
    }
}

impl State {
    fn ready_us(&self) -> Option<f64> {
        match self {
            Self::Ready { us, .. } => Some(*us),
            _ => None,
        }
    }
}

/// The inspector's hooks answer OK. Every other contender of ours answers with the same body, and a user's own server
/// may answer with any.
fn judge(contender: &Contender, reply: &Response) -> std::result::Result<(), String> {
    let known = contender.described.kind != Kind::Custom;
    let right = !known || [BODY, "OK"].iter().any(|body| reply.body == body.as_bytes());
    match (reply.status, right) {
        (200, true) => Ok(()),
        (status, _) => Err(format!("the answer was {status} `{}`", String::from_utf8_lossy(&reply.body))),
    }
}
