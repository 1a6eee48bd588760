//! Damage to compressed streams, the same at every run: truncation, flipped bits, moved parts, and extreme sizes where
//! headers declare them.

/// What sizes and lengths are replaced by: bounds of the formats, of the decoders, and of integers.
const EXTREMES: &[u32] = &[
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0xfff,
    0x1000,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    8 << 20,
    (8 << 20) + 1,
    1 << 27,
    (1 << 27) + 1,
    1 << 30,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fff0,
    0xffff_ffff,
];

/// Copy number `case` of an intact stream.
pub(crate) fn damaged(intact: &[u8], case: u32) -> Vec<u8> {
    let mut random = Random::new(case);
    let mut stream = intact.to_vec();
    let len = stream.len();
    match random.below(7) {
        0 => stream.truncate(random.below(len)),
        1 => stream.truncate(len.saturating_sub(1 + random.below(16))),
        2 => {
            for _ in 0..=random.below(8) {
                let (at, bit) = (random.below(len), random.below(8));
                if let Some(byte) = stream.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
        }
        3 => {
            let (at, extreme) = (random.below(len), random.extreme());
            put(&mut stream, at, &extreme.to_le_bytes());
        }
        4 => {
            let part = 1 + random.below((len / 2).min(4096));
            let (from, to) = (random.below(len - part), random.below(len - part));
            stream.copy_within(from..from + part, to);
        }
        5 => {
            let (at, count) = (random.below(len), 1 + random.below(64));
            for byte in stream.iter_mut().skip(at).take(count) {
                *byte = random.next() as u8;
            }
        }
        _ => header(&mut stream, &mut random),
    }
    // The kernel takes no initrd of no bytes.
    if stream.is_empty() {
        stream.push(0);
    }
    stream
}

/// The sizes that a header declares, dictionaries before all; often with most of the rest cut off.
fn header(stream: &mut Vec<u8>, random: &mut Random) {
    let extreme = random.extreme();
    match stream.first() {
        // lzma: dictionary, size.
        Some(0x5d) => {
            let at = if random.below(2) == 0 { 1 } else { 5 };
            put(stream, at, &extreme.to_le_bytes());
            if random.below(2) == 0 {
                let high: u32 = if random.below(2) == 0 { 0 } else { u32::MAX };
                put(stream, 9, &high.to_le_bytes());
            }
        }
        // xz: what the block header says of its filters, with its CRC32.
        Some(0xfd) => block_header(stream, random),
        // zstd: descriptor, window, size.
        Some(0x28) => {
            let (at, byte) = (4 + random.below(8), random.next() as u8);
            put(stream, at, &[byte]);
        }
        // lz4: length of a chunk.
        Some(0x02) => put(stream, 4, &extreme.to_le_bytes()),
        // lzo: anywhere in the header.
        Some(0x89) => {
            let at = 9 + random.below(60);
            put(stream, at, &extreme.to_be_bytes());
        }
        // gzip: flags; bzip2: block size.
        _ => {
            let byte = random.next() as u8;
            put(stream, 3, &[byte]);
        }
    }
    if random.below(4) == 0 {
        let len = 16 + random.below(stream.len().saturating_sub(16).max(1));
        stream.truncate(len);
    }
}

fn block_header(stream: &mut [u8], random: &mut Random) {
    /// Where the first block header is: after the stream header.
    const AT: usize = 12;
    let size = stream
        .get(AT)
        .map_or(0, |size| (usize::from(*size) + 1) * 4);
    let at = AT + 2 + random.below(size.saturating_sub(6).max(1));
    let byte = if random.below(2) == 0 {
        random.below(256)
    } else {
        random.below(41)
    };
    put(stream, at, &[byte as u8]);
    let end = (AT + size).saturating_sub(4);
    if let Some(covered) = stream.get(AT..end) {
        let sum = crc32(covered);
        put(stream, end, &sum.to_le_bytes());
    }
}

fn put(stream: &mut [u8], at: usize, bytes: &[u8]) {
    for (place, byte) in stream.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
    !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn new(case: u32) -> Self {
        let mut random = Self(u64::from(case).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn extreme(&mut self) -> u32 {
        let at = self.below(EXTREMES.len());
        EXTREMES.get(at).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_the_same_at_every_run_and_seldom_none() {
        let intact: Vec<u8> = (0..=255).cycle().take(4096).collect();
        let other = (0..1000)
            .filter(|case| damaged(&intact, *case) != intact)
            .count();
        assert!(other > 900, "{other}");
        assert!((0..1000).all(|case| damaged(&intact, case) == damaged(&intact, case)));
    }

    #[test]
    fn a_changed_block_header_keeps_a_right_checksum() {
        // A header of 12 bytes with the sum of eight.
        let mut stream = vec![0; 64];
        stream[12] = 2;
        block_header(&mut stream, &mut Random::new(7));
        assert_eq!(stream[20..24], crc32(&stream[12..20]).to_le_bytes());
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
