//! Every field of gzip, zstd, xz and lzma that can be wrong, and what is said of it: the field where this crate reads
//! it, the class of error where a library does. The same table holds for the build with
//! C decoders and for the build without: run it with and without `--no-default-features`.

mod support;

use kpeel_codec::{Bound, Codec, Error, Limits, decompress};
use support::gives::Gives::{self, Broken, Bytes, Malformed, Unsupported};
use support::gives::{MIB, check, crc32, gives, with, within};
use support::{Random, filter, pack, sample};

#[test]
fn gzip_fields() {
    let (codec, input) = (Codec::Gzip, sample(2000));
    let packed = pack(codec, &input);
    let (header, data) = packed.split_at(10);
    let end = packed.len();
    let row = |name, stream: &[u8], wanted| gives(codec, name, stream, wanted);
    let len = input.len() as u32;

    let all: Vec<u8> = [
        &with(header, 3, &[0b1_1110])[..],
        &[3, 0],
        b"abc",
        b"name\0",
        b"comment\0",
    ]
    .concat();
    let sum = &crc32(&all)[..2];
    row(
        "all optional fields",
        &[&all, sum, data].concat(),
        Bytes(&input),
    );
    row(
        "header crc",
        &[&all[..], &[sum[0] ^ 1, sum[1]][..], data].concat(),
        Malformed("header crc"),
    );
    row(
        "name without end",
        &with(header, 3, &[8]),
        Malformed("file name"),
    );
    row(
        "reserved flag",
        &with(&packed, 3, &[0x20]),
        Malformed("reserved flags"),
    );
    row("method", &with(&packed, 2, &[7]), Malformed("method"));
    row(
        "crc32",
        &with(&packed, end - 8, &[packed[end - 8] ^ 1]),
        Broken,
    );
    for lie in [len - 1, len + 1, 0, u32::MAX, 1 << 31] {
        row("isize", &with(&packed, end - 4, &lie.to_le_bytes()), Broken);
    }
    row("block type", &with(&packed, 10, &[0b111]), Broken);
    let stored = |len: u16, check: u16| {
        let body = [&[1][..], &len.to_le_bytes(), &check.to_le_bytes(), b"abcd"].concat();
        [header, &body, &crc32(b"abcd"), &4_u32.to_le_bytes()].concat()
    };
    row("stored", &stored(4, !4), Bytes(b"abcd"));
    row("stored length", &stored(4, 4), Broken);
    row("stored past the end", &stored(400, !400), Broken);
    // Fixed codes: a match (length 3, distance 1) with nothing before it.
    row(
        "distance",
        &[header, &[0b0000_0011, 0b0000_0010, 0, 0]].concat(),
        Broken,
    );
}

