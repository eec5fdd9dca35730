//! Tries to break a server.
//!
//! - [`attack`]: thousands of slow, greedy and broken clients, and a healthy client beside them.
//! - [`freezes`]: freezes at random moments under load.
//! - [`at_reply`]: freezes at the moment of a reply, and in the middle of a large call.
//! - [`soak`]: load, misbehaving clients and freezes for minutes.
//!
//! [`freezes`] and [`soak`] run the same [`trial`] with different plans. The harness of `fc-bench` starts the instances
//! of the other two and pins them to processors, because their clients need a processor of their own.

pub mod at_reply;
pub mod attack;
pub mod cli;
pub mod freezes;
pub mod soak;
pub mod trial;
