//! From an item to its files: lock file, cache, archive, extraction.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::apt::{Candidate, Root};
use crate::item::{Item, Package, Recipe, matched, only_match};
use crate::lock::Locked;
use crate::{Error, Result, cache, lock};

/// Returns the path of the item's file or directory, fetching it if the cache lacks it.
///
/// What the cache has in the locked version needs no network. Many processes may call this at once. A package that
/// the archive no longer has is replaced by the newest that matches, and standard error says so.
///
/// # Errors
/// Any [`Error`]; [`Error::Hash`] when the archive has other bytes under the locked version.
pub fn fetch(item: Item) -> Result<PathBuf> {
    let dir = cache::images_dir().join("items").join(item.name());
    let mut wanted: Vec<Locked> = lock::read()?
        .into_iter()
        .filter(|line| line.item == item.name())
        .collect();
    if wanted.is_empty() {
        eprintln!(
            "kpeel-images: {} is not in images.lock; taking the newest",
            item.name()
        );
    }
    let substitute = dir.join(format!("{}.substitute", key(item, &wanted)));
    if let Ok(text) = fs::read_to_string(&substitute) {
        let newer = lock::parse(&text)?;
        tell_substitute(item, &wanted, &newer);
        wanted = newer;
    }
    if let Some(found) = ready(item, &dir, &wanted)? {
        return Ok(found);
    }
    let _held = cache::lock(&dir.join("lock"))?;
    if let Some(found) = ready(item, &dir, &wanted)? {
        return Ok(found);
    }
    let debs = match obtain_locked(item, &wanted)? {
        Some(debs) => debs,
        None => {
            let newer = resolve(item)?;
            tell_substitute(item, &wanted, &newer);
            wanted = newer;
            cache::write(&substitute, lock::render(&wanted).as_bytes())?;
            if let Some(found) = ready(item, &dir, &wanted)? {
                return Ok(found);
            }
            obtain_locked(item, &wanted)?.ok_or_else(|| vanished(&wanted))?
        }
    };
    install(item, &dir, &wanted, &debs)?;
    let found = ready(item, &dir, &wanted)?;
    found.ok_or_else(|| Error::unexpected(&dir, "extracted item", "nothing", item.name()))
}

/// Looks up the newest version of an item's packages and writes it into the lock file; returns the lines.
///
/// # Errors
/// [`Error::NoPackage`] when nothing matches, and whatever apt says.
pub fn refresh_lock(item: Item) -> Result<Vec<String>> {
    let resolved = resolve(item)?;
    lock::replace(item, &resolved)?;
    Ok(resolved.iter().map(Locked::line).collect())
}

/// Changes with the layout that [`install`] makes, so that an older cache is not taken for a new one.
const LAYOUT: &str = "1";

fn key(item: Item, wanted: &[Locked]) -> String {
    let text = format!("{LAYOUT}\n{:?}\n{}", item.recipe(), lock::render(wanted));
    cache::sha256(text.as_bytes())[..16].to_owned()
}

fn ready(item: Item, dir: &Path, wanted: &[Locked]) -> Result<Option<PathBuf>> {
    let tree = dir.join(key(item, wanted));
    if wanted.is_empty() || !tree.is_dir() {
        return Ok(None);
    }
    match item.recipe().file {
        Some(pattern) => only_match(&tree, &pattern).map(Some),
        None => Ok(Some(tree)),
    }
}

fn tell_substitute(item: Item, locked: &[Locked], found: &[Locked]) {
    let list = |lines: &[Locked]| {
        let lines = lines
            .iter()
            .map(|line| format!("{} {} ({})", line.package, line.version, line.suite));
        lines.collect::<Vec<_>>().join(", ")
    };
    eprintln!(
        "kpeel-images: {}: using {}; locked, but not in the archive: {}",
        item.name(),
        list(found),
        list(locked)
    );
}

fn vanished(wanted: &[Locked]) -> Error {
    let names: Vec<&str> = wanted.iter().map(|line| line.package.as_str()).collect();
    Error::NoPackage {
        pattern: names.join(", "),
        version: wanted
            .first()
            .map_or_else(String::new, |line| line.version.clone()),
        arch: wanted
            .first()
            .map_or_else(String::new, |line| line.arch.clone()),
        suites: wanted
            .first()
            .map_or_else(String::new, |line| line.suite.clone()),
    }
}

/// The locked packages' files, or none when the archive no longer has all of them (or nothing is locked).
fn obtain_locked(item: Item, wanted: &[Locked]) -> Result<Option<Vec<PathBuf>>> {
    if wanted.len() != item.recipe().packages.len() {
        return Ok(None);
    }
    let mut debs = Vec::new();
    for line in wanted {
        match obtain(line)? {
            Some(deb) => debs.push(deb),
            None => return Ok(None),
        }
    }
    Ok(Some(debs))
}

