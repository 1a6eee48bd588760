//! LZ4 legacy frames (`lz4 -l`): a magic, then chunks of at most 8 MiB, each a length and an LZ4 block.
//!
//! The format has no end mark and no checksum. As for the `lz4` tool and Linux' decompress_unlz4.c, another magic
//! starts another frame and a zero length ends the stream. Where Linux appends the unpacked size (x86 bzImage),
//! those last four bytes end it too.

use lz4_flex::block::{DecompressError, decompress_into};

use crate::output::Output;
use crate::reader::{Reader, corrupt, malformed};
use crate::{Codec, Error, Limits, Value};

const CODEC: Codec = Codec::Lz4;
const MAGIC: u32 = 0x184c_2102;
/// What a chunk unpacks to at most.
const CHUNK: usize = 8 << 20;
/// LZ4_COMPRESSBOUND of a chunk: what it packs to at most.
const MAX_PACKED: u32 = (CHUNK + CHUNK / 255 + 16) as u32;

pub(crate) fn decompress(input: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut reader = Reader::new(CODEC, input);
    reader.magic(&MAGIC.to_le_bytes())?;
    let mut output = Output::new(CODEC, limits, input)?;
    while let Some(len) = chunk_len(&mut reader, output.len())? {
        chunk(&mut reader, len, &mut output)?;
    }
    Ok(output.finish())
}

/// The length of the next chunk, or `None` at the end of the stream.
fn chunk_len(reader: &mut Reader<'_>, unpacked: usize) -> Result<Option<usize>, Error> {
    loop {
        let rest = reader.rest();
        if rest.len() < 4 && rest.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let at = reader.offset();
        let len = reader.u32_le("chunk length")?;
        match len {
            0 => return Ok(None),
            MAGIC => {}
            _ if reader.rest().is_empty() && len as usize == unpacked => return Ok(None),
            _ if len > MAX_PACKED => {
                let (found, needed) = (Value::Bytes(len.into()), Value::AtMost(MAX_PACKED.into()));
                return Err(malformed(CODEC, "chunk length", at, found, needed));
            }
            _ => return Ok(Some(len as usize)),
        }
    }
}

fn chunk(reader: &mut Reader<'_>, len: usize, output: &mut Output) -> Result<(), Error> {
    let at = reader.offset();
    let packed = reader.take("chunk", len)?;
    let size = unpacked_size(packed)
        .filter(|size| *size <= CHUNK)
        .ok_or_else(|| corrupt(CODEC, "chunk", at))?;
    let over = output.full();
    output.fill_up_to(size, |room| match decompress_into(packed, room) {
        Ok(written) => Ok((written, ())),
        Err(DecompressError::OutputTooSmall { .. }) if room.len() < size => Err(over),
        Err(_) => Err(corrupt(CODEC, "chunk", at)),
    })
}

/// Bytes before the end of a block in which no sequence but the last may end its literals, and
/// bytes of room behind literals and matches that only the last sequence may enter: the format's
/// end-of-block rules as liblz4 and Linux enforce them (`LZ4_decompress_generic`: `2 + 1 +
/// LASTLITERALS`, `MFLIMIT`, `LASTLITERALS`). lz4_flex does not look.
const TAIL: usize = 2 + 1 + 5;
const LITERALS_ROOM: usize = CHUNK - 12;
const MATCH_ROOM: usize = CHUNK - 5;
/// A length of this much goes on in the bytes that follow.
const LONG: usize = 15;
const MIN_MATCH: usize = 4;

/// What a block unpacks to by its sequences' lengths; `None` unless they follow the rules for its end, which a block
/// cut short does not.
fn unpacked_size(packed: &[u8]) -> Option<usize> {
    let (mut at, mut written) = (0_usize, 0_usize);
    while let Some(token) = packed.get(at) {
        at += 1;
        let literals = long(packed, &mut at, usize::from(token >> 4));
        at = at.saturating_add(literals);
        written = written.saturating_add(literals);
        if at == packed.len() {
            return Some(written);
        }
        if at > packed.len().saturating_sub(TAIL) || written > LITERALS_ROOM {
            return None;
        }
        at += 2;
        let matched = long(packed, &mut at, usize::from(token & 15));
        written = written.saturating_add(matched).saturating_add(MIN_MATCH);
        if written > MATCH_ROOM {
            return None;
        }
    }
    None
}

/// A length whose first part is `short`; its other bytes are at `at`, which goes past them.
fn long(packed: &[u8], at: &mut usize, short: usize) -> usize {
    let mut length = short;
    if short == LONG {
        while let Some(&more) = packed.get(*at) {
            *at += 1;
            length = length.saturating_add(more.into());
            if more != u8::MAX {
                break;
            }
        }
    }
    length
}
