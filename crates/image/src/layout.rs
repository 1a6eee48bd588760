//! Where everything stands in the image to be written.

use kpeel_envelope::certificate::CERTIFICATE_ALIGNMENT;
use kpeel_envelope::error::{Class, Error, Needed, Result};
use kpeel_envelope::pe::Pe;
use kpeel_envelope::section::SECTION_HEADER_SIZE;

use crate::directory;
use crate::editor::Editor;
use crate::entry::Entry;
use crate::fixed;
use crate::moves::Moves;
use crate::number::{add, align_up};

/// The PE signature stands at a multiple of this ("Signature (Image Only)").
const PE_ALIGNMENT: usize = 8;
const PE_SIGNATURE_SIZE: usize = 4;

/// The place of one section's raw data.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Place {
    /// File offset.
    pub(crate) offset: usize,
    /// Zero bytes behind the data that belong to the section.
    pub(crate) padding: usize,
}

/// Places of headers, sections and overlay; together they fill the file without gaps.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// SizeOfHeaders: where section data begin.
    pub(crate) head: usize,
    /// How far the PE headers with the section table move up, behind other bytes of the headers.
    pub(crate) shift: usize,
    /// One for each entry; meaningless for one without raw data.
    pub(crate) places: Vec<Place>,
    /// Entries with raw data in the order they stand in the file.
    pub(crate) order: Vec<usize>,
    /// Where the certificate table stands that is kept on purpose.
    pub(crate) certificates: Option<usize>,
    /// Length of the file.
    pub(crate) len: usize,
    /// Where the input's bytes went.
    pub(crate) moves: Moves,
}

impl Layout {
    pub(crate) fn new(editor: &Editor<'_>) -> Result<Self> {
        let kept = header_size(editor)?;
        let (shift, table_end) = place_table(editor, kept)?;
        if shift != 0 || table_end > kept || kept != editor.head {
            fixed::check_may_move(editor.pe.bytes())?;
        }
        let mut layout = Self {
            head: grown(editor, kept, table_end)?,
            shift,
            places: vec![Place::default(); editor.entries.len()],
            order: file_order(&editor.entries),
            certificates: None,
            len: 0,
            moves: Moves::default(),
        };
        let end = layout.place_sections(editor)?;
        layout.moves.push(0, kept, 0);
        if layout.moves.any() {
            fixed::check_may_move(editor.pe.bytes())?;
        }
        layout.len = end;
        for range in &editor.overlay {
            layout.moves.push(range.start, range.len(), layout.len);
            layout.len = add("file size", layout.len, range.len())?;
        }
        if let Some(table) = editor.kept_certificates() {
            let start = align_up(
                "certificate table offset",
                layout.len,
                CERTIFICATE_ALIGNMENT,
            )?;
            layout.certificates = Some(start);
            layout.len = add("certificate table Size", start, table.len())?;
        }
        Ok(layout)
    }

    /// Places all sections one behind the other; returns where the last one ends.
    fn place_sections(&mut self, editor: &Editor<'_>) -> Result<usize> {
        let alignment = editor.pe.headers().file_alignment as usize;
        let mut end = self.head;
        let mut before: Option<usize> = None;
        for index in self.order.clone() {
            let Some(entry) = editor.entries.get(index) else {
                continue;
            };
            // Old bytes keep their offset modulo FileAlignment, new ones begin at a multiple of it.
            let gap = match entry.from {
                Some(from) => from.wrapping_sub(end) & alignment.saturating_sub(1),
                None => align_up("PointerToRawData", end, alignment)?.saturating_sub(end),
            };
            self.pad(before, gap);
            end = add("PointerToRawData", end, gap)?;
            let mut padding = 0;
            match entry.from {
                Some(from) => self.moves.push(from, entry.raw_len(), end),
                None => {
                    let size = align_up("SizeOfRawData", entry.raw_len(), alignment)?;
                    padding = size.saturating_sub(entry.raw_len());
                }
            }
            if let Some(place) = self.places.get_mut(index) {
                *place = Place {
                    offset: end,
                    padding,
                };
            }
            end = add("PointerToRawData", end, entry.raw_len())?;
            end = add("PointerToRawData", end, padding)?;
            before = Some(index);
        }
        Ok(end)
    }

