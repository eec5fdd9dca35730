//! The loop over simulated kernels: each rule in a world without chance, all rules in worlds from a seed.

mod drawings;
mod rules;
mod sim;
mod world;
