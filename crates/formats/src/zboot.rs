//! EFI zboot: a PE image that carries a compressed kernel.
//!
//! Source: `drivers/firmware/efi/libstub/zboot-header.S` and `Makefile.zboot` of Linux. The header
//! takes the place of the DOS header:
//!
//! | offset | field |
//! |---|---|
//! | 0x00 | `MZ`, two zero bytes |
//! | 0x04 | `zimg` |
//! | 0x08 | offset of the payload in the file, u32 |
//! | 0x0c | bytes of the payload, u32, without the length trailer kbuild appends |
//! | 0x18 | codec name, NUL-padded |
//! | 0x38 | PE magic of the kernel's own header (`LINUX_PE_MAGIC`) |
//! | 0x3c | offset of the PE header, u32 |

use crate::word;
use core::fmt;
use core::ops::Range;

/// `MZ`, little-endian; offset 0.
pub const MZ: u16 = 0x5a4d;
/// `zimg`, little-endian; offset [`ZIMG_AT`].
pub const ZIMG: u32 = 0x676d_697a;
/// Offset of [`ZIMG`].
pub const ZIMG_AT: usize = 0x04;
/// Offset of the payload's offset, u32.
pub const PAYLOAD_OFFSET_AT: usize = 0x08;
/// Offset of the payload's size, u32.
pub const PAYLOAD_SIZE_AT: usize = 0x0c;
/// Offset of the codec's name.
pub const CODEC_AT: usize = 0x18;
/// Bytes of the codec's name, padding included.
pub const CODEC_LEN: usize = 0x20;
/// Bytes of the header; no payload starts before its end.
pub const HEADER_LEN: usize = 0x40;

/// Bytes of a stream that tell its codec; no payload is shorter.
pub const MAGIC_LEN: u64 = 2;

/// Name of the field at [`PAYLOAD_OFFSET_AT`] in complaints.
pub const PAYLOAD_OFFSET: &str = "payload_offset";
/// Name of the field at [`PAYLOAD_SIZE_AT`] in complaints.
pub const PAYLOAD_SIZE: &str = "payload_size";
/// Name of the field at [`CODEC_AT`] in complaints, as the kernel's build names it.
pub const COMP_TYPE: &str = "comp_type";
/// Name of the payload's first two bytes in complaints.
pub const PAYLOAD_MAGIC: &str = "payload_magic";

/// One codec a zboot header can declare.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Declared {
    /// The name, as [`word`].
    pub name: u64,
    /// First two bytes of a stream, big-endian: all that Linux looks at (`lib/decompress.c`).
    pub magic: u16,
}

/// What kbuild writes (`gzip`, `lz4`, `lzma`, `lzo`, `xzkern`, `zstd22`; `zstd` in newer trees),
/// and the plain names of the two codecs Linux unpacks that kbuild gives no other one.
pub const DECLARED: &[Declared] = &[
    Declared::new(b"gzip", 0x1f8b),
    Declared::new(b"zstd", 0x28b5),
    Declared::new(b"zstd22", 0x28b5),
    Declared::new(b"xzkern", 0xfd37),
    Declared::new(b"xz", 0xfd37),
    Declared::new(b"lzma", 0x5d00),
    Declared::new(b"lz4", 0x0221),
    Declared::new(b"lzo", 0x894c),
    Declared::new(b"bzip2", 0x425a),
];

impl Declared {
    const fn new(name: &[u8], magic: u16) -> Self {
        Self {
            name: word(name),
            magic,
        }
    }
}

/// The codec with this name, given as [`word`] of the name field's first eight bytes.
#[must_use]
#[inline]
pub const fn declared(name: u64) -> Option<Declared> {
    let mut rest = DECLARED;
    while let Some((codec, tail)) = rest.split_first() {
        if codec.name == name {
            return Some(*codec);
        }
        rest = tail;
    }
    None
}

