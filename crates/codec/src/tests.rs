//! The decoders in C and those in Rust, on streams that nobody's encoder makes: same bytes or same class of error.

#[path = "../tests/support/mod.rs"]
mod support;

use support::{Random, branches, filter, mutate, pack, sample};

use crate::decoders::{Native, Rust};
use crate::{Bound, Codec, Error, Limits, decompress_by};

const LIMITS: Limits = Limits {
    output: 1 << 20,
    window: 64 << 20,
};

/// What has to be the same.
#[derive(Debug, PartialEq)]
enum End {
    Bytes(Vec<u8>),
    Malformed,
    Unsupported,
    Limit(Bound),
    Memory,
}

fn end(result: Result<Vec<u8>, Error>) -> End {
    match result {
        Ok(bytes) => End::Bytes(bytes),
        Err(Error::Malformed { .. }) => End::Malformed,
        Err(Error::Unsupported { .. }) => End::Unsupported,
        Err(Error::Limit { bound, .. }) => End::Limit(bound),
        Err(Error::Memory { .. }) => End::Memory,
    }
}

/// How many mutations of `packed`, made plausible by `repair`, do not end alike.
fn differences(
    codec: Codec,
    packed: &[u8],
    count: usize,
    seed: u64,
    repair: impl Fn(&mut Vec<u8>),
) -> usize {
    differences_but(codec, packed, count, seed, repair, |_, _| false)
}

/// As [`differences`], without those that are `known`.
fn differences_but(
    codec: Codec,
    packed: &[u8],
    count: usize,
    seed: u64,
    repair: impl Fn(&mut Vec<u8>),
    known: impl Fn(&End, &End) -> bool,
) -> usize {
    let mut random = Random::new(seed);
    let (mut good, mut differences) = (0, 0);
    for number in 0..count {
        let mut bytes = mutate(packed, &mut random);
        repair(&mut bytes);
        let native = decompress_by::<Native>(codec, &bytes, &LIMITS);
        let rust = decompress_by::<Rust>(codec, &bytes, &LIMITS);
        good += usize::from(native.is_ok());
        let text = [&native, &rust].map(|result| match result {
            Ok(bytes) => format!("{} bytes", bytes.len()),
            Err(error) => error.to_string(),
        });
        let (native, rust) = (end(native), end(rust));
        if native != rust && !known(&native, &rust) {
            differences += 1;
            println!("{codec} seed {seed} number {number}: {text:?}");
        }
    }
    println!("{codec} seed {seed}: {count} mutations, {good} intact, {differences} end otherwise");
    differences
}

fn as_is(_: &mut Vec<u8>) {}

#[test]
fn mutations_end_alike() {
    let sample = sample(40_000);
    for (seed, codec) in Codec::ALL.into_iter().enumerate() {
        let packed = pack(codec, &sample);
        assert_eq!(differences(codec, &packed, 3_000, seed as u64, as_is), 0);
    }
}

/// Replaces the trailer by that of whatever the deflate data decode to.
fn with_true_trailer(bytes: &mut Vec<u8>) {
    const HEADER: usize = 10;
    let mut room = vec![0; LIMITS.output as usize];
    let flags = miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, read, written) = miniz_oxide::inflate::core::decompress(
        &mut Default::default(),
        bytes.get(HEADER..).unwrap_or_default(),
        &mut room,
        0,
        flags,
    );
    if status != miniz_oxide::inflate::TINFLStatus::Done {
        return;
    }
    bytes.truncate(HEADER + read);
    bytes.extend(crc32fast::hash(&room[..written]).to_le_bytes());
    bytes.extend((written as u32).to_le_bytes());
}

