//! The cached packages and the archives they come from.

use std::fs;
use std::path::PathBuf;

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
        let mut found = find(&root, line)?;
        if found.is_none() && root.refresh()? {
            found = find(&root, line)?;
        }
        let Some(found) = found else {
            return Ok(None);
        };
        check_hash(line, &found.sha256)?;
        let partial = deb.with_extension("partial");
        let got = match root.download(&line.package, &line.version, &partial) {
            // The index may be older than the archive's pool.
            Err(error) if !root.refresh()? => return Err(error),
            Err(_) if find(&root, line)?.is_none() => return Ok(None),
            Err(_) => root.download(&line.package, &line.version, &partial)?,
            Ok(got) => got,
        };
        check_hash(line, &cache::sha256_file(&got)?)?;
        fs::rename(&got, &deb).map_err(Error::io("renaming to", &deb))?;
        cache::remove_dir(&partial)?;
        Ok(Some(deb))
    }
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
