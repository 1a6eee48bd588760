//! cargo-deny over every lock file: licences, bans, sources. `deny.toml` says what may be.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::steps::{cargo, run};

const VERSION: &str = "0.20.2";
/// Where lock files are: the workspace, and what is built beside it.
const PLACES: [&str; 6] = [
    ".",
    "examples/trio",
    "fuzz",
    "parsers/uki",
    "parsers/zboot",
    "testing/walker",
];
const CHECKS: [&str; 4] = ["check", "bans", "licenses", "sources"];

/// Installs cargo-deny below `target`, once, and runs it.
pub(crate) fn deny() -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let tool = install(&root.join("target/tools"))?;
    for place in PLACES {
        let manifest = root.join(place).join("Cargo.toml");
        let mut command = Command::new(&tool);
        command
            .args(["--log-level", "error", "--manifest-path"])
            .arg(&manifest)
            .arg("--config")
            .arg(root.join("deny.toml"))
            .args(CHECKS)
            .args(["--hide-inclusion-graph"]);
        run(command, &format!("cargo-deny {place}"))?;
    }
    Ok(())
}

/// The tool's path. Without optimisation it is built in half the time, and reads lock files fast
/// enough.
fn install(tools: &Path) -> Result<PathBuf, Failure> {
    let dir = tools.join(format!("cargo-deny-{VERSION}"));
    let tool = dir.join("bin/cargo-deny");
    if tool.is_file() {
        return Ok(tool);
    }
    let build = dir.join("build");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    cargo(&[
        "install",
        "--quiet",
        "--locked",
        "--debug",
        "cargo-deny",
        "--version",
        VERSION,
        "--root",
        &text(&dir),
        "--target-dir",
        &text(&build),
    ])?;
    // Half a gigabyte that nothing else uses.
    std::fs::remove_dir_all(&build)
        .map_err(|error| Failure::Step(format!("{}: {error}", build.display())))?;
    Ok(tool)
}
