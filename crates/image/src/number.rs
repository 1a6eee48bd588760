//! Checked arithmetic on file offsets, and writes that cannot miss.

use kpeel_envelope::error::{Class, Error, Needed, Result};

/// A sum that names `field` when the file format cannot hold it.
pub(crate) fn add(field: &'static str, one: usize, other: usize) -> Result<usize> {
    let sum = one.saturating_add(other);
    to_u32(field, sum).map(|_| sum)
}

/// `value` rounded up to a multiple of `alignment`, a power of two.
pub(crate) fn align_up(field: &'static str, value: usize, alignment: usize) -> Result<usize> {
    let mask = alignment.saturating_sub(1);
    add(field, value, mask).map(|sum| sum & !mask)
}

/// A PE field: PE knows 32-bit sizes and offsets only.
pub(crate) fn to_u32(field: &'static str, value: usize) -> Result<u32> {
    let needed = Needed::AtMost(u32::MAX.into());
    u32::try_from(value).map_err(|_| Error::value(Class::Unsupported, field, value as u64, needed))
}

/// Replaces the bytes at `offset`, which lie inside `output` by construction.
pub(crate) fn put(output: &mut [u8], offset: usize, bytes: &[u8]) -> Result<()> {
    let end = offset.saturating_add(bytes.len());
    match output.get_mut(offset..end) {
        Some(place) => {
            place.copy_from_slice(bytes);
            Ok(())
        }
        None => Err(Error::value(
            Class::Bug,
            "offset of a write",
            end as u64,
            Needed::AtMost(output.len() as u64),
        )),
    }
}

/// Replaces a 32-bit little-endian field.
pub(crate) fn put_u32(output: &mut [u8], offset: usize, value: u32) -> Result<()> {
    put(output, offset, &value.to_le_bytes())
}

/// The 32-bit little-endian field at `offset`, if it lies inside.
pub(crate) fn get_u32(bytes: &[u8], offset: usize) -> Option<u32> {
    let field = bytes.get(offset..offset.checked_add(4)?)?;
    field.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_up_to_the_format_limit() {
        assert_eq!(align_up("x", 0x201, 0x200), Ok(0x400));
        assert_eq!(align_up("x", 0x200, 0x200), Ok(0x200));
        assert!(align_up("x", u32::MAX as usize, 0x200).is_err());
    }

    #[test]
    fn rejects_a_write_past_the_end() {
        let mut bytes = [0; 4];
        assert_eq!(put_u32(&mut bytes, 0, 0x0403_0201), Ok(()));
        assert_eq!(bytes, [1, 2, 3, 4]);
        assert_eq!(put_u32(&mut bytes, 1, 0).unwrap_err().class, Class::Bug);
    }
}
