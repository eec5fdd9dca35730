//! What the adapter's loop needs of the operating system beyond what a server needs.

use crate::adapter::program::{Exit, Signal};
use crate::function::lifecycle::Machine;
use crate::server::system::System;
use crate::start_error::StartError;
use rustix::io::Errno;
use std::ffi::CString;

/// The system calls towards the program and the commands of hooks.
pub(crate) trait AdapterSystem: System {
    /// Has the kernel complete connections on the platform's port. The loop waits for the listener from now on.
    fn listen(&mut self) -> Result<(), StartError>;
    /// A new connection to the program, perhaps still being made: then writing says `AGAIN`, or how it failed.
    fn connect(&mut self) -> Result<Self::Socket, Errno>;
    /// How making a connection has failed, if it has.
    fn take_error(&mut self, socket: &Self::Socket) -> Result<(), Errno>;
    /// Whether the connection is made.
    fn is_connected(&mut self, socket: &Self::Socket) -> bool;
    /// Reads into `buffer`; 0 means that nothing more comes.
    fn read_into(&mut self, socket: &Self::Socket, buffer: &mut [u8]) -> Result<usize, Errno>;
    /// Whether neither bytes nor an end wait to be read. Changes nothing.
    fn is_quiet(&mut self, socket: &Self::Socket) -> bool;
    /// Waits report nothing more of this socket until it is registered again.
    fn park(&mut self, socket: &Self::Socket);

    /// What tells whether the process was restored elsewhere.
    fn machine(&self) -> Machine;

    /// Starts a command of a hook. Returns its number and the reading end of its output.
    fn spawn(&mut self, words: &[CString], environment: &[CString]) -> Result<(i32, Option<Self::Socket>), Errno>;
    fn signal_group(&mut self, pid: i32, signal: Signal);
    /// A child that has ended, whoever started it.
    fn reap(&mut self) -> Option<(i32, Exit)>;
}
