//! Completions for shells and manual pages, made from the definition of the command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::error::{Error, Result};

/// The name of the command.
const NAME: &str = env!("CARGO_PKG_NAME");

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsArgs {
    /// The script.
    pub fn script(&self) -> Vec<u8> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), NAME, &mut script);
        if self.shell == Shell::Bash { mended(script) } else { script }
    }
}

/// clap_complete 4.6 spells a name with a hyphen in two ways in its script for Bash, which then completes nothing after
/// the command.
fn mended(script: Vec<u8>) -> Vec<u8> {
    let script = String::from_utf8_lossy(&script);
    script.replace(&NAME.replace('-', "__subcmd__"), &NAME.replace('-', "__")).into_bytes()
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The command that the page is about [default: fc-emulator itself]
    command: Option<String>,
}

impl ManArgs {
    /// The page.
    ///
    /// # Errors
    /// If there is no such command.
    pub fn page(&self) -> Result<Vec<u8>> {
        let mut root = Cli::command().disable_help_subcommand(true);
        root.build();
        let command = match &self.command {
            None => root,
            Some(name) => match root.find_subcommand(name) {
                Some(command) => command.clone().version(env!("CARGO_PKG_VERSION")),
                None => return Err(Error::new(format!("there is no command `{name}`: `{NAME} --help` lists them"))),
            },
        };
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        Ok(page)
    }
}