#[test]
fn zstd_fields() {
    let (codec, input) = (Codec::Zstd, sample(300_000));
    let row = |name, stream: &[u8], wanted| gives(codec, name, stream, wanted);
    let packed = filter(&["zstd", "-q", "-19", "-c"], &input);
    assert_eq!(
        packed[4], 0x04,
        "a frame with checksum and window, without size"
    );
    row(
        "reserved bit",
        &with(&packed, 4, &[0x0c]),
        Malformed("reserved bit"),
    );
    let last = packed.len() - 1;
    row(
        "checksum",
        &with(&packed, last, &[packed[last] ^ 1]),
        Broken,
    );
    row(
        "no checksum",
        &packed[..packed.len() - 1],
        Malformed("content checksum"),
    );
    row(
        "block type",
        &with(&packed, 6, &[packed[6] | 6]),
        Malformed("block type"),
    );
    row(
        "block size",
        &with(&packed, 6, &[packed[6], 0xff, 0xff]),
        Malformed("block size"),
    );

    let window = |log: u8| with(&packed, 5, &[(log - 10) << 3]);
    row("windowLog 27", &window(27), Bytes(&input));
    row(
        "windowLog 28",
        &window(28),
        Gives::Limit(Bound::Window, 256 * MIB),
    );
    row(
        "a bit over windowLog 27",
        &with(&packed, 5, &[17 << 3 | 1]),
        Gives::Limit(Bound::Window, 144 * MIB),
    );
    row(
        "windowLog 41",
        &window(41),
        Gives::Limit(Bound::Window, 1 << 41),
    );

    let dictionary = [&[0x28, 0xb5, 0x2f, 0xfd, 0x05, 0x88, 7][..], &packed[6..]].concat();
    row("dictionary", &dictionary, Unsupported("dictionary id"));
    let none = [&[0x28, 0xb5, 0x2f, 0xfd, 0x05, 0x88, 0][..], &packed[6..]].concat();
    row("no dictionary", &none, Bytes(&input));

    // The same frame, but with a content size of eight bytes.
    let size = |size: u64| {
        [
            &packed[..4],
            &[0xc4, packed[5]],
            &size.to_le_bytes(),
            &packed[6..],
        ]
        .concat()
    };
    let len = input.len() as u64;
    row("true size", &size(len), Bytes(&input));
    row("size too big", &size(len + 1), Broken);
    row("size too small", &size(len - 1), Broken);
    row(
        "size no block holds",
        &size(1 << 29),
        Malformed("content that the blocks can hold"),
    );
    row(
        "size over the limit",
        &size(1 << 40),
        Gives::Limit(Bound::Output, 1 << 40),
    );

    let single = filter(&["zstd", "-q", "-19", "--stream-size=300000", "-c"], &input);
    assert_eq!(single[4] & 0x20, 0x20, "a single segment");
    row("single segment", &single, Bytes(&input));
    let small = Limits {
        window: 299_999,
        ..Limits::default()
    };
    check(
        codec,
        "its window",
        &single,
        &small,
        Gives::Limit(Bound::Window, 300_000),
    );

    let skippable = [
        &[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..],
        &packed,
    ]
    .concat();
    row("skippable frame first", &skippable, Malformed("magic"));
    let raw = |size: u32, last: bool| {
        [
            &[0x28, 0xb5, 0x2f, 0xfd, 0, 0x48][..],
            &(size << 3 | u32::from(last)).to_le_bytes()[..3],
        ]
        .concat()
    };
    row(
        "raw block",
        &[&raw(3, true)[..], b"abc"].concat(),
        Bytes(b"abc"),
    );
    row(
        "no last block",
        &[&raw(3, false)[..], b"abc"].concat(),
        Malformed("block header"),
    );
    row("an empty frame", &raw(0, true), Bytes(b""));
}

/// The first block's header of an .xz, by `change`, with its CRC-32 made right.
fn xz_block_header(packed: &[u8], change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut packed = packed.to_vec();
    let end = 12 + usize::from(packed[12]) * 4;
    change(&mut packed[12..end]);
    let sum = crc32(&packed[12..end]);
    packed[end..end + 4].copy_from_slice(&sum);
    packed
}

/// An .xz of so many blocks without contents (.xz 1.2.1, sections 2.1, 3 and 4).
fn xz_of_nothing(blocks: usize) -> Vec<u8> {
    // CRC-32, which is zero for no contents.
    let flags = [0, 1];
    let summed = |bytes: &[u8]| [bytes, &crc32(bytes)].concat();
    // Size, flags, LZMA2, one byte of properties: 64 KiB.
    let header = summed(&[2, 0, 0x21, 1, 8, 0, 0, 0]);
    let block = [header, vec![0; 4 + 4]].concat();
    // Header, contents' end and check, without padding; unpacked size.
    let records = [12 + 1 + 4, 0].repeat(blocks);
    let mut index = vec![0];
    let mut count = blocks;
    while count >= 0x80 {
        index.push((count & 0x7f) as u8 | 0x80);
        count >>= 7;
    }
    index.push(count as u8);
    index.extend(records);
    index.resize(index.len().next_multiple_of(4), 0);
    let index = summed(&index);
    let backward = u32::try_from(index.len() / 4 - 1).unwrap().to_le_bytes();
    let footer = [&backward[..], &flags].concat();
    [
        &b"\xfd7zXZ\0"[..],
        &summed(&flags),
        &block.repeat(blocks),
        &index,
        &crc32(&footer),
        &footer,
        b"YZ",
    ]
    .concat()
}

