//! The command line: it turns arguments into plans, and reports a wrong argument before anything is started.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::check;
use crate::command_help::{CompletionsArgs, ManArgs};
use crate::error::{Error, Result};
use crate::instance::{Limits, Setup};
use crate::lifecycle_run;
use crate::options::{
    DURATION, DataOutputArgs, FreezeArgs, Hooks, OutputArgs, duration, env_file, parse_hooks, variable,
};
use crate::platform::{Credentials, Generation, IdForm, Settings};
use crate::target::{Machines, Spec};

/// Emulates an instance of Alibaba Cloud Function Compute: drives a container or any server through
/// its lifecycle, real freezes included, and checks it against the contract of the platform.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// The command to carry out.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one lifecycle and show it: start, initialize, calls, freezes, pre-stop, SIGTERM
    ///
    /// Exits with 0 if every step kept the contract, with 1 if one broke it, and with 2 if the target could not be
    /// tested.
    #[command(args_override_self = true)]
    Run(Box<RunArgs>),
    /// Check every rule of the contract that can be tested
    ///
    /// Each check starts an instance of its own. Exits with 0 if the target conforms, with 1 if it breaks a rule, and
    /// with 2 if it could not be tested.
    #[command(args_override_self = true)]
    Check(Box<CheckArgs>),
    /// List the checks with their rules
    List(ListArgs),
    /// Serve functions on this machine as the platform does: from zero, frozen when idle, thawed by a call
    ///
    /// The listener takes API calls of version 2023-03-30 as the official clients send them, a page at `/_fc/`, and
    /// everything else as HTTP trigger of the function. Ctrl-C ends it and every instance. The official Python client
    /// sends calls to HTTP_PROXY, even those to this machine.
    #[cfg(feature = "serve")]
    #[command(args_override_self = true)]
    Serve(Box<crate::serve::args::ServeArgs>),
    /// Print a script that completes commands and options in a shell
    Completions(CompletionsArgs),
    /// Print a manual page, in the format of man
    Man(ManArgs),
}

