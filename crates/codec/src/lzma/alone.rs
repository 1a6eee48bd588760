//! The .lzma format ("LZMA alone"): a header of 13 bytes, then one LZMA stream.

use super::decoder::{Decoder, Fault, MAX_MATCH, Properties, Stop};
use super::range::Range;
use crate::output::Output;
use crate::reader::{Reader, corrupt, malformed, truncated};
use crate::{Bound, Codec, Error, Limits, Value};

const CODEC: Codec = Codec::Lzma;
/// Properties, dictionary size, unpacked size.
const HEADER: usize = 13;
/// The unpacked size of a stream that ends with a mark.
const UNKNOWN: u64 = u64::MAX;
/// Room made at a time.
const STEP: usize = 1 << 20;

pub(crate) fn decompress(input: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    let header = Header::parse(input, limits)?;
    #[cfg(feature = "native")]
    if crate::native::enabled()
        && let Some(result) = header.fast(input, limits)?
    {
        return Ok(result);
    }
    header.decode(input, limits)
}

struct Header {
    properties: Properties,
    #[cfg(feature = "native")]
    dictionary: u32,
    size: Option<u64>,
}

impl Header {
    fn parse(input: &[u8], limits: &Limits) -> Result<Self, Error> {
        let mut reader = Reader::new(CODEC, input);
        let byte = reader.u8("properties")?;
        let Some(properties) = Properties::new(byte) else {
            let (found, needed) = (Value::Number(byte.into()), Value::Text("less than 225"));
            return Err(malformed(CODEC, "properties", 0, found, needed));
        };
        let dictionary = reader.u32_le("dictionary size")?;
        if u64::from(dictionary) > limits.window {
            let (asked, allowed) = (dictionary.into(), limits.window);
            return Err(Error::Limit {
                codec: CODEC,
                bound: Bound::Window,
                asked,
                allowed,
            });
        }
        let size = u64::from_le_bytes(reader.array("unpacked size")?);
        let size = (size != UNKNOWN).then_some(size);
        if let Some(asked) = size.filter(|&size| size > limits.output) {
            let allowed = limits.output;
            return Err(Error::Limit {
                codec: CODEC,
                bound: Bound::Output,
                asked,
                allowed,
            });
        }
        Ok(Header {
            properties,
            #[cfg(feature = "native")]
            dictionary,
            size,
        })
    }

    fn decode(&self, input: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
        let data = input.get(HEADER..).unwrap_or_default();
        let Some(mut range) = Range::new(data) else {
            return Err(match data.first() {
                Some(1..) => corrupt(CODEC, "range coder start", HEADER),
                _ => truncated(CODEC, "range coder start", HEADER),
            });
        };
        let mut output = Output::new(CODEC, limits, input)?;
        let mut decoder = Decoder::new(self.properties);
        let end = self
            .size
            .map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        let last = end.unwrap_or(output.limit());
        let mut at = 0_usize;
        loop {
            let room = last.saturating_sub(output.len()).min(STEP);
            output.expand(room)?;
            let len = output.len();
            let more = len < last;
            let stop = match (more, end) {
                (true, _) => len.saturating_sub(MAX_MATCH),
                (false, Some(end)) => end,
                // At the limit the next symbol has to be the end mark, so there is one more to decode.
                (false, None) => usize::MAX,
            };
            let stopped = decoder
                .run(&mut range, output.bytes_mut(), &mut at, stop)
                .map_err(|fault| self.fault(fault, &range, &output))?;
            if stopped == Stop::EndMark || !more {
                output.truncate(at);
                self.finish(&mut decoder, &mut range, stopped, &mut output)?;
                return Ok(output.finish());
            }
        }
    }

    /// Checks how the stream ends; one of known size may still have an end mark.
    fn finish(
        &self,
        decoder: &mut Decoder,
        range: &mut Range<'_>,
        stopped: Stop,
        output: &mut Output,
    ) -> Result<(), Error> {
        let at = HEADER.saturating_add(range.offset());
        let marked = stopped == Stop::EndMark;
        if let Some(size) = self.size {
            let len = output.len() as u64;
            if len != size {
                let (found, needed) = (Value::Bytes(len), Value::Bytes(size));
                return Err(malformed(CODEC, "unpacked size", at, found, needed));
            }
            if !marked && !range.finished() {
                let mut position = output.len();
                let stop = position.saturating_add(1);
                let mark = decoder.run(range, output.bytes_mut(), &mut position, stop);
                if mark != Ok(Stop::EndMark) && !range.overrun() {
                    return Err(corrupt(CODEC, "end of the data", at));
                }
            }
        }
        let finished = range.finished();
        let at = HEADER.saturating_add(range.offset());
        match (range.overrun(), finished) {
            (true, _) => Err(truncated(CODEC, "data", at)),
            (false, false) => Err(corrupt(CODEC, "end of the data", at)),
            (false, true) => Ok(()),
        }
    }

    fn fault(&self, fault: Fault, range: &Range<'_>, output: &Output) -> Error {
        let at = HEADER.saturating_add(range.offset());
        match fault {
            Fault::Input => truncated(CODEC, "data", at),
            Fault::Distance => corrupt(CODEC, "match distance", at),
            Fault::Room if self.size.is_some() => corrupt(CODEC, "unpacked size", at),
            Fault::Room => output.full(),
        }
    }

    /// liblzma's try: `None` is whatever it did not accept.
    #[cfg(feature = "native")]
    fn fast(&self, input: &[u8], limits: &Limits) -> Result<Option<Vec<u8>>, Error> {
        // The dictionary is bounded by the check above; this only keeps liblzma's own bound out of the way.
        let memory = u64::from(self.dictionary).saturating_add(64 << 20);
        let Ok(mut stream) = liblzma::stream::Stream::new_lzma_decoder(memory) else {
            return Ok(None);
        };
        let mut output = Output::new(CODEC, limits, input)?;
        Ok(crate::native::run(&mut stream, input, &mut output).map(|_| output.finish()))
    }
}
