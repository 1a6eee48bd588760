//! Ranges the host lets a parser see.
#![expect(
    unsafe_code,
    reason = "the host fills buffers through a foreign function"
)]

use crate::kfunc::{self, Name};
use core::mem::MaybeUninit;

/// Types of which every bit pattern is a value, without padding.
///
/// # Safety
///
/// Exactly that.
pub unsafe trait Plain: Copy {}

// SAFETY: integers have neither padding nor invalid values.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: arrays add no padding.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// A range of bytes in the host: the image, the caller's initrd or command line, or the result of
/// a decompression.
///
/// It is an address and a length, no more: nothing is copied until [`Bytes::read`], and publishing
/// hands the range itself to the host.
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    at: u64,
    len: u64,
}

impl Bytes {
    /// `len` bytes at the host's address `at`. No more than a name for them: the host checks every
    /// use.
    #[inline(always)]
    #[must_use]
    pub const fn new(at: u64, len: u64) -> Self {
        Self { at, len }
    }

    /// Length in bytes; at most `i32::MAX`, because the host counts in `int`.
    #[inline(always)]
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    #[inline(always)]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The host's address of the first byte.
    #[inline(always)]
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.at
    }

    /// The `len` bytes from `offset`, `None` unless they lie wholly inside.
    #[inline(always)]
    #[must_use]
    pub const fn sub(&self, offset: u64, len: u64) -> Option<Self> {
        if offset > self.len || len > self.len - offset {
            return None;
        }
        Some(Self::new(self.at.wrapping_add(offset), len))
    }

    /// The value at `offset`, little-endian; `None` when it does not lie wholly inside or the host
    /// refuses.
    #[inline(always)]
    #[must_use]
    pub fn read<T: Plain>(&self, offset: u64) -> Option<T> {
        let size = const { size_of::<T>() as u64 };
        let part = self.sub(offset, size)?;
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the buffer is `T`'s own size.
        let status = unsafe { kfunc::read(value.as_mut_ptr().cast(), size as u32, part.at) };
        if status != 0 {
            return None;
        }
        // SAFETY: the host filled every byte, and every bit pattern is a `T`.
        Some(unsafe { value.assume_init() })
    }

    /// As many of the first bytes as fit `buffer`; the rest of it keeps what it held.
    #[inline(always)]
    #[must_use]
    pub fn read_head<T: Plain>(&self, buffer: &mut T) -> Option<()> {
        let room = const { size_of::<T>() as u64 };
        let len = if self.len < room { self.len } else { room };
        if len == 0 {
            return Some(());
        }
        // SAFETY: `len` is at most the buffer's size.
        let status = unsafe { kfunc::read((&raw mut *buffer).cast(), len as u32, self.at) };
        (status == 0).then_some(())
    }

    /// Publishes the whole range under `name`; `None` when the host refuses (it knows why).
    #[inline(always)]
    #[must_use]
    pub fn publish(&self, name: Name) -> Option<()> {
        (kfunc::copy_to_kernel(name, self.at, self.len as i32) == 0).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::Bytes;

    fn part(offset: u64, len: u64) -> Option<(u64, u64)> {
        let part = Bytes::new(0x1000, 16).sub(offset, len)?;
        Some((part.address(), part.len()))
    }

    #[test]
    fn parts_lie_wholly_inside() {
        assert_eq!(part(0, 16), Some((0x1000, 16)));
        assert_eq!(part(4, 12), Some((0x1004, 12)));
        assert_eq!(part(16, 0), Some((0x1010, 0)));
    }

    #[test]
    fn refuses_parts_that_reach_outside_or_wrap_around() {
        for (offset, len) in [(0, 17), (4, 13), (17, 0), (u64::MAX, 1), (1, u64::MAX)] {
            assert_eq!(part(offset, len), None, "{len} bytes at {offset}");
        }
    }
}
