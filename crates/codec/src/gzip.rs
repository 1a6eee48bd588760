//! gzip members (RFC 1952). The header is ours; a library decodes the rest in one pass into the result.

use crate::decoders::{Decoders, Stop};
use crate::output::{over, zeroed};
use crate::pages::advise_large;
use crate::reader::Reader;
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
const TRAILER: usize = 8;
/// No deflate stream expands more than this: 258 bytes from a length and a distance code of one bit each.
const MAX_RATIO: u64 = 1032;

/// ISIZE is at the end of most inputs and chooses how much room there is; if it is not there, or lies, the most that
/// the input can expand to does, and only pages that are written cost.
pub(crate) fn decompress<D: Decoders>(input: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    let body = header(input)?;
    let most = (input.len() as u64)
        .saturating_mul(MAX_RATIO)
        .min(limits.output);
    let declared = input
        .get(body..)
        .filter(|rest| rest.len() > TRAILER)
        .and_then(|rest| rest.last_chunk())
        .map_or(0, |isize| u64::from(u32::from_le_bytes(*isize)));
    let declared = Some(declared).filter(|&len| len > 0 && len < most);
    for known in declared.map(Some).into_iter().chain([None]) {
        let mut result = zeroed(CODEC, known.unwrap_or(most))?;
        advise_large(&mut result, input.len(), known);
        match D::gzip(input, body, &mut result) {
            Ok(len) => {
                result.truncate(len);
                result.shrink_to_fit();
                return Ok(result);
            }
            Err(Stop::Room) => {}
            Err(Stop::Error(error)) => return Err(error),
        }
    }
    Err(over(CODEC, limits))
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
