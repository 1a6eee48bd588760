//! Entries are found at the usual mounts, ordered, and chosen as systemd-boot would.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use kpeel_boot::{Boot, Entry, Error, Partitions};

#[path = "../../envelope/tests/support/mod.rs"]
mod support;
use support::image;

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

/// Two entries, `a.conf` and `z.conf`, of which `z.conf` comes first, and this `loader.conf`.
fn with_conf(name: &str, conf: &[u8]) -> Root {
    let entries: [(&str, &[u8]); 3] = [
        ("efi/loader/entries/a.conf", b"linux /a\n"),
        ("efi/loader/entries/z.conf", b"linux /z\n"),
        ("efi/loader/loader.conf", conf),
    ];
    Root::new(name, &entries)
}

#[test]
fn loader_conf_is_read_as_systemd_boot_does() {
    for (name, conf) in [
        ("latin-1", &b"# caf\xe9\ndefault a.conf\n"[..]),
        ("quotes", b"default \"a.conf\"\n"),
    ] {
        let root = with_conf(name, conf);
        assert_eq!(root.boot().default_entry().unwrap().id, "a.conf", "{name}");
    }
}

#[test]
fn loader_conf_that_cannot_be_read_is_told() {
    let root = Root::new(
        "unreadable",
        &[("efi/loader/loader.conf/a-file-below", b"")],
    );
    let boot = root.boot();
    let [problem @ Error::Malformed { path, .. }] = boot.problems() else {
        panic!("{:?}", boot.problems());
    };
    assert_eq!(*path, root.0.join("efi/loader/loader.conf"));
    let text = problem.to_string();
    assert!(
        text.ends_with("loader.conf: type: found a directory, needed a regular file"),
        "{text}"
    );
}

/// What is no file is told, whatever it stands for, and the others stay listed.
#[test]
fn only_regular_files_are_opened() {
    let uki = image(&[(".linux", b"kernel")]);
    let root = Root::new(
        "others",
        &[
            ("efi/loader/entries/a.conf", b"linux /a\n"),
            ("efi/EFI/Linux/u.efi", &uki),
        ],
    );
    let (fifos, links) = (
        [
            "loader/entries/b.conf",
            "loader/loader.conf",
            "EFI/Linux/y.efi",
        ],
        ["loader/entries/c.conf", "EFI/Linux/z.efi"],
    );
    let esp = root.0.join("efi");
    let mut paths = fifos.map(|path| esp.join(path)).to_vec();
    paths.push(root.0.join(VARIABLE));
    for path in &paths {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let made = Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    }
    for path in links {
        symlink("/dev/zero", esp.join(path)).unwrap();
    }
    // Who reads these waits for ever, or for as long as there is memory.
    let (told, boots) = mpsc::channel();
    let path = root.0.clone();
    std::thread::spawn(move || told.send(Boot::read(&path, Partitions::usual(&path))));
    let boot = boots.recv_timeout(Duration::from_secs(20)).unwrap();
    let boot = boot.unwrap();
    assert_eq!(ids(&boot), ["u.efi", "a.conf"]);
    let told: Vec<_> = boot.problems().iter().map(ToString::to_string).collect();
    let wanted = [
        (fifos[0], "a FIFO"),
        (links[0], "a device"),
        (fifos[2], "a FIFO"),
        (links[1], "a device"),
        (fifos[1], "a FIFO"),
    ]
    .map(|(path, what)| {
        let path = esp.join(path);
        format!(
            "{}: type: found {what}, needed a regular file",
            path.display()
        )
    });
    assert_eq!(told, wanted);
}