/// A checked header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Where the compressed stream is; inside the image, after the header.
    pub payload_offset: u32,
    /// Bytes of the stream, exactly: the length trailer that kbuild appends for every codec but
    /// gzip lies behind it.
    pub payload_size: u32,
    /// The codec both the header and the stream name.
    pub codec: Declared,
}

/// Why an image is no zboot image, or none that can be opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Error {
    /// No `zimg`: another format.
    NotZboot,
    /// A field that breaks the format's rules.
    Malformed(Field),
    /// A codec that Linux has no decompressor for; `found` is [`word`] of its name.
    Unsupported(Field),
}

/// The field a complaint is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub found: u64,
    /// The value, or the limit, it had to respect.
    pub needed: u64,
}

impl Header {
    /// Reads and checks the header of `image`.
    ///
    /// # Errors
    ///
    /// [`Error`], the same in the same cases as `parsers/zboot`.
    pub fn parse(image: &[u8]) -> Result<Self, Error> {
        let header = image.first_chunk::<HEADER_LEN>().ok_or(Error::NotZboot)?;
        if field(header, 0) as u16 != MZ || field(header, ZIMG_AT) as u32 != ZIMG {
            return Err(Error::NotZboot);
        }
        let payload_offset = field(header, PAYLOAD_OFFSET_AT) as u32;
        let payload_size = field(header, PAYLOAD_SIZE_AT) as u32;
        let range = payload(payload_offset, payload_size, image.len() as u64)?;
        let name = field(header, CODEC_AT);
        let codec =
            declared(name).ok_or_else(|| Error::Unsupported(Field::new(COMP_TYPE, name, 0)))?;
        let magic = image
            .get(range)
            .and_then(|stream| stream.first_chunk())
            .map_or(0, |magic| u16::from_be_bytes(*magic));
        if magic != codec.magic {
            return malformed(PAYLOAD_MAGIC, magic.into(), codec.magic.into());
        }
        Ok(Self {
            payload_offset,
            payload_size,
            codec,
        })
    }

    /// The stream's place in the image.
    #[must_use]
    pub fn payload(&self) -> Range<usize> {
        let start = self.payload_offset as usize;
        start..start.saturating_add(self.payload_size as usize)
    }
}

impl Declared {
    /// The name's text.
    #[must_use]
    pub fn text(&self) -> Text {
        Text(self.name)
    }
}

/// A name held as [`word`], for display.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Text(pub u64);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.to_le_bytes();
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or(&[]);
        write!(f, "{}", text.escape_ascii())
    }
}

impl Field {
    const fn new(name: &'static str, found: u64, needed: u64) -> Self {
        Self {
            name,
            found,
            needed,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotZboot => f.write_str("not an EFI zboot image: no zimg at offset 4"),
            Self::Malformed(field) => {
                let Field {
                    name,
                    found,
                    needed,
                } = field;
                write!(f, "{name}: found {found:#x}, needed {needed:#x}")
            }
            Self::Unsupported(field) => {
                let (name, found) = (field.name, Text(field.found));
                write!(f, "{name}: found {found}, needed a codec of Linux")
            }
        }
    }
}

impl core::error::Error for Error {}

/// The payload's place in an image of `image` bytes.
fn payload(offset: u32, size: u32, image: u64) -> Result<Range<usize>, Error> {
    let (start, size) = (u64::from(offset), u64::from(size));
    if start < HEADER_LEN as u64 {
        return malformed(PAYLOAD_OFFSET, start, HEADER_LEN as u64);
    }
    let Some(room) = image.checked_sub(start) else {
        return malformed(PAYLOAD_OFFSET, start, image);
    };
    if size < MAGIC_LEN {
        return malformed(PAYLOAD_SIZE, size, MAGIC_LEN);
    }
    if size > room {
        return malformed(PAYLOAD_SIZE, size, room);
    }
    let start = offset as usize;
    Ok(start..start.saturating_add(size as usize))
}

