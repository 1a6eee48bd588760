//! 3.2.2: canonical prefix codes of up to 15 bits.
#![expect(
    clippy::indexing_slicing,
    reason = "tables by length or by masked bits"
)]

use super::bits::Bits;

const MAX_BITS: usize = 15;
/// Words up to this long are found in one step.
const FAST_BITS: u32 = 10;
/// A fast entry is `symbol << 4 | bits`; 0 stands for a longer word.
const LENGTH_BITS: u32 = 4;

/// A code of at most `N` symbols.
pub(super) struct Code<const N: usize> {
    fast: [u16; 1 << FAST_BITS],
    /// How many words have each length.
    counts: [u16; MAX_BITS + 1],
    /// Symbols in the order of their words.
    symbols: [u16; N],
}

impl<const N: usize> Code<N> {
    pub(super) fn new() -> Self {
        Code {
            fast: [0; 1 << FAST_BITS],
            counts: [0; MAX_BITS + 1],
            symbols: [0; N],
        }
    }

    /// Builds the code whose words have `lengths`; false if there is none.
    #[must_use]
    pub(super) fn build(&mut self, lengths: &[u8]) -> bool {
        self.sort(lengths);
        let mut space = 1_i32 << MAX_BITS;
        for (bits, &count) in self.counts.iter().enumerate().skip(1) {
            space = space.saturating_sub(i32::from(count) << MAX_BITS.saturating_sub(bits));
        }
        let words: u16 = self.counts.iter().skip(1).sum();
        match space {
            0 => self.fill(),
            _ if words == 0 => self.fast.fill(1),
            _ if words == 1 && self.counts[1] == 1 => {
                self.fast.fill(self.symbols[0] << LENGTH_BITS | 1)
            }
            _ => return false,
        }
        true
    }

    /// Counts lengths and sorts symbols by them.
    fn sort(&mut self, lengths: &[u8]) {
        self.counts = [0; MAX_BITS + 1];
        for &length in lengths {
            let slot = &mut self.counts[usize::from(length) & MAX_BITS];
            *slot = slot.wrapping_add(1);
        }
        let mut next = [0_u16; MAX_BITS + 1];
        for bits in 1..MAX_BITS {
            next[bits + 1] = next[bits].wrapping_add(self.counts[bits]);
        }
        for (symbol, &length) in lengths
            .iter()
            .enumerate()
            .filter(|(_, length)| **length > 0)
        {
            let next = &mut next[usize::from(length) & MAX_BITS];
            if let Some(slot) = self.symbols.get_mut(usize::from(*next)) {
                *slot = symbol as u16;
            }
            *next = next.wrapping_add(1);
        }
        self.counts[0] = 0;
    }

    /// Fills the fast table of a complete code. Words come highest bit first, so entries are at reversed words.
    fn fill(&mut self) {
        self.fast.fill(0);
        let mut symbols = self.symbols.iter();
        let mut word = 0_u32;
        for bits in 1..=FAST_BITS {
            for &symbol in symbols.by_ref().take(self.counts[bits as usize].into()) {
                let first = (word.reverse_bits() >> (32 - bits)) as usize;
                for entry in self.fast.iter_mut().skip(first).step_by(1 << bits) {
                    *entry = symbol << LENGTH_BITS | bits as u16;
                }
                word = word.wrapping_add(1);
            }
            word <<= 1;
        }
    }

    /// The next symbol; takes its word, of at most 15 bits.
    #[inline(always)]
    pub(super) fn decode(&self, bits: &mut Bits<'_>) -> usize {
        let entry = self.fast[bits.peek() as usize & ((1 << FAST_BITS) - 1)];
        if entry == 0 {
            return self.decode_long(bits);
        }
        bits.skip(u32::from(entry & ((1 << LENGTH_BITS) - 1)));
        usize::from(entry >> LENGTH_BITS)
    }

    /// Compares the word, as it grows, with the last word of each length.
    #[cold]
    fn decode_long(&self, bits: &mut Bits<'_>) -> usize {
        let next = bits.peek();
        let (mut word, mut first, mut index) = (0_u32, 0_u32, 0_u32);
        for length in 1..=MAX_BITS {
            word |= (next >> (length - 1)) as u32 & 1;
            let count = u32::from(self.counts[length]);
            let place = word.wrapping_sub(first);
            if place < count {
                bits.skip(length as u32);
                let symbol = self.symbols.get(index.wrapping_add(place) as usize);
                return symbol.copied().unwrap_or(0).into();
            }
            index = index.wrapping_add(count);
            first = first.wrapping_add(count) << 1;
            word <<= 1;
        }
        bits.skip(MAX_BITS as u32);
        0
    }
}
