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
