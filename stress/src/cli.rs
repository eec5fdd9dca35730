//! The command line.

use clap::{Parser, Subcommand};

use crate::{at_reply, attack, freezes, soak};

/// Tries to break a server: attacks, freezes at random moments, soak tests.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Attack a server: slow, greedy and broken clients by the thousand, a healthy one beside them.
    ///
    /// Exits with 0 if no healthy call was lost, memory kept to its bound and everything was as before in the end, 1 if
    /// not, 2 if it could not be tried.
    #[command(args_override_self = true)]
    Attack(attack::Args),
    /// Freeze a function that counts its callbacks at random moments under load: nothing may be lost.
    ///
    /// Exits with 0 without a fault, 1 with one, 2 if it could not be tried.
    #[command(args_override_self = true)]
    Freezes(freezes::Args),
    /// Freeze the inspector at the moment of a reply, or in the middle of a large call: it must notice each freeze.
    ///
    /// Exits with 0 if no freeze was missed, 1 if one was, 2 if it could not be tried.
    #[command(args_override_self = true)]
    FreezeAtReply(at_reply::Args),
    /// Load, misbehaving clients and freezes for minutes: nothing may be lost, and nothing may pile up.
    ///
    /// Exits as `freezes` does.
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
