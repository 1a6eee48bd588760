//! Fetching from an archive of the tests' own, whose packages come, go and change.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::make::Scratch;
use crate::sources::Archives;
use crate::tool;

/// A recipe of one package with a version pattern, in one suite.
const ITEM: Item = Item::StubAmd64V257;
const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";

/// An archive in a directory, a cache beside it, and what was said to the user.
struct World {
    dir: Scratch,
    store: Store,
    notes: RefCell<Vec<String>>,
}

impl World {
    fn new() -> Self {
        let dir = Scratch::new().unwrap();
        let archives = Archives::unsigned(&dir.join("archive"));
        let store = Store {
            dir: dir.join("cache"),
            archives,
        };
        let world = Self {
            dir,
            store,
            notes: RefCell::default(),
        };
        world.publish(&[]);
        world
    }

    /// Makes these versions, each with a content, all that the archive has.
    fn publish(&self, versions: &[(&str, &str)]) {
        let binary = self.dir.join("archive/dists/trixie/main/binary-amd64");
        let pool = self.dir.join("archive/pool");
        cache::remove_dir(&pool).unwrap();
        fs::create_dir_all(&binary).unwrap();
        fs::create_dir_all(&pool).unwrap();
        let stanzas: String = versions
            .iter()
            .map(|(version, content)| self.build(version, content))
            .collect();
        fs::write(binary.join("Packages"), stanzas).unwrap();
        // Whatever is in the cache's apt root is out of date now.
        let _ = fs::remove_file(self.store.dir.join("apt/trixie-amd64/updated"));
    }

    /// Builds one package and returns its stanza of the index.
    fn build(&self, version: &str, content: &str) -> String {
        let tree = self.dir.join("tree");
        cache::remove_dir(&tree).unwrap();
        let stub = tree.join(STUB);
        fs::create_dir_all(stub.parent().unwrap()).unwrap();
        fs::write(&stub, content).unwrap();
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        let control = format!(
            "Package: systemd-boot-efi\nVersion: {version}\nArchitecture: amd64\nMaintainer: t <t@example.org>\nDescription: t\n"
        );
        fs::write(tree.join("DEBIAN/control"), &control).unwrap();
        let name = format!("pool/systemd-boot-efi_{version}_amd64.deb");
        let deb = self.dir.join("archive").join(&name);
        tool::run(
            Command::new("dpkg-deb")
                .args(["--root-owner-group", "--build"])
                // The same package built twice has the same bytes, whatever the second.
                .env("SOURCE_DATE_EPOCH", "1")
                .arg(&tree)
                .arg(&deb),
        )
        .unwrap();
        let (size, sha256) = (
            fs::metadata(&deb).unwrap().len(),
            cache::sha256_file(&deb).unwrap(),
        );
        format!("{control}Filename: {name}\nSize: {size}\nSHA256: {sha256}\n\n")
    }

    fn fetch(&self, lock: &[Locked]) -> Result<PathBuf> {
        let say = |note: &str| self.notes.borrow_mut().push(note.to_owned());
        Fetch {
            store: &self.store,
            item: ITEM,
            say: &say,
        }
        .path(lock)
    }

    fn versions(&self, lock: &[Locked]) -> Vec<String> {
        let fetch = Fetch {
            store: &self.store,
            item: ITEM,
            say: &|_| (),
        };
        let origins = fetch.origins(lock).unwrap();
        origins.into_iter().map(|origin| origin.version).collect()
    }

    fn fetched(&self, lock: &[Locked]) -> String {
        fs::read_to_string(self.fetch(lock).unwrap()).unwrap()
    }

    fn newest(&self) -> Vec<Locked> {
        resolve::resolve(&self.store, ITEM).unwrap()
    }
}

#[test]
fn fetches_the_locked_version_though_a_newer_one_is_there() {
    let world = World::new();
    world.publish(&[("257.1", "old")]);
    let lock = world.newest();
    world.publish(&[("257.1", "old"), ("257.2", "new")]);
    assert_eq!(world.fetched(&lock), "old");
    assert_eq!(*world.notes.borrow(), [""; 0]);
}