fn obtain(line: &Locked) -> Result<Option<PathBuf>> {
    let deb = cache::images_dir()
        .join("debs")
        .join(format!("{}.deb", line.sha256));
    // Another item's fetch may be getting the same package.
    let _held = cache::lock(&deb.with_extension("lock"))?;
    if deb.exists() {
        return Ok(Some(deb));
    }
    let root = Root::open(&line.suite, &line.arch)?;
    let find = |root: &Root| -> Result<Option<Candidate>> {
        Ok(root
            .candidates(&line.package)?
            .into_iter()
            .find(|found| found.version == line.version))
    };
    let mut found = find(&root)?;
    if found.is_none() && root.refresh()? {
        found = find(&root)?;
    }
    let Some(found) = found else {
        return Ok(None);
    };
    check_hash(line, &found.sha256)?;
    let partial = deb.with_extension("partial");
    let got = match root.download(&line.package, &line.version, &partial) {
        // The index may be older than the archive's pool.
        Err(error) if !root.refresh()? => return Err(error),
        Err(_) if find(&root)?.is_none() => return Ok(None),
        Err(_) => root.download(&line.package, &line.version, &partial)?,
        Ok(got) => got,
    };
    check_hash(line, &cache::sha256_file(&got)?)?;
    fs::rename(&got, &deb).map_err(Error::io("renaming to", &deb))?;
    cache::remove_dir(&partial)?;
    Ok(Some(deb))
}

fn check_hash(line: &Locked, found: &str) -> Result<()> {
    if found == line.sha256 {
        return Ok(());
    }
    Err(Error::Hash {
        package: line.package.clone(),
        version: line.version.clone(),
        found: found.to_owned(),
        needed: line.sha256.clone(),
    })
}

/// The newest packages that fit the item's recipe.
fn resolve(item: Item) -> Result<Vec<Locked>> {
    let Recipe { packages, .. } = item.recipe();
    let mut resolved: Vec<Locked> = Vec::new();
    let mut star = String::new();
    for package in &packages {
        let (suites, version) = match resolved.first() {
            Some(first) if package.follows => (vec![first.suite.clone()], first.version.clone()),
            _ => (
                package
                    .suites
                    .iter()
                    .map(|suite| (*suite).to_owned())
                    .collect(),
                package.version.to_owned(),
            ),
        };
        let name = package.name.replace("{}", &star);
        let (suite, found) = newest(package, &name, &version, &suites)?;
        if !package.follows {
            star = matched(package.name, &found.package)
                .unwrap_or_default()
                .to_owned();
        }
        resolved.push(Locked {
            item: item.name().to_owned(),
            package: found.package,
            arch: package.arch.to_owned(),
            suite,
            version: found.version,
            sha256: found.sha256,
        });
    }
    Ok(resolved)
}

fn newest(
    package: &Package,
    name: &str,
    version: &str,
    suites: &[String],
) -> Result<(String, Candidate)> {
    let mut answers = Vec::new();
    for suite in suites {
        let found = Root::open(suite, package.arch).and_then(|root| {
            root.refresh()?;
            root.candidates(name)
        });
        match found {
            Ok(found) => {
                let fitting = found
                    .into_iter()
                    .filter(|found| matched(version, &found.version).is_some());
                if let Some(newest) = newest_of(fitting)? {
                    return Ok((suite.clone(), newest));
                }
                answers.push(format!("{suite} (no match)"));
            }
            Err(error) => answers.push(format!("{suite} ({error})")),
        }
    }
    Err(Error::NoPackage {
        pattern: name.to_owned(),
        version: version.to_owned(),
        arch: package.arch.to_owned(),
        suites: answers.join(", "),
    })
}

fn newest_of(candidates: impl Iterator<Item = Candidate>) -> Result<Option<Candidate>> {
    let mut best: Option<Candidate> = None;
    for candidate in candidates {
        let better = match &best {
            None => true,
            Some(best) => is_newer(&candidate.version, &best.version)?,
        };
        if better {
            best = Some(candidate);
        }
    }
    Ok(best)
}

fn is_newer(version: &str, than: &str) -> Result<bool> {
    let mut command = Command::new("dpkg");
    command.args(["--compare-versions", version, "gt", than]);
    let status = command.status();
    let status = status.map_err(|source| Error::NoTool {
        tool: "dpkg".to_owned(),
        package: "dpkg",
        source,
    })?;
    Ok(status.success())
}

