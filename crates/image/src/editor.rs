//! An image taken apart.

use std::borrow::Cow;
use std::ops::Range;

use kpeel_envelope::authenticode::check_coverage;
use kpeel_envelope::error::{Class, Error, Needed, Refusal, Result};
use kpeel_envelope::pe::{MAX_SECTIONS, Pe};
use kpeel_envelope::section::{SCN_CNT_INITIALIZED_DATA, SECTION_HEADER_SIZE};

use crate::emit::emit;
use crate::entry::{self, Entry};
use crate::layout::Layout;
use crate::number::{align_up, put, put_u32, to_u32};

/// A PE image taken apart along its section table, to be written again by [`Editor::finish`].
#[derive(Clone, Debug)]
pub struct Editor<'a> {
    pub(crate) pe: Pe<'a>,
    /// Sections in the table's order.
    pub(crate) entries: Vec<Entry<'a>>,
    /// Where section data begin in the input.
    pub(crate) head: usize,
    /// Input ranges behind the sections, without the certificate table.
    pub(crate) overlay: [Range<usize>; 2],
    /// Whether a section was added or removed.
    pub(crate) changed: bool,
    /// What additions and removals do to SizeOfInitializedData.
    pub(crate) initialized: i64,
    signed: bool,
}

impl<'a> Editor<'a> {
    /// Takes `image` apart.
    ///
    /// # Errors
    /// Those of [`Pe::parse`]; `Unsupported` for bytes between sections that cannot be kept.
    pub fn parse(image: &'a [u8]) -> Result<Self> {
        let pe = Pe::parse(image)?;
        let mut entries = read_entries(&pe)?;
        let (head, sections_end) = absorb_gaps(&pe, &mut entries)?;
        let len = image.len();
        let table = pe.certificate_table();
        let signed = table.is_some();
        let table = table.unwrap_or(len..len);
        if table.start < sections_end {
            let needed = Needed::AtLeast(sections_end as u64);
            let found = table.start as u64;
            return Err(Error::value(
                Class::Unsupported,
                "certificate table offset",
                found,
                needed,
            ));
        }
        let overlay = [sections_end..table.start, table.end..len];
        Ok(Self {
            pe,
            entries,
            head,
            overlay,
            changed: false,
            initialized: 0,
            signed,
        })
    }

    /// Whether a section bears `name`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let name = padded(name);
        self.entries.iter().any(|entry| name == Some(entry.name))
    }

    /// Drops the certificate table, if there is one: a signature does not survive an edit.
    pub fn drop_signature(&mut self) {
        self.signed = false;
    }

    /// Adds a readable data section behind all others, in the file and in memory. `tail` is written
    /// behind `data` into the section's padding, where memory does not show it.
    ///
    /// # Errors
    /// `Misuse` for a name over 8 bytes or no data, `Unsupported` when the image has no room left.
    pub fn add(&mut self, name: &str, data: &'a [u8], tail: &[u8]) -> Result<()> {
        let name = padded(name).ok_or(Error::reason(
            Class::Misuse,
            "section name",
            "is longer than 8 bytes",
        ))?;
        if data.is_empty() {
            return Err(Error::value(
                Class::Misuse,
                "section size",
                0,
                Needed::AtLeast(1),
            ));
        }
        let asked = self.entries.len().saturating_add(1) as u64;
        if asked > MAX_SECTIONS.into() {
            let needed = Needed::AtMost(MAX_SECTIONS.into());
            return Err(Error::value(
                Class::Unsupported,
                "NumberOfSections",
                asked,
                needed,
            ));
        }
        let headers = self.pe.headers();
        let end = self
            .entries
            .iter()
            .map(Entry::end)
            .fold(headers.size_of_image.into(), u64::max);
        let end = usize::try_from(end).unwrap_or(usize::MAX);
        let address = align_up("VirtualAddress", end, headers.section_alignment as usize)?;
        let virtual_address = to_u32("VirtualAddress", address)?;
        let virtual_size = to_u32("VirtualSize", data.len())?;
        let mut header = [0; SECTION_HEADER_SIZE];
        put(&mut header, entry::NAME, &name)?;
        put_u32(&mut header, entry::VIRTUAL_SIZE, virtual_size)?;
        put_u32(&mut header, entry::VIRTUAL_ADDRESS, virtual_address)?;
        put_u32(&mut header, entry::CHARACTERISTICS, DATA_CHARACTERISTICS)?;
        let raw = if tail.is_empty() {
            Cow::Borrowed(data)
        } else {
            Cow::Owned([data, tail].concat())
        };
        self.entries.push(Entry {
            header,
            name,
            virtual_address,
            virtual_end: u64::from(virtual_address).saturating_add(virtual_size.into()),
            raw,
            from: None,
        });
        self.count_initialized(self.entries.len().saturating_sub(1), 1)
    }

    /// Removes the sections that bear `name`; header room they used stays free.
    ///
    /// # Errors
    /// `Unsupported` when their size cannot be told.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        let name = padded(name);
        while let Some(index) = self
            .entries
            .iter()
            .position(|entry| name == Some(entry.name))
        {
            self.count_initialized(index, -1)?;
            self.entries.remove(index);
        }
        Ok(())
    }

    /// Writes the image.
    ///
    /// # Errors
    /// `Refused` (signature) when the input is signed and [`Editor::drop_signature`] was not
    /// called; `Unsupported` when section headers find no room; see the crate's description.
    pub fn finish(&self) -> Result<Vec<u8>> {
        if self.signed {
            return Err(Error::reason(
                Class::Refused(Refusal::Signature),
                "certificate table",
                "the image is signed and no signature survives a change; --drop-signature drops it",
            ));
        }
        let output = emit(self, &Layout::new(self)?)?;
        check_coverage(&Pe::parse(&output)?)?;
        Ok(output)
    }

    fn count_initialized(&mut self, index: usize, sign: i64) -> Result<()> {
        self.changed = true;
        if let Some(entry) = self.entries.get(index) {
            let flags = crate::number::get_u32(&entry.header, entry::CHARACTERISTICS);
            if flags.unwrap_or(0) & SCN_CNT_INITIALIZED_DATA != 0 {
                let alignment = self.pe.headers().file_alignment as usize;
                let size = align_up("SizeOfRawData", entry.raw.len(), alignment)?;
                let size = i64::from(to_u32("SizeOfRawData", size)?);
                let change = size.saturating_mul(sign);
                self.initialized = self.initialized.saturating_add(change);
            }
        }
        Ok(())
    }
}

