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
        let limit = usize::try_from(limits.output).unwrap_or(usize::MAX);
        let mut output = Output {
            codec,
            bytes: Vec::new(),
            limit,
            allowed: limits.output,
        };
        output.reserve(input.len().saturating_mul(USUAL_RATIO).min(limit))?;
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
            .map_err(|_| memory(self.codec, asked))
    }
}

/// `len` zero bytes whose pages cost nothing until they are written.
pub(crate) fn zeroed(codec: Codec, len: u64) -> Result<Vec<u8>, Error> {
    let refused = || memory(codec, len);
    let len = usize::try_from(len).map_err(|_| refused())?;
    // Large blocks come as untouched pages both times.
    probe(codec, len)?;
    Ok(vec![0; len])
}

/// Asks whether the system has `len` bytes to give, for what aborts or panics where it has not. They are not kept, so
/// another thread may be faster; then it is as if nobody had asked.
pub(crate) fn probe(codec: Codec, len: usize) -> Result<(), Error> {
    let mut probe = Vec::<u8>::new();
    probe
        .try_reserve_exact(len)
        .map_err(|_| memory(codec, len as u64))
}

/// The error of a stream that unpacks to more than the limit without saying how much.
pub(crate) fn over(codec: Codec, limits: &Limits) -> Error {
    Error::Limit {
        codec,
        bound: Bound::Output,
        asked: limits.output.saturating_add(1),
        allowed: limits.output,
    }
}

/// The error of a decoder that the system does not give what it asked for.
pub(crate) fn memory(codec: Codec, asked: u64) -> Error {
    Error::Memory { codec, asked }
}
