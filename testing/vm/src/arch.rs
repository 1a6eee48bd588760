//! What differs between the guests' architectures.

/// Architecture of a guest.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Arch {
    /// 64-bit Arm, QEMU's `virt` board.
    Aarch64,
    /// 64-bit x86, QEMU's `q35` board.
    X86_64,
}

impl Arch {
    /// Every architecture that guests exist for.
    pub const ALL: [Self; 2] = [Self::Aarch64, Self::X86_64];

    /// The architecture with this name, as `uname -m` spells it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.name() == name)
    }

    /// The architecture's name, as `uname -m` spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aarch64 => "aarch64",
            Self::X86_64 => "x86_64",
        }
    }

    /// The kernel's name for the first serial port, for `console=`.
    #[must_use]
    pub fn console(self) -> &'static str {
        match self {
            Self::Aarch64 => "ttyAMA0",
            Self::X86_64 => "ttyS0",
        }
    }

    /// Whether KVM on this host could run guests of this architecture at all.
    #[must_use]
    pub fn is_host(self) -> bool {
        std::env::consts::ARCH == self.name()
    }

    pub(crate) fn qemu(self) -> &'static str {
        match self {
            Self::Aarch64 => "qemu-system-aarch64",
            Self::X86_64 => "qemu-system-x86_64",
        }
    }

    /// The Debian package that holds [`Arch::qemu`].
    pub(crate) fn qemu_package(self) -> &'static str {
        match self {
            Self::Aarch64 => "qemu-system-arm",
            Self::X86_64 => "qemu-system-x86",
        }
    }

    pub(crate) fn board(self) -> &'static str {
        match self {
            Self::Aarch64 => "virt",
            Self::X86_64 => "q35",
        }
    }

    /// CPU model for emulation. Pointer authentication by the architected algorithm makes
    /// emulation several times slower and proves nothing here. With 52-bit addresses (LPA2), Linux
    /// 6.12 oopses in `trans_pgd_create_copy` at every kexec, whoever asks for it.
    pub(crate) fn emulated_cpu(self) -> &'static str {
        match self {
            Self::Aarch64 => "max,pauth-impdef=on,lpa2=off",
            Self::X86_64 => "max",
        }
    }
}
