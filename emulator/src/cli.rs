//! The command line: arguments in, plans out. Says what is wrong before anything is started.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::check;
use crate::error::{Error, Result};
use crate::freezer::FreezeMethod;
use crate::instance::{Limits, Setup};
use crate::lifecycle_run;
use crate::platform::{Generation, Hook, Settings};
use crate::report::Format;
use crate::target::Spec;

/// Emulates an instance of Function Compute: drives a container or any server through its life,
/// freezes included, and checks it against the contract of the platform.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Live one life and show it: start, initialize, calls, freezes, pre-stop, SIGTERM.
    ///
    /// Exits with 0 if it went as the contract says, 1 if not, 2 if it could not be tried.
    #[command(args_override_self = true)]
    Run(Box<RunArgs>),
    /// Check every testable rule of the contract.
    ///
    /// Exits with 0 if the target conforms, 1 if it violates a rule, 2 if it could not be tested.
    /// Each check starts an instance of its own.
    #[command(args_override_self = true)]
    Check(Box<CheckArgs>),
    /// List the checks, each with its rule.
    List,
}

/// Which target, and how it is treated.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// A container image, run by Docker; what follows `--` are arguments for its entry point
    #[arg(long, value_name = "NAME", conflicts_with = "addr")]
    image: Option<String>,

    /// Something that runs already; without freeze, signals and output
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_addr)]
    addr: Option<SocketAddr>,

    /// The port the target listens on, if it cannot be told one (FC_CUSTOM_LISTEN_PORT); an image: 9000
    #[arg(long)]
    port: Option<u16>,

    /// A further environment variable for the target; may be given again
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = parse_env)]
    env: Vec<(String, String)>,

    /// The hooks in the function's configuration: any of initialize,pre-freeze,pre-stop, or none
    #[arg(long, value_name = "LIST", default_value = "initialize,pre-freeze,pre-stop", value_parser = parse_hooks)]
    hooks: Hooks,

    /// Play FC 2.0: pre-freeze is called (default)
    #[arg(long, conflicts_with = "fc3")]
    fc2: bool,

    /// Play FC 3.0: other request ids and headers, pre-freeze is never called
    #[arg(long)]
    fc3: bool,

    /// Leave x-fc-control-path out, as the public local tools do
    #[arg(long)]
    no_control_path: bool,

    /// How to freeze processes (images: always docker pause)
    #[arg(long, value_enum, default_value_t, value_name = "WAY")]
    freeze_by: FreezeMethod,

    /// The event: the content of this file (default: `{"key":"value"}`)
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,

    /// Calls at once that the function is configured for
    #[arg(long, default_value = "1", value_name = "N", value_parser = parse_concurrency)]
    concurrency: usize,

    /// Time limit from start to an open port
    #[arg(long, default_value = "120", value_name = "SECS", value_parser = parse_secs)]
    ready_secs: Duration,

    /// Time limit of the initializer; the platform allows 300
    #[arg(long, default_value = "3", value_name = "SECS", value_parser = parse_secs)]
    initialize_secs: Duration,

    /// Time limit of a call
    #[arg(long, default_value = "10", value_name = "SECS", value_parser = parse_secs)]
    call_secs: Duration,

    /// Time limit of pre-freeze
    #[arg(long, default_value = "3", value_name = "SECS", value_parser = parse_secs)]
    pre_freeze_secs: Duration,

    /// Time limit of pre-stop; the platform allows 90
    #[arg(long, default_value = "3", value_name = "SECS", value_parser = parse_secs)]
    pre_stop_secs: Duration,

    /// Time limit from SIGTERM to the exit
    #[arg(long, default_value = "10", value_name = "SECS", value_parser = parse_secs)]
    term_secs: Duration,

    /// The target as a command with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    words: Vec<String>,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Calls before the first freeze
    #[arg(long, default_value_t = 2, value_name = "N")]
    calls: usize,

    /// How often to freeze
    #[arg(long, default_value_t = 1, value_name = "N")]
    freezes: usize,

    /// Length of a freeze
    #[arg(long, default_value = "1", value_name = "SECS", value_parser = parse_secs)]
    freeze_secs: Duration,

    /// Make HTTP calls of this method and path instead of events, e.g. `GET /orders`
    #[arg(long, value_name = "METHOD PATH", value_parser = parse_http)]
    http: Option<(String, String)>,

    /// Print one JSON document and no timeline
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Check only these: names of checks, rules, or beginnings of rules (C-STOP)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    only: Vec<String>,

    /// Leave these out
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    skip: Vec<String>,

    /// How to show the findings
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// Count a broken "should" as a violation too
    #[arg(long)]
    pub strict: bool,

    /// Length of a freeze: longer than any time limit that the target has
    #[arg(long, default_value = "7", value_name = "SECS", value_parser = parse_secs)]
    freeze_secs: Duration,

    /// How long a connection is left idle
    #[arg(long, default_value = "7", value_name = "SECS", value_parser = parse_secs)]
    idle_secs: Duration,

    /// Size of the largest event
    #[arg(long, default_value_t = 32 * 1024 * 1024, value_name = "BYTES")]
    large_bytes: usize,

    /// A harmless HTTP call
    #[arg(long, default_value = "GET /", value_name = "METHOD PATH", value_parser = parse_http)]
    http: (String, String),

    /// The function takes no events: check with its HTTP call instead
    #[arg(long)]
    http_only: bool,

    /// The URL of the HTTP start-up check, if one is configured
    #[arg(long, value_name = "PATH")]
    health: Option<String>,

    /// An event that the function answers as failed
    #[arg(long, value_name = "FILE")]
    fail_event: Option<PathBuf>,

    /// The target also works with web server mode off
    #[arg(long)]
    job: bool,

    /// Checks at once
    #[arg(long, default_value = "4", value_name = "N", value_parser = parse_jobs)]
    jobs: usize,
}

