//! Attacks a real server while a healthy client uses it.
//!
//! Each attack has a fresh instance. Windows without and with attackers alternate, so that other load on the machine
//! affects both. Then the attackers leave for good, and everything must be as before: the number of descriptors, the
//! answers, an orderly end. Client and attackers share one processor, and the server has another.
//!
//! The modules: `table` lists the attacks, a `script` says what each connection does, `clients` plays the scripts,
//! `healthy` is the healthy client, `bound` computes how much memory is allowed, and `outcome` judges.

mod bound;
mod clients;
mod healthy;
mod outcome;
mod script;
mod table;

use std::env::consts::ARCH;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

pub use self::bound::{Limits, Term, terms};
use self::clients::AttackClients;
use self::healthy::{CallSample, ConnectionMode, Healthy};
use self::outcome::{Descriptors, Memory as MemoryFigures, Windows};
pub use self::outcome::{Outcome, Report};
use self::table::{ATTACKS, Attack};
use fc_bench::harness::{Call, Client, Contender, Instance, Processors, Progress, Start};
use fc_bench::measure::machine;
use fc_bench::results::Kind;
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_emulator::http::Conn;
use fc_emulator::options::OutputArgs;
use fc_emulator::platform::{Platform, Settings};
use fc_testkit::proc::{self, Memory};

/// From the start of an instance to its first answers.
const READY_WAIT: Duration = Duration::from_secs(10);

/// How long attackers may take to be in place. Those that need longer arrive later.
const ARRIVAL_WAIT: Duration = Duration::from_secs(5);

/// How long the server may take to close the attackers' connections: it lingers for 5 s on those that it rejected.
const LEAVE_WAIT: Duration = Duration::from_secs(8);

/// From SIGTERM to the exit: the drain takes 8 s.
const EXIT_WAIT: Duration = Duration::from_secs(12);

/// The attackers and the healthy client need descriptors. The largest attack has 4,000 connections.
const DESCRIPTORS: u64 = 8192;

/// Options of the command.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Run two short windows of each kind instead of five: half a minute in all
    #[arg(long)]
    quick: bool,

    /// Run only these attacks
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,

    /// List the attacks and exit
    #[arg(long)]
    pub list: bool,

    /// Where the result goes.
    #[command(flatten)]
    pub output: OutputArgs,

    /// The command is not a build of fc-hooks: its memory has no bound, any answer to attackers is allowed, and of
    /// healthy calls only the status counts
    #[arg(long, requires = "command")]
    peer: bool,

    /// Fail also if attackers that only hold connections more than double the p99 of healthy calls
    #[arg(long)]
    strict: bool,

    /// Connections that the server may keep to a program behind it, as the adapter does
    #[arg(long, default_value_t = 0, value_name = "N")]
    kept: usize,

    /// The checkout whose build is attacked if there is no command
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    root: PathBuf,

    /// The server [default: the build of `make build`]; it gets its port in FC_SERVER_PORT
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// The names of all attacks, and what they do.
pub fn list() -> String {
    ATTACKS.iter().map(|attack| format!("{:<19} {}\n", attack.name, attack.what)).collect()
}

/// Runs the attacks.
///
/// # Errors
/// If there is nothing to attack, if an attack is unknown, or if a server does not start.
pub fn run(args: &Args, progress: &mut dyn Progress) -> Result<Report> {
    let clock = Instant::now();
    let unknown = args.only.iter().find(|name| ATTACKS.iter().all(|attack| attack.name != **name));
    if let Some(name) = unknown {
        return Err(Error::new(format!("unknown attack `{name}`; --list shows all")));
    }
    let chosen: Vec<&Attack> =
        ATTACKS.iter().filter(|it| args.only.is_empty() || args.only.iter().any(|name| name == it.name)).collect();
    let field = Setting::new(args)?;
    progress.begin("attack", chosen.len() as u64);
    let mut attacks = Vec::new();
    for attack in chosen {
        let began = Instant::now();
        let outcome = field.attack(attack).map_err(|cause| Error::failed("attack by", attack.name, cause))?;
        attacks.push(Outcome { ms: began.elapsed().as_secs_f64() * 1e3, ..outcome });
        progress.step(attack.name);
    }
    let command = field.command.clone();
    let apart = field.processors.apart();
    let (version, seconds) = (env!("CARGO_PKG_VERSION"), clock.elapsed().as_secs_f64());
    Ok(Report { version, command, machine: machine(), apart, seconds, attacks })
}

/// What all attacks have in common.
struct Setting {
    command: Vec<String>,
    is_peer: bool,
    strict: bool,
    kept: usize,
    cycles: u32,
    window: Duration,
    processors: Processors,
}

/// An instance under attack, and its clients.
struct AttackedInstance {
    instance: Instance,
    kept: Healthy,
    fresh: Healthy,
    clients: AttackClients,
    descriptors: Descriptors,
    kernel_kb: u64,
    in_place: usize,
}

