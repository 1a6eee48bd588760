//! The commands, one file each.

mod attach;
mod detach;
mod inspect;
mod parser;
mod unfold;

use clap::Subcommand;

pub(crate) use self::parser::Checked;

use crate::failure::Result;
use crate::terminal::Terminal;

/// What kpeel can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Inspect(inspect::Inspect),
    Unfold(unfold::Unfold),
    Attach(attach::Attach),
    Detach(detach::Detach),
    Parser(parser::Parser),
}

impl Command {
    /// Does it.
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        match self {
            Self::Inspect(command) => command.run(terminal),
            Self::Unfold(command) => command.run(terminal),
            Self::Attach(command) => command.run(terminal),
            Self::Detach(command) => command.run(terminal),
            Self::Parser(command) => command.run(terminal),
        }
    }
}
