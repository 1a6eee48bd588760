//! Why a stream was refused.

use core::fmt;

use crate::Codec;

/// Why a stream was not unpacked.
///
/// Both builds of this crate (with and without `native`) give the same variant for the same input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a whole, intact stream of this codec: wrong, truncated or failing a checksum.
    Malformed {
        /// The codec asked for.
        codec: Codec,
        /// The field or part of the stream at fault.
        field: &'static str,
        /// Byte offset in the input at which the decoder gave up.
        offset: u64,
        /// What is there.
        found: Value,
        /// What should be there.
        needed: Value,
    },
    /// A feature of the format that no boot image needs and this decoder does not have.
    Unsupported {
        /// The codec asked for.
        codec: Codec,
        /// The field that asks for the feature.
        field: &'static str,
        /// Byte offset of the field in the input.
        offset: u64,
        /// The value found there.
        found: Value,
        /// What is supported.
        needed: Value,
    },
    /// The stream asks for more than [`Limits`](crate::Limits) allow.
    Limit {
        /// The codec asked for.
        codec: Codec,
        /// The bound that was hit.
        bound: Bound,
        /// What the stream asks for, in bytes; one more than allowed where the stream does not declare it.
        asked: u64,
        /// The limit, in bytes.
        allowed: u64,
    },
    /// The system did not give memory that the limits allow.
    Memory {
        /// The codec asked for.
        codec: Codec,
        /// Bytes asked for.
        asked: u64,
    },
}

/// Which of the [`Limits`](crate::Limits) was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// The size of the result.
    Output,
    /// The window, dictionary or block a decoder has to keep.
    Window,
}

/// A value as found or needed: a number of the stream, or words where there is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A number; shown in hexadecimal.
    Number(u64),
    /// A count of bytes; shown in decimal.
    Bytes(u64),
    /// The largest number or count allowed; shown in decimal and hexadecimal.
    AtMost(u64),
    /// Words.
    Text(&'static str),
}

impl Error {
    /// The codec whose decoder refused.
    pub fn codec(&self) -> Codec {
        match *self {
            Error::Malformed { codec, .. }
            | Error::Unsupported { codec, .. }
            | Error::Limit { codec, .. }
            | Error::Memory { codec, .. } => codec,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Malformed {
                codec,
                field,
                offset,
                found,
                needed,
            } => {
                write!(
                    f,
                    "malformed {codec} stream: {field} at offset {offset}: found {found}, needed {needed}"
                )
            }
            Error::Unsupported {
                codec,
                field,
                offset,
                found,
                needed,
            } => {
                write!(
                    f,
                    "unsupported {codec} stream: {field} at offset {offset}: found {found}, needed {needed}"
                )
            }
            Error::Limit {
                codec,
                bound,
                asked,
                allowed,
            } => {
                write!(
                    f,
                    "{codec} stream exceeds the {bound} limit: asked {asked}, allowed {allowed} bytes"
                )
            }
            Error::Memory { codec, asked } => {
                write!(
                    f,
                    "no memory to unpack the {codec} stream: asked {asked} bytes"
                )
            }
        }
    }
}

impl core::error::Error for Error {}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bound::Output => "output",
            Bound::Window => "window",
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(n) => write!(f, "{n:#x}"),
            Value::Bytes(1) => write!(f, "1 byte"),
            Value::Bytes(n) => write!(f, "{n} bytes"),
            Value::AtMost(n) => write!(f, "at most {n} ({n:#x})"),
            Value::Text(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_field_offset_found_and_needed() {
        let (codec, field) = (Codec::Gzip, "crc32");
        let (found, needed) = (Value::Number(0x10), Value::Number(0xff));
        assert_eq!(
            Error::Malformed {
                codec,
                field,
                offset: 12,
                found,
                needed
            }
            .to_string(),
            "malformed gzip stream: crc32 at offset 12: found 0x10, needed 0xff"
        );
        let (found, needed) = (Value::Bytes(1), Value::Bytes(20));
        assert_eq!(
            Error::Unsupported {
                codec,
                field,
                offset: 0,
                found,
                needed
            }
            .to_string(),
            "unsupported gzip stream: crc32 at offset 0: found 1 byte, needed 20 bytes"
        );
    }

    #[test]
    fn names_the_limit_asked_and_allowed() {
        let error = Error::Limit {
            codec: Codec::Xz,
            bound: Bound::Window,
            asked: 3,
            allowed: 2,
        };
        let text = "xz stream exceeds the window limit: asked 3, allowed 2 bytes";
        assert_eq!(error.to_string(), text);
    }
}
