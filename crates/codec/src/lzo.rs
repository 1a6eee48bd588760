//! lzop's container of LZO1X blocks. All numbers are big-endian.

use adler2::adler32_slice as adler;
use crc32fast::hash as crc;

use crate::output::Output;
use crate::reader::{Reader, corrupt, malformed};
use crate::{Codec, Error, Limits, Value};

const CODEC: Codec = Codec::Lzo;
const MAGIC: [u8; 9] = [0x89, b'L', b'Z', b'O', 0, b'\r', b'\n', 0x1a, b'\n'];

/// The version from which the header has level, needed version and the time's high half.
const VERSION_LEVEL: u16 = 0x0940;
/// The oldest version that lzop reads.
const VERSION_OLDEST: u16 = 0x0900;
/// LZO1X-1, LZO1X-1(15), LZO1X-999: one decoder.
const METHODS: core::ops::RangeInclusive<u8> = 1..=3;

const FLAG_ADLER32_UNPACKED: u32 = 1 << 0;
const FLAG_ADLER32_PACKED: u32 = 1 << 1;
const FLAG_EXTRA_FIELD: u32 = 1 << 6;
const FLAG_CRC32_UNPACKED: u32 = 1 << 8;
const FLAG_CRC32_PACKED: u32 = 1 << 9;
const FLAG_MULTIPART: u32 = 1 << 10;
const FLAG_FILTER: u32 = 1 << 11;
const FLAG_HEADER_CRC32: u32 = 1 << 12;

/// lzop's MAX_BLOCK_SIZE.
const MAX_BLOCK: u32 = 64 << 20;
/// A byte of a length adds at most 255 to it; an instruction adds less than this on its own.
const MAX_RATIO: u64 = 255;
const INSTRUCTION: u64 = 512;

type Checksum = fn(&[u8]) -> u32;

pub(crate) fn decompress(input: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut reader = Reader::new(CODEC, input);
    let flags = header(&mut reader)?;
    let mut output = Output::new(CODEC, limits, input)?;
    while let Some(block) = Block::read(&mut reader, flags)? {
        block.unpack(&mut output)?;
    }
    Ok(output.finish())
}

/// Checks the header; gives its flags.
fn header(reader: &mut Reader<'_>) -> Result<u32, Error> {
    reader.magic(&MAGIC)?;
    let start = reader.offset();
    let with_level = version(reader)?;
    let at = reader.offset();
    let method = reader.u8("method")?;
    if !METHODS.contains(&method) {
        let (found, needed) = (
            Value::Number(method.into()),
            Value::Text("an LZO1X method, 1 to 3"),
        );
        return Err(unsupported("method", at, found, needed));
    }
    if with_level {
        reader.take("level", 1)?;
    }
    let at = reader.offset();
    let flags = reader.u32_be("flags")?;
    for (flag, name) in [
        (FLAG_MULTIPART, "multipart flag"),
        (FLAG_FILTER, "filter flag"),
    ] {
        if flags & flag != 0 {
            return Err(unsupported(
                name,
                at,
                Value::Number(flags.into()),
                Value::Text("none"),
            ));
        }
    }
    reader.take("mode and time", if with_level { 12 } else { 8 })?;
    let len = reader.u8("file name length")?;
    reader.take("file name", len.into())?;
    let sum: Checksum = if flags & FLAG_HEADER_CRC32 != 0 {
        crc
    } else {
        adler
    };
    checksum(reader, "header checksum", sum, start)?;
    if flags & FLAG_EXTRA_FIELD != 0 {
        let start = reader.offset();
        let len = reader.u32_be("extra field length")? as usize;
        reader.take("extra field", len)?;
        checksum(reader, "extra field checksum", sum, start)?;
    }
    Ok(flags)
}

/// Reads the versions; gives whether the header has the fields of newer ones.
fn version(reader: &mut Reader<'_>) -> Result<bool, Error> {
    let at = reader.offset();
    let version = reader.u16_be("version")?;
    if version < VERSION_OLDEST {
        let (found, needed) = (Value::Number(version.into()), Value::Text("0x900 or later"));
        return Err(unsupported("version", at, found, needed));
    }
    reader.take("library version", 2)?;
    let newer = version >= VERSION_LEVEL;
    if newer {
        reader.take("version needed", 2)?;
    }
    Ok(newer)
}

/// Reads a checksum and compares it with that of what was read since `start`.
fn checksum(
    reader: &mut Reader<'_>,
    field: &'static str,
    sum: Checksum,
    start: usize,
) -> Result<(), Error> {
    let needed = sum(reader.since(start));
    let found = reader.u32_be(field)?;
    reader.expect(field, 4, found.into(), needed.into())
}

