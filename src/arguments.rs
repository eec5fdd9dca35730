//! The binary's command line: what its arguments and its environment ask for. Arguments override the environment.
//!
//! Pure. Belongs to the binary; the library compiles it only for tests and the fuzzer, which try arguments of any kind.

use crate::adapter::{ClientCall, Settings, TIME_FORM};
use crate::{Config, Limit, Limits, StartError};
use lexopt::prelude::*;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

const ABOUT: &str = "\
fc-hooks: lifecycle hooks for serverless containers, in one thread

Usage: fc-hooks [OPTIONS] -- PROGRAM [ARGUMENTS]
       fc-hooks call initialize|pre-freeze|pre-stop|METHOD /PATH
                     [--timeout TIME] [--port PORT | --unix PATH]
       fc-hooks [OPTIONS]

The first starts the program, listens in its place, and gives it hooks; its
settings are the last ones below. The second calls an instance in the same
container and prints the body of the answer; its exit code is 0 for a status
from 200 to 399, else 1. The third serves the inspector: hooks answer OK, events
are echoed, and every other call answers a JSON document with the request and
the life of the instance.

Options:
";

const ABOUT_ADAPTER: &str = "\nOptions of a program behind `--`; TIME is 500ms, 3s or 2m:\n";

/// In front of the variable that holds an event, and behind it.
const OTHER_OPTIONS: &str = concat!(
    "\n  -h, --help\n      print this help\n",
    "  -V, --version\n      print the version\n",
    "\nOther variables:\n  ",
);
const OTHER_VARIABLES: &str = "
      event to handle instead of serving (web server mode off); a program
      behind `--` takes the place of this one
  RUST_LOG
      log level, on standard error [default: warn]

Exit codes: 0 stopped in order; 1 cannot listen or wait; 2 misuse; 126 the
program cannot be executed; 127 there is no such program; 128 + n second signal
n; else that of the program
";

const VERSION: &str = concat!("fc-hooks ", env!("CARGO_PKG_VERSION"), "\n");

/// What the arguments ask for. The settings that belong to it are in [`Settings`] and [`Config`].
pub(crate) enum Command {
    /// Serve the inspector.
    Inspect,
    /// Serve hooks for a program, which is given with its arguments.
    Adapt(Vec<CString>),
    /// Call a server of this machine.
    Call(ClientCall),
    /// Text to print, and nothing else.
    Print(String),
}

/// What the environment says, and then the options. What is wrong in the environment counts only where the setting
/// does.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) config: Config,
    pub(crate) settings: Settings,
    pub(crate) bad_config: Option<StartError>,
    pub(crate) bad_settings: Option<StartError>,
}

impl Given {
    #[cold]
    #[inline(never)]
    pub(crate) fn from_environment(
        config: Result<Config, StartError>,
        settings: Result<Settings, StartError>,
    ) -> Given {
        let (mut given, config, settings) = (Given::default(), config, settings);
        match config {
            Ok(config) => given.config = config,
            Err(error) => given.bad_config = Some(error),
        }
        match settings {
            Ok(settings) => given.settings = settings,
            Err(error) => given.bad_settings = Some(error),
        }
        given
    }
}

/// The error is a sentence for people. The arguments come first: `--help` works in a bad environment too.
#[cold]
#[inline(never)]
pub(crate) fn parse(arguments: &mut lexopt::Parser, given: &mut Given) -> Result<Command, String> {
    let mut option_of_adapter = None;
    let mut is_first = true;
    let program = loop {
        if let Some(program) = program(arguments) {
            break program;
        }
        match arguments.next().map_err(text)? {
            None => break Vec::new(),
            Some(Short('h') | Long("help")) => return Ok(Command::Print(help())),
            Some(Short('V') | Long("version")) => return Ok(Command::Print(VERSION.to_owned())),
            Some(Value(word)) if is_first && word == "call" => return call(arguments, given),
            Some(Value(word)) => return Err(unexpected_word(&word)),
            Some(Long(name)) => {
                let name = name.to_owned();
                if let Some(text) = option(arguments, given, &name, &mut option_of_adapter)? {
                    return Ok(Command::Print(text));
                }
            }
            Some(argument) => return Err(unexpected(argument)),
        }
        is_first = false;
    };
    if program.first().is_some_and(|name| name.is_empty()) {
        return Err("no program stands behind --".to_owned());
    }
    let bad = given.bad_config.take().or_else(|| given.bad_settings.take().filter(|_| !program.is_empty()));
    match (bad, option_of_adapter) {
        (Some(error), _) => Err(error.to_string()),
        (None, _) if !program.is_empty() => Ok(Command::Adapt(program)),
        (None, Some(name)) => Err(joined(&["--", name, " needs a program: write -- PROGRAM behind the options"])),
        (None, None) => Ok(Command::Inspect),
    }
}

