//! gzip members (RFC 1952).

use crate::inflate::{Stop, inflate};
use crate::output::Output;
use crate::reader::{Reader, corrupt, truncated};
use crate::{Codec, Error, Limits};

const CODEC: Codec = Codec::Gzip;

/// RFC 1952, 2.3.1: the only compression method there is.
const METHOD_DEFLATE: u8 = 8;
const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0b1110_0000;
/// CRC-32 and ISIZE.
#[cfg(feature = "native")]
const TRAILER: usize = 8;
/// No deflate stream expands more than this: 258 bytes from a length and a distance code of one bit each.
#[cfg(feature = "native")]
const MAX_RATIO: u64 = 1032;

pub(crate) fn decompress(input: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    let body = header(input)?;
    #[cfg(feature = "native")]
    if crate::native::enabled()
        && let Some(result) = fast(input, limits)?
    {
        return Ok(result);
    }
    decode(input, body, limits)
}

/// Checks the member's header; gives the offset of the deflate stream.
fn header(input: &[u8]) -> Result<usize, Error> {
    let mut reader = Reader::new(CODEC, input);
    reader.magic(&[0x1f, 0x8b])?;
    let method = reader.u8("method")?;
    reader.expect("method", 1, method.into(), METHOD_DEFLATE.into())?;
    let flags = reader.u8("flags")?;
    reader.expect("reserved flags", 1, (flags & FLAGS_RESERVED).into(), 0)?;
    reader.take("time, extra flags, system", 6)?;
    if flags & FLAG_EXTRA != 0 {
        let len = reader.u16_le("extra field length")?;
        reader.take("extra field", len.into())?;
    }
    if flags & FLAG_NAME != 0 {
        reader.skip_string("file name")?;
    }
    if flags & FLAG_COMMENT != 0 {
        reader.skip_string("comment")?;
    }
    if flags & FLAG_HEADER_CRC != 0 {
        let read = input.get(..reader.offset()).unwrap_or_default();
        let needed = crc32fast::hash(read) & 0xffff;
        let found = reader.u16_le("header crc")?;
        reader.expect("header crc", 2, found.into(), needed.into())?;
    }
    Ok(reader.offset())
}

/// Decodes the deflate stream at `body` and checks what follows it.
fn decode(input: &[u8], body: usize, limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut output = Output::new(CODEC, limits, input)?;
    let stream = input.get(body..).unwrap_or_default();
    let read = inflate(stream, &mut output).map_err(|(at, stop)| {
        let at = body.saturating_add(at);
        match stop {
            Stop::Input => truncated(CODEC, "deflate data", at),
            Stop::Fault(field) => corrupt(CODEC, field, at),
            Stop::Room => output.full(),
            Stop::Other(error) => error,
        }
    })?;
    trailer(input, body.saturating_add(read), output.bytes())?;
    Ok(output.finish())
}

/// Checks CRC-32 and length against what was decoded.
fn trailer(input: &[u8], at: usize, content: &[u8]) -> Result<(), Error> {
    let mut reader = Reader::new(CODEC, input);
    reader.take("deflate data", at)?;
    let found = reader.u32_le("crc32")?;
    reader.expect("crc32", 4, found.into(), crc32fast::hash(content).into())?;
    let found = reader.u32_le("isize")?;
    reader.expect("isize", 4, found.into(), content.len() as u64 & 0xffff_ffff)
}

/// libdeflate's try: `None` is whatever it did not accept.
///
/// It decodes in one pass into memory of a given size. ISIZE is at the end of most inputs and chooses that size;
/// if it is not there, or lies, the most that the input can expand to does, and only pages that are written cost.
#[cfg(feature = "native")]
fn fast(input: &[u8], limits: &Limits) -> Result<Option<Vec<u8>>, Error> {
    let most = (input.len() as u64)
        .saturating_mul(MAX_RATIO)
        .min(limits.output);
    let declared = input
        .len()
        .checked_sub(TRAILER)
        .and_then(|_| input.last_chunk())
        .map_or(0, |isize| u32::from_le_bytes(*isize).into());
    if declared > 0
        && declared < most
        && let Some(result) = fast_into(input, declared)?
    {
        return Ok(Some(result));
    }
    fast_into(input, most)
}

#[cfg(feature = "native")]
fn fast_into(input: &[u8], room: u64) -> Result<Option<Vec<u8>>, Error> {
    let Ok(room) = usize::try_from(room) else {
        return Ok(None);
    };
    let Some(mut result) = crate::output::zeroed(room) else {
        return Ok(None);
    };
    let mut decompressor = libdeflater::Decompressor::new();
    let Ok(len) = decompressor.gzip_decompress(input, &mut result) else {
        return Ok(None);
    };
    result.truncate(len);
    result.shrink_to_fit();
    Ok(Some(result))
}
