//! Real freezes of a virtual machine with the target in it.
//!
//! A guest is a kernel of the distribution, one initramfs, and QEMU. The target runs as process 1 of a namespace of its
//! own, as in a container, and its port is forwarded on loopback. [`Guest::freeze`] stops the guest as a platform of
//! virtual machines does, and shows that it stands; [`Guest::lag`] has the word of the guest's own clocks afterwards.
mod agent;
mod cpio;
mod criu;
mod elf;
mod guest;
mod image;
mod kernel;
mod machine;
pub mod matrix;
mod program;
mod qmp;
mod tools;
mod vmm;

pub use agent::{Clocks, Lag};
pub use guest::{Guest, Method, Proof, Snapshot};
pub use kernel::Kernel;
pub use machine::{ClockSource, Options, Rtc};
pub use program::Program;
pub use tools::{Accel, Missing, Tools, kernel_folder, requirements};