impl Setting {
    fn new(args: &Args) -> Result<Self> {
        raise_descriptors()?;
        let built = args.root.join(format!("target/{ARCH}-unknown-linux-musl/release/fc-hooks"));
        let command = match args.command.is_empty() {
            false => args.command.clone(),
            true if built.is_file() => vec![built.display().to_string()],
            true => return Err(Error::failed("find", built.display(), "`make build` builds it")),
        };
        let (cycles, window_ms) = if args.quick { (2, 150) } else { (5, 800) };
        Ok(Self {
            command,
            is_peer: args.peer,
            strict: args.strict,
            kept: args.kept,
            cycles,
            window: Duration::from_millis(window_ms),
            processors: Processors::split()?,
        })
    }

    fn attack(&self, attack: &'static Attack) -> Result<Outcome> {
        let instance = self.start(attack)?;
        let pid = instance.pid();
        let before = steady_descriptors(pid)?;
        let ready_kb = Memory::of(pid)?.resident_kb;
        let (address, client) = (instance.address(), self.processors.client.clone());
        let begin = |mode| Healthy::begin(mode, address, !self.is_peer, client.clone());
        let (kept, fresh) = (begin(ConnectionMode::Kept), begin(ConnectionMode::Fresh));
        let clients =
            AttackClients::raise(address, (0..attack.connections).map(attack.script).collect(), client.clone());
        let descriptors = Descriptors { before, most: before, after: None, kept: self.kept };
        let mut scene = AttackedInstance {
            instance,
            kept,
            fresh,
            clients,
            descriptors,
            kernel_kb: proc::tcp_kb().unwrap_or(0),
            in_place: 0,
        };
        self.windows(attack, &mut scene);
        self.aftermath(attack, scene, ready_kb)
    }

    /// Starts an instance and sends its first calls.
    fn start(&self, attack: &Attack) -> Result<Instance> {
        let kind = if self.is_peer { Kind::Custom } else { Kind::Ours };
        let contender = Contender::of_command("target", kind, self.command.clone());
        let narrow =
            |count| ["sh", "-c", &format!("ulimit -n {count} && exec \"$@\""), "sh"].map(str::to_owned).to_vec();
        let prefix = attack.descriptors.map(narrow).unwrap_or_default();
        let start =
            Start { processors: &self.processors.server, env: attack.env, prefix: &prefix, group: None, limit: None };
        let instance = Instance::start(&contender, &start)?;
        let deadline = Deadline::after(READY_WAIT);
        let client = Client::default();
        let mut line = client.connect(&contender, &instance, deadline)?;
        line.call(Call::Initialize, deadline)?;
        line.call(Call::Invoke, deadline)?;
        Ok(instance)
    }

    /// Alternates windows without and with attackers, and ends with one after they have left.
    fn windows(&self, attack: &Attack, scene: &mut AttackedInstance) {
        for cycle in 0..self.cycles {
            scene.window(Windows::quiet(cycle), self.window);
            scene.clients.attack();
            let all = || (scene.clients.arrived() as u64 >= attack.wanted()).then_some(());
            // Attackers that are not in place by then attack nevertheless.
            let _ = Deadline::after(ARRIVAL_WAIT).until(all);
            scene.in_place = scene.in_place.max(scene.clients.arrived());
            scene.window(Windows::attacked(cycle), self.window);
            scene.descriptors.most = scene.descriptors.most.max(proc::descriptors(scene.instance.pid()).unwrap_or(0));
            scene.kernel_kb = scene.kernel_kb.max(proc::tcp_kb().unwrap_or(0));
            if attack.until_the_end && cycle + 1 == self.cycles {
                return;
            }
            scene.clients.rest();
            // The two connections of the healthy clients stay. Connections that never leave show at the end.
            let few = scene.descriptors.before + 2;
            let left = || proc::descriptors(scene.instance.pid()).ok().is_none_or(|count| count <= few).then_some(());
            let _ = Deadline::after(LEAVE_WAIT).until(left);
        }
        scene.window(Windows::quiet(self.cycles), self.window);
    }