/// A set of hooks, as one argument.
#[derive(Clone, Debug)]
struct Hooks(BTreeSet<Hook>);

impl TargetArgs {
    fn setup(&self) -> Result<Setup> {
        Ok(Setup {
            spec: self.spec()?,
            settings: Settings {
                generation: if self.fc3 { Generation::Fc3 } else { Generation::Fc2 },
                control_path: !self.no_control_path,
                hooks: self.hooks.0.clone(),
                initialize_secs: self.initialize_secs.as_secs_f64().ceil() as u64,
                invoke_secs: self.call_secs.as_secs_f64().ceil() as u64,
            },
            freeze_method: self.freeze_by,
            port: self.port,
            env: self.env.clone(),
            limits: Limits {
                ready: self.ready_secs,
                initialize: self.initialize_secs,
                call: self.call_secs,
                pre_freeze: self.pre_freeze_secs,
                pre_stop: self.pre_stop_secs,
                term: self.term_secs,
            },
        })
    }

    fn spec(&self) -> Result<Spec> {
        let words = self.words.clone();
        match (&self.image, self.addr) {
            (Some(name), _) => Ok(Spec::Image { name: name.clone(), args: words }),
            (None, Some(addr)) if words.is_empty() => Ok(Spec::Addr(addr)),
            (None, Some(_)) => Err(Error::new("give either --addr or a command, not both")),
            (None, None) if words.is_empty() => {
                Err(Error::new("give a target: `-- COMMAND ARGS`, `--image NAME` or `--addr HOST:PORT`"))
            }
            (None, None) => Ok(Spec::Command(words)),
        }
    }

