//! LZMA2: chunks of LZMA or stored bytes, each with its sizes.

use super::decoder::{Decoder, Fault, Properties, Stop};
use super::range::Range;
use crate::output::Output;
use crate::reader::{Reader, corrupt, malformed};
use crate::{Codec, Error, Value};

const CODEC: Codec = Codec::Xz;

/// Control bytes. A chunk of LZMA has the top bit, its kind of reset in the next two and size bits in the others.
const END: u8 = 0;
const STORED_RESET_DICTIONARY: u8 = 1;
const STORED: u8 = 2;
const LZMA: u8 = 0x80;
const RESET_STATE: u8 = 1;
const RESET_PROPERTIES: u8 = 2;
const RESET_DICTIONARY: u8 = 3;
/// LZMA2 allows no more literal contexts.
const MAX_LITERAL_BITS: u32 = 4;

/// Decodes chunks up to and including the end mark.
pub(crate) fn decode(reader: &mut Reader<'_>, output: &mut Output) -> Result<(), Error> {
    let mut chunks = Chunks {
        decoder: None,
        dictionary: None,
    };
    loop {
        let control = reader.u8("lzma2 control")?;
        match control {
            END => return Ok(()),
            STORED_RESET_DICTIONARY | STORED => chunks.stored(reader, output, control)?,
            LZMA.. => chunks.lzma(reader, output, control)?,
            _ => {
                let at = reader.offset().saturating_sub(1);
                let (found, needed) = (
                    Value::Number(control.into()),
                    Value::Text("0, 1, 2 or 0x80 and up"),
                );
                return Err(malformed(CODEC, "lzma2 control", at, found, needed));
            }
        }
    }
}

/// What carries over from chunk to chunk.
struct Chunks {
    /// Known from the first chunk with properties; forgotten when the dictionary is.
    decoder: Option<Decoder>,
    /// Where the dictionary's data start in the result.
    dictionary: Option<usize>,
}

impl Chunks {
    fn stored(
        &mut self,
        reader: &mut Reader<'_>,
        output: &mut Output,
        control: u8,
    ) -> Result<(), Error> {
        if control == STORED_RESET_DICTIONARY {
            self.dictionary = Some(output.len());
            self.decoder = None;
        } else if self.dictionary.is_none() {
            return Err(self.wants(reader, "a chunk that resets the dictionary"));
        }
        let len = usize::from(reader.u16_be("lzma2 chunk size")?).saturating_add(1);
        let bytes = reader.take("lzma2 chunk", len)?;
        let start = output.len();
        output.expand(len)?;
        output
            .bytes_mut()
            .get_mut(start..)
            .unwrap_or_default()
            .copy_from_slice(bytes);
        Ok(())
    }

    fn lzma(
        &mut self,
        reader: &mut Reader<'_>,
        output: &mut Output,
        control: u8,
    ) -> Result<(), Error> {
        let reset = control >> 5 & 3;
        if reset == RESET_DICTIONARY {
            self.dictionary = Some(output.len());
            self.decoder = None;
        }
        let Some(dictionary) = self.dictionary else {
            return Err(self.wants(reader, "a chunk that resets the dictionary"));
        };
        let low = usize::from(reader.u16_be("lzma2 unpacked size")?);
        let unpacked = (usize::from(control & 0x1f) << 16 | low).saturating_add(1);
        let packed = usize::from(reader.u16_be("lzma2 chunk size")?).saturating_add(1);
        if reset >= RESET_PROPERTIES {
            self.set_properties(reader)?;
        }
        let Some(decoder) = &mut self.decoder else {
            return Err(self.wants(reader, "a chunk that sets properties"));
        };
        if reset == RESET_STATE {
            decoder.reset(decoder.properties());
        }
        let at = reader.offset();
        let chunk = reader.take("lzma2 chunk", packed)?;
        let start = output.len();
        output.expand(unpacked)?;
        let data = output.bytes_mut().get_mut(dictionary..).unwrap_or_default();
        let start = start.saturating_sub(dictionary);
        lzma_chunk(decoder, chunk, data, start)
            .map_err(|(field, offset)| corrupt(CODEC, field, at.saturating_add(offset)))
    }

    fn set_properties(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        let byte = reader.u8("lzma2 properties")?;
        let properties = Properties::new(byte)
            .filter(|properties| properties.literal_bits() <= MAX_LITERAL_BITS);
        let Some(properties) = properties else {
            let at = reader.offset().saturating_sub(1);
            let (found, needed) = (
                Value::Number(byte.into()),
                Value::Text("lc + lp up to 4, pb up to 4"),
            );
            return Err(malformed(CODEC, "lzma2 properties", at, found, needed));
        };
        match &mut self.decoder {
            Some(decoder) => decoder.reset(properties),
            None => self.decoder = Some(Decoder::new(properties)),
        }
        Ok(())
    }

    fn wants(&self, reader: &Reader<'_>, needed: &'static str) -> Error {
        reader.malformed(
            "lzma2 control",
            Value::Text("a chunk that continues"),
            Value::Text(needed),
        )
    }
}

/// Decodes one chunk into `data[start..]`, which it has to fill exactly; a fault is what and where.
fn lzma_chunk(
    decoder: &mut Decoder,
    chunk: &[u8],
    data: &mut [u8],
    start: usize,
) -> Result<(), (&'static str, usize)> {
    let mut range = Range::new(chunk).ok_or(("lzma2 range coder start", 0))?;
    let mut at = start;
    let stop = data.len();
    match decoder.run(&mut range, data, &mut at, stop) {
        Ok(Stop::Position)
            if range.finished() && !range.overrun() && range.offset() == chunk.len() =>
        {
            Ok(())
        }
        Ok(Stop::Position) => Err(("lzma2 chunk size", range.offset())),
        Ok(Stop::EndMark) => Err(("lzma2 end mark", range.offset())),
        Err(Fault::Input) => Err(("lzma2 chunk size", chunk.len())),
        Err(Fault::Distance) => Err(("lzma2 match distance", range.offset())),
        Err(Fault::Room) => Err(("lzma2 match length", range.offset())),
    }
}