/// Characteristics of the sections we add: read-only data.
const DATA_CHARACTERISTICS: u32 = SCN_CNT_INITIALIZED_DATA | kpeel_envelope::section::SCN_MEM_READ;

fn padded(name: &str) -> Option<[u8; 8]> {
    let mut padded = [0; 8];
    padded
        .get_mut(..name.len())?
        .copy_from_slice(name.as_bytes());
    Some(padded)
}

fn read_entries<'a>(pe: &Pe<'a>) -> Result<Vec<Entry<'a>>> {
    let table = pe
        .bytes()
        .get(pe.headers().section_table_offset()..)
        .unwrap_or(&[]);
    let headers = table.chunks_exact(SECTION_HEADER_SIZE);
    let entry = |(section, header): (_, &[u8])| {
        let header = header
            .try_into()
            .map_err(|_| Error::absent(Class::Bug, "section header"))?;
        Ok(Entry::of(&section, header))
    };
    pe.sections().zip(headers).map(entry).collect()
}

/// Makes bytes between two sections part of the first one. Returns where section data begin and
/// end.
fn absorb_gaps<'a>(pe: &Pe<'a>, entries: &mut [Entry<'a>]) -> Result<(usize, usize)> {
    let image = pe.bytes();
    let mut next = None;
    let mut sections_end = None;
    let mut order: Vec<(usize, usize)> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        order.extend(entry.from.map(|from| (from, index)));
    }
    order.sort_unstable();
    for (from, index) in order.into_iter().rev() {
        let Some(entry) = entries.get_mut(index) else {
            continue;
        };
        let end = from.saturating_add(entry.raw.len());
        sections_end.get_or_insert(end);
        let next = next.replace(from).unwrap_or(end);
        let gap = image.get(end..next).unwrap_or(&[]);
        let raw_end = u64::from(entry.virtual_address).saturating_add(entry.raw.len() as u64);
        // In memory the bytes behind the raw data are zero; they must stay so.
        if entry.virtual_end > raw_end && gap.iter().any(|byte| *byte != 0) {
            let reason = "bytes that belong to no section follow, and memory would show them";
            let error = Error::reason(Class::Unsupported, "SizeOfRawData", reason);
            return Err(error.of_entry(index as u32));
        }
        entry.raw = Cow::Borrowed(image.get(from..next).unwrap_or(&[]));
    }
    let head = next.unwrap_or(pe.headers().size_of_headers as usize);
    Ok((head, sections_end.unwrap_or(head)))
}
