//! The server: a listener, a loop, and the process around them.
//!
//! [`event_loop`] holds the loop over the trait in [`system`], so that tests drive it with sockets and clocks of their
//! own; [`sys`] has the real system calls. Two state machines decide what happens: [`accept`] and [`connection`]. The
//! meaning of a call is not known here.

mod accept;
#[cfg(feature = "adapter")]
pub(crate) mod adapter;
mod awake_clock;
mod buffers;
#[cfg(feature = "adapter")]
pub(crate) mod client;
mod connection;
mod connection_table;
mod drain;
mod event_loop;
mod eviction;
mod handlers;
pub(crate) mod logger;
pub(crate) mod stopper;
pub(crate) mod sys;
mod system;

use crate::config::{Config, Listen};
use crate::function::app::App;
use crate::function::context::Env;
use crate::function::exchange;
use crate::function::lifecycle::{ClockReading, Machine};
use crate::platform::{markers, variables};
use crate::start_error::StartError;
use rustix::io::Errno;
use std::io::{self, Write};
use std::time::{Instant, SystemTime};

/// A server that listens and does not serve yet.
///
/// It handles SIGTERM, SIGINT and SIGCONT for the whole process, so a process has one server at a time.
///
/// [`run`](crate::run) makes one as the environment says. Make one yourself to listen somewhere else, or to know the
/// address before the first call.
///
/// ```no_run
/// # use fc_hooks::{App, Config, Route, Server};
/// static APP: App<()> = App::new(&[Route::invoke(|_, _, _| Ok("done".into()))]);
///
/// let server = Server::bind(Config::new().listen("127.0.0.1:0")?)?;
/// println!("listening on {}", server.address());
/// server.run(&APP, ())?;
/// # Ok::<(), fc_hooks::StartError>(())
/// ```
pub struct Server {
    system: sys::unix::Unix,
    address: Listen,
    config: Config,
}

impl Server {
    /// Listens. From now on the kernel completes connections, and calls wait for [`Server::run`].
    ///
    /// # Errors
    /// The address is in use, not of this machine, or not permitted; the process has no descriptor left; a limit is
    /// outside the range that [`Limits::NAMES`](crate::Limits::NAMES) gives.
    // Out of line, so that what it needs is off the stack while the server serves.
    #[inline(never)]
    pub fn bind(config: Config) -> Result<Server, StartError> {
        config.limits.check()?;
        let listener = sys::listen::Listener::open(&config.listen, config.socket_mode)
            .map_err(|error| StartError::io(format_args!("listen on {}", config.listen), &error))?;
        let address =
            listener.address(&config.listen).map_err(|error| StartError::io("read the listener's address", &error))?;
        let system = sys::unix::Unix::new(listener).map_err(|error| StartError::io("wait for connections", &error))?;
        Ok(Server { system, address, config })
    }

    /// The address that it listens on. With port 0 in the configuration, the kernel has chosen the port.
    pub fn address(&self) -> &Listen {
        &self.address
    }

    /// A handle that stops this server from another thread, or from a callback.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn stopper(&self) -> Result<stopper::Stopper, StartError> {
        match self.system.stop_requester() {
            Ok(requester) => Ok(stopper::Stopper(requester)),
            Err(error) => Err(StartError::io("make a handle that stops the server", &error)),
        }
    }

    /// Serves until SIGTERM, SIGINT or [`Stopper::stop`](crate::Stopper::stop), then finishes what is in progress, runs
    /// pre-stop if the platform did not call it, and returns. A second signal ends the process at once, with 128 plus
    /// the signal's number.
    ///
    /// Everything happens on the calling thread, callbacks included.
    ///
    /// # Errors
    /// The kernel or a sandbox refuses the system call that waits for connections. Pre-stop has run then, too.
    pub fn run<S>(self, app: &'static App<S>, state: S) -> Result<(), StartError> {
        logger::init_logging();
        let mut server = Some(self.into_loop(app, state));
        let outcome = server.as_mut().map_or(Ok(()), event_loop::Loop::run);
        drop_with_state(&mut server);
        outcome.map_err(|error| {
            StartError::io(format_args!("wait for connections by {}", sys::Poller::WAIT), &error.into())
        })
    }

    // Out of line, so that what it needs is off the stack while the server serves.
    #[inline(never)]
    fn into_loop<S>(self, app: &'static App<S>, state: S) -> event_loop::Loop<S, sys::unix::Unix> {
        let Server { system, config, .. } = self;
        let dispatcher = exchange::dispatcher(app, state, &config, PROCESS_ENV);
        event_loop::Loop::new(system, dispatcher, config.limits, config.call_markers)
    }
}

/// Drops what holds the author's state. Its destructor is the author's code too; if it panics, the panic itself says
/// so on standard error. In place, because each move of the server would be a copy of it on the stack.
pub(crate) fn drop_with_state<T>(holder: &mut Option<T>) {
    let _ = crate::function::panic::catch_panic(|| *holder = None);
}

/// The clocks and the stop flag of the process, for the pure core.
pub(crate) const PROCESS_ENV: Env = Env {
    now,
    cancelled: sys::signals::stop_requested,
    machine: Machine { raw: sys::machine::raw_clock, place: sys::machine::place },
};

fn now() -> ClockReading {
    ClockReading { instant: Instant::now(), wall: SystemTime::now() }
}

/// Says on standard output that the server waits for calls.
// Out of line for the same reason as `bind`.
#[inline(never)]
pub(crate) fn announce(address: &Listen) {
    let mut lines = format!("fc-hooks: listening on {address}\n");
    if std::env::var_os(variables::FUNCTION_NAME).is_some_and(|name| !name.is_empty()) {
        lines.push_str(markers::RUNTIME_INITED);
    }
    // The server works the same if nobody can read this.
    let _ = print(lines.as_bytes());
}

/// Prints to standard output in one write, without a buffer.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Errno> {
    sys::stdout::note(bytes);
    sys::unix::write_all(rustix::stdio::stdout(), bytes)
}

/// Writes out what callbacks have printed, so that the server's own lines come behind it.
pub(crate) fn flush_output() -> Result<(), Errno> {
    io::stdout().flush().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// Prints to standard error in one write. A failure is ignored: there is no other place to report it.
pub(crate) fn eprint_line(message: std::fmt::Arguments<'_>) {
    let _ = sys::unix::write_all(rustix::stdio::stderr(), format!("{message}\n").as_bytes());
}
