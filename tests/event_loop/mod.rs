//! The loop over simulated kernels: each rule in a world without chance, all of them in worlds from a seed.

mod rules;
mod sim;
mod world;
