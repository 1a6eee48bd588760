//! What the codecs complain of, in the pipeline's words.

use kpeel_codec::{Bound, Error as CodecError, Value};
use kpeel_envelope::error::{Class, Error, Needed};

const ENOMEM: i32 = 12;

/// The same error without its offset, which has no place in the pipeline's errors.
pub(crate) fn error(error: &CodecError) -> Error {
    match *error {
        CodecError::Malformed {
            field,
            found,
            needed,
            ..
        } => value(Class::Malformed, field, found, needed),
        CodecError::Unsupported {
            field,
            found,
            needed,
            ..
        } => value(Class::Unsupported, field, found, needed),
        CodecError::Limit {
            bound,
            asked,
            allowed,
            ..
        } => {
            let bound = match bound {
                Bound::Output => "decompressed size",
                Bound::Window => "decompression window",
            };
            Error::bound(bound, asked, allowed)
        }
        CodecError::Memory { .. } => Error::reason(
            Class::System(ENOMEM),
            "decompression",
            "the system has no memory left",
        ),
        _ => Error::reason(
            Class::Malformed,
            "compressed stream",
            "cannot be decompressed",
        ),
    }
}

fn value(class: Class, field: &'static str, found: Value, needed: Value) -> Error {
    let needed = match needed {
        Value::Number(number) | Value::Bytes(number) => Needed::Exactly(number),
        Value::Text(words) => Needed::Words(words),
    };
    match found {
        Value::Number(found) | Value::Bytes(found) => Error::value(class, field, found, needed),
        Value::Text(words) => Error::reason(class, field, words),
    }
}
