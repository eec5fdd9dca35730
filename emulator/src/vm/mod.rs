//! Real freezes of a virtual machine with the target in it.
//!
//! A guest is a kernel of the distribution, one initramfs, and QEMU. The target runs as process 1 of a namespace of its
//! own, as in a container, and its port is forwarded on loopback. [`Guest::freeze`] stops the guest as a platform of
//! virtual machines does, and shows that it stands. [`Guest::lag`] has the word of the guest's own clocks afterwards.
//! [`Guest::restore`] makes copies of one snapshot, which run at once; [`draw`] compares what they draw. [`matrix`]
//! tries every way on one program.
//!
//! # What it needs
//!
//! QEMU, a static busybox and a kernel ([`requirements`]), and no right but to read them: the network is QEMU's own.
//! [`Method::Criu`] needs `criu` and `ldd` too. A guest takes 256 MiB and starts in 4 to 9 s under emulation.
//!
//! # What it was tried with
//!
//! QEMU 7.2.22 (Debian 12), by emulation alone, on a host with kernel 6.18; busybox 1.35.0; the kernels
//! 6.1.0-56-cloud-amd64 (6.1.192) and 6.12.117+deb12-cloud-amd64 of Debian as guests; CRIU 3.17.1 in both. Hardware
//! virtualisation was not tried: the host had none.
//!
//! # What is seen from the target
//!
//! - The peer of a call is 10.0.2.2, QEMU's gateway, and the target's own address is 10.0.2.15.
//! - QEMU accepts a connection before the target does. If nobody listens in the guest, it hangs up afterwards.
//! - A connection outlives every method but [`Method::VmSnapshot`], and bytes that are sent during the freeze arrive at
//!   the thaw. A restore in a new QEMU loses it: the guest still has its end, and the new QEMU knows nothing of it.
//!   [`Method::Criu`] refuses to save a process with an open connection.
//! - The emulator's own agent sleeps in the guest. It runs for some milliseconds when a guest is frozen, because the
//!   guest's clocks are read just before.

mod agent;
mod clones;
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
pub use clones::draw;
pub use criu::available as requires_criu;
pub use guest::{Guest, Method, Proof, Snapshot};
pub use kernel::Kernel;
pub use machine::{ClockSource, Options, Rtc};
pub use program::Program;
pub(crate) use tools::in_path;
pub use tools::{Accel, Missing, Tools, kernel_folder, requirements};
