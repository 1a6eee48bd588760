//! The bit stream, lowest bit of the first byte first.

/// Reads bits. Bits past the end are zero; [`Bits::overrun`] tells.
pub(super) struct Bits<'a> {
    input: &'a [u8],
    /// Bytes loaded, not counting zeros past the end.
    at: usize,
    word: u64,
    /// How many bits of `word` are loaded.
    loaded: u32,
    /// Zero bytes loaded past the end.
    zeros: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Bits {
            input,
            at: 0,
            word: 0,
            loaded: 0,
            zeros: 0,
        }
    }

    /// Loads at least 56 bits.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        if let Some(chunk) = self.input.get(self.at..).and_then(<[u8]>::first_chunk) {
            self.word |= u64::from_le_bytes(*chunk) << (self.loaded & 63);
            let taken = 63_u32.wrapping_sub(self.loaded) >> 3;
            self.at = self.at.wrapping_add(taken as usize);
            self.loaded = self.loaded.wrapping_add(taken << 3);
        } else {
            self.refill_at_end();
        }
    }

    #[cold]
    fn refill_at_end(&mut self) {
        while self.loaded < 56 {
            match self.input.get(self.at) {
                Some(byte) => {
                    self.word |= u64::from(*byte) << (self.loaded & 63);
                    self.at = self.at.wrapping_add(1);
                }
                None => self.zeros = self.zeros.saturating_add(1),
            }
            self.loaded = self.loaded.wrapping_add(8);
        }
    }

    /// The loaded bits.
    #[inline(always)]
    pub(super) fn peek(&self) -> u64 {
        self.word
    }

    /// Takes `count` bits, at most as many as are loaded.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.word >>= count & 63;
        self.loaded = self.loaded.wrapping_sub(count);
    }

    /// The next `count` bits, at most 16.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> u32 {
        let bits = self.word as u32 & (1_u32 << (count & 31)).wrapping_sub(1);
        self.skip(count);
        bits
    }

    /// Whether bits past the end were taken.
    pub(super) fn overrun(&self) -> bool {
        self.zeros > self.loaded >> 3
    }

    /// Whether so many bits past the end were loaded that some were taken.
    #[inline(always)]
    pub(super) fn exhausted(&self) -> bool {
        self.zeros > 8
    }

    /// Bytes of which bits were taken.
    pub(super) fn offset(&self) -> usize {
        let ahead = (self.loaded >> 3).saturating_sub(self.zeros);
        self.at.saturating_sub(ahead as usize)
    }

    /// Drops the rest of a byte of which bits were taken; gives the bytes that follow, unless past the end.
    pub(super) fn align(&mut self) -> Option<&'a [u8]> {
        if self.overrun() {
            return None;
        }
        self.at = self.offset();
        (self.word, self.loaded, self.zeros) = (0, 0, 0);
        self.input.get(self.at..)
    }

    /// Skips bytes when no bits are loaded.
    pub(super) fn skip_bytes(&mut self, count: usize) {
        self.at = self.at.saturating_add(count);
    }
}
