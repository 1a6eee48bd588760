//! `kpeel unload`.

use std::path::Path;

use clap::Args;
use kpeel_kexec::{Call, Status};

use crate::failure::{Failure, Result};
use crate::load::{Has, unload, unload_failure};

/// Unload the loaded kernel; that none is loaded is no error
#[derive(Args, Debug)]
pub(crate) struct Unload {
    /// Unloads the crash kernel instead
    #[arg(long)]
    pub(crate) crash: bool,
}

impl Unload {
    pub(crate) fn run(&self) -> Result<()> {
        let has = Has::running();
        if !has.file && !has.segments {
            return Err(Failure::system(NEITHER));
        }
        // Either call unloads what either has loaded.
        let call = if has.file { Call::File } else { Call::Segments };
        unload(call, self.crash).map_err(|error| {
            let status = Status::read(Path::new("/")).unwrap_or_default();
            unload_failure(&error, &status, self.crash)
        })
    }
}

const NEITHER: &str = "the running kernel is built without kexec_file_load (CONFIG_KEXEC_FILE) and \
     without kexec_load (CONFIG_KEXEC)";
