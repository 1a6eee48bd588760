//! What the tests share: the system's tools as independent oracles, and bytes to pack.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod gives;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use kpeel_codec::Codec;

/// Which Debian package has a tool.
fn package(tool: &str) -> &str {
    match tool {
        "xz" => "xz-utils",
        tool => tool,
    }
}

/// Runs a tool as a filter. A tool that is missing or fails fails the test.
pub fn filter(command: &[&str], input: &[u8]) -> Vec<u8> {
    let output = piped(command, input);
    assert!(output.status.success(), "{command:?}: {}", output.status);
    output.stdout
}

/// What a tool makes of the input; `None` where it refuses it. A tool that is missing fails the test.
pub fn if_taken(command: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let output = piped(command, input);
    output.status.success().then_some(output.stdout)
}

fn piped(command: &[&str], input: &[u8]) -> Output {
    let (tool, arguments) = command.split_first().expect("a command");
    let mut child = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "{tool}: {error}; this test needs the Debian package {}",
                package(tool)
            )
        });
    let mut stdin = child.stdin.take().expect("piped");
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().expect("the tool runs")
    })
}

/// Packs with the codec's own tool, as Linux' build does.
pub fn pack(codec: Codec, input: &[u8]) -> Vec<u8> {
    filter(
        match codec {
            Codec::Gzip => &["gzip", "-n", "-9", "-c"],
            Codec::Zstd => &["zstd", "-q", "-19", "-c"],
            Codec::Xz => &["xz", "--check=crc32", "-6", "-c"],
            Codec::Lzma => &["xz", "--format=lzma", "-6", "-c"],
            Codec::Lz4 => &["lz4", "-l", "-9", "-c"],
            Codec::Lzo => &["lzop", "-9", "-c"],
            Codec::Bzip2 => &["bzip2", "-9", "-c"],
        },
        input,
    )
}

/// A small generator of numbers that look random; the same for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 32) as u8).collect()
    }
}

/// Bytes with the properties of a kernel: text, tables, zeros, code, and noise that does not pack.
pub fn sample(len: usize) -> Vec<u8> {
    const WORDS: [&str; 8] = [
        "initrd",
        "kernel",
        "page ",
        "\0\0\0\0\0\0\0\0",
        "driver_",
        "%s: ",
        "error\n",
        "0x%08x",
    ];
    let mut random = Random::new(7);
    let mut bytes = Vec::with_capacity(len + 64);
    while bytes.len() < len {
        match random.below(16) {
            0 => {
                let count = random.below(40);
                bytes.extend(random.bytes(count));
            }
            1 if bytes.len() > 5000 => {
                let from = random.below(bytes.len() - 4096);
                bytes.extend_from_within(from..from + 3 + random.below(300));
            }
            2 => bytes.extend([0; 64]),
            3 => bytes.extend((0x9400_0000 | random.below(5000) as u32).to_le_bytes()),
            4 => bytes.extend((bytes.len() as u32).to_le_bytes()),
            _ => bytes.extend(WORDS[random.below(WORDS.len())].as_bytes()),
        }
    }
    bytes.truncate(len);
    bytes
}

/// Bytes dense with what every branch filter looks for, at all alignments, and with what only looks so.
pub fn branches(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(len + 64);
    while bytes.len() < len {
        let word = random.next() as u32;
        let extreme = if word & 1 == 0 { 0 } else { 0xff };
        let [a, b, c, d] = word.to_le_bytes();
        match random.below(12) {
            0 => bytes.extend([0xe8 | a & 1, b, c, d, extreme]),
            1 => bytes.extend([a, b, c, 0xeb]),
            2 => bytes.extend([a, 0xf0 | b & 7, c, 0xf8 | d & 7]),
            3 => bytes.extend((0x9400_0000 | word & 0x03ff_ffff).to_le_bytes()),
            4 => bytes.extend(
                (0x9000_0000 | word & 0x6000_ffff | (0x00e0_0000 * (word & 1))).to_le_bytes(),
            ),
            5 => bytes.extend((0x4800_0001 | word & 0x03ff_fffc).to_be_bytes()),
            6 => bytes.extend((0x4000_0000 | word & 0x003f_ffff).to_be_bytes()),
            7 => bytes.extend((0x7fc0_0000 | word & 0x003f_ffff).to_be_bytes()),
            8 => {
                let slot = |n: u64| 5 << 37 | n & 0x1f_ffff_e03f;
                let [x, y, z] = [0; 3].map(|_: u8| u128::from(slot(random.next())));
                let bundle = u128::from(0x10 | a & 0xf) | x << 5 | y << 46 | z << 87;
                bytes.resize(bytes.len().next_multiple_of(16), 0);
                bytes.extend(bundle.to_le_bytes());
            }
            9 => bytes.extend((0x0000_00ef | word & 0xffff_f280).to_le_bytes()),
            10 => {
                let register = if word & 1 == 0 {
                    1_u32
                } else {
                    random.below(32) as u32
                };
                bytes.extend((0x17 | register << 7 | word & 0xffff_f000).to_le_bytes());
                let low = (random.next() as u32) & 0xfff0_7fff;
                bytes.extend((low & 0xfff0_0000 | register << 15 | 0x67).to_le_bytes());
            }
            _ => bytes.extend(&[a, b, c, d][..1 + random.below(4)]),
        }
    }
    bytes.truncate(len);
    bytes
}

/// Changes `bytes` in one to four places: flips, overwrites, removes, repeats, or cuts short.
pub fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            return bytes;
        }
        // Headers and tables are at the front; half of the changes go there.
        let reach = if random.below(2) == 0 {
            bytes.len().min(64)
        } else {
            bytes.len()
        };
        let at = random.below(reach);
        let count = (1 + random.below(8)).min(bytes.len() - at);
        match random.below(8) {
            0..=2 => bytes[at] ^= 1 << random.below(8),
            3 | 4 => bytes[at] = [0, 0xff, 0x7f, 0x80][random.below(4)],
            5 => bytes[at..at + count].copy_from_slice(&random.bytes(count)),
            6 if random.below(4) == 0 => bytes.truncate(at),
            6 => drop(bytes.drain(at..at + count)),
            _ => bytes.extend_from_within(at..at + count),
        }
    }
    bytes
}
