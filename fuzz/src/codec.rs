//! Streams of every codec.

use kpeel_codec::{Codec, Limits, decompress};
use kpeel_hostile::extract::codec::unpack as independent;

const LIMITS: Limits = Limits {
    output: 1 << 20,
    window: 8 << 20,
};

/// In a Zstandard frame's descriptor: a checksum follows the content (RFC 8878, section 3.1.1.1.1).
const ZSTD_CHECKSUM: u8 = 4;

/// Unpacks; what is unpacked is no more than allowed, and what another library makes of the stream,
/// if it makes anything of it.
pub fn unpack(codec: Codec, stream: &[u8]) {
    let Ok(unpacked) = decompress(codec, stream, &LIMITS) else {
        return;
    };
    assert!(unpacked.len() as u64 <= LIMITS.output);
    assert!(unpacked.capacity() as u64 <= LIMITS.output);
    // Without a checksum libraries for Zstandard may give different bytes for a damaged stream.
    if codec == Codec::Zstd && stream.get(4).is_none_or(|flags| flags & ZSTD_CHECKSUM == 0) {
        return;
    }
    if let Ok(other) = independent(codec.name(), stream) {
        assert!(
            other == unpacked,
            "{} and {} bytes",
            unpacked.len(),
            other.len()
        );
    }
}
