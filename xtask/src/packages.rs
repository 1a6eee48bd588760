//! The Debian packages that commands need, installed only with leave.

use std::fmt;
use std::io::{BufRead, IsTerminal, Write};
use std::process::{Command, Stdio};

/// What the tests need beside a Rust toolchain.
pub(crate) const TOOLS: &[&str] = &[
    "bc",
    "binutils",
    "binutils-aarch64-linux-gnu",
    "bison",
    "bpftool",
    "bsdextrautils",
    "bzip2",
    "clang-22",
    "cpio",
    "flex",
    "g++",
    "gcc",
    "gcc-aarch64-linux-gnu",
    "gzip",
    "kmod",
    "libc6-dev",
    "libc6-dev-arm64-cross",
    "libelf-dev",
    "libssl-dev",
    "lld-22",
    "llvm-22",
    "lz4",
    "lzop",
    "make",
    "openssl",
    "osslsigncode",
    "ovmf",
    "pahole",
    "patch",
    "perl",
    "python3",
    "qemu-efi-aarch64",
    "qemu-system-arm",
    "qemu-system-x86",
    "rsync",
    "rust-web-src",
    "rustc-web",
    "sbsigntool",
    "softhsm2",
    "swtpm",
    "valgrind",
    "xz-utils",
    "zstd",
];

/// What `lint --kernel` needs besides.
pub(crate) const LINT: &[&str] = &["rust-web-clippy"];

/// What the demonstration needs: no BPF toolchain, no cross compiler.
pub(crate) const DEMO: &[&str] = &[
    "binutils",
    "gcc",
    "libc6-dev",
    "qemu-system-x86",
    "xz-utils",
];

/// Packages that are not there and were not installed.
#[derive(Debug)]
pub(crate) struct Missing {
    packages: Vec<&'static str>,
    why: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; needed Debian packages: {}",
            self.why,
            self.packages.join(" ")
        )
    }
}

/// Makes sure that all `packages` are installed: installs those missing with `yes`, else asks.
pub(crate) fn ensure(packages: &[&'static str], yes: bool) -> Result<(), Missing> {
    let missing: Vec<&'static str> = packages
        .iter()
        .copied()
        .filter(|package| !installed(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let fail = |why: &str| {
        Err(Missing {
            packages: missing.clone(),
            why: why.into(),
        })
    };
    if !is_root() {
        return fail("not root, so nothing can be installed");
    }
    if !runs(
        Command::new("apt-get")
            .arg("--version")
            .stdout(Stdio::null()),
    ) {
        return fail("no apt-get here");
    }
    if !yes && !ask(&missing) {
        return fail("not installed");
    }
    eprintln!("==> apt-get install {}", missing.join(" "));
    let mut update = Command::new("apt-get");
    update.args(["update", "--quiet", "--quiet"]);
    let mut install = Command::new("apt-get");
    install
        .args([
            "install",
            "--yes",
            "--quiet",
            "--quiet",
            "--no-install-recommends",
        ])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null());
    if !runs(&mut update) || !runs(&mut install) {
        return fail("apt-get failed");
    }
    Ok(())
}

fn installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Abbrev}", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.stdout.starts_with(b"ii"))
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn runs(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

fn ask(missing: &[&str]) -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    eprint!(
        "Install these Debian packages: {}? [y/N] ",
        missing.join(" ")
    );
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).is_ok()
        && answer.trim().eq_ignore_ascii_case("y")
}
