//! An image to be written, piece by piece.

use std::borrow::Cow;

use kpeel_envelope::error::{Class, Error, Needed, Result};
use kpeel_envelope::headers::Headers;

use crate::checksum::Sum;

/// The bytes of an image as pieces in order, most of them borrowed from what the image is made of:
/// writing them one after the other takes no second copy of kernel and initrd.
#[derive(Clone, Debug, Default)]
pub struct Parts<'a> {
    parts: Vec<Piece<'a>>,
    len: usize,
}

/// A piece of an image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part<'p> {
    /// These bytes.
    Bytes(&'p [u8]),
    /// So many bytes, which whoever writes the image puts in: those of a section that was added
    /// without ([`NewSection::later`](crate::uki::NewSection::later)).
    Later(usize),
}

#[derive(Clone, Debug)]
enum Piece<'a> {
    Bytes(Cow<'a, [u8]>),
    Later(usize),
}

impl Piece<'_> {
    fn part(&self) -> Part<'_> {
        match self {
            Self::Bytes(bytes) => Part::Bytes(bytes),
            Self::Later(len) => Part::Later(*len),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Later(len) => *len,
        }
    }
}

impl<'a> Parts<'a> {
    /// The pieces; the image is what they make one behind the other.
    pub fn iter(&self) -> impl Iterator<Item = Part<'_>> {
        self.parts.iter().map(Piece::part)
    }

    /// The first piece, which holds the headers.
    pub(crate) fn head(&self) -> &[u8] {
        match self.parts.first().map(Piece::part) {
            Some(Part::Bytes(bytes)) => bytes,
            _ => &[],
        }
    }

    /// Length of the image in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The image in one piece.
    ///
    /// # Errors
    /// `Misuse` for an image with parts that come later.
    pub fn to_vec(&self) -> Result<Vec<u8>> {
        let mut image = Vec::with_capacity(self.len);
        for part in self.iter() {
            match part {
                Part::Bytes(bytes) => image.extend_from_slice(bytes),
                Part::Later(_) => return Err(later()),
            }
        }
        Ok(image)
    }

    pub(crate) fn push(&mut self, part: impl Into<Cow<'a, [u8]>>) {
        self.push_piece(Piece::Bytes(part.into()));
    }

    pub(crate) fn push_zeros(&mut self, len: usize) {
        self.push(vec![0; len]);
    }

    pub(crate) fn push_later(&mut self, len: usize) {
        self.push_piece(Piece::Later(len));
    }

    fn push_piece(&mut self, piece: Piece<'a>) {
        if piece.len() != 0 {
            self.len = self.len.saturating_add(piece.len());
            self.parts.push(piece);
        }
    }

    /// Replaces the bytes at `offset`, which lie in one piece by construction. A borrowed piece is
    /// copied for that: only headers and small sections are ever written to.
    pub(crate) fn put(&mut self, offset: usize, bytes: &[u8]) -> Result<()> {
        let end = offset.saturating_add(bytes.len());
        let mut start = 0_usize;
        for part in &mut self.parts {
            let next = start.saturating_add(part.len());
            if offset < next {
                match part {
                    Piece::Bytes(part) if end <= next => {
                        let at = offset.saturating_sub(start);
                        return crate::number::put(part.to_mut(), at, bytes);
                    }
                    _ => break,
                }
            }
            start = next;
        }
        let needed = Needed::AtMost(start as u64);
        Err(Error::value(
            Class::Bug,
            "offset of a write",
            end as u64,
            needed,
        ))
    }

    pub(crate) fn put_u32(&mut self, offset: usize, value: u32) -> Result<()> {
        self.put(offset, &value.to_le_bytes())
    }

    /// Writes CheckSum, which stands at `field`, anew, if the image whose headers these are has one.
    pub(crate) fn renew_check_sum(&mut self, headers: &Headers, field: usize) -> Result<()> {
        if headers.check_sum == 0 {
            return Ok(());
        }
        self.put_u32(field, 0)?;
        let sum = self.check_sum()?;
        self.put_u32(field, sum)
    }

    /// CheckSum, the field itself being zero.
    fn check_sum(&self) -> Result<u32> {
        let mut sum = Sum::default();
        for part in self.iter() {
            match part {
                Part::Bytes(bytes) => sum.add(bytes),
                Part::Later(_) => return Err(later()),
            }
        }
        Ok(sum.finish())
    }
}

/// Something that needs all bytes was asked of an image that has not all.
fn later() -> Error {
    let reason = "all bytes of the image are needed here, and some of them come later";
    Error::reason(Class::Misuse, "section data", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts<'static> {
        let mut parts = Parts::default();
        parts.push(&b"abc"[..]);
        parts.push_zeros(0);
        parts.push_zeros(2);
        parts.push(&b"def"[..]);
        parts
    }

    #[test]
    fn are_the_image_one_behind_the_other() {
        assert_eq!(
            (parts().len(), parts().to_vec().unwrap()),
            (8, b"abc\0\0def".into())
        );
        assert!(Parts::default().is_empty() && !parts().is_empty());
    }

    #[test]
    fn a_write_changes_one_piece_and_refuses_to_span_two() {
        let mut parts = parts();
        parts.put(3, b"xy").unwrap();
        parts.put(7, b"z").unwrap();
        assert_eq!(parts.to_vec().unwrap(), b"abcxydez");
        assert_eq!(parts.put(2, b"12").unwrap_err().class, Class::Bug);
        assert_eq!(parts.put(8, b"1").unwrap_err().class, Class::Bug);
    }

    #[test]
    fn sum_up_like_one_piece() {
        let whole = parts().to_vec().unwrap();
        let mut zeroed = whole.clone();
        zeroed.resize(whole.len() + 4, 0);
        let mut with_field = parts();
        with_field.push_zeros(4);
        let expected = crate::check_sum(&zeroed, whole.len());
        assert_eq!(with_field.check_sum(), Ok(expected));
    }

    #[test]
    fn bytes_that_come_later_have_a_place_and_can_be_neither_read_nor_written() {
        let mut parts = parts();
        parts.push_later(4);
        parts.push(&b"end"[..]);
        assert_eq!(parts.len(), 15);
        assert!(parts.iter().any(|part| part == Part::Later(4)));
        assert_eq!(parts.to_vec().unwrap_err().class, Class::Misuse);
        assert_eq!(parts.check_sum().unwrap_err().class, Class::Misuse);
        assert_eq!(parts.put(9, b"x").unwrap_err().class, Class::Bug);
        parts.put(12, b"E").unwrap();
    }
}
