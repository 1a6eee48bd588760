//! `kpeel parser export`.

use std::path::PathBuf;

use clap::Args;

use crate::atomic;
use crate::failure::{Failure, Result};
use crate::terminal::Terminal;

/// Write the carrier of a parser that comes with kpeel
///
/// Any tool that adds PE sections can attach it, such as `ukify --section .bpf:@FILE`.
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// One of `kpeel parser list`
    #[arg(value_name = "NAME")]
    name: String,

    /// Where it goes; standard output, unless that is a terminal
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Export {
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        let Some(bundled) = kpeel_parsers::by_name(&self.name) else {
            let known: Vec<_> = kpeel_parsers::BUNDLED
                .iter()
                .map(|parser| parser.name)
                .collect();
            let (name, known) = (&self.name, known.join(", "));
            return Err(Failure::usage(format!(
                "NAME: found \"{name}\", needed one of: {known}"
            )));
        };
        match &self.output {
            Some(path) => atomic::write(path, bundled.carrier),
            None if terminal.is_interactive() => {
                let needed =
                    "--output: found none and standard output is a terminal, needed a file";
                Err(Failure::usage(needed))
            }
            None => terminal.result(bundled.carrier),
        }
    }
}
