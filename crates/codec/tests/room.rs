//! What a stream makes its decoder hold, however it is made.

use kpeel_codec::{Codec, Limits, decompress};
use kpeel_counting::{Counting, peak_of};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// `lz4 -l` of literals alone: a token, more length, the bytes.
fn literals(bytes: &[u8]) -> Vec<u8> {
    let more = bytes.len() - 15;
    let mut chunk = vec![0xf0];
    chunk.resize(1 + more / 255, 0xff);
    chunk.push((more % 255) as u8);
    chunk.extend(bytes);
    let len = u32::try_from(chunk.len()).unwrap().to_le_bytes();
    [&0x184c_2102_u32.to_le_bytes()[..], &len, &chunk].concat()
}

#[test]
fn a_chunk_of_lz4_gets_the_room_it_fills() {
    let bytes = [7; 32 << 10];
    let packed = literals(&bytes);
    let (unpacked, peak) = peak_of(|| decompress(Codec::Lz4, &packed, &Limits::default()));
    assert!(unpacked.unwrap() == bytes);
    // What kernels of this packed size unpack to is reserved; it could be 255 times as much.
    assert!(peak <= 9 * packed.len() as u64, "{peak} bytes");
}
