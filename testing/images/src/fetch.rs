//! From an item to its files: lock file, cache, archive, extraction.

use std::fs;
use std::path::PathBuf;

use crate::item::{Item, only_match};
use crate::lock::Locked;
use crate::store::Store;
use crate::{Error, Result, cache, install, lock, resolve};

/// Returns the path of the item's file or directory, fetching it if the cache lacks it.
///
/// What the cache has in the locked version needs no network. Many processes may call this at once. A package that
/// the archive no longer has is replaced by the newest that matches, and standard error says so.
///
/// # Errors
/// Any [`Error`]; [`Error::Hash`] when the archive has other bytes under the locked version.
pub fn fetch(item: Item) -> Result<PathBuf> {
    let say = |note: &str| eprintln!("kpeel-images: {note}");
    Fetch {
        store: &Store::of_system(),
        item,
        say: &say,
    }
    .path(&lock::read()?)
}

/// A package that an item is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The package's name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

/// The packages that [`fetch`] would take the item from, as far as is known without asking the archive: those locked,
/// or those that replaced them at an earlier fetch. A fetch may learn that they must be replaced, so ask again then.
///
/// # Errors
/// [`Error::Lock`] or [`Error::Io`] when the lock file cannot be read.
pub fn origins(item: Item) -> Result<Vec<Origin>> {
    Fetch {
        store: &Store::of_system(),
        item,
        say: &|_| (),
    }
    .origins(&lock::read()?)
}

/// Looks up the newest version of an item's packages and writes it into the lock file; returns the lines.
///
/// # Errors
/// [`Error::NoPackage`] when nothing matches, and whatever apt says.
pub fn refresh_lock(item: Item) -> Result<Vec<String>> {
    let resolved = resolve::resolve(&Store::of_system(), item)?;
    lock::replace(item, &resolved)?;
    Ok(resolved.iter().map(Locked::line).collect())
}

/// One item being fetched.
struct Fetch<'a> {
    store: &'a Store,
    item: Item,
    /// Takes what the user should know.
    say: &'a dyn Fn(&str),
}

impl Fetch<'_> {
    fn path(&self, lock: &[Locked]) -> Result<PathBuf> {
        let locked = self.locked(lock);
        let mut wanted = locked.clone();
        if let Some(found) = self.substitute(&locked)? {
            wanted = found;
            self.tell_substitute(&locked, &wanted);
        }
        if let Some(found) = self.ready(&wanted)? {
            return Ok(found);
        }
        let _held = cache::lock(&self.dir().join("lock"))?;
        if let Some(found) = self.ready(&wanted)? {
            return Ok(found);
        }
        let mut debs = self.debs(&wanted)?;
        if debs.is_none() {
            wanted = resolve::resolve(self.store, self.item)?;
            self.tell_substitute(&locked, &wanted);
            let substitute = self.substitute_path(&locked);
            cache::write(&substitute, lock::render(&wanted).as_bytes())?;
            if let Some(found) = self.ready(&wanted)? {
                return Ok(found);
            }
            debs = self.debs(&wanted)?;
        }
        let debs = debs.ok_or_else(|| vanished(&wanted))?;
        install::install(self.item, &debs, &self.tree(&wanted))?;
        let found = self.ready(&wanted)?;
        found.ok_or_else(|| {
            Error::unexpected(&self.dir(), "extracted item", "nothing", self.item.name())
        })
    }

    fn origins(&self, lock: &[Locked]) -> Result<Vec<Origin>> {
        let locked = self.locked(lock);
        let wanted = self.substitute(&locked)?.unwrap_or(locked);
        let origin = |line: Locked| Origin {
            package: line.package,
            version: line.version,
            sha256: line.sha256,
        };
        Ok(wanted.into_iter().map(origin).collect())
    }

    fn locked(&self, lock: &[Locked]) -> Vec<Locked> {
        let ours = lock.iter().filter(|line| line.item == self.item.name());
        ours.cloned().collect()
    }

    /// What an earlier fetch took because the archive no longer had what is locked.
    fn substitute(&self, locked: &[Locked]) -> Result<Option<Vec<Locked>>> {
        match fs::read_to_string(self.substitute_path(locked)) {
            Ok(text) => lock::parse(&text).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn substitute_path(&self, locked: &[Locked]) -> PathBuf {
        self.dir().join(format!("{}.substitute", self.key(locked)))
    }

    fn dir(&self) -> PathBuf {
        self.store.dir.join("items").join(self.item.name())
    }

    /// Where these packages' files are, or will be.
    fn tree(&self, wanted: &[Locked]) -> PathBuf {
        self.dir().join(self.key(wanted))
    }

    fn key(&self, wanted: &[Locked]) -> String {
        let text = format!(
            "{LAYOUT}\n{:?}\n{}",
            self.item.recipe(),
            lock::render(wanted)
        );
        cache::sha256(text.as_bytes())[..16].to_owned()
    }

    fn ready(&self, wanted: &[Locked]) -> Result<Option<PathBuf>> {
        let tree = self.tree(wanted);
        if wanted.is_empty() || !tree.is_dir() {
            return Ok(None);
        }
        match self.item.recipe().file {
            Some(pattern) => only_match(&tree, &pattern).map(Some),
            None => Ok(Some(tree)),
        }
    }

    /// The packages, or none when the archive no longer has all of them, or they are not all locked.
    fn debs(&self, wanted: &[Locked]) -> Result<Option<Vec<PathBuf>>> {
        if wanted.len() != self.item.recipe().packages.len() {
            return Ok(None);
        }
        wanted.iter().map(|line| self.store.package(line)).collect()
    }

    fn tell_substitute(&self, locked: &[Locked], found: &[Locked]) {
        let (name, found) = (self.item.name(), list(found));
        let note = match locked {
            [] => format!("{name}: using {found}; images.lock does not name it"),
            _ => format!(
                "{name}: using {found}; locked, but gone from the archive: {}",
                list(locked)
            ),
        };
        (self.say)(&note);
    }
}

/// Changes with the layout that [`install`] makes, so that an older cache is not taken for a new one.
const LAYOUT: &str = "1";

fn list(lines: &[Locked]) -> String {
    let lines = lines
        .iter()
        .map(|line| format!("{} {} ({})", line.package, line.version, line.suite));
    lines.collect::<Vec<_>>().join(", ")
}

/// The archive lost a package between its index and its download.
fn vanished(wanted: &[Locked]) -> Error {
    let all = |part: fn(&Locked) -> &str| wanted.iter().map(part).collect::<Vec<_>>().join(", ");
    Error::NoPackage {
        pattern: all(|line| &line.package),
        version: all(|line| &line.version),
        arch: all(|line| &line.arch),
        suites: all(|line| &line.suite),
    }
}

#[cfg(test)]
mod tests;
