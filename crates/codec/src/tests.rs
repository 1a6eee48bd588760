//! The build with C decoders gives what the build without gives, on streams that nobody's encoder makes.

#[path = "../tests/support/mod.rs"]
mod support;

use support::{Random, branches, filter, mutate, pack, sample};

use crate::zstd::Frame;
use crate::{Codec, Error, Limits, decompress, native};

const LIMITS: Limits = Limits {
    output: 1 << 20,
    window: 64 << 20,
};

/// `count` mutations of `packed`, made plausible by `repair`, have the same result or error either way.
#[track_caller]
fn same_either_way(
    codec: Codec,
    packed: &[u8],
    count: usize,
    seed: u64,
    repair: impl Fn(&mut Vec<u8>),
) {
    let mut random = Random::new(seed);
    let mut good = 0;
    for number in 0..count {
        let mut bytes = mutate(packed, &mut random);
        repair(&mut bytes);
        let fast = decompress(codec, &bytes, &LIMITS);
        let rust = native::disabled(|| decompress(codec, &bytes, &LIMITS));
        good += usize::from(rust.is_ok());
        if fast != rust {
            panic!(
                "{codec} seed {seed} number {number}: {:?} with, {:?} without C decoders",
                fast.map(|bytes| bytes.len()),
                rust.map(|bytes| bytes.len())
            );
        }
    }
    println!("{codec} seed {seed}: {count} mutations, {good} of them intact");
}

fn as_is(_: &mut Vec<u8>) {}

#[test]
fn mutations_have_the_same_end_either_way() {
    let sample = sample(40_000);
    for (seed, codec) in Codec::ALL.into_iter().enumerate() {
        let packed = pack(codec, &sample);
        same_either_way(codec, &packed, 3_000, seed as u64, as_is);
    }
}

#[test]
fn deflate_is_accepted_alike() {
    for (seed, level) in ["-1", "-9"].into_iter().enumerate() {
        for (more, input) in [sample(20_000), branches(3_000, 1), b"abc".to_vec()]
            .iter()
            .enumerate()
        {
            let packed = filter(&["gzip", "-n", level, "-c"], input);
            same_either_way(
                Codec::Gzip,
                &packed,
                4_000,
                (10 * seed + more) as u64,
                with_true_trailer,
            );
        }
    }
}

/// Replaces the trailer by that of whatever the deflate data decode to.
fn with_true_trailer(bytes: &mut Vec<u8>) {
    const HEADER: usize = 10;
    let mut output = crate::output::Output::new(Codec::Gzip, &LIMITS, bytes).unwrap();
    let Ok(read) = crate::inflate::inflate(bytes.get(HEADER..).unwrap_or_default(), &mut output)
    else {
        return;
    };
    bytes.truncate(HEADER + read);
    bytes.extend(crc32fast::hash(output.bytes()).to_le_bytes());
    bytes.extend((output.len() as u32).to_le_bytes());
}

#[test]
fn libzstd_and_the_rust_decoder_understand_mutated_frames_alike() {
    let mut random = Random::new(11);
    for level in ["--fast=3", "-1", "-5", "-12", "-19"] {
        for input in [sample(30_000), branches(5_000, 2), vec![7; 3000]] {
            let packed = filter(&["zstd", "-q", level, "--no-check", "-c"], &input);
            let mut good = 0;
            for _ in 0..3_000 {
                let bytes = mutate(&packed, &mut random);
                let Ok(frame) = Frame::parse(&bytes, &LIMITS) else {
                    continue;
                };
                let c = frame.fast(&LIMITS).unwrap();
                match (c, frame.decode(&LIMITS)) {
                    (Some(c), Ok(rust)) => assert!(c == rust, "{level}: other bytes"),
                    // What libzstd does not look at; see `zstd::decompress`.
                    (
                        Some(_),
                        Err(Error::Malformed {
                            field: "huffman stream",
                            ..
                        }),
                    ) => {}
                    (Some(_), Err(error)) => panic!("{level}: only the Rust decoder says {error}"),
                    (None, Err(_)) => continue,
                    (None, Ok(_)) => {}
                }
                good += 1;
            }
            println!("zstd {level}: {good} of 3000 mutations intact");
        }
    }
}

#[test]
fn lzma2_without_check_is_accepted_alike() {
    for (seed, preset) in ["-0", "-6"].into_iter().enumerate() {
        for (more, input) in [sample(30_000), Random::new(5).bytes(3_000)]
            .iter()
            .enumerate()
        {
            let packed = filter(&["xz", preset, "--check=none", "-c"], input);
            same_either_way(Codec::Xz, &packed, 4_000, (10 * seed + more) as u64, as_is);
        }
    }
}

#[test]
fn lzma_of_known_size_is_accepted_alike() {
    let input = sample(30_000);
    let mut packed = filter(&["xz", "--format=lzma", "-6", "-c"], &input);
    same_either_way(Codec::Lzma, &packed, 4_000, 1, as_is);
    packed[5..13].copy_from_slice(&(input.len() as u64).to_le_bytes());
    same_either_way(Codec::Lzma, &packed, 4_000, 2, as_is);
}
