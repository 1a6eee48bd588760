//! Which kernels there are, and what sets each apart.

use kpeel_images::Item;

/// Architecture of a kernel, as the kernel's makefile spells it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Arch {
    /// 64-bit Arm.
    Arm64,
}

/// What is done to Debian's source.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Variant {
    /// Nothing.
    Stock,
}

/// One kernel that can be built.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Kernel {
    /// What it runs on.
    pub arch: Arch,
    /// What it is made of.
    pub variant: Variant,
}

/// A file that the build of a kernel gives.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Image {
    /// arm64's uncompressed `Image`, a PE image by its EFI stub.
    Plain,
    /// A zboot image, its payload compressed by gzip.
    ZbootGzip,
    /// A zboot image, its payload compressed by zstd.
    ZbootZstd,
}

impl Arch {
    /// Every architecture.
    pub const ALL: &[Self] = &[Self::Arm64];

    /// The kernel's name for it, as in `make ARCH=`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
        }
    }

    /// The architecture of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|arch| arch.name() == name)
    }
}

impl Image {
    /// Every image.
    pub const ALL: &[Self] = &[Self::Plain, Self::ZbootGzip, Self::ZbootZstd];

    /// Its file's name, in the cache and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "Image",
            Self::ZbootGzip => "vmlinuz.efi.gzip",
            Self::ZbootZstd => "vmlinuz.efi.zstd",
        }
    }

    /// The image of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|image| image.name() == name)
    }
}

impl Kernel {
    /// Debian's arm64 source as it is, with `kexec_file_load` and zboot images.
    pub const STOCK_ARM64: Self = Self {
        arch: Arch::Arm64,
        variant: Variant::Stock,
    };

    /// Its name in messages and file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match (self.arch, self.variant) {
            (Arch::Arm64, Variant::Stock) => "arm64-stock",
        }
    }

    /// The source it is built from.
    pub(crate) fn source(self) -> Item {
        match self.variant {
            Variant::Stock => Item::LinuxSource612,
        }
    }

    /// What its configuration has; everything else is off.
    pub(crate) fn fragment(self) -> Fragment {
        match (self.arch, self.variant) {
            (Arch::Arm64, Variant::Stock) => Fragment {
                name: "testing/kernel/configs/arm64-stock.config",
                text: include_str!("../configs/arm64-stock.config"),
            },
        }
    }

    /// About how many files its build compiles and links, for telling how far it is.
    pub(crate) fn steps(self) -> u32 {
        match (self.arch, self.variant) {
            (Arch::Arm64, Variant::Stock) => 1650,
        }
    }
}

/// Lines for a kernel's `.config`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment {
    /// Its place in the checkout.
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_what_it_names() {
        for &image in Image::ALL {
            assert_eq!(Image::from_name(image.name()), Some(image));
        }
        for &arch in Arch::ALL {
            assert_eq!(Arch::from_name(arch.name()), Some(arch));
        }
        assert_eq!(Image::from_name("vmlinuz.efi"), None);
        assert_eq!(Arch::from_name("aarch64"), None);
    }
}
