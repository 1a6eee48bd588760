//! Files the command reads.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use kpeel_envelope::limits::{Limits, Meter};
use kpeel_sandbox::Buffer;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::terminal::Terminal;

/// Largest carrier or parser object read; real ones are some KiB.
const PARSER_MAX: u64 = 16 << 20;

/// Which bound a file has to keep.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A boot image.
    Image,
    /// An initrd of the caller's.
    Initrd,
}

/// Reads an image or initrd; `-` is standard input.
pub(crate) fn read(
    path: &Path,
    kind: Kind,
    meter: &Arc<Meter>,
    progress: &mut Progress,
) -> Result<Buffer> {
    let (file, len) = open(path)?;
    let limits: &Limits = meter.limits();
    let (bound, allowed) = match kind {
        Kind::Image => ("image", limits.image),
        Kind::Initrd => ("initrd", limits.initrd),
    };
    progress.begin(format!("reading {}", path.display()), len);
    Buffer::read(file, bound, allowed, meter, &mut |part| {
        progress.advance(part.len() as u64)
    })
    .map_err(|error| Failure::envelope(path.display().to_string(), error))
}

/// Reads an image that nothing is run on, under the default limits.
pub(crate) fn image(path: &Path, terminal: &mut Terminal) -> Result<Buffer> {
    let meter = Arc::new(Meter::new(Limits::default()));
    read(path, Kind::Image, &meter, terminal.progress())
}

/// Reads a file that goes into an image into memory once; `-` is standard input.
pub(crate) fn file(path: &Path, kind: Kind) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    append(path, kind, &mut bytes)?;
    Ok(bytes)
}

/// Reads such a file behind what `bytes` holds.
pub(crate) fn append(path: &Path, kind: Kind, bytes: &mut Vec<u8>) -> Result<()> {
    let limits = Limits::default();
    let (bound, allowed) = match kind {
        Kind::Image => ("image", limits.image),
        Kind::Initrd => ("initrd", limits.initrd),
    };
    let (file, len) = open(path)?;
    let failed = |error| Failure::io(path, "read", error);
    // One byte more, so that the end is seen without growing; files in /proc tell no length.
    let room = len.unwrap_or(0).min(allowed).saturating_add(1);
    bytes.reserve_exact(usize::try_from(room).unwrap_or(0));
    let before = bytes.len();
    let room = allowed.saturating_add(1);
    file.take(room).read_to_end(bytes).map_err(failed)?;
    let read = bytes.len().saturating_sub(before) as u64;
    Limits::check(bound, read, allowed)
        .map_err(|error| Failure::envelope(path.display().to_string(), error))
}

/// Reads a file of text.
pub(crate) fn text(path: &Path) -> Result<String> {
    let bytes = file(path, Kind::Initrd)?;
    String::from_utf8(bytes).map_err(|_| {
        Failure::told(Exit::Image, "malformed: found other bytes, needed UTF-8").of(path)
    })
}

/// Reads a carrier or a parser object; `-` is standard input.
pub(crate) fn read_parser(path: &Path) -> Result<Vec<u8>> {
    read_bounded(path, "parser file size", PARSER_MAX)
}

/// Reads a file to its end, whatever size it says it has; `-` is standard input.
pub(crate) fn read_bounded(path: &Path, bound: &'static str, max: u64) -> Result<Vec<u8>> {
    let (file, _) = open(path)?;
    let mut bytes = Vec::new();
    let limited = file.take(max.saturating_add(1)).read_to_end(&mut bytes);
    limited.map_err(|error| Failure::io(path, "read", error))?;
    Limits::check(bound, bytes.len() as u64, max)
        .map_err(|error| Failure::envelope(path.display().to_string(), error))?;
    Ok(bytes)
}

fn open(path: &Path) -> Result<(Box<dyn Read>, Option<u64>)> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let file = File::open(path).map_err(|error| Failure::io(path, "open", error))?;
    let data = file
        .metadata()
        .map_err(|error| Failure::io(path, "open", error))?;
    if data.is_dir() {
        return Err(Failure::io(
            path,
            "read",
            io::ErrorKind::IsADirectory.into(),
        ));
    }
    let len = data.is_file().then_some(data.len());
    Ok((Box::new(file), len))
}
