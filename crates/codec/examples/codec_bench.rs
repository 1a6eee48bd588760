//! Times this crate's decoders against the system's tools on a file given as argument.
//!
//! `cargo run --release -p kpeel-codec --example codec_bench -- FILE`, with and without `--no-default-features`.
//! Each codec's tool packs the file; then decoder and tool unpack it in turns. Printed is the best of the runs in MB/s
//! of CPU time, which for the tool includes its start, reading and writing.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

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

/// CPU time of this process, precise, and of its finished children, in ticks of 10 ms.
fn cpu_times() -> (Duration, Duration) {
    let read = |path| std::fs::read_to_string(path).expect("procfs");
    let own = read("/proc/self/schedstat");
    let own = own
        .split(' ')
        .next()
        .and_then(|ns| ns.parse().ok())
        .expect("nanoseconds");
    let stat = read("/proc/self/stat");
    let fields = stat
        .rsplit(") ")
        .next()
        .expect("fields after the name")
        .split(' ');
    let ticks: u64 = fields
        .skip(13)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().expect("ticks"))
        .sum();
    (Duration::from_nanos(own), Duration::from_millis(10 * ticks))
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
        let mut best = (Duration::MAX, Duration::MAX);
        for _ in 0..RUNS {
            let (own, children) = cpu_times();
            drop(decompress(codec, &packed, &Limits::default()));
            best.0 = best.0.min(cpu_times().0 - own);
            drop(filter(&[tool, "-d"], &packed));
            best.1 = best.1.min(cpu_times().1 - children);
        }
        let (ours, tools) = (rate(best.0), rate(best.1));
        println!(
            "{:40} {:10} bytes  ours {ours:7.1} MB/s  tool {tools:7.1} MB/s  x {:.2}",
            command.join(" "),
            packed.len(),
            ours / tools
        );
    }
}
