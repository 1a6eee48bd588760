//! Rows of a table: a stream and what is said of it.

use kpeel_codec::{Bound, Codec, Error, Limits, decompress};

/// What a stream gives: its bytes, or an error of this class and field, or of this limit and size asked.
#[derive(Debug, PartialEq)]
pub enum Gives<'a> {
    Bytes(&'a [u8]),
    Malformed(&'a str),
    /// Malformed in a field that a library reads, so only the class is known.
    Broken,
    Unsupported(&'a str),
    Limit(Bound, u64),
}
pub const MIB: u64 = 1 << 20;

pub fn within(output: u64) -> Limits {
    Limits {
        output,
        ..Limits::default()
    }
}

#[track_caller]
pub fn check(codec: Codec, name: &str, stream: &[u8], limits: &Limits, wanted: Gives<'_>) {
    let result = decompress(codec, stream, limits);
    let found = match &result {
        Ok(bytes) => Gives::Bytes(bytes),
        Err(Error::Malformed { .. }) if wanted == Gives::Broken => Gives::Broken,
        Err(Error::Malformed { field, .. }) => Gives::Malformed(field),
        Err(Error::Unsupported { field, .. }) => Gives::Unsupported(field),
        Err(Error::Limit {
            bound,
            asked,
            allowed,
            ..
        }) => {
            let limit = match bound {
                Bound::Output => limits.output,
                Bound::Window => limits.window,
            };
            assert_eq!(*allowed, limit, "{codec}, {name}");
            Gives::Limit(*bound, *asked)
        }
        Err(error) => panic!("{codec}, {name}: {error}"),
    };
    if let Err(error) = &result {
        assert_eq!(error.codec(), codec);
    }
    assert!(
        found == wanted,
        "{codec}, {name}: {:.200}, not {:.200}",
        format!("{found:?}"),
        format!("{wanted:?}")
    );
}

pub fn gives(codec: Codec, name: &str, stream: &[u8], wanted: Gives<'_>) {
    check(codec, name, stream, &Limits::default(), wanted);
}

/// `bytes` with those at `at` replaced.
pub fn with(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

pub fn crc32(bytes: &[u8]) -> [u8; 4] {
    crc32fast::hash(bytes).to_le_bytes()
}
