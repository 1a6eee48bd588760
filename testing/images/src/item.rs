//! What can be fetched, and out of which packages.

mod peer;

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// One image, or one directory of files that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Item {
    /// amd64 Linux 6.12 for clouds, signed: a bzImage with EFI stub, zstd inside.
    LinuxAmd64,
    /// The same kernel without a signature.
    LinuxAmd64Unsigned,
    /// amd64 Linux 6.1 for clouds, signed: legacy lz4 inside.
    LinuxAmd64V61,
    /// arm64 Linux 6.12 for clouds, signed: a plain `Image` with EFI stub.
    LinuxArm64,
    /// arm64 Linux 6.1 for clouds, signed: a plain `Image` with EFI stub.
    LinuxArm64V61,
    /// riscv64 Linux 6.12: a plain `Image` with EFI stub, unsigned.
    LinuxRiscv64,
    /// loong64 Linux 7.2: the one real zboot image in Debian.
    LinuxLoong64,
    /// systemd 252's UKI stub for amd64: unaligned sections, a COFF symbol table.
    StubAmd64V252,
    /// systemd 257's UKI stub for amd64; knows profiles.
    StubAmd64V257,
    /// systemd 257's UKI stub for arm64.
    StubArm64,
    /// systemd's UKI stub for loong64.
    StubLoong64,
    /// A directory: the unsigned amd64 cloud kernel (`boot/`) and what building a module for it needs (`usr/src`,
    /// `usr/lib`), its BTF in `usr/src/linux-headers-*/vmlinux` among it. No modules.
    VmAmd64,
    /// A directory: `lib/modules` of the unsigned amd64 cloud kernel.
    ModulesAmd64,
    /// shim, with two signatures of Microsoft.
    ShimAmd64,
    /// GRUB, signed.
    GrubAmd64,
    /// fwupd's EFI program, signed; has a COFF symbol table.
    FwupdAmd64,
    /// rEFInd; its `.sbat` lies at an unaligned address.
    RefindAmd64,
    /// systemd-boot, signed.
    SystemdBootAmd64,
    /// A directory: ukify and the Python modules it needs.
    Ukify,
    /// A directory: systemd-measure and the libraries it needs.
    SystemdMeasure,
    /// A directory: kdump-tools, and the arm64 busybox that its shell script needs where nothing else is.
    KdumpTools,
    /// A directory: amd64 kexec-tools, 2.0.32 or later, and the libraries it needs.
    KexecToolsAmd64,
    /// The same for arm64.
    KexecToolsArm64,
    /// Debian's Linux 6.12 source, Debian's patches applied: a `.tar.xz` with one directory at its top.
    LinuxSource612,
}

impl Item {
    /// Every item, in the lock file's order.
    pub const ALL: &[Self] = &[
        Self::LinuxAmd64,
        Self::LinuxAmd64Unsigned,
        Self::LinuxAmd64V61,
        Self::LinuxArm64,
        Self::LinuxArm64V61,
        Self::LinuxRiscv64,
        Self::LinuxLoong64,
        Self::StubAmd64V252,
        Self::StubAmd64V257,
        Self::StubArm64,
        Self::StubLoong64,
        Self::VmAmd64,
        Self::ModulesAmd64,
        Self::ShimAmd64,
        Self::GrubAmd64,
        Self::FwupdAmd64,
        Self::RefindAmd64,
        Self::SystemdBootAmd64,
        Self::Ukify,
        Self::SystemdMeasure,
        Self::KdumpTools,
        Self::KexecToolsAmd64,
        Self::KexecToolsArm64,
        Self::LinuxSource612,
    ];

    /// Every item that is one PE image.
    pub fn pe_images() -> impl Iterator<Item = Self> {
        Self::ALL
            .iter()
            .copied()
            .filter(|item| *item != Self::LinuxSource612 && item.recipe().file.is_some())
    }

