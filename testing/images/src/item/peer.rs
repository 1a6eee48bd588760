//! kexec-tools with the libraries it is linked to.

use super::{Package, Recipe};

/// Sid's: no release has 2.0.32 yet, the first that unpacks zboot images and UKIs.
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
