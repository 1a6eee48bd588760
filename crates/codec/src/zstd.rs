//! Zstandard frames (RFC 8878).
//!
//! The block headers are walked first. That finds truncation and the end of the frame, and gives a bound for the
//! unpacked size that the frame cannot lie about: no block unpacks to more than 128 KiB.

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::io::Read;

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
    #[cfg(feature = "native")]
    if let Some(result) = frame.fast(limits)? {
        return Ok(result);
    }
    frame.decode(limits)
}

/// A whole frame whose headers are right.
struct Frame<'a> {
    bytes: &'a [u8],
    /// Frame_Content_Size, if declared.
    content_size: Option<u64>,
    /// The most that the blocks can unpack to.
    most: u64,
    checksum: bool,
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
        let most = blocks(&mut reader, window.min(MAX_BLOCK))?;
        if let Some(size) = content_size.filter(|&size| size > most) {
            let (found, needed) = (Value::Bytes(most), Value::Bytes(size));
            return Err(reader.malformed("content that the blocks can hold", found, needed));
        }
        let checksum = descriptor & CHECKSUM_FLAG != 0;
        if checksum {
            reader.take("content checksum", 4)?;
        }
        let bytes = input.get(..reader.offset()).unwrap_or_default();
        Ok(Frame {
            bytes,
            content_size,
            most,
            checksum,
        })
    }

    /// The Rust decoder.
    fn decode(&self, limits: &Limits) -> Result<Vec<u8>, Error> {
        let mut output = Output::new(CODEC, limits, self.content_size.unwrap_or(0))?;
        let mut source = self.bytes;
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(limits.window);
        decoder
            .init(&mut source)
            .map_err(|_| corrupt(CODEC, "frame header", 0))?;
        loop {
            let at = self.bytes.len().saturating_sub(source.len());
            let finished = decoder
                .decode_blocks(&mut source, BlockDecodingStrategy::UptoBlocks(1))
                .map_err(|_| corrupt(CODEC, "block", at))?;
            while decoder.can_collect() > 0 {
                output.fill(|room| {
                    let read = decoder
                        .read(room)
                        .map_err(|_| corrupt(CODEC, "block", at))?;
                    Ok((read, ()))
                })?;
            }
            if finished {
                break;
            }
            let pending = output.len() as u64;
            if pending > limits.output {
                return Err(output.full());
            }
        }
        self.check(&decoder, output.len() as u64)?;
        Ok(output.finish())
    }

    fn check(&self, decoder: &FrameDecoder, len: u64) -> Result<(), Error> {
        let end = self.bytes.len();
        if let Some(size) = self.content_size.filter(|&size| size != len) {
            let (found, needed) = (Value::Bytes(len), Value::Bytes(size));
            return Err(malformed(CODEC, "content size", end, found, needed));
        }
        let (found, needed) = (
            decoder.get_checksum_from_data(),
            decoder.get_calculated_checksum(),
        );
        if self.checksum && found != needed {
            let value = |sum: Option<u32>| Value::Number(sum.unwrap_or(0).into());
            let at = end.saturating_sub(4);
            return Err(malformed(
                CODEC,
                "content checksum",
                at,
                value(found),
                value(needed),
            ));
        }
        Ok(())
    }

    /// libzstd's try: `None` is whatever it did not accept.
    ///
    /// The whole frame is decoded in one call into the result, which is the window as well.
    #[cfg(feature = "native")]
    fn fast(&self, limits: &Limits) -> Result<Option<Vec<u8>>, Error> {
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

/// Walks the blocks; gives the most they can unpack to.
fn blocks(reader: &mut Reader<'_>, max: u64) -> Result<u64, Error> {
    let mut most = 0_u64;
    loop {
        let [a, b, c] = reader.array("block header")?;
        let header = u32::from_le_bytes([a, b, c, 0]);
        let size = header >> 3;
        if u64::from(size) > max {
            let at = reader.offset().saturating_sub(3);
            let (found, needed) = (Value::Bytes(size.into()), Value::Bytes(max));
            return Err(malformed(CODEC, "block size", at, found, needed));
        }
        let (stored, unpacked) = match header >> 1 & 3 {
            0 => (size, size.into()),
            1 => (1, size.into()),
            2 => (size, max),
            kind => {
                reader.expect("block type", 3, kind.into(), 2)?;
                continue;
            }
        };
        reader.take("block", usize::try_from(stored).unwrap_or(usize::MAX))?;
        most = most.saturating_add(unpacked);
        if header & 1 != 0 {
            return Ok(most);
        }
    }
}
