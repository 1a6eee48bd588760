//! What the system's tools pack, with all kinds of options, unpacks to what went in.

mod support;

use kpeel_codec::{Codec, Error, Limits, decompress};
use support::{Random, branches, filter, if_taken, pack, sample};

/// What `command` packs unpacks to the input.
#[track_caller]
fn unpacks(codec: Codec, command: &[&str], input: &[u8]) {
    let packed = filter(command, input);
    assert_eq!(Codec::detect(&packed), Some(codec), "{command:?}");
    match decompress(codec, &packed, &Limits::default()) {
        Ok(unpacked) => assert!(unpacked == input, "{command:?}: other bytes"),
        Err(error) => panic!("{command:?}: {error}"),
    }
}

/// Inputs that reach the corners: nothing, a byte, one value only, noise, a mix of several blocks.
fn inputs() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        vec![b'a'],
        b"abcabcabcabcabcabcabcabc".to_vec(),
        vec![0; 1_000_000],
        Random::new(3).bytes(300_000),
        sample(1_500_000),
    ]
}

#[test]
fn unpacks_every_level_of_gzip() {
    for input in inputs() {
        for level in ["-1", "-6", "-9"] {
            unpacks(Codec::Gzip, &["gzip", level, "-c"], &input);
        }
    }
}

#[test]
fn unpacks_every_strategy_of_zstd_with_and_without_checksum_and_size() {
    for input in inputs() {
        for level in [
            "--fast=5", "-1", "-3", "-5", "-7", "-12", "-15", "-18", "-19",
        ] {
            unpacks(Codec::Zstd, &["zstd", "-q", level, "-c"], &input);
        }
        unpacks(Codec::Zstd, &["zstd", "-q", "-22", "--ultra", "-c"], &input);
        unpacks(Codec::Zstd, &["zstd", "-q", "--long=27", "-c"], &input);
        unpacks(Codec::Zstd, &["zstd", "-q", "--no-check", "-c"], &input);
        let size = format!("--stream-size={}", input.len());
        unpacks(Codec::Zstd, &["zstd", "-q", "-19", &size, "-c"], &input);
    }
}

#[test]
fn unpacks_xz_of_every_check_and_of_many_blocks() {
    for input in inputs() {
        for check in ["none", "crc32", "crc64", "sha256"] {
            let check = format!("--check={check}");
            unpacks(Codec::Xz, &["xz", "-1", &check, "-c"], &input);
            unpacks(
                Codec::Xz,
                &["xz", "-1", &check, "-T2", "--block-size=100000", "-c"],
                &input,
            );
        }
        unpacks(Codec::Xz, &["xz", "-9e", "-c"], &input);
    }
}

#[test]
fn unpacks_xz_as_linux_packs_kernels() {
    let input = sample(1_500_000);
    let check = "--check=crc32";
    unpacks(
        Codec::Xz,
        &["xz", check, "--x86", "--lzma2=,dict=128MiB", "-c"],
        &input,
    );
    let lzma2 = "--lzma2=lp=2,lc=2,dict=128MiB";
    unpacks(Codec::Xz, &["xz", check, "--arm64", lzma2, "-c"], &input);
    unpacks(
        Codec::Xz,
        &[
            "xz",
            check,
            "--powerpc",
            "--lzma2=lp=2,lc=2,dict=128MiB",
            "-c",
        ],
        &input,
    );
}

#[test]
fn unpacks_xz_of_every_filter_at_every_start() {
    for (seed, filter) in [
        "x86", "arm", "armthumb", "arm64", "powerpc", "ia64", "sparc",
    ]
    .into_iter()
    .enumerate()
    {
        // A length that is no multiple of any instruction size leaves a tail.
        for len in [0, 3, 17, 200_005] {
            let input = branches(len, seed as u64);
            for start in [0, 16, 0x7fff_fff0_u32] {
                let filter = format!("--{filter}=start={start}");
                unpacks(
                    Codec::Xz,
                    &["xz", &filter, "--lzma2=preset=0", "-c"],
                    &input,
                );
            }
        }
    }
    let input = branches(100_003, 99);
    for distance in [1, 3, 255, 256] {
        let delta = format!("--delta=dist={distance}");
        unpacks(Codec::Xz, &["xz", &delta, "--lzma2=preset=0", "-c"], &input);
    }
    unpacks(
        Codec::Xz,
        &[
            "xz",
            "--delta",
            "--x86",
            "--arm64",
            "--lzma2=preset=0",
            "-c",
        ],
        &input,
    );
}

