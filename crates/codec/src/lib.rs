//! Capped decoders for the codecs of compressed kernels.
//!
//! One call, [`decompress`], takes a whole compressed stream and gives the unpacked bytes or says what is wrong
//! with it. The result is bounded by [`Limits`], a size that the stream declares is checked and never trusted,
//! every checksum of the format is verified and a truncated stream is an error.
//!
//! # What is decoded
//!
//! The first stream, frame or member only, as Linux' `lib/decompress*` does. Bytes after it are ignored: kernel
//! images are padded, and some carry their unpacked size behind the stream. LZ4 legacy has no end mark, so there
//! the end of the input, a zero chunk size or the unpacked size in the last four bytes ends it.
//!
//! # Two builds
//!
//! Feature `native` (default) decodes gzip, zstd, xz and lzma by libdeflate, libzstd and liblzma. Without it
//! miniz_oxide, ruzstd and lzma-rust2 do, slower and without a C compiler. lz4, lzo and bzip2 are the same in both.
//! A stream gives the same bytes or the same class of error both ways; a field that a library reads has a coarser
//! name, and offsets can differ. The one exception known: a Zstandard frame without checksum whose entropy coding is
//! damaged may pass one library and not the other, or give other bytes, as they do not look for the same faults.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)
)]

use core::fmt;

// Tests inside share their helpers with those outside.
#[cfg(all(test, feature = "native"))]
extern crate self as kpeel_codec;

mod bzip2;
mod decoders;
#[cfg(feature = "encode")]
mod encode;
mod error;
mod gzip;
mod lz4;
mod lzma;
mod lzo;
mod output;
mod pages;
mod reader;
#[cfg(all(test, feature = "native"))]
mod tests;
mod xz;
mod zstd;

#[cfg(feature = "encode")]
pub use encode::{Branch, compress, compress_xz};
pub use error::{Bound, Error, Value};
pub use pages::advise_large_pages;

/// A compression format that Linux can unpack a kernel from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
    /// .xz 1.2.1: LZMA2, all BCJ filters, delta.
    Xz,
    /// .lzma, "LZMA alone".
    Lzma,
    /// LZ4 legacy frames (`lz4 -l`).
    Lz4,
    /// lzop's container of LZO1X blocks.
    Lzo,
    /// bzip2.
    Bzip2,
}

impl Codec {
    /// Every codec.
    pub const ALL: [Codec; 7] = [
        Codec::Gzip,
        Codec::Zstd,
        Codec::Xz,
        Codec::Lzma,
        Codec::Lz4,
        Codec::Lzo,
        Codec::Bzip2,
    ];

    /// Tells the codec by the first two bytes, as `compressed_formats[]` in Linux' lib/decompress.c.
    pub fn detect(input: &[u8]) -> Option<Codec> {
        match *input.first_chunk()? {
            [0x1f, 0x8b] => Some(Codec::Gzip),
            [0x28, 0xb5] => Some(Codec::Zstd),
            [0xfd, 0x37] => Some(Codec::Xz),
            [0x5d, 0x00] => Some(Codec::Lzma),
            [0x02, 0x21] => Some(Codec::Lz4),
            [0x89, 0x4c] => Some(Codec::Lzo),
            [0x42, 0x5a] => Some(Codec::Bzip2),
            _ => None,
        }
    }

    /// The name Linux gives the codec in lib/decompress.c: `gzip`, `zstd`, `xz`, `lzma`, `lz4`, `lzo`, `bzip2`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Gzip => "gzip",
            Codec::Zstd => "zstd",
            Codec::Xz => "xz",
            Codec::Lzma => "lzma",
            Codec::Lz4 => "lz4",
            Codec::Lzo => "lzo",
            Codec::Bzip2 => "bzip2",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What unpacking may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes the result may have.
    pub output: u64,
    /// Bytes of window or dictionary the stream may ask the decoder to keep. Real kernels ask for 128 MiB.
    pub window: u64,
}

impl Limits {
    /// The default for [`Limits::window`]: what zstd's windowLog 27 and arm64's xz dictionary ask for.
    pub const WINDOW: u64 = 128 << 20;
    /// The default for [`Limits::output`].
    pub const OUTPUT: u64 = 1 << 30;
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            output: Self::OUTPUT,
            window: Self::WINDOW,
        }
    }
}

/// Unpacks the first stream of `input`.
///
/// # Errors
///
/// [`Error::Malformed`] for wrong, truncated or damaged bytes, [`Error::Unsupported`] for a feature of the format
/// that is not decoded, [`Error::Limit`] when the stream asks for more than `limits`, [`Error::Memory`] when the
/// system does not have what the limits allow.
pub fn decompress(codec: Codec, input: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    decompress_by::<decoders::Preferred>(codec, input, limits)
}

fn decompress_by<D: decoders::Decoders>(
    codec: Codec,
    input: &[u8],
    limits: &Limits,
) -> Result<Vec<u8>, Error> {
    match codec {
        Codec::Gzip => gzip::decompress::<D>(input, limits),
        Codec::Zstd => zstd::decompress::<D>(input, limits),
        Codec::Xz => xz::decompress::<D>(input, limits),
        Codec::Lzma => lzma::decompress::<D>(input, limits),
        Codec::Lz4 => lz4::decompress(input, limits),
        Codec::Lzo => lzo::decompress(input, limits),
        Codec::Bzip2 => bzip2::decompress(input, limits),
    }
}

#[cfg(test)]
mod checked {
    /// This crate is optimised for tests too; its checks must not be optimised away.
    #[test]
    #[should_panic(expected = "attempt to add with overflow")]
    fn tests_run_with_overflow_checks() {
        let one = core::hint::black_box(1_u8);
        assert_eq!(core::hint::black_box(u8::MAX) + one, 0);
    }
}
