//! Mutated streams of every codec: no panic, and no more time or memory than the limits allow.

mod support;

use std::time::{Duration, Instant};

use kpeel_codec::{Codec, Error, Limits, decompress};
use kpeel_counting::{Counting, peak_of};
use support::{Random, mutate, pack, sample};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a decoder may hold besides the result: bzip2's block, probabilities of LZMA, tables.
const BESIDES: u64 = 10 << 20;

/// The result and, where the decoders are in Rust, a window.
fn allowed(limits: &Limits) -> u64 {
    let window = if cfg!(feature = "native") {
        0
    } else {
        limits.window
    };
    limits.output + window + BESIDES
}

/// The result, the most Rust code held for it, the time it took.
fn measure(
    codec: Codec,
    stream: &[u8],
    limits: &Limits,
) -> (Result<Vec<u8>, Error>, u64, Duration) {
    let start = Instant::now();
    let (result, peak) = peak_of(|| decompress(codec, stream, limits));
    (result, peak, start.elapsed())
}

#[test]
fn mutations_cost_no_more_than_the_limits() {
    let limits = Limits {
        output: 2 << 20,
        window: 8 << 20,
    };
    let count =
        std::env::var("KPEEL_MUTATIONS").map_or(1500, |count| count.parse().expect("a number"));
    for (seed, codec) in Codec::ALL.into_iter().enumerate() {
        let mut random = Random::new(100 + seed as u64);
        let (mut worst, mut slowest, mut good) = (0, Duration::ZERO, 0);
        // Small streams for many mutations of headers, a bomb for those that unpack to more.
        for input in [sample(60_000), vec![0; 8 << 20], b"kernel".to_vec()] {
            let packed = pack(codec, &input);
            for _ in 0..count {
                let bytes = mutate(&packed, &mut random);
                let (result, held, time) = measure(codec, &bytes, &limits);
                if let Ok(bytes) = &result {
                    good += 1;
                    assert!(bytes.len() as u64 <= limits.output);
                    assert!(bytes.capacity() as u64 <= limits.output);
                }
                worst = worst.max(held);
                slowest = slowest.max(time);
            }
        }
        println!("{codec}: 3 * {count} mutations, {good} intact, {worst} bytes held, {slowest:?}");
        assert!(worst <= allowed(&limits), "{codec}: {worst} bytes");
        assert!(slowest < Duration::from_secs(10), "{codec}: {slowest:?}");
    }
    noise_is_refused(&limits);
}

/// The magic, then noise.
fn noise_is_refused(limits: &Limits) {
    let mut random = Random::new(7);
    for codec in Codec::ALL {
        let packed = pack(codec, b"kernel");
        for keep in [2, 4, 6, 12, 20] {
            for _ in 0..300 {
                let len = random.below(3000);
                let head = packed.get(..keep).unwrap_or(&packed);
                let stream = [head, &random.bytes(len)].concat();
                let (_, held, _) = measure(codec, &stream, limits);
                assert!(held <= allowed(limits), "{codec}: {held} bytes");
            }
        }
    }
}