    fn event(&self) -> Result<Vec<u8>> {
        match &self.event {
            Some(path) => read(path),
            None => Ok(br#"{"key":"value"}"#.to_vec()),
        }
    }
}

impl RunArgs {
    /// The life to live.
    ///
    /// # Errors
    /// When there is no target or a file cannot be read.
    pub fn plan(&self) -> Result<lifecycle_run::Plan> {
        Ok(lifecycle_run::Plan {
            setup: self.target.setup()?,
            event: self.target.event()?,
            http: self.http.clone(),
            calls: self.calls,
            concurrency: self.target.concurrency,
            freezes: self.freezes,
            freeze: self.freeze_secs,
        })
    }
}

impl CheckArgs {
    /// What to check.
    ///
    /// # Errors
    /// When there is no target or a file cannot be read.
    pub fn plan(&self) -> Result<check::Plan> {
        Ok(check::Plan {
            setup: self.target.setup()?,
            event: self.target.event()?,
            fail_event: self.fail_event.as_ref().map(read).transpose()?,
            http_method: self.http.0.clone(),
            http_path: self.http.1.clone(),
            http_only: self.http_only,
            health_path: self.health.clone(),
            freeze: self.freeze_secs,
            idle: self.idle_secs,
            large_bytes: self.large_bytes,
            concurrency: self.target.concurrency,
            job: self.job,
            jobs: self.jobs,
            only: self.only.clone(),
            skip: self.skip.clone(),
        })
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|cause| Error::failed("read", path.display(), cause))
}

fn parse_addr(text: &str) -> std::result::Result<SocketAddr, String> {
    let mut addrs = text.to_socket_addrs().map_err(|cause| cause.to_string())?;
    addrs.next().ok_or_else(|| "no such host".to_owned())
}

fn parse_env(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it must be NAME=VALUE".to_owned()),
    }
}

fn parse_hooks(text: &str) -> std::result::Result<Hooks, String> {
    if text == "none" {
        return Ok(Hooks(BTreeSet::new()));
    }
    let hook = |name: &str| {
        let named = Hook::ALL.into_iter().find(|hook| &hook.path()[1..] == name);
        named.ok_or_else(|| format!("`{name}` is none of initialize, pre-freeze, pre-stop"))
    };
    text.split(',').map(hook).collect::<std::result::Result<_, _>>().map(Hooks)
}

fn parse_secs(text: &str) -> std::result::Result<Duration, String> {
    const LONGEST: f64 = 24.0 * 3600.0;
    match text.parse::<f64>() {
        Ok(secs) if (0.0..=LONGEST).contains(&secs) => Ok(Duration::from_secs_f64(secs)),
        _ => Err("it must be a number of seconds, at most a day".to_owned()),
    }
}

/// What the platform allows (C-INV-7).
fn parse_concurrency(text: &str) -> std::result::Result<usize, String> {
    parse_count(text, 200)
}

fn parse_jobs(text: &str) -> std::result::Result<usize, String> {
    parse_count(text, 64)
}

fn parse_count(text: &str, max: usize) -> std::result::Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=max).contains(count));
    count.ok_or_else(|| format!("it must be a whole number from 1 to {max}"))
}

fn parse_http(text: &str) -> std::result::Result<(String, String), String> {
    let (method, path) = text.split_once(' ').unwrap_or(("GET", text));
    if method.eq_ignore_ascii_case("HEAD") {
        return Err("an answer to HEAD has no body to tell by; use GET".to_owned());
    }
    let good = !method.is_empty()
        && method.bytes().all(|b| b.is_ascii_alphabetic())
        && path.starts_with('/')
        && path.bytes().all(|b| b.is_ascii_graphic());
    good.then(|| (method.to_owned(), path.to_owned())).ok_or_else(|| "it must be like `GET /path`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn hooks_and_calls() {
        let plan = check_plan(&["--hooks", "pre-stop,initialize", "--http", "POST /a?b", "--", "x"]).unwrap();
        assert_eq!(plan.setup.settings.hooks, BTreeSet::from([Hook::Initialize, Hook::PreStop]));
        assert_eq!((plan.http_method.as_str(), plan.http_path.as_str()), ("POST", "/a?b"));
        assert!(check_plan(&["--hooks", "none", "--", "x"]).unwrap().setup.settings.hooks.is_empty());
        for wrong in [["--hooks", "prestop"], ["--http", "GET x"], ["--freeze-secs", "-1"], ["--env", "=x"]] {
            assert!(check_plan(&[&wrong[..], &["--", "x"]].concat()).is_err(), "{wrong:?}");
        }
    }
}
