//! The .xz format, version 1.2.1. A library decodes it; ours is what bounds it before: the stream header, the header
//! of the first block, and how many blocks there are.

use crc32fast::hash as crc32;

use crate::decoders::Decoders;
use crate::reader::{Reader, malformed, within};
use crate::{Bound, Codec, Error, Limits, Value};

const CODEC: Codec = Codec::Xz;
/// 2.1.1.1.
const MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
/// 2.1.1: magic, flags, CRC-32.
pub(crate) const STREAM_HEADER: usize = 12;
/// 2.1.1.2: the checks that are decoded, and their sizes: none, CRC-32, CRC-64, SHA-256.
const CHECKS: [(u8, u64); 4] = [(0, 0), (1, 4), (4, 8), (10, 32)];
/// 3.1.2: block flags.
const FILTERS: u8 = 0b11;
const FLAGS_RESERVED: u8 = 0x3c;
const HAS_PACKED_SIZE: u8 = 0x40;
const HAS_UNPACKED_SIZE: u8 = 0x80;
/// 5.3: filter ids; branch filters are those between.
const DELTA: u64 = 0x03;
const LAST_BRANCH: u64 = 0x0b;
const LZMA2: u64 = 0x21;
/// 5.3.2: the alignment of start offsets of branch filters, from x86 (4) to RISC-V (11).
const ALIGNMENTS: [u32; 8] = [1, 4, 16, 4, 2, 4, 4, 2];
/// 5.3.1: dictionary sizes are numbered; the last is 4 GiB - 1.
const LAST_DICTIONARY: u8 = 40;
/// 1.2: variable-length integers have at most nine bytes.
const MAX_INTEGER: u32 = 9;

/// Blocks that a stream may have whatever they hold.
const FREE_BLOCKS: u64 = 64;
/// Bytes that blocks beyond them unpack to on average, at least. Encoders make blocks of some MiB.
const BLOCK_WORTH: u64 = 4 << 10;
/// The control bytes of LZMA2's chunks, which the specification leaves to its reference code (Linux,
/// lib/xz/xz_dec_lzma2.c).
const END: u8 = 0;
const STORED: [u8; 2] = [1, 2];
const PACKED: u8 = 0x80;
const WITH_PROPERTIES: u8 = 0xc0;

pub(crate) fn decompress<D: Decoders>(input: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    let check = stream_header(input)?;
    if let Some(block) = Block::read(input, STREAM_HEADER)? {
        within(CODEC, Bound::Window, block.dictionary, limits.window)?;
        within(
            CODEC,
            Bound::Output,
            block.unpacked.unwrap_or(0),
            limits.output,
        )?;
    }
    count_blocks(input, check)?;
    D::xz(input, limits)
}

/// Walks the blocks by the sizes of their chunks, and refuses more of them than their contents are worth: each costs a
/// decoder a new dictionary, though it may have 16 bytes and unpack to nothing.
fn count_blocks(input: &[u8], check: u64) -> Result<(), Error> {
    let (mut at, mut blocks, mut unpacked) = (STREAM_HEADER, 0_u64, 0_u64);
    while let Some(block) = Block::read(input, at)? {
        let start = at.saturating_add(usize::try_from(block.header).unwrap_or(usize::MAX));
        let mut reader = Reader::within(CODEC, input.get(start..).unwrap_or_default(), start);
        unpacked = unpacked.saturating_add(chunks(&mut reader)?);
        blocks = blocks.saturating_add(1);
        // 3.3, 3.4: padding to a multiple of four bytes, and the check.
        let padding = reader.offset().wrapping_neg() % 4;
        let check = usize::try_from(check).unwrap_or(usize::MAX);
        reader.take("block padding and check", padding.saturating_add(check))?;
        at = reader.offset();
    }
    let most = FREE_BLOCKS.saturating_add(unpacked / BLOCK_WORTH);
    if blocks > most {
        let (found, needed) = (Value::Number(blocks), Value::AtMost(most));
        let field = "number of blocks, for what they unpack to";
        return Err(malformed(CODEC, field, at, found, needed));
    }
    Ok(())
}

/// Reads the LZMA2 chunks of a block up to their end; gives what they say that they unpack to.
fn chunks(reader: &mut Reader<'_>) -> Result<u64, Error> {
    let mut unpacked = 0_u64;
    loop {
        let at = reader.offset();
        let control = reader.u8("chunk control")?;
        if control == END {
            return Ok(unpacked);
        }
        let low = u64::from(reader.u16_be("chunk unpacked size")?) + 1;
        let (high, packed) = if control >= PACKED {
            let packed = u32::from(reader.u16_be("chunk packed size")?) + 1;
            let properties = u32::from(control >= WITH_PROPERTIES);
            (
                u64::from(control & 0x1f) << 16,
                u64::from(packed + properties),
            )
        } else if STORED.contains(&control) {
            (0, low)
        } else {
            let (found, needed) = (
                Value::Number(control.into()),
                Value::Text("0 to 2, or 0x80 and more"),
            );
            return Err(malformed(CODEC, "chunk control", at, found, needed));
        };
        reader.take("chunk", usize::try_from(packed).unwrap_or(usize::MAX))?;
        unpacked = unpacked.saturating_add(high + low);
    }
}

/// 2.1.1: magic, stream flags and their CRC-32; gives the size of the blocks' checks.
pub(crate) fn stream_header(input: &[u8]) -> Result<u64, Error> {
    let mut reader = Reader::new(CODEC, input);
    reader.magic(&MAGIC)?;
    let at = reader.offset();
    let flags: [u8; 2] = reader.array("stream flags")?;
    let found = reader.u32_le("stream header crc32")?;
    reader.expect("stream header crc32", 4, found.into(), crc32(&flags).into())?;
    let check = CHECKS.into_iter().find(|(id, _)| flags == [0, *id]);
    check.map(|(_, size)| size).ok_or_else(|| {
        let found = Value::Number(u16::from_be_bytes(flags).into());
        let needed = Value::Text("no check, CRC-32, CRC-64 or SHA-256");
        unsupported("stream flags", at, found, needed)
    })
}

