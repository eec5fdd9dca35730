//! The loop over a simulated kernel: sockets, clock and signals from a seed.

mod random;
mod rules;
mod world;
