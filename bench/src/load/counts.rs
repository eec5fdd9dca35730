//! What one request takes, in figures that noise touches little or not at all: system calls by strace, instructions in
//! user space by callgrind, and processor time in user space and in the kernel.
//!
//! All of them are of the requests of the load. Calls and instructions are those of one kept connection, after a
//! warm-up; both slow a server down, so they have runs of their own. Processor time needs load: its rounds interleave
//! the contenders on 16 connections, first without anybody who looks, for the sum, and then with `perf`, for the split.

use std::net::SocketAddr;
use std::time::Duration;

use super::patterns::Request;
use super::server::Server;
use super::{Setting, Task, client};
use crate::harness::{Callgrind, Contender, Looking, Plan, Progress, shuffled, strace};
use crate::results::{RequestCounts, RequestTime, Skipped};
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_emulator::http::Conn;
use fc_emulator::platform::Hook;

/// Connections of the load whose processor time is split.
const CONNECTIONS: usize = 16;

/// Requests that warm up, and requests that are counted: under strace, and under callgrind.
const CALLS: u32 = 500;
const UNDER_CALLGRIND: (u32, u32) = (500, 1_000);
const UNDER_CALLGRIND_QUICK: (u32, u32) = (100, 200);

/// The time limit of one call.
const CALL_WAIT: Duration = Duration::from_secs(2);

/// The time limit of a contender under callgrind.
const PATIENCE: Duration = Duration::from_secs(30);
const PATIENCE_QUICK: Duration = Duration::from_secs(10);

/// Rounds of processor time, and the length of each half of one. A quick run leaves them out, because shorter ones
/// would show too little of a tenth of the time.
const ROUNDS: u32 = 3;
const LENGTH: Duration = Duration::from_secs(1);

/// The client of one kept connection.
struct Caller {
    address: SocketAddr,
    conn: Conn,
    request: Request,
    sent: u64,
}

impl Caller {
    fn new(address: SocketAddr, conn: Conn, request: &Request) -> Self {
        Self { address, conn, request: request.clone(), sent: 0 }
    }

    fn call(&mut self, deadline: Deadline) -> Result<()> {
        self.sent += 1;
        self.request.count(self.sent);
        let reply = self.conn.exchange(&self.request.bytes, deadline).map_err(Error::new)?;
        if !reply.keeps_alive() {
            self.conn = Conn::open(self.address, deadline).map_err(Error::new)?;
        }
        match reply.status {
            200 => Ok(()),
            status => Err(Error::new(format!("a call was answered with {status}"))),
        }
    }
}

/// Counts for all contenders, without log markers. `skipped` receives everything that cannot be counted.
pub fn measure(
    plan: &Plan,
    setting: &Setting,
    (rounds, length): (Option<u32>, Option<Duration>),
    progress: &mut dyn Progress,
    skipped: &mut Vec<Skipped>,
) -> Vec<RequestCounts> {
    let plan = &plan.without_heavy();
    let rounds = rounds.unwrap_or(if plan.quick { 0 } else { ROUNDS });
    let length = length.unwrap_or(LENGTH);
    let named = |it: &Contender| RequestCounts { name: it.name().to_owned(), ..RequestCounts::default() };
    let mut all: Vec<RequestCounts> = plan.contenders.iter().map(named).collect();
    progress.begin("load, counts", plan.contenders.len() as u64 * u64::from(2 + rounds));
    let mut skip = |what: String, reason: &Error| skipped.push(Skipped { what, reason: reason.to_string() });
    let (calls, instructions) = (strace::version(), Callgrind::version());
    for (tool, what) in [(&calls, "system calls"), (&instructions, "instructions")] {
        tool.as_ref().inspect_err(|why| skip(format!("{what} of a request"), why)).ok();
    }
    for (contender, counts) in plan.contenders.iter().zip(&mut all) {
        if calls.is_ok() {
            match system_calls(contender, setting) {
                Ok(found) => counts.system_calls = found,
                Err(why) => skip(format!("system calls of a request of {}", contender.name()), &why),
            }
        }
        progress.step(contender.name());
        if let Ok(version) = &instructions {
            match instructions_of(contender, setting, plan.quick) {
                Ok(found) => {
                    counts.instructions = Some(found);
                    counts.instructions_by = Some(format!("callgrind of {version}"));
                }
                Err(why) => skip(format!("instructions of a request of {}", contender.name()), &why),
            }
        }
        progress.step(contender.name());
    }
    if rounds == 0 {
        skip("processor time of a request".to_owned(), &Error::new("a quick run leaves it out"));
    }
    for round in 0..rounds {
        for index in shuffled(all.len(), plan.seed, round) {
            let (contender, counts) = (&plan.contenders[index], &mut all[index]);
            match time(contender, setting, length) {
                Ok(time) => counts.times.push(RequestTime { round, ..time }),
                Err(why) => counts.failures.push(format!("round {round}: {why}")),
            }
            progress.step(contender.name());
        }
    }
    let by_ticks = all.iter().flat_map(|counts| &counts.times).any(|time| !time.by_perf);
    if by_ticks {
        let reason = "perf is not there or may not look, so the ticks of the kernel's clock stand in, which are few";
        skip("user-space time of a request by perf".to_owned(), &Error::new(reason));
    }
    all
}

