//! Looks at what a build gave, with eyes that are not kpeel's.

use std::fs;
use std::path::Path;

use kpeel_images::oracle;

use crate::kernel::{Image, Kernel};
use crate::{Error, Result};

/// "ARM\x64" at 56 and, at 16, the size in memory: `Documentation/arch/arm64/booting.rst` of the kernel.
const MAGIC: &[u8] = b"ARM\x64";
const MAGIC_AT: usize = 56;
const SIZE_AT: usize = 16;

/// Where zboot's header has the codec's name; `drivers/firmware/efi/libstub/zboot-header.S` of the kernel.
const CODEC_AT: usize = 0x18;

/// "HdrS" at 0x202: `Documentation/arch/x86/boot.rst` of the kernel.
const X86_MAGIC: &[u8] = b"HdrS";
const X86_MAGIC_AT: usize = 0x202;

/// Demands that the images in `dir` are what their names say, and that zboot images hold the plain one.
pub(crate) fn check(kernel: Kernel, dir: &Path) -> Result<()> {
    match kernel.images() {
        images @ [Image::BzImage, ..] => {
            let mut paths = images.iter().map(|image| dir.join(image.name()));
            paths.try_for_each(|path| demand_x86(&path))
        }
        [Image::Plain] => padded(&dir.join(Image::Plain.name())).map(|_| ()),
        _ => check_zboot(dir),
    }
}

fn demand_x86(path: &Path) -> Result<()> {
    let bytes = fs::read(path).map_err(Error::io("reading", path))?;
    let magic = field::<4>(&bytes, X86_MAGIC_AT);
    if magic.as_ref().map(<[u8; 4]>::as_slice) == Some(X86_MAGIC) {
        return Ok(());
    }
    let needed = format!("{X86_MAGIC:x?}");
    Err(Error::unexpected(
        path,
        "magic",
        format!("{magic:x?}"),
        needed,
    ))
}

fn check_zboot(dir: &Path) -> Result<()> {
    let plain = dir.join(Image::Plain.name());
    let padded = padded(&plain)?;
    for (image, codec) in [(Image::ZbootGzip, "gzip"), (Image::ZbootZstd, "zstd")] {
        let path = dir.join(image.name());
        demand_codec(&path, codec)?;
        if oracle::expected_zboot_payload(&path)? != padded {
            let needed = format!("{} and zeros up to its size in memory", plain.display());
            return Err(Error::unexpected(
                &path,
                "payload",
                "something else",
                needed,
            ));
        }
    }
    Ok(())
}

/// The image and zeros up to the size it has in memory, which is what zboot packs.
fn padded(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = fs::read(path).map_err(Error::io("reading", path))?;
    let magic = field::<4>(&bytes, MAGIC_AT);
    if magic.as_ref().map(<[u8; 4]>::as_slice) != Some(MAGIC) {
        let found = format!("{magic:x?}");
        return Err(Error::unexpected(
            path,
            "magic",
            found,
            format!("{MAGIC:x?}"),
        ));
    }
    let size = field::<8>(&bytes, SIZE_AT).map_or(0, u64::from_le_bytes);
    match usize::try_from(size) {
        Ok(size) if size >= bytes.len() => bytes.resize(size, 0),
        _ => {
            let needed = format!("at least {}, the file's", bytes.len());
            return Err(Error::unexpected(
                path,
                "image_size",
                size.to_string(),
                needed,
            ));
        }
    }
    Ok(bytes)
}

fn demand_codec(path: &Path, codec: &str) -> Result<()> {
    let bytes = fs::read(path).map_err(Error::io("reading", path))?;
    let name = bytes.get(CODEC_AT..).unwrap_or_default();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    if name == codec.as_bytes() {
        return Ok(());
    }
    let found = String::from_utf8_lossy(name).into_owned();
    Err(Error::unexpected(path, "codec", found, codec))
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use kpeel_images::make::{Codec, Machine, Scratch, zboot};

    use super::*;
    use crate::kernel::Arch;

    /// An image of 4096 bytes that needs 8192 in memory.
    fn image() -> Vec<u8> {
        let mut bytes = vec![7; 4096];
        bytes[MAGIC_AT..MAGIC_AT + 4].copy_from_slice(MAGIC);
        bytes[SIZE_AT..SIZE_AT + 8].copy_from_slice(&8192_u64.to_le_bytes());
        bytes
    }

    fn built(payload: &[u8]) -> (Scratch, PathBuf) {
        let scratch = Scratch::new().unwrap();
        let dir = scratch.path().to_owned();
        fs::write(dir.join("Image"), image()).unwrap();
        for (image, codec) in [
            (Image::ZbootGzip, Codec::Gzip),
            (Image::ZbootZstd, Codec::Zstd),
        ] {
            zboot(Machine::Arm64, codec, payload, &dir.join(image.name())).unwrap();
        }
        (scratch, dir)
    }

    fn right() -> Vec<u8> {
        let mut payload = image();
        payload.resize(8192, 0);
        payload
    }

    #[test]
    fn accepts_zboot_images_of_the_padded_image() {
        let (_scratch, dir) = built(&right());
        check(Kernel::STOCK_ARM64, &dir).unwrap();
    }

    #[test]
    fn rejects_another_payload_and_missing_padding() {
        let mut other = right();
        other[2000] ^= 1;
        for payload in [other, image()] {
            let (_scratch, dir) = built(&payload);
            let error = check(Kernel::STOCK_ARM64, &dir).unwrap_err();
            assert!(error.to_string().contains("payload: found"), "{error}");
        }
    }

    #[test]
    fn rejects_zboot_images_under_each_others_names() {
        let (_scratch, dir) = built(&right());
        let path = |image: Image| dir.join(image.name());
        fs::copy(path(Image::ZbootGzip), path(Image::ZbootZstd)).unwrap();
        let error = check(Kernel::STOCK_ARM64, &dir).unwrap_err().to_string();
        assert!(error.ends_with("codec: found gzip, needed zstd"), "{error}");
    }

    #[test]
    fn knows_an_x86_image_by_its_magic() {
        let (scratch, kernel) = (Scratch::new().unwrap(), Kernel::kpeel(Arch::X86_64));
        let path = scratch.join("bzImage");
        let mut bytes = vec![0; 1024];
        fs::write(&path, &bytes).unwrap();
        let error = check(kernel, scratch.path()).unwrap_err().to_string();
        assert!(error.contains("magic"), "{error}");
        bytes[X86_MAGIC_AT..X86_MAGIC_AT + 4].copy_from_slice(X86_MAGIC);
        fs::write(&path, &bytes).unwrap();
        let error = check(kernel, scratch.path()).unwrap_err().to_string();
        assert!(error.contains("bzImage.forced"), "{error}");
        fs::copy(&path, scratch.join("bzImage.forced")).unwrap();
        check(kernel, scratch.path()).unwrap();
    }

    #[test]
    fn rejects_an_image_without_its_magic() {
        let (_scratch, dir) = built(&right());
        fs::write(dir.join("Image"), [0; 64]).unwrap();
        let error = check(Kernel::STOCK_ARM64, &dir).unwrap_err().to_string();
        assert!(error.contains("magic"), "{error}");
    }
}
