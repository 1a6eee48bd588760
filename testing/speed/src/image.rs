//! Images to unfold, with the compressed stream inside each as the bare codec gets it.

use std::fs;
use std::path::{Path, PathBuf};

use kpeel_images::make::{Codec, Machine, Scratch, Zboot, tiny_kernel, uki};
use kpeel_images::{Item, fetch};

use crate::Outcome;

/// One image.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Bytes of the image.
    pub(crate) size: u64,
    /// `gzip` or `zstd`.
    pub(crate) codec: &'static str,
    /// The stream alone, in a file.
    pub(crate) stream: PathBuf,
    /// Bytes that it unpacks to.
    pub(crate) unpacked: u64,
}

/// Bytes of the largest kernels that are in use.
const LARGE: usize = 60_000_000;

/// Real kernels in every packing: as zboot images with either codec, inside a UKI, and the one that Debian ships; then
/// two of twice their size.
pub(crate) fn real(scratch: &Scratch) -> Outcome<Vec<Image>> {
    let mut images = vec![shipped(scratch)?];
    let kernels = [
        ("arm64 6.12", Machine::Arm64, Item::LinuxArm64),
        ("arm64 6.1", Machine::Arm64, Item::LinuxArm64V61),
    ];
    for (name, machine, item) in kernels {
        let kernel = fs::read(fetch(item)?)?;
        for codec in [Codec::Gzip, Codec::Zstd] {
            let name = format!("zboot {name} {}", codec.name());
            let stream = codec.compress(machine, &kernel)?;
            images.push(zboot(scratch, name, machine, codec, &stream, kernel.len())?);
        }
    }
    let inner: Vec<(usize, &'static str)> = (1..=2).zip(["gzip", "zstd"]).collect();
    for (index, codec) in inner {
        let nested = nested(scratch, &images[index], codec)?;
        images.push(nested);
    }
    for codec in [Codec::Gzip, Codec::Zstd] {
        images.push(of_size(scratch, codec, LARGE)?);
    }
    Ok(images)
}

/// An image that unpacks to `size` bytes: a real kernel's, over and over.
pub(crate) fn of_size(scratch: &Scratch, codec: Codec, size: usize) -> Outcome<Image> {
    let kernel = fs::read(fetch(Item::LinuxArm64)?)?;
    let mut bytes = kernel.repeat(size.div_ceil(kernel.len()));
    bytes.truncate(size);
    // A part is no sound PE image: its head is replaced by one that claims to be none.
    let head = tiny_kernel(Machine::Arm64, 4096);
    bytes.splice(..head.len(), head);
    // Quickly: how well it is compressed matters to neither side.
    let tool = match codec {
        Codec::Gzip => ["gzip", "-n", "-1", "-c"],
        _ => ["zstd", "-q", "-1", "-c"],
    };
    let stream = filter(scratch, &tool, &bytes)?;
    let name = format!("{} {} MB", codec.name(), size / 1_000_000);
    zboot(scratch, name, Machine::Arm64, codec, &stream, size)
}

/// Debian's own zboot image.
fn shipped(scratch: &Scratch) -> Outcome<Image> {
    let path = fetch(Item::LinuxLoong64)?;
    let bytes = fs::read(&path)?;
    let word = |at: usize| -> Outcome<usize> {
        let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
        Ok(u32::from_le_bytes(*word.ok_or("a short image")?) as usize)
    };
    // include/linux/pe.h, struct linux_pe_zboot_header
    let (offset, len) = (word(8)?, word(12)?);
    let stream = bytes.get(offset..).and_then(|rest| rest.get(..len));
    let stream = stream.ok_or("a payload past the image's end")?;
    let codec = match bytes.get(0x18..0x1c) {
        Some(b"gzip") => "gzip",
        Some(b"zstd") => "zstd",
        name => return Err(format!("a codec {name:?}").into()),
    };
    let unpacked = kpeel_images::oracle::expected_zboot_payload(&path)?.len() as u64;
    Ok(Image {
        name: format!("zboot loong64 {codec} (Debian's)"),
        size: bytes.len() as u64,
        codec,
        stream: scratch.write("shipped.stream", stream)?,
        unpacked,
        path,
    })
}

fn zboot(
    scratch: &Scratch,
    name: String,
    machine: Machine,
    codec: Codec,
    stream: &[u8],
    unpacked: usize,
) -> Outcome<Image> {
    let file = name.replace(' ', "-");
    let path = scratch.join(&file);
    let trailer = (codec != Codec::Gzip).then_some(u32::try_from(unpacked)?);
    Zboot {
        machine,
        name: codec.name(),
        stream,
        trailer,
    }
    .write(&path)?;
    Ok(Image {
        name,
        size: fs::metadata(&path)?.len(),
        codec: codec.name(),
        stream: scratch.write(&format!("{file}.stream"), stream)?,
        unpacked: unpacked as u64,
        path,
    })
}

/// A UKI around a zboot image.
fn nested(scratch: &Scratch, inner: &Image, codec: &'static str) -> Outcome<Image> {
    let path = scratch.join(&format!("uki-{codec}"));
    let sections: [(&str, &[u8]); 2] = [
        (".cmdline", b"root=/dev/vda ro"),
        (".linux", &fs::read(&inner.path)?),
    ];
    uki(&fetch(Item::StubArm64)?, &sections, &path)?;
    Ok(Image {
        name: format!("UKI around {}", inner.name),
        size: fs::metadata(&path)?.len(),
        codec,
        stream: inner.stream.clone(),
        unpacked: inner.unpacked,
        path,
    })
}

/// A UKI of about 12 MB: a distribution's kernel as it ships it.
pub(crate) fn small_uki(scratch: &Scratch) -> Outcome<PathBuf> {
    let path = scratch.join("uki-12");
    let sections: [(&str, &[u8]); 3] = [
        (".osrel", b"ID=debian\n"),
        (".cmdline", b"root=/dev/vda ro console=ttyS0"),
        (".linux", &fs::read(fetch(Item::LinuxAmd64)?)?),
    ];
    uki(&fetch(Item::StubAmd64V257)?, &sections, &path)?;
    Ok(path)
}

fn filter(scratch: &Scratch, command: &[&str], input: &[u8]) -> Outcome<Vec<u8>> {
    let file = scratch.write("filtered", input)?;
    let output = std::process::Command::new(command[0])
        .args(&command[1..])
        .stdin(fs::File::open(&file)?)
        .output()?;
    remove(&file)?;
    if !output.status.success() {
        return Err(format!("{}: {}", command[0], output.status).into());
    }
    Ok(output.stdout)
}

/// Takes a file away as soon as it is not needed: those here are large.
pub(crate) fn remove(path: &Path) -> Outcome<()> {
    Ok(fs::remove_file(path)?)
}