fn start(contender: &Contender, setting: &Setting) -> Result<Server> {
    Server::start(contender, contender.has_markers.then_some(false), &setting.processors.server, &setting.platform)
}

fn system_calls(contender: &Contender, setting: &Setting) -> Result<Vec<(String, f64)>> {
    let server = start(contender, setting)?;
    let conn = Conn::open(server.address(), Deadline::after(CALL_WAIT)).map_err(Error::new)?;
    let mut caller = Caller::new(server.address(), conn, setting.requests.kept());
    let mut call = || caller.call(Deadline::after(CALL_WAIT));
    (0..CALLS).try_for_each(|_| call())?;
    strace::system_calls(server.pid(), CALLS, call)
}

fn instructions_of(contender: &Contender, setting: &Setting, quick: bool) -> Result<f64> {
    let (warm_up, counted) = if quick { UNDER_CALLGRIND_QUICK } else { UNDER_CALLGRIND };
    let deadline = Deadline::after(if quick { PATIENCE_QUICK } else { PATIENCE });
    let env = contender.has_markers.then_some(("FC_HOOKS_LOG_MARKERS", "off"));
    let mut server = Callgrind::start(contender, env.as_slice())?;
    let initialize = setting.platform.hook(Hook::Initialize).bytes();
    let mut conn = server.connect(deadline)?;
    let reply = conn.exchange(&initialize, deadline);
    reply.map_err(|why| Error::new(format!("under valgrind: {why}")))?;
    // A server may close a connection after its reply, and may serve one at a time.
    drop(conn);
    let conn = server.connect(deadline)?;
    let mut caller = Caller::new(server.address(), conn, setting.requests.kept());
    let mut calls = |count| (0..count).try_for_each(|_| caller.call(deadline));
    calls(warm_up)?;
    server.count(deadline)?;
    calls(counted)?;
    Ok(server.count(deadline)? as f64 / f64::from(counted))
}

fn time(contender: &Contender, setting: &Setting, length: Duration) -> Result<RequestTime> {
    let server = start(contender, setting)?;
    let request = setting.requests.kept();
    let task =
        Task { request, connections: CONNECTIONS, reconnect: false, rate: None, warm_up: setting.warm_up, length };
    let outcome = client::run(server.address(), &task, &|| server.cpu())?;
    let run = outcome.counters.run();
    if run.requests == 0 || run.errors + run.unanswered > 0 {
        return Err(Error::new(run.note.unwrap_or_else(|| "no request was answered".to_owned())));
    }
    let looking = Looking::begin(server.pid())?;
    client::run(server.address(), &task, &|| server.cpu())?;
    let looks = looking.end()?;
    let share = looks.user_share().ok_or_else(|| Error::new("it was never seen on a processor"))?;
    let cpu_us = outcome.server_cpu as f64 / 1e3 / run.requests as f64;
    Ok(RequestTime { round: 0, cpu_us, user_us: cpu_us * share, looks: looks.all, by_perf: looks.by_perf })
}
