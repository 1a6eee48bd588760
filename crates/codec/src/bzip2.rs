//! bzip2 streams.

use bzip2::{Decompress, Status};

use crate::output::{Output, probe};
use crate::reader::{Reader, corrupt, truncated};
use crate::{Codec, Error, Limits, Value};

const CODEC: Codec = Codec::Bzip2;

pub(crate) fn decompress(input: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    header(input)?;
    let mut output = Output::new(CODEC, limits, input)?;
    probe(CODEC, STATE)?;
    let mut decoder = Decompress::new(false);
    let mut at = 0_usize;
    loop {
        let rest = input.get(at..).unwrap_or_default();
        let before = decoder.total_in();
        let (written, status) = output.fill(|room| {
            let before = decoder.total_out();
            let status = decoder
                .decompress(rest, room)
                .map_err(|_| corrupt(CODEC, "block", at))?;
            Ok((difference(before, decoder.total_out()), status))
        })?;
        let read = difference(before, decoder.total_in());
        at = at.saturating_add(read);
        match status {
            Status::StreamEnd => return Ok(output.finish()),
            Status::MemNeeded => {
                return Err(Error::Memory {
                    codec: CODEC,
                    asked: MEMORY,
                });
            }
            _ if read == 0 && written == 0 => return Err(truncated(CODEC, "block", at)),
            _ => {}
        }
    }
}

/// Bytes that a decoder has at most besides its block; without them making one panics.
const STATE: usize = 256 << 10;
/// What the decoder of a 900 kB block asks for: a 32-bit word for each byte of the block.
const MEMORY: u64 = 3_600_000;

/// "BZh" and the block size.
fn header(input: &[u8]) -> Result<(), Error> {
    let mut reader = Reader::new(CODEC, input);
    reader.magic(b"BZh")?;
    let level = reader.u8("block size")?;
    if !(b'1'..=b'9').contains(&level) {
        let (found, needed) = (
            Value::Number(level.into()),
            Value::Text("a digit from 1 to 9"),
        );
        return Err(crate::reader::malformed(
            CODEC,
            "block size",
            3,
            found,
            needed,
        ));
    }
    Ok(())
}

fn difference(before: u64, after: u64) -> usize {
    usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX)
}
