//! The one reader of PE images: headers and tables, every field checked.
//!
//! ```text
//! 0        DOS header, e_lfanew at 0x3c
//! e_lfanew "PE\0\0", COFF header (20 bytes)
//! +24      optional header PE32+ (112 bytes), data directories (8 bytes each)
//! ...      section table (40 bytes an entry)
//! ```
//! No section content is read here.
//!
//! Source: Microsoft PE Format; `include/linux/pe.h`.

use core::ops::Range;

use super::certificate::{Certificates, CERTIFICATE_ALIGNMENT, CERTIFICATE_HEADER_SIZE};
use super::error::{Error, Needed, Result};
use super::headers::DIRECTORY_SIZE;
pub use super::headers::{looks_like_pe, Headers};
use super::reader::{sub, Reader};
use super::section::{Section, SECTION_HEADER_SIZE};

/// Most sections an image may have ("Section Table": the Windows loader's limit).
pub const MAX_SECTIONS: u16 = 96;
/// `IMAGE_SUBSYSTEM_EFI_APPLICATION`.
pub const SUBSYSTEM_EFI_APPLICATION: u16 = 10;
/// Index of the certificate table among the data directories.
pub const DIRECTORY_CERTIFICATE: u32 = 4;

/// Size of `CheckSum` in bytes.
const CHECK_SUM_SIZE: usize = 4;

/// A PE32+ image whose headers and tables have been checked:
///
/// # Invariants
/// Every section's raw data lie inside the file, behind the headers, apart from one another and
/// from the certificate table; sections do not overlap in memory; no sum of fields wraps.
#[derive(Clone, Debug)]
pub struct Pe<'a> {
    bytes: &'a [u8],
    headers: Headers,
    section_table: &'a [u8],
}

/// Which bytes of an image its parser sees: those a signature covers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Covered {
    /// The image ends here: at the certificate table, or at the end of the file.
    pub len: usize,
    /// `CheckSum` and the certificate directory entry, which read as zero (the latter may be
    /// empty).
    pub zeroed: [Range<usize>; 2],
}

