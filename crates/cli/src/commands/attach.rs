//! `kpeel attach`.

use std::path::PathBuf;

use clap::Args;
use kpeel_image::AttachOptions;

use crate::atomic;
use crate::failure::{Failure, Result};
use crate::input;
use crate::offer::Offer;
use crate::terminal::Terminal;

/// Add a parser to a PE image, as its section `.bpf`
///
/// The parser's section stands behind all others, in the file and in memory. Where the headers have
/// no room for its entry, section data move down by whole file alignments; the offsets that point
/// at them (symbols, debug data, zboot's payload) follow. Addresses in memory do not change. The
/// result is laid out such that a signature covers all of it; sign it afterwards.
#[derive(Args, Debug)]
pub(crate) struct Attach {
    /// The image; - is standard input
    #[arg(value_name = "IMAGE")]
    image: PathBuf,

    /// The parser: one of `kpeel parser list`, or a file with a carrier
    #[arg(long, value_name = "NAME|FILE")]
    parser: String,

    /// Where the new image goes; it appears complete or not at all
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,

    /// Drops the signatures of a signed image, which would not survive
    #[arg(long)]
    drop_signature: bool,

    /// Replaces a parser that the image carries
    #[arg(long)]
    replace: bool,
}

impl Attach {
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        let offer = Offer::named(&self.parser)?;
        let image = input::image(&self.image, terminal)?;
        let options = AttachOptions {
            drop_signature: self.drop_signature,
            replace: self.replace,
        };
        let attached = kpeel_image::attach(image.as_ref(), &offer.carrier, options)
            .map_err(|error| Failure::envelope(self.image.display().to_string(), error))?;
        atomic::write(&self.output, &attached)
    }
}
