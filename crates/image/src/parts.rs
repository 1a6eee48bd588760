//! An image to be written, piece by piece.

use std::borrow::Cow;

use kpeel_envelope::error::{Class, Error, Needed, Result};

use crate::checksum::Sum;

/// The bytes of an image as pieces in order, most of them borrowed from what the image is made of:
/// writing them one after the other takes no second copy of kernel and initrd.
#[derive(Clone, Debug, Default)]
pub struct Parts<'a> {
    parts: Vec<Cow<'a, [u8]>>,
    len: usize,
}

impl<'a> Parts<'a> {
    /// The pieces; the image is what they make one behind the other.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(AsRef::as_ref)
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
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut image = Vec::with_capacity(self.len);
        for part in self.iter() {
            image.extend_from_slice(part);
        }
        image
    }

    pub(crate) fn push(&mut self, part: impl Into<Cow<'a, [u8]>>) {
        let part = part.into();
        if !part.is_empty() {
            self.len = self.len.saturating_add(part.len());
            self.parts.push(part);
        }
    }

    pub(crate) fn push_zeros(&mut self, len: usize) {
        self.push(vec![0; len]);
    }

    /// Replaces the bytes at `offset`, which lie in one piece by construction. A borrowed piece is
    /// copied for that: only headers and small sections are ever written to.
    pub(crate) fn put(&mut self, offset: usize, bytes: &[u8]) -> Result<()> {
        let end = offset.saturating_add(bytes.len());
        let mut start = 0_usize;
        for part in &mut self.parts {
            let next = start.saturating_add(part.len());
            if offset < next {
                if end > next {
                    break;
                }
                return crate::number::put(part.to_mut(), offset.saturating_sub(start), bytes);
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

    /// CheckSum, the field itself being zero.
    pub(crate) fn check_sum(&self) -> u32 {
        let mut sum = Sum::default();
        for part in self.iter() {
            sum.add(part);
        }
        sum.finish()
    }
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
        assert_eq!((parts().len(), parts().to_vec()), (8, b"abc\0\0def".into()));
        assert!(Parts::default().is_empty() && !parts().is_empty());
    }

    #[test]
    fn a_write_changes_one_piece_and_refuses_to_span_two() {
        let mut parts = parts();
        parts.put(3, b"xy").unwrap();
        parts.put(7, b"z").unwrap();
        assert_eq!(parts.to_vec(), b"abcxydez");
        assert_eq!(parts.put(2, b"12").unwrap_err().class, Class::Bug);
        assert_eq!(parts.put(8, b"1").unwrap_err().class, Class::Bug);
    }

    #[test]
    fn sum_up_like_one_piece() {
        let whole = parts().to_vec();
        let mut zeroed = whole.clone();
        zeroed.resize(whole.len() + 4, 0);
        let mut with_field = parts();
        with_field.push_zeros(4);
        let expected = crate::check_sum(&zeroed, whole.len());
        assert_eq!(with_field.check_sum(), expected);
    }
}
