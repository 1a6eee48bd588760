//! The header of an arm64 `Image`.
//!
//! Source: `Documentation/arch/arm64/booting.rst`, section 4.

use crate::error::{Error, Result};

const TEXT_OFFSET: usize = 8;
const IMAGE_SIZE: usize = 16;
const FLAGS: usize = 24;
const MAGIC: usize = 56;
const MAGIC_BYTES: [u8; 4] = *b"ARM\x64";
/// Alignment of the base that `text_offset` counts from.
const BASE_ALIGNMENT: u64 = 2 << 20;
const FLAG_BIG_ENDIAN: u64 = 1;
/// The kernel can use memory below itself (Linux 4.6 and later).
const FLAG_ANYWHERE: u64 = 1 << 3;

/// What the loader needs of the header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ImageHeader {
    /// Offset of the image from a 2 MiB aligned base, in bytes.
    pub text_offset: u64,
    /// Memory the kernel uses from its start, in bytes; more than the file holds.
    pub image_size: u64,
    /// Bit 0 big-endian, bits 1-2 page size, bit 3 placement anywhere.
    pub flags: u64,
}

impl ImageHeader {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Error::Malformed`] for other bytes, for images older than Linux 3.17 (no `image_size`)
    /// and for big-endian kernels.
    pub fn parse(image: &[u8]) -> Result<Self> {
        let magic = image.get(MAGIC..MAGIC + MAGIC_BYTES.len()).unwrap_or(&[]);
        if magic != MAGIC_BYTES {
            let found = format!("{magic:02x?}");
            return Err(Error::malformed(
                "arm64 Image magic at 0x38",
                found,
                "ARM\\x64",
            ));
        }
        let field = |at: usize| {
            let bytes = image
                .get(at..at + 8)
                .and_then(|bytes| bytes.try_into().ok());
            u64::from_le_bytes(bytes.unwrap_or_default())
        };
        let header = Self {
            text_offset: field(TEXT_OFFSET),
            image_size: field(IMAGE_SIZE),
            flags: field(FLAGS),
        };
        if header.image_size == 0 {
            return Err(Error::malformed(
                "image_size",
                0,
                "more (Linux 3.17 or later)",
            ));
        }
        if header.flags & FLAG_BIG_ENDIAN != 0 {
            return Err(Error::malformed(
                "flags",
                "a big-endian kernel",
                "a little-endian one",
            ));
        }
        // Bounds what is added to it later; no kernel comes near.
        const LARGEST: u64 = 1 << 40;
        for (name, value) in [
            ("image_size", header.image_size),
            ("text_offset", header.text_offset),
        ] {
            if value > LARGEST {
                return Err(Error::malformed(name, value, format!("at most {LARGEST}")));
            }
        }
        Ok(header)
    }

    /// Whether the kernel may lie anywhere in memory, not only near its start.
    #[must_use]
    pub fn goes_anywhere(&self) -> bool {
        self.flags & FLAG_ANYWHERE != 0
    }

    /// `text_offset` below 2 MiB: whole multiples only move the base.
    #[must_use]
    pub fn text_offset_in_base(&self) -> u64 {
        self.text_offset % BASE_ALIGNMENT
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::segments) fn image(text_offset: u64, image_size: u64, len: usize) -> Vec<u8> {
        let mut image = vec![0xd5; len.max(64)];
        image[8..16].copy_from_slice(&text_offset.to_le_bytes());
        image[16..24].copy_from_slice(&image_size.to_le_bytes());
        image[24..32].copy_from_slice(&10_u64.to_le_bytes());
        image[56..60].copy_from_slice(b"ARM\x64");
        image
    }

    #[test]
    fn reads_a_header() {
        let header = ImageHeader::parse(&image(0x8_0000, 0x1000, 64)).unwrap();
        assert_eq!(
            header,
            ImageHeader {
                text_offset: 0x8_0000,
                image_size: 0x1000,
                flags: 10
            }
        );
    }

    #[test]
    fn rejects_other_bytes_and_old_or_big_endian_kernels() {
        for broken in [&[0_u8; 64][..], &image(0, 1, 64)[..59], &[]] {
            assert!(ImageHeader::parse(broken).is_err());
        }
        assert!(ImageHeader::parse(&image(0, 0, 64)).is_err());
        assert!(ImageHeader::parse(&image(0, u64::MAX, 64)).is_err());
        let mut big = image(0, 1, 64);
        big[24] = 11;
        assert!(ImageHeader::parse(&big).is_err());
    }
}
