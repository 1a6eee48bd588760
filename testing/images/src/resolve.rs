//! From an item's recipe to the newest packages that fit it.

use std::process::Command;

use crate::apt::Candidate;
use crate::item::{Package, Recipe, matched};
use crate::lock::Locked;
use crate::store::Store;
use crate::{Error, Item, Result};

/// The newest packages that fit the item's recipe.
pub(crate) fn resolve(store: &Store, item: Item) -> Result<Vec<Locked>> {
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
        let (suite, found) = newest(store, package, &name, &version, &suites)?;
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
            path: found.path,
        });
    }
    Ok(resolved)
}

fn newest(
    store: &Store,
    package: &Package,
    name: &str,
    version: &str,
    suites: &[String],
) -> Result<(String, Candidate)> {
    let mut answers = Vec::new();
    for suite in suites {
        let found = store.root(suite, package.arch).and_then(|root| {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(version: &str) -> Candidate {
        Candidate {
            package: "p".to_owned(),
            version: version.to_owned(),
            sha256: String::new(),
            path: String::new(),
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
}
