//! Which kernels there are, and what sets each apart.

use kpeel_images::Item;

/// Architecture of a kernel, as the kernel's makefile spells it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Arch {
    /// 64-bit Arm.
    Arm64,
    /// 64-bit x86.
    X86_64,
}

/// What is done to Debian's source.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Variant {
    /// Nothing.
    Stock,
    /// `linux/overlay` and `linux/patches` added: the kernel side of kpeel.
    Kpeel,
    /// The same with `linux/config/debug.config`: it looks after locks, leaks and failing allocations.
    KpeelDebug,
    /// The same with `linux/config/sanitize.config`: it looks after accesses to memory.
    KpeelSanitize,
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
    /// x86's `bzImage`, a PE image by its EFI stub.
    BzImage,
    /// The same with `linux/config/forced.config`: signatures are enforced.
    BzImageForced,
    /// A zboot image, its payload compressed by gzip.
    ZbootGzip,
    /// A zboot image, its payload compressed by zstd.
    ZbootZstd,
}

impl Arch {
    /// Every architecture.
    pub const ALL: &[Self] = &[Self::Arm64, Self::X86_64];

    /// The kernel's name for it, as in `make ARCH=`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "x86_64",
        }
    }

    /// The directory of `arch/` that has it.
    pub(crate) fn dir(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "x86",
        }
    }

    /// The image that is started without being unpacked first.
    #[must_use]
    pub fn image(self) -> Image {
        match self {
            Self::Arm64 => Image::Plain,
            Self::X86_64 => Image::BzImage,
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
    pub const ALL: &[Self] = &[
        Self::Plain,
        Self::BzImage,
        Self::BzImageForced,
        Self::ZbootGzip,
        Self::ZbootZstd,
    ];

    /// Its file's name, in the cache and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "Image",
            Self::BzImage => "bzImage",
            Self::BzImageForced => "bzImage.forced",
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

    /// The kernel of this architecture that opens PE boot images itself.
    #[must_use]
    pub const fn kpeel(arch: Arch) -> Self {
        Self {
            arch,
            variant: Variant::Kpeel,
        }
    }

    /// Whether it can be built: Debian itself ships x86's kernel with all that the tests need of a stock one.
    #[must_use]
    pub fn exists(self) -> bool {
        self != Self {
            arch: Arch::X86_64,
            variant: Variant::Stock,
        }
    }

    /// Its name in messages and file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match (self.arch, self.variant) {
            (Arch::Arm64, Variant::Stock) => "arm64-stock",
            (Arch::Arm64, Variant::Kpeel) => "arm64-kpeel",
            (Arch::Arm64, Variant::KpeelDebug) => "arm64-kpeel-debug",
            (Arch::Arm64, Variant::KpeelSanitize) => "arm64-kpeel-sanitize",
            (Arch::X86_64, Variant::Stock) => "x86_64-stock",
            (Arch::X86_64, Variant::Kpeel) => "x86_64-kpeel",
            (Arch::X86_64, Variant::KpeelDebug) => "x86_64-kpeel-debug",
            (Arch::X86_64, Variant::KpeelSanitize) => "x86_64-kpeel-sanitize",
        }
    }

    /// Whether our files and patches are added to the source, and a key made that the kernel trusts.
    pub(crate) fn is_patched(self) -> bool {
        self.variant != Variant::Stock
    }

    /// The images that its build gives.
    #[must_use]
    pub fn images(self) -> &'static [Image] {
        match (self.arch, self.variant) {
            (_, Variant::Stock) => &[Image::Plain, Image::ZbootGzip, Image::ZbootZstd],
            (Arch::Arm64, _) => &[Image::Plain],
            (Arch::X86_64, Variant::Kpeel) => &[Image::BzImage, Image::BzImageForced],
            (Arch::X86_64, Variant::KpeelDebug | Variant::KpeelSanitize) => &[Image::BzImage],
        }
    }

    /// The source it is built from.
    pub(crate) fn source(self) -> Item {
        Item::LinuxSource612
    }

    /// What its configuration has; everything else is off. The last line about an option holds.
    pub(crate) fn fragments(self) -> &'static [Fragment] {
        match (self.arch, self.variant) {
            (_, Variant::Stock) => &[STOCK_ARM64],
            (Arch::Arm64, Variant::Kpeel) => &[ARM64],
            (Arch::Arm64, Variant::KpeelDebug) => &[ARM64, DEBUG],
            (Arch::Arm64, Variant::KpeelSanitize) => &[ARM64, SANITIZE],
            (Arch::X86_64, Variant::Kpeel) => &[X86_64],
            (Arch::X86_64, Variant::KpeelDebug) => &[X86_64, DEBUG, DEBUG_X86_64],
            (Arch::X86_64, Variant::KpeelSanitize) => &[X86_64, SANITIZE, DEBUG_X86_64],
        }
    }

    /// What is changed, one after the other, to link the same tree again.
    pub(crate) fn relinks(self) -> &'static [Relink] {
        match (self.arch, self.variant) {
            (Arch::X86_64, Variant::Kpeel) => &[
                Relink::Image(Image::BzImageForced, FORCED),
                Relink::Without(WITHOUT),
            ],
            _ => &[],
        }
    }

    /// Whether its build tells what the kernel side of kpeel adds to its size.
    #[must_use]
    pub fn has_sizes(self) -> bool {
        let mut relinks = self.relinks().iter();
        relinks.any(|relink| matches!(relink, Relink::Without(_)))
    }

    /// About how many files its build compiles and links, for telling how far it is.
    pub(crate) fn steps(self) -> u32 {
        match (self.arch, self.variant) {
            (_, Variant::Stock) => 1650,
            (Arch::Arm64, Variant::Kpeel) => 2300,
            (Arch::X86_64, Variant::Kpeel) => 2600,
            (_, Variant::KpeelDebug | Variant::KpeelSanitize) => 2050,
        }
    }
}

