//! Bit streams: FSE table descriptions are read forwards, everything else backwards from its last byte.

use super::fault::{Fault, Result};

/// Reads bits from the lowest of the first byte on. Bits past the end are zero; [`Forward::finish`] tells.
pub(super) struct Forward<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Forward<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Forward { bytes, at: 0 }
    }

    /// The next `count` bits, at most 16, without taking them.
    pub(super) fn peek(&self, count: u32) -> u32 {
        let bytes = self.bytes.get(self.at >> 3..).unwrap_or_default();
        let word = bytes
            .iter()
            .take(3)
            .rev()
            .fold(0, |word, &byte| word << 8 | u32::from(byte));
        word >> (self.at & 7) & (1_u32 << count).wrapping_sub(1)
    }

    pub(super) fn skip(&mut self, count: u32) {
        self.at = self.at.saturating_add(count as usize);
    }

    pub(super) fn read(&mut self, count: u32) -> u32 {
        let bits = self.peek(count);
        self.skip(count);
        bits
    }

    /// What follows the last byte that was touched.
    pub(super) fn finish(self) -> Result<&'a [u8]> {
        self.bytes
            .get(self.at.div_ceil(8)..)
            .ok_or(Fault("fse table description"))
    }
}

/// Reads bits from the highest of the last byte down. Bits before the start are zero; [`Backward::overrun`] tells.
pub(super) struct Backward<'a> {
    /// Bytes not loaded yet.
    bytes: &'a [u8],
    /// Loaded bits, the next one highest.
    word: u64,
    /// How many are loaded; negative once more were taken than there are.
    loaded: i64,
}

impl<'a> Backward<'a> {
    /// Starts below the highest bit that is set, which marks the end; `None` if the last byte is zero or missing.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let last = bytes.last().filter(|&&last| last != 0)?;
        let mut stream = Backward {
            bytes,
            word: 0,
            loaded: 0,
        };
        stream.refill();
        stream.read(last.leading_zeros().wrapping_add(1));
        Some(stream)
    }

    /// Loads at least 56 bits, or all there are.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        if !(0..=56).contains(&self.loaded) {
            return;
        }
        let loaded = self.loaded as u32;
        if let Some((front, chunk)) = self.bytes.split_last_chunk::<8>() {
            let taken = 63_u32.wrapping_sub(loaded) >> 3;
            self.word |= u64::from_le_bytes(*chunk) >> loaded;
            let left = front.len().wrapping_add(8).wrapping_sub(taken as usize);
            self.bytes = self.bytes.get(..left).unwrap_or_default();
            self.loaded = self.loaded.wrapping_add(i64::from(taken << 3));
            return;
        }
        while self.loaded <= 56 {
            let Some((last, front)) = self.bytes.split_last() else {
                return;
            };
            self.word |= u64::from(*last) << 56 >> (self.loaded as u32 & 63);
            self.bytes = front;
            self.loaded = self.loaded.wrapping_add(8);
        }
    }

    /// The next `count` bits, 1 to 63, without taking them; at most as many as a refill loads.
    #[inline(always)]
    pub(super) fn peek(&self, count: u32) -> u64 {
        self.word >> (64_u32.wrapping_sub(count) & 63)
    }

    /// Takes `count` bits, at most 63.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.word <<= count & 63;
        self.loaded = self.loaded.wrapping_sub(i64::from(count));
    }

    /// The next `count` bits, at most 63.
    #[inline(always)]
    pub(super) fn read(&mut self, count: u32) -> u64 {
        let bits = self.word >> 1 >> (63_u32.wrapping_sub(count) & 63);
        self.skip(count);
        bits
    }

    /// Whether bits before the start were taken.
    #[inline(always)]
    pub(super) fn overrun(&self) -> bool {
        self.loaded < 0
    }

    /// Whether every bit was taken and none before the start.
    pub(super) fn finished(&self) -> bool {
        self.loaded == 0 && self.bytes.is_empty()
    }
}
