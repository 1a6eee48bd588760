//! What the system's compressors write unpacks to what went in.

use std::io::Write;
use std::process::{Command, Stdio};

use kpeel_codec::{Codec, Limits, decompress};

/// Runs a compressor as a filter; a missing one fails the test by the name of its Debian package.
fn filter(package: &str, command: &[&str], input: &[u8]) -> Vec<u8> {
    let (program, arguments) = command.split_first().expect("a command");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}: install the Debian package {package}"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("the compressor runs");
    writer
        .join()
        .expect("no panic")
        .expect("the compressor reads its input");
    assert!(output.status.success(), "{command:?}: {}", output.status);
    output.stdout
}

fn sample() -> Vec<u8> {
    let mut state = 1_u32;
    (0..3_000_000_u32)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if state >> 30 == 0 {
                (state >> 16) as u8
            } else {
                (i >> 6) as u8
            }
        })
        .collect()
}

#[test]
fn unpacks_gzip() {
    let sample = sample();
    let packed = filter("gzip", &["gzip", "-9c"], &sample);
    assert!(decompress(Codec::Gzip, &packed, &Limits::default()).unwrap() == sample);
}

#[test]
fn unpacks_zstd_22() {
    let sample = sample();
    let packed = filter("zstd", &["zstd", "-22", "--ultra", "-c"], &sample);
    assert!(decompress(Codec::Zstd, &packed, &Limits::default()).unwrap() == sample);
}

#[test]
fn unpacks_lz4_legacy() {
    let sample = sample();
    let packed = filter("lz4", &["lz4", "-l", "-9", "-c"], &sample);
    assert!(decompress(Codec::Lz4, &packed, &Limits::default()).unwrap() == sample);
}

#[test]
fn unpacks_lzop() {
    let sample = sample();
    let packed = filter("lzop", &["lzop", "-9c"], &sample);
    assert!(decompress(Codec::Lzo, &packed, &Limits::default()).unwrap() == sample);
}

#[test]
fn unpacks_bzip2() {
    let sample = sample();
    let packed = filter("bzip2", &["bzip2", "-9c"], &sample);
    assert!(decompress(Codec::Bzip2, &packed, &Limits::default()).unwrap() == sample);
}

#[test]
fn unpacks_lzma() {
    let sample = sample();
    let packed = filter("xz-utils", &["xz", "--format=lzma", "-9c"], &sample);
    assert!(decompress(Codec::Lzma, &packed, &Limits::default()).unwrap() == sample);
}

#[test]
fn unpacks_xz_of_every_filter_and_check() {
    let sample = sample();
    let filters = [
        "--x86",
        "--arm",
        "--armthumb",
        "--arm64",
        "--powerpc",
        "--ia64",
        "--sparc",
        "--delta=dist=3",
    ];
    for check in ["none", "crc32", "crc64", "sha256"] {
        for filter_option in filters {
            let check = format!("--check={check}");
            let command = [
                "xz",
                "-c",
                &check,
                filter_option,
                "--lzma2=preset=1,dict=128MiB",
            ];
            let packed = filter("xz-utils", &command, &sample);
            let unpacked = decompress(Codec::Xz, &packed, &Limits::default());
            assert!(unpacked.unwrap() == sample, "{command:?}");
        }
    }
}
