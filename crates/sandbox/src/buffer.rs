//! Owned, shareable bytes that are charged to a load's meter while they live.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use kpeel_codec::advise_large_pages;
use kpeel_envelope::error::{Class, Error, Result};
use kpeel_envelope::limits::{Limits, Meter};

use crate::mapping::Sealed;

/// How much of a file is read at once.
const CHUNK: usize = 1 << 20;
const ENOMEM: i32 = 12;
const EIO: i32 = 5;

/// An immutable run of bytes. Clones and slices share it; its charge ends with the last of them.
#[derive(Clone)]
pub struct Buffer {
    bytes: Bytes,
}

/// Memory charged to a meter, given back on drop.
pub(crate) struct Charge {
    meter: Arc<Meter>,
    bytes: u64,
}

struct Charged<T> {
    data: T,
    _charge: Charge,
}

impl Buffer {
    /// Reads an image file once, from its position to its end, into memory of its own.
    ///
    /// The size is bounded by `limits().image` while reading, so a file that grows does not pass.
    /// Pipes and devices work like regular files.
    ///
    /// # Errors
    /// `Refused` over the bound or the memory limit, `System` when reading fails.
    pub fn from_file(file: impl Read, meter: &Arc<Meter>) -> Result<Self> {
        Self::read(
            file,
            None,
            "image",
            meter.limits().image,
            meter,
            &mut |_| {},
        )
    }

    /// As [`Buffer::from_file`], under a bound of the caller's choice; `len` is the size if it is
    /// known, and `observe` sees every byte in order as it is read, to draw a progress bar.
    ///
    /// # Errors
    /// As [`Buffer::from_file`]; `bound` is named in the refusal.
    pub fn read(
        file: impl Read,
        len: Option<u64>,
        bound: &'static str,
        allowed: u64,
        meter: &Arc<Meter>,
        observe: &mut dyn FnMut(&[u8]),
    ) -> Result<Self> {
        let mut charge = Charge::new(meter, 0)?;
        let mut bytes = Vec::new();
        read_onto(
            &mut bytes,
            file,
            len.unwrap_or(0).min(allowed),
            &mut |part| {
                charge.grow(part.len() as u64)?;
                Limits::check(bound, charge.bytes, allowed)?;
                observe(part);
                Ok(())
            },
        )?;
        // Of a pipe's growing room up to half was never used.
        bytes.shrink_to_fit();
        Ok(Self::owning(bytes, charge))
    }

    /// As [`Buffer::read`] for a file of `len` bytes, while `beside` works in a thread of its own on
    /// the parts of it that are read, in order: to hash them. Should the file turn out longer, it
    /// does not see the rest.
    ///
    /// # Errors
    /// As [`Buffer::read`].
    pub fn read_beside<T: Send>(
        mut file: impl Read,
        len: u64,
        bound: &'static str,
        allowed: u64,
        meter: &Arc<Meter>,
        observe: &mut dyn FnMut(&[u8]),
        beside: impl for<'p> FnOnce(&mut dyn Iterator<Item = &'p [u8]>) -> T + Send,
    ) -> Result<(Self, T)> {
        let len = usize::try_from(len.min(allowed)).map_err(|_| no_memory())?;
        let mut charge = Charge::new(meter, 0)?;
        let mut each = |part: &[u8]| {
            charge.grow(part.len() as u64)?;
            Limits::check(bound, charge.bytes, allowed)?;
            observe(part);
            Ok(())
        };
        let mut bytes = zeroed(len)?;
        advise_large_pages(&mut bytes, len as u64);
        let (filled, result) = std::thread::scope(|scope| {
            let (send, receive) = std::sync::mpsc::channel::<&[u8]>();
            let worker = std::thread::Builder::new()
                .spawn_scoped(scope, move || beside(&mut receive.into_iter()))
                .map_err(|error| told(&error, "thread", "the system starts none"))?;
            let filled = fill(&mut bytes, &mut file, &mut |part| {
                each(part)?;
                // A worker that has seen enough does not listen any more.
                let _ = send.send(part);
                Ok(())
            });
            drop(send);
            let result = worker.join();
            let result = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((filled?, result))
        })?;
        bytes.truncate(filled);
        if filled == len {
            read_onto(&mut bytes, file, 0, &mut each)?;
        }
        Ok((Self::owning(bytes, charge), result))
    }

    /// Maps a memfd that another process has filled and sealed against writing and shrinking.
    ///
    /// # Errors
    /// `System` for a file without these seals, `Refused` over the bound or the memory limit.
    pub fn from_sealed(
        file: &File,
        bound: &'static str,
        allowed: u64,
        meter: &Arc<Meter>,
    ) -> Result<Self> {
        let sealed = Sealed::map(file).map_err(|error| system("memfd map", &error))?;
        let Some(sealed) = sealed else {
            return Ok(Self::empty());
        };
        let len = sealed.as_ref().len() as u64;
        Limits::check(bound, len, allowed)?;
        Ok(Self::owning(sealed, Charge::new(meter, len)?))
    }

    /// Takes bytes that are in memory already.
    ///
    /// # Errors
    /// `Refused` when the meter does not allow them.
    pub fn from_vec(bytes: Vec<u8>, meter: &Arc<Meter>) -> Result<Self> {
        let charge = Charge::new(meter, bytes.capacity() as u64)?;
        Ok(Self::owning(bytes, charge))
    }

    /// The bytes, to share without a copy.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A part of something charged already.
    pub(crate) fn part(bytes: Bytes) -> Self {
        Self { bytes }
    }

    fn empty() -> Self {
        Self {
            bytes: Bytes::new(),
        }
    }

    fn owning<T: AsRef<[u8]> + Send + 'static>(data: T, charge: Charge) -> Self {
        Self {
            bytes: Bytes::from_owner(Charged {
                data,
                _charge: charge,
            }),
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.bytes.len())
    }
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Charged<T> {
    fn as_ref(&self) -> &[u8] {
        self.data.as_ref()
    }
}

