//! Every field of lz4, lzop and bzip2 that can be wrong, and what is said of it. The same table holds for the build
//! with C decoders and for the build without: run it with and without `--no-default-features`.

mod support;

use kpeel_codec::{Codec, Limits, decompress};
use support::gives::Gives::{Bytes, Malformed, Unsupported};
use support::gives::{gives, with};
use support::{filter, pack, sample};

#[test]
fn lz4_fields() {
    let (codec, input) = (Codec::Lz4, sample(9 << 20));
    let row = |name, stream: &[u8], wanted| gives(codec, name, stream, wanted);
    let packed = pack(codec, &input);
    let first = 8 + u32::from_le_bytes(packed[4..8].try_into().unwrap()) as usize;
    let chunk = |len: u32| with(&packed, 4, &len.to_le_bytes());
    row("two chunks", &packed, Bytes(&input));
    row(
        "a chunk length over 8 MiB",
        &chunk(0x0090_0000),
        Malformed("chunk length"),
    );
    row(
        "a chunk past the end",
        &chunk(0x0080_8000),
        Malformed("chunk"),
    );
    row("a short chunk", &chunk(1000), Malformed("chunk"));
    row(
        "a chunk length cut",
        &packed[..first + 3],
        Malformed("chunk length"),
    );
    row(
        "a zero length ends it",
        &[&packed[..first], &[0; 4], b"junk"].concat(),
        Bytes(&input[..8 << 20]),
    );
    row("the magic only", &packed[..4], Bytes(b""));
    let size = (input.len() as u32).to_le_bytes();
    row(
        "size behind it",
        &[&packed[..], &size].concat(),
        Bytes(&input),
    );
    row(
        "another number behind it",
        &[&packed[..], &[size[0] ^ 1, 1, 1, 1]].concat(),
        Malformed("chunk length"),
    );
}

#[test]
fn lzo_fields() {
    let (codec, input) = (Codec::Lzo, sample(30_000));
    let row = |name, stream: &[u8], wanted| gives(codec, name, stream, wanted);
    let packed = pack(codec, &input);
    // Magic 0, version 9, lib 11, needed 13, method 15, level 16, flags 17, mode and time 21, name 33, checksum.
    let header = |at: usize, new: &[u8]| {
        let mut packed = with(&packed, at, new);
        let end = 34 + usize::from(packed[33]);
        let sum = adler2::adler32_slice(&packed[9..end]).to_be_bytes();
        packed[end..end + 4].copy_from_slice(&sum);
        packed
    };
    row("version", &header(9, &[8, 0]), Unsupported("version"));
    row("method", &header(15, &[4]), Unsupported("method"));
    row("filter", &header(19, &[0x08]), Unsupported("filter flag"));
    row(
        "several files",
        &header(19, &[0x04]),
        Unsupported("multipart flag"),
    );
    row(
        "header checksum",
        &with(&packed, 21, &[1]),
        Malformed("header checksum"),
    );
    let block = 38 + usize::from(packed[33]);
    row(
        "block of 1 GiB",
        &with(&packed, block, &[0x40]),
        Malformed("block length"),
    );
    row(
        "block that its bytes cannot fill",
        &with(&packed, block, &[3]),
        Malformed("block length"),
    );
    row(
        "packed length 0",
        &with(&packed, block + 4, &[0; 4]),
        Malformed("block length"),
    );
    row(
        "longer than unpacked",
        &with(&packed, block + 4, &[1]),
        Malformed("packed block length"),
    );
    let sum = block + 8;
    row(
        "checksum",
        &with(&packed, sum, &[packed[sum] ^ 1]),
        Malformed("adler32 of the unpacked block"),
    );
    let checked = filter(&["lzop", "-CC", "-c"], &input);
    let last = checked.len() - 8;
    row("packed checksum", &checked, Bytes(&input));
    row(
        "packed checksum",
        &with(&checked, last, &[checked[last] ^ 1]),
        Malformed("checksum of the packed block"),
    );
    row(
        "no end mark",
        &packed[..packed.len() - 4],
        Malformed("block length"),
    );
}

/// What is told of a stream that breaks a bound.
fn told(codec: Codec, stream: &[u8]) -> String {
    let error = decompress(codec, stream, &Limits::default()).unwrap_err();
    let told = error.to_string();
    told.split_once(": found ").unwrap().1.to_owned()
}

#[test]
fn bounds_are_told_as_bounds() {
    let lz4 = [&[0x02, 0x21, 0x4c, 0x18][..], &[0xff, 0xff, 0xff, 0x7f]].concat();
    let needed = "2147483647 bytes, needed at most 8421520 (0x808090)";
    assert_eq!(told(Codec::Lz4, &lz4), needed);
    // A window of 1 KiB, then the last block: stored, of 1025 bytes.
    let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0x09, 0x20, 0];
    let needed = "1025 bytes, needed at most 1024 (0x400)";
    assert_eq!(told(Codec::Zstd, &zstd), needed);
    let lzo = pack(Codec::Lzo, &sample(30_000));
    let block = 38 + usize::from(lzo[33]);
    let lengths = |unpacked: u32, packed: u32| {
        let lengths = [unpacked.to_be_bytes(), packed.to_be_bytes()].concat();
        told(Codec::Lzo, &with(&lzo, block, &lengths))
    };
    for (unpacked, packed, needed) in [
        (
            1 << 30,
            9,
            "1073741824 bytes, needed at most 67108864 (0x4000000)",
        ),
        (5, 6, "6 bytes, needed at most 5 (0x5)"),
        (5, 0, "0 bytes, needed 1 byte or more"),
    ] {
        assert_eq!(lengths(unpacked, packed), needed);
    }
    let old = told(Codec::Lzo, &with(&lzo, 9, &[8, 0xff]));
    assert_eq!(old, "0x8ff, needed 0x900 or later");
}

#[test]
fn bzip2_fields() {
    let (codec, input) = (Codec::Bzip2, sample(30_000));
    let row = |name, stream: &[u8], wanted| gives(codec, name, stream, wanted);
    let packed = pack(codec, &input);
    row("block size 1", &with(&packed, 3, b"1"), Bytes(&input));
    row(
        "block size 0",
        &with(&packed, 3, b"0"),
        Malformed("block size"),
    );
    row("block magic", &with(&packed, 4, b"2"), Malformed("block"));
    row(
        "block crc",
        &with(&packed, 10, &[packed[10] ^ 1]),
        Malformed("block"),
    );
    let last = packed.len() - 2;
    row(
        "stream crc",
        &with(&packed, last, &[packed[last] ^ 1]),
        Malformed("block"),
    );
}
