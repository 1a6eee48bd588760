//! kpeel's side of Linux, `linux/` in the checkout: files that are added to the kernel's tree, and patches.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::make::Log;
use crate::{Error, Result};

/// Sources of crates, and where they lie in the kernel's tree: Linux compiles the same files as user space.
const SHARED: &[(&str, &str)] = &[
    ("crates/abi/src", "kernel/kexec_pe/abi"),
    ("crates/envelope/src", "kernel/kexec_pe/envelope"),
];

/// What checkpatch says without a reason: it takes the definition of a macro that stands for `__initconst` for a use of it.
const CHECKPATCH_IS_WRONG: &str = "INIT_ATTRIBUTE";

/// What is added to Debian's source.
#[derive(Debug)]
pub(crate) struct Added {
    files: Vec<File>,
    /// In the order of their names, which begin with a number.
    patches: Vec<PathBuf>,
}

/// One file for the kernel's tree.
#[derive(Debug)]
struct File {
    from: PathBuf,
    /// Below the tree.
    place: PathBuf,
}

impl Added {
    /// What the checkout has.
    pub(crate) fn read() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        Self::of(&root)
    }

    fn of(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        collect(&root.join("linux/overlay"), Path::new(""), &mut files)?;
        for (from, place) in SHARED {
            collect(&root.join(from), Path::new(place), &mut files)?;
        }
        files.sort_by(|one, other| one.place.cmp(&other.place));
        let mut patches = Vec::new();
        collect(&root.join("linux/patches"), Path::new(""), &mut patches)?;
        let mut patches: Vec<PathBuf> = patches.into_iter().map(|file| file.from).collect();
        patches.retain(|path| path.extension().is_some_and(|end| end == "patch"));
        patches.sort();
        Ok(Self { files, patches })
    }

    /// Only what concerns the kernel's `lib/`: the patches whose names say so, and no files.
    pub(crate) fn of_lib(mut self) -> Self {
        let of_lib = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.get(4..).is_some_and(|rest| rest.starts_with("-lib-"))
        };
        self.patches.retain(of_lib);
        self.files.clear();
        self
    }

    /// One line for each file and patch, with its digest.
    pub(crate) fn lines(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for file in &self.files {
            let digest = sha256(&read(&file.from)?);
            lines.push(format!("file {} {digest}", file.place.display()));
        }
        for patch in &self.patches {
            let digest = sha256(&read(patch)?);
            let name = patch.file_name().unwrap_or_default().to_string_lossy();
            lines.push(format!("patch {name} {digest}"));
        }
        Ok(lines)
    }

    /// Has the kernel's own checkpatch look at every patch and every file of C; `tree` is Linux's.
    ///
    /// # Errors
    /// [`Error::Step`] with what it said.
    pub(crate) fn checkpatch(&self, tree: &Path, log: &Log) -> Result<()> {
        let patches = self.patches.iter().map(|patch| (None, patch));
        let files = self.files.iter().map(|file| (Some("--file"), &file.from));
        let files =
            files.filter(|(_, file)| file.extension().is_some_and(|end| end == "c" || end == "h"));
        for (option, path) in patches.chain(files) {
            let mut program = Command::new("perl");
            program.arg(tree.join("scripts/checkpatch.pl"));
            program.arg(format!("--root={}", tree.display()));
            program.args(["--quiet", "--no-summary", "--show-types"]);
            program.args(["--ignore", CHECKPATCH_IS_WRONG]);
            program.args(option).arg(path);
            log.run(
                &mut program,
                &format!("checkpatch {}", path.display()),
                |_| (),
            )?;
        }
        Ok(())
    }

    /// Copies the files into the tree and applies the patches.
    ///
    /// # Errors
    /// [`Error::Step`] when a patch does not fit exactly, [`Error::Unexpected`] when a file is in the tree already.
    pub(crate) fn apply(&self, tree: &Path, log: &Log) -> Result<()> {
        for file in &self.files {
            let place = tree.join(&file.place);
            if place.exists() {
                return Err(Error::unexpected(&place, "file", "Debian's", "none"));
            }
            if let Some(dir) = place.parent() {
                fs::create_dir_all(dir).map_err(Error::io("creating", dir))?;
            }
            fs::copy(&file.from, &place).map_err(Error::io("copying", &file.from))?;
        }
        for patch in &self.patches {
            let name = patch.file_name().unwrap_or_default().to_string_lossy();
            let mut program = Command::new("patch");
            program.args(["--strip=1", "--fuzz=0", "--batch", "--forward"]);
            program.arg("--no-backup-if-mismatch").arg("--directory");
            program.arg(tree).arg("--input").arg(patch);
            log.run(&mut program, &format!("applying {name}"), |_| ())?;
        }
        Ok(())
    }
}