impl Charge {
    pub(crate) fn new(meter: &Arc<Meter>, bytes: u64) -> Result<Self> {
        meter.charge(bytes)?;
        Ok(Self {
            meter: Arc::clone(meter),
            bytes,
        })
    }

    fn grow(&mut self, bytes: u64) -> Result<()> {
        self.meter.charge(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.meter.release(self.bytes);
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Charge({} bytes)", self.bytes)
    }
}

/// Reads a file to its end behind what `bytes` holds; `room` is how much that will be, if it is
/// known, and `each` sees every part as it is read, and may refuse it.
///
/// # Errors
/// `System` when reading fails, and what `each` gives.
pub fn read_onto(
    bytes: &mut Vec<u8>,
    mut file: impl Read,
    room: u64,
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let reserved = usize::try_from(room).map_err(|_| no_memory())?;
    bytes.try_reserve_exact(reserved).map_err(|_| no_memory())?;
    advise_large_pages(bytes, room.saturating_add(bytes.len() as u64));
    loop {
        let before = bytes.len();
        let read = (&mut file).take(CHUNK as u64).read_to_end(bytes);
        read.map_err(|error| system("read", &error))?;
        let part = bytes.get(before..).unwrap_or(&[]);
        each(part)?;
        if part.len() < CHUNK {
            return Ok(());
        }
    }
}

/// Fills `bytes` from a file, part by part; returns how many there were.
fn fill<'b>(
    bytes: &'b mut [u8],
    file: &mut impl Read,
    each: &mut dyn FnMut(&'b [u8]) -> Result<()>,
) -> Result<usize> {
    let mut filled: usize = 0;
    for chunk in bytes.chunks_mut(CHUNK) {
        let count = read_chunk(file, chunk).map_err(|error| system("read", &error))?;
        let chunk: &'b [u8] = chunk;
        filled = filled.saturating_add(count);
        each(chunk.get(..count).unwrap_or(&[]))?;
        if count < chunk.len() {
            break;
        }
    }
    Ok(filled)
}

/// Reads up to `chunk.len()` bytes, fewer only at the file's end; returns how many.
///
/// # Errors
/// What reading fails with, but not that it was interrupted.
pub fn read_chunk(from: &mut impl Read, chunk: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = chunk.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// `len` zero bytes that cost memory only where they are touched.
pub(crate) fn zeroed(len: usize) -> Result<Vec<u8>> {
    // `vec!` aborts where there is no memory; asking first turns that into an error.
    Vec::<u8>::new()
        .try_reserve_exact(len)
        .map_err(|_| no_memory())?;
    Ok(vec![0; len])
}

/// A copy of `parts`, one after the other.
pub(crate) fn joined(parts: &[&[u8]], meter: &Arc<Meter>) -> Result<Buffer> {
    let len = parts
        .iter()
        .fold(0_usize, |sum, part| sum.saturating_add(part.len()));
    let charge = Charge::new(meter, len as u64)?;
    let mut joined = Vec::new();
    joined.try_reserve_exact(len).map_err(|_| no_memory())?;
    for part in parts {
        joined.extend_from_slice(part);
    }
    Ok(Buffer::owning(joined, charge))
}

fn no_memory() -> Error {
    Error::reason(Class::System(ENOMEM), "memory", "the system has none left")
}

fn system(step: &'static str, error: &io::Error) -> Error {
    told(error, step, "reading the file failed")
}

fn told(error: &io::Error, step: &'static str, what: &'static str) -> Error {
    let errno = error.raw_os_error().unwrap_or(EIO);
    Error::reason(Class::System(errno), step, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    fn meter(limits: Limits) -> Arc<Meter> {
        Arc::new(Meter::new(limits))
    }

    #[test]
    fn a_file_is_read_from_its_position_and_charged_until_the_last_part_goes() {
        let meter = meter(Limits::default());
        let mut file = std::fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(std::env::temp_dir().join(format!("kpeel-buffer-{}", std::process::id())))
            .unwrap();
        let content: Vec<u8> = (0..CHUNK as u32 + 99).map(|n| n as u8).collect();
        file.write_all(&content).unwrap();
        file.rewind().unwrap();
        let mut seen = 0;
        let limit = content.len() as u64;
        let buffer = Buffer::read(&file, None, "image", limit, &meter, &mut |part| {
            seen += part.len()
        })
        .unwrap();
        assert_eq!((buffer.as_ref(), seen), (&content[..], content.len()));
        let part = Buffer::part(buffer.bytes().slice(5..9));
        drop(buffer);
        assert_eq!((part.as_ref(), meter.held()), (&content[5..9], limit));
        drop(part);
        assert_eq!(meter.held(), 0);
        std::fs::remove_file(
            std::env::temp_dir().join(format!("kpeel-buffer-{}", std::process::id())),
        )
        .unwrap();
    }

    #[test]
    fn a_thread_beside_sees_what_is_read_of_files_of_the_size_they_have_or_another() {
        let content: Vec<u8> = (0..3 * CHUNK as u32 + 7).map(|n| (n % 251) as u8).collect();
        for len in [content.len(), content.len() + 9, CHUNK + 1, CHUNK, 0] {
            let meter = meter(Limits::default());
            let (buffer, seen) = Buffer::read_beside(
                &content[..],
                len as u64,
                "image",
                1 << 30,
                &meter,
                &mut |_| {},
                |parts| parts.fold(Vec::new(), |seen, part| [&seen[..], part].concat()),
            )
            .unwrap();
            assert!(buffer.as_ref() == content, "{len}");
            assert!(seen == content[..len.min(content.len())], "{len}");
            assert_eq!(meter.held(), content.len() as u64);
        }
    }

    #[test]
    fn a_file_that_outgrew_its_bound_is_refused_beside_a_thread_too() {
        let meter = meter(Limits::default());
        let read = |allowed| {
            let count = |parts: &mut dyn Iterator<Item = &[u8]>| parts.count();
            let (file, none) = (&[7; 11][..], &mut |_: &[u8]| {});
            Buffer::read_beside(file, 10, "image", allowed, &meter, none, count)
        };
        assert_eq!(read(10).unwrap_err(), Error::bound("image", 11, 10));
        assert_eq!(read(11).unwrap().1, 1);
        assert_eq!(meter.held(), 0);
    }

    #[test]
    fn refuses_a_file_over_the_bound() {
        let meter = meter(Limits {
            image: 10,
            ..Limits::default()
        });
        assert_eq!(
            Buffer::from_file(&[0; 11][..], &meter).unwrap_err(),
            Error::bound("image", 11, 10)
        );
        assert_eq!(meter.held(), 0);
        assert_eq!(
            Buffer::from_file(&[7; 10][..], &meter).unwrap().as_ref(),
            [7; 10]
        );
        assert!(Buffer::from_file(&[][..], &meter).unwrap().is_empty());
    }

    #[test]
    fn refuses_more_memory_than_the_meter_has() {
        let meter = meter(Limits {
            memory: 100,
            ..Limits::default()
        });
        let held = Buffer::from_vec(vec![0; 60], &meter).unwrap();
        assert!(Buffer::from_vec(vec![0; 41], &meter).is_err());
        assert!(joined(&[&[0; 40], &[0; 1]], &meter).is_err());
        assert_eq!(joined(&[b"ab", b"c"], &meter).unwrap().as_ref(), b"abc");
        drop(held);
        assert_eq!(meter.held(), 0);
    }
}
