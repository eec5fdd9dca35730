//! The logger. A failure is never silent: whoever has none gets errors and warnings on standard error, with
//! `env_logger` or without.

use crate::config;
use crate::platform::variables;
use crate::server::sys;

/// Sets up the logger, unless the author has set up another one.
#[inline(never)]
pub(crate) fn init_logging() {
    if log::max_level() == log::LevelFilter::Off {
        set_logger();
    }
}

/// Warns of each variable that has one of our names and that nobody reads. The adapter reads more than the server.
#[cold]
#[inline(never)]
pub(crate) fn warn_of_unread_variables(has_program: bool) {
    sys::environment::for_each_with_prefix(variables::OURS, &mut |variable| {
        let Some(name) = config::misspelt(variable) else { return };
        #[cfg(feature = "adapter")]
        if crate::adapter::config::is_setting(name) {
            if !has_program {
                log::warn!("{name} means nothing here: it is for a program behind --");
            }
            return;
        }
        log::warn!("no setting has the variable {name}");
    });
    // Without the adapter there is no program.
    let _ = has_program;
}

#[cfg(feature = "env_logger")]
fn set_logger() {
    if std::env::var(env_logger::DEFAULT_FILTER_ENV).is_ok() {
        let _ = env_logger::try_init();
    } else if log::set_logger(&LATE_LOGGER).is_ok() {
        log::set_max_level(DEFAULT_LEVEL);
    }
}

/// The level if `RUST_LOG` is not set. Most instances never log a warning.
const DEFAULT_LEVEL: log::LevelFilter = log::LevelFilter::Warn;

/// The logger if `RUST_LOG` is not set. It is made with the first record, because that takes as many instructions as
/// everything else between the exec and the first wait.
#[cfg(feature = "env_logger")]
struct LateLogger(std::sync::OnceLock<env_logger::Logger>);

#[cfg(feature = "env_logger")]
static LATE_LOGGER: LateLogger = LateLogger(std::sync::OnceLock::new());

#[cfg(feature = "env_logger")]
impl log::Log for LateLogger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= DEFAULT_LEVEL
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.get_or_init(|| env_logger::Builder::new().filter_level(DEFAULT_LEVEL).build()).log(record);
        }
    }

    fn flush(&self) {}
}

#[cfg(not(feature = "env_logger"))]
use small::set_logger;

/// The logger without `env_logger`: one line for each record, in one write. It reads the same variable in the same way.
#[cfg(any(test, not(feature = "env_logger")))]
mod small;