fn malformed<T>(name: &'static str, found: u64, needed: u64) -> Result<T, Error> {
    Err(Error::Malformed(Field::new(name, found, needed)))
}

/// The eight bytes at `at`, which every caller keeps inside the header.
fn field(header: &[u8; HEADER_LEN], at: usize) -> u64 {
    header
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::string::ToString;
    use std::vec::Vec;

    /// A header in front of four bytes of zstd, as kbuild lays it out.
    fn image() -> Vec<u8> {
        let mut image = std::vec![0_u8; 0x48];
        image[..8].copy_from_slice(b"MZ\0\0zimg");
        image[8..12].copy_from_slice(&0x40_u32.to_le_bytes());
        image[12..16].copy_from_slice(&4_u32.to_le_bytes());
        image[0x18..0x1c].copy_from_slice(b"zstd");
        image[0x40..0x44].copy_from_slice(&[0x28, 0xb5, 0x2f, 0xfd]);
        image
    }

    fn put(at: usize, value: u32) -> Result<Header, Error> {
        let mut image = image();
        image[at..at + 4].copy_from_slice(&value.to_le_bytes());
        Header::parse(&image)
    }

    fn complaint(name: &'static str, found: u64, needed: u64) -> Result<Header, Error> {
        malformed(name, found, needed)
    }

    #[test]
    fn reads_the_payload_exactly_as_the_header_says() {
        let header = Header::parse(&image()).unwrap();
        assert_eq!(header.payload(), 0x40..0x44);
        assert_eq!(header.codec.text().to_string(), "zstd");
        // The trailer's four bytes may belong to it too: the header decides.
        assert_eq!(put(12, 8).unwrap().payload(), 0x40..0x48);
    }

    #[test]
    fn takes_images_without_zimg_for_another_format() {
        assert_eq!(put(4, 0), Err(Error::NotZboot));
        assert_eq!(put(0, 0), Err(Error::NotZboot));
        assert_eq!(Header::parse(&image()[..0x3f]), Err(Error::NotZboot));
        assert_eq!(Header::parse(&[]), Err(Error::NotZboot));
    }

    #[test]
    fn rejects_a_payload_outside_the_image() {
        assert_eq!(put(8, 0x3f), complaint(PAYLOAD_OFFSET, 0x3f, 0x40));
        assert_eq!(put(8, 0x49), complaint(PAYLOAD_OFFSET, 0x49, 0x48));
        assert_eq!(put(12, 1), complaint(PAYLOAD_SIZE, 1, 2));
        assert_eq!(put(12, 9), complaint(PAYLOAD_SIZE, 9, 8));
        let huge = u32::MAX;
        assert_eq!(put(12, huge), complaint(PAYLOAD_SIZE, huge.into(), 8));
        assert_eq!(put(8, huge), complaint(PAYLOAD_OFFSET, huge.into(), 0x48));
    }

    #[test]
    fn rejects_a_codec_that_is_not_the_streams() {
        assert_eq!(
            put(0x18, u32::from_le_bytes(*b"gzip")),
            complaint(PAYLOAD_MAGIC, 0x28b5, 0x1f8b)
        );
        assert_eq!(
            put(0x40, 0x0000_8b1f).unwrap_err().to_string(),
            "payload_magic: found 0x1f8b, needed 0x28b5"
        );
    }

    #[test]
    fn names_a_codec_linux_does_not_have() {
        let error = put(0x18, u32::from_le_bytes(*b"lzip")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "comp_type: found lzip, needed a codec of Linux"
        );
    }

    #[test]
    fn knows_every_name_kbuild_writes() {
        for name in ["gzip", "lz4", "lzma", "lzo", "xzkern", "zstd22", "zstd"] {
            let codec = declared(word(name.as_bytes())).unwrap();
            assert_eq!(codec.text().to_string(), name);
        }
        assert_eq!(declared(word(b"zst")), None);
        assert_eq!(declared(0), None);
    }
}