/// Each costs the decoder a new dictionary: 18 MB of them took 14 seconds.
#[test]
fn xz_blocks_number_no_more_than_their_contents_are_worth() {
    let many = || Malformed("number of blocks, for what they unpack to");
    let row = |blocks, wanted| gives(Codec::Xz, "empty", &xz_of_nothing(blocks), wanted);
    row(1, Bytes(b""));
    row(64, Bytes(b""));
    row(65, many());
    row(3_000, many());
    // With contents, however little they pack to.
    let input = vec![7; 1 << 20];
    let blocks = |size: usize| {
        let size = format!("--block-size={size}");
        filter(&["xz", "-T1", "-0", &size, "-c"], &input)
    };
    let row = |size, wanted| gives(Codec::Xz, "small", &blocks(size), wanted);
    row(4096, Bytes(&input));
    row(1024, many());
    // It is the average that counts, wherever the small ones stand.
    let list = format!("--block-list={}0", "1024,".repeat(100));
    let uneven = filter(&["xz", "-T1", "-0", &list, "-c"], &input);
    gives(Codec::Xz, "uneven", &uneven, Bytes(&input));
}

#[test]
fn xz_fields() {
    let (codec, input) = (Codec::Xz, sample(100_000));
    let row = |name, stream: &[u8], wanted| gives(codec, name, stream, wanted);
    let packed = pack(codec, &input);
    let end = packed.len();
    // Block header: size, flags, filter id, properties size, dictionary, padding.
    let dictionary = |number: u8| xz_block_header(&packed, |header| header[4] = number);
    row("dictionary of 128 MiB", &dictionary(30), Bytes(&input));
    row(
        "dictionary of 192 MiB",
        &dictionary(31),
        Gives::Limit(Bound::Window, 192 * MIB),
    );
    row(
        "dictionary of 4 GiB",
        &dictionary(40),
        Gives::Limit(Bound::Window, u32::MAX.into()),
    );
    row(
        "dictionary beyond",
        &dictionary(41),
        Unsupported("dictionary size"),
    );
    let told = decompress(codec, &dictionary(41), &Limits::default());
    let told = told.unwrap_err().to_string();
    let needed = "found 0x29, needed at most 40 (0x28)";
    assert!(told.ends_with(needed), "{told}");
    row(
        "two bytes of properties",
        &xz_block_header(&packed, |header| header[3] = 2),
        Unsupported("lzma2 properties size"),
    );
    row(
        "block header crc",
        &with(&packed, 16, &[1]),
        Malformed("block header crc32"),
    );
    row(
        "block flags",
        &xz_block_header(&packed, |h| h[1] |= 4),
        Unsupported("block flags"),
    );
    row(
        "filter",
        &xz_block_header(&packed, |h| h[2] = 0x22),
        Unsupported("last filter id"),
    );
    row(
        "header padding",
        &xz_block_header(&packed, |h| h[6] = 1),
        Unsupported("block header padding"),
    );

    let flags = |check: u8| {
        [
            &packed[..6],
            &[0, check],
            &crc32(&[0, check]),
            &packed[12..],
        ]
        .concat()
    };
    row("check 2", &flags(2), Unsupported("stream flags"));
    row("check 15", &flags(15), Unsupported("stream flags"));
    row("stream flags", &flags(0x11), Unsupported("stream flags"));
    row(
        "stream header crc",
        &with(&packed, 8, &[0]),
        Malformed("stream header crc32"),
    );

    for check in ["crc32", "crc64", "sha256"] {
        // Noise is stored, so any of its bytes can change without harm to LZMA2.
        let noise = Random::new(2).bytes(5000);
        let packed = filter(&["xz", &format!("--check={check}"), "-c"], &noise);
        gives(codec, check, &packed, Bytes(&noise));
        row(check, &with(&packed, 2000, &[packed[2000] ^ 1]), Broken);
    }
    row("lzma2 control", &with(&packed, 24, &[3]), Broken);
    row(
        "lzma2 without properties",
        &with(&packed, 24, &[0x80]),
        Broken,
    );
    row("footer magic", &with(&packed, end - 1, b"z"), Broken);
    row(
        "footer crc",
        &with(&packed, end - 12, &[packed[end - 12] ^ 1]),
        Broken,
    );
    row(
        "index crc",
        &with(&packed, end - 16, &[packed[end - 16] ^ 1]),
        Broken,
    );
    let index = end
        - 12
        - 4 * (1 + u32::from_le_bytes(packed[end - 8..end - 4].try_into().unwrap()) as usize);
    row("index count", &with(&packed, index + 1, &[2]), Broken);
    row(
        "index size",
        &with(&packed, index + 2, &[packed[index + 2] ^ 1]),
        Broken,
    );

    // With -T, blocks declare their sizes.
    let sized = filter(
        &["xz", "--check=crc32", "-T2", "--block-size=40000", "-c"],
        &input,
    );
    assert_eq!(sized[13] & 0xc0, 0xc0);
    row("several blocks", &sized, Bytes(&input));
    let packed_size = xz_block_header(&sized, |header| header[2] ^= 1);
    row("block packed size", &packed_size, Broken);
    let at = if sized[15] < 0x80 { 4 } else { 5 };
    let unpacked_size = xz_block_header(&sized, |header| header[at] ^= 1);
    row("block unpacked size", &unpacked_size, Broken);
    check(
        codec,
        "declared size",
        &sized,
        &within(39_999),
        Gives::Limit(Bound::Output, 40_000),
    );
    let misaligned = filter(
        &["xz", "--check=crc32", "--arm64=start=4", "--lzma2", "-c"],
        &input,
    );
    row("filter start", &misaligned, Bytes(&input));
    let misaligned = xz_block_header(&misaligned, |header| header[4] = 2);
    row("filter start", &misaligned, Unsupported("filter"));
}

