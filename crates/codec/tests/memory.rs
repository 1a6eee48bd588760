//! Unpacking a kernel costs the memory of the kernel, and of a dictionary where a library keeps one. Measured as the
//! kernel of this machine counts it, so what C decoders allocate counts too.

mod support;

use std::fs;

use kpeel_codec::{Codec, Limits, decompress};
use kpeel_counting::{process_peak, status};
use support::{filter, sample};

const SIZE: usize = 48 << 20;

/// The most memory that unpacking takes, with a result of `SIZE`.
fn peak(codec: Codec, packed: &[u8]) -> u64 {
    fs::write("/proc/self/clear_refs", "5").expect("resets the peak");
    let before = status("VmRSS").expect("procfs");
    let unpacked = decompress(codec, packed, &Limits::default()).expect("intact");
    assert_eq!(unpacked.len(), SIZE);
    process_peak().expect("procfs") - before
}

// One test only: memory is that of the whole process.
#[test]
fn takes_the_memory_of_the_result() {
    let input = sample(SIZE);
    let allowed = |percent: u64| SIZE as u64 / 100 * percent + (4 << 20);
    for (codec, command) in [
        (Codec::Gzip, &["gzip", "-1", "-c"][..]),
        (Codec::Zstd, &["zstd", "-q", "-1", "--long=27", "-c"]),
        (Codec::Lz4, &["lz4", "-l", "-1", "-c"]),
        (Codec::Lzo, &["lzop", "-1", "-c"]),
        (Codec::Bzip2, &["bzip2", "-1", "-c"]),
        (
            Codec::Xz,
            &["xz", "-T1", "--lzma2=preset=0,dict=128MiB", "-c"],
        ),
        (
            Codec::Lzma,
            &["xz", "--format=lzma", "--lzma1=preset=0,dict=128MiB", "-c"],
        ),
    ] {
        let packed = filter(command, &input);
        let peak = peak(codec, &packed);
        println!("{codec}: {peak} bytes for a result of {SIZE}");
        // Libraries for xz and lzma, and ruzstd, keep a dictionary or window besides the result.
        let most = match codec {
            Codec::Xz | Codec::Lzma if cfg!(feature = "native") => 205,
            Codec::Xz | Codec::Lzma | Codec::Zstd if !cfg!(feature = "native") => 275,
            _ => 105,
        };
        assert!(peak <= allowed(most), "{codec}: {peak} bytes");
        // A trailer that hides gzip's size, and padding, cost nothing either.
        if codec == Codec::Gzip {
            let padded = [&packed[..], &[0; 4096]].concat();
            let peak = self::peak(codec, &padded);
            assert!(peak <= allowed(105), "padded {codec}: {peak} bytes");
        }
    }
}
