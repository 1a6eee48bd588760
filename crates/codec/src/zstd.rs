//! Zstandard frames (RFC 8878). The headers are ours; a library decodes the blocks.
//!
//! The block headers are walked first. That finds truncation and the end of the frame, and gives a bound for the
//! unpacked size that the frame cannot lie about: no block unpacks to more than 128 KiB.

use crate::decoders::Decoders;
use crate::reader::{Reader, malformed, within};
use crate::{Bound, Codec, Error, Limits, Value};

const CODEC: Codec = Codec::Zstd;
const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

/// RFC 8878, 3.1.1.1.1: the frame header descriptor.
const CHECKSUM_FLAG: u8 = 1 << 2;
const RESERVED_BIT: u8 = 1 << 3;
const SINGLE_SEGMENT_FLAG: u8 = 1 << 5;
/// 3.1.1.2.4: Block_Maximum_Size.
const MAX_BLOCK: u64 = 128 << 10;
/// 3.1.1.2.2: block types.
const RAW: u32 = 0;
const REPEATED: u32 = 1;
const COMPRESSED: u32 = 2;

pub(crate) fn decompress<D: Decoders>(input: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    D::zstd(&Frame::parse(input, limits)?, limits)
}

/// A whole frame whose headers are right.
pub(crate) struct Frame<'a> {
    /// The frame, without what follows it.
    pub(crate) bytes: &'a [u8],
    /// Frame_Content_Size, if declared.
    pub(crate) content_size: Option<u64>,
    /// The most that it can unpack to.
    pub(crate) most: u64,
}

impl<'a> Frame<'a> {
    fn parse(input: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        let mut reader = Reader::new(CODEC, input);
        reader.magic(&MAGIC)?;
        let descriptor = reader.u8("frame header descriptor")?;
        reader.expect("reserved bit", 1, (descriptor & RESERVED_BIT).into(), 0)?;
        let single = descriptor & SINGLE_SEGMENT_FLAG != 0;
        let window = if single {
            None
        } else {
            Some(window_size(reader.u8("window")?))
        };
        dictionary(&mut reader, descriptor)?;
        let content_size = content_size(&mut reader, descriptor, single)?;
        let window = window.or(content_size).unwrap_or(0);
        within(CODEC, Bound::Window, window, limits.window)?;
        if let Some(size) = content_size {
            within(CODEC, Bound::Output, size, limits.output)?;
        }
        let most = blocks(&mut reader, window.min(MAX_BLOCK))?;
        if let Some(size) = content_size.filter(|&size| size > most) {
            let (found, needed) = (Value::Bytes(most), Value::Bytes(size));
            return Err(reader.malformed("content that the blocks can hold", found, needed));
        }
        if descriptor & CHECKSUM_FLAG != 0 {
            reader.take("content checksum", 4)?;
        }
        Ok(Frame {
            bytes: input.get(..reader.offset()).unwrap_or_default(),
            content_size,
            most: content_size.unwrap_or(most),
        })
    }
}

/// 3.1.1.2: walks the blocks, of which none may be larger than `max`; gives the most that they unpack to.
fn blocks(reader: &mut Reader<'_>, max: u64) -> Result<u64, Error> {
    let mut most = 0_u64;
    loop {
        let at = reader.offset();
        let [a, b, c] = reader.array("block header")?;
        let header = u32::from_le_bytes([a, b, c, 0]);
        let size = u64::from(header >> 3);
        if size > max {
            let (found, needed) = (Value::Bytes(size), Value::AtMost(max));
            return Err(malformed(CODEC, "block size", at, found, needed));
        }
        let (stored, unpacked) = match header >> 1 & 3 {
            RAW => (size, size),
            REPEATED => (1, size),
            COMPRESSED => (size, max),
            kind => {
                let (found, needed) = (Value::Number(kind.into()), Value::Text("0, 1 or 2"));
                return Err(malformed(CODEC, "block type", at, found, needed));
            }
        };
        reader.take("block", usize::try_from(stored).unwrap_or(usize::MAX))?;
        most = most.saturating_add(unpacked);
        if header & 1 != 0 {
            return Ok(most);
        }
    }
}

/// 3.1.1.1.2: exponent and mantissa of Window_Size.
fn window_size(descriptor: u8) -> u64 {
    let base = 1 << (10 + u32::from(descriptor >> 3));
    base + base / 8 * u64::from(descriptor & 7)
}

/// 3.1.1.1.3: refuses a dictionary; 0 means none.
fn dictionary(reader: &mut Reader<'_>, descriptor: u8) -> Result<(), Error> {
    let offset = reader.offset() as u64;
    let id = match descriptor & 3 {
        0 => 0,
        1 => reader.u8("dictionary id")?.into(),
        2 => reader.u16_le("dictionary id")?.into(),
        _ => reader.u32_le("dictionary id")?,
    };
    if id == 0 {
        return Ok(());
    }
    let (found, needed) = (Value::Number(id.into()), Value::Text("none"));
    Err(Error::Unsupported {
        codec: CODEC,
        field: "dictionary id",
        offset,
        found,
        needed,
    })
}

/// 3.1.1.1.4: Frame_Content_Size.
fn content_size(
    reader: &mut Reader<'_>,
    descriptor: u8,
    single: bool,
) -> Result<Option<u64>, Error> {
    const FIELD: &str = "frame content size";
    Ok(match descriptor >> 6 {
        0 if single => Some(reader.u8(FIELD)?.into()),
        0 => None,
        1 => Some(u64::from(reader.u16_le(FIELD)?) + 256),
        2 => Some(reader.u32_le(FIELD)?.into()),
        _ => Some(u64::from_le_bytes(reader.array(FIELD)?)),
    })
}
