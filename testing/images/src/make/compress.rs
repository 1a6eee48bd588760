//! Compression by the formats' own command-line tools.

use std::process::Command;

use super::Machine;
use crate::{Result, tool};

/// A compression format that Linux unpacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// gzip.
    Gzip,
    /// Zstandard with a window of 128 MiB.
    Zstd,
    /// xz with a dictionary of 128 MiB and the machine's branch filter, as kbuild's xzkern.
    Xz,
    /// The old `.lzma` format.
    Lzma,
    /// The legacy LZ4 frame.
    Lz4,
    /// lzop.
    Lzo,
    /// bzip2; kbuild makes no zboot image with it.
    Bzip2,
}

impl Codec {
    /// Every codec.
    pub const ALL: [Self; 7] = [
        Self::Gzip,
        Self::Zstd,
        Self::Xz,
        Self::Lzma,
        Self::Lz4,
        Self::Lzo,
        Self::Bzip2,
    ];

    /// The name that kbuild writes into a zboot header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xzkern",
            Self::Lzma => "lzma",
            Self::Lz4 => "lz4",
            Self::Lzo => "lzo",
            Self::Bzip2 => "bzip2",
        }
    }

    /// The codec that a zboot header names, by any name that some kernel's kbuild wrote.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "zstd22" => Some(Self::Zstd),
            "xz" => Some(Self::Xz),
            _ => Self::ALL.into_iter().find(|codec| codec.name() == name),
        }
    }

    /// Compresses as kbuild does for `machine`, but for the effort spent.
    ///
    /// # Errors
    /// What the tool says.
    pub fn compress(self, machine: Machine, input: &[u8]) -> Result<Vec<u8>> {
        let filter = match machine {
            Machine::Amd64 => "--x86",
            Machine::Arm64 => "--arm64",
            // A filter that changes nothing.
            Machine::Riscv64 | Machine::Loong64 => "--delta=dist=1",
        };
        let arguments: &[&str] = match self {
            Self::Gzip => &["gzip", "-n", "-9", "-c"],
            // From a pipe: the content's size is unknown to the frame, as in real kernels.
            Self::Zstd => &["zstd", "-q", "-9", "--long=27", "-c"],
            Self::Xz if filter.starts_with("--delta") => {
                &["xz", "--check=crc32", "--lzma2=dict=128MiB", "-c"]
            }
            Self::Xz => &[
                "xz",
                "--check=crc32",
                filter,
                "--lzma2=lp=2,lc=2,dict=128MiB",
                "-c",
            ],
            Self::Lzma => &["xz", "--format=lzma", "-9", "-c"],
            Self::Lz4 => &["lz4", "-q", "-l", "-9", "-c"],
            Self::Lzo => &["lzop", "-9", "-c"],
            Self::Bzip2 => &["bzip2", "-9", "-c"],
        };
        run(arguments, input)
    }

    /// Unpacks a stream that ends where `input` ends.
    ///
    /// # Errors
    /// What the tool says.
    pub fn decompress(self, input: &[u8]) -> Result<Vec<u8>> {
        let arguments: &[&str] = match self {
            Self::Gzip => &["gzip", "-dc"],
            Self::Zstd => &["zstd", "-q", "-dc", "--long=27"],
            Self::Xz => &["xz", "-dc", "--format=xz"],
            Self::Lzma => &["xz", "-dc", "--format=lzma"],
            Self::Lz4 => &["lz4", "-q", "-dc"],
            Self::Lzo => &["lzop", "-dc"],
            Self::Bzip2 => &["bzip2", "-dc"],
        };
        run(arguments, input)
    }
}

fn run(arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
    let mut command = Command::new(arguments[0]);
    tool::pipe(command.args(&arguments[1..]), input)
}
