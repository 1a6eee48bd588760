//! 3: blocks.

use crc32fast::hash as crc32;

use super::check::Check;
use super::filter::Filter;
use super::{CODEC, integer, padding, unsupported};
use crate::lzma::lzma2;
use crate::output::Output;
use crate::reader::{Reader, malformed};
use crate::{Bound, Error, Limits, Value};

/// 3.1.2: block flags.
const FILTERS: u8 = 0b11;
const FLAGS_RESERVED: u8 = 0x3c;
const HAS_PACKED_SIZE: u8 = 0x40;
const HAS_UNPACKED_SIZE: u8 = 0x80;
/// 5.3.1: the filter every chain ends with.
const LZMA2: u64 = 0x21;
/// 5.3.1: dictionary sizes are numbered; the last is 4 GiB - 1.
const LAST_DICTIONARY: u8 = 40;

/// A block whose header has been read.
pub(super) struct Block {
    start: usize,
    packed: Option<u64>,
    unpacked: Option<u64>,
    /// All but LZMA2, in the encoder's order.
    filters: Vec<Filter>,
    /// LZMA2's properties: the number of the dictionary size.
    #[cfg_attr(
        not(feature = "native"),
        expect(dead_code, reason = "the result is the dictionary")
    )]
    dictionary: u8,
}

impl Block {
    /// Reads a block header, or `None` and the indicator byte of the index.
    pub(super) fn header(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<Self>, Error> {
        let start = reader.offset();
        let size = reader.u8("block header size")?;
        if size == 0 {
            return Ok(None);
        }
        let body = reader.take(
            "block header",
            usize::from(size).saturating_mul(4).saturating_sub(1),
        )?;
        let sum = crc32(reader.since(start));
        let found = reader.u32_le("block header crc32")?;
        reader.expect("block header crc32", 4, found.into(), sum.into())?;
        let mut fields = Reader::within(CODEC, body, start.saturating_add(1));
        let flags = fields.u8("block flags")?;
        if flags & FLAGS_RESERVED != 0 {
            let (found, needed) = (Value::Number(flags.into()), Value::Text("no reserved flag"));
            return Err(unsupported(
                "block flags",
                start.saturating_add(1),
                found,
                needed,
            ));
        }
        let mut size = |flag, field| {
            let wanted = flags & flag != 0;
            wanted.then(|| integer(&mut fields, field)).transpose()
        };
        let packed = size(HAS_PACKED_SIZE, "block packed size")?;
        let unpacked = size(HAS_UNPACKED_SIZE, "block unpacked size")?;
        if let Some(asked) = unpacked.filter(|&size| size > limits.output) {
            let allowed = limits.output;
            return Err(Error::Limit {
                codec: CODEC,
                bound: Bound::Output,
                asked,
                allowed,
            });
        }
        let mut filters = Vec::new();
        for _ in 0..flags & FILTERS {
            filters.push(Filter::read(&mut fields)?);
        }
        let dictionary = lzma2_properties(&mut fields, limits)?;
        while !fields.rest().is_empty() {
            let at = fields.offset();
            let byte = fields.u8("block header padding")?;
            if byte != 0 {
                let (found, needed) = (Value::Number(byte.into()), Value::Number(0));
                return Err(unsupported("block header padding", at, found, needed));
            }
        }
        Ok(Some(Block {
            start,
            packed,
            unpacked,
            filters,
            dictionary,
        }))
    }

    /// Decodes the block behind its header and checks its sizes and its check; gives its unpadded and its unpacked
    /// size.
    pub(super) fn decode(
        &self,
        reader: &mut Reader<'_>,
        check: Check,
        output: &mut Output,
    ) -> Result<(u64, u64), Error> {
        let data = reader.offset();
        let first = output.len();
        self.lzma2(reader, output)?;
        size("block packed size", reader, data, self.packed)?;
        let unpacked = output.len().saturating_sub(first) as u64;
        if let Some(needed) = self.unpacked.filter(|&needed| needed != unpacked) {
            let (found, needed) = (Value::Bytes(unpacked), Value::Bytes(needed));
            return Err(reader.malformed("block unpacked size", found, needed));
        }
        let end = reader.offset();
        padding(reader, "block padding", data)?;
        let bytes = output.bytes_mut().get_mut(first..).unwrap_or_default();
        for filter in self.filters.iter().rev() {
            filter.decode(bytes);
        }
        let check = check.verify(reader, bytes)?;
        let unpadded = (end.saturating_sub(self.start) as u64).saturating_add(check);
        Ok((unpadded, unpacked))
    }

    fn lzma2(&self, reader: &mut Reader<'_>, output: &mut Output) -> Result<(), Error> {
        #[cfg(feature = "native")]
        if crate::native::enabled() {
            let first = output.len();
            if let Some(read) = fast(self.dictionary, reader.rest(), output) {
                return reader.take("block", read).map(drop);
            }
            output.truncate(first);
        }
        lzma2::decode(reader, output)
    }
}

/// Compares how much was read since `start` with the declared size.
fn size(
    field: &'static str,
    reader: &Reader<'_>,
    start: usize,
    needed: Option<u64>,
) -> Result<(), Error> {
    let found = reader.offset().saturating_sub(start) as u64;
    match needed.filter(|&needed| needed != found) {
        Some(needed) => {
            let (found, needed) = (Value::Bytes(found), Value::Bytes(needed));
            Err(malformed(CODEC, field, start, found, needed))
        }
        None => Ok(()),
    }
}

/// Reads the last filter, which is LZMA2; gives the number of its dictionary size.
fn lzma2_properties(fields: &mut Reader<'_>, limits: &Limits) -> Result<u8, Error> {
    let at = fields.offset();
    let id = integer(fields, "filter id")?;
    if id != LZMA2 {
        let (found, needed) = (Value::Number(id), Value::Number(LZMA2));
        return Err(unsupported("last filter id", at, found, needed));
    }
    let len = integer(fields, "lzma2 properties size")?;
    let number = fields.u8("dictionary size")?;
    if len != 1 || number > LAST_DICTIONARY {
        let (found, needed) = (
            Value::Number(number.into()),
            Value::Number(LAST_DICTIONARY.into()),
        );
        return Err(unsupported("dictionary size", at, found, needed));
    }
    let asked = match number {
        LAST_DICTIONARY => u32::MAX.into(),
        _ => u64::from(2 | number & 1) << (number / 2 + 11),
    };
    if asked > limits.window {
        let allowed = limits.window;
        return Err(Error::Limit {
            codec: CODEC,
            bound: Bound::Window,
            asked,
            allowed,
        });
    }
    Ok(number)
}

/// liblzma's try: the bytes consumed, or `None` with partial output left behind.
#[cfg(feature = "native")]
fn fast(dictionary: u8, input: &[u8], output: &mut Output) -> Option<usize> {
    let mut filters = liblzma::stream::Filters::new();
    filters.lzma2_properties(&[dictionary]).ok()?;
    let mut stream = liblzma::stream::Stream::new_raw_decoder(&filters).ok()?;
    crate::native::run(&mut stream, input, output)
}
