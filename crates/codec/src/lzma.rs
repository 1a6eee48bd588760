//! The .lzma format ("LZMA alone"): a header of 13 bytes, then one LZMA stream, which a library decodes.

use crate::decoders::Decoders;
use crate::reader::{Reader, malformed, within};
use crate::{Bound, Codec, Error, Limits, Value};

const CODEC: Codec = Codec::Lzma;
/// The unpacked size of a stream that ends with a mark.
const UNKNOWN: u64 = u64::MAX;
/// Properties are (pb * 5 + lp) * 9 + lc.
const PROPERTIES_END: u8 = 9 * 5 * 5;
/// The most that lc and lp may be together for xz and liblzma.
const CONTEXT_MAX: u8 = 4;

/// What the header says.
#[cfg_attr(
    all(feature = "native", not(test)),
    expect(dead_code, reason = "liblzma reads the header itself")
)]
pub(crate) struct Header {
    /// lc, lp and pb.
    pub(crate) properties: u8,
    /// Bytes of dictionary.
    pub(crate) dictionary: u32,
    /// The unpacked size, if declared.
    pub(crate) size: Option<u64>,
    /// Where the LZMA stream starts.
    pub(crate) data: usize,
}

pub(crate) fn decompress<D: Decoders>(input: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    let header = Header::parse(input, limits)?;
    D::lzma(input, &header, limits)
}

impl Header {
    fn parse(input: &[u8], limits: &Limits) -> Result<Self, Error> {
        let mut reader = Reader::new(CODEC, input);
        let properties = reader.u8("properties")?;
        if properties >= PROPERTIES_END {
            let (found, needed) = (
                Value::Number(properties.into()),
                Value::Text("less than 225"),
            );
            return Err(malformed(CODEC, "properties", 0, found, needed));
        }
        if properties % 9 + properties / 9 % 5 > CONTEXT_MAX {
            return Err(Error::Unsupported {
                codec: CODEC,
                field: "properties",
                offset: 0,
                found: Value::Number(properties.into()),
                needed: Value::Text("lc and lp of at most 4 together"),
            });
        }
        let dictionary = reader.u32_le("dictionary size")?;
        within(CODEC, Bound::Window, dictionary.into(), limits.window)?;
        let size = u64::from_le_bytes(reader.array("unpacked size")?);
        let size = (size != UNKNOWN).then_some(size);
        if let Some(size) = size {
            within(CODEC, Bound::Output, size, limits.output)?;
        }
        Ok(Header {
            properties,
            dictionary,
            size,
            data: reader.offset(),
        })
    }
}
