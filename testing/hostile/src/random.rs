//! Numbers that are the same in every run.

/// A generator (xorshift64*), the same for the same seed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A generator of its own for this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // SplitMix64's finaliser: neighbouring seeds must not give neighbouring numbers.
        let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((state ^ (state >> 31)) | 1)
    }

    /// A generator for these words, whatever their number.
    #[must_use]
    pub fn of(words: &[&str], number: u64) -> Self {
        // FNV-1a.
        let bytes = words.iter().flat_map(|word| word.bytes().chain([0]));
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self::new(hash ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`; 0 when there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        (self.number() >> 11) as usize % bound
    }

    /// One of several; `None` of none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_repeat_for_the_same_words_and_differ_for_others() {
        let first = |words: &[&str], number| Random::of(words, number).number();
        assert_eq!(first(&["a", "b"], 1), first(&["a", "b"], 1));
        assert_ne!(first(&["a", "b"], 1), first(&["ab"], 1));
        assert_ne!(first(&["a", "b"], 1), first(&["a", "b"], 2));
    }
}
