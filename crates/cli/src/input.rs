//! Files the command reads.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
#[cfg(feature = "trust")]
use std::sync::mpsc;

use kpeel_envelope::limits::{Limits, Meter};
#[cfg(feature = "trust")]
use kpeel_sandbox::read_chunk;
use kpeel_sandbox::{Buffer, read_onto};

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
    let (bound, allowed) = kind.bound(meter.limits());
    progress.begin(format!("reading {}", path.display()), len);
    let mut observe = |part: &[u8]| progress.advance(part.len() as u64);
    Buffer::read(file, len, bound, allowed, meter, &mut observe)
        .map_err(|error| Failure::envelope(path.display().to_string(), error))
}

/// Reads an image while its digest is made; `-` is standard input.
#[cfg(feature = "trust")]
pub(crate) fn read_hashed(
    path: &Path,
    hash: kpeel_trust::Hash,
    meter: &Arc<Meter>,
    progress: &mut Progress,
) -> Result<(Buffer, kpeel_trust::Reading)> {
    let (file, len) = open(path)?;
    let (bound, allowed) = Kind::Image.bound(meter.limits());
    progress.begin(format!("reading {}", path.display()), len);
    let mut observe = |part: &[u8]| progress.advance(part.len() as u64);
    let len = len.unwrap_or(0);
    Buffer::read_beside(file, len, bound, allowed, meter, &mut observe, |parts| {
        let mut reading = kpeel_trust::Reading::new(hash);
        parts.for_each(|part| reading.update(part));
        reading
    })
    .map_err(|error| Failure::envelope(path.display().to_string(), error))
}

impl Kind {
    /// Name and size of the bound.
    pub(crate) const fn bound(self, limits: &Limits) -> (&'static str, u64) {
        match self {
            Self::Image => ("image", limits.image),
            Self::Initrd => ("initrd", limits.initrd),
        }
    }
}

/// Reads an image that nothing is run on, under the default limits.
pub(crate) fn image(path: &Path, terminal: &mut Terminal) -> Result<Buffer> {
    let meter = Arc::new(Meter::new(Limits::default()));
    read(path, Kind::Image, &meter, terminal.progress())
}

/// Reads an image that is not kept, and makes its digests. `None` when it has to be read whole: it
/// is no regular file, or its headers or its certificate table are longer than any real ones.
#[cfg(feature = "trust")]
pub(crate) fn pass_to_verify(
    path: &Path,
    hashes: &[kpeel_trust::Hash],
    terminal: &mut Terminal,
) -> Result<Option<kpeel_trust::Outline>> {
    if gives_once(path) {
        return Ok(None);
    }
    let (mut file, Some(len)) = open(path)? else {
        return Ok(None);
    };
    let progress = terminal.progress();
    progress.begin(format!("reading {}", path.display()), Some(len));
    let mut passing = kpeel_trust::Passing::to_verify(hashes);
    // By one thread: reading is so little of the work that another, from whose cache the bytes would
    // have to come, takes more time than it saves.
    let (give_back, used) = mpsc::channel();
    read_parts(&mut file, path, &used, &mut |part| {
        progress.advance(part.len() as u64);
        passing.update(&part);
        // At the end nobody wants it back.
        let _ = give_back.send(part);
        Ok(())
    })?;
    Ok(passing.finish())
}

