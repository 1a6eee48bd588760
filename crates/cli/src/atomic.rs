//! Files that appear complete or not at all.
//!
//! Bytes go to a hidden file beside the target, which then takes the target's name in one step.
//! Whatever goes wrong before, panics included, removes the hidden file; only a signal that kills
//! the process leaves it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::failure::{Failure, Result};

/// How often a free name is looked for.
const ATTEMPTS: u32 = 100;

/// A complete file that does not yet bear its name.
#[derive(Debug)]
pub(crate) struct Pending {
    temporary: Option<PathBuf>,
    target: PathBuf,
}

impl Pending {
    /// Writes `bytes` beside `target`. A target that is no regular file (a device, a pipe) is
    /// written at once.
    pub(crate) fn write(target: &Path, bytes: &[u8]) -> Result<Self> {
        Self::write_parts(target, std::iter::once(bytes))
    }

    /// Writes what `parts` are one behind the other.
    pub(crate) fn write_parts<'p>(
        target: &Path,
        parts: impl Iterator<Item = &'p [u8]>,
    ) -> Result<Self> {
        let target = resolve(target);
        let old = fs::metadata(&target).ok();
        if old.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(Failure::io(
                &target,
                "write",
                io::ErrorKind::IsADirectory.into(),
            ));
        }
        if old.is_some_and(|data| !data.is_file()) {
            let opened = OpenOptions::new().write(true).open(&target);
            let written = opened.and_then(|mut file| write_all(&mut file, parts));
            written.map_err(|error| Failure::io(&target, "write", error))?;
            return Ok(Self {
                temporary: None,
                target,
            });
        }
        let (mut file, temporary) = create_beside(&target)?;
        let pending = Self {
            temporary: Some(temporary),
            target,
        };
        write_all(&mut file, parts)
            .map_err(|error| Failure::io(&pending.target, "write", error))?;
        Ok(pending)
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

/// Writes one file out of parts.
pub(crate) fn write_parts<'p>(target: &Path, parts: impl Iterator<Item = &'p [u8]>) -> Result<()> {
    Pending::write_parts(target, parts)?.commit()
}

fn write_all<'p>(file: &mut File, mut parts: impl Iterator<Item = &'p [u8]>) -> io::Result<()> {
    parts.try_for_each(|part| file.write_all(part))
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