/// What a block header says.
#[cfg_attr(
    all(feature = "native", not(test)),
    expect(dead_code, reason = "liblzma compares sizes itself")
)]
pub(crate) struct Block {
    /// Bytes of the header.
    pub(crate) header: u64,
    /// Bytes of LZMA2, if declared.
    pub(crate) packed: Option<u64>,
    /// Unpacked size, if declared.
    pub(crate) unpacked: Option<u64>,
    /// Bytes of dictionary.
    dictionary: u64,
}

impl Block {
    /// 3.1: the block header at `start`, or `None` if the index is there.
    pub(crate) fn read(input: &[u8], start: usize) -> Result<Option<Self>, Error> {
        let mut reader = Reader::new(CODEC, input);
        reader.take("stream header", start)?;
        let size = reader.u8("block header size")?;
        if size == 0 {
            return Ok(None);
        }
        let len = usize::from(size).saturating_mul(4);
        let body = reader.take("block header", len.saturating_sub(1))?;
        let covered = input.get(start..start.saturating_add(len));
        let found = reader.u32_le("block header crc32")?;
        let needed = crc32(covered.unwrap_or_default());
        reader.expect("block header crc32", 4, found.into(), needed.into())?;
        let mut fields = Reader::within(CODEC, body, start.saturating_add(1));
        let at = fields.offset();
        let flags = fields.u8("block flags")?;
        if flags & FLAGS_RESERVED != 0 {
            let (found, needed) = (Value::Number(flags.into()), Value::Text("no reserved flag"));
            return Err(unsupported("block flags", at, found, needed));
        }
        let mut size = |flag, field| {
            let wanted = flags & flag != 0;
            wanted.then(|| integer(&mut fields, field)).transpose()
        };
        let packed = size(HAS_PACKED_SIZE, "block packed size")?;
        let unpacked = size(HAS_UNPACKED_SIZE, "block unpacked size")?;
        for _ in 0..flags & FILTERS {
            filter(&mut fields)?;
        }
        let dictionary = lzma2(&mut fields)?;
        let at = fields.offset();
        if fields.rest().iter().any(|&byte| byte != 0) {
            let (found, needed) = (Value::Text("other bytes"), Value::Text("zeros"));
            return Err(unsupported("block header padding", at, found, needed));
        }
        Ok(Some(Block {
            header: (len as u64).saturating_add(4),
            packed,
            unpacked,
            dictionary,
        }))
    }
}

/// 5.3: a filter that is not the last.
fn filter(fields: &mut Reader<'_>) -> Result<(), Error> {
    let at = fields.offset();
    let id = integer(fields, "filter id")?;
    let len = integer(fields, "filter properties size")?;
    let known = match (id, len) {
        (DELTA, 1) => fields.take("delta distance", 1).map(|_| true)?,
        (_, 0) => (DELTA + 1..=LAST_BRANCH).contains(&id),
        (_, 4) => {
            let start = fields.u32_le("branch filter start")?;
            let branch = id.checked_sub(DELTA + 1).unwrap_or(u64::MAX);
            let alignment = usize::try_from(branch).ok().and_then(|n| ALIGNMENTS.get(n));
            alignment.is_some_and(|alignment| start % alignment == 0)
        }
        _ => false,
    };
    if known {
        return Ok(());
    }
    let needed = Value::Text("delta or a branch filter and its properties");
    Err(unsupported("filter", at, Value::Number(id), needed))
}

/// 5.3.1: the last filter, which is LZMA2; gives the size of its dictionary.
fn lzma2(fields: &mut Reader<'_>) -> Result<u64, Error> {
    let at = fields.offset();
    let id = integer(fields, "filter id")?;
    if id != LZMA2 {
        let (found, needed) = (Value::Number(id), Value::Number(LZMA2));
        return Err(unsupported("last filter id", at, found, needed));
    }
    let len = integer(fields, "lzma2 properties size")?;
    let number = fields.u8("dictionary size")?;
    match number {
        _ if len != 1 => {
            let (found, needed) = (Value::Bytes(len), Value::Bytes(1));
            Err(unsupported("lzma2 properties size", at, found, needed))
        }
        _ if number > LAST_DICTIONARY => {
            let found = Value::Number(number.into());
            let needed = Value::AtMost(LAST_DICTIONARY.into());
            Err(unsupported("dictionary size", at, found, needed))
        }
        LAST_DICTIONARY => Ok(u32::MAX.into()),
        _ => Ok(u64::from(2 | number & 1) << (number / 2 + 11)),
    }
}

/// 1.2: a variable-length integer.
pub(crate) fn integer(reader: &mut Reader<'_>, field: &'static str) -> Result<u64, Error> {
    let mut value = 0;
    for index in 0..MAX_INTEGER {
        let byte = reader.u8(field)?;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            if byte == 0 && index > 0 {
                break;
            }
            return Ok(value);
        }
    }
    Err(reader.malformed(
        field,
        Value::Text("an integer with a needless or tenth byte"),
        Value::Text("the shortest form of an integer below 2^63"),
    ))
}

fn unsupported(field: &'static str, offset: usize, found: Value, needed: Value) -> Error {
    Error::Unsupported {
        codec: CODEC,
        field,
        offset: offset as u64,
        found,
        needed,
    }
}
