//! What the encoders pack, the system's tools unpack.
#![cfg(feature = "encode")]

mod support;

use kpeel_codec::{Branch, Codec, Error, Limits, compress, compress_xz, decompress};
use support::{Random, branches, filter, sample};

fn unpack(codec: Codec, packed: &[u8]) -> Vec<u8> {
    filter(
        match codec {
            Codec::Gzip => &["gzip", "-dc"],
            Codec::Zstd => &["zstd", "-qdc"],
            Codec::Xz => &["xz", "-dc"],
            Codec::Lzma => &["xz", "--format=lzma", "-dc"],
            Codec::Lz4 => &["lz4", "-dc"],
            Codec::Lzo => &["lzop", "-dc"],
            Codec::Bzip2 => &["bzip2", "-dc"],
        },
        packed,
    )
}

fn levels(codec: Codec) -> [u32; 3] {
    match codec {
        Codec::Gzip => [0, 9, 12],
        Codec::Zstd => [1, 19, 22],
        Codec::Bzip2 => [1, 5, 9],
        _ => [0, 6, 9],
    }
}

#[test]
fn tools_unpack_what_the_encoders_pack() {
    let inputs = [
        Vec::new(),
        b"kernel".to_vec(),
        sample(700_000),
        Random::new(1).bytes(300_000),
        vec![0; 1 << 20],
    ];
    for codec in Codec::ALL {
        for (level, input) in levels(codec)
            .into_iter()
            .flat_map(|level| inputs.iter().map(move |i| (level, i)))
        {
            let packed = compress(codec, level, input).unwrap();
            assert!(
                unpack(codec, &packed) == *input,
                "{codec} -{level}, {} bytes",
                input.len()
            );
            assert!(
                decompress(codec, &packed, &Limits::default()).as_ref() == Ok(input),
                "{codec}"
            );
        }
    }
}

#[test]
fn refuses_levels_that_a_codec_does_not_have() {
    for codec in Codec::ALL {
        let refused = compress(codec, 23, b"kernel");
        assert!(
            matches!(refused, Err(Error::Unsupported { field: "level", .. })),
            "{codec}"
        );
    }
    assert!(compress(Codec::Zstd, 0, b"kernel").is_err());
    assert!(compress(Codec::Bzip2, 0, b"kernel").is_err());
}

#[test]
fn undoes_every_branch_filter_of_liblzma() {
    use Branch::{Arm, Arm64, ArmThumb, Ia64, PowerPc, RiscV, Sparc, X86};
    for (seed, branch) in [X86, PowerPc, Ia64, Arm, ArmThumb, Sparc, Arm64, RiscV]
        .into_iter()
        .enumerate()
    {
        for len in [0, 5, 8, 11, 100_003] {
            let input = branches(len, seed as u64);
            let packed = compress_xz(Some(branch), 0, &input).unwrap();
            let plain = compress_xz(None, 0, &input).unwrap();
            assert!(len < 1000 || packed != plain, "{branch:?} changes nothing");
            let unpacked = decompress(Codec::Xz, &packed, &Limits::default()).unwrap();
            assert!(unpacked == input, "{branch:?}, {len} bytes");
        }
    }
}