#[test]
fn files_have_bounds() {
    const TEXT: u64 = 1 << 20;
    const IMAGE: u64 = i32::MAX as u64;
    let uki = image(&[(".linux", b"kernel"), (".osrel", b"ID=u\n")]);
    let files: [(&str, &[u8], u64, &str); 3] = [
        ("loader/entries/a.conf", b"linux /a\n", TEXT, "size"),
        ("loader/loader.conf", b"default u*\n", TEXT, "size"),
        ("EFI/Linux/u.efi", &uki, IMAGE, "image"),
    ];
    for (name, _, allowed, field) in files {
        for over in [false, true] {
            let inside = files.map(|(name, bytes, ..)| (format!("efi/{name}"), bytes));
            let inside = inside
                .each_ref()
                .map(|(name, bytes)| (name.as_str(), *bytes));
            let root = Root::new("bounds", &inside);
            let path = root.0.join("efi").join(name);
            let file = fs::File::options().write(true).open(path).unwrap();
            // A hole: nothing of it is on a disk.
            file.set_len(allowed + u64::from(over)).unwrap();
            let boot = root.boot();
            let (listed, told) = match (over, name) {
                (false, _) => (2, 0),
                (true, "loader/loader.conf") => (2, 1),
                (true, _) => (1, 1),
            };
            assert_eq!(boot.entries().len(), listed, "{name} {over}");
            assert_eq!(boot.problems().len(), told, "{name} {over}");
            for problem in boot.problems() {
                let text = problem.to_string();
                let found = format!("{name}: ");
                assert!(text.contains(&found), "{text}");
                let found = format!("{field}: found {}", allowed + 1);
                assert!(text.contains(&found), "{text}");
                let needed = format!("needed at most {allowed}");
                assert!(text.contains(&needed), "{text}");
            }
        }
    }
}

/// Headers behind what is read of an image are told, not taken for none.
#[test]
fn headers_of_a_uki_have_a_bound() {
    for (len, listed) in [(1 << 20, 1), ((1 << 20) + 0x200, 0)] {
        let mut uki = image(&[(".linux", b"kernel")]);
        let (at, size) = (support::section_field(0, 20), len as u32);
        support::put32(&mut uki, support::OPTIONAL + 60, size);
        support::put32(&mut uki, at, size);
        uki.resize(len + 0x200, 0);
        let root = Root::new("headers", &[("efi/EFI/Linux/u.efi", &uki)]);
        let boot = root.boot();
        assert_eq!(boot.entries().len(), listed);
        assert_eq!(boot.problems().len(), 1 - listed);
        for problem in boot.problems() {
            let text = problem.to_string();
            assert!(text.contains("SizeOfHeaders: found 1049088"), "{text}");
        }
    }
}

#[test]
fn an_entry_that_failed_does_not_hide_another_of_its_id() {
    let root = Root::new(
        "counters",
        &[
            ("efi/loader/entries/a+0-3.conf", b"linux /bad\n"),
            ("efi/loader/entries/a.conf", b"linux /good\n"),
        ],
    );
    let boot = root.boot();
    assert_eq!(boot.entries().len(), 2);
    assert_eq!(boot.entry("a.conf").unwrap().image, root.0.join("efi/good"));
    assert_eq!(boot.default_entry().unwrap().tries_left, None);
}

#[test]
fn an_id_may_hold_what_marks_a_profile() {
    let root = Root::new("at", &[("efi/loader/entries/a@b.conf", b"linux /a\n")]);
    for id in ["a@b.conf", "a@b"] {
        assert_eq!(root.boot().entry(id).unwrap().id, "a@b.conf");
    }
}

#[test]
fn versions_are_compared_as_numbers() {
    let root = Root::new(
        "zeros",
        &[
            (
                "efi/loader/entries/a.conf",
                b"linux /a\nsort-key k\nversion 6.9\n",
            ),
            (
                "efi/loader/entries/b.conf",
                b"linux /b\nsort-key k\nversion 6.01\n",
            ),
        ],
    );
    assert_eq!(ids(&root.boot()), ["a.conf", "b.conf"]);
}

#[test]
fn a_uki_counts_tries_whatever_the_case_of_its_ending() {
    let uki = image(&[(".linux", b"kernel")]);
    let root = Root::new("upper", &[("efi/EFI/Linux/U+0.EFI", &uki)]);
    let boot = root.boot();
    let entry = &boot.entries()[0];
    assert_eq!((entry.id.as_str(), entry.tries_left), ("U.efi", Some(0)));
}

#[test]
fn a_damaged_uki_is_told() {
    let uki = image(&[(".linux", b"kernel")]);
    let cut = uki.get(..uki.len() - 1).unwrap();
    let root = Root::new("cut", &[("efi/EFI/Linux/cut.efi", cut)]);
    let boot = root.boot();
    assert!(boot.entries().is_empty());
    let [problem @ Error::Image { .. }] = boot.problems() else {
        panic!("{:?}", boot.problems());
    };
    let text = problem.to_string();
    assert!(text.contains("cut.efi: malformed: "), "{text}");
    assert!(text.contains("found 1536"), "{text}");
}