/// The target, and how the platform treats it.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// Test a container of this image, run by Docker; arguments after `--` go to its entry point
    #[arg(long, value_name = "NAME", conflicts_with = "addr")]
    image: Option<String>,

    /// Test a server that already runs at this address: no freezing, no signals, no checks of its log
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_addr)]
    addr: Option<SocketAddr>,

    /// The port of a target that ignores FC_CUSTOM_LISTEN_PORT [default: a free port; 9000 for an image and in a
    /// virtual machine]
    #[arg(long)]
    port: Option<u16>,

    /// Set one more environment variable for the target; can be repeated. A command gets those of the platform, HOME,
    /// and a PATH with the folder of its program and the usual ones, but none of yours; --env PATH="$PATH" gives it
    /// yours
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,

    /// Set the variables in this file for the target: lines NAME=VALUE, as for `docker run --env-file`; can be
    /// repeated, and --env goes before it
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,

    /// The hooks that the function is configured with: some of initialize,pre-freeze,pre-stop, or none
    #[arg(long, value_name = "LIST", default_value = "initialize,pre-freeze,pre-stop", value_parser = parse_hooks)]
    hooks: Hooks,

    /// Emulate FC 2.0, which calls pre-freeze (this is the default)
    #[arg(long, conflicts_with = "fc3")]
    fc2: bool,

    /// Emulate FC 3.0, which has other request ids and headers and never calls pre-freeze
    #[arg(long)]
    fc3: bool,

    /// Send no x-fc-control-path, as the public local tools do
    #[arg(long)]
    no_control_path: bool,

    /// The form of request ids; a target can see by the time in them that its virtual machine stood [default: time with
    /// --fc3 and in a virtual machine, else uuid]
    #[arg(long, value_enum, value_name = "FORM")]
    request_ids: Option<IdForm>,

    #[command(flatten)]
    freeze: FreezeArgs,

    /// The Linux kernel of the virtual machine [default: the newest of Debian's cloud kernels, unpacked in
    /// ~/.cache/fc-emulator/vm or installed in /boot]
    #[arg(long, value_name = "FILE")]
    vm_kernel: Option<PathBuf>,

    /// A file with the event to send [default: the text `{"key":"value"}`]
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,

    /// How many calls the function is configured to handle at the same time
    #[arg(long, default_value = "1", value_name = "N", value_parser = parse_concurrency)]
    concurrency: usize,

    /// Time limit from the start to an open port
    #[arg(long, default_value = "120s", value_name = DURATION, value_parser = duration)]
    ready_timeout: Duration,

    /// Time limit of the initializer; the platform allows up to 300s
    #[arg(long, default_value = "3s", value_name = DURATION, value_parser = duration)]
    initialize_timeout: Duration,

    /// Time limit of a call
    #[arg(long, default_value = "10s", value_name = DURATION, value_parser = duration)]
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

    /// Test this command with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    words: Vec<String>,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Number of calls before the first freeze
    #[arg(long, default_value_t = 2, value_name = "N")]
    calls: usize,

    /// Number of freezes
    #[arg(long, default_value_t = 1, value_name = "N")]
    freezes: usize,

    /// Length of a freeze
    #[arg(long, default_value = "1s", value_name = DURATION, value_parser = duration)]
    freeze_for: Duration,

    /// Send HTTP calls with this method and path in place of events, such as `GET /orders`
    #[arg(long, value_name = "METHOD PATH", value_parser = parse_http)]
    http: Option<(String, String)>,

    /// Where the result goes.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Run only these checks: names of checks, rules (C-STOP-1), or families of rules (C-STOP)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    only: Vec<String>,

    /// Leave these checks out, named as for --only
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    skip: Vec<String>,

    /// Exit with 1 for a broken "should", too
    #[arg(long)]
    strict: bool,

    /// Length of a freeze; it must be longer than every time limit of the target
    #[arg(long, default_value = "6.5s", value_name = DURATION, value_parser = duration)]
    freeze_for: Duration,

    /// How long a connection stays idle before its next call
    #[arg(long, default_value = "7s", value_name = DURATION, value_parser = duration)]
    idle_for: Duration,

    /// Size of the largest event
    #[arg(long, default_value_t = 32 * 1024 * 1024, value_name = "BYTES")]
    large_bytes: usize,

    /// Check a server that takes no events: each call is this HTTP call, such as `GET /orders`
    #[arg(long, value_name = "METHOD PATH", value_parser = parse_http, conflicts_with_all = ["event", "fail_event"])]
    http: Option<(String, String)>,

    /// A harmless HTTP call, for a function that takes both events and HTTP calls
    #[arg(long, default_value = "GET /", value_name = "METHOD PATH", value_parser = parse_http)]
    #[arg(conflicts_with = "http")]
    http_beside_events: (String, String),

    /// Earlier spelling of `--http "GET /"`.
    #[arg(long, hide = true)]
    http_only: bool,

    /// The path of the HTTP health check, if the function is configured with one
    #[arg(long, value_name = "PATH")]
    health: Option<String>,

    /// A file with an event that makes the function fail
    #[arg(long, value_name = "FILE")]
    fail_event: Option<PathBuf>,

    /// Also check the target with web server mode off
    #[arg(long)]
    job: bool,

    /// Number of checks that work at the same time; those that wait beside a frozen or idle target do not count
    #[arg(long, default_value = "4", value_name = "N", value_parser = parse_jobs)]
    jobs: usize,

    /// Number of checks in progress at the same time, each with a target of its own; fewer need less memory [default:
    /// 16; in virtual machines as --jobs]
    #[arg(long, value_name = "N", value_parser = parse_jobs)]
    instances: Option<usize>,

    /// Where the result goes.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Where the list goes.
    #[command(flatten)]
    pub output: DataOutputArgs,
}

