//! Good, truncated, corrupt and oversized streams, and what is said of each. The same table holds for the build with
//! C decoders and for the build without: run it with and without `--no-default-features`.

mod support;

use kpeel_codec::{Bound, Codec, Error, Limits, decompress};
use support::gives::Gives::{Bytes, Malformed};
use support::gives::{MIB, check, gives, with, within};
use support::{Random, pack, sample};

#[test]
fn ignores_what_follows_the_stream() {
    let input = sample(50_000);
    let len = (input.len() as u32).to_le_bytes();
    for codec in Codec::ALL {
        let packed = pack(codec, &input);
        gives(codec, "nothing", &packed, Bytes(&input));
        for (name, tail) in [
            ("a zero", &[0; 1][..]),
            ("zeros", &[0; 5000]),
            ("the unpacked size, as Linux appends it", &len),
        ] {
            gives(codec, name, &[&packed, tail].concat(), Bytes(&input));
        }
        let junk = [&packed[..], b"anything else"].concat();
        match codec {
            Codec::Lz4 => gives(codec, "junk", &junk, Malformed("chunk length")),
            _ => gives(codec, "junk", &junk, Bytes(&input)),
        }
        let twice = [&packed[..], &packed].concat();
        match codec {
            Codec::Lz4 => gives(
                codec,
                "twice",
                &twice,
                Bytes(&[&input[..], &input].concat()),
            ),
            _ => gives(codec, "twice", &twice, Bytes(&input)),
        }
    }
}

#[test]
fn refuses_every_truncation() {
    for codec in Codec::ALL {
        for input in [&b""[..], b"kernel", &sample(3000)] {
            let packed = pack(codec, input);
            for len in 0..packed.len() {
                // LZ4 legacy has no end mark: without its only chunk it is an empty frame.
                if codec == Codec::Lz4 && len == 4 {
                    gives(codec, "no chunk", &packed[..len], Bytes(b""));
                    continue;
                }
                match decompress(codec, &packed[..len], &Limits::default()) {
                    Err(error @ Error::Malformed { offset, .. }) => {
                        assert!(offset <= len as u64, "{error}, of {len} bytes");
                    }
                    other => panic!("{codec}, {len} of {} bytes: {other:?}", packed.len()),
                }
            }
        }
    }
}

#[test]
fn refuses_every_flipped_byte_or_gives_the_same_bytes() {
    let input = sample(1500);
    for codec in Codec::ALL {
        let packed = pack(codec, &input);
        for at in 0..packed.len() {
            let flipped = with(&packed, at, &[packed[at] ^ 0x55]);
            match decompress(codec, &flipped, &Limits::default()) {
                Err(_) => {}
                // Times, names, levels and padding are not content; lz4 and lzma have no checksum.
                Ok(bytes) => assert!(
                    bytes == input || matches!(codec, Codec::Lz4 | Codec::Lzma),
                    "{codec}: byte {at} of {}",
                    packed.len()
                ),
            }
        }
    }
}

#[test]
fn refuses_other_codecs_by_their_magic() {
    for codec in Codec::ALL {
        gives(
            codec,
            "nothing",
            b"",
            match codec {
                Codec::Lzma => Malformed("properties"),
                _ => Malformed("magic"),
            },
        );
        for other in Codec::ALL.into_iter().filter(|&other| other != codec) {
            let packed = pack(other, b"kernel");
            match codec {
                // The first byte of .lzma is a number below 225; few magics start with more.
                Codec::Lzma => assert!(decompress(codec, &packed, &Limits::default()).is_err()),
                _ => gives(codec, other.name(), &packed, Malformed("magic")),
            }
        }
    }
}

#[test]
fn takes_the_limit_and_not_a_byte_more() {
    for codec in Codec::ALL {
        for input in [
            sample(100_000),
            Random::new(1).bytes(70_000),
            vec![b'x'; 300_000],
        ] {
            let packed = pack(codec, &input);
            let len = input.len() as u64;
            check(codec, "all", &packed, &within(len), Bytes(&input));
            for less in [len - 1, len / 2, 1, 0] {
                match decompress(codec, &packed, &within(less)) {
                    Err(Error::Limit {
                        bound: Bound::Output,
                        asked,
                        allowed,
                        ..
                    }) => {
                        assert!(
                            allowed == less && asked > less && asked <= len,
                            "{codec}: {asked}"
                        );
                    }
                    other => panic!(
                        "{codec}, {less} of {len}: {:?}",
                        other.map(|bytes| bytes.len())
                    ),
                }
            }
        }
        check(
            codec,
            "nothing of nothing",
            &pack(codec, b""),
            &within(0),
            Bytes(b""),
        );
    }
}

#[test]
fn stops_bombs_at_the_limit() {
    let bomb = vec![0; 64 << 20];
    for codec in Codec::ALL {
        let packed = pack(codec, &bomb);
        match decompress(codec, &packed, &within(MIB)) {
            Err(Error::Limit {
                bound: Bound::Output,
                allowed: MIB,
                ..
            }) => {}
            other => panic!("{codec}: {:?}", other.map(|bytes| bytes.len())),
        }
        assert!(
            decompress(codec, &packed, &within(64 * MIB)).as_deref() == Ok(&bomb[..]),
            "{codec}"
        );
    }
}
