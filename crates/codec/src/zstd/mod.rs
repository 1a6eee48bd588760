//! Zstandard frames (RFC 8878).
//!
//! The block headers are walked first. That finds truncation and the end of the frame, and gives a bound for the
//! unpacked size that the frame cannot lie about: no block unpacks to more than 128 KiB.

mod bits;
mod block;
mod fault;
mod fse;
mod huffman;
mod sequences;

use core::hash::Hasher;

use block::Stop;
use twox_hash::XxHash64;

use crate::output::Output;
use crate::reader::{Reader, corrupt, malformed};
use crate::{Bound, Codec, Error, Limits, Value};

const CODEC: Codec = Codec::Zstd;
const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

/// RFC 8878, 3.1.1.1.1: the frame header descriptor.
const CHECKSUM_FLAG: u8 = 1 << 2;
const RESERVED_BIT: u8 = 1 << 3;
const SINGLE_SEGMENT_FLAG: u8 = 1 << 5;
/// 3.1.1.2.4: Block_Maximum_Size.
const MAX_BLOCK: u64 = 128 << 10;

pub(crate) fn decompress(input: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    let frame = Frame::parse(input, limits)?;
    // libzstd's fast Huffman loop does not look whether a stream of literals was read to its end or past it, so only
    // a checksum tells whether it understood the frame.
    #[cfg(feature = "native")]
    if frame.checksum.is_some()
        && crate::native::enabled()
        && let Some(result) = frame.fast(limits)?
    {
        return Ok(result);
    }
    frame.decode(limits)
}

/// A whole frame whose headers are right.
pub(crate) struct Frame<'a> {
    bytes: &'a [u8],
    /// Where the blocks start.
    blocks: usize,
    /// Block_Maximum_Size.
    block_max: u64,
    /// Frame_Content_Size, if declared.
    content_size: Option<u64>,
    /// The most that the blocks can unpack to.
    most: u64,
    checksum: Option<u32>,
}

impl<'a> Frame<'a> {
    pub(crate) fn parse(input: &'a [u8], limits: &Limits) -> Result<Self, Error> {
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
        if window > limits.window {
            let (asked, allowed) = (window, limits.window);
            return Err(Error::Limit {
                codec: CODEC,
                bound: Bound::Window,
                asked,
                allowed,
            });
        }
        if let Some(asked) = content_size.filter(|&size| size > limits.output) {
            let allowed = limits.output;
            return Err(Error::Limit {
                codec: CODEC,
                bound: Bound::Output,
                asked,
                allowed,
            });
        }
        let (blocks, block_max) = (reader.offset(), window.min(MAX_BLOCK));
        let mut most = 0_u64;
        loop {
            let block = BlockHeader::read(&mut reader, block_max)?;
            reader.take("block", block.stored)?;
            most = most.saturating_add(block.most);
            if block.last {
                break;
            }
        }
        if let Some(size) = content_size.filter(|&size| size > most) {
            let (found, needed) = (Value::Bytes(most), Value::Bytes(size));
            return Err(reader.malformed("content that the blocks can hold", found, needed));
        }
        let wanted = descriptor & CHECKSUM_FLAG != 0;
        let checksum = wanted
            .then(|| reader.u32_le("content checksum"))
            .transpose()?;
        let bytes = input.get(..reader.offset()).unwrap_or_default();
        Ok(Frame {
            bytes,
            blocks,
            block_max,
            content_size,
            most,
            checksum,
        })
    }

