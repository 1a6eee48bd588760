//! Runs the `kpeel` command of this checkout.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use kpeel_images::make::Scratch;

/// The command, built once if need be, in the same target directory and profile as this test.
pub fn kpeel() -> Command {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    Command::new(PATH.get_or_init(build))
}

/// What `kpeel unfold` left.
#[derive(Debug, PartialEq, Eq)]
pub struct Unfolded {
    pub kernel: Option<Vec<u8>>,
    pub initrd: Option<Vec<u8>>,
    pub cmdline: Option<Vec<u8>>,
}

/// How `kpeel` refused.
#[derive(Debug)]
pub struct Refused {
    pub code: Option<i32>,
    pub message: String,
}

/// Runs `kpeel unfold IMAGE -o DIR ARGUMENTS...` and reads what it left.
pub fn unfold(image: &Path, arguments: &[&str]) -> Result<Unfolded, Refused> {
    let scratch = Scratch::new().unwrap();
    let out = scratch.join("out");
    let output = kpeel()
        .arg("unfold")
        .arg(image)
        .arg("-o")
        .arg(&out)
        .args(arguments)
        .output()
        .unwrap();
    let file = |name: &str| std::fs::read(out.join(name)).ok();
    let (kernel, initrd, cmdline) = (file("kernel"), file("initrd"), file("cmdline"));
    if output.status.success() {
        return Ok(Unfolded {
            kernel,
            initrd,
            cmdline,
        });
    }
    assert!(
        kernel.is_none() && initrd.is_none() && cmdline.is_none(),
        "{}: refused, but left files",
        image.display()
    );
    Err(refused(&output))
}

/// Runs `kpeel attach IMAGE --parser NAME -o OUT`.
pub fn attach(image: &Path, parser: &str, out: &Path) {
    let mut command = kpeel();
    command
        .arg("attach")
        .arg(image)
        .args(["--parser", parser, "-o"])
        .arg(out);
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        refused(&output).message
    );
}

fn refused(output: &Output) -> Refused {
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    Refused {
        code: output.status.code(),
        message,
    }
}

fn build() -> PathBuf {
    // target/PROFILE/deps/this-test
    let test = std::env::current_exe().unwrap();
    let profile_dir = test.ancestors().nth(2).unwrap();
    let profile = match profile_dir.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    cargo.args([
        "build",
        "--quiet",
        "--package",
        "kpeel-cli",
        "--bin",
        "kpeel",
        "--profile",
        profile,
    ]);
    cargo.arg("--target-dir").arg(profile_dir.parent().unwrap());
    let status = cargo.status().unwrap();
    assert!(status.success(), "{cargo:?}: {status}");
    profile_dir.join("kpeel")
}
