//! The cache outside the checkout: directories, locks between processes, files that appear whole or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// The root of kpeel's cache: `$KPEEL_CACHE`, else `$XDG_CACHE_HOME/kpeel`, else `$HOME/.cache/kpeel`.
#[must_use]
pub fn cache_dir() -> PathBuf {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("KPEEL_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("kpeel")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/kpeel")))
        .unwrap_or_else(|| std::env::temp_dir().join("kpeel-cache"))
}

/// Creates `dir` and its parents.
pub(crate) fn create_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(Error::io("creating", dir))
}

/// Waits until no other process holds `path`, then holds it; dropping the file lets it go.
pub(crate) fn lock(path: &Path) -> Result<File> {
    if let Some(parent) = path.parent() {
        create_dir(parent)?;
    }
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(Error::io("opening lock", path))?;
    flock(&file, FlockOperation::LockExclusive)
        .map_err(|errno| Error::io("locking", path)(errno.into()))?;
    Ok(file)
}

/// Writes a file by way of a temporary one beside it; a reader sees the old content or the new.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = sibling(path);
    fs::write(&temporary, content).map_err(Error::io("writing", &temporary))?;
    fs::rename(&temporary, path).map_err(Error::io("renaming to", path))
}

/// A name beside `path` that no other process uses.
pub(crate) fn sibling(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// Removes a directory tree if it is there.
pub(crate) fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("removing", dir)(error))
        }
        _ => Ok(()),
    }
}

/// SHA-256 in lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// SHA-256 of a file.
pub(crate) fn sha256_file(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(Error::io("reading", path))?;
    Ok(sha256(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_fips_180_4_says() {
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_second_holder_waits_for_the_first() {
        let path = std::env::temp_dir().join(format!("kpeel-images-lock-{}", std::process::id()));
        let held = lock(&path).unwrap();
        let other = File::options().write(true).open(&path).unwrap();
        assert!(flock(&other, FlockOperation::NonBlockingLockExclusive).is_err());
        drop(held);
        flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
        fs::remove_file(&path).unwrap();
    }
}
