//! The command line.

use clap::{Parser, Subcommand};

use crate::{at_reply, attack, freezes, soak};

/// Tries to break a server: attacks, freezes at random moments, soak tests.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// The command to carry out.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Attack a server with thousands of slow, greedy and broken clients while a healthy client uses it
    ///
    /// Exits with 0 if no healthy call was lost, memory kept its bound, and the state at the end is that of the
    /// beginning; with 1 if not; and with 2 if the test could not run.
    #[command(args_override_self = true)]
    Attack(attack::Args),
    /// Freeze a function at random moments under load: no call may be lost
    ///
    /// The function must count its callbacks. Exits with 0 if there was no fault, with 1 if there was one, and with 2
    /// if the test could not run.
    #[command(args_override_self = true)]
    Freezes(freezes::Args),
    /// Freeze the inspector at the moment of a reply or in the middle of a large call: it must notice each freeze
    ///
    /// Exits with 0 if no freeze was missed, with 1 if one was, and with 2 if the test could not run.
    #[command(args_override_self = true)]
    FreezeAtReply(at_reply::Args),
    /// Run load, misbehaving clients and freezes for minutes: no call may be lost, and memory may not grow
    ///
    /// Exits with the same statuses as `freezes`.
    #[command(args_override_self = true)]
    Soak(soak::Args),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
