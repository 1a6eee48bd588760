//! The commands, one file each.

mod attach;
mod build;
mod detach;
mod entries;
mod exec;
mod inspect;
mod load;
mod measure;
mod parser;
mod sign;
mod status;
mod unfold;
mod unload;
mod verify;

use clap::Subcommand;

pub(crate) use self::exec::{Exec, systemd};
pub(crate) use self::load::bundled;
pub(crate) use self::parser::Checked;
pub(crate) use self::unload::Unload;
#[cfg(feature = "trust")]
pub(crate) use self::verify::Verified;

use crate::failure::Result;
use crate::terminal::Terminal;

/// What kpeel can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Inspect(inspect::Inspect),
    Unfold(unfold::Unfold),
    Attach(attach::Attach),
    Detach(detach::Detach),
    Measure(measure::Measure),
    Build(build::Build),
    Sign(sign::Sign),
    Verify(verify::Verify),
    Parser(parser::Parser),
    Load(load::Load),
    Exec(exec::Exec),
    Unload(unload::Unload),
    Status(status::Status),
    Entries(entries::Entries),
    #[command(name = crate::load::CHILD, hide = true)]
    OpenConfined,
}

impl Command {
    /// Does it.
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        match self {
            Self::Inspect(command) => command.run(terminal),
            Self::Unfold(command) => command.run(terminal),
            Self::Attach(command) => command.run(terminal),
            Self::Detach(command) => command.run(terminal),
            Self::Measure(command) => command.run(terminal),
            Self::Build(command) => command.run(terminal),
            Self::Sign(command) => command.run(terminal),
            Self::Verify(command) => command.run(terminal),
            Self::Parser(command) => command.run(terminal),
            Self::Load(command) => command.run(terminal),
            Self::Exec(command) => command.run(),
            Self::Unload(command) => command.run(),
            Self::Status(command) => command.run(terminal),
            Self::Entries(command) => command.run(terminal),
            Self::OpenConfined => crate::load::open_confined(),
        }
    }
}