#[test]
fn a_pattern_of_the_default_is_bounded() {
    let pattern = |len: usize| format!("a*{}", "*".repeat(len - 2));
    for (len, default) in [(1 << 10, "a.conf"), ((1 << 10) + 1, "z.conf")] {
        let conf = format!("default {}\n", pattern(len));
        let root = with_conf("pattern", conf.as_bytes());
        let boot = root.boot();
        assert_eq!(boot.default_entry().unwrap().id, default);
        let told: Vec<_> = boot.problems().iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), usize::from(len > 1 << 10));
        for text in told {
            let needed = "loader.conf: default: found 1025 bytes, needed at most 1024 bytes";
            assert!(text.ends_with(needed), "{text}");
        }
    }
}

/// What `loader.conf` says holds then.
#[test]
fn a_pattern_in_the_firmware_is_bounded_too() {
    let root = with_conf("firmware", b"default a.conf\n");
    let variable = "x".repeat(1025).encode_utf16().collect::<Vec<_>>();
    let variable = variable.into_iter().flat_map(u16::to_le_bytes);
    let path = root.0.join(VARIABLE);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(
        &path,
        [7, 0, 0, 0].into_iter().chain(variable).collect::<Vec<_>>(),
    )
    .unwrap();
    let boot = root.boot();
    assert_eq!(boot.default_entry().unwrap().id, "a.conf");
    let [problem @ Error::Malformed { path: told, .. }] = boot.problems() else {
        panic!("{:?}", boot.problems());
    };
    assert_eq!(*told, path);
    let text = problem.to_string();
    assert!(text.contains("found 1025 bytes"), "{text}");
}

/// What a UKI of these sections is listed as, and what is told of it.
fn listed(sections: &[(&str, &[u8])]) -> (Vec<Entry>, Vec<String>) {
    let uki = image(&[&[(".linux", &b"kernel"[..])], sections].concat());
    let root = Root::new("long", &[("efi/EFI/Linux/long.efi", &uki)]);
    let boot = root.boot();
    let told = boot.problems().iter().map(ToString::to_string);
    (boot.entries().to_vec(), told.collect())
}

#[test]
fn texts_of_a_uki_are_bounded() {
    for (len, count) in [(16 << 10, 1), ((16 << 10) + 1, 0)] {
        let (found, told) = listed(&[(".osrel", &vec![b'#'; len])]);
        assert_eq!((found.len(), told.len()), (count, 1 - count));
        for text in told {
            let needed = "long.efi: .osrel: found 16385 bytes, needed at most 16384 bytes";
            assert!(text.ends_with(needed), "{text}");
        }
    }
}

#[test]
fn the_sort_key_of_a_uki_is_bounded() {
    for key in ["IMAGE_ID", "ID"] {
        for (len, count) in [(256, 2), (257, 0)] {
            let text = format!("NAME=n\n{key}={}\n", "x".repeat(len));
            let profile = (".profile", b"ID=a".as_slice());
            let (found, told) = listed(&[(".osrel", text.as_bytes()), profile, profile]);
            assert_eq!(found.len(), count, "{key}: {told:?}");
            for text in &told {
                let needed = format!("{key}: found 257 bytes, needed at most 256 bytes");
                assert!(text.ends_with(&needed), "{text}");
            }
            assert_eq!(told.len(), usize::from(count == 0), "{key}");
        }
    }
}

/// Every profile's entry has a copy of them.
#[test]
fn long_titles_and_versions_of_a_uki_are_cut() {
    // The 256th byte is within a letter.
    let long = format!("x{}", "ä".repeat(9_000));
    let kept = format!("x{}", "ä".repeat(127));
    let release = |key: &str, len: usize| format!("ID=i\n{key}={}\n", &long[..len]);
    for (name, version) in [("PRETTY_NAME", "VERSION"), ("NAME", "IMAGE_VERSION")] {
        let release = release(name, 2_001) + &release(version, 2_001);
        let profile = format!("TITLE={long}");
        let (found, told) = listed(&[
            (".osrel", release.as_bytes()),
            (".profile", profile.as_bytes()),
            (".profile", b"TITLE=short"),
        ]);
        assert!(told.is_empty(), "{told:?}");
        let titles: Vec<_> = found.iter().map(|entry| entry.title.as_str()).collect();
        let wanted = [format!("{kept} ({kept})"), format!("{kept} (short)")];
        assert_eq!(titles, wanted);
        for entry in found {
            assert_eq!(entry.version.as_ref(), Some(&kept));
        }
    }
    let (found, told) = listed(&[(".uname", long.as_bytes())]);
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(found[0].version.as_ref(), Some(&kept));
}
