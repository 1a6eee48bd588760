//! Which archives the system's own apt uses: the main Debian archive and the security archive.

use std::path::Path;

use crate::{Error, Result};

/// The two archives' addresses, as the system's apt sources write them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Archives {
    main: Option<String>,
    security: Option<String>,
    /// Taken without signatures; only tests' own.
    trusted: bool,
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

impl Archives {
    /// Reads `/etc/apt/sources.list` and `/etc/apt/sources.list.d`.
    pub(crate) fn of_system() -> Self {
        let mut entries = Vec::new();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        entries.extend(one_line(&read(Path::new("/etc/apt/sources.list"))));
        let mut parts: Vec<_> = std::fs::read_dir("/etc/apt/sources.list.d")
            .map(|dir| dir.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        parts.sort();
        for part in parts {
            match part.extension().and_then(|extension| extension.to_str()) {
                Some("list") => entries.extend(one_line(&read(&part))),
                Some("sources") => entries.extend(deb822(&read(&part))),
                _ => {}
            }
        }
        Self::choose(&entries)
    }

    /// The line of a sources.list for `suite` and `arch`.
    pub(crate) fn source_line(&self, suite: &str, arch: &str) -> Result<String> {
        let options = match self.trusted {
            true => " trusted=yes".to_owned(),
            false if Path::new(KEYRING).exists() => format!(" signed-by={KEYRING}"),
            false => String::new(),
        };
        let uri = self.uri(suite)?;
        Ok(format!("deb [arch={arch}{options}] {uri} {suite} main\n"))
    }

    /// The address of a file, by its path in the archive that has `suite`.
    pub(crate) fn file(&self, suite: &str, path: &str) -> Result<String> {
        Ok(format!("{}/{path}", self.uri(suite)?.trim_end_matches('/')))
    }

    /// The address of the archive that has `suite`.
    fn uri(&self, suite: &str) -> Result<&str> {
        let (archive, uri) = if is_security(suite) {
            ("security", &self.security)
        } else {
            ("main", &self.main)
        };
        uri.as_deref().ok_or_else(|| Error::NoArchive {
            suite: suite.to_owned(),
            archive,
        })
    }

    /// An archive in a directory, without signatures.
    #[cfg(test)]
    pub(crate) fn unsigned(dir: &Path) -> Self {
        let uri = Some(format!("file:{}", dir.display()));
        Self {
            main: uri.clone(),
            security: uri,
            trusted: true,
        }
    }

    fn choose(entries: &[Entry]) -> Self {
        let best = |security: bool| {
            entries
                .iter()
                .filter(|entry| {
                    entry.main_component
                        && entry.suites.iter().any(|suite| is_debian(suite, security))
                })
                // Strangers also use Debian's suite names; Debian's own keyring or path tells them apart.
                .max_by_key(|entry| (entry.debian_keyring, entry.uri.contains("debian")))
                .map(|entry| entry.uri.clone())
        };
        Self {
            main: best(false),
            security: best(true),
            trusted: false,
        }
    }
}

#[derive(Debug, Default)]
struct Entry {
    uri: String,
    suites: Vec<String>,
    main_component: bool,
    debian_keyring: bool,
}

const RELEASES: &[&str] = &[
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

fn is_security(suite: &str) -> bool {
    suite.ends_with("-security") || suite.ends_with("/updates")
}

fn is_debian(suite: &str, security: bool) -> bool {
    let release = suite.split(['-', '/']).next().unwrap_or(suite);
    let known = ["", "-updates", "-backports", "-security", "/updates"]
        .iter()
        .any(|suffix| suite.strip_prefix(release) == Some(suffix));
    RELEASES.contains(&release) && known && is_security(suite) == security
}

/// Lines of the form `deb [options] uri suite component...`.
fn one_line(text: &str) -> Vec<Entry> {
    text.lines().filter_map(one_line_entry).collect()
}

fn one_line_entry(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let rest = line
        .strip_prefix("deb")?
        .strip_prefix([' ', '\t'])?
        .trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    Some(Entry {
        uri: words.next()?.trim_end_matches('/').to_owned(),
        suites: vec![words.next()?.to_owned()],
        main_component: words.any(|word| word == "main"),
        debian_keyring: options.contains("debian-archive"),
    })
}

/// Stanzas of fields, separated by empty lines.
fn deb822(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            entries.extend(deb822_entry(&fields));
            fields.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    entries
}

fn deb822_entry(fields: &[(String, String)]) -> Option<Entry> {
    let field = |name: &str| {
        fields
            .iter()
            .find(|(field, _)| field == name)
            .map_or("", |(_, value)| value)
    };
    let has = |name: &str, word: &str| field(name).split_whitespace().any(|found| found == word);
    if !has("types", "deb") || field("enabled").eq_ignore_ascii_case("no") {
        return None;
    }
    Some(Entry {
        uri: field("uris")
            .split_whitespace()
            .next()?
            .trim_end_matches('/')
            .to_owned(),
        suites: field("suites")
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        main_component: has("components", "main"),
        debian_keyring: field("signed-by").contains("debian-archive"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb
# a note in the middle
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
URIs: http://mirror.example/debian-security
Suites:
 bookworm-security
Components: main contrib
";

    #[test]
    fn reads_both_archives_from_deb822() {
        let archives = Archives::choose(&deb822(DEB822));
        assert_eq!(archives.uri("sid").unwrap(), "http://mirror.example/debian");
        assert_eq!(
            archives.uri("trixie-security").unwrap(),
            "http://mirror.example/debian-security"
        );
    }

    #[test]
    fn reads_one_line_entries_with_and_without_options() {
        let text = "# deb http://no.example/ sid main\n\
                    deb [arch=amd64 signed-by=/k/debian-archive-keyring.gpg] https://a.example/d bookworm main\n\
                    deb http://b.example/s bookworm-security main contrib # note\n";
        let archives = Archives::choose(&one_line(text));
        assert_eq!(archives.uri("trixie").unwrap(), "https://a.example/d");
        assert_eq!(
            archives.uri("bookworm-security").unwrap(),
            "http://b.example/s"
        );
    }

    #[test]
    fn ignores_strangers_disabled_and_source_only_entries() {
        let text = "deb https://apt.example/ cloud-sdk-bookworm main\n\
                    deb https://apt.example/ bookworm stable\n\
                    deb-src https://apt.example/debian bookworm main\n";
        assert_eq!(Archives::choose(&one_line(text)), Archives::default());
        let disabled = format!("Enabled: no\n{DEB822}");
        assert_eq!(Archives::choose(&deb822(&disabled)).main, None);
    }

    #[test]
    fn prefers_the_entry_with_debians_keyring() {
        let mut entries =
            one_line("deb [signed-by=/k/stranger.gpg] https://apt.example/x bookworm main\n");
        entries.extend(deb822(DEB822));
        entries.extend(one_line("deb https://apt.example/y bookworm main\n"));
        assert_eq!(
            Archives::choose(&entries).uri("bookworm").unwrap(),
            "http://mirror.example/debian"
        );
    }

    #[test]
    fn names_the_suite_that_no_source_has() {
        let error = Archives::default()
            .uri("bookworm-security")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("bookworm-security") && error.contains("security archive"),
            "{error}"
        );
    }
}
