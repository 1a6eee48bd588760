//! Which bytes an Authenticode signature covers.
//!
//! Source: "Windows Authenticode Portable Executable Signature Format", "Calculating the PE Image
//! Hash"; `crypto/asymmetric_keys/verify_pefile.c`.

use core::ops::Range;

use super::error::{Class, Error, Needed, Refusal, Result};
use super::pe::{Covered, Pe, MAX_SECTIONS};

/// Most ranges a digest is made of: three of the headers, the sections, the rest.
const MAX_RANGES: usize = 3 + MAX_SECTIONS as usize + 1;

/// The file ranges that make up an image's digest, in the order they are hashed.
#[derive(Clone, Debug)]
pub struct DigestRanges {
    ranges: [(usize, usize); MAX_RANGES],
    len: usize,
    next: usize,
}

impl DigestRanges {
    /// The ranges of `pe`, by the specification's rule: headers without CheckSum and the
    /// certificate directory entry, sections by ascending file offset, then what follows the bytes
    /// so far counted, up to the certificate table.
    #[must_use]
    pub fn new(pe: &Pe<'_>) -> Self {
        let mut all = Self {
            ranges: [(0, 0); MAX_RANGES],
            len: 0,
            next: 0,
        };
        let headers = pe.headers().size_of_headers as usize;
        let Covered {
            len: end,
            zeroed: [check_sum, entry],
        } = pe.covered();
        all.push(0..check_sum.start);
        if entry.is_empty() {
            all.push(check_sum.end..headers);
        } else {
            all.push(check_sum.end..entry.start);
            all.push(entry.end..headers);
        }
        let first_section = all.len;
        let mut counted = headers;
        for section in pe.sections() {
            let raw = section.raw_range();
            counted = counted.saturating_add(raw.len());
            all.push(raw);
        }
        if let Some(sections) = all.ranges.get_mut(first_section..all.len) {
            sections.sort_unstable();
        }
        if counted < end {
            all.push(counted..end);
        }
        all
    }

    fn push(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        if let Some(slot) = self.ranges.get_mut(self.len) {
            *slot = (range.start, range.end);
            self.len = self.len.saturating_add(1);
        }
    }
}

impl Iterator for DigestRanges {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let (start, end) = *self.ranges.get(..self.len)?.get(self.next)?;
        self.next = self.next.saturating_add(1);
        Some(start..end)
    }
}

/// Refuses layouts in which some byte that a parser may see lies outside the digest, or a byte
/// follows the certificate table.
///
/// # Errors
/// `Refused` (signature) naming the first gap or the bytes at the end.
pub fn check_coverage(pe: &Pe<'_>) -> Result<()> {
    let refused = |field, found, needed| {
        Err(Error::value(
            Class::Refused(Refusal::Signature),
            field,
            found,
            needed,
        ))
    };
    let Covered {
        len: end,
        zeroed: [check_sum, entry],
    } = pe.covered();
    let mut covered_to = 0;
    for range in DigestRanges::new(pe) {
        let skipped = covered_to..range.start;
        let expected = skipped.is_empty() || skipped == check_sum || skipped == entry;
        if !expected || range.start < covered_to {
            let needed = Needed::Exactly(covered_to as u64);
            return refused(
                "start of signed bytes after a gap",
                range.start as u64,
                needed,
            );
        }
        covered_to = range.end;
    }
    if covered_to != end {
        return refused(
            "end of signed bytes",
            covered_to as u64,
            Needed::Exactly(end as u64),
        );
    }
    let file_end = pe.bytes().len() as u64;
    let table_end = pe
        .certificate_table()
        .map_or(pe.bytes().len(), |table| table.end) as u64;
    if table_end != file_end {
        return refused(
            "end of the certificate table",
            table_end,
            Needed::Exactly(file_end),
        );
    }
    Ok(())
}
