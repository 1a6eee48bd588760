//! bindgen, which makes Rust declarations of the kernel's headers: Debian's is too old for its clang, so it is a crate.

use std::path::{Path, PathBuf};
use std::process::Command;

use kpeel_images::cache_dir;

use crate::make::Log;
use crate::progress::say;
use crate::{Error, Result};

/// The first that works with libclang 22 is 0.72.1.
pub(crate) const VERSION: &str = "0.73.2";

/// Where Debian's clang 22 has the library that bindgen opens.
pub(crate) const LIBCLANG: &str = "/usr/lib/llvm-22/lib";

/// The program's path; it is installed into the cache if it is not there. The caller holds the cache's lock.
pub(crate) fn path(log: &Log) -> Result<PathBuf> {
    let root = cache_dir().join("tools").join(format!("bindgen-{VERSION}"));
    let program = root.join("bin/bindgen");
    if !program.is_file() {
        say(&format!("installing bindgen-cli {VERSION}"));
        install(&root, log)?;
    }
    Ok(program)
}

fn install(root: &Path, log: &Log) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(["install", "--locked", "--quiet", "--force"]);
    cargo.args(["--version", VERSION, "--root"]).arg(root);
    cargo.arg("bindgen-cli");
    // A build must not depend on what cargo told this program.
    for name in ["CARGO_TARGET_DIR", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS"] {
        cargo.env_remove(name);
    }
    let status = cargo
        .status()
        .map_err(Error::io("running", Path::new("cargo")))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Step {
        step: format!("cargo install bindgen-cli {VERSION}"),
        status,
        log: log.path().to_owned(),
        tail: "(cargo has said why)".to_owned(),
    })
}