#[test]
fn unpacks_lzma_of_every_literal_context() {
    for input in inputs() {
        unpacks(Codec::Lzma, &["xz", "--format=lzma", "-9", "-c"], &input);
    }
    let input = sample(200_000);
    for (lc, lp) in [(0, 0), (4, 0), (0, 4), (2, 2), (1, 3)] {
        for pb in [0, 2, 4] {
            let options = format!("preset=1,lc={lc},lp={lp},pb={pb}");
            let lzma1 = format!("--lzma1={options}");
            // Other properties have another first byte, so only the decoder, not `detect`, knows it.
            let packed = filter(&["xz", "--format=lzma", &lzma1, "-c"], &input);
            let unpacked = decompress(Codec::Lzma, &packed, &Limits::default());
            assert!(
                unpacked.as_ref() == Ok(&input),
                "{options}: {:?}",
                unpacked.err()
            );
            unpacks(
                Codec::Xz,
                &["xz", &format!("--lzma2={options}"), "-c"],
                &input,
            );
        }
    }
}

#[test]
fn unpacks_lz4_legacy_of_several_chunks() {
    for input in inputs() {
        unpacks(Codec::Lz4, &["lz4", "-l", "-1", "-c"], &input);
        unpacks(Codec::Lz4, &["lz4", "-l", "-12", "-c"], &input);
    }
    unpacks(Codec::Lz4, &["lz4", "-l", "-c"], &sample(20_000_000));
}

/// A decoder that does not look at the rules for a block's end gives bytes where Linux and the tool
/// give an error.
#[test]
fn rejects_lz4_blocks_that_end_as_the_tool_takes_none() {
    let mut taken = 0;
    for last in 0..9 {
        // One literal, a match of it, then so many literals.
        let literals = &b"bcdefghi"[..last];
        let block = [&[0x1f, b'a', 1, 0, 100, (last as u8) << 4][..], literals].concat();
        let len = (block.len() as u32).to_le_bytes();
        let stream = [&[0x02, 0x21, 0x4c, 0x18][..], &len, &block].concat();
        let ours = decompress(Codec::Lz4, &stream, &Limits::default());
        let theirs = if_taken(&["lz4", "-q", "-dc"], &stream);
        assert_eq!(ours.clone().ok(), theirs, "{last} literals at the end");
        if let Err(error) = ours {
            assert!(matches!(error, Error::Malformed { .. }), "{error}");
        } else {
            taken += 1;
        }
    }
    assert!((1..9).contains(&taken), "one-sided: {taken} of 9 taken");
}

#[test]
fn unpacks_every_method_and_checksum_of_lzop() {
    for input in inputs() {
        for level in ["-1", "-3", "-7", "-9"] {
            unpacks(Codec::Lzo, &["lzop", level, "-c"], &input);
        }
        unpacks(Codec::Lzo, &["lzop", "--crc32", "-c"], &input);
        unpacks(Codec::Lzo, &["lzop", "--no-checksum", "-c"], &input);
        unpacks(Codec::Lzo, &["lzop", "-CC", "-c"], &input);
        unpacks(Codec::Lzo, &["lzop", "-CC", "--crc32", "-c"], &input);
    }
}

#[test]
fn unpacks_every_block_size_of_bzip2() {
    for input in inputs() {
        unpacks(Codec::Bzip2, &["bzip2", "-1", "-c"], &input);
        unpacks(Codec::Bzip2, &["bzip2", "-9", "-c"], &input);
    }
}

#[test]
fn detects_every_codec_and_nothing_else() {
    for codec in Codec::ALL {
        assert_eq!(Codec::detect(&pack(codec, b"kernel")), Some(codec));
        assert_eq!(codec.to_string(), codec.name());
    }
    for other in [
        &b""[..],
        &[0x1f],
        b"MZ",
        &[0x1f, 0x9e],
        &0x184d_2204_u32.to_le_bytes(),
    ] {
        assert_eq!(Codec::detect(other), None, "{other:?}");
    }
}
