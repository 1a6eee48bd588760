//! The cached packages and the archives they come from.

use std::fs;
use std::path::{Path, PathBuf};

use crate::apt::{Candidate, Root};
use crate::lock::Locked;
use crate::sources::Archives;
use crate::{Error, Result, cache};

/// A cache and what fills it.
#[derive(Debug)]
pub(crate) struct Store {
    /// Root of this crate's cache.
    pub(crate) dir: PathBuf,
    pub(crate) archives: Archives,
}

impl Store {
    /// The user's cache, filled from the archives of the system's apt.
    pub(crate) fn of_system() -> Self {
        Self {
            dir: cache::cache_dir().join("images"),
            archives: Archives::of_system(),
        }
    }

    /// The apt root of `suite` and `arch`.
    pub(crate) fn root(&self, suite: &str, arch: &str) -> Result<Root> {
        let source = self.archives.source_line(suite, arch)?;
        Root::open(&self.dir.join("apt"), suite, arch, &source)
    }

    /// The package of one lock line, or none when the archive no longer has it.
    pub(crate) fn package(&self, line: &Locked) -> Result<Option<PathBuf>> {
        let deb = self.dir.join("debs").join(format!("{}.deb", line.sha256));
        // Another item's fetch may be getting the same package.
        let _held = cache::lock(&deb.with_extension("lock"))?;
        if deb.exists() {
            return Ok(Some(deb));
        }
        let root = self.root(&line.suite, &line.arch)?;
        let partial = deb.with_extension("partial");
        let address = self.archives.file(&line.suite, &line.path)?;
        // An archive's pool is whole while its index is being replaced, and an index takes longer.
        let got = match root.take(&address, &line.sha256, &partial) {
            Ok(got) => got,
            Err(_) => match indexed(&root, line, &partial)? {
                Some(got) => got,
                None => return Ok(None),
            },
        };
        check_hash(line, &cache::sha256_file(&got)?)?;
        install(&got, &deb)?;
        cache::remove_dir(&partial)?;
        Ok(Some(deb))
    }
}

/// The package by way of the index, or none when the archive no longer has it.
fn indexed(root: &Root, line: &Locked, partial: &Path) -> Result<Option<PathBuf>> {
    let mut found = find(root, line)?;
    if found.is_none() && root.refresh()? {
        found = find(root, line)?;
    }
    let Some(found) = found else {
        return Ok(None);
    };
    check_hash(line, &found.sha256)?;
    match root.download(&line.package, &line.version, partial) {
        // The index may be older than the archive's pool.
        Err(error) if !root.refresh()? => Err(error),
        Err(_) if find(root, line)?.is_none() => Ok(None),
        Err(_) => root
            .download(&line.package, &line.version, partial)
            .map(Some),
        Ok(got) => Ok(Some(got)),
    }
}

/// Moves a download to its place, or copies it when it is the archive's own file.
fn install(got: &Path, deb: &Path) -> Result<()> {
    if got.parent() == Some(&deb.with_extension("partial")) {
        return fs::rename(got, deb).map_err(Error::io("renaming to", deb));
    }
    let copy = cache::sibling(deb);
    fs::copy(got, &copy).map_err(Error::io("copying", got))?;
    fs::rename(&copy, deb).map_err(Error::io("renaming to", deb))
}

fn find(root: &Root, line: &Locked) -> Result<Option<Candidate>> {
    let candidates = root.candidates(&line.package)?;
    Ok(candidates
        .into_iter()
        .find(|found| found.version == line.version))
}

fn check_hash(line: &Locked, found: &str) -> Result<()> {
    if found == line.sha256 {
        return Ok(());
    }
    Err(Error::Hash {
        package: line.package.clone(),
        version: line.version.clone(),
        found: found.to_owned(),
        needed: line.sha256.clone(),
    })
}
