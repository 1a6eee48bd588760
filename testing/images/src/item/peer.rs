//! Programs of others with the libraries they need.

use super::{Package, Recipe};

/// Sid's: no release has kexec-tools 2.0.32 yet, the first that unpacks zboot images and UKIs, nor a systemd-measure
/// that knows `.efifw`.
const SUITES: &[&str] = &["sid"];

/// What Debian's kexec links on every architecture: it can load into Xen.
const LIBRARIES: [(&str, &[&str]); 9] = [
    (
        "libc6",
        &["./usr/lib/*/libc.so.6", "./usr/lib/*/ld-linux-*.so.*"],
    ),
    ("libxenmisc4.*", &["./usr/lib/*/libxenctrl.so.*"]),
    ("libxencall1", &["./usr/lib/*/libxencall.so.*"]),
    (
        "libxendevicemodel1",
        &["./usr/lib/*/libxendevicemodel.so.*"],
    ),
    ("libxenevtchn1", &["./usr/lib/*/libxenevtchn.so.*"]),
    (
        "libxenforeignmemory1",
        &["./usr/lib/*/libxenforeignmemory.so.*"],
    ),
    ("libxengnttab1", &["./usr/lib/*/libxengnttab.so.*"]),
    ("libxentoolcore1", &["./usr/lib/*/libxentoolcore.so.*"]),
    ("libxentoollog1", &["./usr/lib/*/libxentoollog.so.*"]),
];

pub(super) fn kexec_tools(arch: &'static str) -> Recipe {
    let package = |name, takes| Package::first(name, arch, SUITES).takes(takes);
    let mut packages = vec![package("kexec-tools", &["./usr/sbin/kexec"])];
    packages.extend(LIBRARIES.map(|(name, takes)| package(name, takes)));
    if arch == "arm64" {
        packages.push(package("zlib1g", &["./usr/lib/*/libz.so.*"]));
    }
    Recipe {
        packages,
        file: None,
    }
}

/// The C library and its loader, as [`LIBRARIES`] has them too.
const LIBC: &[&str] = &[
    "./usr/lib/*/libc.so.6",
    "./usr/lib/*/libm.so.6",
    "./usr/lib/*/ld-linux-*.so.*",
];

/// systemd-measure loads libcrypto when it hashes; the others are what that is linked to.
pub(super) fn systemd_measure() -> Recipe {
    let package = |name, takes| Package::first(name, "amd64", SUITES).takes(takes);
    Recipe {
        packages: vec![
            package("systemd-tpm", &["./usr/lib/systemd/systemd-measure"]),
            package(
                "libsystemd-shared",
                &["./usr/lib/*/systemd/libsystemd-shared-*.so"],
            ),
            package("libc6", LIBC),
            package("libssl3t64", &["./usr/lib/*/libcrypto.so.*"]),
            package("zlib1g", &["./usr/lib/*/libz.so.*"]),
            package("libzstd1", &["./usr/lib/*/libzstd.so.*"]),
        ],
        file: None,
    }
}
