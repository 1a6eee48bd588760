//! Type 2 entries: Unified Kernel Images in `EFI/Linux`, one entry for each profile.

use std::fs;
use std::path::Path;

use kpeel_envelope::pe::{Pe, looks_like_pe};
use kpeel_envelope::section::Section as Found;
use kpeel_formats::uki::Kind as Section;

use crate::entry::{Entry, Kind, split_counter};
use crate::error::{Error, Result};

/// Reads the image at `path`; none for files that are no UKI.
///
/// # Errors
/// [`Error::Read`], [`Error::Image`] for what starts as a PE image and is none, and [`Error::Malformed`] for texts too long.
pub(crate) fn read(path: &Path) -> Result<Vec<Entry>> {
    let bytes = fs::read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let pe = match Pe::parse(&bytes) {
        Ok(pe) => pe,
        Err(_) if !looks_like_pe(&bytes) => return Ok(Vec::new()),
        Err(error) => {
            let path = path.to_owned();
            return Err(Error::Image { path, error });
        }
    };
    if pe.find(Section::Linux.name()).next().is_none() {
        return Ok(Vec::new());
    }
    // The ending may be in either case.
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let (stem, tries_left) = split_counter(&stem);
    let base = base(&pe, path, stem, tries_left)?;
    let profiles = pe
        .find(Section::Profile.name())
        .map(|section| text(path, &section))
        .collect::<Result<Vec<String>>>()?;
    if profiles.is_empty() {
        return Ok(vec![base]);
    }
    Ok(profiles
        .iter()
        .zip(0..)
        .map(|(profile, number)| with_profile(&base, profile, number))
        .collect())
}

fn base(pe: &Pe<'_>, path: &Path, stem: &str, tries_left: Option<u32>) -> Result<Entry> {
    let section = |kind: Section| {
        let found = pe.find(kind.name()).next();
        found.map(|found| text(path, &found)).transpose()
    };
    let release = section(Section::Osrel)?.unwrap_or_default();
    let id = format!("{stem}.efi");
    let mut entry = Entry::new(id, Kind::Type2, path.to_owned(), path.to_owned());
    entry.title = first(&release, &["PRETTY_NAME", "NAME", "ID"]).unwrap_or(entry.title);
    entry.sort_key = first(&release, &["IMAGE_ID", "ID"]);
    entry.version = section(Section::Uname)?
        .map(|uname| uname.trim().to_owned())
        .filter(|uname| !uname.is_empty())
        .or_else(|| {
            first(
                &release,
                &["IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID"],
            )
        });
    entry.tries_left = tries_left;
    Ok(entry)
}

fn with_profile(base: &Entry, profile: &str, number: u32) -> Entry {
    let mut entry = base.clone();
    entry.profile = Some(number);
    if number != 0 {
        entry.id = format!("{}@{number}", base.id);
    }
    if let Some(title) = first(profile, &["TITLE", "ID"]) {
        entry.title = format!("{} ({title})", base.title);
    }
    entry
}

/// The value of the first of `keys` that an environment-style text sets.
fn first(text: &str, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
        let value = line.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    })
}

/// Most bytes of a section that is read as text, of which every profile's entry has a copy.
const TEXT_MAX: usize = 16 << 10;

fn text(path: &Path, section: &Found<'_>) -> Result<String> {
    let bytes = section.data();
    if bytes.len() > TEXT_MAX {
        return Err(Error::Malformed {
            path: path.to_owned(),
            key: section.name().escape_ascii().to_string(),
            found: format!("{} bytes", bytes.len()),
            needed: "at most 16384 bytes",
        });
    }
    Ok(String::from_utf8_lossy(bytes)
        .trim_end_matches('\0')
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_key_that_is_set() {
        let text = "NAME=Debian\nPRETTY_NAME=\"Debian 13\"\nID=''\n";
        assert_eq!(
            first(text, &["PRETTY_NAME", "NAME"]).as_deref(),
            Some("Debian 13")
        );
        assert_eq!(first(text, &["ID"]), None);
    }
}
