//! One trial: an instance under load, its freezes and its end, and all checks on the way.
//!
//! These must hold: every call is answered once, correctly and in order. No connection is closed and no limit fires,
//! although many freezes are longer than all limits. One thaw callback runs for each freeze that left evidence.
//!
//! The modules: `run` runs the trial and checks it; `driver` freezes by the `plan` and checks the counts of the
//! callbacks; `load` has the honest clients, each on a [`SlowClient`], with the [`AwakeClock`]; `session` holds the
//! instance; `watch` records memory, descriptors and threads, and `trend` decides whether something grows; `report`
//! shows the result.

mod awake_clock;
mod driver;
mod load;
mod options;
mod plan;
mod report;
mod run;
mod session;
mod slow_client;
mod trend;
mod watch;

pub use awake_clock::AwakeClock;
pub use load::{Load, PATIENCE, get, post};
pub use options::{CommonArgs, LIMIT, limits};
pub use plan::Rhythm;
pub use run::{GROWTH_KB_MAX, Misbehaving, Plan, Report, Until, run};
pub use session::{Session, Start};
pub use slow_client::SlowClient;
pub use trend::{Regression, Trend};
pub use watch::{Sample, Watch};
