//! What the codecs complain of, in the pipeline's words.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

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
        Value::AtMost(number) => Needed::AtMost(number),
        Value::Text(words) => Needed::Words(words),
    };
    match (found, needed) {
        (Value::Number(found) | Value::Bytes(found) | Value::AtMost(found), needed) => {
            Error::value(class, field, found, needed)
        }
        (Value::Text(found), Needed::Words(needed)) => {
            Error::reason(class, field, sentence(found, needed))
        }
        (Value::Text(found), _) => Error::reason(class, field, found),
    }
}

/// Both as one sentence. The pipeline's errors hold only words that stay; the codecs have a handful of
/// such pairs, so each sentence is made once and kept.
fn sentence(found: &'static str, needed: &'static str) -> &'static str {
    static MADE: Mutex<BTreeMap<[&str; 2], &str>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry([found, needed])
        .or_insert_with(|| format!("found {found}, needed {needed}").leak())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(found: Value, needed: Value) -> String {
        let error = CodecError::Malformed {
            codec: kpeel_codec::Codec::Lz4,
            field: "chunk",
            offset: 8,
            found,
            needed,
        };
        super::error(&error).at_depth(1).to_string()
    }

    #[test]
    fn what_was_found_and_what_was_needed_are_both_told() {
        let (corrupt, intact) = (Value::Text("corrupt data"), Value::Text("an intact stream"));
        let (end, more) = (
            Value::Text("the end of the input"),
            Value::Text("more data"),
        );
        let (five, six) = (Value::Bytes(5), Value::Number(6));
        for (found, needed, sentence) in [
            (
                corrupt,
                intact,
                "found corrupt data, needed an intact stream",
            ),
            (end, more, "found the end of the input, needed more data"),
            (
                end,
                intact,
                "found the end of the input, needed an intact stream",
            ),
            (five, six, "found 5 (0x5), needed 6 (0x6)"),
            (five, more, "found 5 (0x5), needed more data"),
            (
                six,
                Value::AtMost(5),
                "found 6 (0x6), needed at most 5 (0x5)",
            ),
        ] {
            for _ in 0..2 {
                let expected = format!("malformed: envelope 1: chunk: {sentence}");
                assert_eq!(told(found, needed), expected);
            }
        }
    }
}
