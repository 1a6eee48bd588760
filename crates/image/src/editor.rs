//! An image taken apart.

use std::borrow::Cow;
use std::ops::Range;

use kpeel_envelope::authenticode::check_coverage;
use kpeel_envelope::error::{Class, Error, Needed, Refusal, Result};
use kpeel_envelope::pe::{MAX_SECTIONS, Pe};
use kpeel_envelope::section::{
    SCN_CNT_CODE, SCN_CNT_INITIALIZED_DATA, SCN_MEM_READ, SECTION_HEADER_SIZE,
};

use crate::emit::emit;
use crate::entry::{self, Entry};
use crate::layout::Layout;
use crate::number::{align_up, get_u32, put, put_u32, to_u32};
use crate::parts::Parts;

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
    /// Bits of DllCharacteristics that are taken away.
    pub(crate) dll_cleared: u16,
    certificates: Certificates,
}

/// What becomes of the certificate table of a signed image.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Certificates {
    /// Nothing: a signed image is refused.
    #[default]
    Refuse,
    /// It is left out, and the image is unsigned.
    Drop,
    /// It stands behind everything else, byte for byte; whether it still fits the image is the
    /// caller's business.
    Keep,
}

/// What a section that is added holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Contents {
    /// Data to read.
    Data,
    /// Code to read, which something that is loaded later maps as it likes: a UKI's kernel.
    Kernel,
    /// Code that runs in place.
    Code,
}

/// `IMAGE_DLLCHARACTERISTICS_NX_COMPAT`.
pub(crate) const NX_COMPAT: u16 = 0x0100;
/// `IMAGE_SCN_MEM_EXECUTE`.
const SCN_MEM_EXECUTE: u32 = 0x2000_0000;

