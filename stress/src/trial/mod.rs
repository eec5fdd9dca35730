//! One trial: an instance under load, its freezes and its end, and everything that is checked on the way.
//!
//! What must hold: every call is answered once, correctly and in order; no connection is closed and no limit fires,
//! though many freezes are longer than all limits; one thaw callback runs for each freeze that left evidence.
//!
//! `run` is the whole, with its checks; `driver` freezes by the `plan` and judges what the callbacks counted; `load`
//! holds the honest clients, each on a [`SlowClient`], by the [`AwakeClock`]; `session` holds the instance; `watch`
//! looks at memory, descriptors and threads, and `trend` says whether something grows; `report` tells.

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
pub use options::{CommonArgs, LIMIT, limits, parse_method};
pub use plan::Rhythm;
pub use report::text;
pub use run::{GROWTH_KB_MAX, Misbehaving, Plan, Report, Until, run};
pub use session::{Session, Start};
pub use slow_client::SlowClient;
pub use trend::{Regression, Trend};
pub use watch::{Sample, Watch};