const STOCK_ARM64: Fragment = Fragment {
    name: "testing/kernel/configs/arm64-stock.config",
    text: include_str!("../configs/arm64-stock.config"),
};

const ARM64: Fragment = Fragment {
    name: "linux/config/arm64.config",
    text: include_str!("../../../linux/config/arm64.config"),
};

const X86_64: Fragment = Fragment {
    name: "linux/config/x86_64.config",
    text: include_str!("../../../linux/config/x86_64.config"),
};

const DEBUG: Fragment = Fragment {
    name: "linux/config/debug.config",
    text: include_str!("../../../linux/config/debug.config"),
};

const SANITIZE: Fragment = Fragment {
    name: "linux/config/sanitize.config",
    text: include_str!("../../../linux/config/sanitize.config"),
};

const DEBUG_X86_64: Fragment = Fragment {
    name: "linux/config/debug-x86_64.config",
    text: include_str!("../../../linux/config/debug-x86_64.config"),
};

const FORCED: Fragment = Fragment {
    name: "linux/config/forced.config",
    text: include_str!("../../../linux/config/forced.config"),
};

const WITHOUT: Fragment = Fragment {
    name: "linux/config/without.config",
    text: include_str!("../../../linux/config/without.config"),
};

/// One more link of a tree that is built already.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Relink {
    /// Gives another image.
    Image(Image, Fragment),
    /// Leaves the kernel side of kpeel out; only its size is kept.
    Without(Fragment),
}

impl Relink {
    /// What it changes.
    pub(crate) fn fragment(self) -> Fragment {
        match self {
            Self::Image(_, fragment) | Self::Without(fragment) => fragment,
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
        assert!(Kernel::STOCK_ARM64.exists() && Kernel::kpeel(Arch::X86_64).exists());
        assert_eq!(Image::from_name("vmlinuz.efi"), None);
        assert_eq!(Arch::from_name("aarch64"), None);
    }
}
