//! DER, written: as much as it takes to put a PKCS#7 together that no tool would make.
//!
//! Source: ITU-T X.690, "Basic encoding rules" 8 and "Distinguished encoding rules" 10.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
/// `[0]`, constructed.
pub(crate) const CONTEXT_0: u8 = 0xa0;
/// `[1]`, constructed.
pub(crate) const CONTEXT_1: u8 = 0xa1;
pub(crate) const NULL: &[u8] = &[0x05, 0x00];

/// One value: tag, length, and the parts as its content.
pub(crate) fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=0x7f => out.push(short as u8),
        long => {
            let bytes = long.to_be_bytes();
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            out.push(0x80 | (bytes.len() - zeros) as u8);
            out.extend_from_slice(&bytes[zeros..]);
        }
    }
    out.extend_from_slice(&content);
    out
}

/// A SET OF: its values in ascending order (X.690, 11.6).
pub(crate) fn set_of(tag: u8, mut values: Vec<Vec<u8>>) -> Vec<u8> {
    values.sort();
    let parts: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    value(tag, &parts)
}

/// Splits the first value off: its whole encoding, its content, and what follows.
///
/// # Panics
/// When there is none; only what tools have written is read.
pub(crate) fn split(der: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (head, len) = match der[1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        long => {
            let count = usize::from(long & 0x7f);
            let number = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
            (2 + count, der[2..2 + count].iter().fold(0, number))
        }
    };
    let (whole, rest) = der.split_at(head + len);
    (whole, &whole[head..], rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_what_it_writes() {
        for len in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x1_0000] {
            let content = vec![7; len];
            let mut der = value(OCTET_STRING, &[&content]);
            der.push(9);
            let (whole, inner, rest) = split(&der);
            assert_eq!((inner, rest), (&content[..], &[9][..]));
            assert_eq!(whole.len() + 1, der.len());
        }
    }
}
