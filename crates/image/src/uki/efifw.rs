//! `.efifw`: a firmware image with its identifier.

use kpeel_envelope::error::Result;

use crate::number::to_u32;

/// Header of the section (systemd, `src/boot/efifirmware.h`): magic, bytes of the header, of the
/// identifier with its NUL, of the firmware; then identifier and firmware.
const MAGIC: u32 = 0xfeed_dead;
const HEADER_LEN: u32 = 16;

/// The section for `firmware`, which hardware descriptions refer to as `id`.
///
/// # Errors
/// `Unsupported` when a length does not fit into 32 bits.
pub fn pack(id: &str, firmware: &[u8]) -> Result<Vec<u8>> {
    let id_len = to_u32("firmware identifier", id.len().saturating_add(1))?;
    let mut section = Vec::with_capacity(firmware.len().saturating_add(id.len()));
    for field in [
        MAGIC,
        HEADER_LEN,
        id_len,
        to_u32("firmware size", firmware.len())?,
    ] {
        section.extend(field.to_le_bytes());
    }
    section.extend(id.as_bytes());
    section.push(0);
    section.extend(firmware);
    Ok(section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lays_header_identifier_and_firmware_one_behind_the_other() {
        let section = pack("board", b"FIRMWARE").unwrap();
        let words = [0xfeed_dead_u32, 16, 6, 8].map(u32::to_le_bytes).concat();
        assert_eq!(section, [&words[..], b"board\0", b"FIRMWARE"].concat());
    }
}