/// Extracts the packages into a temporary directory and moves it to its name.
fn install(item: Item, dir: &Path, wanted: &[Locked], debs: &[PathBuf]) -> Result<()> {
    let tree = dir.join(key(item, wanted));
    let temporary = cache::sibling(&tree);
    cache::remove_dir(&temporary)?;
    cache::create_dir(&temporary)?;
    let recipe = item.recipe();
    for (package, deb) in recipe.packages.iter().zip(debs) {
        extract(deb, package, &temporary)?;
    }
    if let Some(pattern) = &recipe.file {
        only_match(&temporary, pattern)?;
    }
    relocate(&temporary, &tree)?;
    fs::rename(&temporary, &tree).map_err(Error::io("renaming to", &tree))
}

fn extract(deb: &Path, package: &Package, dir: &Path) -> Result<()> {
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("--fsys-tarfile").arg(deb).stdout(Stdio::piped());
    let no_tool = |source| Error::NoTool {
        tool: "dpkg-deb".to_owned(),
        package: "dpkg",
        source,
    };
    let mut unpack = unpack.spawn().map_err(no_tool)?;
    let mut tar = Command::new("tar");
    tar.arg("-x")
        .arg("-C")
        .arg(dir)
        .args(["--no-same-owner", "--wildcards"]);
    tar.args(
        package
            .leaves
            .iter()
            .map(|pattern| format!("--exclude={pattern}")),
    );
    tar.arg("--").args(package.takes);
    if let Some(stream) = unpack.stdout.take() {
        tar.stdin(stream);
    }
    let output = tar.output().map_err(|source| Error::NoTool {
        tool: "tar".to_owned(),
        package: "tar",
        source,
    })?;
    let status = unpack.wait().map_err(no_tool)?;
    if output.status.success() && status.success() {
        return Ok(());
    }
    Err(Error::Tool {
        tool: format!("dpkg-deb --fsys-tarfile {} | tar -x", deb.display()),
        status: format!("{status}, {}", output.status),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Debian's kernel headers include each other by absolute path; makes those point into the tree's final place.
fn relocate(temporary: &Path, tree: &Path) -> Result<()> {
    let Ok(headers) = fs::read_dir(temporary.join("usr/src")) else {
        return Ok(());
    };
    for entry in headers.flatten() {
        let makefile = entry.path().join("Makefile");
        let Ok(text) = fs::read_to_string(&makefile) else {
            continue;
        };
        if let Some(rest) = text.strip_prefix("include /usr/src/") {
            let text = format!("include {}/usr/src/{rest}", tree.display());
            fs::write(&makefile, text).map_err(Error::io("writing", &makefile))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(version: &str) -> Candidate {
        Candidate {
            package: "p".to_owned(),
            version: version.to_owned(),
            sha256: String::new(),
        }
    }

    #[test]
    fn takes_the_newest_in_debians_order() {
        let versions = [
            "6.12.9-1",
            "6.12.117-1~deb12u1",
            "6.12.117-1~bpo1",
            "6.12.94-1",
        ];
        let newest = newest_of(versions.into_iter().map(candidate))
            .unwrap()
            .unwrap();
        assert_eq!(newest.version, "6.12.117-1~deb12u1");
    }

    #[test]
    fn refuses_other_bytes_under_the_locked_version() {
        let line = Locked {
            item: "i".to_owned(),
            package: "p".to_owned(),
            arch: "amd64".to_owned(),
            suite: "s".to_owned(),
            version: "1".to_owned(),
            sha256: "aa".to_owned(),
        };
        check_hash(&line, "aa").unwrap();
        let error = check_hash(&line, "bb").unwrap_err().to_string();
        assert_eq!(error, "p 1: SHA-256 found bb, needed aa (images.lock)");
    }

    #[test]
    fn another_lock_line_means_another_place_in_the_cache() {
        let line =
            |version: &str| lock::parse(&format!("i p a s {version} {}", "0".repeat(64))).unwrap();
        assert_ne!(key(Item::Ukify, &line("1")), key(Item::Ukify, &line("2")));
        assert_eq!(key(Item::Ukify, &line("1")), key(Item::Ukify, &line("1")));
    }

    #[test]
    fn points_absolute_includes_into_the_tree() {
        let dir =
            std::env::temp_dir().join(format!("kpeel-images-relocate-{}", std::process::id()));
        let headers = dir.join("usr/src/linux-headers-x");
        fs::create_dir_all(&headers).unwrap();
        fs::write(
            headers.join("Makefile"),
            "include /usr/src/linux-headers-common/Makefile\n",
        )
        .unwrap();
        relocate(&dir, Path::new("/final")).unwrap();
        let text = fs::read_to_string(headers.join("Makefile")).unwrap();
        assert_eq!(
            text,
            "include /final/usr/src/linux-headers-common/Makefile\n"
        );
        fs::remove_dir_all(&dir).unwrap();
    }
}
