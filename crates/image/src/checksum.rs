//! The optional header's CheckSum.

/// The checksum of an image whose CheckSum field stands at `field`: the 16-bit little-endian words
/// of the file, the field counted as zero, summed with end-around carry, plus the file's length.
///
/// The PE specification names `ImageHlp` for the algorithm; firmware does not look at the field.
#[must_use]
pub fn check_sum(image: &[u8], field: usize) -> u32 {
    let skipped = field..field.saturating_add(4);
    let byte = |(at, byte): (usize, &u8)| if skipped.contains(&at) { 0 } else { *byte };
    let mut sum: u64 = 0;
    // The field may stand at an odd place: the few words it touches are summed byte by byte.
    let start = field & !1;
    let end = skipped.end.saturating_add(1) & !1;
    let (before, rest) = image.split_at(start.min(image.len()));
    let (around, after) = rest.split_at(end.saturating_sub(start).min(rest.len()));
    sum = sum
        .saturating_add(sum_words(before))
        .saturating_add(sum_words(after));
    let patched: Vec<u8> = (start..).zip(around).map(byte).collect();
    sum = sum.saturating_add(sum_words(&patched));
    while sum > 0xffff {
        sum = (sum & 0xffff).saturating_add(sum >> 16);
    }
    // At most 0xffff plus a 32-bit length; the format lets it wrap.
    (sum as u32).wrapping_add(image.len() as u32)
}

/// Carries are folded later: 2^48 words of 16 bits fit into 64.
fn sum_words(bytes: &[u8]) -> u64 {
    let pairs = bytes.chunks_exact(2);
    let odd = pairs.remainder().first().map_or(0, |byte| u64::from(*byte));
    pairs
        .filter_map(|pair| <[u8; 2]>::try_from(pair).ok())
        .map(|pair| u64::from(u16::from_le_bytes(pair)))
        .fold(odd, u64::saturating_add)
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