    /// The item's name on the command line and in the lock file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LinuxAmd64 => "linux-amd64",
            Self::LinuxAmd64Unsigned => "linux-amd64-unsigned",
            Self::LinuxAmd64V61 => "linux-amd64-6.1",
            Self::LinuxArm64 => "linux-arm64",
            Self::LinuxArm64V61 => "linux-arm64-6.1",
            Self::LinuxRiscv64 => "linux-riscv64",
            Self::LinuxLoong64 => "linux-loong64",
            Self::StubAmd64V252 => "stub-amd64-252",
            Self::StubAmd64V257 => "stub-amd64-257",
            Self::StubArm64 => "stub-arm64",
            Self::StubLoong64 => "stub-loong64",
            Self::VmAmd64 => "vm-amd64",
            Self::ModulesAmd64 => "modules-amd64",
            Self::ShimAmd64 => "shim-amd64",
            Self::GrubAmd64 => "grub-amd64",
            Self::FwupdAmd64 => "fwupd-amd64",
            Self::RefindAmd64 => "refind-amd64",
            Self::SystemdBootAmd64 => "systemd-boot-amd64",
            Self::Ukify => "ukify",
            Self::SystemdMeasure => "systemd-measure",
            Self::KdumpTools => "kdump-tools",
            Self::KexecToolsAmd64 => "kexec-tools-amd64",
            Self::KexecToolsArm64 => "kexec-tools-arm64",
            Self::LinuxSource612 => "linux-source-6.12",
        }
    }

    /// The item of this name.
    ///
    /// # Errors
    /// [`Error::NoItem`] when there is none.
    pub fn by_name(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().copied().find(|item| item.name() == name);
        found.ok_or_else(|| Error::NoItem(name.to_owned()))
    }

    pub(crate) fn recipe(self) -> Recipe {
        match self {
            Self::LinuxAmd64 => kernel("linux-image-6.12.*-cloud-amd64", "amd64", AMD64_6_12),
            Self::LinuxAmd64Unsigned => kernel(
                "linux-image-6.12.*-cloud-amd64-unsigned",
                "amd64",
                AMD64_6_12,
            ),
            Self::LinuxAmd64V61 => kernel(
                "linux-image-6.1.0-*-cloud-amd64",
                "amd64",
                &["bookworm-security", "bookworm"],
            ),
            Self::LinuxArm64 => kernel("linux-image-6.12.*-cloud-arm64", "arm64", TRIXIE),
            Self::LinuxArm64V61 => kernel(
                "linux-image-6.1.0-*-cloud-arm64",
                "arm64",
                &["bookworm-security", "bookworm"],
            ),
            Self::LinuxRiscv64 => kernel("linux-image-6.12.*-riscv64", "riscv64", TRIXIE),
            Self::LinuxLoong64 => {
                let path = "usr/lib/modules/*/vmlinuz";
                file(
                    path,
                    Package::first("linux-binary-*-loong64", "loong64", &["sid"])
                        .takes(&["./usr/lib/modules/*/vmlinuz"]),
                )
            }
            Self::StubAmd64V252 => stub(
                "linuxx64.efi.stub",
                "amd64",
                "252.*",
                &["bookworm-security", "bookworm"],
            ),
            Self::StubAmd64V257 => stub("linuxx64.efi.stub", "amd64", "257.*", TRIXIE),
            Self::StubArm64 => stub("linuxaa64.efi.stub", "arm64", "257.*", TRIXIE),
            Self::StubLoong64 => stub("linuxloongarch64.efi.stub", "loong64", "*", &["sid"]),
            Self::VmAmd64 => vm_amd64(),
            Self::ModulesAmd64 => Recipe {
                packages: vec![
                    Package::first(
                        "linux-image-6.12.*-cloud-amd64-unsigned",
                        "amd64",
                        AMD64_6_12,
                    )
                    .takes(&["./lib/modules/*"]),
                ],
                file: None,
            },
            Self::ShimAmd64 => odd("shim-signed", "usr/lib/shim/shimx64.efi.signed", TRIXIE),
            Self::GrubAmd64 => odd(
                "grub-efi-amd64-signed",
                "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
                TRIXIE,
            ),
            Self::FwupdAmd64 => odd(
                "fwupd-amd64-signed",
                "usr/libexec/fwupd/efi/fwupdx64.efi.signed",
                &["bookworm"],
            ),
            Self::RefindAmd64 => odd(
                "refind",
                "usr/share/refind/refind/refind_x64.efi",
                &["bookworm"],
            ),
            Self::SystemdBootAmd64 => odd(
                "systemd-boot-efi-amd64-signed",
                "usr/lib/systemd/boot/efi/systemd-bootx64.efi.signed",
                TRIXIE,
            ),
            Self::Ukify => Recipe {
                packages: vec![
                    Package::first("systemd-ukify", "amd64", TRIXIE).takes(&["./usr/bin/ukify"]),
                    Package::first("python3-pefile", "amd64", TRIXIE)
                        .takes(&["./usr/lib/python3/dist-packages/*"]),
                ],
                file: None,
            },
            Self::SystemdMeasure => peer::systemd_measure(),
            Self::KdumpTools => Recipe {
                packages: vec![
                    Package::first("kdump-tools", "arm64", TRIXIE).takes(&["./usr/*", "./etc/*"]),
                    Package::first("busybox-static", "arm64", TRIXIE).takes(&["./usr/bin/busybox"]),
                    Package::first("sysvinit-utils", "arm64", TRIXIE)
                        .takes(&["./usr/lib/lsb/init-functions*"]),
                ],
                file: None,
            },
            Self::KexecToolsAmd64 => peer::kexec_tools("amd64"),
            Self::KexecToolsArm64 => peer::kexec_tools("arm64"),
            Self::LinuxSource612 => file(
                "usr/src/linux-source-6.12.tar.xz",
                Package::first("linux-source-6.12", "amd64", AMD64_6_12)
                    .takes(&["./usr/src/linux-source-6.12.tar.xz"]),
            ),
        }
    }
}

