//! One section while an image is edited.

use std::borrow::Cow;

use kpeel_envelope::section::{SECTION_HEADER_SIZE, Section};

/// Offsets in a section header ("Section Table (Section Headers)").
pub(crate) const NAME: usize = 0;
pub(crate) const VIRTUAL_SIZE: usize = 8;
pub(crate) const VIRTUAL_ADDRESS: usize = 12;
pub(crate) const SIZE_OF_RAW_DATA: usize = 16;
pub(crate) const POINTER_TO_RAW_DATA: usize = 20;
pub(crate) const POINTER_TO_RELOCATIONS: usize = 24;
pub(crate) const POINTER_TO_LINENUMBERS: usize = 28;
pub(crate) const CHARACTERISTICS: usize = 36;

/// A section: its header as it stands in the input (or as it is made), and the bytes of the file
/// that go with it.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    /// The header; size and place of the raw data are filled in when the image is written.
    pub(crate) header: [u8; SECTION_HEADER_SIZE],
    /// The name, padded with NUL.
    pub(crate) name: [u8; 8],
    /// RVA.
    pub(crate) virtual_address: u32,
    /// RVA one past the last byte in memory.
    pub(crate) virtual_end: u64,
    /// What the file holds, up to the next section: a gap becomes part of the section before it.
    pub(crate) raw: Cow<'a, [u8]>,
    /// How many bytes more the file will hold, which whoever writes it puts in.
    pub(crate) later: usize,
    /// Where `raw` stood in the input; `None` for other bytes than the input's and for none.
    pub(crate) from: Option<usize>,
    /// Where the section's bytes stood in the input, which tells their order in the file; `None`
    /// for a new section, which stands behind all others.
    pub(crate) order: Option<usize>,
}

impl<'a> Entry<'a> {
    /// The entry of a section, its raw data being `raw`.
    pub(crate) fn of(section: &Section<'a>, header: [u8; SECTION_HEADER_SIZE]) -> Self {
        let range = section.raw_range();
        Self {
            header,
            name: section.raw_name,
            virtual_address: section.virtual_address,
            virtual_end: section.virtual_end(),
            raw: Cow::Borrowed(section.raw()),
            later: 0,
            from: (!range.is_empty()).then_some(range.start),
            order: (!range.is_empty()).then_some(range.start),
        }
    }

    /// RVA one past everything the section's bytes in file or memory could fill.
    pub(crate) fn end(&self) -> u64 {
        let raw_end = u64::from(self.virtual_address).saturating_add(self.raw_len() as u64);
        self.virtual_end.max(raw_end)
    }

    /// Bytes that the file holds for it, without padding.
    pub(crate) fn raw_len(&self) -> usize {
        self.raw.len().saturating_add(self.later)
    }

    /// Whether the file holds bytes for it.
    pub(crate) fn has_raw(&self) -> bool {
        self.raw_len() != 0
    }
}
