//! `kpeel parser`.

mod check;
mod export;
mod link;
mod list;

pub(crate) use self::check::Checked;

use clap::{Args, Subcommand};

use crate::failure::Result;
use crate::terminal::Terminal;

/// List, export, link and check parsers
///
/// A parser is a BPF program that opens one boot format. It travels as a carrier, an ELF object
/// with a light skeleton, which is also what stands in an image's section `.bpf`.
#[derive(Args, Debug)]
pub(crate) struct Parser {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(list::List),
    Export(export::Export),
    Link(link::Link),
    Check(check::Check),
}

impl Parser {
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        match &self.action {
            Action::List(action) => action.run(terminal),
            Action::Export(action) => action.run(terminal),
            Action::Link(action) => action.run(terminal),
            Action::Check(action) => action.run(terminal),
        }
    }
}
