//! The initrds that go into an image: the largest part of it, copied without being kept.

use std::fs::File;
use std::path::{Path, PathBuf};

use kpeel_envelope::limits::Limits;
use kpeel_image::uki::Initrd;

use crate::atomic::Draft;
use crate::failure::{Failure, Result};
use crate::input::{self, Kind};

/// initrds are joined at multiples of this (systemd-stub(7)).
const ALIGNMENT: u64 = 4;

/// All initrds, joined.
#[derive(Debug)]
pub(super) enum Initrds {
    /// In memory.
    Read(Vec<u8>),
    /// Open, to be read when the image is written.
    Open(Vec<Source>),
}

/// One that is open.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    file: File,
    len: u64,
    /// Zeros behind it.
    padding: u64,
}

impl Initrds {
    /// Opens them; `None` for none. Those that are no regular files are read at once.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Option<Self>> {
        if paths.is_empty() {
            return Ok(None);
        }
        let sources: Result<Option<Vec<_>>> = paths
            .iter()
            .map(|path| Source::open(path, paths.len() > 1))
            .collect();
        match sources? {
            Some(sources) => Ok(Some(Self::Open(sources))),
            None => read(paths).map(|bytes| Some(Self::Read(bytes))),
        }
    }

    /// Reads them, because all bytes of the image are needed before it is written.
    pub(super) fn read(&mut self) -> Result<()> {
        if let Self::Open(sources) = self {
            let paths: Vec<_> = sources.iter().map(|source| source.path.clone()).collect();
            *self = Self::Read(read(&paths)?);
        }
        Ok(())
    }

    /// As the section of an image.
    pub(super) fn section(&self) -> Result<Initrd<'_>> {
        match self {
            Self::Read(bytes) => Ok(Initrd::Bytes(bytes.into())),
            Self::Open(sources) => {
                let whole = sources.iter().map(|source| (source.len, source.padding));
                let whole = whole.fold(0_u64, |sum, (len, padding)| {
                    sum.saturating_add(len).saturating_add(padding)
                });
                usize::try_from(whole)
                    .map(Initrd::Later)
                    .map_err(|_| Failure::usage("--initrd: more than this machine addresses"))
            }
        }
    }

    /// Writes those that were not read: as many bytes as each had when it was opened.
    pub(super) fn write(&self, draft: &mut Draft) -> Result<()> {
        let Self::Open(sources) = self else {
            return Ok(());
        };
        for source in sources {
            draft.copy(&source.path, &source.file, source.len)?;
            let zeros = [0; ALIGNMENT as usize];
            let padding = usize::try_from(source.padding).unwrap_or(0);
            draft.write(zeros.get(..padding).unwrap_or_default())?;
        }
        Ok(())
    }
}

impl Source {
    /// `None` for what is no regular file, or like those in /proc does not tell its size.
    fn open(path: &Path, padded: bool) -> Result<Option<Self>> {
        if path.as_os_str() == "-" {
            return Ok(None);
        }
        let (file, Some(len)) = input::open_file(path)? else {
            return Ok(None);
        };
        if len == 0 {
            return Ok(None);
        }
        let (bound, allowed) = Kind::Initrd.bound(&Limits::default());
        Limits::check(bound, len, allowed)
            .map_err(|error| Failure::envelope(path.display().to_string(), error))?;
        let padding = len.wrapping_neg() % ALIGNMENT;
        Ok(Some(Self {
            path: path.to_owned(),
            file,
            len,
            padding: if padded { padding } else { 0 },
        }))
    }
}

/// All of them in one, read one behind the other; a single one stays as it is.
fn read(paths: &[PathBuf]) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for path in paths {
        input::append(path, Kind::Initrd, &mut all)?;
        if paths.len() > 1 {
            all.resize(all.len().next_multiple_of(ALIGNMENT as usize), 0);
        }
    }
    Ok(all)
}
