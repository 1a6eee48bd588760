//! LZMA's range decoder.

/// Below this the range is renormalised by one byte.
const TOP: u32 = 1 << 24;
/// Bits of a probability.
const MODEL_BITS: u32 = 11;
/// How fast a probability adapts.
const MOVE_BITS: u32 = 5;
/// The probability of a bit that was never seen: one half.
pub(super) const INITIAL: u16 = 1 << (MODEL_BITS - 1);

/// Reads bits under adaptive probabilities.
///
/// Bytes past the end of the input read as zero; [`Range::overrun`] tells.
pub(crate) struct Range<'a> {
    input: &'a [u8],
    at: usize,
    range: u32,
    code: u32,
}

impl<'a> Range<'a> {
    /// Bytes that start a range-coded stream: a zero, then the first code.
    pub(super) const START: usize = 5;

    /// Starts at the front of `input`; `None` unless it starts with [`Range::START`] bytes of which the first is 0.
    pub(super) fn new(input: &'a [u8]) -> Option<Self> {
        let [0, code @ ..] = input.first_chunk::<{ Range::START }>()? else {
            return None;
        };
        Some(Range {
            input,
            at: Range::START,
            range: u32::MAX,
            code: u32::from_be_bytes(*code),
        })
    }

    /// Bytes consumed.
    pub(super) fn offset(&self) -> usize {
        self.at.min(self.input.len())
    }

    /// Whether bytes past the end were used.
    #[inline]
    pub(super) fn overrun(&self) -> bool {
        self.at > self.input.len()
    }

    /// Whether the coder is in the state an encoder leaves behind; takes the last byte if that is due.
    pub(super) fn finished(&mut self) -> bool {
        self.normalize();
        self.code == 0
    }

    #[inline(always)]
    fn normalize(&mut self) {
        if self.range < TOP {
            let byte = self.input.get(self.at).copied().unwrap_or(0);
            self.at = self.at.wrapping_add(1);
            self.range <<= 8;
            self.code = self.code << 8 | u32::from(byte);
        }
    }

    /// One bit under `probability`.
    #[inline(always)]
    pub(super) fn bit(&mut self, probability: &mut u16) -> usize {
        self.normalize();
        let p = u32::from(*probability);
        let bound = (self.range >> MODEL_BITS).wrapping_mul(p);
        if self.code < bound {
            self.range = bound;
            *probability =
                p.wrapping_add((1_u32 << MODEL_BITS).wrapping_sub(p) >> MOVE_BITS) as u16;
            0
        } else {
            self.range = self.range.wrapping_sub(bound);
            self.code = self.code.wrapping_sub(bound);
            *probability = p.wrapping_sub(p >> MOVE_BITS) as u16;
            1
        }
    }

    /// A symbol of log2(`N`) bits, highest bit first.
    #[inline(always)]
    pub(super) fn tree<const N: usize>(&mut self, probabilities: &mut [u16; N]) -> usize {
        let mut symbol = 1;
        while let Some(probability) = probabilities.get_mut(symbol) {
            symbol = symbol << 1 | self.bit(probability);
        }
        symbol.wrapping_sub(N)
    }

    /// A symbol of `bits` bits, lowest bit first; `N` is at least `1 << bits`.
    #[inline(always)]
    pub(super) fn reverse_tree<const N: usize>(
        &mut self,
        probabilities: &mut [u16; N],
        bits: u32,
    ) -> u32 {
        let mut index = 1;
        let mut symbol = 0;
        for shift in 0..bits {
            let Some(probability) = probabilities.get_mut(index) else {
                break;
            };
            let bit = self.bit(probability);
            index = index << 1 | bit;
            symbol |= (bit as u32) << shift;
        }
        symbol
    }

    /// `bits` bits of even probability, highest first, appended to `value`.
    #[inline(always)]
    pub(super) fn direct(&mut self, mut value: u32, bits: u32) -> u32 {
        for _ in 0..bits {
            self.normalize();
            self.range >>= 1;
            self.code = self.code.wrapping_sub(self.range);
            let borrow = 0_u32.wrapping_sub(self.code >> 31);
            self.code = self.code.wrapping_add(self.range & borrow);
            value = (value << 1).wrapping_add(borrow.wrapping_add(1));
        }
        value
    }
}
