//! Digests that are made while an image is read.

use std::ops::Range;

use kpeel_envelope::authenticode::DigestRanges;
use kpeel_envelope::headers::{DIRECTORY_SIZE, Headers};
use kpeel_envelope::pe::{DIRECTORY_CERTIFICATE, Pe};

use crate::hash::{Hash, Hasher};

/// Size of `CheckSum` in bytes.
const CHECK_SUM_SIZE: usize = 4;

/// The Authenticode digest of an image, made while the image is read: whoever reads it gives every
/// part to [`Reading::update`] as it comes. Nothing is believed of what these parts are: the digest
/// counts for an image only if what was left out and what was hashed is what the image's own tables
/// say, once they are checked; else it is made afresh.
#[derive(Clone, Debug)]
pub struct Reading {
    hash: Hash,
    hasher: Hasher,
    /// Bytes seen so far.
    len: usize,
    /// What the digest leaves out, by the headers alone: `CheckSum`, the certificate directory
    /// entry, everything from the certificate table on. None when they cannot be read.
    left_out: Option<[Range<usize>; 3]>,
}

impl Reading {
    /// A digest by `hash` of an image of which nothing is read yet.
    #[must_use]
    pub fn new(hash: Hash) -> Self {
        Self {
            hash,
            hasher: Hasher::new(hash),
            len: 0,
            left_out: None,
        }
    }

    /// Takes the image's next bytes. The first have to hold all headers; if they do not, the digest
    /// is made afresh when it is needed.
    pub fn update(&mut self, bytes: &[u8]) {
        if self.len == 0 {
            self.left_out = left_out(bytes);
        }
        let start = self.len;
        self.len = start.saturating_add(bytes.len());
        for range in self.hashed(start..self.len) {
            let range = range.start.saturating_sub(start)..range.end.saturating_sub(start);
            self.hasher.update(bytes.get(range).unwrap_or_default());
        }
    }

    /// The digest so far, if it is that of this image, which was read meanwhile.
    pub(crate) fn of(&self, pe: &Pe<'_>, hash: Hash) -> Option<Hasher> {
        let whole = hash == self.hash && self.len == pe.bytes().len();
        let hashed = merged(self.hashed(0..self.len));
        (whole && hashed == merged(DigestRanges::new(pe))).then(|| self.hasher.clone())
    }

    /// What of these bytes of the file is hashed; nothing when headers could not be read.
    fn hashed(&self, bytes: Range<usize>) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        let Some(left_out) = &self.left_out else {
            return ranges;
        };
        let mut start = bytes.start;
        for skipped in left_out {
            ranges.push(start..skipped.start.min(bytes.end));
            start = start.max(skipped.end);
        }
        ranges.push(start..bytes.end);
        ranges.retain(|range| !range.is_empty());
        ranges
    }
}

fn left_out(head: &[u8]) -> Option<[Range<usize>; 3]> {
    let headers = Headers::parse(head).ok()?;
    let (table, size) = headers.certificate;
    let table = if size == 0 {
        usize::MAX
    } else {
        table as usize
    };
    let check_sum = headers.check_sum_offset();
    let entry = headers.directory_offset(DIRECTORY_CERTIFICATE)?;
    Some([
        check_sum..check_sum.saturating_add(CHECK_SUM_SIZE),
        entry..entry.saturating_add(DIRECTORY_SIZE),
        table..usize::MAX,
    ])
}

/// Ranges in their order, those that follow one another as one.
fn merged(ranges: impl IntoIterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let mut all: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match all.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => all.push(range),
        }
    }
    all
}
