//! The optional header's CheckSum.

/// The checksum of an image whose CheckSum field stands at `field`: the 16-bit little-endian words
/// of the file, the field counted as zero, summed with end-around carry, plus the file's length.
///
/// The PE specification names `ImageHlp` for the algorithm; firmware does not look at the field.
#[must_use]
pub fn check_sum(image: &[u8], field: usize) -> u32 {
    let field = field.min(image.len());
    let (before, rest) = image.split_at(field);
    let (skipped, after) = rest.split_at(FIELD_SIZE.min(rest.len()));
    let mut sum = Sum::default();
    sum.add(before);
    sum.add(&vec![0; skipped.len()]);
    sum.add(after);
    sum.finish()
}

/// Size of the CheckSum field in bytes.
const FIELD_SIZE: usize = 4;

/// Words summed before their sum is added to the whole: as many as 32 bits hold without a carry, so that the compiler
/// adds many at a time.
const STRETCH: usize = 1 << 16;

/// The sum of [`check_sum`] over bytes that come piece by piece.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// Carries are folded at the end: 2^48 words of 16 bits fit into 64.
    words: u64,
    /// The low byte of a word whose high byte is still to come.
    odd: Option<u8>,
    len: u64,
}

impl Sum {
    /// Adds the next bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.len = self.len.saturating_add(bytes.len() as u64);
        let mut rest = bytes;
        if let (Some(low), Some((high, tail))) = (self.odd, rest.split_first()) {
            self.add_word([low, *high]);
            self.odd = None;
            rest = tail;
        }
        let (pairs, odd) = rest.as_chunks();
        if let Some(low) = odd.first() {
            self.odd = Some(*low);
        }
        for stretch in pairs.chunks(STRETCH) {
            let words = stretch
                .iter()
                .map(|pair| u32::from(u16::from_le_bytes(*pair)));
            let sum = words.fold(0, u32::wrapping_add);
            self.words = self.words.saturating_add(sum.into());
        }
    }

    /// Adds what another sum counted, as the next bytes. What came before has to be an even number
    /// of them.
    pub(crate) fn join(&mut self, next: &Self) {
        debug_assert!(self.odd.is_none());
        self.words = self.words.saturating_add(next.words);
        self.odd = next.odd;
        self.len = self.len.saturating_add(next.len);
    }

    pub(crate) fn finish(mut self) -> u32 {
        if let Some(low) = self.odd.take() {
            self.add_word([low, 0]);
        }
        let mut sum = self.words;
        while sum > 0xffff {
            sum = (sum & 0xffff).saturating_add(sum >> 16);
        }
        // At most 0xffff plus a 32-bit length; the format lets it wrap.
        (sum as u32).wrapping_add(self.len as u32)
    }

    fn add_word(&mut self, word: [u8; 2]) {
        self.words = self
            .words
            .saturating_add(u64::from(u16::from_le_bytes(word)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's algorithm, word by word.
    fn slow(image: &[u8], field: usize) -> u32 {
        let mut image = image.to_vec();
        let len = image.len();
        image[field..field + 4].fill(0);
        image.resize(len + len % 2, 0);
        let mut sum = 0_u32;
        for pair in image.chunks(2) {
            sum += u32::from(u16::from_le_bytes([pair[0], pair[1]]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (sum & 0xffff) + len as u32
    }

    #[test]
    fn agrees_with_the_slow_form_for_odd_places_and_lengths() {
        let bytes: Vec<u8> = (0..999_u32).map(|at| (at * 37 % 251) as u8).collect();
        for len in [4, 5, 100, 998, 999] {
            for field in [0, 1, 64, 65, len - 4]
                .into_iter()
                .filter(|field| field + 4 <= len)
            {
                assert_eq!(check_sum(&bytes[..len], field), slow(&bytes[..len], field));
            }
        }
    }

    #[test]
    fn does_not_depend_on_the_field_itself() {
        let mut bytes = vec![7; 200];
        let sum = check_sum(&bytes, 88);
        bytes[88..92].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(check_sum(&bytes, 88), sum);
    }
}
