//! From packages to an item's files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::item::{Package, only_match};
use crate::{Error, Item, Result, cache};

/// Extracts an item's packages into a temporary directory and moves it to `tree`.
pub(crate) fn install(item: Item, debs: &[PathBuf], tree: &Path) -> Result<()> {
    let temporary = cache::sibling(tree);
    cache::remove_dir(&temporary)?;
    cache::create_dir(&temporary)?;
    let recipe = item.recipe();
    for (package, deb) in recipe.packages.iter().zip(debs) {
        extract(deb, package, &temporary)?;
    }
    if let Some(pattern) = &recipe.file {
        only_match(&temporary, pattern)?;
    }
    relocate(&temporary, tree)?;
    fs::rename(&temporary, tree).map_err(Error::io("renaming to", tree))
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
