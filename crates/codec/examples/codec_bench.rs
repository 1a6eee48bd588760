//! Times this crate's decoders against the system's tools on a file given as argument.
//!
//! `cargo run --release -p kpeel-codec --example codec_bench -- FILE`, with and without `--no-default-features`.
//! Each codec's tool packs the file; then tool and decoder unpack it in turns. Printed is the best of the runs, in
//! MB/s of CPU time of this process and of wall time of the tool, which also reads and writes.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kpeel_codec::{Codec, Limits, decompress};

const RUNS: usize = 5;
const TOOLS: [(Codec, &str, &[&str]); 8] = [
    (Codec::Gzip, "gzip", &["gzip", "-9"]),
    (Codec::Zstd, "zstd", &["zstd", "-q", "-19"]),
    (Codec::Xz, "xz", &["xz", "-6", "-T1"]),
    (
        Codec::Xz,
        "xz",
        &[
            "xz",
            "-T1",
            "--check=crc32",
            "--arm64",
            "--lzma2=preset=6,lc=2,lp=2",
        ],
    ),
    (Codec::Lzma, "xz", &["xz", "--format=lzma", "-6"]),
    (Codec::Lz4, "lz4", &["lz4", "-l", "-9"]),
    (Codec::Lzo, "lzop", &["lzop", "-9"]),
    (Codec::Bzip2, "bzip2", &["bzip2", "-9"]),
];

fn filter(command: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", command[0]));
    let mut stdin = child.stdin.take().expect("piped");
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).expect("the tool reads"));
        child.wait_with_output().expect("the tool runs").stdout
    })
}

fn time<T>(run: impl Fn() -> T) -> Duration {
    let start = Instant::now();
    drop(run());
    start.elapsed()
}

fn main() {
    let path = std::env::args().nth(1).expect("usage: codec_bench FILE");
    let data = std::fs::read(&path).expect("the file is readable");
    let rate = |time: Duration| data.len() as f64 / 1e6 / time.as_secs_f64();
    println!(
        "{path}, {} bytes, native: {}",
        data.len(),
        cfg!(feature = "native")
    );
    for (codec, tool, command) in TOOLS {
        let packed = filter(command, &data);
        assert!(decompress(codec, &packed, &Limits::default()).expect("intact") == data);
        let best = |run: &dyn Fn()| (0..RUNS).map(|_| time(run)).min().expect("some runs");
        let ours = best(&|| drop(decompress(codec, &packed, &Limits::default())));
        let tools = best(&|| drop(filter(&[tool, "-d"], &packed)));
        let (ours, tools) = (rate(ours), rate(tools));
        println!(
            "{:40} {:10} bytes  ours {ours:7.1} MB/s  tool {tools:7.1} MB/s  x {:.2}",
            command.join(" "),
            packed.len(),
            ours / tools
        );
    }
}
