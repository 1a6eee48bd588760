//! One entry of a PE section table.
//!
//! Source: Microsoft PE Format, "Section Table (Section Headers)".

use core::ops::Range;

use super::error::{Class, Error, Needed, Result};
use super::reader::Reader;

/// Size of one section header in bytes.
pub const SECTION_HEADER_SIZE: usize = 40;

/// `IMAGE_SCN_CNT_CODE`.
pub const SCN_CNT_CODE: u32 = 0x0000_0020;
/// `IMAGE_SCN_CNT_INITIALIZED_DATA`.
pub const SCN_CNT_INITIALIZED_DATA: u32 = 0x0000_0040;
/// `IMAGE_SCN_MEM_READ`.
pub const SCN_MEM_READ: u32 = 0x4000_0000;

/// One section: its header fields, and its data, which lie inside the file.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// Place in the table, from 0.
    pub index: u32,
    /// The name, padded with NUL to 8 bytes.
    pub raw_name: [u8; 8],
    /// `VirtualSize`: bytes in memory.
    pub virtual_size: u32,
    /// `VirtualAddress`: RVA in memory.
    pub virtual_address: u32,
    /// `SizeOfRawData`: bytes in the file, padding included.
    pub size_of_raw_data: u32,
    /// `PointerToRawData`: file offset; without meaning when there are no raw data.
    pub pointer_to_raw_data: u32,
    /// `Characteristics`.
    pub characteristics: u32,
    raw: &'a [u8],
}

impl<'a> Section<'a> {
    /// Reads entry `index` of a table and finds its bytes in `file`.
    pub(super) fn parse(file: &'a [u8], reader: &mut Reader<'a>, index: u32) -> Result<Self> {
        let raw_name = reader.take_array("Name")?;
        if behind_nul(&raw_name) {
            let reason = "found bytes behind the first NUL, needed NULs to the end";
            return Err(Error::reason(Class::Malformed, "Name", reason).of_entry(index));
        }
        let virtual_size = reader.u32("VirtualSize")?;
        let virtual_address = reader.u32("VirtualAddress")?;
        let size_of_raw_data = reader.u32("SizeOfRawData")?;
        let pointer_to_raw_data = reader.u32("PointerToRawData")?;
        // Relocations and line numbers of object files: four fields, unused in images.
        reader.take(12, "PointerToRelocations")?;
        let characteristics = reader.u32("Characteristics")?;
        let mut section = Self {
            index,
            raw_name,
            virtual_size,
            virtual_address,
            size_of_raw_data,
            pointer_to_raw_data,
            characteristics,
            raw: &[],
        };
        let range = section.raw_range();
        let (end, len) = (range.end as u64, file.len() as u64);
        section.raw = file.get(range).ok_or_else(|| {
            Error::malformed("PointerToRawData + SizeOfRawData", end, Needed::AtMost(len))
                .of_entry(index)
        })?;
        Ok(section)
    }

    /// The section's contents: what both the file holds and memory shows, so the first
    /// `min(VirtualSize, SizeOfRawData)` bytes.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        let len = usize::try_from(self.virtual_size).unwrap_or(usize::MAX);
        self.raw.get(..len).unwrap_or(self.raw)
    }

    /// All bytes the file holds for the section, padding included.
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Where they stand in the file; empty at 0 when there are none.
    #[must_use]
    pub const fn raw_range(&self) -> Range<usize> {
        if self.size_of_raw_data == 0 {
            return 0..0;
        }
        let start = self.pointer_to_raw_data as usize;
        start..start.saturating_add(self.size_of_raw_data as usize)
    }

    /// RVA one past its last byte in memory.
    #[must_use]
    pub const fn virtual_end(&self) -> u64 {
        // Two 32-bit numbers: cannot wrap in 64 bits.
        (self.virtual_address as u64).saturating_add(self.virtual_size as u64)
    }

    /// Whether the section bears `name` (at most 8 bytes, compared over all 8, padded with NUL).
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        let name = name.as_bytes();
        name.len() <= self.raw_name.len()
            && self.raw_name.iter().copied().eq(name
                .iter()
                .copied()
                .chain(core::iter::repeat(0))
                .take(self.raw_name.len()))
    }

    /// The name up to its first NUL.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.raw_name.split(|byte| *byte == 0).next().unwrap_or(&[])
    }
}

/// Whether readers that compare up to the first NUL, as systemd-stub does, take it for another name than those that
/// compare all 8 bytes. Such an image would be one kernel to firmware and another one here.
fn behind_nul(name: &[u8; 8]) -> bool {
    const LOW: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    let word = u64::from_le_bytes(*name);
    // The lowest of these bits is that of the first NUL; what subtracting borrowed shows in higher bytes only.
    let nul = word.wrapping_sub(LOW) & !word & HIGH;
    nul != 0 && word >> (nul.trailing_zeros() & !7) != 0
}
