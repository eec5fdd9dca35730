//! Stops a server from elsewhere.

use crate::server::sys::signals::StopRequester;
use std::fmt;

/// Stops a [`Server`](crate::Server) in order, as SIGTERM does, from any thread or from a callback.
/// [`Server::stopper`](crate::Server::stopper) makes one.
///
/// ```
/// # use fc_hooks::{App, Config, Route, Server};
/// static APP: App<()> = App::new(&[Route::invoke(|_, _, _| Ok("done".into()))]);
///
/// let server = Server::bind(Config::new().listen("127.0.0.1:0")?)?;
/// let stopper = server.stopper()?;
/// let helper = std::thread::spawn(move || {
///     // Calls go here.
///     stopper.stop();
/// });
/// server.run(&APP, ()); // returns after the stop
/// helper.join().unwrap();
/// # Ok::<(), fc_hooks::StartError>(())
/// ```
pub struct Stopper(pub(super) StopRequester);

impl Stopper {
    /// Asks the server to stop: it finishes what is in progress, runs pre-stop if the platform did not call it, and
    /// [`Server::run`](crate::Server::run) returns. Returns at once. A repeat changes nothing, and a server that has
    /// ended is not affected. It counts as the first signal, so a SIGTERM after it ends the process at once.
    pub fn stop(&self) {
        self.0.request();
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}
