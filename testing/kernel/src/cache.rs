//! The kernels that were built: `kernel/KEY` in the project's cache, one directory each.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use kpeel_images::{cache_dir, fetch, origins};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::inputs::Inputs;
use crate::kernel::{Image, Kernel};
use crate::make::Log;
use crate::progress::say;
use crate::{Error, Result, build, size, tools};

/// Returns the path of one image of the kernel, building the kernel if the cache lacks it, which takes minutes and is
/// told on standard error.
///
/// # Errors
/// Any [`Error`]; [`Error::Step`] quotes the end of the build's log.
pub fn path(kernel: Kernel, image: Image) -> Result<PathBuf> {
    Ok(dir(kernel)?.join(image.name()))
}

/// Returns the kernel's directory in the cache, building the kernel like [`path`]. Beside the images it holds `config`,
/// `inputs`, `log` and, of a patched kernel, `kpeel.key` and `kpeel.crt`, PEM files of a key that it trusts.
///
/// # Errors
/// As for [`path`].
pub fn dir(kernel: Kernel) -> Result<PathBuf> {
    let root = cache_dir().join("kernel");
    let inputs = Inputs::now(kernel)?;
    match ready(&root, &inputs) {
        Some(dir) => Ok(dir),
        None => made(&root, kernel),
    }
}

/// Returns what kpeel's side adds to the kernel's size, as JSON, building the kernel like [`path`]; `None` of a kernel
/// whose build does not look ([`Kernel::has_sizes`]).
///
/// `with` and `without` are the whole kernel before its last link, so without padding and BTF; `kexec_pe` is
/// `kernel/kexec_pe/` alone. All numbers are bytes: `text`, `data` and `bss` as size(1) tells them (read-only data counts
/// as text), `code` the sections `.text` and `.text.*`.
///
/// # Errors
/// As for [`path`].
pub fn sizes(kernel: Kernel) -> Result<Option<String>> {
    if !kernel.has_sizes() {
        return Ok(None);
    }
    let file = dir(kernel)?.join(size::FILE);
    let text = fs::read_to_string(&file).map_err(Error::io("reading", &file))?;
    Ok(Some(text))
}

/// Lets the kernel's checkpatch and clippy look at kpeel's side of a patched kernel: both must be silent, clippy with every
/// lint that the kernel asks for. Nothing is kept but a log where it fails.
///
/// # Errors
/// Any [`Error`]; [`Error::Step`] quotes checkpatch, [`Error::Unexpected`] names what clippy found.
pub fn lint(kernel: Kernel) -> Result<()> {
    let root = cache_dir().join("kernel");
    fs::create_dir_all(&root).map_err(Error::io("creating", &root))?;
    let _held = lock(&root.join("lock"))?;
    tools::demand_lint(kernel)?;
    let archive = fetch(kernel.source())?;
    let work = root.join("work");
    remove(&work)?;
    fs::create_dir(&work).map_err(Error::io("creating", &work))?;
    let log = Log::create(&root.join("lint.log"))?;
    build::lint(kernel, &archive, &work, &log)?;
    remove(&work)?;
    fs::remove_file(log.path()).map_err(Error::io("removing", log.path()))
}

/// The kernel's directory in the cache, built by this process or by the one it waited for.
fn made(root: &Path, kernel: Kernel) -> Result<PathBuf> {
    fs::create_dir_all(root).map_err(Error::io("creating", root))?;
    let _held = lock(&root.join("lock"))?;
    tools::demand(kernel)?;
    say(&format!("{}: fetching the source", kernel.name()));
    let archive = fetch(kernel.source())?;
    for origin in origins(kernel.source())? {
        say(&format!("{} {}", origin.package, origin.version));
    }
    // The fetch may have had to take another version than the one that was asked for.
    let inputs = Inputs::now(kernel)?;
    match ready(root, &inputs) {
        Some(dir) => Ok(dir),
        None => install_kernel(root, &inputs, |dir, log| {
            build::build(kernel, &archive, dir, log)
        }),
    }
}

fn ready(root: &Path, inputs: &Inputs) -> Option<PathBuf> {
    let dir = root.join(inputs.key());
    dir.is_dir().then_some(dir)
}

/// Builds the kernel's directory in the cache; its inputs are kept in it.
fn install_kernel(
    root: &Path,
    inputs: &Inputs,
    build: impl FnOnce(&Path, &Log) -> Result<PathBuf>,
) -> Result<PathBuf> {
    install(root, &inputs.key(), "work", |work, log| {
        let result = build(work, log)?;
        let listed = result.join("inputs");
        fs::write(&listed, inputs.text()).map_err(Error::io("writing", &listed))?;
        Ok(result)
    })
}

/// Lets `build` work in a directory of its own, `work` below `root`, and moves the directory that it returns into the
/// cache under the name `key`, the log in it.
///
/// The caller holds the lock, so what lies at the working directory's place was left by a build that was killed.
pub(crate) fn install(
    root: &Path,
    key: &str,
    work: &str,
    build: impl FnOnce(&Path, &Log) -> Result<PathBuf>,
) -> Result<PathBuf> {
    let work = root.join(work);
    remove(&work)?;
    fs::create_dir(&work).map_err(Error::io("creating", &work))?;
    let log = Log::create(&root.join(format!("{key}.log")))?;
    let result = build(&work, &log)?;
    let kept = result.join("log");
    fs::rename(log.path(), &kept).map_err(Error::io("renaming to", &kept))?;
    let dir = root.join(key);
    fs::rename(&result, &dir).map_err(Error::io("renaming to", &dir))?;
    remove(&work)?;
    Ok(dir)
}

/// Waits until no other process holds `path`, then holds it; dropping the file lets it go.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(Error::io("opening", path))?;
    let locked = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => {
            say("waiting for another build");
            flock(&file, FlockOperation::LockExclusive)
        }
        other => other,
    };
    locked.map_err(|errno| Error::io("locking", path)(errno.into()))?;
    Ok(file)
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("removing", dir)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
