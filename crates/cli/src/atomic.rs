//! Files that appear complete or not at all.
//!
//! Bytes go to a file that has no name, which takes the target's in one step when it is complete: the
//! system frees it with the process, whatever ends that. Where the file system has no such files (vfat,
//! NFS), a hidden one beside the target does.
//!
//! A signal that kills the process leaves such a hidden file behind. With files without names it can do so only in the
//! moment between two calls in which an older file is replaced: the new one (`.NAME.PID.N.tmp`) gets a name first, and
//! where several files change together, the older ones keep a second name (`.NAME.PID.N.old`) until all have changed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::failure::{Failure, Result};
use crate::terminal;

/// How often a free name is looked for.
const ATTEMPTS: u32 = 100;

/// A complete file that does not yet bear its name.
#[derive(Debug)]
pub(crate) struct Pending {
    file: File,
    place: Place,
    target: PathBuf,
}

/// Where the bytes are.
#[derive(Debug)]
enum Place {
    /// In a file without a name.
    Nameless,
    /// In a file with a hidden name beside the target.
    Hidden(PathBuf),
    /// Where they belong.
    Target,
}

/// A file that is being written and does not yet bear its name.
#[derive(Debug)]
pub(crate) struct Draft {
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
        let (file, place) = if old.is_some_and(|data| !data.is_file()) {
            let opened = OpenOptions::new().write(true).open(&target);
            let file = opened.map_err(|error| Failure::io(&target, "write", error))?;
            (file, Place::Target)
        } else if let Some(file) = nameless(&target) {
            (file, Place::Nameless)
        } else {
            hidden(&target).map_err(|error| Failure::io(&target, "create", error))?
        };
        let pending = Pending {
            file,
            place,
            target,
        };
        Ok(Self { pending })
    }

    /// Whether what was written can still be changed: it goes to a file, under another name.
    #[cfg(feature = "trust")]
    pub(crate) const fn is_hidden(&self) -> bool {
        !matches!(self.pending.place, Place::Target)
    }

    /// Writes the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = bytes
            .chunks(CHUNK)
            .try_for_each(|chunk| self.pending.file.write_all(chunk));
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
        let file = &self.pending.file;
        let written = file
            .set_len(len)
            .and_then(|()| file.write_all_at(head, 0))
            .and_then(|()| file.write_all_at(tail, len));
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
        self.put_in_place()
            .map_err(|error| Failure::io(&self.target, "put in place", error))
    }

    fn put_in_place(&mut self) -> io::Result<()> {
        if matches!(self.place, Place::Nameless) {
            match link(&self.file, &self.target) {
                // Only a file with a name can take the place of an older one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let ((), name) = beside(&self.target, "tmp", |name| link(&self.file, name))?;
                    self.place = Place::Hidden(name);
                }
                linked => return linked,
            }
        }
        if let Place::Hidden(name) = &self.place {
            fs::rename(name, &self.target)?;
            self.place = Place::Target;
        }
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Place::Hidden(name) = &self.place {
            let _ = fs::remove_file(name);
        }
    }
}

/// Writes one file.
pub(crate) fn write(target: &Path, bytes: &[u8]) -> Result<()> {
    Pending::write(target, bytes)?.commit()
}

/// Gives all these files their names and removes those of `stale` that are there; when a step fails,
/// what was there before is put back.
pub(crate) fn replace(mut files: Vec<Pending>, stale: &[PathBuf]) -> Result<()> {
    // What went to a device or a pipe is there for good.
    files.retain(|file| !matches!(file.place, Place::Target));
    let mut before = Vec::new();
    let changed = change(files, stale, &mut before);
    // The last step is undone first.
    for one in before.into_iter().rev() {
        let done = match &changed {
            Ok(()) => one.forget(),
            Err(_) => one.put_back(),
        };
        if let Err(failure) = done {
            terminal::note(&format!("kpeel: {failure}"));
        }
    }
    changed
}

fn change(files: Vec<Pending>, stale: &[PathBuf], before: &mut Vec<Before>) -> Result<()> {
    // Whatever cannot be replaced or removed is mostly found here, where nothing has changed.
    for target in stale.iter().chain(files.iter().map(|file| &file.target)) {
        before.push(Before::keep(target)?);
    }
    stale.iter().try_for_each(|path| remove(path))?;
    for (file, before) in files.into_iter().zip(before.iter_mut().skip(stale.len())) {
        file.commit()?;
        before.replaced = true;
    }
    Ok(())
}

/// What stands under a name that is to change.
#[derive(Debug)]
struct Before {
    target: PathBuf,
    /// A hidden name of it; none where nothing stood there.
    kept: Option<PathBuf>,
    replaced: bool,
}

impl Before {
    fn keep(target: &Path) -> Result<Self> {
        // A second name leaves the first as it is, so that a signal in between takes no file away.
        // Where there are no second names (vfat) or none of this file, it goes by the hidden one.
        let keep = |name: &Path| match fs::hard_link(target, name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            Err(_) => fs::rename(target, name),
            linked => linked,
        };
        let kept = match fs::symlink_metadata(target) {
            Ok(data) if data.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(_) => beside(target, "old", keep).map(|((), name)| Some(name)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        Ok(Self {
            target: target.to_owned(),
            kept: kept.map_err(|error| Failure::io(target, "replace or remove", error))?,
            replaced: false,
        })
    }

    fn put_back(self) -> Result<()> {
        let Some(kept) = &self.kept else {
            return if self.replaced {
                remove(&self.target)
            } else {
                Ok(())
            };
        };
        fs::rename(kept, &self.target).map_err(|error| Failure::io(kept, "put back", error))?;
        // Of two names of one file, neither has gone.
        remove(kept)
    }

    fn forget(self) -> Result<()> {
        self.kept.as_deref().map_or(Ok(()), remove)
    }
}

/// Removes a file if it is there.
fn remove(target: &Path) -> Result<()> {
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

/// A file without a name where `target` goes. None where there can be no such or it could not get a
/// name; anything else that is wrong a file with a name meets too, and tells of.
fn nameless(target: &Path) -> Option<File> {
    let directory = target.parent()?;
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    // As of any new file. The umask is taken off here: before Linux 6.0 some file systems did not.
    let mode = Mode::from_raw_mode(0o666 & !umask()?);
    let file = File::from(rustix::fs::open(directory, flags, mode).ok()?);
    fs::symlink_metadata(in_proc(&file)).ok().map(|_| file)
}

/// Bits that new files do not get; asking umask(2) would change it (proc_pid_status(5)).
fn umask() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

/// Gives a file without a name this one.
fn link(file: &File, name: &Path) -> io::Result<()> {
    rustix::fs::linkat(CWD, in_proc(file), CWD, name, AtFlags::SYMLINK_FOLLOW)?;
    Ok(())
}

/// Where `/proc` has an open file, name or not.
fn in_proc(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// A file with a hidden name beside `target`.
fn hidden(target: &Path) -> io::Result<(File, Place)> {
    let create = |name: &Path| OpenOptions::new().write(true).create_new(true).open(name);
    let (file, name) = beside(target, "tmp", create)?;
    Ok((file, Place::Hidden(name)))
}

/// Makes something under a free hidden name beside `target`; gives the name too.
fn beside<T>(
    target: &Path,
    end: &str,
    make: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<(T, PathBuf)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = target.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    for _ in 0..ATTEMPTS {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.{count}.{end}", std::process::id()));
        let hidden = target.with_file_name(hidden);
        match make(&hidden) {
            Ok(made) => return Ok((made, hidden)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests;
