//! 2.1.1.2: the integrity check of a block's unpacked bytes.

use crc32fast::hash as crc32;
use sha2::{Digest, Sha256};

use super::{CODEC, unsupported};
use crate::reader::{Reader, malformed};
use crate::{Error, Value};

#[derive(Clone, Copy)]
pub(super) enum Check {
    None,
    Crc32,
    Crc64,
    Sha256,
}

impl Check {
    /// From the check's number, which is at `offset`.
    pub(super) fn new(id: u8, offset: usize) -> Result<Self, Error> {
        match id {
            0 => Ok(Check::None),
            1 => Ok(Check::Crc32),
            4 => Ok(Check::Crc64),
            10 => Ok(Check::Sha256),
            _ => Err(unsupported(
                "check",
                offset,
                Value::Number(id.into()),
                Value::Text("0 (none), 1 (crc32), 4 (crc64) or 10 (sha256)"),
            )),
        }
    }

    /// Reads the check and compares it with that of `bytes`; gives its size.
    pub(super) fn verify(self, reader: &mut Reader<'_>, bytes: &[u8]) -> Result<u64, Error> {
        match self {
            Check::None => Ok(0),
            Check::Crc32 => {
                let found = reader.u32_le("block crc32")?;
                reader.expect("block crc32", 4, found.into(), crc32(bytes).into())?;
                Ok(4)
            }
            Check::Crc64 => {
                let found = u64::from_le_bytes(reader.array("block crc64")?);
                reader.expect("block crc64", 8, found, crc64(bytes))?;
                Ok(8)
            }
            Check::Sha256 => {
                let at = reader.offset();
                let found: [u8; 32] = reader.array("block sha256")?;
                if found != *Sha256::digest(bytes) {
                    let (found, needed) =
                        (Value::Text("another hash"), Value::Text("the block's hash"));
                    return Err(malformed(CODEC, "block sha256", at, found, needed));
                }
                Ok(32)
            }
        }
    }
}

/// 6: the reversed polynomial of ECMA-182.
const POLYNOMIAL: u64 = 0xc96c_5795_d787_0f42;

/// `TABLES[n][byte]` is the CRC of `byte` followed by `n` zero bytes.
static TABLES: [[u64; 256]; 8] = tables();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut table = 0;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let (mut crc, mut bits) = if table == 0 {
                (byte as u64, 8)
            } else {
                (tables[table - 1][byte], 8)
            };
            while bits > 0 {
                crc = if crc & 1 != 0 {
                    crc >> 1 ^ POLYNOMIAL
                } else {
                    crc >> 1
                };
                bits -= 1;
            }
            tables[table][byte] = crc;
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// CRC-64/XZ, eight bytes at a time.
fn crc64(bytes: &[u8]) -> u64 {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let mut crc = u64::MAX;
    for chunk in chunks {
        let mixed = (crc ^ u64::from_le_bytes(*chunk)).to_le_bytes();
        crc = TABLES
            .iter()
            .rev()
            .zip(mixed)
            .fold(0, |crc, (table, byte)| crc ^ at(table, byte));
    }
    for byte in rest {
        crc = at(&TABLES[0], byte ^ crc as u8) ^ crc >> 8;
    }
    !crc
}

fn at(table: &[u64; 256], byte: u8) -> u64 {
    table.get(usize::from(byte)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::crc64;

    #[test]
    fn crc64_gives_the_catalogued_check_values() {
        assert_eq!(crc64(b"123456789"), 0x995d_c9bb_df19_39fa);
        assert_eq!(crc64(b""), 0);
    }
}