/// As [`pass_to_verify`], while `each` gets the image part by part: the digests are made by a thread
/// beside.
#[cfg(feature = "trust")]
pub(crate) fn pass_to_sign(
    path: &Path,
    hashes: &[kpeel_trust::Hash],
    terminal: &mut Terminal,
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Option<kpeel_trust::Outline>> {
    /// Parts on the way to the thread.
    const WAITING: usize = 2;
    if gives_once(path) {
        return Ok(None);
    }
    let (mut file, Some(len)) = open(path)? else {
        return Ok(None);
    };
    let progress = terminal.progress();
    progress.begin(format!("reading {}", path.display()), Some(len));
    let outline = std::thread::scope(|scope| {
        let (send, receive) = mpsc::sync_channel::<Arc<Vec<u8>>>(WAITING);
        let (give_back, used) = mpsc::channel();
        let work = move || {
            let mut passing = kpeel_trust::Passing::to_sign(hashes);
            for part in receive {
                passing.update(&part);
                // At the end nobody wants it back.
                let _ = give_back.send(part);
            }
            passing
        };
        let worker = std::thread::Builder::new()
            .spawn_scoped(scope, work)
            .map_err(|error| Failure::io(path, "read", error))?;
        let read = read_parts(&mut file, path, &used, &mut |part| {
            progress.advance(part.len() as u64);
            // It is gone only if it panics, which is told below.
            let _ = send.send(Arc::clone(&part));
            each(&part)
        });
        drop(send);
        let passing = worker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.map(|()| passing.finish())
    })?;
    Ok(outline)
}

/// Reads a file to its end in parts, the first large enough for all headers. Those that come back in
/// `used` are filled again: memory that is new each time costs more than the reading.
#[cfg(feature = "trust")]
fn read_parts(
    mut file: &mut dyn Read,
    path: &Path,
    used: &mpsc::Receiver<Arc<Vec<u8>>>,
    each: &mut dyn FnMut(Arc<Vec<u8>>) -> Result<()>,
) -> Result<()> {
    /// So much that all parts stay in a processor's caches.
    const SIZE: usize = 256 << 10;
    let (bound, allowed) = Kind::Image.bound(&Limits::default());
    let mut total = 0_u64;
    loop {
        let old = used.try_recv().ok().and_then(Arc::into_inner);
        let mut part = old.unwrap_or_else(|| vec![0; SIZE]);
        let read =
            read_chunk(&mut file, &mut part).map_err(|error| Failure::io(path, "read", error))?;
        part.truncate(read);
        total = total.saturating_add(read as u64);
        Limits::check(bound, total, allowed)
            .map_err(|error| Failure::envelope(path.display().to_string(), error))?;
        each(Arc::new(part))?;
        if read < SIZE {
            return Ok(());
        }
    }
}

/// Reads a file that goes into an image into memory once; `-` is standard input.
pub(crate) fn file(path: &Path, kind: Kind) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    append(path, kind, &mut bytes)?;
    Ok(bytes)
}

/// Reads such a file behind what `bytes` holds.
pub(crate) fn append(path: &Path, kind: Kind, bytes: &mut Vec<u8>) -> Result<()> {
    let (bound, allowed) = kind.bound(&Limits::default());
    let (file, len) = open(path)?;
    let mut read: u64 = 0;
    let room = len.unwrap_or(0).min(allowed);
    read_onto(bytes, file, room, &mut |part| {
        read = read.saturating_add(part.len() as u64);
        Limits::check(bound, read, allowed)
    })
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
    let (file, len) = open_file(path)?;
    Ok((Box::new(file), len))
}

/// Whether a path may give what it has only once, as standard input and a pipe do. A pipe that is
/// opened, closed and opened again has lost its writer, and waits for another.
pub(crate) fn gives_once(path: &Path) -> bool {
    // What is not there, and a directory, is told by whoever opens it.
    let is_other = |data: fs::Metadata| !data.is_file() && !data.is_dir();
    path.as_os_str() == "-" || fs::metadata(path).is_ok_and(is_other)
}

/// Opens a file; with its size if it is a regular one.
pub(crate) fn open_file(path: &Path) -> Result<(File, Option<u64>)> {
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
    Ok((file, len))
}

#[cfg(all(test, feature = "trust"))]
mod tests {
    use std::io::{Cursor, Read, Result};
    use std::path::Path;
    use std::sync::mpsc;

    use super::read_parts;

    /// Gives a few bytes at a time, as a pipe may.
    struct Trickle(Cursor<Vec<u8>>);

    impl Read for Trickle {
        fn read(&mut self, room: &mut [u8]) -> Result<usize> {
            let len = room.len().min(100_001);
            self.0.read(room.get_mut(..len).unwrap_or_default())
        }
    }

    #[test]
    fn parts_are_the_file_whatever_its_length() {
        const PART: usize = 256 << 10;
        for len in [0, 1, PART - 1, PART, PART + 1, 3 * PART] {
            let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let (give_back, used) = mpsc::channel();
            let mut all = Vec::new();
            let mut file = Trickle(Cursor::new(bytes.clone()));
            read_parts(&mut file, Path::new("image"), &used, &mut |part| {
                all.extend_from_slice(&part);
                give_back.send(part).unwrap();
                Ok(())
            })
            .unwrap();
            assert!(all == bytes, "{len} bytes");
        }
    }
}
