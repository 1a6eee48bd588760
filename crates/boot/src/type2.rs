//! Type 2 entries: Unified Kernel Images in `EFI/Linux`, one entry for each profile.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

use kpeel_envelope::limits::Limits;
use kpeel_envelope::pe::{Headers, Pe, looks_like_pe};
use kpeel_envelope::section::Section as Found;
use kpeel_formats::uki::Kind as Section;

use crate::entry::{Entry, Kind, split_counter};
use crate::error::{Error, Result};
use crate::file;

/// Most bytes of an image's start that are read: they hold all headers.
const HEAD_MAX: u64 = 1 << 20;

/// Most bytes of a section that are read as text.
const TEXT_MAX: usize = 16 << 10;

/// Most bytes of one value in such a text: every profile's entry has a copy, and a small image may have many profiles.
const VALUE_MAX: usize = 256;

/// An image of which only headers and texts are read.
struct Image<'a> {
    path: &'a Path,
    file: &'a File,
    /// Sections seem to hold zeros.
    pe: Pe<'a>,
}

/// Reads the image at `path`; none for files that are no UKI.
///
/// # Errors
/// [`Error::Read`], [`Error::Image`] for what starts as a PE image and is none or for one too large, and
/// [`Error::Malformed`] for texts that order entries and are too long, and for what is no regular file.
pub(crate) fn read(path: &Path) -> Result<Vec<Entry>> {
    let (file, len) = file::open(path)?;
    let (bytes, head) = outline(path, &file, len)?;
    let head = bytes.get(..head).unwrap_or_default();
    // That headers end within what was read is checked first.
    let pe = match Headers::parse(head).and_then(|_| Pe::parse(&bytes)) {
        Ok(pe) => pe,
        Err(_) if !looks_like_pe(head) => return Ok(Vec::new()),
        Err(error) => return Err(wrong(path)(error)),
    };
    if pe.find(Section::Linux.name()).next().is_none() {
        return Ok(Vec::new());
    }
    // The ending may be in either case.
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let (stem, tries_left) = split_counter(&stem);
    let file = &file;
    let image = Image { path, file, pe };
    let base = image.base(stem, tries_left)?;
    let profiles = image.pe.find(Section::Profile.name()).zip(0..);
    let entries = profiles
        .map(|(section, number)| Ok(with_profile(&base, &image.start(&section)?, number)))
        .collect::<Result<Vec<_>>>()?;
    Ok(if entries.is_empty() {
        vec![base]
    } else {
        entries
    })
}

/// As many bytes as the image has, zeros behind its start: what is not touched takes no memory.
fn outline(path: &Path, file: &File, len: u64) -> Result<(Vec<u8>, usize)> {
    Limits::check("image", len, Limits::default().image).map_err(wrong(path))?;
    let no_memory = || Error::read(path)(ErrorKind::OutOfMemory.into());
    let size = usize::try_from(len).map_err(|_| no_memory())?;
    // `vec!` ends the process where there is no room; asking first does not.
    Vec::<u8>::new()
        .try_reserve_exact(size)
        .map_err(|_| no_memory())?;
    let mut bytes = vec![0; size];
    let head = usize::try_from(len.min(HEAD_MAX)).unwrap_or(size);
    file.read_exact_at(bytes.get_mut(..head).unwrap_or_default(), 0)
        .map_err(Error::read(path))?;
    Ok((bytes, head))
}

fn wrong(path: &Path) -> impl Fn(kpeel_envelope::error::Error) -> Error {
    move |error| Error::Image {
        path: path.to_owned(),
        error,
    }
}

impl Image<'_> {
    fn base(&self, stem: &str, tries_left: Option<u32>) -> Result<Entry> {
        let section = |kind: Section| self.pe.find(kind.name()).next();
        let release = section(Section::Osrel).map(|found| self.whole(&found));
        let release = release.transpose()?.unwrap_or_default();
        let uname = section(Section::Uname).map(|found| self.start(&found));
        let uname = uname.transpose()?.unwrap_or_default();
        let path = self.path;
        let id = format!("{stem}.efi");
        let mut entry = Entry::new(id, Kind::Type2, path.to_owned(), path.to_owned());
        let value = |keys| first(&release, keys).map(|(_, value)| value);
        if let Some(title) = value(&["PRETTY_NAME", "NAME", "ID"]) {
            entry.title = cut(title);
        }
        if let Some((key, value)) = first(&release, &["IMAGE_ID", "ID"]) {
            if value.len() > VALUE_MAX {
                return Err(self.too_long(key.to_owned(), value.len(), "at most 256 bytes"));
            }
            entry.sort_key = Some(value.to_owned());
        }
        let version = match uname.trim() {
            "" => value(&["IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID"]),
            uname => Some(uname),
        };
        entry.version = version.map(cut);
        entry.tries_left = tries_left;
        Ok(entry)
    }

    /// The text of a section from which more than shown values come: nothing of it may be missed.
    fn whole(&self, section: &Found<'_>) -> Result<String> {
        let len = section.data().len();
        if len > TEXT_MAX {
            let key = section.name().escape_ascii().to_string();
            return Err(self.too_long(key, len, "at most 16384 bytes"));
        }
        self.start(section)
    }

    /// As much of a section's text as is read.
    fn start(&self, section: &Found<'_>) -> Result<String> {
        let mut bytes = vec![0; section.data().len().min(TEXT_MAX)];
        self.file
            .read_exact_at(&mut bytes, section.raw_range().start as u64)
            .map_err(Error::read(self.path))?;
        Ok(String::from_utf8_lossy(&bytes)
            .trim_end_matches('\0')
            .to_owned())
    }

    fn too_long(&self, key: String, len: usize, needed: &'static str) -> Error {
        Error::Malformed {
            path: self.path.to_owned(),
            key,
            found: format!("{len} bytes"),
            needed,
        }
    }
}

fn with_profile(base: &Entry, profile: &str, number: u32) -> Entry {
    let mut entry = base.clone();
    entry.profile = Some(number);
    if number != 0 {
        entry.id = format!("{}@{number}", base.id);
    }
    if let Some((_, title)) = first(profile, &["TITLE", "ID"]) {
        entry.title = format!("{} ({})", base.title, cut(title));
    }
    entry
}

/// As much of a title or a version as an entry keeps: a long one is no reason to hide what it stands for.
fn cut(value: &str) -> String {
    let fits = |(at, letter): &(usize, char)| at.saturating_add(letter.len_utf8()) <= VALUE_MAX;
    let letters = value.char_indices().take_while(fits);
    letters.map(|(_, letter)| letter).collect()
}

/// The first of `keys` that an environment-style text sets, and its value.
fn first<'t>(text: &'t str, keys: &[&'t str]) -> Option<(&'t str, &'t str)> {
    keys.iter().find_map(|key| {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
        let value = line.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then_some((*key, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_key_that_is_set() {
        let text = "NAME=Debian\nPRETTY_NAME=\"Debian 13\"\nID=''\n";
        assert_eq!(
            first(text, &["PRETTY_NAME", "NAME"]),
            Some(("PRETTY_NAME", "Debian 13"))
        );
        assert_eq!(first(text, &["ID"]), None);
    }
}