    /// Checks the state after the attack, and ends the instance.
    fn aftermath(&self, attack: &Attack, scene: AttackedInstance, ready_kb: u64) -> Result<Outcome> {
        let AttackedInstance { instance, kept, fresh, clients, mut descriptors, kernel_kb, in_place } = scene;
        let pid = instance.pid();
        let (kept, fresh) = (kept.end()?, fresh.end()?);
        let mut notes = Vec::new();
        let mut faults = self.life(attack, &instance, &mut notes);
        let mut memory = MemoryFigures { ready_kb, kernel_kb, ..MemoryFigures::default() };
        let mut clients = Some(clients);
        let mut stats = None;
        if !attack.until_the_end {
            stats = clients.take().map(AttackClients::dismiss).transpose()?;
            let usual = descriptors.before..=descriptors.before + descriptors.kept;
            let back = || proc::descriptors(pid).ok().filter(|count| usual.contains(count));
            let after = Deadline::after(LEAVE_WAIT).until(back).or_else(|| proc::descriptors(pid).ok());
            descriptors.after = after;
            memory.after_kb = Memory::of(pid).ok().map(|memory| memory.resident_kb);
        }
        match instance.try_exit() {
            Some(status) => faults.push(format!("the server did not survive: {status}")),
            None => memory.peak_kb = proc::peak_kb(pid)?,
        }
        instance.signal(Signal::TERM);
        let exit = Deadline::after(EXIT_WAIT).until(|| instance.try_exit());
        let exit = exit.map_or_else(|| "it still runs".to_owned(), |status| status.to_string());
        let stats = match stats {
            Some(stats) => stats,
            None => clients.map(AttackClients::dismiss).transpose()?.unwrap_or_default(),
        };
        if !self.is_peer {
            memory.bound = terms(&Limits::default(), ready_kb, self.program_kb());
            memory.bound_kb = Some(bound::kb(&memory.bound));
        }
        let windows = Windows { cycles: self.cycles };
        let cycles = || 0..self.cycles;
        let may_wait = attack.descriptors.is_some();
        let of = |calls: &[CallSample], which: fn(u32) -> u32| Windows::latency(calls, cycles().map(which));
        let mut outcome = Outcome {
            name: attack.name,
            what: attack.what,
            ms: 0.0,
            before: of(&kept, Windows::quiet).unwrap_or_default(),
            during: of(&kept, Windows::attacked).unwrap_or_default(),
            after: Windows::latency(&kept, std::iter::once(Windows::quiet(self.cycles))),
            p99_ratio: windows.p99_ratio(&kept),
            kept: windows.count(&kept, false),
            fresh: windows.count(&fresh, may_wait),
            memory,
            descriptors,
            in_place,
            stats,
            exit,
            notes,
            faults: Vec::new(),
        };
        faults.extend(outcome.judge(attack, self.is_peer, self.strict));
        outcome.faults = faults;
        Ok(outcome)
    }

    /// Checks the inspector's own account of its life: nobody but us may have run a hook.
    fn life(&self, attack: &Attack, instance: &Instance, notes: &mut Vec<String>) -> Vec<String> {
        if self.is_peer || attack.until_the_end {
            return Vec::new();
        }
        let request = Platform::new(Settings::default()).http("GET", "/", &[], Vec::new());
        let deadline = Deadline::after(READY_WAIT);
        let response =
            Conn::open(instance.address(), deadline).and_then(|mut conn| conn.exchange(&request.bytes(), deadline));
        let body = match response {
            Ok(response) => response.body,
            Err(cause) => return vec![format!("GET / was not answered after the attack: {cause}")],
        };
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let (life, calls) = (&document["lifecycle"], document["hookCalls"].as_array());
        let (Some(phase), Some(calls)) = (life["phase"].as_str(), calls) else {
            notes.push("it is not the inspector, so nothing shows whether outsiders ran its hooks".into());
            return Vec::new();
        };
        let others = calls.iter().filter(|call| call["ran"] == true && call["hook"] != "initialize").count();
        if (phase, &life["initialized"], &life["frozen"], others) == ("ready", &1.into(), &0.into(), 0) {
            return Vec::new();
        }
        vec![format!("outsiders ran its hooks: its phase is {phase}, and {others} hooks beside ours ran; {life}")]
    }

    /// The size of its program.
    fn program_kb(&self) -> u64 {
        let metadata = self.command.first().and_then(|program| std::fs::metadata(program).ok());
        metadata.map_or(0, |metadata| metadata.len().div_ceil(1024))
    }
}

impl AttackedInstance {
    /// Measures for this long.
    fn window(&mut self, number: u32, length: Duration) {
        [&mut self.kept, &mut self.fresh].into_iter().for_each(|client| client.enter(number));
        std::thread::sleep(length);
        [&mut self.kept, &mut self.fresh].into_iter().for_each(|client| client.enter(0));
    }
}

fn raise_descriptors() -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= DESCRIPTORS) {
        return Ok(());
    }
    if maximum.is_some_and(|maximum| maximum < DESCRIPTORS) {
        return Err(Error::new(format!("the attackers need {DESCRIPTORS} descriptors, more than `ulimit -Hn` allows")));
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), maximum })
        .map_err(|cause| Error::failed("raise", "the number of descriptors", cause))
}

/// The number of descriptors once the connection of the first calls is closed.
fn steady_descriptors(pid: u32) -> Result<usize> {
    let mut last = (0, 0);
    let steady = Deadline::after(READY_WAIT).until(|| {
        let count = proc::descriptors(pid).ok()?;
        last = if last.0 == count { (count, last.1 + 1) } else { (count, 0) };
        (last.1 >= 10).then_some(count)
    });
    steady.ok_or_else(|| Error::failed("count", "the server's descriptors", "their number does not settle"))
}
