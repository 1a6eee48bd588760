//! gzip members (RFC 1952).

use zlib_rs::{Inflate, InflateFlush, Status};

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
/// RFC 1951: distances reach 32 KiB back.
const WINDOW_BITS: u8 = 15;

pub(crate) fn decompress(input: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    let body = header(input)?;
    #[cfg(feature = "native")]
    if crate::native::enabled()
        && let Some(result) = fast(input, limits)?
    {
        return Ok(result);
    }
    inflate(input, body, limits)
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
        let needed = zlib_rs::crc32::crc32(0, read) & 0xffff;
        let found = reader.u16_le("header crc")?;
        reader.expect("header crc", 2, found.into(), needed.into())?;
    }
    Ok(reader.offset())
}

/// Decodes the deflate stream at `body` and checks what follows it.
fn inflate(input: &[u8], body: usize, limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut output = Output::new(CODEC, limits, 0)?;
    let mut inflate = Inflate::new(false, WINDOW_BITS);
    let mut crc = 0;
    let mut at = body;
    loop {
        let rest = input.get(at..).unwrap_or_default();
        let before = inflate.total_in();
        let start = output.len();
        let (written, status) = output.fill(|room| {
            let before = inflate.total_out();
            let status = inflate
                .decompress(rest, room, InflateFlush::NoFlush)
                .map_err(|_| corrupt(CODEC, "deflate data", at))?;
            Ok((to_usize(inflate.total_out() - before), status))
        })?;
        let read = to_usize(inflate.total_in() - before);
        at = at.saturating_add(read);
        crc = zlib_rs::crc32::crc32(crc, output.bytes().get(start..).unwrap_or_default());
        if status == Status::StreamEnd {
            break;
        }
        if read == 0 && written == 0 {
            return Err(truncated(CODEC, "deflate data", at));
        }
    }
    trailer(input, at, crc, output.len())?;
    Ok(output.finish())
}

/// Checks CRC-32 and length against what was decoded.
fn trailer(input: &[u8], at: usize, crc: u32, len: usize) -> Result<(), Error> {
    let mut reader = Reader::new(CODEC, input);
    reader.take("deflate data", at)?;
    let found = reader.u32_le("crc32")?;
    reader.expect("crc32", 4, found.into(), crc.into())?;
    let found = reader.u32_le("isize")?;
    reader.expect("isize", 4, found.into(), len as u64 & 0xffff_ffff)
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
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
