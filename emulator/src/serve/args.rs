//! The command line of `serve`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use sha2::{Digest, Sha256};

use super::Plan;
use super::api::Auth;
use super::api::signature::AccessKey;
use super::config::{Affinity, FunctionConfig, HealthRequest, is_function_name};
use super::core::{Health, Policy, Sessions};
use super::definition::{self, Definition, HealthDefinition, Program};
use super::tasks::book::AsyncPolicy;
use super::tasks::check_url;
use crate::error::{Error, Result};
use crate::freezer::FreezeWith;
use crate::instance::{Limits, Setup};
use crate::options::{DURATION, FreezeArgs, duration, variable};
use crate::platform::{Credentials, Generation, Hook, IdForm, Settings};
use crate::target::{Machines, Spec};

/// Arguments of `serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The address to listen on; a free port is taken for 0
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "IP:PORT")]
    listen: SocketAddr,

    /// Serve the functions of this file: fc.toml, or s.yaml of Serverless Devs; what it says of a function goes before
    /// the options here
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image", "function", "words"])]
    config: Option<PathBuf>,

    /// The name of the function
    #[arg(long, default_value = "function", value_name = "NAME", value_parser = function_name)]
    function: String,

    /// Run containers of this image by Docker; arguments after `--` go to its entry point
    #[arg(long, value_name = "NAME")]
    image: Option<String>,

    /// The port of a target that ignores FC_CUSTOM_LISTEN_PORT; for images only [default: 9000]
    #[arg(long, requires = "image")]
    port: Option<u16>,

    /// Set one more environment variable for the target; can be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,

    /// The hooks that the function is configured with: some of initialize,pre-freeze,pre-stop, or none
    #[arg(long, value_name = "LIST", default_value = "initialize,pre-freeze,pre-stop",
          value_parser = crate::options::parse_hooks)]
    hooks: crate::options::Hooks,

    /// Emulate FC 2.0, which calls pre-freeze
    #[arg(long, conflicts_with = "fc3")]
    fc2: bool,

    /// Emulate FC 3.0, whose API is served (this is the default)
    #[arg(long)]
    fc3: bool,

    #[command(flatten)]
    freeze: FreezeArgs,

    /// Never freeze instances
    #[arg(long)]
    no_freeze: bool,

    /// Run instances in virtual machines by QEMU: a pause of a session saves the machine and ends it, a resume restores
    /// it; idle instances are not frozen
    #[arg(long, conflicts_with_all = ["freeze_with", "no_freeze"])]
    resume: bool,

    /// How long an instance is idle before it is frozen
    #[arg(long, default_value = "0s", value_name = DURATION, value_parser = duration)]
    freeze_after: Duration,

    /// How long an instance is idle before it is reclaimed, by pre-stop
    #[arg(long, default_value = "5m", value_name = DURATION, value_parser = duration)]
    idle_timeout: Duration,

    /// How many calls an instance handles at the same time, 1 to 200
    #[arg(long, default_value = "1", value_name = "N", value_parser = crate::cli::parse_concurrency)]
    concurrency: usize,

    /// How many instances run at most
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    instances_max: u32,

    /// How many instances are kept without calls
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    instances_min: u32,

    /// How many calls wait for an instance; more are answered with 429
    #[arg(long, default_value_t = 1000, value_name = "N")]
    queue: usize,

    /// How long a call waits for an instance before it is answered with 429
    #[arg(long, default_value = "2m", value_name = DURATION, value_parser = duration)]
    queue_timeout: Duration,

    /// Call this path as health check, after the start and every 3 s
    #[arg(long, value_name = "PATH")]
    health: Option<String>,

    /// Bind calls to instances by the session in this request header
    #[arg(long, value_name = "HEADER", conflicts_with = "session_cookie")]
    session_header: Option<String>,

    /// Bind calls to instances by a cookie
    #[arg(long)]
    session_cookie: bool,

    /// How many sessions an instance holds, 1 to 200
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=200))]
    sessions_per_instance: u32,

    /// Give each session an instance of its own, which ends with it
    #[arg(long)]
    session_isolation: bool,

    /// How long a session lives
    #[arg(long, default_value = "6h", value_name = DURATION, value_parser = duration)]
    session_ttl: Duration,

    /// How long a session lives without a call
    #[arg(long, default_value = "30m", value_name = DURATION, value_parser = duration)]
    session_idle: Duration,

    /// Time limit from the start to an open port
    #[arg(long, default_value = "120s", value_name = DURATION, value_parser = duration)]
    ready_timeout: Duration,

    /// Time limit of the initializer; the platform allows up to 300s
    #[arg(long, default_value = "3s", value_name = DURATION, value_parser = duration)]
    initialize_timeout: Duration,

    /// Time limit of a call
    #[arg(long, default_value = "60s", value_name = DURATION, value_parser = duration)]
    call_timeout: Duration,

    /// Time limit of pre-freeze
    #[arg(long, default_value = "3s", value_name = DURATION, value_parser = duration)]
    pre_freeze_timeout: Duration,

    /// Time limit of pre-stop; the platform allows up to 90s
    #[arg(long, default_value = "3s", value_name = DURATION, value_parser = duration)]
    pre_stop_timeout: Duration,

    /// Time limit from SIGTERM to the exit
    #[arg(long, default_value = "10s", value_name = DURATION, value_parser = duration)]
    term_timeout: Duration,

    /// How often a failed asynchronous call is tried again, 0 to 8
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=8))]
    async_retries: u32,

    /// The wait before the first retry; it doubles with each further one, up to 5m
    #[arg(long, default_value = "1s", value_name = DURATION, value_parser = duration)]
    async_backoff: Duration,

    /// The age at which an asynchronous call is not tried any more
    #[arg(long, default_value = "24h", value_name = DURATION, value_parser = duration)]
    async_event_age: Duration,

    /// Tell this URL of each asynchronous call that succeeded, by POST
    #[arg(long, value_name = "URL", value_parser = check_url)]
    on_success: Option<String>,

    /// Tell this URL of each asynchronous call that failed for good, by POST
    #[arg(long, value_name = "URL", value_parser = check_url)]
    on_failure: Option<String>,

    /// The key that callers of the API sign with; without it, a signature is looked at but not verified
    #[arg(long, value_name = "ID:SECRET")]
    access_key: Option<AccessKey>,

    /// Refuse API calls whose signature does not fit, in place of a warning
    #[arg(long, requires = "access_key")]
    strict_auth: bool,

    /// The file in which asynchronous calls outlive a restart [default: one for each working folder, below
    /// XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "FILE", conflicts_with = "memory")]
    store: Option<PathBuf>,

    /// Keep asynchronous calls in memory only
    #[arg(long)]
    memory: bool,

    /// Do not print the output of instances
    #[arg(long)]
    quiet: bool,

    /// Run this command with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    words: Vec<String>,

    #[arg(skip)]
    health_definition: Option<HealthDefinition>,
    #[arg(skip)]
    memory_mb: Option<u64>,
    #[arg(skip)]
    handler: Option<String>,
    #[arg(skip)]
    credentials: Credentials,
}

