//! `kpeel build`.

mod config;
mod hardware;
mod initrd;
mod kernel;
mod sections;
mod signing;
mod uki;
#[cfg(feature = "native")]
mod zboot;

use clap::{Args, Subcommand};

use crate::failure::Result;
use crate::terminal::Terminal;

/// Build a boot image: a Unified Kernel Image or an EFI zboot kernel
///
/// The same inputs give the same bytes: nothing in an image tells when, where or by whom it was
/// built.
#[derive(Args, Debug)]
pub(crate) struct Build {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Uki(Box<uki::Uki>),
    // Encoders need a C compiler.
    #[cfg(feature = "native")]
    Zboot(zboot::Zboot),
}

impl Build {
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        match &self.what {
            What::Uki(what) => what.run(terminal),
            #[cfg(feature = "native")]
            What::Zboot(what) => what.run(terminal),
        }
    }
}