    /// The Rust decoder.
    pub(crate) fn decode(&self, limits: &Limits) -> Result<Vec<u8>, Error> {
        let max = self.content_size.unwrap_or(self.most);
        let end = usize::try_from(max).unwrap_or(usize::MAX);
        let mut output = match self.content_size {
            Some(_) => Output::with_room(CODEC, limits, end)?,
            None => Output::new(CODEC, limits, self.bytes)?,
        };
        let end = end.min(output.limit());
        let mut reader = Reader::new(CODEC, self.bytes);
        reader.take("frame header", self.blocks)?;
        let mut decoder = block::Decoder::new();
        loop {
            let at = reader.offset();
            let block = BlockHeader::read(&mut reader, self.block_max)?;
            let bytes = reader.take("block", block.stored)?;
            let stop = match block.kind {
                BlockKind::Compressed => {
                    decoder.decode(bytes, self.block_max as usize, &mut output, end)
                }
                _ if output.len().saturating_add(block.most as usize) > end => Err(Stop::Room),
                BlockKind::Raw => {
                    output.reserve_more(bytes.len())?;
                    output.push(bytes);
                    Ok(())
                }
                BlockKind::Repeated => output
                    .repeat_byte(bytes.first().copied().unwrap_or(0), block.most as usize)
                    .map(Ok)?,
            };
            match stop {
                Ok(()) => {}
                Err(Stop::Room) if end as u64 >= max => {
                    return Err(corrupt(CODEC, "content size", at));
                }
                Err(Stop::Room) => return Err(output.full()),
                Err(Stop::Other(error)) => return Err(error),
                Err(Stop::Fault(fault)) => return Err(corrupt(CODEC, fault.0, at)),
            }
            if block.last {
                break;
            }
        }
        self.check(output.bytes())?;
        Ok(output.finish())
    }

    fn check(&self, content: &[u8]) -> Result<(), Error> {
        let (end, len) = (self.bytes.len(), content.len() as u64);
        if let Some(size) = self.content_size.filter(|&size| size != len) {
            let (found, needed) = (Value::Bytes(len), Value::Bytes(size));
            return Err(malformed(CODEC, "content size", end, found, needed));
        }
        let Some(found) = self.checksum else {
            return Ok(());
        };
        let mut hash = XxHash64::with_seed(0);
        hash.write(content);
        let needed = hash.finish() as u32;
        if found == needed {
            return Ok(());
        }
        let (found, needed) = (Value::Number(found.into()), Value::Number(needed.into()));
        Err(malformed(
            CODEC,
            "content checksum",
            end.saturating_sub(4),
            found,
            needed,
        ))
    }

    /// libzstd's try: `None` is whatever it did not accept.
    ///
    /// The whole frame is decoded in one call into the result, which is the window as well.
    #[cfg(feature = "native")]
    pub(crate) fn fast(&self, limits: &Limits) -> Result<Option<Vec<u8>>, Error> {
        let room = self
            .content_size
            .unwrap_or(self.most)
            .min(self.most)
            .min(limits.output);
        let mut result = Vec::new();
        let Ok(room) = usize::try_from(room) else {
            return Ok(None);
        };
        if result.try_reserve_exact(room).is_err() {
            return Ok(None);
        }
        let Some(mut context) = zstd_safe::DCtx::try_create() else {
            return Ok(None);
        };
        if context.decompress(&mut result, self.bytes).is_err() {
            return Ok(None);
        }
        result.shrink_to_fit();
        Ok(Some(result))
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

enum BlockKind {
    Raw,
    Repeated,
    Compressed,
}

/// 3.1.1.2: a block header.
struct BlockHeader {
    kind: BlockKind,
    last: bool,
    /// Bytes it has in the frame.
    stored: usize,
    /// The most it unpacks to; exact unless compressed.
    most: u64,
}

impl BlockHeader {
    fn read(reader: &mut Reader<'_>, max: u64) -> Result<Self, Error> {
        let at = reader.offset();
        let [a, b, c] = reader.array("block header")?;
        let header = u32::from_le_bytes([a, b, c, 0]);
        let size = u64::from(header >> 3);
        if size > max {
            let (found, needed) = (Value::Bytes(size), Value::Bytes(max));
            return Err(malformed(CODEC, "block size", at, found, needed));
        }
        let (kind, stored, most) = match header >> 1 & 3 {
            0 => (BlockKind::Raw, size as usize, size),
            1 => (BlockKind::Repeated, 1, size),
            2 => (BlockKind::Compressed, size as usize, max),
            kind => {
                let (found, needed) = (Value::Number(kind.into()), Value::Text("0, 1 or 2"));
                return Err(malformed(CODEC, "block type", at, found, needed));
            }
        };
        Ok(BlockHeader {
            kind,
            last: header & 1 != 0,
            stored,
            most,
        })
    }
}