#[test]
fn origins_are_what_is_locked_until_a_fetch_replaced_it() {
    let world = World::new();
    world.publish(&[("257.1", "old")]);
    let lock = world.newest();
    assert_eq!(world.versions(&lock), ["257.1"]);
    world.publish(&[("257.9", "nine")]);
    assert_eq!(world.versions(&lock), ["257.1"]);
    assert_eq!(world.fetched(&lock), "nine");
    assert_eq!(world.versions(&lock), ["257.9"]);
}

#[test]
fn needs_no_archive_for_what_is_cached() {
    let world = World::new();
    world.publish(&[("257.1", "old")]);
    let lock = world.newest();
    let first = world.fetch(&lock).unwrap();
    cache::remove_dir(&world.dir.join("archive")).unwrap();
    cache::remove_dir(&world.store.dir.join("apt")).unwrap();
    assert_eq!(world.fetch(&lock).unwrap(), first);
    // The package alone is enough as well.
    cache::remove_dir(&world.store.dir.join("items")).unwrap();
    assert_eq!(world.fetched(&lock), "old");
}

#[test]
fn replaces_a_vanished_version_by_the_newest_that_fits_and_says_so_each_time() {
    let world = World::new();
    world.publish(&[("257.1", "old")]);
    let lock = world.newest();
    world.publish(&[("257.9", "nine"), ("257.10", "ten"), ("258.1", "no fit")]);
    assert_eq!(world.fetched(&lock), "ten");
    cache::remove_dir(&world.dir.join("archive")).unwrap();
    assert_eq!(world.fetched(&lock), "ten");
    let note = "stub-amd64-257: using systemd-boot-efi 257.10 (trixie); \
                locked, but gone from the archive: systemd-boot-efi 257.1 (trixie)";
    assert_eq!(*world.notes.borrow(), [note, note]);
}

#[test]
fn needs_no_index_for_what_is_locked() {
    let world = World::new();
    world.publish(&[("257.1", "old")]);
    let lock = world.newest();
    cache::remove_dir(&world.dir.join("archive/dists")).unwrap();
    cache::remove_dir(&world.store.dir.join("apt")).unwrap();
    assert_eq!(world.fetched(&lock), "old");
    assert!(world.dir.join("archive").join(&lock[0].path).exists());
    // Without the lock's word the index is missed.
    assert!(World::new().fetch(&[]).is_err());
}

#[test]
fn refuses_other_bytes_under_the_locked_version() {
    let world = World::new();
    world.publish(&[("257.1", "old")]);
    let lock = world.newest();
    world.publish(&[("257.1", "changed")]);
    let error = world.fetch(&lock).unwrap_err();
    assert!(
        matches!(&error, Error::Hash { needed, .. } if *needed == lock[0].sha256),
        "{error}"
    );
}

#[test]
fn refuses_a_package_that_is_not_what_the_index_says() {
    let world = World::new();
    world.publish(&[("257.1", "old")]);
    let lock = world.newest();
    let deb = world
        .dir
        .join("archive/pool/systemd-boot-efi_257.1_amd64.deb");
    let mut bytes = fs::read(&deb).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&deb, bytes).unwrap();
    let error = world.fetch(&lock).unwrap_err();
    assert!(matches!(&error, Error::Tool { .. }), "{error}");
}

#[test]
fn takes_the_newest_and_says_so_when_nothing_is_locked() {
    let world = World::new();
    world.publish(&[("257.1", "old"), ("257.2", "new")]);
    assert_eq!(world.fetched(&[]), "new");
    assert!(world.notes.borrow()[0].ends_with("images.lock does not name it"));
}

#[test]
fn names_what_no_suite_has() {
    let world = World::new();
    world.publish(&[("252.1", "too old")]);
    let error = world.fetch(&[]).unwrap_err().to_string();
    assert_eq!(
        error,
        "no package matches systemd-boot-efi (version 257.*) for amd64 in trixie (no match)"
    );
}

#[test]
fn many_at_once_fetch_once() {
    let world = World::new();
    world.publish(&[("257.1", "old")]);
    let lock = world.newest();
    let store = &world.store;
    let paths: Vec<PathBuf> = std::thread::scope(|scope| {
        let fetch = || {
            Fetch {
                store,
                item: ITEM,
                say: &|_| {},
            }
            .path(&lock)
            .unwrap()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(fetch)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(paths.iter().all(|path| fs::read(path).unwrap() == b"old"));
}
