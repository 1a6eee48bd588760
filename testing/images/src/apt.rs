//! A private apt root for one suite and one architecture. Nothing is installed, the system's apt state is not touched.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::{Error, Result, cache, tool};

/// What the index says of one package version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) package: String,
    pub(crate) version: String,
    pub(crate) sha256: String,
    /// Below the archive's address.
    pub(crate) path: String,
}

/// An apt root, held by this process alone until dropped.
#[derive(Debug)]
pub(crate) struct Root {
    dir: PathBuf,
    _lock: File,
}

/// apt's program that downloads one file (`apt-helper(1)`).
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// A younger index is not fetched again when it lacks something.
const FRESH: Duration = Duration::from_secs(600);

impl Root {
    /// Opens the root of `suite` and `arch` below `roots`, creating it if need be.
    pub(crate) fn open(roots: &Path, suite: &str, arch: &str, source: &str) -> Result<Self> {
        let name = format!("{}-{arch}", suite.replace('/', "-"));
        let lock = cache::lock(&roots.join(format!("{name}.lock")))?;
        let root = Self {
            dir: roots.join(name),
            _lock: lock,
        };
        root.configure(arch, source)?;
        Ok(root)
    }

    /// Fetches the index again unless it is fresh; says whether it did.
    pub(crate) fn refresh(&self) -> Result<bool> {
        let age = fs::metadata(self.stamp())
            .and_then(|stamp| stamp.modified())
            .ok();
        let age = age.and_then(|time| SystemTime::now().duration_since(time).ok());
        if age.is_some_and(|age| age < FRESH) {
            return Ok(false);
        }
        self.update()?;
        Ok(true)
    }

