//! Files of a partition, which need not be what they should be.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::{Error, Result};

/// Most bytes of a file that is read as text: real ones have some hundred.
const TEXT_MAX: u64 = 1 << 20;

/// Reads a file of text.
///
/// # Errors
/// As [`open`]; [`Error::Malformed`] for one that is too long.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let (file, len) = open(path)?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too long, whatever size it says it has.
    file.take(TEXT_MAX.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(Error::read(path))?;
    let found = len.max(bytes.len() as u64);
    if found > TEXT_MAX {
        return Err(Error::Malformed {
            path: path.to_owned(),
            key: "size".to_owned(),
            found: format!("{found} bytes"),
            needed: "at most 1048576 bytes",
        });
    }
    Ok(bytes)
}

/// Opens a regular file; with its size. Nothing else is opened: a FIFO would wait for whoever writes
/// into it, and a device may act on it.
///
/// # Errors
/// [`Error::Read`]; [`Error::Malformed`] for what is no regular file.
pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    check(path, &fs::metadata(path).map_err(Error::read(path))?)?;
    // The name may stand for another file by now: opening that does not wait, and it is looked at too.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = File::options();
    let opened = options.read(true).custom_flags(flags).open(path);
    let file = opened.map_err(Error::read(path))?;
    let data = file.metadata().map_err(Error::read(path))?;
    check(path, &data)?;
    Ok((file, data.len()))
}

fn check(path: &Path, data: &Metadata) -> Result<()> {
    let kind = data.file_type();
    let found = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(Error::Malformed {
        path: path.to_owned(),
        key: "type".to_owned(),
        found: found.to_owned(),
        needed: "a regular file",
    })
}