/// What is read of a function in a file, and what is ignored.
fn said_of(definition: &Definition, file: &Path) -> String {
    let ignored = definition.ignored.iter().map(|(name, line)| format!("{name} (line {line})"));
    let ignored: Vec<String> = ignored.collect();
    let ignored = if ignored.is_empty() { "nothing".to_owned() } else { ignored.join(", ") };
    let (name, read) = (&definition.name, definition.read.join(", "));
    format!("{}: the function {name}: used: {read}; ignored: {ignored}", file.display())
}

/// A file for this working folder, so that the calls of one project never reach the functions of another. `None` for a
/// user without a home.
fn default_store() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    let here = std::env::current_dir().ok()?;
    let digest = Sha256::digest(here.as_os_str().as_encoded_bytes());
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let name = here.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Some(state.join("fc-emulator").join(format!("{name}-{hex}.db")))
}

fn function_name(text: &str) -> std::result::Result<String, String> {
    let rule = "expected 1 to 64 letters, digits, `_` and `-`, with no digit or `-` first";
    is_function_name(text).then(|| text.to_owned()).ok_or_else(|| rule.to_owned())
}

impl ServeArgs {
    /// What is to be served.
    ///
    /// # Errors
    /// If there is no target, it cannot be frozen as asked, or the file of functions has a fault.
    pub fn plan(&self) -> Result<Plan> {
        let (mut functions, mut notices) = (Vec::new(), Vec::new());
        match &self.config {
            None => functions.push(self.function_config()?),
            Some(path) => {
                for definition in definition::load(path)? {
                    notices.push(said_of(&definition, path));
                    functions.push(self.with(&definition, path).function_config()?);
                }
            }
        }
        let (quiet, auth, store) = (self.quiet, self.auth(), self.store());
        Ok(Plan { listen: self.listen, functions, notices, quiet, auth, store })
    }