#[test]
fn damaged_deflate_with_a_true_trailer_ends_alike() {
    let mut found = 0;
    for (seed, level) in ["-1", "-9"].into_iter().enumerate() {
        for (more, input) in [sample(20_000), branches(3_000, 1), b"abc".to_vec()]
            .iter()
            .enumerate()
        {
            let packed = filter(&["gzip", "-n", level, "-c"], input);
            let seed = (10 * seed + more) as u64;
            found += differences(Codec::Gzip, &packed, 4_000, seed, with_true_trailer);
        }
    }
    assert_eq!(found, 0);
}

/// What is wrong inside entropy coded blocks is Malformed for one library and other bytes for the other, as libzstd's
/// fast loops do not look whether a stream was read to its end and ruzstd does not look for other things.
#[test]
fn damaged_zstd_without_checksum_ends_alike_but_for_entropy_coding() {
    let known = |native: &End, rust: &End| {
        matches!(
            (native, rust),
            (End::Bytes(_), End::Malformed)
                | (End::Malformed, End::Bytes(_))
                | (End::Bytes(_), End::Bytes(_))
        )
    };
    let mut found = 0;
    for (seed, level) in ["--fast=3", "-1", "-5", "-12", "-19"]
        .into_iter()
        .enumerate()
    {
        for (more, input) in [sample(30_000), branches(5_000, 2), vec![7; 3000]]
            .iter()
            .enumerate()
        {
            let packed = filter(&["zstd", "-q", level, "--no-check", "-c"], input);
            let seed = (10 * seed + more) as u64;
            found += differences_but(Codec::Zstd, &packed, 2_000, seed, as_is, known);
        }
    }
    assert_eq!(found, 0);
}

#[test]
fn damaged_xz_without_check_ends_alike() {
    let mut found = 0;
    for (seed, preset) in ["-0", "-6"].into_iter().enumerate() {
        for (more, input) in [sample(30_000), Random::new(5).bytes(3_000)]
            .iter()
            .enumerate()
        {
            let packed = filter(&["xz", preset, "--check=none", "-c"], input);
            let seed = (10 * seed + more) as u64;
            found += differences(Codec::Xz, &packed, 4_000, seed, as_is);
        }
    }
    assert_eq!(found, 0);
}

/// Makes the CRC-32 of the first block's header right.
fn with_true_block_header(bytes: &mut [u8]) {
    const START: usize = 12;
    let Some(&size) = bytes.get(START) else {
        return;
    };
    let end = START + usize::from(size) * 4;
    let Some(sum) = bytes.get(START..end).map(crc32fast::hash) else {
        return;
    };
    if let Some(field) = bytes.get_mut(end..end + 4) {
        field.copy_from_slice(&sum.to_le_bytes());
    }
}

#[test]
fn damaged_xz_of_every_shape_ends_alike() {
    let input = branches(30_000, 3);
    let mut found = 0;
    for (seed, options) in [
        &["--check=none", "--arm64", "--lzma2=preset=0"][..],
        &["--check=none", "--x86", "--delta", "--lzma2=preset=0"],
        &[
            "--check=sha256",
            "--ia64=start=16",
            "--lzma2=preset=1,lc=1,lp=2,pb=0",
        ],
        &["--check=crc64", "-0", "-T2", "--block-size=7000"],
    ]
    .into_iter()
    .enumerate()
    {
        let packed = filter(&[&["xz"], options, &["-c"]].concat(), &input);
        let seed = seed as u64;
        found += differences(Codec::Xz, &packed, 3_000, seed, as_is);
        found += differences(Codec::Xz, &packed, 3_000, seed, |bytes| {
            with_true_block_header(bytes)
        });
    }
    assert_eq!(found, 0);
}

#[test]
fn damaged_lzma_of_known_size_ends_alike() {
    let input = sample(30_000);
    let mut packed = filter(&["xz", "--format=lzma", "-6", "-c"], &input);
    let mut found = differences(Codec::Lzma, &packed, 4_000, 1, as_is);
    packed[5..13].copy_from_slice(&(input.len() as u64).to_le_bytes());
    found += differences(Codec::Lzma, &packed, 4_000, 2, as_is);
    assert_eq!(found, 0);
}