/// Adds every file below `dir`, whose place is `place` and the same way below it. Hidden files are left out.
fn collect(dir: &Path, place: &Path, files: &mut Vec<File>) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(Error::io("reading", dir))? {
        let entry = entry.map_err(Error::io("reading", dir))?;
        let (from, place) = (entry.path(), place.join(entry.file_name()));
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if from.is_dir() {
            collect(&from, &place, files)?;
        } else {
            files.push(File { from, place });
        }
    }
    Ok(())
}

/// Every file below `dir`, in the order of their names.
pub(crate) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(dir, Path::new(""), &mut files)?;
    let mut paths: Vec<PathBuf> = files.into_iter().map(|file| file.from).collect();
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::io("reading", path))
}

/// The SHA-256 in lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use kpeel_images::make::Scratch;

    use super::*;

    const BEFORE: &str = "one\ntwo\nthree\nfour\nfive\nsix\nseven\n";
    const PATCH: &str = "--- a/f\n+++ b/f\n@@ -2,5 +2,5 @@\n two\n three\n-four\n+4\n five\n six\n";

    /// A checkout with one file to add and one patch, and a kernel's tree with what the patch changes.
    fn checkout(patch: &str) -> (Scratch, PathBuf, Log) {
        let scratch = Scratch::new().unwrap();
        let root = scratch.path().to_owned();
        let tree = root.join("tree");
        for dir in [
            "linux/overlay/kernel",
            "linux/patches",
            "crates/abi/src",
            "crates/envelope/src",
            "tree",
        ] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::write(root.join("linux/overlay/kernel/new.c"), "int x;\n").unwrap();
        fs::write(root.join("linux/patches/0001-x.patch"), patch).unwrap();
        fs::write(root.join("crates/envelope/src/lib.rs"), "//! e\n").unwrap();
        fs::write(tree.join("f"), BEFORE).unwrap();
        let log = Log::create(&root.join("log")).unwrap();
        (scratch, tree, log)
    }

    #[test]
    fn copies_files_and_applies_patches() {
        let (scratch, tree, log) = checkout(PATCH);
        Added::of(scratch.path())
            .unwrap()
            .apply(&tree, &log)
            .unwrap();
        assert!(tree.join("kernel/new.c").is_file());
        assert!(tree.join("kernel/kexec_pe/envelope/lib.rs").is_file());
        assert!(
            fs::read_to_string(tree.join("f"))
                .unwrap()
                .contains("\n4\n")
        );
    }

    #[test]
    fn refuses_a_patch_that_fits_only_with_fuzz() {
        let (scratch, tree, log) = checkout(&PATCH.replace(" two\n", " 2\n"));
        let error = Added::of(scratch.path()).unwrap().apply(&tree, &log);
        let text = error.unwrap_err().to_string();
        assert!(text.starts_with("applying 0001-x.patch failed"), "{text}");
        assert_eq!(fs::read_to_string(tree.join("f")).unwrap(), BEFORE);
    }

    #[test]
    fn refuses_to_replace_a_file_of_the_source() {
        let (scratch, tree, log) = checkout(PATCH);
        fs::create_dir_all(tree.join("kernel")).unwrap();
        fs::write(tree.join("kernel/new.c"), "").unwrap();
        let error = Added::of(scratch.path()).unwrap().apply(&tree, &log);
        assert!(error.unwrap_err().to_string().contains("new.c"));
    }

    #[test]
    fn every_file_and_patch_has_a_line_that_changes_with_it() {
        let (scratch, _tree, _log) = checkout(PATCH);
        let lines = || Added::of(scratch.path()).unwrap().lines().unwrap();
        let before = lines();
        assert_eq!(before.len(), 3);
        fs::write(scratch.join("crates/envelope/src/lib.rs"), "//! f\n").unwrap();
        fs::write(scratch.join("linux/patches/0001-x.patch"), "").unwrap();
        fs::write(scratch.join("linux/overlay/kernel/new.c"), "").unwrap();
        assert!(lines().iter().zip(&before).all(|(now, then)| now != then));
    }
}
