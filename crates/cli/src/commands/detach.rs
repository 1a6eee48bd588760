//! `kpeel detach`.

use std::path::PathBuf;

use clap::Args;
use kpeel_image::DetachOptions;

use crate::atomic;
use crate::failure::{Failure, Result};
use crate::input;
use crate::terminal::Terminal;

/// Take the parser out of a PE image
///
/// An unsigned image to which `kpeel attach` added the parser becomes byte for byte what it was
/// before. From other images the section is taken out and the rest closes up.
#[derive(Args, Debug)]
pub(crate) struct Detach {
    /// The image; - is standard input
    #[arg(value_name = "IMAGE")]
    image: PathBuf,

    /// Where the new image goes; it appears complete or not at all
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,

    /// Drops the signatures of a signed image, which would not survive
    #[arg(long)]
    drop_signature: bool,
}

impl Detach {
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        let image = input::image(&self.image, terminal)?;
        let options = DetachOptions {
            drop_signature: self.drop_signature,
        };
        let detached = kpeel_image::detach(image.as_ref(), options)
            .map_err(|error| Failure::envelope(self.image.display().to_string(), error))?;
        atomic::write(&self.output, &detached)
    }
}
