//! Static binaries of this workspace for the guests.
//!
//! Guests have no C library, so everything in them is linked statically. A target whose standard
//! library the toolchain has is built with it; for the others Debian's `rustc-web` builds the
//! standard library as well, and Debian's cross compiler links.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::arch::Arch;
use crate::error::Error;
use crate::run::installed;

/// Debian's compiler, whose library sources (`rust-web-src`) cargo finds beside it.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

const EFI_LINKER: &str = "lld-link-22";
const EFI_LINKER_PACKAGE: &str = "lld-22";

/// Builds program `bin` of the workspace's package `package` and returns its path.
///
/// # Errors
/// [`Error::Missing`] names the Debian package of a missing tool.
pub fn build(arch: Arch, package: &str, bin: &str) -> Result<PathBuf, Error> {
    let target = triple(arch);
    let workspace = workspace();
    let target_dir = target_dir(&workspace).join("guest");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(&workspace)
        .args(["build", "--release", "--locked", "--package", package])
        // All of the package: those asked for next are built beside this one.
        .args(["--bins", "--target", target])
        .arg("--target-dir")
        .arg(&target_dir)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        // Standard output may be the caller's answer.
        .stdout(Stdio::null());
    if !has_library(target) {
        build_library_too(&mut cargo, arch)?;
    }
    let status = cargo
        .status()
        .map_err(Error::system(format!("starting cargo for {package}")))?;
    if !status.success() {
        return Err(Error::Build {
            package: package.to_owned(),
            target,
            status,
        });
    }
    Ok(target_dir.join(target).join("release").join(bin))
}

/// Builds the EFI program `bin` of a package outside the workspace, whose directory is given from the
/// workspace's root, and returns its path.
///
/// # Errors
/// As [`build`].
pub fn build_efi(arch: Arch, directory: &str, bin: &str) -> Result<PathBuf, Error> {
    let target = match arch {
        Arch::Aarch64 => "aarch64-unknown-uefi",
        Arch::X86_64 => "x86_64-unknown-uefi",
    };
    let workspace = workspace();
    let target_dir = target_dir(&workspace).join("guest");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace.join(directory))
        .args(["build", "--release", "--locked", "--bin", bin])
        .args(["--target", target, "--target-dir"])
        .arg(&target_dir)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .stdout(Stdio::null());
    debian_builds(
        &mut cargo,
        "core,alloc",
        target,
        EFI_LINKER,
        EFI_LINKER_PACKAGE,
    )?;
    let status = cargo
        .status()
        .map_err(Error::system(format!("starting cargo for {bin}")))?;
    if !status.success() {
        return Err(Error::Build {
            package: bin.to_owned(),
            target,
            status,
        });
    }
    let program = format!("{bin}.efi");
    Ok(target_dir.join(target).join("release").join(program))
}

fn triple(arch: Arch) -> &'static str {
    match arch {
        Arch::Aarch64 => "aarch64-unknown-linux-gnu",
        Arch::X86_64 => "x86_64-unknown-linux-gnu",
    }
}

/// Whether the toolchain of this build has a standard library for the target.
fn has_library(target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .stderr(Stdio::null())
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .is_some_and(|directory| Path::new(directory.trim()).is_dir())
}

fn build_library_too(cargo: &mut Command, arch: Arch) -> Result<(), Error> {
    let (linker, package) = match arch {
        Arch::Aarch64 => (
            "aarch64-linux-gnu-gcc",
            "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
        ),
        Arch::X86_64 => (
            "x86_64-linux-gnu-gcc",
            "gcc-x86-64-linux-gnu libc6-dev-amd64-cross",
        ),
    };
    debian_builds(cargo, "std,panic_abort", triple(arch), linker, package)
}

/// Has Debian's compiler build these crates of the standard library too, and this program link.
fn debian_builds(
    cargo: &mut Command,
    library: &str,
    target: &str,
    linker: &str,
    package: &'static str,
) -> Result<(), Error> {
    let missing = |program: &str, package| Error::Missing {
        program: program.to_owned(),
        package,
    };
    if !installed(linker) {
        return Err(missing(linker, package));
    }
    if !Path::new(DEBIAN_RUSTC).is_file() {
        return Err(missing(DEBIAN_RUSTC, "rustc-web rust-web-src"));
    }
    let variable = target.to_uppercase().replace('-', "_");
    cargo
        .args(["-Z", &format!("build-std={library}")])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", DEBIAN_RUSTC)
        .env(format!("CARGO_TARGET_{variable}_LINKER"), linker);
    Ok(())
}

fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("this crate lies two levels below the workspace")
        .to_owned()
}

fn target_dir(workspace: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .filter(|directory| *directory != OsString::new())
        .map_or_else(
            || workspace.join("target"),
            |directory| workspace.join(directory),
        )
}
