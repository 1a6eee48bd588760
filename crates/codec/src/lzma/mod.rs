//! LZMA, and what it comes in: .lzma files and LZMA2.

pub(crate) mod alone;
mod decoder;
pub(crate) mod lzma2;
mod range;
