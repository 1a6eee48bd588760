//! Finds the entries of a running system.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::entry::{Entry, Kind};
use crate::error::{Error, Result};
use crate::loader_conf::{default_pattern, matches};
use crate::{file, order, type1, type2};

/// Where entries may lie: the roots of the EFI system partition and of XBOOTLDR.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Partitions {
    roots: Vec<PathBuf>,
}

/// The entries found, in the order of menus.
#[derive(Debug)]
pub struct Boot {
    entries: Vec<Entry>,
    problems: Vec<Error>,
    default_pattern: Option<String>,
    partitions: Partitions,
}

/// Usual mounts (UAPI.1, "Mount Points"; Debian and Fedora mount the ESP at `/boot/efi`).
const USUAL: [&str; 3] = ["efi", "boot", "boot/efi"];
/// `LoaderEntryDefault`: attributes, then a UTF-16 id (systemd, "The Boot Loader Interface").
const DEFAULT_VARIABLE: &str =
    "sys/firmware/efi/efivars/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

impl Partitions {
    /// The usual mounts below `root` that hold entries.
    #[must_use]
    pub fn usual(root: &Path) -> Self {
        let mounts = USUAL.iter().map(|mount| root.join(mount));
        let holds_entries =
            |mount: &PathBuf| mount.join("loader").is_dir() || mount.join("EFI/Linux").is_dir();
        Self {
            roots: mounts.filter(holds_entries).collect(),
        }
    }

    /// These roots, in order.
    #[must_use]
    pub fn at(roots: Vec<PathBuf>) -> Self {
        Self { roots }
    }
}

impl Boot {
    /// Reads all entries. A broken one does not hide the others: see [`Boot::problems`].
    ///
    /// # Errors
    /// [`Error::Read`] for a folder that is there but cannot be read.
    pub fn read(root: &Path, partitions: Partitions) -> Result<Self> {
        let mut boot = Self {
            entries: Vec::new(),
            problems: Vec::new(),
            default_pattern: None,
            partitions,
        };
        for partition in boot.partitions.roots.clone() {
            for path in files(&partition.join("loader/entries"), "conf")? {
                boot.add(type1::read(&partition, &path).map(|entry| entry.into_iter().collect()));
            }
            for path in files(&partition.join("EFI/Linux"), "efi")? {
                boot.add(type2::read(&path));
            }
            if boot.default_pattern.is_none() {
                let path = partition.join("loader/loader.conf");
                match file::read(&path) {
                    Ok(bytes) => {
                        boot.default_pattern = default_pattern(&String::from_utf8_lossy(&bytes));
                    }
                    Err(Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                    Err(problem) => boot.problems.push(problem),
                }
            }
        }
        if let Some(id) = efi_default(root) {
            boot.default_pattern = Some(id);
        }
        order::sort(&mut boot.entries);
        Ok(boot)
    }

    /// The entries in the order of menus.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What was wrong with entries that are not listed.
    #[must_use]
    pub fn problems(&self) -> &[Error] {
        &self.problems
    }

    /// The entry a boot without other wish would take: the firmware variable
    /// `LoaderEntryDefault`, else `loader.conf`, else the first that is not known to be bad.
    ///
    /// # Errors
    /// [`Error::NoEntries`].
    pub fn default_entry(&self) -> Result<&Entry> {
        let wanted = self.default_pattern.as_ref();
        let named = wanted.and_then(|pattern| {
            self.entries
                .iter()
                .find(|entry| matches(pattern, &entry.id))
        });
        named
            .or(self.entries.first())
            .ok_or_else(|| Error::NoEntries {
                places: self
                    .partitions
                    .roots
                    .iter()
                    .map(|root| root.display().to_string())
                    .collect(),
            })
    }

    /// The entry with this id, with or without its ending.
    ///
    /// # Errors
    /// [`Error::NoSuchEntry`].
    pub fn entry(&self, id: &str) -> Result<&Entry> {
        let is_it = |entry: &&Entry| {
            let ending = match entry.kind {
                Kind::Type1 => ".conf",
                Kind::Type2 => ".efi",
            };
            // Behind the ending only a profile stands.
            let parts = entry.id.rsplit_once(ending);
            let is_short =
                parts.is_some_and(|(stem, profile)| id.strip_prefix(stem) == Some(profile));
            entry.id == id || is_short
        };
        self.entries
            .iter()
            .find(is_it)
            .ok_or_else(|| Error::NoSuchEntry {
                id: id.to_owned(),
                known: self.entries.iter().map(|entry| entry.id.clone()).collect(),
            })
    }

    fn add(&mut self, read: Result<Vec<Entry>>) {
        match read {
            Ok(entries) => {
                for entry in entries {
                    // The same file through two mounts is one entry.
                    let same = |other: &Entry| {
                        other.id == entry.id && other.tries_left == entry.tries_left
                    };
                    if !self.entries.iter().any(same) {
                        self.entries.push(entry);
                    }
                }
            }
            Err(problem) => self.problems.push(problem),
        }
    }
}

/// Files of a folder with this ending (any case), sorted; none when there is no such folder.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let read = Error::read(folder);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(read(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(&read)?.path();
        if path
            .extension()
            .is_some_and(|found| found.eq_ignore_ascii_case(ending))
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn efi_default(root: &Path) -> Option<String> {
    let bytes = file::read(&root.join(DEFAULT_VARIABLE)).ok()?;
    let units = bytes
        .get(4..)?
        .chunks_exact(2)
        .filter_map(|pair| pair.try_into().ok());
    let units: Vec<u16> = units
        .map(u16::from_le_bytes)
        .take_while(|unit| *unit != 0)
        .collect();
    String::from_utf16(&units).ok().filter(|id| !id.is_empty())
}
