//! Linux's decompressors as a program: patched like the kernel's, compiled natively under the sanitizers.
//!
//! What a kernel under KASAN finds in an hour, this finds in a minute.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kpeel_images::{Item, cache_dir, fetch, origins};

use crate::cache::{install, lock};
use crate::linux::{self, Added};
use crate::make::Log;
use crate::progress::say;
use crate::{Error, Result};

/// Files of the kernel's tree, below `lib` and without `.c`.
const SOURCES: &[&str] = &[
    "decompress",
    "decompress_bunzip2",
    "decompress_inflate",
    "decompress_unlz4",
    "decompress_unlzma",
    "decompress_unlzo",
    "decompress_unxz",
    "decompress_unzstd",
    "lz4/lz4_decompress",
    "lzo/lzo1x_decompress_safe",
    "xxhash",
    "xz/xz_crc32",
    "xz/xz_dec_bcj",
    "xz/xz_dec_lzma2",
    "xz/xz_dec_stream",
    "zlib_inflate/inffast",
    "zlib_inflate/inflate",
    "zlib_inflate/inftrees",
    "zstd/common/entropy_common",
    "zstd/common/error_private",
    "zstd/common/fse_decompress",
    "zstd/common/zstd_common",
    "zstd/decompress/huf_decompress",
    "zstd/decompress/zstd_ddict",
    "zstd/decompress/zstd_decompress",
    "zstd/decompress/zstd_decompress_block",
    "zstd/zstd_decompress_module",
];

/// What of the archive is unpacked: those, and the headers that belong to them.
const UNPACKED: &[&str] = &[
    "*/include/linux/crc32poly.h",
    "*/include/linux/decompress/*",
    "*/include/linux/l*.h",
    "*/include/linux/x*.h",
    "*/include/linux/z*.h",
    "*/lib/*.c",
    "*/lib/Kconfig",
    "*/lib/lz4/*",
    "*/lib/lzo/*",
    "*/lib/xz/*",
    "*/lib/zlib_inflate/*",
    "*/lib/zstd/*",
];

/// The function that the kernel calls.
const ENTRY: &str = "overlay/kernel/kexec_pe/decompress.c";

/// As the kernel, which defines what overflows and aliases; its unaligned reads and pointers are left alone.
const FLAGS: &[&str] = &[
    "-std=gnu11",
    "-O1",
    "-g",
    "-w",
    "-D__KERNEL__",
    "-fno-strict-aliasing",
    "-fno-strict-overflow",
    "-fsanitize=address,undefined",
    "-fno-sanitize=alignment,pointer-overflow",
    "-fno-sanitize-recover=all",
];

/// Returns the program's path, building it if the cache lacks it. `decompress/harness.c` says how it is used.
///
/// # Errors
/// As for [`crate::path`].
pub fn harness() -> Result<PathBuf> {
    let root = cache_dir().join("kernel");
    fs::create_dir_all(&root).map_err(Error::io("creating", &root))?;
    let held = lock(&root.join("harness.lock"))?;
    let archive = fetch(Item::LinuxSource612)?;
    let added = Added::read()?.of_lib();
    let key = key(&added)?;
    let dir = root.join(&key);
    if !dir.is_dir() {
        say("building the decompressors' harness");
        install(&root, &key, "harness-work", |work, log| {
            build(&archive, &added, work, log)
        })?;
    }
    drop(held);
    Ok(dir.join("harness"))
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("decompress")
}

fn linux_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../linux")
}

/// A name made of everything that the program is built of.
fn key(added: &Added) -> Result<String> {
    let mut lines = added.lines()?;
    for origin in origins(Item::LinuxSource612)? {
        lines.push(origin.sha256);
    }
    for path in linux::files(&here())? {
        let bytes = fs::read(&path).map_err(Error::io("reading", &path))?;
        lines.push(linux::sha256(&bytes));
    }
    lines.extend(FLAGS.iter().chain(SOURCES).map(ToString::to_string));
    let digest = linux::sha256(lines.join("\n").as_bytes());
    Ok(format!("harness-{}", digest.get(..16).unwrap_or_default()))
}

fn build(archive: &Path, added: &Added, work: &Path, log: &Log) -> Result<PathBuf> {
    let (tree, result) = (work.join("source"), work.join("result"));
    for dir in [&tree, &result] {
        fs::create_dir(dir).map_err(Error::io("creating", dir))?;
    }
    let mut tar = Command::new("tar");
    tar.arg("-x").arg("-f").arg(archive).arg("-C").arg(&tree);
    tar.args(["--strip-components=1", "--no-same-owner", "--wildcards"]);
    log.run(tar.args(UNPACKED), "unpacking lib", |_| ())?;
    added.apply(&tree, log)?;
    let mut gcc = Command::new("gcc");
    gcc.args(FLAGS).arg("-o").arg(result.join("harness"));
    gcc.arg("-I").arg(here().join("shim"));
    gcc.arg("-I").arg(linux_dir().join("overlay/include"));
    gcc.arg("-I").arg(tree.join("include"));
    gcc.args(
        SOURCES
            .iter()
            .map(|name| tree.join("lib").join(format!("{name}.c"))),
    );
    gcc.arg(linux_dir().join(ENTRY))
        .arg(here().join("harness.c"));
    log.run(&mut gcc, "compiling the harness", |_| ())?;
    Ok(result)
}