    /// Every version of every package in the index whose name satisfies `wanted`; `pattern` as in [`crate::item`].
    pub(crate) fn candidates(&self, pattern: &str) -> Result<Vec<Candidate>> {
        if !self.stamp().exists() {
            self.update()?;
        }
        let names = if pattern.contains('*') {
            self.names(pattern)?
        } else {
            vec![pattern.to_owned()]
        };
        if names.is_empty() {
            return Ok(Vec::new());
        }
        match tool::run(self.apt("apt-cache").arg("show").args(&names)) {
            Ok(text) => Ok(stanzas(&String::from_utf8_lossy(&text))),
            // apt-cache fails when it knows no such package; that is an answer here.
            Err(Error::Tool { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Downloads the file at `address` into `dir`, if its SHA-256 is right. Needs no index.
    pub(crate) fn take(&self, address: &str, sha256: &str, dir: &Path) -> Result<PathBuf> {
        cache::create_dir(dir)?;
        let file = dir.join("package");
        let mut helper = self.apt(APT_HELPER);
        helper.args(["download-file", address]).arg(&file);
        tool::run(helper.arg(format!("SHA256:{sha256}")))?;
        // For an archive on this machine apt makes a link.
        fs::canonicalize(&file).map_err(Error::io("reading", &file))
    }

    /// Downloads one package into `dir`, where a broken download may be continued; returns the file.
    pub(crate) fn download(&self, package: &str, version: &str, dir: &Path) -> Result<PathBuf> {
        cache::create_dir(dir)?;
        let wanted = format!("{package}={version}");
        tool::run(
            self.apt("apt-get")
                .args(["--quiet", "download", &wanted])
                .current_dir(dir),
        )?;
        let entries = fs::read_dir(dir).map_err(Error::io("listing", dir))?;
        let deb = entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|e| e == "deb"));
        deb.ok_or_else(|| Error::unexpected(dir, wanted, "no .deb", "one .deb"))
    }

    fn names(&self, pattern: &str) -> Result<Vec<String>> {
        let text = tool::run(self.apt("apt-cache").arg("pkgnames"))?;
        let text = String::from_utf8_lossy(&text);
        let names = text
            .lines()
            .filter(|name| crate::item::matched(pattern, name).is_some());
        Ok(names.map(str::to_owned).collect())
    }

    fn update(&self) -> Result<()> {
        tool::run(
            self.apt("apt-get")
                .args(["--quiet", "update", "--error-on=any"]),
        )?;
        cache::write(&self.stamp(), b"")
    }

    fn stamp(&self) -> PathBuf {
        self.dir.join("updated")
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", self.dir.join("apt.conf"))
            .env("LC_ALL", "C");
        command
    }

    fn configure(&self, arch: &str, source: &str) -> Result<()> {
        for dir in ["state/lists/partial", "cache/archives/partial"] {
            cache::create_dir(&self.dir.join(dir))?;
        }
        let sources = self.dir.join("sources.list");
        if fs::read_to_string(&sources).ok().as_deref() != Some(source) {
            // Another address makes the index that is here worthless.
            let _ = fs::remove_file(self.stamp());
            cache::write(&sources, source.as_bytes())?;
        }
        cache::write(&self.dir.join("status"), b"")?;
        let acquire = tool::run(Command::new("apt-config").args(["dump", "Acquire"]))?;
        let acquire = String::from_utf8_lossy(&acquire);
        cache::write(
            &self.dir.join("apt.conf"),
            config(&self.dir, arch, &acquire).as_bytes(),
        )
    }
}

/// The root's configuration: the system's way to reach archives (`acquire`), everything else our own.
fn config(dir: &Path, arch: &str, acquire: &str) -> String {
    // Index targets need not be repeated: which ones there are is apt's default, and only packages are wanted.
    let kept: String = acquire
        .lines()
        .filter(|line| {
            !line.starts_with("Acquire::IndexTargets") && !line.starts_with("Acquire::Languages")
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let dir = dir.display();
    format!(
        "{kept}\
         Dir::State \"{dir}/state\";\n\
         Dir::State::status \"{dir}/status\";\n\
         Dir::Cache \"{dir}/cache\";\n\
         // Built anew when asked, which is seldom; kept, they would be most of the cache.\n\
         Dir::Cache::pkgcache \"\";\n\
         Dir::Cache::srcpkgcache \"\";\n\
         Dir::Etc::sourcelist \"{dir}/sources.list\";\n\
         Dir::Etc::sourceparts \"/dev/null\";\n\
         Dir::Etc::preferences \"/dev/null\";\n\
         Dir::Etc::preferencesparts \"/dev/null\";\n\
         Dir::Etc::main \"/dev/null\";\n\
         Dir::Etc::parts \"/dev/null\";\n\
         APT::Architecture \"{arch}\";\n\
         APT::Architectures {{ \"{arch}\"; }};\n\
         APT::Sandbox::User \"\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n\
         // Every package is pinned by its hash; an index that has aged is no danger.\n\
         Acquire::Check-Valid-Until \"false\";\n"
    )
}

fn stanzas(text: &str) -> Vec<Candidate> {
    text.split("\n\n")
        .filter_map(|stanza| {
            let field = |name: &str| {
                let line = stanza
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                line.map(|value| value.trim().to_owned())
            };
            Some(Candidate {
                package: field("Package")?,
                version: field("Version")?,
                sha256: field("SHA256")?,
                path: field("Filename")?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_version_that_apt_shows() {
        let text = "Package: a\nVersion: 2\nSHA256: 22\nFilename: p2\nDescription: x\n more\n\nPackage: a\nVersion: 1\nSHA256: 11\nFilename: p1\n";
        let found = stanzas(text);
        assert_eq!(
            found
                .iter()
                .map(|found| found.version.as_str())
                .collect::<Vec<_>>(),
            ["2", "1"]
        );
        assert_eq!(
            (found[0].sha256.as_str(), found[0].path.as_str()),
            ("22", "p2")
        );
    }

    #[test]
    fn skips_a_stanza_without_a_hash() {
        assert_eq!(stanzas("Package: a\nVersion: 2\nFilename: p\n"), []);
    }

    #[test]
    fn keeps_the_systems_proxy_and_drops_its_index_targets() {
        let acquire =
            "Acquire::http::Proxy \"http://p.example\";\nAcquire::IndexTargets::deb::X \"y\";\n";
        let config = config(Path::new("/r"), "arm64", acquire);
        assert!(config.contains("Acquire::http::Proxy \"http://p.example\";\n"));
        assert!(!config.contains("IndexTargets"));
        assert!(
            config.contains("Dir::State \"/r/state\";\n")
                && config.contains("APT::Architecture \"arm64\";\n")
        );
    }
}
