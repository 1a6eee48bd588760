//! Kernels whose file offsets are part of another boot protocol.

use kpeel_envelope::error::{Class, Error, Result};
use kpeel_formats::zboot;

use crate::number::get_u32;

/// `HdrS` of the x86 boot protocol, section 1.1.
const X86_MAGIC_OFFSET: usize = 0x202;
const X86_MAGIC: &[u8] = b"HdrS";
/// Magic of the kernel `Image` of arm64, RISC-V and LoongArch, at the same place.
const IMAGE_MAGIC_OFFSET: usize = 0x38;
const ARM64_MAGIC: &[u8] = b"ARM\x64";
const RISCV_MAGIC: &[u8] = b"RSC\x05";
const LINUX_PE_MAGIC: &[u8] = &0x8182_23cd_u32.to_le_bytes();

/// Whether the image is an EFI zboot kernel.
pub(crate) fn is_zboot(image: &[u8]) -> bool {
    get_u32(image, zboot::ZIMG_AT) == Some(zboot::ZIMG)
}

/// zboot's payload: file offset and size as its header gives them.
pub(crate) fn zboot_payload(image: &[u8]) -> Option<(usize, usize)> {
    let offset = get_u32(image, zboot::PAYLOAD_OFFSET_AT)?;
    let size = get_u32(image, zboot::PAYLOAD_SIZE_AT)?;
    is_zboot(image).then_some((offset as usize, size as usize))
}

/// Refuses images in which a boot protocol other than PE fixes where the bytes stand.
pub(crate) fn check_may_move(image: &[u8]) -> Result<()> {
    let fixed = if has(image, X86_MAGIC_OFFSET, X86_MAGIC) {
        Some("bzImage")
    } else if has(image, IMAGE_MAGIC_OFFSET, ARM64_MAGIC)
        || has(image, IMAGE_MAGIC_OFFSET, RISCV_MAGIC)
        || (has(image, IMAGE_MAGIC_OFFSET, LINUX_PE_MAGIC) && !is_zboot(image))
    {
        Some("Image")
    } else {
        None
    };
    match fixed {
        Some(field) => Err(Error::reason(
            Class::Unsupported,
            field,
            "a bare kernel's boot protocol fixes its file offsets: no room for a section header \
             can be made",
        )),
        None => Ok(()),
    }
}

fn has(image: &[u8], offset: usize, magic: &[u8]) -> bool {
    image
        .get(offset..)
        .is_some_and(|rest| rest.starts_with(magic))
}
