//! Plain kernels: what kexec starts without opening anything.
//!
//! Sources: `Documentation/arch/x86/boot.rst`, `Documentation/arch/arm64/booting.rst`,
//! `Documentation/arch/riscv/boot-image-header.rst`, `arch/loongarch/kernel/head.S`.

use kpeel_envelope::error::{Class, Error, Result};

/// A machine that kernels are for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Machine {
    /// x86, 64 bits.
    X86_64,
    /// arm64.
    Arm64,
    /// RISC-V, 64 bits.
    Riscv64,
    /// LoongArch, 64 bits.
    LoongArch64,
}

/// x86: `boot_flag`, `header`, `version`, `loadflags`, `xloadflags` (boot.rst, "The Real-Mode Kernel Header").
const X86_BOOT_FLAG: (usize, u16) = (0x1fe, 0xaa55);
const X86_HEADER: (usize, [u8; 4]) = (0x202, *b"HdrS");
const X86_VERSION: (usize, u16) = (0x206, 0x020c);
const X86_LOADFLAGS: (usize, u8) = (0x211, 1);
const X86_XLOADFLAGS: (usize, u16) = (0x236, 0b11);

/// The others: a magic number at 56, the image's size in memory at 16.
const MAGIC: usize = 56;
const IMAGE_SIZE: usize = 16;
const ARM64_MAGIC: [u8; 4] = *b"ARM\x64";
const RISCV_MAGIC: [u8; 4] = *b"RSC\x05";
const LINUX_PE_MAGIC: [u8; 4] = [0xcd, 0x23, 0x82, 0x81];
/// zboot has Linux's PE magic too, but this at 4.
const ZBOOT_MAGIC: (usize, [u8; 4]) = (4, *b"zimg");
const PE_OFFSET: usize = 0x3c;
const PE_MACHINE: usize = 4;
const MACHINE_LOONGARCH64: u16 = 0x6264;

impl Machine {
    /// The machine this code runs on, where kexec is known to it.
    #[must_use]
    pub const fn running() -> Option<Self> {
        if cfg!(target_arch = "x86_64") {
            Some(Self::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Arm64)
        } else if cfg!(target_arch = "riscv64") {
            Some(Self::Riscv64)
        } else if cfg!(target_arch = "loongarch64") {
            Some(Self::LoongArch64)
        } else {
            None
        }
    }

    /// The machine a plain kernel is for; `None` for anything that is no plain kernel.
    #[must_use]
    pub fn of_kernel(bytes: &[u8]) -> Option<Self> {
        if is_bzimage(bytes) {
            return Some(Self::X86_64);
        }
        let size = bytes
            .get(IMAGE_SIZE..)?
            .first_chunk()
            .map(|size| u64::from_le_bytes(*size))?;
        let machine = match at(bytes, MAGIC)? {
            ARM64_MAGIC => Self::Arm64,
            RISCV_MAGIC => Self::Riscv64,
            LINUX_PE_MAGIC if is_loongarch(bytes) => Self::LoongArch64,
            _ => return None,
        };
        (size != 0).then_some(machine)
    }

    /// Its name as `uname -m` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "aarch64",
            Self::Riscv64 => "riscv64",
            Self::LoongArch64 => "loongarch64",
        }
    }
}

/// Refuses what is no plain kernel, for `expected` if that is given.
pub(crate) fn check(kernel: &[u8], expected: Option<Machine>) -> Result<()> {
    let found = Machine::of_kernel(kernel).ok_or(Error::reason(
        Class::Unsupported,
        "kernel",
        "no parser opens it, and it is no bzImage and no arm64, riscv or loongarch Image",
    ))?;
    match expected {
        Some(expected) if expected != found => Err(Error::reason(
            Class::Unsupported,
            "kernel",
            match expected {
                Machine::X86_64 => "is for another machine than this x86_64",
                Machine::Arm64 => "is for another machine than this aarch64",
                Machine::Riscv64 => "is for another machine than this riscv64",
                Machine::LoongArch64 => "is for another machine than this loongarch64",
            },
        )),
        _ => Ok(()),
    }
}

fn is_bzimage(bytes: &[u8]) -> bool {
    let u16_at = |at| crate::recognise::at(bytes, at).map(u16::from_le_bytes);
    at(bytes, X86_HEADER.0) == Some(X86_HEADER.1)
        && u16_at(X86_BOOT_FLAG.0) == Some(X86_BOOT_FLAG.1)
        && u16_at(X86_VERSION.0).is_some_and(|version| version >= X86_VERSION.1)
        && at(bytes, X86_LOADFLAGS.0).is_some_and(|[flags]: [u8; 1]| flags & X86_LOADFLAGS.1 != 0)
        && u16_at(X86_XLOADFLAGS.0)
            .is_some_and(|flags| flags & X86_XLOADFLAGS.1 == X86_XLOADFLAGS.1)
}

fn is_loongarch(bytes: &[u8]) -> bool {
    let machine = || {
        let pe = u32::from_le_bytes(at(bytes, PE_OFFSET)?);
        at(bytes, usize::try_from(pe).ok()?.checked_add(PE_MACHINE)?).map(u16::from_le_bytes)
    };
    at(bytes, ZBOOT_MAGIC.0) != Some(ZBOOT_MAGIC.1) && machine() == Some(MACHINE_LOONGARCH64)
}

fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        for (at, part) in parts {
            bytes[*at..at + part.len()].copy_from_slice(part);
        }
        bytes
    }

    const SIZE: (usize, &[u8]) = (16, &[1]);

    #[test]
    fn knows_kernels_by_their_headers() {
        let x86: &[(usize, &[u8])] = &[
            (0x1fe, &[0x55, 0xaa]),
            (0x202, b"HdrS"),
            (0x206, &[0x0f, 2]),
            (0x211, &[1]),
            (0x236, &[0x3f]),
        ];
        assert_eq!(Machine::of_kernel(&image(x86)), Some(Machine::X86_64));
        for absent in 0..x86.len() {
            let mut parts = x86.to_vec();
            parts.remove(absent);
            assert_eq!(Machine::of_kernel(&image(&parts)), None, "{absent}");
        }
        let arm64 = image(&[SIZE, (56, b"ARM\x64")]);
        assert_eq!(Machine::of_kernel(&arm64), Some(Machine::Arm64));
        assert_eq!(Machine::of_kernel(&image(&[(56, b"ARM\x64")])), None);
        let riscv = image(&[SIZE, (56, b"RSC\x05")]);
        assert_eq!(Machine::of_kernel(&riscv), Some(Machine::Riscv64));
    }

    #[test]
    fn a_zboot_image_is_no_plain_kernel() {
        let plain: &[(usize, &[u8])] = &[
            SIZE,
            (56, &[0xcd, 0x23, 0x82, 0x81, 0x40]),
            (0x44, &[0x64, 0x62]),
        ];
        assert_eq!(
            Machine::of_kernel(&image(plain)),
            Some(Machine::LoongArch64)
        );
        let mut zboot = plain.to_vec();
        zboot.push((4, b"zimg"));
        assert_eq!(Machine::of_kernel(&image(&zboot)), None);
        assert_eq!(Machine::of_kernel(b"MZ"), None);
    }

    #[test]
    fn refuses_a_kernel_for_another_machine_only_where_one_is_expected() {
        let arm64 = image(&[SIZE, (56, b"ARM\x64")]);
        assert!(check(&arm64, None).is_ok());
        assert!(check(&arm64, Some(Machine::Arm64)).is_ok());
        assert!(check(&arm64, Some(Machine::X86_64)).is_err());
    }
}
