//! The architectures of test images, and which tools know them.

use std::fs;
use std::path::Path;

use crate::{Error, Result};

/// An architecture that boot images are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// x86_64.
    Amd64,
    /// aarch64.
    Arm64,
    /// 64-bit RISC-V.
    Riscv64,
    /// 64-bit LoongArch.
    Loong64,
}

impl Machine {
    /// Reads the COFF header of a PE image.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when there is no PE header or it names another machine.
    pub fn of_image(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(Error::io("reading", path))?;
        let word = |at: usize, len: usize| {
            let bytes = bytes.get(at..at.checked_add(len)?)?;
            Some(
                bytes
                    .iter()
                    .rev()
                    .fold(0_usize, |value, byte| value << 8 | usize::from(*byte)),
            )
        };
        let coff = word(PE_OFFSET_AT, 4).map(|pe| pe.saturating_add(4));
        match coff.and_then(|coff| word(coff, 2)) {
            Some(0x8664) => Ok(Self::Amd64),
            Some(0xaa64) => Ok(Self::Arm64),
            Some(0x5064) => Ok(Self::Riscv64),
            Some(0x6264) => Ok(Self::Loong64),
            found => Err(Error::unexpected(
                path,
                "Machine",
                format!("{found:#x?}"),
                "a known machine",
            )),
        }
    }

    /// The PE format's number (PE specification, "Machine Types").
    #[must_use]
    pub fn pe(self) -> u16 {
        match self {
            Self::Amd64 => 0x8664,
            Self::Arm64 => 0xaa64,
            Self::Riscv64 => 0x5064,
            Self::Loong64 => 0x6264,
        }
    }

    /// Debian's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::Riscv64 => "riscv64",
            Self::Loong64 => "loong64",
        }
    }

    /// What Debian's binutils call their tools for this machine; none where they know no such PE images.
    pub(crate) fn binutils(self) -> Option<&'static str> {
        match self {
            Self::Amd64 => Some("x86_64-linux-gnu-"),
            Self::Arm64 => Some("aarch64-linux-gnu-"),
            Self::Riscv64 | Self::Loong64 => None,
        }
    }
}

const PE_OFFSET_AT: usize = 0x3c;
