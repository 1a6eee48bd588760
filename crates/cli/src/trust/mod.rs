//! Whose signatures count: from the command line to a verdict about each envelope.

#[cfg(not(feature = "trust"))]
#[path = "absent.rs"]
mod backend;
#[cfg(feature = "trust")]
#[path = "present.rs"]
mod backend;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use kpeel_envelope::limits::Limits;
use serde::{Deserialize, Serialize};

pub(crate) use self::backend::{Verifier, signer_of, system_keys};
#[cfg(feature = "trust")]
pub(crate) use self::backend::{add_keys, failure as trust_failure, skipped};
use crate::failure::{Failure, Result};
use crate::terminal::Terminal;

/// Largest file of keys read.
const KEYS_MAX: u64 = 16 << 20;

/// Whose signatures count.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Trust {
    /// Nobody asks.
    None,
    /// The keys the running kernel trusts.
    System,
    /// These certificates and signature lists.
    Certificates(Vec<PathBuf>),
}

/// A file of keys, read but not yet understood.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct KeyFile {
    /// How messages call it.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// Whether it revokes what it lists.
    pub(crate) revoked: bool,
}

/// A signer whose signature counted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Signer {
    /// The envelope, 1 for the outermost.
    pub(crate) envelope: u32,
    /// Subject of the signer's certificate, or what lists the image's digest.
    pub(crate) subject: String,
    /// What made it trusted.
    pub(crate) by: String,
}

impl Trust {
    /// From the words of `--trust`.
    ///
    /// # Errors
    /// `none` and `system` stand alone.
    pub(crate) fn parse(words: &[String]) -> Result<Option<Self>> {
        let keyword = |word: &String| word == "none" || word == "system";
        match words {
            [] => Ok(None),
            [one] if one == "none" => Ok(Some(Self::None)),
            [one] if one == "system" => Ok(Some(Self::System)),
            words if words.iter().any(keyword) => Err(Failure::usage(
                "--trust: found none or system beside others, needed it alone",
            )),
            files => Ok(Some(Self::Certificates(
                files.iter().map(PathBuf::from).collect(),
            ))),
        }
    }

    /// The keys; `None` when nobody asks for signatures. `revoke` are files that revoke what they
    /// list.
    pub(crate) fn keys(&self, revoke: &[PathBuf], root: &Path) -> Result<Option<Vec<KeyFile>>> {
        let mut keys = match self {
            Self::None if revoke.is_empty() => return Ok(None),
            Self::None => {
                let message = "--revoke: found it with --trust none, which asks for no signature";
                return Err(Failure::usage(message));
            }
            Self::System => system_keys(root)?,
            Self::Certificates(files) => read_all(files, false)?,
        };
        keys.extend(read_all(revoke, true)?);
        Ok(Some(keys))
    }
}

impl Verifier {
    /// Says which entries of the key files were left out.
    pub(crate) fn tell_skipped(&self, terminal: &mut Terminal) {
        for skipped in self.skipped() {
            terminal.note(&format!("kpeel: left out: {skipped}"));
        }
    }
}

fn read_all(paths: &[PathBuf], revoked: bool) -> Result<Vec<KeyFile>> {
    let one = |path: &PathBuf| {
        Ok(KeyFile {
            name: path.display().to_string(),
            bytes: read(path)?,
            revoked,
        })
    };
    paths.iter().map(one).collect()
}

/// Reads a file of keys.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| {
            file.take(KEYS_MAX.saturating_add(1))
                .read_to_end(&mut bytes)
        })
        .map_err(|error| Failure::io(path, "read", error))?;
    Limits::check("key file size", bytes.len() as u64, KEYS_MAX)
        .map_err(|error| Failure::envelope(path.display().to_string(), error))?;
    Ok(bytes)
}