/// Takes one option with its value. Returns a text that it asks for.
fn option(
    arguments: &mut lexopt::Parser,
    given: &mut Given,
    name: &str,
    option_of_adapter: &mut Option<&'static str>,
) -> Result<Option<String>, String> {
    let adapter = Settings::ROWS.iter().find(|row| row.name == name);
    let server = Config::SETTINGS.iter().find(|setting| setting.name == name);
    let form = match (adapter, server) {
        (Some(row), _) => row.value,
        (None, Some(setting)) => setting.value,
        (None, None) => return Err(unexpected(Long(name))),
    };
    let value = if form.is_empty() { "on".to_owned() } else { value(arguments)? };
    if name == "limit" && value == "help" {
        return Ok(Some(limits_help()));
    }
    let set = if adapter.is_some() { given.settings.set(name, &value) } else { given.config.set(name, &value) };
    if let Some(row) = adapter {
        *option_of_adapter = Some(row.name);
    }
    set.map(|()| None).map_err(|error| joined(&["--", name, ": ", &error.to_string()]))
}

/// The program behind `--` and its arguments, if they come next; one empty word if there is none.
fn program(arguments: &mut lexopt::Parser) -> Option<Vec<CString>> {
    let mut words = arguments.try_raw_args()?;
    words.next_if(|word| word == "--")?;
    let mut program = c_strings(&mut words);
    if program.is_empty() {
        program.push(CString::default());
    }
    Some(program)
}

/// The kernel hands arguments over as C strings.
pub(crate) fn c_strings(words: &mut dyn Iterator<Item = OsString>) -> Vec<CString> {
    words.filter_map(|word| CString::new(word.into_vec()).ok()).collect()
}

/// `call initialize`, `call GET /path`, with their options.
fn call(arguments: &mut lexopt::Parser, given: &mut Given) -> Result<Command, String> {
    let (mut words, mut timeout) = (String::new(), None);
    while let Some(argument) = arguments.next().map_err(text)? {
        let (setting, before) = match argument {
            Short('h') | Long("help") => return Ok(Command::Print(help())),
            Long("timeout") => {
                timeout = Some(value(arguments)?);
                continue;
            }
            Long("port") => ("port", ""),
            Long("unix") => ("listen", "unix:"),
            Value(word) => {
                let space = if words.is_empty() { "" } else { " " };
                push(&mut words, &[space, &word.to_string_lossy()]);
                continue;
            }
            argument => return Err(unexpected(argument)),
        };
        let place = joined(&[before, &value(arguments)?]);
        given.config.set(setting, &place).map_err(|error| joined(&["call: ", &error.to_string()]))?;
        // An instance elsewhere does not follow this environment.
        given.bad_config = None;
    }
    if let Some(error) = given.bad_config.take() {
        return Err(error.to_string());
    }
    let Some(mut call) = ClientCall::new(&words, &given.config.listen) else {
        return Err(joined(&["call: expected initialize, pre-freeze, pre-stop or METHOD /PATH, not '", &words, "'"]));
    };
    match timeout {
        Some(time) if !call.set_timeout(&time) => {
            Err(joined(&["--timeout: expected ", TIME_FORM, ", not '", &time, "'"]))
        }
        _ => Ok(Command::Call(call)),
    }
}

#[inline(never)]
fn joined(parts: &[&str]) -> String {
    let mut text = String::new();
    push(&mut text, parts);
    text
}

#[inline(never)]
fn value(arguments: &mut lexopt::Parser) -> Result<String, String> {
    arguments.value().and_then(|value| value.string()).map_err(text)
}

fn unexpected_word(word: &OsString) -> String {
    let end = "' (a program stands behind --; --help lists the options)";
    joined(&["unexpected argument '", &word.to_string_lossy(), end])
}

#[inline(never)]
fn unexpected(argument: lexopt::Arg<'_>) -> String {
    joined(&[&argument.unexpected().to_string(), " (--help lists the options)"])
}

/// As text at once: a boxed error would add the `Debug` of every kind of error to the binary.
fn text(error: lexopt::Error) -> String {
    error.to_string()
}

fn help() -> String {
    let mut help = ABOUT.to_owned();
    for setting in Config::SETTINGS {
        row(&mut help, [setting.name, setting.value, setting.meaning, setting.default], setting.variables);
    }
    help.push_str(ABOUT_ADAPTER);
    for setting in Settings::ROWS {
        row(&mut help, [setting.name, setting.value, setting.meaning, setting.default], &[setting.variable]);
    }
    push(&mut help, &[OTHER_OPTIONS, Config::EVENT_VARIABLE, OTHER_VARIABLES]);
    help
}

#[inline(never)]
fn row(help: &mut String, [name, value, meaning, default]: [&str; 4], variables: &[&str]) {
    let (before, after) = if default.is_empty() { ("", "") } else { (" [default: ", "]") };
    let space = if value.is_empty() { "" } else { " " };
    push(help, &["  --", name, space, value, "\n      ", meaning, before, default, after]);
    for variable in variables {
        push(help, &["\n      variable ", variable]);
    }
    help.push('\n');
}

/// `format!` would do the same in five times the bytes.
#[inline(never)]
fn push(out: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| out.push_str(part));
}

fn limits_help() -> String {
    let mut help =
        "Limits; each with its default. Bytes and counts are plain numbers, times are milliseconds awake:\n".to_owned();
    for Limit { name, meaning, min, max, default, .. } in Limits::NAMES {
        help.push_str(&format!("  {name}={default}\n      {meaning} [{min} to {max}]\n"));
    }
    help
}