/// The kernel's release in a directory of [`Item::VmAmd64`], such as `6.12.117+deb12-cloud-amd64`.
///
/// # Errors
/// [`Error::Unexpected`] when `boot` does not hold exactly one kernel.
pub fn kernel_release(dir: &Path) -> Result<String> {
    let kernel = only_match(dir, "boot/vmlinuz-*")?;
    let name = kernel
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(name.trim_start_matches("vmlinuz-").to_owned())
}

/// How an item is made of packages.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// The first decides version and suite for those that follow it.
    pub(crate) packages: Vec<Package>,
    /// The one file that the item is; none when it is the directory. A `*` stands for part of one name.
    pub(crate) file: Option<String>,
}

/// One package of a recipe.
#[derive(Debug)]
pub(crate) struct Package {
    /// A name with at most one `*`; when it follows, `{}` is what the first package's `*` stood for.
    pub(crate) name: &'static str,
    pub(crate) arch: &'static str,
    /// The first suite that has a match is taken.
    pub(crate) suites: &'static [&'static str],
    /// A pattern for the version.
    pub(crate) version: &'static str,
    /// Same version and suite as the first package.
    pub(crate) follows: bool,
    /// tar patterns of what is extracted.
    pub(crate) takes: &'static [&'static str],
    /// tar patterns of what is not.
    pub(crate) leaves: &'static [&'static str],
}

impl Package {
    const fn first(
        name: &'static str,
        arch: &'static str,
        suites: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            arch,
            suites,
            version: "*",
            follows: false,
            takes: &[],
            leaves: &[],
        }
    }

    const fn following(name: &'static str, arch: &'static str) -> Self {
        Self {
            follows: true,
            ..Self::first(name, arch, &[])
        }
    }

    const fn takes(self, takes: &'static [&'static str]) -> Self {
        Self { takes, ..self }
    }

    const fn leaves(self, leaves: &'static [&'static str]) -> Self {
        Self { leaves, ..self }
    }
}

const TRIXIE: &[&str] = &["trixie"];
/// Bookworm's security archive has a 6.12 kernel, and a small index.
const AMD64_6_12: &[&str] = &["bookworm-security", "bookworm-backports", "trixie"];

fn file(path: &str, package: Package) -> Recipe {
    Recipe {
        packages: vec![package],
        file: Some(path.to_owned()),
    }
}

