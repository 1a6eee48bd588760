//! Files that appear complete or not at all.
//!
//! Bytes go to a hidden file beside the target, which then takes the target's name in one step.
//! Whatever goes wrong before, panics included, removes the hidden file; only a signal that kills
//! the process leaves it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use crate::failure::{Failure, Result};

/// How often a free name is looked for.
const ATTEMPTS: u32 = 100;

/// A complete file that does not yet bear its name.
#[derive(Debug)]
pub(crate) struct Pending {
    temporary: Option<PathBuf>,
    target: PathBuf,
}

/// A file that is being written and does not yet bear its name.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    pending: Pending,
}

/// How much is written at once: pieces that stay in the processor's caches, and in the small pages
/// that a system has at hand.
const CHUNK: usize = 256 << 10;

impl Draft {
    /// Begins a file beside `target`. A target that is no regular file (a device, a pipe) is
    /// written at once.
    pub(crate) fn create(target: &Path) -> Result<Self> {
        let target = resolve(target);
        let old = fs::metadata(&target).ok();
        if old.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(Failure::io(
                &target,
                "write",
                io::ErrorKind::IsADirectory.into(),
            ));
        }
        let (file, temporary) = if old.is_some_and(|data| !data.is_file()) {
            let opened = OpenOptions::new().write(true).open(&target);
            (
                opened.map_err(|error| Failure::io(&target, "write", error))?,
                None,
            )
        } else {
            let (file, temporary) = create_beside(&target)?;
            (file, Some(temporary))
        };
        let pending = Pending { temporary, target };
        Ok(Self { file, pending })
    }

    /// Whether what was written can still be changed: it goes to a file, under another name.
    #[cfg(feature = "trust")]
    pub(crate) const fn is_hidden(&self) -> bool {
        self.pending.temporary.is_some()
    }

    /// Writes the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = bytes
            .chunks(CHUNK)
            .try_for_each(|chunk| self.file.write_all(chunk));
        self.told(written)
    }

    /// Writes bytes of a file, which a thread beside reads ahead; that it has fewer than `len` is an error.
    pub(crate) fn copy(&mut self, path: &Path, from: &File, len: u64) -> Result<()> {
        /// Parts that are read and not yet written.
        const AHEAD: usize = 2;
        std::thread::scope(|scope| {
            let (send, receive) = mpsc::sync_channel(AHEAD);
            let (give_back, used) = mpsc::channel();
            let reader = std::thread::Builder::new()
                .spawn_scoped(scope, move || read_ahead(from, len, &send, &used))
                .map_err(|error| Failure::io(path, "read", error))?;
            let mut written = Ok(());
            for part in receive {
                written = self.write(&part);
                if written.is_err() {
                    // The reader stops at the next part that nobody takes.
                    break;
                }
                // At the end nobody wants it back.
                let _ = give_back.send(part);
            }
            let read = reader
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            written.and(read.map_err(|error| Failure::io(path, "read", error)))
        })
    }

    /// Puts `head` in the place of the first bytes and `tail` behind the first `len`.
    #[cfg(feature = "trust")]
    pub(crate) fn put_ends(&mut self, head: &[u8], len: u64, tail: &[u8]) -> Result<()> {
        use std::os::unix::fs::FileExt;
        let written = self
            .file
            .set_len(len)
            .and_then(|()| self.file.write_all_at(head, 0))
            .and_then(|()| self.file.write_all_at(tail, len));
        self.told(written)
    }

    /// Ends the file.
    pub(crate) fn finish(self) -> Pending {
        self.pending
    }

    fn told(&self, written: io::Result<()>) -> Result<()> {
        written.map_err(|error| Failure::io(&self.pending.target, "write", error))
    }
}

/// Reads `len` bytes part by part; those that come back in `used` are filled again.
fn read_ahead(
    mut from: &File,
    len: u64,
    send: &mpsc::SyncSender<Vec<u8>>,
    used: &mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let mut left = len;
    while left != 0 {
        let mut part = used.try_recv().unwrap_or_default();
        part.resize(usize::try_from(left).unwrap_or(CHUNK).min(CHUNK), 0);
        from.read_exact(&mut part)?;
        left = left.saturating_sub(part.len() as u64);
        if send.send(part).is_err() {
            break;
        }
    }
    Ok(())
}

impl Pending {
    /// Writes `bytes` beside `target`. A target that is no regular file (a device, a pipe) is
    /// written at once.
    pub(crate) fn write(target: &Path, bytes: &[u8]) -> Result<Self> {
        let mut draft = Draft::create(target)?;
        draft.write(bytes)?;
        Ok(draft.finish())
    }

    /// Gives the file its name, in the place of an older one.
    pub(crate) fn commit(mut self) -> Result<()> {
        let Some(temporary) = &self.temporary else {
            return Ok(());
        };
        fs::rename(temporary, &self.target)
            .map_err(|error| Failure::io(&self.target, "put in place", error))?;
        self.temporary = None;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Writes one file.
pub(crate) fn write(target: &Path, bytes: &[u8]) -> Result<()> {
    Pending::write(target, bytes)?.commit()
}

/// Removes a file if it is there.
pub(crate) fn remove(target: &Path) -> Result<()> {
    match fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::io(target, "remove", error))
        }
        _ => Ok(()),
    }
}

/// Where a symbolic link leads, so that the link stays.
fn resolve(target: &Path) -> PathBuf {
    fs::canonicalize(target).unwrap_or_else(|_| target.to_owned())
}

fn create_beside(target: &Path) -> Result<(File, PathBuf)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let failure = |error| Failure::io(target, "create", error);
    let name = target
        .file_name()
        .ok_or_else(|| failure(io::ErrorKind::IsADirectory.into()))?;
    for _ in 0..ATTEMPTS {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.{count}.tmp", std::process::id()));
        let temporary = target.with_file_name(hidden);
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
        {
            Ok(file) => return Ok((file, temporary)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failure(error)),
        }
    }
    Err(failure(io::ErrorKind::AlreadyExists.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_files_of_any_length_and_tells_of_shorter_ones() {
        let path = |name: &str| {
            let name = format!("kpeel-atomic-{name}-{}", std::process::id());
            std::env::temp_dir().join(name)
        };
        let (from, target) = (path("from"), path("target"));
        for len in [0, 1, CHUNK, CHUNK + 1, 5 * CHUNK + 7] {
            let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            fs::write(&from, &bytes).unwrap();
            let copied = |len: u64| {
                let mut draft = Draft::create(&target)?;
                draft.write(b"head")?;
                draft.copy(&from, &File::open(&from).unwrap(), len)?;
                draft.finish().commit()
            };
            copied(len as u64).unwrap();
            let written = fs::read(&target).unwrap();
            assert!(written == [b"head", &bytes[..]].concat(), "{len}");
            fs::remove_file(&target).unwrap();
            assert!(copied(len as u64 + 1).is_err());
            assert!(!target.exists());
        }
        fs::remove_file(&from).unwrap();
    }
}
