//! The libraries that decode gzip, zstd, xz and lzma: one set in C, one in Rust.
//!
//! Headers have been read and limits on what they declare enforced before a library sees a stream.

#[cfg(feature = "native")]
mod native;
#[cfg(any(test, not(feature = "native")))]
mod rust;

#[cfg(feature = "native")]
pub(crate) use native::Native;
#[cfg(any(test, not(feature = "native")))]
pub(crate) use rust::Rust;

use crate::{Error, Limits, lzma, zstd};

/// The set this build decodes with.
#[cfg(feature = "native")]
pub(crate) type Preferred = Native;
/// The set this build decodes with.
#[cfg(not(feature = "native"))]
pub(crate) type Preferred = Rust;

/// Why a decoder into given room stopped.
pub(crate) enum Stop {
    /// The stream goes on where the room ends.
    Room,
    /// It is refused.
    Error(Error),
}

/// A set of decoders. Each decodes the first stream and ignores what follows it.
pub(crate) trait Decoders {
    /// Decodes the gzip member whose deflate stream is at `body` into `room`, and checks its trailer; gives the bytes
    /// written.
    fn gzip(input: &[u8], body: usize, room: &mut [u8]) -> Result<usize, Stop>;

    /// Decodes a Zstandard frame.
    fn zstd(frame: &zstd::Frame<'_>, limits: &Limits) -> Result<Vec<u8>, Error>;

    /// Decodes an .xz stream.
    fn xz(input: &[u8], limits: &Limits) -> Result<Vec<u8>, Error>;

    /// Decodes a .lzma stream.
    fn lzma(input: &[u8], header: &lzma::Header, limits: &Limits) -> Result<Vec<u8>, Error>;
}

/// Bytes of decoder state that an xz decoder may have besides a dictionary.
const XZ_STATE: u64 = 1 << 20;