/// A block as read, packed checksums verified.
struct Block<'a> {
    /// Where the packed bytes start.
    at: usize,
    packed: &'a [u8],
    unpacked_len: usize,
    /// Checksums of the unpacked bytes: name, function, value, offset.
    checksums: [Option<(&'static str, Checksum, u32, usize)>; 2],
}

impl<'a> Block<'a> {
    /// The next block, or `None` at the end mark.
    fn read(reader: &mut Reader<'a>, flags: u32) -> Result<Option<Self>, Error> {
        let at = reader.offset();
        let unpacked_len = reader.u32_be("block length")?;
        if unpacked_len == 0 {
            return Ok(None);
        }
        let packed_len = reader.u32_be("packed block length")?;
        block_lengths(at, unpacked_len, packed_len)?;
        let mut unpacked = |flag: u32, name: &'static str, sum: Checksum| {
            let at = reader.offset();
            let wanted = flags & flag != 0;
            wanted
                .then(|| Ok((name, sum, reader.u32_be(name)?, at)))
                .transpose()
        };
        let checksums = [
            unpacked(
                FLAG_ADLER32_UNPACKED,
                "adler32 of the unpacked block",
                adler,
            )?,
            unpacked(FLAG_CRC32_UNPACKED, "crc32 of the unpacked block", crc)?,
        ];
        let mut packed_checksums = [None; 2];
        // A block that did not shrink is stored, and lzop leaves out the checksums of its packed form.
        if packed_len < unpacked_len {
            let kinds: [(u32, Checksum); 2] =
                [(FLAG_ADLER32_PACKED, adler), (FLAG_CRC32_PACKED, crc)];
            for (slot, (flag, sum)) in packed_checksums.iter_mut().zip(kinds) {
                if flags & flag != 0 {
                    let at = reader.offset();
                    *slot = Some((sum, reader.u32_be("checksum of the packed block")?, at));
                }
            }
        }
        let at = reader.offset();
        let packed = reader.take("block", packed_len as usize)?;
        for (sum, found, at) in packed_checksums.into_iter().flatten() {
            verify("checksum of the packed block", at, found, sum(packed))?;
        }
        Ok(Some(Block {
            at,
            packed,
            unpacked_len: unpacked_len as usize,
            checksums,
        }))
    }

    fn unpack(&self, output: &mut Output) -> Result<(), Error> {
        let start = output.len();
        let asked = (start as u64).saturating_add(self.unpacked_len as u64);
        let over = output.over(asked);
        output.fill_up_to(self.unpacked_len, |room| {
            if room.len() < self.unpacked_len {
                return Err(over);
            }
            if self.packed.len() == room.len() {
                room.copy_from_slice(self.packed);
                return Ok((room.len(), ()));
            }
            match lzokay::decompress::decompress(self.packed, room) {
                Ok(written) if written == room.len() => Ok((written, ())),
                _ => Err(corrupt(CODEC, "block", self.at)),
            }
        })?;
        let unpacked = output.bytes().get(start..).unwrap_or_default();
        for (name, sum, found, at) in self.checksums.into_iter().flatten() {
            verify(name, at, found, sum(unpacked))?;
        }
        Ok(())
    }
}

/// Refuses lengths that no block has; so the room made for it is bounded by its packed bytes.
fn block_lengths(at: usize, unpacked: u32, packed: u32) -> Result<(), Error> {
    let bytes = |n: u64| Value::Bytes(n);
    let most = u64::from(packed)
        .saturating_mul(MAX_RATIO)
        .saturating_add(INSTRUCTION);
    if unpacked > MAX_BLOCK {
        let (found, needed) = (bytes(unpacked.into()), Value::AtMost(MAX_BLOCK.into()));
        return Err(malformed(CODEC, "block length", at, found, needed));
    }
    if u64::from(unpacked) > most {
        return Err(malformed(
            CODEC,
            "block length",
            at,
            bytes(unpacked.into()),
            Value::AtMost(most),
        ));
    }
    if packed == 0 || packed > unpacked {
        let needed = match packed {
            0 => Value::Text("1 byte or more"),
            _ => Value::AtMost(unpacked.into()),
        };
        let found = bytes(packed.into());
        return Err(malformed(
            CODEC,
            "packed block length",
            at.saturating_add(4),
            found,
            needed,
        ));
    }
    Ok(())
}

fn verify(field: &'static str, at: usize, found: u32, needed: u32) -> Result<(), Error> {
    if found == needed {
        return Ok(());
    }
    let (found, needed) = (Value::Number(found.into()), Value::Number(needed.into()));
    Err(malformed(CODEC, field, at, found, needed))
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
