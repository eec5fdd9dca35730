//! The binary's command line: whatever arguments it gets, with a good environment and a bad one.
//!
//! - A configuration comes out, a text, or a sentence that says what is wrong; never a panic.
//! - It is what a plain reading of the arguments one by one gives: `--name value` is `--name=value`, a later one counts
//!   over an earlier one, `--help` and `--version` count where they stand before any mistake.
//! - What is accepted holds what [`super::environment`] demands of any configuration.
//! - A bad environment is said only where the arguments are fine, and never in the way of help.

use super::environment;
use crate::arguments::{Command, parse};
use crate::{Config, StartError};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Arguments with NUL between them, as the kernel hands them over.
pub(super) fn run(input: &[u8]) {
    let arguments: Vec<&[u8]> = input.split(|&byte| byte == 0).collect();
    let plain = plainly(&arguments);
    let good = outcome(&arguments, Ok(Config::default()));
    match (&good, &plain) {
        (Outcome::Refused(sentence), Outcome::Refused(_)) => assert!(!sentence.is_empty()),
        _ => assert_eq!(good, plain, "{arguments:?}"),
    }
    let bad = outcome(&arguments, Err(StartError::about("FC_HOOKS_LIMITS", &"bad")));
    match good {
        Outcome::Runs(_) => assert_eq!(bad, Outcome::Refused("FC_HOOKS_LIMITS: bad".to_owned())),
        _ => assert_eq!(good, bad, "{arguments:?}"),
    }
}

#[derive(Debug, PartialEq)]
enum Outcome {
    /// How the configuration is shown.
    Runs(String),
    Prints(&'static str),
    Refused(String),
}

fn outcome(arguments: &[&[u8]], environment: Result<Config, StartError>) -> Outcome {
    let words = arguments.iter().map(|word| OsString::from_vec(word.to_vec()));
    let parser = lexopt::Parser::from_iter(std::iter::once(OsString::from("fc-hooks")).chain(words));
    match parse(parser, environment) {
        Ok(Command::Run(config)) => {
            environment::check(&config);
            Outcome::Runs(environment::shown(&config))
        }
        Ok(Command::Print(text)) => {
            let known = [("fc-hooks: ", "help"), ("fc-hooks 0", "version"), ("Limits; ", "limits")];
            let of = known.iter().find(|(start, _)| text.starts_with(start)).expect("one of the three texts");
            assert!(text.ends_with('\n'), "{text:?}");
            Outcome::Prints(of.1)
        }
        Err(sentence) => Outcome::Refused(sentence),
    }
}

/// The same by hand, without a parser.
fn plainly(arguments: &[&[u8]]) -> Outcome {
    let refused = || Outcome::Refused(String::new());
    let mut config = Config::default();
    let mut words = arguments.iter().copied();
    while let Some(word) = words.next() {
        let equals = word.iter().position(|&byte| byte == b'=').filter(|_| word.starts_with(b"--"));
        let (name, value) = equals.map_or((word, None), |at| (&word[..at], Some(&word[at + 1..])));
        let setting = match name {
            b"--help" | [b'-', b'h', ..] => return Outcome::Prints("help"),
            b"--version" | [b'-', b'V', ..] => return Outcome::Prints("version"),
            b"--require-control-path" if value.is_none() => {
                config.control_path_required = true;
                continue;
            }
            // Behind it there are no options.
            b"--" if value.is_none() && words.len() == 0 => break,
            b"--port" => "port",
            b"--listen" => "listen",
            b"--socket-mode" => "socket-mode",
            b"--limit" => "limit",
            b"--health-path" => "health-path",
            b"--hooks-from" => "hooks-from",
            b"--log-markers" => "log-markers",
            _ => return refused(),
        };
        let value = value.or_else(|| words.next()).map(std::str::from_utf8);
        match value {
            Some(Ok("help")) if setting == "limit" => return Outcome::Prints("limits"),
            Some(Ok(value)) if config.set(setting, value).is_ok() => {}
            _ => return refused(),
        }
    }
    Outcome::Runs(environment::shown(&config))
}
