//! Corpora of the fuzz targets: small, one file for each fault, named by it.

mod image;
mod program;
mod tree;

use kpeel_images::make::{Codec, Machine, text};

/// One file of a corpus.
#[derive(Debug)]
pub struct Seed {
    /// The fuzz target.
    pub target: &'static str,
    /// The file's name: what is wrong with it.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Seed {
    fn new(target: &'static str, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            target,
            name: name.to_owned(),
            bytes: bytes.into(),
        }
    }
}

/// Every seed; the same bytes each time, but for what the compressors' versions make of it.
///
/// # Errors
/// What the compressors say.
pub fn all() -> Result<Vec<Seed>, String> {
    let mut seeds = image::seeds()?;
    seeds.extend(program::seeds());
    seeds.extend(tree::seeds());
    seeds.extend(streams()?);
    seeds.extend(texts());
    Ok(seeds)
}

fn streams() -> Result<Vec<Seed>, String> {
    let target = |codec| match codec {
        Codec::Gzip => "codec_gzip",
        Codec::Zstd => "codec_zstd",
        Codec::Xz => "codec_xz",
        Codec::Lzma => "codec_lzma",
        Codec::Lz4 => "codec_lz4",
        Codec::Lzo => "codec_lzo",
        Codec::Bzip2 => "codec_bzip2",
    };
    let mut seeds = Vec::new();
    for codec in Codec::ALL {
        // Loong64's xz has no filter; arm64's has one.
        let pack = |input: &[u8]| codec.compress(Machine::Arm64, input);
        let pack = |input: &[u8]| pack(input).map_err(|error| error.to_string());
        let (sound, target) = (pack(&text(3000))?, target(codec));
        let mut flipped = sound.clone();
        if let Some(byte) = flipped.iter_mut().rev().nth(5) {
            *byte ^= 0x10;
        }
        let middle = sound.len() / 2;
        seeds.extend([
            Seed::new(target, "truncated", &sound[..middle]),
            Seed::new(target, "header-alone", &sound[..sound.len().min(12)]),
            Seed::new(target, "empty-content", pack(b"")?),
            Seed::new(target, "bomb", pack(&vec![0; 2 << 20])?),
            Seed::new(target, "end-damaged", flipped),
            Seed::new(target, "sound", sound),
        ]);
    }
    Ok(seeds)
}

fn texts() -> Vec<Seed> {
    let bls = |name, entry: &str, other: &str, conf: &str| {
        let parts = [entry.as_bytes(), other.as_bytes(), conf.as_bytes()];
        Seed::new("bls", name, parts.join(&0xff))
    };
    let cmdline = |name, parts: &[&str]| {
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        Seed::new("cmdline", name, parts.join(&0xff))
    };
    vec![
        bls(
            "sound",
            "title A\nversion 1\nlinux /k\ninitrd /i\noptions a b\n",
            "efi /x.efi\n",
            "default a*\n",
        ),
        bls("no-image", "title A\n", "", "default\n"),
        bls("two-images", "linux /a\nefi /b\n", "linux /k\nuki /u\n", ""),
        bls(
            "path-out-of-the-partition",
            "linux /../../etc/passwd\n",
            "initrd ../x\nlinux k\n",
            "",
        ),
        bls(
            "many-stars",
            "linux /k\n",
            "",
            "default *a*a*a*a*a*a*a*a*a*b\n",
        ),
        bls(
            "keys-without-values",
            "linux\noptions\n\n\t#x\n",
            "sort-key\nlinux /k\n",
            "default",
        ),
        cmdline("sound", &["ro quiet", "root=/dev/vda", "debug"]),
        cmdline("selector", &["@1 ro quiet"]),
        cmdline("selector-overflows", &["@99999999999999999999 x"]),
        cmdline("selector-without-number", &["@ x"]),
        cmdline("nul-inside", &["ro\0quiet"]),
        cmdline(
            "quotes-open",
            &["a=\"b c", "BOOT_IMAGE=\"x y\" crashkernel=1G"],
        ),
        cmdline("whole-beside-running", &["a", "b", "c", "d"]),
    ]
}
