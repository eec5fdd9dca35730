//! Tries to break a server.
//!
//! - [`attack`]: slow, greedy and broken clients by the thousand, a healthy client beside them.
//! - [`freezes`]: freezes at random moments under load.
//! - [`soak`]: load, misbehaving clients and freezes for minutes.
//!
//! The last two are the same [`trial`] with other measures. Instances that are attacked are started and pinned to
//! processors by the harness of `fc-bench`, because the healthy client measures beside the attack.

pub mod attack;
pub mod cli;
pub mod freezes;
pub mod soak;
pub mod trial;
