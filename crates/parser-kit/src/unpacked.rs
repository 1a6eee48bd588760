//! Decompression in the host.
#![expect(unsafe_code, reason = "owns an object of the host")]

use crate::{Bytes, kfunc};
use kpeel_abi::MemRangeResult;

/// The result of a decompression; given back to the host when dropped.
#[derive(Debug)]
pub struct Unpacked(*mut MemRangeResult);

impl Unpacked {
    /// Decompresses the one stream `bytes` starts with; `None` when the host refuses (it knows
    /// why: format, limit or memory).
    #[inline(always)]
    #[must_use]
    pub fn new(bytes: Bytes) -> Option<Self> {
        let result = kfunc::decompress(bytes.address(), bytes.len() as i32);
        // Not `then_some`: that would make, and drop, a `Self` around NULL.
        if result.is_null() {
            return None;
        }
        Some(Self(result))
    }

    /// The decompressed bytes.
    #[inline(always)]
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        // SAFETY: the object lives until `drop`.
        let result = unsafe { &*self.0 };
        Bytes::new(result.buf, result.data_sz.into())
    }
}

impl Drop for Unpacked {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: made by `decompress`, checked against NULL, put only here.
        unsafe { kfunc::put(self.0) }
    }
}
