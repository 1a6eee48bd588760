//! One boot entry, of either type.

use std::path::PathBuf;

/// Which kind of file describes the entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A text file in `loader/entries`.
    Type1,
    /// A Unified Kernel Image in `EFI/Linux`.
    Type2,
}

/// One entry; paths are those of the running system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The file name without boot counter; profiles but the first add `@N`.
    pub id: String,
    /// Which kind.
    pub kind: Kind,
    /// The file that describes it.
    pub source: PathBuf,
    /// What menus show.
    pub title: String,
    /// Version, compared by UAPI.10.
    pub version: Option<String>,
    /// Machine id the entry belongs to.
    pub machine_id: Option<String>,
    /// First key of the order.
    pub sort_key: Option<String>,
    /// The kernel or image to load.
    pub image: PathBuf,
    /// Initrds in order.
    pub initrds: Vec<PathBuf>,
    /// Options, joined; `None` when the image's own line is meant.
    pub options: Option<String>,
    /// A device tree.
    pub devicetree: Option<PathBuf>,
    /// Profile of a UKI to select.
    pub profile: Option<u32>,
    /// Boot attempts left, from the file's name; 0 means that the entry is known to be bad.
    pub tries_left: Option<u32>,
}

impl Entry {
    /// An entry with an id, kind, source and image, and nothing else.
    pub(crate) fn new(id: String, kind: Kind, source: PathBuf, image: PathBuf) -> Self {
        Self {
            title: id.clone(),
            id,
            kind,
            source,
            version: None,
            machine_id: None,
            sort_key: None,
            image,
            initrds: Vec::new(),
            options: None,
            devicetree: None,
            profile: None,
            tries_left: None,
        }
    }
}

/// Splits a file's stem into the entry's name and the attempts left: `NAME+LEFT[-DONE]`.
pub(crate) fn split_counter(stem: &str) -> (&str, Option<u32>) {
    let Some((name, counter)) = stem.rsplit_once('+') else {
        return (stem, None);
    };
    let left = counter.split_once('-').map_or(counter, |(left, done)| {
        if done.bytes().all(|byte| byte.is_ascii_digit()) {
            left
        } else {
            ""
        }
    });
    match left.parse() {
        Ok(left) if !name.is_empty() => (name, Some(left)),
        _ => (stem, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_boot_counters_off() {
        assert_eq!(split_counter("debian+3-1"), ("debian", Some(3)));
        assert_eq!(split_counter("debian+0"), ("debian", Some(0)));
        assert_eq!(split_counter("debian"), ("debian", None));
        assert_eq!(
            split_counter("linux-6.12+deb12-amd64"),
            ("linux-6.12+deb12-amd64", None)
        );
    }
}
