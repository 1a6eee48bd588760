//! Linux's decompressors, patched as `linux/patches` does, over intact, damaged and hostile streams, under the address
//! and undefined behaviour sanitizers. A report, a leak, a warning or an unexpected result fails.
//!
//! `KPEEL_DAMAGE` is how many damaged streams there are of each codec.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kpeel_images::make::{Codec, Machine, noise, text};
use kpeel_kernel::harness;

/// Results of `kexec_pe_decompress`, as Linux numbers them.
const OK: i32 = 0;
const EINTR: i32 = 4;
const EFBIG: i32 = 27;
const EBADMSG: i32 = 74;
const EPROTONOSUPPORT: i32 = 93;

const MIB: usize = 1 << 20;
const LIMIT: usize = 4 * MIB;
/// Longer than any decompression may take, in milliseconds.
const LONGEST: u64 = 5000;

fn program() -> PathBuf {
    harness().unwrap()
}

fn run(program: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {report}");
    output
}

/// The result's number and what was unpacked.
fn decode(program: &Path, limit: usize, stream: &[u8]) -> (i32, Vec<u8>) {
    let output = run(program, &["decode", &limit.to_string()], stream);
    let number = String::from_utf8_lossy(&output.stderr);
    (number.trim().parse().unwrap(), output.stdout)
}

fn sample() -> Vec<u8> {
    let mut bytes = text(150_000);
    bytes.extend(noise(30_000, 1));
    bytes.extend(vec![0; 60_000]);
    bytes.extend(text(10_000));
    bytes
}

fn packed(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    codec.compress(Machine::Amd64, bytes).unwrap()
}

#[test]
fn intact_streams_give_what_the_tools_packed() {
    let (program, sample) = (program(), sample());
    for codec in Codec::ALL {
        let stream = packed(codec, &sample);
        assert!(
            decode(&program, LIMIT, &stream) == (OK, sample.clone()),
            "{codec:?}"
        );
        // Exactly as much as the limit allows, and one byte more.
        assert_eq!(decode(&program, sample.len(), &stream).0, OK, "{codec:?}");
        assert_eq!(
            decode(&program, sample.len() - 1, &stream).0,
            EFBIG,
            "{codec:?}"
        );
    }
}

#[test]
fn every_gzip_header_field_is_skipped() {
    let (program, sample) = (program(), sample());
    let plain = packed(Codec::Gzip, &sample);
    let fields: [(u8, &[u8]); 4] = [
        (0x02, b"\x12\x34"),
        (0x04, b"\x03\x00abc"),
        (0x08, b"name\0"),
        (0x10, b"comment\0"),
    ];
    for (flag, field) in fields {
        let mut stream = plain[..10].to_vec();
        stream[3] = flag;
        stream.extend(field);
        stream.extend(&plain[10..]);
        assert!(
            decode(&program, LIMIT, &stream) == (OK, sample.clone()),
            "{flag:#x}"
        );
    }
    let mut reserved = plain;
    reserved[3] = 0x20;
    assert_eq!(decode(&program, LIMIT, &reserved).0, EBADMSG);
}

#[test]
fn damaged_streams_end_in_an_error_or_in_time() {
    let count = std::env::var("KPEEL_DAMAGE").unwrap_or_else(|_| "100".to_owned());
    let (program, sample) = (program(), sample());
    for (seed, codec) in Codec::ALL.into_iter().enumerate() {
        let stream = packed(codec, &sample);
        let arguments = ["damage", &count, &seed.to_string(), &LIMIT.to_string()];
        let output = run(&program, &arguments, &stream);
        let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        println!("{codec:?}: {line}");
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[..2], ["cases", &count], "{codec:?}: {line}");
        let longest: u64 = words[3].parse().unwrap();
        assert!(longest < LONGEST, "{codec:?}: {line}");
        for result in &words[6..] {
            let number: i32 = result.split(':').next().unwrap().parse().unwrap();
            let expected = [OK, EINTR, EFBIG, EBADMSG, EPROTONOSUPPORT];
            assert!(expected.contains(&number), "{codec:?}: {line}");
        }
    }
}

#[test]
fn truncated_streams_are_malformed() {
    let (program, sample) = (program(), sample());
    for codec in Codec::ALL {
        // Legacy lz4 has no end mark: what is cut off between chunks is not missed.
        let stream = packed(codec, &sample);
        for len in [20, stream.len() / 2, stream.len() - 9, stream.len() - 1] {
            let (result, _) = decode(&program, LIMIT, &stream[..len]);
            assert_eq!(result, EBADMSG, "{codec:?} cut at {len}");
        }
    }
}