#[test]
fn lzma_fields() {
    let (codec, input) = (Codec::Lzma, sample(40_000));
    let row = |name, stream: &[u8], wanted| gives(codec, name, stream, wanted);
    let packed = pack(codec, &input);
    let size = |size: u64| with(&packed, 5, &size.to_le_bytes());
    let len = input.len() as u64;
    row(
        "properties",
        &with(&packed, 0, &[225]),
        Malformed("properties"),
    );
    row("known size and end mark", &size(len), Bytes(&input));
    row("size too small", &size(len - 1), Broken);
    row("size too big", &size(len + 1), Broken);
    row(
        "size over the limit",
        &size(1 << 40),
        Gives::Limit(Bound::Output, 1 << 40),
    );
    let half = decompress(codec, &size(len / 2), &Limits::default());
    assert!(
        matches!(half, Err(Error::Malformed { .. })),
        "half of the size"
    );
    let dictionary = |size: u32| with(&packed, 1, &size.to_le_bytes());
    row("dictionary too small", &dictionary(0), Broken);
    row(
        "lc and lp over 4",
        &with(&packed, 0, &[0x5d + 9 * 2]),
        Unsupported("properties"),
    );
    row(
        "dictionary of 128 MiB",
        &dictionary(128 << 20),
        Bytes(&input),
    );
    row(
        "dictionary of 4 GiB",
        &dictionary(u32::MAX),
        Gives::Limit(Bound::Window, u32::MAX.into()),
    );
    row(
        "first byte of the range coder",
        &with(&packed, 13, &[1]),
        Broken,
    );
    // An empty stream of known size has no symbol at all.
    let empty = [&[0x5d, 0, 0, 1, 0][..], &[0; 8], &[0; 5]].concat();
    row("nothing, of known size", &empty, Bytes(b""));
}
