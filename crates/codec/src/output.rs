//! The result while it grows: never past its limit, never from an infallible allocation.

use crate::{Bound, Codec, Error, Limits};

/// Bytes handed to a decoder at a time.
const CHUNK: usize = 256 << 10;

/// Kernels unpack to less than this many times their packed size.
const USUAL_RATIO: usize = 8;

/// A result under a limit.
///
/// Capacity doubles by `realloc`, which moves pages instead of copying them for large blocks, and only bytes
/// that were asked for are touched.
pub(crate) struct Output {
    codec: Codec,
    bytes: Vec<u8>,
    limit: usize,
    allowed: u64,
}

impl Output {
    /// An empty result for `input`, with room for what kernels usually unpack to, as far as the limit allows.
    ///
    /// Room costs nothing until it is used, whereas growing may copy: allocators move blocks by pages only when they
    /// are very large.
    pub(crate) fn new(codec: Codec, limits: &Limits, input: &[u8]) -> Result<Self, Error> {
        Self::with_room(codec, limits, input.len().saturating_mul(USUAL_RATIO))
    }

    /// An empty result with room for `len` bytes, as far as the limit allows.
    pub(crate) fn with_room(codec: Codec, limits: &Limits, len: usize) -> Result<Self, Error> {
        let limit = usize::try_from(limits.output).unwrap_or(usize::MAX);
        let mut output = Output {
            codec,
            bytes: Vec::new(),
            limit,
            allowed: limits.output,
        };
        output.reserve(len.min(limit))?;
        Ok(output)
    }

    /// What has been unpacked so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes unpacked so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What has been unpacked so far, to write to.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Bytes the result may have.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Appends `more` zero bytes, or says that they exceed the limit.
    pub(crate) fn expand(&mut self, more: usize) -> Result<(), Error> {
        let len = self.len().saturating_add(more);
        if len > self.limit {
            return Err(self.over(len as u64));
        }
        self.grow(more)?;
        self.bytes.resize(len, 0);
        Ok(())
    }

    /// Makes room for `more` bytes, so that appending them does not allocate.
    pub(crate) fn reserve_more(&mut self, more: usize) -> Result<(), Error> {
        self.grow(more)
    }

    /// Appends bytes that the limit allows and room was made for.
    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends `count` times `byte`; the limit has to allow it.
    pub(crate) fn repeat_byte(&mut self, byte: u8, count: usize) -> Result<(), Error> {
        self.grow(count)?;
        self.bytes.resize(self.len().saturating_add(count), byte);
        Ok(())
    }

    /// Appends `length` bytes from `offset` before the end, for which room was made; false if that is before the
    /// start. What is appended may be part of what is copied.
    #[inline]
    pub(crate) fn repeat(&mut self, offset: usize, length: usize) -> bool {
        let Some(from) = self.len().checked_sub(offset) else {
            return false;
        };
        let mut left = length;
        while left > 0 {
            // What is there doubles each time.
            let step = left.min(self.len().wrapping_sub(from));
            self.bytes.extend_from_within(from..from.wrapping_add(step));
            left = left.wrapping_sub(step);
        }
        true
    }

    /// Takes back what is behind `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// The error of a stream that unpacks to more than the limit.
    pub(crate) fn over(&self, asked: u64) -> Error {
        Error::Limit {
            codec: self.codec,
            bound: Bound::Output,
            asked,
            allowed: self.allowed,
        }
    }

    /// The error of a stream that goes on at the limit without saying how far.
    pub(crate) fn full(&self) -> Error {
        self.over(self.allowed.saturating_add(1))
    }

    /// Calls `fill` with the next stretch of room; it returns how many bytes of it were written and a result.
    ///
    /// At the limit the room is one byte of scratch, so that a decoder can reach the end of its stream; a byte
    /// written there is the Limit error.
    pub(crate) fn fill<T>(
        &mut self,
        fill: impl FnOnce(&mut [u8]) -> Result<(usize, T), Error>,
    ) -> Result<(usize, T), Error> {
        let start = self.len();
        if start == self.limit {
            let (written, value) = fill(&mut [0])?;
            return if written == 0 {
                Ok((0, value))
            } else {
                Err(self.full())
            };
        }
        let value = self.fill_up_to(CHUNK, fill)?;
        Ok((self.len().saturating_sub(start), value))
    }

    /// Calls `fill` with room for `most` bytes, or for less if the limit comes before; it returns how many bytes of
    /// it were written and a result.
    pub(crate) fn fill_up_to<T>(
        &mut self,
        most: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(usize, T), Error>,
    ) -> Result<T, Error> {
        let start = self.len();
        let room = self.limit.saturating_sub(start).min(most);
        self.grow(room)?;
        self.bytes.resize(start.saturating_add(room), 0);
        let result = fill(self.bytes.get_mut(start..).unwrap_or_default());
        let written = result.as_ref().map_or(0, |(written, _)| *written);
        self.bytes.truncate(start.saturating_add(written));
        result.map(|(_, value)| value)
    }

    /// The result, without spare capacity.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.shrink_to_fit();
        self.bytes
    }

    /// Makes room for `more` bytes, doubling the capacity where the limit allows.
    #[inline]
    fn grow(&mut self, more: usize) -> Result<(), Error> {
        let needed = self.bytes.len().saturating_add(more);
        if needed <= self.bytes.capacity() {
            return Ok(());
        }
        let doubled = self.bytes.capacity().saturating_mul(2).min(self.limit);
        self.reserve(needed.max(doubled))
    }

    fn reserve(&mut self, capacity: usize) -> Result<(), Error> {
        let more = capacity.saturating_sub(self.bytes.len());
        let asked = capacity as u64;
        self.bytes
            .try_reserve_exact(more)
            .map_err(|_| Error::Memory {
                codec: self.codec,
                asked,
            })
    }
}

/// `len` zero bytes whose pages cost nothing until they are written, or `None` if the system refuses them.
#[cfg(feature = "native")]
pub(crate) fn zeroed(len: usize) -> Option<Vec<u8>> {
    // `vec!` aborts when memory is short, so ask first. Large blocks come as untouched pages both times.
    Vec::<u8>::new().try_reserve_exact(len).ok()?;
    Some(vec![0; len])
}
