//! Test images, made by tools that are not kpeel's: binutils, ukify, and the compressors' own programs.

mod compress;
mod fixture;
mod machine;
mod sample;
mod uki;
mod ukify;
mod zboot;

pub use compress::Codec;
pub use fixture::{noise, text, tiny_kernel};
pub use machine::Machine;
pub use sample::{Sample, samples};
pub use uki::uki;
pub use ukify::ukify;
pub use zboot::{Zboot, zboot};

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Error, Result, cache};

/// A directory that disappears when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A fresh directory below the system's temporary directory.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be created.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("kpeel-images-{}-{count}", std::process::id()));
        cache::remove_dir(&dir)?;
        cache::create_dir(&dir)?;
        Ok(Self(dir))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of `name` inside it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file inside it and returns its path.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        let path = self.join(name);
        std::fs::write(&path, content).map_err(Error::io("writing", &path))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