#[test]
fn bombs_end_at_the_limit() {
    let (program, zeros) = (program(), vec![0; 24 * MIB]);
    for codec in Codec::ALL {
        let stream = packed(codec, &zeros);
        assert!(stream.len() < MIB, "{codec:?}");
        assert_eq!(decode(&program, LIMIT, &stream).0, EFBIG, "{codec:?}");
        assert_eq!(decode(&program, 24 * MIB, &stream).0, OK, "{codec:?}");
    }
}

#[test]
fn dictionaries_beyond_the_bound_are_refused_and_tiny_ones_are_taken() {
    let (program, sample) = (program(), sample());
    let lzma = packed(Codec::Lzma, &sample);
    let small = packed(Codec::Lzma, &noise(3000, 2));
    let with = |stream: &[u8], size: u32| {
        let mut stream = stream.to_vec();
        stream[1..5].copy_from_slice(&size.to_le_bytes());
        decode(&program, LIMIT, &stream).0
    };
    assert_eq!(with(&lzma, 1 << 27), OK);
    // The codec is told by a zero in the lowest byte.
    for size in [(1 << 27) + 256, 1 << 30, 1 << 31, u32::MAX << 8] {
        assert_eq!(with(&lzma, size), EFBIG, "{size:#x}");
    }
    for size in [0, 256, 4096] {
        assert_eq!(with(&small, size), OK, "{size:#x}");
    }
    // Distances that do not fit into the dictionary.
    assert_eq!(with(&lzma, 0), EBADMSG);

    // A Zstandard frame: descriptor without content size, window, one raw last block of one byte.
    let zstd = |window: u8| {
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, window, 0x09, 0, 0, b'x'];
        decode(&program, LIMIT, &frame).0
    };
    assert_eq!(zstd(17 << 3), OK);
    assert_eq!(zstd(17 << 3 | 1), EFBIG);
    assert_eq!(zstd(0xff), EFBIG);

    let xz = packed(Codec::Xz, &sample);
    // The block header: its size, flags, x86 filter, LZMA2 filter with one byte of properties; then its CRC32.
    let with = |bits: u8| {
        let mut stream = xz.clone();
        let size = (usize::from(stream[12]) + 1) * 4;
        let at = (14..12 + size)
            .find(|&at| stream[at..at + 2] == [0x21, 1])
            .unwrap();
        stream[at + 2] = bits;
        let sum = crc32(&stream[12..12 + size - 4]);
        stream[12 + size - 4..12 + size].copy_from_slice(&sum.to_le_bytes());
        decode(&program, LIMIT, &stream).0
    };
    assert_eq!(with(30), OK);
    assert_eq!(with(31), EFBIG);
    assert_eq!(with(39), EFBIG);
    // 4 GiB less one byte has a number of its own, which lib/xz does not know.
    assert_eq!(with(40), EPROTONOSUPPORT);
}

#[test]
fn an_lz4_chunk_may_not_be_longer_than_the_input() {
    let (program, sample) = (program(), sample());
    let stream = packed(Codec::Lz4, &sample);
    let len = u32::from_le_bytes(stream[4..8].try_into().unwrap());
    let with = |len: u32| {
        let mut stream = stream.clone();
        stream[4..8].copy_from_slice(&len.to_le_bytes());
        decode(&program, LIMIT, &stream).0
    };
    assert_eq!(with(len), OK);
    for wrong in [len + 1, 16 * MIB as u32, i32::MAX as u32, u32::MAX] {
        assert_eq!(with(wrong), EBADMSG, "{wrong:#x}");
    }
}

#[test]
fn a_wrong_gzip_trailer_is_malformed() {
    let (program, sample) = (program(), sample());
    let stream = packed(Codec::Gzip, &sample);
    for from_end in 1..=8 {
        let mut damaged = stream.clone();
        let at = damaged.len() - from_end;
        damaged[at] ^= 1;
        assert_eq!(decode(&program, LIMIT, &damaged).0, EBADMSG, "{from_end}");
    }
}

#[test]
fn unknown_codecs_are_unsupported() {
    let program = program();
    for input in [
        &b"MZ"[..],
        b"\x04\x22\x4d\x18 an lz4 frame that is not legacy",
        b"",
    ] {
        assert_eq!(decode(&program, LIMIT, input).0, EPROTONOSUPPORT);
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
    !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
