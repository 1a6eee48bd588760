//! The .xz format, version 1.2.1: stream header, blocks, index, stream footer.
//!
//! Container, filters and checks are ours in both builds; only LZMA2 has a native decoder.

mod block;
mod check;
mod filter;

use core::hash::Hasher;

use block::Block;
use check::Check;
use crc32fast::hash as crc32;
use twox_hash::XxHash64;

use crate::output::Output;
use crate::reader::{Reader, malformed};
use crate::{Codec, Error, Limits, Value};

const CODEC: Codec = Codec::Xz;
/// 2.1.1.1.
const MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
/// 2.1.2.4.
const FOOTER_MAGIC: [u8; 2] = *b"YZ";
/// 1.2: variable-length integers have at most nine bytes.
const MAX_INTEGER: u32 = 9;

pub(crate) fn decompress(input: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut reader = Reader::new(CODEC, input);
    reader.magic(&MAGIC)?;
    let flags = stream_flags(&mut reader)?;
    let check = Check::new(flags[1], reader.offset().saturating_sub(5))?;
    let mut output = Output::new(CODEC, limits, input)?;
    let mut records = Records::default();
    while let Some(block) = Block::header(&mut reader, limits)? {
        let (unpadded, unpacked) = block.decode(&mut reader, check, &mut output)?;
        records.add(unpadded, unpacked);
    }
    let index = index(&mut reader, &records)?;
    footer(&mut reader, flags, index)?;
    Ok(output.finish())
}

/// The unpadded and unpacked sizes of all blocks, as a count and a hash: blocks can be tiny, so a list of them could
/// outgrow the input.
#[derive(Default)]
struct Records {
    count: u64,
    hash: XxHash64,
}

impl Records {
    fn add(&mut self, unpadded: u64, unpacked: u64) {
        self.count = self.count.saturating_add(1);
        self.hash.write_u64(unpadded);
        self.hash.write_u64(unpacked);
    }
}

/// 2.1.1.2 and 2.1.1.3: stream flags and their CRC-32.
fn stream_flags(reader: &mut Reader<'_>) -> Result<[u8; 2], Error> {
    let flags: [u8; 2] = reader.array("stream flags")?;
    let found = reader.u32_le("stream header crc32")?;
    reader.expect("stream header crc32", 4, found.into(), crc32(&flags).into())?;
    if flags[0] != 0 || flags[1] & 0xf0 != 0 {
        let (found, needed) = (
            Value::Number(u16::from_be_bytes(flags).into()),
            Value::Text("0 to 0xf"),
        );
        let at = reader.offset().saturating_sub(6);
        return Err(unsupported("stream flags", at, found, needed));
    }
    Ok(flags)
}

/// 4: the index, whose indicator byte has been read; gives its size.
fn index(reader: &mut Reader<'_>, blocks: &Records) -> Result<u64, Error> {
    let start = reader.offset().saturating_sub(1);
    let count = integer(reader, "index record count")?;
    if count != blocks.count {
        let (found, needed) = (Value::Number(count), Value::Number(blocks.count));
        return Err(reader.malformed("index record count", found, needed));
    }
    let mut listed = Records::default();
    for _ in 0..count {
        let unpadded = integer(reader, "index unpadded size")?;
        let unpacked = integer(reader, "index unpacked size")?;
        listed.add(unpadded, unpacked);
    }
    if listed.hash.finish() != blocks.hash.finish() {
        let (found, needed) = (
            Value::Text("other sizes"),
            Value::Text("the sizes of the blocks"),
        );
        return Err(reader.malformed("index records", found, needed));
    }
    padding(reader, "index padding", start)?;
    let sum = crc32(reader.since(start));
    let found = reader.u32_le("index crc32")?;
    reader.expect("index crc32", 4, found.into(), sum.into())?;
    Ok(reader.offset().saturating_sub(start) as u64)
}

/// 2.1.2: the stream footer.
fn footer(reader: &mut Reader<'_>, flags: [u8; 2], index: u64) -> Result<(), Error> {
    let sum = reader.u32_le("stream footer crc32")?;
    let start = reader.offset();
    let backward = reader.u32_le("backward size")?;
    let found: [u8; 2] = reader.array("footer flags")?;
    let needed = crc32(reader.since(start));
    if sum != needed {
        let (found, needed) = (Value::Number(sum.into()), Value::Number(needed.into()));
        return Err(malformed(
            CODEC,
            "stream footer crc32",
            start.saturating_sub(4),
            found,
            needed,
        ));
    }
    let size = u64::from(backward).saturating_add(1).saturating_mul(4);
    reader.expect("backward size", 6, size, index)?;
    let number = |flags: [u8; 2]| u16::from_be_bytes(flags).into();
    reader.expect("footer flags", 2, number(found), number(flags))?;
    let magic: [u8; 2] = reader.array("footer magic")?;
    reader.expect("footer magic", 2, number(magic), number(FOOTER_MAGIC))
}

/// 1.2: a variable-length integer.
fn integer(reader: &mut Reader<'_>, field: &'static str) -> Result<u64, Error> {
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

/// Zero bytes up to a multiple of four since `start`.
fn padding(reader: &mut Reader<'_>, field: &'static str, start: usize) -> Result<(), Error> {
    while reader.offset().saturating_sub(start) & 3 != 0 {
        let byte = reader.u8(field)?;
        reader.expect(field, 1, byte.into(), 0)?;
    }
    Ok(())
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
