//! The one way in to untrusted bytes.

use super::error::{Error, Needed, Result};

/// Reads little-endian fields in order; every shortfall names the field, what was there and what
/// it needed.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their start.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Reads `bytes` from `offset` on.
    ///
    /// # Errors
    /// `Malformed` under `field` when `offset` lies past the end.
    pub fn at(bytes: &'a [u8], offset: u64, field: &'static str) -> Result<Self> {
        let len = bytes.len() as u64;
        match usize::try_from(offset) {
            Ok(offset) if offset <= bytes.len() => Ok(Self { bytes, offset }),
            _ => Err(Error::malformed(field, offset, Needed::AtMost(len))),
        }
    }

    /// Where the next byte is taken from.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// `Malformed` under `field`: bytes left against bytes needed.
    pub fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.offset..).unwrap_or(&[]);
        match rest.get(..len) {
            Some(taken) => {
                self.offset = self.offset.saturating_add(len);
                Ok(taken)
            }
            None => Err(Error::malformed(
                field,
                rest.len() as u64,
                Needed::AtLeast(len as u64),
            )),
        }
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// As [`Reader::take`].
    pub fn take_array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, field)?);
        Ok(array)
    }

    /// The next two bytes as a number.
    ///
    /// # Errors
    /// As [`Reader::take`].
    pub fn u16(&mut self, field: &'static str) -> Result<u16> {
        self.take_array(field).map(u16::from_le_bytes)
    }

    /// The next four bytes as a number.
    ///
    /// # Errors
    /// As [`Reader::take`].
    pub fn u32(&mut self, field: &'static str) -> Result<u32> {
        self.take_array(field).map(u32::from_le_bytes)
    }

    /// The next eight bytes as a number.
    ///
    /// # Errors
    /// As [`Reader::take`].
    pub fn u64(&mut self, field: &'static str) -> Result<u64> {
        self.take_array(field).map(u64::from_le_bytes)
    }
}

/// `len` bytes of `bytes` from `offset`, or an error under `field` naming the end found and the
/// room there is.
///
/// # Errors
/// `Malformed` when the range does not lie inside.
pub fn sub<'a>(bytes: &'a [u8], offset: u64, len: u64, field: &'static str) -> Result<&'a [u8]> {
    let room = Needed::AtMost(bytes.len() as u64);
    let end = offset
        .checked_add(len)
        .ok_or(Error::malformed(field, u64::MAX, room))?;
    let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
    range
        .and_then(|(from, to)| bytes.get(from..to))
        .ok_or(Error::malformed(field, end, room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_fields_in_order() {
        let mut reader = Reader::new(&[1, 0, 2, 0, 0, 0, 9]);
        assert_eq!((reader.u16("a"), reader.u32("b")), (Ok(1), Ok(2)));
        assert_eq!(reader.offset(), 6);
        assert_eq!(
            reader.u64("c"),
            Err(Error::malformed("c", 1, Needed::AtLeast(8)))
        );
    }

    #[test]
    fn rejects_ranges_that_wrap_or_pass_the_end() {
        assert_eq!(sub(&[1, 2, 3], 1, 2, "x"), Ok(&[2, 3][..]));
        assert_eq!(sub(&[1, 2, 3], 3, 0, "x"), Ok(&[][..]));
        assert_eq!(
            sub(&[1, 2, 3], 2, 2, "x"),
            Err(Error::malformed("x", 4, Needed::AtMost(3)))
        );
        assert!(sub(&[1, 2, 3], u64::MAX, 2, "x").is_err());
    }
}