impl TargetArgs {
    fn setup(&self) -> Result<Setup> {
        let generation = if self.fc3 { Generation::Fc3 } else { Generation::Fc2 };
        let mut setup = Setup {
            spec: self.spec()?,
            settings: Settings {
                generation,
                ids: self.request_ids.unwrap_or_else(|| self.usual_ids(generation)),
                control_path: !self.no_control_path,
                credentials: Credentials::default(),
                hooks: self.hooks.set().clone(),
                initialize_secs: self.initialize_timeout.as_secs_f64().ceil() as u64,
                invoke_secs: self.call_timeout.as_secs_f64().ceil() as u64,
            },
            freeze_with: self.freeze.freeze_with,
            machines: None,
            port: self.port,
            env: self.env()?,
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
        setup.require_port()?;
        setup.machines = self.machines(&setup.spec)?;
        Ok(setup)
    }

    /// When a virtual machine is paused or restored, its own clocks stand still. A target can know it only from the
    /// clock of its callers, which the platform shows in its ids (C-FRZ-10). The other ways of freezing leave the
    /// clocks alone.
    fn usual_ids(&self, generation: Generation) -> IdForm {
        if self.freeze.freeze_with.machine().is_some() { IdForm::Time } else { IdForm::of(generation) }
    }

    fn machines(&self, spec: &Spec) -> Result<Option<Arc<Machines>>> {
        match (self.freeze.freeze_with.machine(), &self.vm_kernel) {
            (Some(method), kernel) => Machines::prepare(method, kernel.as_deref(), spec).map(Some),
            (None, Some(_)) => Err(Error::new(
                "`--vm-kernel` is for a virtual machine: choose one by `--freeze-with vm-pause`, vm-snapshot, vmm-stop \
                 or criu",
            )),
            (None, None) => Ok(None),
        }
    }

    fn spec(&self) -> Result<Spec> {
        let words = self.words.clone();
        match (&self.image, self.addr) {
            (Some(name), _) => Ok(Spec::Image { name: name.clone(), args: words }),
            (None, Some(addr)) if words.is_empty() => Ok(Spec::Addr(addr)),
            (None, Some(_)) => Err(Error::new("give either `--addr` or a command, not both")),
            (None, None) if words.is_empty() => {
                Err(Error::new("give a target: `-- COMMAND ARGS`, `--image NAME` or `--addr HOST:PORT`"))
            }
            (None, None) => Ok(Spec::Command(words)),
        }
    }

    fn env(&self) -> Result<Vec<(String, String)>> {
        let mut all = Vec::new();
        for path in &self.env_file {
            all.extend(env_file(path)?);
        }
        all.extend(self.env.iter().cloned());
        Ok(all)
    }

    fn event(&self) -> Result<Vec<u8>> {
        match &self.event {
            Some(path) => read(path),
            None => Ok(br#"{"key":"value"}"#.to_vec()),
        }
    }
}

impl RunArgs {
    /// The lifecycle to run.
    ///
    /// # Errors
    /// If there is no target, a file cannot be read, or the target cannot be frozen as asked.
    pub fn plan(&self) -> Result<lifecycle_run::Plan> {
        Ok(lifecycle_run::Plan {
            setup: self.target.setup()?,
            event: self.target.event()?,
            http: self.http.clone(),
            calls: self.calls,
            concurrency: self.target.concurrency,
            freezes: self.freezes,
            freeze: self.freeze_for,
        })
    }
}

impl CheckArgs {
    /// The checks to run.
    ///
    /// # Errors
    /// If there is no target, a file cannot be read, or the target cannot be frozen as asked.
    pub fn plan(&self) -> Result<check::Plan> {
        let (method, path) = self.http.as_ref().unwrap_or(&self.http_beside_events);
        Ok(check::Plan {
            setup: self.target.setup()?,
            event: self.target.event()?,
            fail_event: self.fail_event.as_ref().map(read).transpose()?,
            http_method: method.clone(),
            http_path: path.clone(),
            http_only: self.http.is_some() || self.http_only,
            health_path: self.health.clone(),
            freeze: self.freeze_for,
            idle: self.idle_for,
            large_bytes: self.large_bytes,
            concurrency: self.target.concurrency,
            job: self.job,
            jobs: self.jobs,
            instances: self.instances,
            only: self.only.clone(),
            skip: self.skip.clone(),
            strict: self.strict,
        })
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|cause| Error::failed("read", path.display(), cause))
}

fn parse_addr(text: &str) -> std::result::Result<SocketAddr, String> {
    let mut addrs = text.to_socket_addrs().map_err(|cause| cause.to_string())?;
    addrs.next().ok_or_else(|| "the host has no address".to_owned())
}

/// The platform allows 1 to 200 calls at the same time (C-INV-7).
pub(crate) fn parse_concurrency(text: &str) -> std::result::Result<usize, String> {
    parse_count(text, 200)
}

fn parse_jobs(text: &str) -> std::result::Result<usize, String> {
    parse_count(text, 64)
}

fn parse_count(text: &str, max: usize) -> std::result::Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=max).contains(count));
    count.ok_or_else(|| format!("expected a whole number from 1 to {max}"))
}

