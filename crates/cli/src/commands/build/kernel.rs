//! The kernel that goes into an image.

use std::path::Path;

use kpeel_envelope::pe::Pe;
use kpeel_image::uki::{uname_of, unpack_kernel};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::input;
use crate::terminal::Terminal;

/// Reads the kernel at `path`, a PE image: every kernel that goes into an image comes through here.
pub(super) fn read(path: &Path, terminal: &mut Terminal) -> Result<Vec<u8>> {
    let kernel = unpacked(path, terminal)?;
    Pe::parse(&kernel).map_err(|error| Failure::envelope(path.display().to_string(), error))?;
    Ok(kernel)
}

/// What the file holds, unpacked if it is packed as a whole.
fn unpacked(path: &Path, terminal: &mut Terminal) -> Result<Vec<u8>> {
    let file = input::file(path, input::Kind::Image)?;
    let unpacked = unpack_kernel(&file).map_err(|error| codec_failure(path, &error))?;
    let Some(codec) = unpacked.codec else {
        return Ok(file);
    };
    let kernel = unpacked.kernel.into_owned();
    terminal.note(&format!("{}: unpacked ({codec})", path.display()));
    Ok(kernel)
}

/// What the kernel, read from `path`, says `uname -r` is.
pub(super) fn release(
    path: &Path,
    kernel: &[u8],
    terminal: &mut Terminal,
) -> Result<Option<String>> {
    let release = uname_of(kernel).map_err(|error| codec_failure(path, &error))?;
    if release.is_none() {
        let path = path.display();
        terminal.note(&format!("{path}: tells no release, so there is no .uname"));
    }
    Ok(release)
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
