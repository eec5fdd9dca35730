//! The adapter: a program, the loop that passes calls on to it, and the process around both.
//!
//! [`proxy`] holds the loop over the trait in [`system`]. What a call means, how a head changes on its way and how a
//! body is framed is decided in `crate::adapter`, without I/O.

mod accepting;
mod calls;
mod client_side;
mod hooks;
mod kept;
mod peers;
mod program_side;
mod proxy;
mod replies;
mod slab;
mod stages;
pub(crate) mod system;

use crate::adapter::environment;
use crate::adapter::program::Signal;
use crate::adapter::settings::Settings;
use crate::config::{Config, Listen};
use crate::server::eprint_line;
use crate::server::logger::{init_logging, warn_of_unread_variables};
use crate::server::sys::process::{self, Streams};
use crate::server::sys::program::Sides;
use crate::server::sys::signals;
use crate::start_error::StartError;
use proxy::Proxy;
use std::ffi::CString;
use std::mem::ManuallyDrop;
use std::process::ExitCode;

/// Starts a program and serves in front of it until it has ended. Returns the program's exit code; 2 for a wrong
/// setting, 126 or 127 for a program that cannot be executed.
pub fn run(config: Config, settings: Settings, words: Vec<CString>) -> ExitCode {
    init_logging();
    warn_of_unread_variables(true);
    match start(config, settings, &words) {
        Ok(code) => ExitCode::from(code),
        Err((error, code)) => {
            eprint_line(format_args!("fc-hooks: {error}"));
            ExitCode::from(code)
        }
    }
}

const FAILED: u8 = 1;
const MISUSED: u8 = 2;

fn start(config: Config, mut settings: Settings, words: &[CString]) -> Result<u8, (StartError, u8)> {
    settings.check(&config).map_err(|error| (error, MISUSED))?;
    config.limits.check().map_err(|error| (error.into(), MISUSED))?;
    let failed = |action: &str| {
        let action = action.to_owned();
        move |error: std::io::Error| (StartError::io(action, &error), FAILED)
    };
    if let Listen::Tcp(address) = &mut settings.program
        && address.port() == 0
    {
        address.set_port(process::free_port().map_err(|error| failed("find a free port")(error.into()))?);
    }
    let name = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    let environment = environment::of_program(process::inherited_environment(), &settings.program);
    let system = Sides::new(config.listen.clone(), config.socket_mode, &settings.program)
        .map_err(failed("prepare the connections"))?;
    process::adopt_orphans();
    let child = process::spawn(words, &environment, Streams::Inherited)
        .map_err(|error| process::cannot_execute(&words[0], error))?;
    signals::forward_to(child.pid).map_err(failed("handle signals"))?;
    // The process ends behind it: taking it to pieces would be bytes and time for nothing.
    let mut proxy = ManuallyDrop::new(Proxy::new(system, config, settings, child.pid, environment));
    let outcome = proxy.run();
    // Workers of a program that has ended must not outlive the instance.
    process::signal_group(child.pid, Signal::Kill);
    if let Some(line) = proxy.last_words(&name) {
        eprint_line(format_args!("fc-hooks: {line}"));
    }
    outcome.map_err(|error| (error, FAILED))
}