    /// These options, with what a file says of a function in their place.
    fn with(&self, definition: &Definition, file: &Path) -> Self {
        let mut args = self.clone();
        let secs = |secs: Option<u64>, usual: Duration| secs.map_or(usual, Duration::from_secs);
        let number = |number: Option<u64>, usual: u32| number.map_or(usual, |number| number as u32);
        args.function.clone_from(&definition.name);
        match &definition.program {
            Program::Image { name, args: words, port } => {
                args.image = Some(name.clone());
                args.port = *port;
                args.words.clone_from(words);
            }
            Program::Command { words, folder } => {
                let folder = file.parent().unwrap_or(Path::new("")).join(folder);
                let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
                let start = ["/bin/sh", "-c", r#"cd "$0" && exec "$@""#].map(str::to_owned);
                args.words = [&start[..], &[folder.to_string_lossy().into_owned()], words].concat();
            }
        }
        args.env.extend(definition.env.iter().cloned());
        let hooks = &definition.hooks;
        let set = [
            (Hook::Initialize, hooks.initialize, &mut args.initialize_timeout),
            (Hook::PreFreeze, hooks.pre_freeze, &mut args.pre_freeze_timeout),
            (Hook::PreStop, hooks.pre_stop, &mut args.pre_stop_timeout),
        ];
        let on = set.into_iter().filter_map(|(hook, limit, option)| {
            *option = Duration::from_secs(limit?);
            Some(hook)
        });
        args.hooks = on.collect();
        args.call_timeout = secs(definition.timeout_secs, self.call_timeout);
        args.idle_timeout = secs(definition.idle_secs, self.idle_timeout);
        args.concurrency = definition.concurrency.map_or(self.concurrency, |number| number as usize);
        args.instances_max = number(definition.instances_max, self.instances_max);
        args.instances_min = number(definition.instances_min, self.instances_min);
        args.async_retries = number(definition.retries, self.async_retries);
        args.async_event_age = secs(definition.event_age_secs, self.async_event_age);
        args.on_success = definition.on_success.clone().or_else(|| self.on_success.clone());
        args.on_failure = definition.on_failure.clone().or_else(|| self.on_failure.clone());
        if let Some(health) = &definition.health {
            args.health = Some(health.path.clone());
            args.health_definition = Some(health.clone());
        }
        if let Some(session) = &definition.session {
            args.session_header.clone_from(&session.header);
            args.session_cookie = session.header.is_none();
            args.session_isolation = session.exclusive;
            args.sessions_per_instance = number(session.per_instance, self.sessions_per_instance);
            args.session_ttl = secs(session.life_secs, self.session_ttl);
            args.session_idle = secs(session.idle_secs, self.session_idle);
        }
        args.memory_mb = definition.memory_mb;
        args.handler.clone_from(&definition.handler);
        args.credentials = definition.credentials;
        args
    }

    fn function_config(&self) -> Result<FunctionConfig> {
        if self.instances_min > self.instances_max {
            let (min, max) = (self.instances_min, self.instances_max);
            return Err(Error::new(format!(
                "the function {} keeps at least {min} instances, but has at most {max}",
                self.function
            )));
        }
        let settings = self.settings();
        let calls = |hook| settings.hooks.contains(&hook);
        let policy = Policy {
            concurrency: self.concurrency,
            instances_max: self.instances_max as usize,
            instances_min: self.instances_min as usize,
            queue_max: self.queue,
            queue_time: self.queue_timeout,
            initialize: calls(Hook::Initialize),
            pre_freeze: calls(Hook::PreFreeze) && settings.generation == Generation::Fc2,
            pre_stop: calls(Hook::PreStop),
            freeze: !self.no_freeze && !self.resume,
            freeze_after: self.freeze_after,
            idle_time: self.idle_timeout,
            health: self.health.as_ref().map(|_| Health {
                initial_delay: Duration::from_secs(self.health_definition.as_ref().map_or(0, |one| one.initial_delay)),
                period: Duration::from_secs(self.health_definition.as_ref().map_or(3, |one| one.period)),
                failures: self.health_definition.as_ref().map_or(3, |one| one.failures),
                successes: self.health_definition.as_ref().map_or(1, |one| one.successes),
            }),
            sessions: self.sessions()?,
        };
        Ok(FunctionConfig {
            name: self.function.clone(),
            setup: self.setup(settings)?,
            policy,
            async_policy: AsyncPolicy {
                retries: self.async_retries,
                event_age: self.async_event_age,
                backoff: self.async_backoff,
                on_success: self.on_success.clone(),
                on_failure: self.on_failure.clone(),
            },
            affinity: self.affinity(),
            health: self.health_request()?,
            memory_mb: self.memory_mb.unwrap_or(512),
            handler: self.handler.clone().unwrap_or_else(|| "index.handler".to_owned()),
        })
    }

    fn auth(&self) -> Auth {
        Auth { key: self.access_key.clone(), strict: self.strict_auth }
    }

    fn store(&self) -> Option<PathBuf> {
        match &self.store {
            Some(path) => Some(path.clone()),
            None if self.memory || cfg!(not(feature = "store")) => None,
            None => default_store(),
        }
    }

    fn settings(&self) -> Settings {
        let generation = if self.fc2 { Generation::Fc2 } else { Generation::Fc3 };
        let hooks: BTreeSet<Hook> = self.hooks.set().clone();
        Settings {
            generation,
            ids: IdForm::of(generation),
            control_path: true,
            credentials: self.credentials,
            hooks,
            initialize_secs: self.initialize_timeout.as_secs_f64().ceil() as u64,
            invoke_secs: self.call_timeout.as_secs_f64().ceil() as u64,
        }
    }

    fn setup(&self, settings: Settings) -> Result<Setup> {
        let words = self.words.clone();
        let spec = match &self.image {
            Some(name) => Spec::Image { name: name.clone(), args: words },
            None if words.is_empty() => {
                return Err(Error::new("give a target: `-- COMMAND ARGS` or `--image NAME`"));
            }
            None => Spec::Command(words),
        };
        let freeze_with = if self.resume { FreezeWith::VmSnapshot } else { self.freeze.freeze_with };
        let machines = freeze_with.machine();
        let machines = machines.map(|method| Machines::prepare(method, None, &spec)).transpose()?;
        let setup = Setup {
            spec,
            settings,
            freeze_with,
            machines,
            port: self.port,
            env: self.env.clone(),
            limits: Limits {
                ready: self.ready_timeout,
                initialize: self.initialize_timeout,
                call: self.call_timeout,
                pre_freeze: self.pre_freeze_timeout,
                pre_stop: self.pre_stop_timeout,
                term: self.term_timeout,
            },
        };
        setup.require_freezer()?;
        Ok(setup)
    }

    fn affinity(&self) -> Affinity {
        match &self.session_header {
            Some(name) => Affinity::Header(name.clone()),
            None if self.session_cookie => Affinity::Cookie,
            None => Affinity::None,
        }
    }

    /// The name of a header follows C-SES-2.
    fn sessions(&self) -> Result<Option<Sessions>> {
        let affinity = self.affinity();
        if let Affinity::Header(name) = &affinity {
            let tail = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
            let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
            let reserved = name.to_ascii_lowercase().starts_with("x-fc-");
            if !first || reserved || !(5..=40).contains(&name.len()) || !name.bytes().all(tail) {
                return Err(Error::new(format!(
                    "`--session-header {name}`: expected 5 to 40 letters, digits, `-` and `_`, a letter first, and no \
                     name that begins with x-fc-"
                )));
            }
        }
        if affinity == Affinity::None && self.session_isolation {
            return Err(Error::new("`--session-isolation` needs `--session-header NAME` or `--session-cookie`"));
        }
        if affinity == Affinity::None && self.resume {
            return Err(Error::new(
                "`--resume` needs `--session-header NAME` or `--session-cookie`: sessions are paused",
            ));
        }
        Ok((affinity != Affinity::None).then_some(Sessions {
            per_instance: if self.session_isolation { 1 } else { self.sessions_per_instance as usize },
            life: self.session_ttl,
            idle: self.session_idle,
            exclusive: self.session_isolation,
        }))
    }

    fn health_request(&self) -> Result<Option<HealthRequest>> {
        let Some(path) = &self.health else { return Ok(None) };
        if !path.starts_with('/') || path.len() > 2048 || path.parse::<hyper::Uri>().is_err() {
            return Err(Error::new(format!(
                "`--health {path}`: expected a path that begins with `/`, at most 2,048 long"
            )));
        }
        let timeout = Duration::from_secs(self.health_definition.as_ref().map_or(1, |one| one.timeout));
        Ok(Some(HealthRequest { path: path.clone(), timeout }))
    }
}
