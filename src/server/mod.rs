//! The server: a listener, a loop, and the process around them.
//!
//! [`event_loop`] holds the loop over the trait in [`system`], so that tests drive it with sockets and clocks of their
//! own; [`sys`] has the real system calls. What a call means is not known here.

mod awake_clock;
mod connection_table;
mod event_loop;
pub(crate) mod sys;
mod system;

use crate::config::{Config, Listen};
use crate::function::app::App;
use crate::function::context::Env;
use crate::function::dispatch::Dispatcher;
use crate::function::lifecycle::{ClockReading, Machine};
use crate::start_error::StartError;
use rustix::io::Errno;
use std::io::{self, Write};
use std::time::{Instant, SystemTime};

/// A server that listens and does not serve yet.
///
/// It takes SIGTERM, SIGINT and SIGCONT over for the whole process, so a process has one server at a time.
///
/// [`run`](crate::run) does all of this by the environment; use it directly to listen somewhere else, or to know the
/// address before the first call.
///
/// ```no_run
/// # use fc_hooks::{App, Config, Route, Server};
/// static APP: App<()> = App::new(&[Route::invoke(|_, _, _| Ok("done".into()))]);
///
/// let mut config = Config::default();
/// config.listen = "127.0.0.1:0".parse()?;
/// let server = Server::bind(config)?;
/// println!("listening on {}", server.address());
/// server.run(&APP, ());
/// # Ok::<(), fc_hooks::StartError>(())
/// ```
pub struct Server {
    os: sys::unix::Unix,
    address: Listen,
    config: Config,
}

impl Server {
    /// Listens. From here on the kernel completes connections, and calls wait for [`Server::run`].
    ///
    /// # Errors
    /// The address is in use, not ours, or not permitted; the process has no descriptor left; a limit is outside the
    /// range that [`Limits::NAMES`](crate::Limits::NAMES) gives.
    pub fn bind(config: Config) -> Result<Server, StartError> {
        config.limits.check().map_err(|error| StartError::new(error.to_string()))?;
        let listener = sys::listen::Listener::open(&config.listen)
            .map_err(|error| StartError::io(format_args!("listen on {}", config.listen), &error))?;
        let address =
            listener.address(&config.listen).map_err(|error| StartError::io("read the listener's address", &error))?;
        let os = sys::unix::Unix::new(listener).map_err(|error| StartError::io("wait for connections", &error))?;
        Ok(Server { os, address, config })
    }

    /// Where it listens; with port 0 in the configuration, the port that was free.
    pub fn address(&self) -> &Listen {
        &self.address
    }

    /// Serves until SIGTERM or SIGINT, then finishes what is in hand, runs pre-stop if the platform did not call it,
    /// and returns. A second signal ends the process at once, with 128 plus the signal's number.
    ///
    /// Everything happens on the calling thread, callbacks included.
    pub fn run<S>(self, app: &'static App<S>, state: S) {
        let Server { os, config, .. } = self;
        let mut service = Dispatcher::new(app, state, PROCESS_ENV);
        if config.health_path.is_some() {
            service.health_path = config.health_path;
        }
        service.control_path_required |= config.control_path_required;
        let mut server = event_loop::Loop::new(os, service, config.limits, config.call_markers);
        server.run();
        // The state's destructor is the author's code too; what it panics with is said by the panic itself.
        let _ = crate::function::panic::catch_panic(|| drop(server));
    }
}

/// What the process lends to the pure core.
pub(crate) const PROCESS_ENV: Env = Env {
    now,
    cancelled: sys::signals::stop_requested,
    machine: Machine { raw: sys::machine::raw_clock, place: sys::machine::place },
};

fn now() -> ClockReading {
    ClockReading { instant: Instant::now(), wall: SystemTime::now() }
}

/// Prints to standard output in one write; nothing stays buffered.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Errno> {
    sys::unix::write_all(rustix::stdio::stdout(), bytes)
}

/// Sends on what callbacks have printed, so that what we print comes behind it.
pub(crate) fn flush_output() -> Result<(), Errno> {
    io::stdout().flush().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// Prints to standard error in one write. If it cannot be written there is nobody left to tell.
pub(crate) fn eprint_line(message: std::fmt::Arguments<'_>) {
    let _ = sys::unix::write_all(rustix::stdio::stderr(), format!("{message}\n").as_bytes());
}