fn kernel(name: &'static str, arch: &'static str, suites: &'static [&'static str]) -> Recipe {
    file(
        "boot/vmlinu*",
        Package::first(name, arch, suites).takes(&["./boot/vmlinu*"]),
    )
}

fn stub(
    name: &str,
    arch: &'static str,
    version: &'static str,
    suites: &'static [&'static str],
) -> Recipe {
    let package = Package {
        version,
        ..Package::first("systemd-boot-efi", arch, suites)
    };
    file(
        &format!("usr/lib/systemd/boot/efi/{name}"),
        package.takes(&["./usr/lib/systemd/boot/efi/*.efi.stub"]),
    )
}

fn odd(name: &'static str, path: &str, suites: &'static [&'static str]) -> Recipe {
    let takes: &[&str] = if path.ends_with(".signed") {
        &["*.efi.signed"]
    } else {
        &["*/refind_x64.efi"]
    };
    file(path, Package::first(name, "amd64", suites).takes(takes))
}

fn vm_amd64() -> Recipe {
    let first = Package::first(
        "linux-image-6.12.*-cloud-amd64-unsigned",
        "amd64",
        AMD64_6_12,
    );
    Recipe {
        packages: vec![
            first.takes(&["./boot/*"]),
            Package::following("linux-headers-6.12.{}-cloud-amd64", "amd64")
                .takes(&["./usr/src/*"]),
            // Of the common headers, x86's are enough; other architectures' are most of the files.
            Package::following("linux-headers-6.12.{}-common", "amd64")
                .takes(&["./usr/src/*"])
                .leaves(&["*/arch/[!x]*/*", "*/arch/xtensa/*"]),
            Package::following("linux-kbuild-6.12.{}", "amd64").takes(&["./usr/lib/*"]),
        ],
        file: None,
    }
}

/// The part of `text` that the pattern's `*` stands for; `None` when it does not match.
pub(crate) fn matched<'a>(pattern: &str, text: &'a str) -> Option<&'a str> {
    match pattern.split_once('*') {
        None => (pattern == text).then_some(""),
        Some((before, after)) => text.strip_prefix(before)?.strip_suffix(after),
    }
}

/// The only path below `dir` that matches `pattern`, in which each name may hold one `*`.
pub(crate) fn only_match(dir: &Path, pattern: &str) -> Result<PathBuf> {
    let mut found = vec![dir.to_path_buf()];
    for name in pattern.split('/') {
        found = found.iter().flat_map(|dir| entries(dir, name)).collect();
    }
    match found.as_slice() {
        [only] => Ok(only.clone()),
        many => Err(Error::unexpected(
            dir,
            pattern,
            format!("{} matches", many.len()),
            "1",
        )),
    }
}

fn entries(dir: &Path, pattern: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| matched(pattern, name).is_some())
        .map(|name| dir.join(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_stretch() {
        assert_eq!(
            matched(
                "linux-image-6.12.*-cloud-amd64",
                "linux-image-6.12.9+deb12-cloud-amd64"
            ),
            Some("9+deb12")
        );
        assert_eq!(
            matched(
                "linux-image-6.12.*-cloud-amd64",
                "linux-image-6.12.9-cloud-amd64-unsigned"
            ),
            None
        );
        assert_eq!(
            matched(
                "linux-image-6.12.*-cloud-amd64",
                "linux-image-6.12-cloud-amd64"
            ),
            None
        );
        assert_eq!(matched("refind", "refind"), Some(""));
        assert_eq!(matched("refind", "refinds"), None);
    }

    #[test]
    fn every_name_leads_back_to_its_item() {
        for item in Item::ALL {
            assert_eq!(Item::by_name(item.name()).unwrap(), *item);
        }
        assert!(Item::by_name("nonesuch").is_err());
    }

    #[test]
    fn only_the_first_package_of_a_recipe_does_not_follow_when_others_do() {
        for item in Item::ALL {
            let packages = item.recipe().packages;
            assert!(!packages[0].follows, "{}", item.name());
            assert!(
                packages
                    .iter()
                    .all(|package| package.follows || !package.suites.is_empty())
            );
        }
    }
}