fn parse_http(text: &str) -> std::result::Result<(String, String), String> {
    let (method, path) = text.split_once(' ').unwrap_or(("GET", text));
    if method.eq_ignore_ascii_case("HEAD") {
        return Err("an answer to HEAD has no body that could be checked: use GET".to_owned());
    }
    let good = !method.is_empty()
        && method.bytes().all(|b| b.is_ascii_alphabetic())
        && path.starts_with('/')
        && path.bytes().all(|b| b.is_ascii_graphic());
    good.then(|| (method.to_owned(), path.to_owned()))
        .ok_or_else(|| "expected a method and a path, such as `GET /path`".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::platform::Hook;

    fn check_plan(words: &[&str]) -> Result<check::Plan> {
        let cli = Cli::try_parse_from([&["fc-emulator", "check"], words].concat());
        match cli.map_err(|error| Error::new(error.to_string()))?.command {
            Command::Check(args) => args.plan(),
            _ => Err(Error::new("not a check")),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn targets() {
        let spec = |words: &[&str]| check_plan(words).map(|plan| plan.setup.spec);
        assert_eq!(spec(&["--", "./a", "-b"]), Ok(Spec::Command(vec!["./a".into(), "-b".into()])));
        assert_eq!(spec(&["--image", "x", "--", "y"]), Ok(Spec::Image { name: "x".into(), args: vec!["y".into()] }));
        assert_eq!(spec(&["--addr", "127.0.0.1:9"]), Ok(Spec::Addr(([127, 0, 0, 1], 9).into())));
        for wrong in [&[][..], &["--addr", "127.0.0.1:9", "--", "x"], &["--addr", "127.0.0.1:9", "--image", "x"]] {
            assert!(spec(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_method_that_cannot_freeze_this_target() {
        for (target, method, fix) in [
            (&["--", "x"][..], "docker-pause", "--image NAME"),
            (&["--image", "x"], "sigstop", "docker-pause"),
            (&["--addr", "127.0.0.1:9"], "cgroup-v1", "leave `--freeze-with` out"),
        ] {
            let error = check_plan(&[&["--freeze-with", method], target].concat()).unwrap_err().to_string();
            assert!(error.contains(&format!("`--freeze-with {method}`")) && error.contains(fix), "{error}");
        }
        assert!(check_plan(&["--freeze-with=docker-pause", "--image", "x"]).is_ok());
        assert!(check_plan(&["--freeze-with=sigstop", "--", "x"]).is_ok());
    }

    #[test]
    fn hooks_and_calls() {
        let plan = check_plan(&["--hooks", "pre-stop,initialize", "--http", "POST /a?b", "--", "x"]).unwrap();
        assert_eq!(plan.setup.settings.hooks, BTreeSet::from([Hook::Initialize, Hook::PreStop]));
        assert_eq!((plan.http_method.as_str(), plan.http_path.as_str(), plan.http_only), ("POST", "/a?b", true));
        let http = |words: &[&str]| {
            let plan = check_plan(&[words, &["--", "x"]].concat())?;
            Ok::<_, Error>((format!("{} {}", plan.http_method, plan.http_path), plan.http_only))
        };
        assert_eq!(http(&[]), Ok(("GET /".into(), false)));
        assert_eq!(http(&["--http-only"]), Ok(("GET /".into(), true)));
        assert_eq!(http(&["--http-beside-events", "PUT /b"]), Ok(("PUT /b".into(), false)));
        assert!(http(&["--http", "GET /", "--event", "/dev/null"]).is_err());
        assert!(check_plan(&["--hooks", "none", "--", "x"]).unwrap().setup.settings.hooks.is_empty());
        for wrong in [["--hooks", "prestop"], ["--http", "GET x"], ["--freeze-for", "7"], ["--env", "=x"]] {
            assert!(check_plan(&[&wrong[..], &["--", "x"]].concat()).is_err(), "{wrong:?}");
        }
    }
}
