//! The kernel's source tree.

use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::make::Log;

/// tar patterns of what no kernel built here compiles: four fifths of the tree's bytes. Every Makefile and Kconfig stays,
/// for the kernel's configuration reads them all.
pub(crate) const LEFT_OUT: &[&str] = &[
    "*/Documentation/*.rst",
    "*/Documentation/*.svg",
    "*/Documentation/*.txt",
    "*/Documentation/*.yaml",
    "*/arch/*/boot/dts/*",
    "*/drivers/gpu/*.[ch]",
    "*/drivers/infiniband/*.[ch]",
    "*/drivers/media/*.[ch]",
    "*/drivers/net/*/*.[ch]",
    "*/drivers/scsi/*.[ch]",
    "*/drivers/staging/*.[ch]",
    "*/sound/*.[ch]",
    "*/tools/perf/*",
    "*/tools/testing/*",
];

/// Unpacks the archive, which has one directory at its top, so that this directory is `tree`.
pub(crate) fn unpack(archive: &Path, tree: &Path, log: &Log) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.arg("-x").arg("-f").arg(archive).arg("-C").arg(tree);
    tar.args(["--strip-components=1", "--no-same-owner"]);
    tar.args(
        LEFT_OUT
            .iter()
            .map(|pattern| format!("--exclude={pattern}")),
    );
    log.run(&mut tar, "unpacking the source", |_| ())
}