impl Contents {
    fn characteristics(self) -> u32 {
        match self {
            Self::Data => SCN_CNT_INITIALIZED_DATA | SCN_MEM_READ,
            Self::Kernel => SCN_CNT_CODE | SCN_MEM_READ,
            Self::Code => SCN_CNT_CODE | SCN_MEM_READ | SCN_MEM_EXECUTE,
        }
    }
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
        let table = pe.certificate_table().unwrap_or(len..len);
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
            dll_cleared: 0,
            certificates: Certificates::Refuse,
        })
    }

    /// Whether a section bears `name`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let name = padded(name);
        self.entries.iter().any(|entry| name == Some(entry.name))
    }

    /// Places in the section table of the sections that bear `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Vec<usize> {
        let name = padded(name);
        let named =
            |(index, entry): (usize, &Entry<'_>)| (name == Some(entry.name)).then_some(index);
        self.entries.iter().enumerate().filter_map(named).collect()
    }

    /// How many sections there are now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no sections.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Says what becomes of the certificate table, if there is one: no signature survives an edit.
    pub fn set_certificates(&mut self, certificates: Certificates) {
        self.certificates = certificates;
    }

    /// Takes the promise away that the image runs where memory is never both writable and
    /// executable: NX_COMPAT in DllCharacteristics.
    pub fn clear_nx_compat(&mut self) {
        self.dll_cleared |= NX_COMPAT;
    }

    /// Adds a section behind all others, in the table, in the file and in memory. One without data
    /// is an entry of the table and nothing else.
    ///
    /// # Errors
    /// `Misuse` for a name that is empty or over 8 bytes, `Unsupported` when the image has no room
    /// left.
    pub fn add(
        &mut self,
        name: &str,
        data: impl Into<Cow<'a, [u8]>>,
        contents: Contents,
    ) -> Result<()> {
        self.add_with_tail(name, data.into(), contents, &[])
    }

    /// As [`Editor::add`] for a section of `len` bytes that whoever writes the image puts in: they
    /// stand as [`Part::Later`](crate::Part::Later) among what [`Editor::parts`] gives.
    ///
    /// # Errors
    /// As [`Editor::add`].
    pub fn add_later(&mut self, name: &str, len: usize, contents: Contents) -> Result<()> {
        self.push(name, len, Cow::default(), len, contents)
    }

    /// As [`Editor::add`]; `tail` is written behind `data` into the section's padding, where memory
    /// does not show it.
    pub(crate) fn add_with_tail(
        &mut self,
        name: &str,
        data: Cow<'a, [u8]>,
        contents: Contents,
        tail: &[u8],
    ) -> Result<()> {
        let size = data.len();
        let raw = if tail.is_empty() {
            data
        } else {
            Cow::Owned([&data, tail].concat())
        };
        self.push(name, size, raw, 0, contents)
    }

    /// A section of `size` bytes in memory that holds `raw` and then `later` bytes.
    fn push(
        &mut self,
        name: &str,
        size: usize,
        raw: Cow<'a, [u8]>,
        later: usize,
        contents: Contents,
    ) -> Result<()> {
        let name = padded(name)
            .filter(|name| *name != [0; 8])
            .ok_or(Error::reason(
                Class::Misuse,
                "section name",
                "needs 1 to 8 bytes",
            ))?;
        self.check_count()?;
        let virtual_address = self.next_address()?;
        let virtual_size = to_u32("VirtualSize", size)?;
        let header = new_header(name, virtual_address, virtual_size, contents)?;
        self.entries.push(Entry {
            header,
            name,
            virtual_address,
            virtual_end: u64::from(virtual_address).saturating_add(virtual_size.into()),
            raw,
            later,
            from: None,
            order: None,
        });
        self.count_initialized(self.entries.len().saturating_sub(1), 1)
    }

    /// Puts `data` in the place of what section `index` of the table holds. Its address stays, and
    /// so do those of all others: they may be part of code.
    ///
    /// # Errors
    /// `Misuse` when there is no such section, `Unsupported` when the data would reach the next
    /// section in memory.
    pub fn replace(&mut self, index: usize, data: impl Into<Cow<'a, [u8]>>) -> Result<()> {
        let data = data.into();
        let room = self.room(index)?;
        if data.len() as u64 > room {
            let error = Error::value(
                Class::Unsupported,
                "VirtualSize",
                data.len() as u64,
                Needed::AtMost(room),
            );
            return Err(error.of_entry(index as u32));
        }
        self.count_initialized(index, -1)?;
        let virtual_size = to_u32("VirtualSize", data.len())?;
        let entry = self.entries.get_mut(index).ok_or(no_section())?;
        put_u32(&mut entry.header, entry::VIRTUAL_SIZE, virtual_size)?;
        // The layout fills these in for a section that has raw data.
        put_u32(&mut entry.header, entry::SIZE_OF_RAW_DATA, 0)?;
        put_u32(&mut entry.header, entry::POINTER_TO_RAW_DATA, 0)?;
        entry.virtual_end = u64::from(entry.virtual_address).saturating_add(virtual_size.into());
        entry.raw = data;
        entry.later = 0;
        entry.from = None;
        self.count_initialized(index, 1)
    }

    /// Bytes of memory that section `index` may take up: to the next section, or to the end of what
    /// 32 bits address.
    ///
    /// # Errors
    /// `Misuse` when there is no such section.
    pub fn room(&self, index: usize) -> Result<u64> {
        let entry = self.entries.get(index).ok_or(no_section())?;
        let start = entry.virtual_address;
        let others = self
            .entries
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != index);
        let next = others
            .map(|(_, other)| other.virtual_address)
            .filter(|address| *address >= start)
            .min()
            .unwrap_or(u32::MAX);
        Ok(next.saturating_sub(start).into())
    }

    /// Removes all sections that bear `name`; header room they used stays free.
    ///
    /// # Errors
    /// `Unsupported` when their size cannot be told.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        while let Some(index) = self.find(name).first() {
            self.remove_at(*index)?;
        }
        Ok(())
    }

    /// Removes section `index` of the table.
    ///
    /// # Errors
    /// `Misuse` when there is none, `Unsupported` when its size cannot be told.
    pub fn remove_at(&mut self, index: usize) -> Result<()> {
        if index >= self.entries.len() {
            return Err(no_section());
        }
        self.count_initialized(index, -1)?;
        self.entries.remove(index);
        Ok(())
    }

    /// Writes the image.
    ///
    /// # Errors
    /// `Refused` (signature) when the input is signed and [`Editor::set_certificates`] did not say
    /// what becomes of it; `Unsupported` when section headers find no room; see the crate's
    /// description.
    pub fn finish(&self) -> Result<Vec<u8>> {
        let output = self.parts()?.to_vec()?;
        check_coverage(&Pe::parse(&output)?)?;
        Ok(output)
    }

    /// Writes the image as pieces that need not be brought together in memory.
    ///
    /// # Errors
    /// Those of [`Editor::finish`].
    pub fn parts(&self) -> Result<Parts<'_>> {
        if self.pe.certificate_table().is_some() && self.certificates == Certificates::Refuse {
            return Err(Error::reason(
                Class::Refused(Refusal::Signature),
                "certificate table",
                "the image is signed and no signature survives a change; --drop-signature drops it",
            ));
        }
        emit(self, &Layout::new(self)?)
    }

    /// The certificate table, if it is kept on purpose.
    pub(crate) fn kept_certificates(&self) -> Option<&'a [u8]> {
        let table = self.pe.certificate_table()?;
        let bytes = self.pe.bytes().get(table)?;
        (self.certificates == Certificates::Keep).then_some(bytes)
    }

    fn check_count(&self) -> Result<()> {
        let asked = self.entries.len().saturating_add(1) as u64;
        if asked <= MAX_SECTIONS.into() {
            return Ok(());
        }
        let needed = Needed::AtMost(MAX_SECTIONS.into());
        Err(Error::value(
            Class::Unsupported,
            "NumberOfSections",
            asked,
            needed,
        ))
    }

    /// The first free address behind everything else.
    fn next_address(&self) -> Result<u32> {
        let headers = self.pe.headers();
        let end = self
            .entries
            .iter()
            .map(Entry::end)
            .fold(headers.size_of_image.into(), u64::max);
        let end = usize::try_from(end).unwrap_or(usize::MAX);
        let address = align_up("VirtualAddress", end, headers.section_alignment as usize)?;
        to_u32("VirtualAddress", address)
    }

    fn count_initialized(&mut self, index: usize, sign: i64) -> Result<()> {
        self.changed = true;
        if let Some(entry) = self.entries.get(index) {
            let flags = get_u32(&entry.header, entry::CHARACTERISTICS);
            if flags.unwrap_or(0) & SCN_CNT_INITIALIZED_DATA != 0 {
                let alignment = self.pe.headers().file_alignment as usize;
                let size = align_up("SizeOfRawData", entry.raw_len(), alignment)?;
                let size = i64::from(to_u32("SizeOfRawData", size)?);
                let change = size.saturating_mul(sign);
                self.initialized = self.initialized.saturating_add(change);
            }
        }
        Ok(())
    }
}

/// The header of a section without raw data, which the layout places.
fn new_header(
    name: [u8; 8],
    address: u32,
    size: u32,
    contents: Contents,
) -> Result<[u8; SECTION_HEADER_SIZE]> {
    let mut header = [0; SECTION_HEADER_SIZE];
    put(&mut header, entry::NAME, &name)?;
    put_u32(&mut header, entry::VIRTUAL_SIZE, size)?;
    put_u32(&mut header, entry::VIRTUAL_ADDRESS, address)?;
    let characteristics = contents.characteristics();
    put_u32(&mut header, entry::CHARACTERISTICS, characteristics)?;
    Ok(header)
}

fn no_section() -> Error {
    Error::absent(Class::Misuse, "section")
}

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
