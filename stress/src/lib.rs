//! Tries to break a server.
//!
//! - [`attack`]: slow, greedy and broken clients by the thousand, a healthy client beside them.
//! - [`freezes`]: freezes at random moments under load.
//! - [`at_reply`]: freezes at the moment of a reply, and in the middle of a large call.
//! - [`soak`]: load, misbehaving clients and freezes for minutes.
//!
//! [`freezes`] and [`soak`] are the same [`trial`] with other measures. Instances that are attacked are started and pinned to
//! processors by the harness of `fc-bench`, because the healthy client measures beside the attack.

pub mod at_reply;
pub mod attack;
pub mod cli;
pub mod freezes;
pub mod soak;
pub mod trial;
