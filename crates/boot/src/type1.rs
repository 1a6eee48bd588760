//! Type 1 entries: text files in `loader/entries`.

use std::path::{Path, PathBuf};

use crate::entry::{Entry, Kind, split_counter};
use crate::error::{Error, Result};
use crate::file;

/// This machine's name in `architecture` keys, and the other spellings systemd-boot accepts.
#[cfg(target_arch = "x86_64")]
pub(crate) const ARCHITECTURE: &str = "x64";
/// See above.
#[cfg(target_arch = "aarch64")]
pub(crate) const ARCHITECTURE: &str = "aa64";
/// See above.
#[cfg(target_arch = "riscv64")]
pub(crate) const ARCHITECTURE: &str = "riscv64";
/// See above.
#[cfg(target_arch = "loongarch64")]
pub(crate) const ARCHITECTURE: &str = "loongarch64";

/// Reads the entry at `path`, whose paths count from `root`; `None` for another architecture's.
///
/// # Errors
/// [`Error::Read`], [`Error::Malformed`], [`Error::Unsupported`].
pub(crate) fn read(root: &Path, path: &Path) -> Result<Option<Entry>> {
    let bytes = file::read(path)?;
    parse(root, path, &String::from_utf8_lossy(&bytes))
}

fn parse(root: &Path, path: &Path, text: &str) -> Result<Option<Entry>> {
    let keys = keys(text);
    let all = |key: &str| -> Vec<&str> {
        keys.iter()
            .filter(|(name, _)| *name == key)
            .map(|(_, value)| *value)
            .collect()
    };
    // Keys that may stand once: the last one counts, as in systemd-boot.
    let last = |key: &str| all(key).last().map(|value| (*value).to_owned());
    if last("architecture").is_some_and(|name| !name.eq_ignore_ascii_case(ARCHITECTURE)) {
        return Ok(None);
    }
    let malformed = |key: &str, found: String, needed| {
        Err(Error::Malformed {
            path: path.to_owned(),
            key: key.to_owned(),
            found,
            needed,
        })
    };
    let images: Vec<(&str, String)> = ["linux", "uki", "efi"]
        .into_iter()
        .filter_map(|key| last(key).map(|value| (key, value)))
        .collect();
    let (image_key, image) = match images.as_slice() {
        [one] => one.clone(),
        [] if last("uki-url").is_some() => {
            return Err(Error::Unsupported {
                path: path.to_owned(),
                key: "uki-url",
                instead: "download the image and load it by its path",
            });
        }
        [] => return malformed("linux", "nothing".into(), "one of linux, uki, efi"),
        several => {
            let found = several
                .iter()
                .map(|(key, _)| *key)
                .collect::<Vec<_>>()
                .join(" and ");
            return malformed("linux", found, "one of linux, uki, efi");
        }
    };
    if !all("devicetree-overlay").is_empty() {
        return Err(Error::Unsupported {
            path: path.to_owned(),
            key: "devicetree-overlay",
            instead: "apply the overlay and load with --dtb",
        });
    }
    let stem = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let (name, tries_left) = split_counter(&stem);
    let source = path.to_owned();
    let mut entry = Entry::new(
        format!("{name}.conf"),
        Kind::Type1,
        source,
        below(root, &image),
    );
    entry.tries_left = tries_left;
    entry.version = last("version");
    entry.machine_id = last("machine-id");
    entry.sort_key = last("sort-key");
    entry.title = last("title").unwrap_or(entry.title);
    entry.initrds = all("initrd")
        .into_iter()
        .map(|value| below(root, value))
        .collect();
    entry.devicetree = last("devicetree").map(|value| below(root, &value));
    let options = all("options");
    // A kernel without options gets an empty line; an image keeps its own.
    entry.options = (image_key == "linux" || !options.is_empty()).then(|| options.join(" "));
    if let Some(profile) = last("profile") {
        match profile.trim_start_matches('@').parse() {
            Ok(number) => entry.profile = Some(number),
            Err(_) => return malformed("profile", profile, "a profile number"),
        }
    }
    Ok(Some(entry))
}

/// Keys and values in order; comments and lines without value are passed over.
fn keys(text: &str) -> Vec<(&str, &str)> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once(char::is_whitespace));
    pairs.map(|(key, value)| (key, value.trim())).collect()
}

/// A path of an entry: absolute below its partition's root, never above it.
fn below(root: &Path, path: &str) -> PathBuf {
    use std::path::Component;
    let path = path.replace('\\', "/");
    let parts = Path::new(&path)
        .components()
        .filter(|part| matches!(part, Component::Normal(_)));
    parts.fold(root.to_owned(), |whole, part| whole.join(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Result<Option<Entry>> {
        parse(
            Path::new("/efi"),
            Path::new("/efi/loader/entries/deb-6.12+3-1.conf"),
            text,
        )
    }

    #[test]
    fn reads_every_key() {
        let entry = entry(
            "# comment\n\
             title   Debian 13\n\
             version 6.12.5\n\
             machine-id 0123\n\
             sort-key debian\n\
             linux /deb/linux\n\
             initrd /deb/microcode\n\
             initrd \\deb\\initrd\n\
             options root=/dev/vda\n\
             options quiet\n\
             devicetree /deb/board.dtb\n",
        )
        .unwrap()
        .unwrap();
        assert_eq!(
            (entry.id.as_str(), entry.tries_left),
            ("deb-6.12.conf", Some(3))
        );
        assert_eq!(entry.title, "Debian 13");
        assert_eq!(entry.image, Path::new("/efi/deb/linux"));
        assert_eq!(
            entry.initrds,
            [
                Path::new("/efi/deb/microcode"),
                Path::new("/efi/deb/initrd")
            ]
        );
        assert_eq!(entry.options.as_deref(), Some("root=/dev/vda quiet"));
        assert_eq!(
            entry.devicetree.as_deref(),
            Some(Path::new("/efi/deb/board.dtb"))
        );
    }

    #[test]
    fn an_image_without_options_keeps_its_own_line() {
        let uki = entry("uki /EFI/Linux/a.efi\nprofile 2\n").unwrap().unwrap();
        assert_eq!((uki.options, uki.profile), (None, Some(2)));
        let linux = entry("linux /vmlinuz\n").unwrap().unwrap();
        assert_eq!(linux.options.as_deref(), Some(""));
    }

    #[test]
    fn skips_other_architectures_only() {
        assert_eq!(entry("linux /l\narchitecture ia32\n").unwrap(), None);
        let own = format!("linux /l\narchitecture {}\n", ARCHITECTURE.to_uppercase());
        assert!(entry(&own).unwrap().is_some());
    }

    #[test]
    fn rejects_entries_without_or_with_two_images() {
        for text in ["title x\n", "linux /a\nuki /b\n"] {
            assert!(
                matches!(entry(text), Err(Error::Malformed { .. })),
                "{text}"
            );
        }
        assert!(matches!(
            entry("uki-url http://x/\n"),
            Err(Error::Unsupported { .. })
        ));
        assert!(matches!(
            entry("uki /a\nprofile x\n"),
            Err(Error::Malformed { .. })
        ));
    }

    #[test]
    fn paths_never_leave_their_partition() {
        let entry = entry("linux /../../etc/shadow\n").unwrap().unwrap();
        assert_eq!(entry.image, Path::new("/efi/etc/shadow"));
    }
}
