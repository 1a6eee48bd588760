//! Entries are found at the usual mounts, ordered, and chosen as systemd-boot would.

use std::fs;
use std::path::{Path, PathBuf};

use kpeel_boot::{Boot, Error, Partitions};

/// A system's root, gone with the value.
struct Root(PathBuf);

impl Root {
    fn new(name: &str, files: &[(&str, &[u8])]) -> Self {
        let path = std::env::temp_dir().join(format!("kpeel-boot-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        for (file, bytes) in files {
            let file = path.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, bytes).unwrap();
        }
        Self(path)
    }

    fn boot(&self) -> Boot {
        Boot::read(&self.0, Partitions::usual(&self.0)).unwrap()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn ids(boot: &Boot) -> Vec<&str> {
    boot.entries()
        .iter()
        .map(|entry| entry.id.as_str())
        .collect()
}

const VARIABLE: &str =
    "sys/firmware/efi/efivars/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

#[test]
fn finds_entries_of_all_partitions_in_order() {
    let root = Root::new(
        "order",
        &[
            (
                "efi/loader/entries/a.conf",
                b"linux /a\nsort-key d\nversion 6.9\n",
            ),
            (
                "boot/loader/entries/b.conf",
                b"linux /b\nsort-key d\nversion 6.12\n",
            ),
            (
                "boot/loader/entries/broken.conf",
                b"title nothing to load\n",
            ),
            ("boot/loader/entries/note.txt", b"linux /c\n"),
        ],
    );
    let boot = root.boot();
    assert_eq!(ids(&boot), ["b.conf", "a.conf"]);
    assert_eq!(boot.entries()[0].image, root.0.join("boot/b"));
    assert!(matches!(boot.problems(), [Error::Malformed { .. }]));
    assert_eq!(boot.default_entry().unwrap().id, "b.conf");
}

#[test]
fn loader_conf_and_then_the_firmware_choose_the_default() {
    let entries: [(&str, &[u8]); 3] = [
        (
            "efi/loader/entries/a.conf",
            b"linux /a\nsort-key d\nversion 2\n",
        ),
        (
            "efi/loader/entries/b.conf",
            b"linux /b\nsort-key d\nversion 1\n",
        ),
        ("efi/loader/loader.conf", b"timeout 3\ndefault B.*\n"),
    ];
    let root = Root::new("conf", &entries);
    assert_eq!(root.boot().default_entry().unwrap().id, "b.conf");
    let mut variable = vec![7, 0, 0, 0];
    variable.extend("a.conf\0".encode_utf16().flat_map(u16::to_le_bytes));
    let mut files = entries.to_vec();
    files.push((VARIABLE, &variable));
    let root = Root::new("variable", &files);
    assert_eq!(root.boot().default_entry().unwrap().id, "a.conf");
}

#[test]
fn an_id_may_leave_its_ending_out() {
    let root = Root::new(
        "id",
        &[("efi/loader/entries/deb-6.12+2.conf", b"linux /a\n")],
    );
    let boot = root.boot();
    for id in ["deb-6.12.conf", "deb-6.12"] {
        assert_eq!(boot.entry(id).unwrap().tries_left, Some(2));
    }
    let Err(Error::NoSuchEntry { known, .. }) = boot.entry("deb") else {
        panic!("a part of an id is none");
    };
    assert_eq!(known, ["deb-6.12.conf"]);
}

#[test]
fn a_system_without_entries_says_where_it_looked() {
    let boot = Boot::read(
        Path::new("/nowhere"),
        Partitions::usual(Path::new("/nowhere")),
    )
    .unwrap();
    assert!(matches!(boot.default_entry(), Err(Error::NoEntries { .. })));
    let other = Partitions::at(vec!["/nowhere/esp".into()]);
    let boot = Boot::read(Path::new("/nowhere"), other).unwrap();
    assert!(
        boot.default_entry()
            .unwrap_err()
            .to_string()
            .contains("/nowhere/esp")
    );
}