    /// Gives `bytes` of padding to a section, or to the headers when there is none yet.
    fn pad(&mut self, section: Option<usize>, bytes: usize) {
        match section.and_then(|index| self.places.get_mut(index)) {
            Some(place) => place.padding = place.padding.saturating_add(bytes),
            None => self.head = self.head.saturating_add(bytes),
        }
    }
}

/// Sections that stood in the file in their old order, then the new ones.
fn file_order(entries: &[Entry<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..)
        .zip(entries)
        .filter(|(_, e)| e.has_raw())
        .map(|(i, _)| i)
        .collect();
    order.sort_by_key(|index| {
        entries
            .get(*index)
            .and_then(|e| e.order)
            .unwrap_or(usize::MAX)
    });
    order
}

/// Bytes of the input before section data that are kept: all, unless a gap behind the headers must
/// be closed.
fn header_size(editor: &Editor<'_>) -> Result<usize> {
    let headers = editor.pe.headers();
    let old = editor.head;
    if old <= lowest_address(editor) {
        return Ok(old);
    }
    // The headers cannot be said to reach that far. What they do not reach may be left out, if it
    // is nothing.
    let gap = old.saturating_sub(headers.size_of_headers as usize);
    let uneven = gap
        .checked_rem(headers.file_alignment as usize)
        .unwrap_or(0);
    let head = old.saturating_sub(gap.saturating_sub(uneven));
    let dropped = editor.pe.bytes().get(head..old).unwrap_or(&[]);
    if dropped.iter().any(|byte| *byte != 0) {
        let reason = "bytes that belong neither to headers nor to a section follow";
        return Err(Error::reason(Class::Unsupported, "SizeOfHeaders", reason));
    }
    Ok(head)
}

/// How far the PE headers move, and where their section table then ends. They move only when other
/// bytes stand where the table must grow: those keep their addresses.
fn place_table(editor: &Editor<'_>, head: usize) -> Result<(usize, usize)> {
    let pe = &editor.pe;
    let table = pe.headers().section_table_offset();
    let len = editor.entries.len().saturating_mul(SECTION_HEADER_SIZE);
    let table_end = add("SizeOfHeaders", table, len)?;
    if directory::is_free(pe, table_end, head) {
        return Ok((0, table_end));
    }
    let place = align_up("e_lfanew", directory::used_end(pe, head), PE_ALIGNMENT)?;
    let shift = place.saturating_sub(pe_offset(pe));
    Ok((shift, add("SizeOfHeaders", table_end, shift)?))
}

/// SizeOfHeaders: `head`, or more when the section table needs it. Whole multiples of FileAlignment
/// keep the alignment of everything behind.
fn grown(editor: &Editor<'_>, head: usize, table_end: usize) -> Result<usize> {
    let alignment = editor.pe.headers().file_alignment as usize;
    let missing = align_up("SizeOfHeaders", table_end.saturating_sub(head), alignment)?;
    let head = add("SizeOfHeaders", head, missing)?;
    let limit = lowest_address(editor);
    if head > limit {
        let needed = Needed::AtMost(limit as u64);
        let found = head as u64;
        return Err(Error::value(
            Class::Unsupported,
            "SizeOfHeaders",
            found,
            needed,
        ));
    }
    Ok(head)
}

/// File offset of the PE signature, which stands before the COFF header.
pub(crate) fn pe_offset(pe: &Pe<'_>) -> usize {
    pe.headers().coff_offset.saturating_sub(PE_SIGNATURE_SIZE)
}

/// The first address that a section uses: headers are mapped below it.
fn lowest_address(editor: &Editor<'_>) -> usize {
    let used = editor
        .entries
        .iter()
        .filter(|entry| entry.end() > entry.virtual_address.into());
    used.map(|entry| entry.virtual_address as usize)
        .min()
        .unwrap_or(usize::MAX)
}
