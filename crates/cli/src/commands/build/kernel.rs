//! The kernel that goes into an image.

use std::path::Path;

use kpeel_image::uki::{uname_of, unpack_kernel};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::input;
use crate::terminal::Terminal;

/// A kernel, ready to be placed.
pub(super) struct Kernel {
    /// The bytes that go into the image.
    pub(super) bytes: Vec<u8>,
    /// What it says `uname -r` is, unless the caller says it.
    pub(super) release: Option<String>,
}

/// Reads the kernel at `path`; `uname` is the release the caller gives it.
pub(super) fn read(path: &Path, uname: Option<&str>, terminal: &mut Terminal) -> Result<Kernel> {
    let file = input::file(path, input::Kind::Image)?;
    let blamed = |error| codec_failure(path, &error);
    let unpacked = unpack_kernel(&file).map_err(blamed)?;
    let bytes = match unpacked.codec {
        None => file,
        Some(codec) => {
            let bytes = unpacked.kernel.into_owned();
            terminal.note(&format!("{}: unpacked ({codec})", path.display()));
            bytes
        }
    };
    let release = match uname {
        Some(_) => None,
        None => uname_of(&bytes).map_err(blamed)?,
    };
    if uname.is_none() && release.is_none() {
        let path = path.display();
        terminal.note(&format!("{path}: tells no release, so there is no .uname"));
    }
    Ok(Kernel { bytes, release })
}

/// A codec's error, by blame.
pub(super) fn codec_failure(path: &Path, error: &kpeel_codec::Error) -> Failure {
    let exit = match error {
        kpeel_codec::Error::Limit { .. } => Exit::Refused,
        kpeel_codec::Error::Memory { .. } => Exit::System,
        _ => Exit::Image,
    };
    Failure::told(exit, error.to_string()).of(path)
}
