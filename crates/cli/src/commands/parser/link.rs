//! `kpeel parser link`.

use std::path::PathBuf;

use clap::Args;

use crate::atomic;
use crate::failure::{Failure, Result};
use crate::input;
use crate::terminal::Terminal;

/// Make a carrier of a parser object
///
/// OBJ is a relocatable BPF object with a program for `bpf_handle_pefile`, as kpeel-parser-kit
/// describes it. The same object always gives the same carrier.
#[derive(Args, Debug)]
pub(crate) struct Link {
    /// The object; - is standard input
    #[arg(value_name = "OBJ")]
    object: PathBuf,

    /// Where the carrier goes; it appears complete or not at all
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Link {
    pub(crate) fn run(&self, _terminal: &mut Terminal) -> Result<()> {
        let object = input::read_parser(&self.object)?;
        let carrier = kpeel_lskel::link(&object).map_err(|error| Failure {
            path: Some(self.object.display().to_string()),
            cause: error.into(),
        })?;
        atomic::write(&self.output, &carrier)
    }
}