impl<'a> Pe<'a> {
    /// Reads and checks headers and tables.
    ///
    /// # Errors
    /// `Malformed` with field, found and needed; `Unsupported` for PE32.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let headers = Headers::parse(bytes)?;
        let table_len = usize::from(headers.number_of_sections).saturating_mul(SECTION_HEADER_SIZE);
        let table_offset = headers.section_table_offset() as u64;
        let section_table = sub(bytes, table_offset, table_len as u64, "NumberOfSections")?;
        let table_end = table_offset.saturating_add(table_len as u64);
        let size_of_headers = u64::from(headers.size_of_headers);
        if size_of_headers < table_end {
            let needed = Needed::AtLeast(table_end);
            return Err(Error::malformed("SizeOfHeaders", size_of_headers, needed));
        }
        let pe = Self {
            bytes,
            headers,
            section_table,
        };
        pe.check_certificate_table()?;
        pe.check_sections()?;
        Ok(pe)
    }

    /// The whole file.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The header fields.
    #[must_use]
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The sections in the table's order.
    pub fn sections(&self) -> impl Iterator<Item = Section<'a>> + Clone + 'a {
        // Each was parsed once in `parse`: none fails now.
        parse_sections(self.bytes, self.section_table).filter_map(Result::ok)
    }

    /// The sections of one name (at most 8 bytes), in the table's order.
    pub fn find<'s>(&'s self, name: &'s str) -> impl Iterator<Item = Section<'a>> + 's {
        self.sections()
            .filter(move |section| section.is_named(name))
    }

    /// File range of the certificate table, if the image has one.
    #[must_use]
    pub fn certificate_table(&self) -> Option<Range<usize>> {
        let (offset, size) = self.headers.certificate;
        let (start, len) = (offset as usize, size as usize);
        (len != 0).then(|| start..start.saturating_add(len))
    }

    /// The entries of the certificate table; none without a table.
    #[must_use]
    pub fn certificates(&self) -> Certificates<'a> {
        let table = self
            .certificate_table()
            .and_then(|range| self.bytes.get(range));
        Certificates::new(table.unwrap_or(&[]))
    }

    /// Which bytes a parser of this image sees.
    #[must_use]
    pub fn covered(&self) -> Covered {
        let len = self
            .certificate_table()
            .map_or(self.bytes.len(), |table| table.start);
        let check_sum = self.headers.check_sum_offset();
        let entry = self.headers.directory_offset(DIRECTORY_CERTIFICATE);
        Covered {
            len,
            zeroed: [
                check_sum..check_sum.saturating_add(CHECK_SUM_SIZE),
                entry.map_or(0..0, |at| at..at.saturating_add(DIRECTORY_SIZE)),
            ],
        }
    }

    fn check_certificate_table(&self) -> Result<()> {
        let (offset, size) = self.headers.certificate;
        if size == 0 {
            if offset != 0 {
                let needed = Needed::AtLeast(CERTIFICATE_HEADER_SIZE as u64);
                return Err(Error::malformed("certificate table Size", 0, needed));
            }
            return Ok(());
        }
        let (offset, size) = (u64::from(offset), u64::from(size));
        if offset.checked_rem(CERTIFICATE_ALIGNMENT as u64) != Some(0) {
            let needed = Needed::MultipleOf(CERTIFICATE_ALIGNMENT as u64);
            return Err(Error::malformed("certificate table offset", offset, needed));
        }
        if size < CERTIFICATE_HEADER_SIZE as u64 {
            let needed = Needed::AtLeast(CERTIFICATE_HEADER_SIZE as u64);
            return Err(Error::malformed("certificate table Size", size, needed));
        }
        let headers = u64::from(self.headers.size_of_headers);
        if offset < headers {
            let needed = Needed::AtLeast(headers);
            return Err(Error::malformed("certificate table offset", offset, needed));
        }
        sub(self.bytes, offset, size, "certificate table end").map(|_| ())
    }

    fn check_sections(&self) -> Result<()> {
        let size_of_headers = self.headers.size_of_headers as usize;
        let certificates = self.certificate_table().unwrap_or(0..0);
        for section in parse_sections(self.bytes, self.section_table) {
            let section = section?;
            let malformed = |field, found, needed| {
                Err(Error::malformed(field, found, needed).of_entry(section.index))
            };
            if section.virtual_end() > u64::from(u32::MAX) {
                let needed = Needed::AtMost(u32::MAX.into());
                return malformed(
                    "VirtualAddress + VirtualSize",
                    section.virtual_end(),
                    needed,
                );
            }
            let raw = section.raw_range();
            if !raw.is_empty() && raw.start < size_of_headers {
                let needed = Needed::AtLeast(size_of_headers as u64);
                return malformed("PointerToRawData", raw.start as u64, needed);
            }
            if overlap(&raw, &certificates) {
                let needed = Needed::Words("outside the certificate table");
                return malformed("PointerToRawData", raw.start as u64, needed);
            }
            self.check_against_earlier(&section)?;
        }
        Ok(())
    }

    /// Two sections may share bytes neither in the file nor in memory.
    fn check_against_earlier(&self, section: &Section<'_>) -> Result<()> {
        let (raw, memory) = (section.raw_range(), memory_range(section));
        for earlier in self
            .sections()
            .take_while(|earlier| earlier.index < section.index)
        {
            let (field, found, needed) = if overlap(&raw, &earlier.raw_range()) {
                let needed = Needed::Words("bytes of no other section");
                ("PointerToRawData", section.pointer_to_raw_data, needed)
            } else if overlap(&memory, &memory_range(&earlier)) {
                let needed = Needed::Words("memory of no other section");
                ("VirtualAddress", section.virtual_address, needed)
            } else {
                continue;
            };
            return Err(Error::malformed(field, found.into(), needed).of_entry(section.index));
        }
        Ok(())
    }
}

impl Covered {
    /// Bytes from the start within which everything lies that reads as zero.
    #[must_use]
    pub fn head_len(&self) -> usize {
        let [check_sum, entry] = &self.zeroed;
        check_sum.end.max(entry.end)
    }

    /// Zeroes in `head`, a copy of the image's first [`Covered::head_len`] bytes or more.
    pub fn zero(&self, head: &mut [u8]) {
        for range in &self.zeroed {
            if let Some(bytes) = head.get_mut(range.clone()) {
                bytes.fill(0);
            }
        }
    }
}

fn parse_sections<'a>(
    file: &'a [u8],
    table: &'a [u8],
) -> impl Iterator<Item = Result<Section<'a>>> + Clone + 'a {
    let entries = table.chunks_exact(SECTION_HEADER_SIZE).zip(0..);
    entries.map(move |(entry, index)| Section::parse(file, &mut Reader::new(entry), index))
}

fn memory_range(section: &Section<'_>) -> Range<usize> {
    let start = section.virtual_address as usize;
    start..start.saturating_add(section.virtual_size as usize)
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    !one.is_empty() && !other.is_empty() && one.start < other.end && other.start < one.end
}
