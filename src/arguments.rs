//! The binary's command line: what its arguments and its environment ask for. Arguments override the environment.
//!
//! Pure. Belongs to the binary; the library compiles it only for tests and the fuzzer, which try arguments of any kind.

use crate::adapter::{ClientCall, Settings, TIME_FORM};
use crate::{Config, Limit, Limits, StartError};
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

/// The arguments behind the name of the binary.
type Words<'a> = &'a mut dyn Iterator<Item = OsString>;

/// The error is a sentence for people. The arguments come first: `--help` works in a bad environment too.
#[cold]
#[inline(never)]
pub(crate) fn parse(words: Words<'_>, given: &mut Given) -> Result<Command, String> {
    let (mut option_of_adapter, mut program, mut is_first) = (None, Vec::new(), true);
    while let Some(word) = words.next() {
        if word == "--" {
            program = c_strings(words);
            if program.first().is_none_or(|name| name.is_empty()) {
                return Err("no program stands behind --".to_owned());
            }
            break;
        }
        if std::mem::take(&mut is_first) && word == "call" {
            return call(words, given);
        }
        let given_option = GivenOption::of(word).map_err(|word| {
            joined(&["unexpected argument '", &word, "' (a program stands behind --; --help lists the options)"])
        })?;
        let text = match given_option.text() {
            None => option(given_option, words, given, &mut option_of_adapter)?,
            text => text,
        };
        if let Some(text) = text {
            return Ok(Command::Print(text));
        }
    }
    let bad = given.bad_config.take().or_else(|| given.bad_settings.take().filter(|_| !program.is_empty()));
    match (bad, option_of_adapter) {
        (Some(error), _) => Err(error.to_string()),
        (None, _) if !program.is_empty() => Ok(Command::Adapt(program)),
        (None, Some(name)) => Err(joined(&["--", name, " needs a program: write -- PROGRAM behind the options"])),
        (None, None) => Ok(Command::Inspect),
    }
}

/// An argument that begins with a dash.
struct GivenOption {
    /// With its dashes.
    name: String,
    /// What stands behind `=`.
    attached: Option<OsString>,
}

impl GivenOption {
    /// The option in a word; if it is none, the word.
    fn of(word: OsString) -> Result<GivenOption, String> {
        let mut bytes = word.into_vec();
        let mut attached = None;
        if bytes.starts_with(b"--")
            && let Some(equals) = bytes.iter().position(|byte| *byte == b'=')
        {
            attached = Some(OsString::from_vec(bytes.split_off(equals + 1)));
            bytes.truncate(equals);
        }
        let is_option = bytes.len() > 1 && bytes[0] == b'-';
        let name = OsString::from_vec(bytes).to_string_lossy().into_owned();
        if is_option { Ok(GivenOption { name, attached }) } else { Err(name) }
    }

    /// Options of one letter can follow.
    fn asks_for_help(&self) -> bool {
        matches!(self.name.as_bytes(), b"--help" | [b'-', b'h', ..])
    }

    /// The text that it asks for.
    fn text(&self) -> Option<String> {
        match self.name.as_bytes() {
            _ if self.asks_for_help() => Some(help()),
            b"--version" | [b'-', b'V', ..] => Some(VERSION.to_owned()),
            _ => None,
        }
    }

    fn value(self, words: Words<'_>) -> Result<String, String> {
        let Some(value) = self.attached.or_else(|| words.next()) else {
            return Err(joined(&["missing argument for option '", &self.name, "'"]));
        };
        value.into_string().map_err(|_| joined(&[&self.name, ": not UTF-8"]))
    }

    #[inline(never)]
    fn unknown(&self) -> String {
        joined(&["invalid option '", &self.name, "' (--help lists the options)"])
    }
}

/// Takes one option with its value. Returns a text that it asks for.
fn option(
    given_option: GivenOption,
    words: Words<'_>,
    given: &mut Given,
    option_of_adapter: &mut Option<&'static str>,
) -> Result<Option<String>, String> {
    let name = given_option.name.strip_prefix("--").unwrap_or_default();
    let adapter = Settings::ROWS.iter().find(|row| row.name == name);
    let server = Config::SETTINGS.iter().find(|setting| setting.name == name);
    let (name, form) = match (adapter, server) {
        (Some(row), _) => (row.name, row.value),
        (None, Some(setting)) => (setting.name, setting.value),
        (None, None) => return Err(given_option.unknown()),
    };
    let value = match given_option.attached {
        None if form.is_empty() => "on".to_owned(),
        Some(value) if form.is_empty() => {
            let value = value.to_string_lossy();
            return Err(joined(&["unexpected argument for option '", &given_option.name, "': \"", &value, "\""]));
        }
        _ => given_option.value(words)?,
    };
    if name == "limit" && value == "help" {
        return Ok(Some(limits_help()));
    }
    let set = if adapter.is_some() { given.settings.set(name, &value) } else { given.config.set(name, &value) };
    if adapter.is_some() {
        *option_of_adapter = Some(name);
    }
    set.map(|()| None).map_err(|error| joined(&["--", name, ": ", &error.to_string()]))
}

/// The kernel hands arguments over as C strings.
pub(crate) fn c_strings(words: &mut dyn Iterator<Item = OsString>) -> Vec<CString> {
    words.filter_map(|word| CString::new(word.into_vec()).ok()).collect()
}

/// `call initialize`, `call GET /path`, with their options.
fn call(words: Words<'_>, given: &mut Given) -> Result<Command, String> {
    let (mut what, mut timeout, mut has_options) = (String::new(), None, true);
    while let Some(word) = words.next() {
        if has_options && word == "--" {
            has_options = false;
            continue;
        }
        let option = if has_options { GivenOption::of(word) } else { Err(word.to_string_lossy().into_owned()) };
        let option = match option {
            Ok(option) => option,
            Err(word) => {
                let space = if what.is_empty() { "" } else { " " };
                push(&mut what, &[space, &word]);
                continue;
            }
        };
        let (setting, before) = match option.name.as_str() {
            _ if option.asks_for_help() => return Ok(Command::Print(help())),
            "--timeout" => {
                timeout = Some(option.value(words)?);
                continue;
            }
            "--port" => ("port", ""),
            "--unix" => ("listen", "unix:"),
            _ => return Err(option.unknown()),
        };
        let place = joined(&[before, &option.value(words)?]);
        given.config.set(setting, &place).map_err(|error| joined(&["call: ", &error.to_string()]))?;
        // An instance elsewhere does not follow this environment.
        given.bad_config = None;
    }
    if let Some(error) = given.bad_config.take() {
        return Err(error.to_string());
    }
    let Some(mut call) = ClientCall::new(&what, &given.config.listen) else {
        return Err(joined(&["call: expected initialize, pre-freeze, pre-stop or METHOD /PATH, not '", &what, "'"]));
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
