//! Images that pass by and are not kept.

use std::ops::Range;

use kpeel_envelope::headers::Headers;
use kpeel_envelope::pe::Pe;
use kpeel_image::{Sum, body_start};

use crate::error::{Error, Result};
use crate::hash::{Hash, Hasher};
use crate::reading::Reading;

/// Most bytes kept from the certificate table on; real tables are some KiB.
const MAX_TABLE: usize = 1 << 20;

/// An image that passes by, part by part, to be signed or verified: its digests are made, and only
/// its first part and its certificate table are kept.
#[derive(Clone, Debug)]
pub struct Passing {
    readings: Vec<Reading>,
    /// Made of what is to be signed only.
    sum: Option<Sum>,
    places: Option<Places>,
    head: Vec<u8>,
    table: Vec<u8>,
    len: usize,
}

/// What the headers say about the rest.
#[derive(Clone, Copy, Debug)]
struct Places {
    /// Where those bytes begin that no signature changes.
    body: usize,
    /// Where the certificate table begins, if there is one.
    table: Option<usize>,
    /// Whether the image has a checksum.
    summed: bool,
}

/// What is kept of an image that has passed by. Its digests count as those of [`Reading`] do.
#[derive(Clone, Debug)]
pub struct Outline {
    /// As long as the image, zeros where nothing was kept: good for headers and tables only.
    bytes: Vec<u8>,
    readings: Vec<Reading>,
    sum: Option<Sum>,
}

impl Passing {
    /// An image to verify, of which nothing has passed yet; `hashes` are the digests to make.
    #[must_use]
    pub fn to_verify(hashes: &[Hash]) -> Self {
        Self {
            readings: hashes.iter().copied().map(Reading::new).collect(),
            sum: None,
            places: None,
            head: Vec::new(),
            table: Vec::new(),
            len: 0,
        }
    }

    /// The same of an image to sign, whose checksum will have to be made anew.
    #[must_use]
    pub fn to_sign(hashes: &[Hash]) -> Self {
        Self {
            sum: Some(Sum::default()),
            ..Self::to_verify(hashes)
        }
    }

    /// Takes the image's next bytes; the first have to hold all headers.
    pub fn update(&mut self, bytes: &[u8]) {
        if self.len == 0 {
            self.places = Headers::parse(bytes).ok().map(Places::of);
            self.head = bytes.to_vec();
        }
        for reading in &mut self.readings {
            reading.update(bytes);
        }
        if let Some(places) = self.places {
            let table = places.table.unwrap_or(usize::MAX);
            if let Some(sum) = self.sum.as_mut().filter(|_| places.summed) {
                sum.add(cut(bytes, self.len, places.body..table));
            }
            self.keep(cut(bytes, self.len, table..usize::MAX));
        }
        self.len = self.len.saturating_add(bytes.len());
    }

    /// Keeps bytes of the table, or nothing at all any more if they get too many: not to hold the
    /// image in memory is what this is for.
    fn keep(&mut self, table: &[u8]) {
        if self.table.len().saturating_add(table.len()) > MAX_TABLE {
            self.places = None;
            self.table = Vec::new();
            // Nobody will ask for the digests.
            self.readings.clear();
            return;
        }
        self.table.extend_from_slice(table);
    }

    /// What is kept; `None` when the first bytes did not hold all headers, more than 1 MiB stands
    /// from the certificate table on, or there is no memory.
    #[must_use]
    pub fn finish(self) -> Option<Outline> {
        let table = self.places?.table.unwrap_or(self.len);
        // `vec!` ends the process where there is no room; asking first does not.
        Vec::<u8>::new().try_reserve_exact(self.len).ok()?;
        let mut bytes = vec![0; self.len];
        bytes
            .get_mut(..self.head.len())?
            .copy_from_slice(&self.head);
        // A table inside the headers is there already, and no image has one.
        if let Some(room) = bytes.get_mut(table..) {
            room.copy_from_slice(&self.table);
        }
        Some(Outline {
            bytes,
            readings: self.readings,
            sum: self.sum,
        })
    }
}

impl Places {
    fn of(headers: Headers) -> Self {
        let (table, size) = headers.certificate;
        Self {
            body: body_start(&headers),
            table: (size != 0).then_some(table as usize),
            summed: headers.check_sum != 0,
        }
    }
}

impl Outline {
    /// What `look` finds in headers and section table; sections seem to hold zeros.
    ///
    /// # Errors
    /// Those of [`Pe::parse`].
    pub fn with_pe<T>(&self, look: impl FnOnce(&Pe<'_>) -> T) -> Result<T> {
        self.pe().map(|pe| look(&pe))
    }

    /// The image's SHA-256 (Authenticode), if it was made.
    #[must_use]
    pub fn sha256(&self) -> Option<Vec<u8>> {
        let pe = self.pe().ok()?;
        self.digest(&pe, Hash::Sha256).map(Hasher::finish)
    }

    /// Headers and tables. Sections are where they are, but what they hold was not kept.
    pub(crate) fn pe(&self) -> Result<Pe<'_>> {
        Ok(Pe::parse(&self.bytes)?)
    }

    /// The image's digest by this hash, if it was made.
    pub(crate) fn digest(&self, pe: &Pe<'_>, hash: Hash) -> Option<Hasher> {
        let mut readings = self.readings.iter();
        readings.find_map(|reading| reading.of(pe, hash))
    }

    /// The sum of the bytes that signing does not change.
    ///
    /// # Errors
    /// `Misuse` of an image that passed to be verified.
    pub(crate) fn body(&self) -> Result<&Sum> {
        let missing = || Error::misuse("checksum", "found none, needed an image to sign");
        self.sum.as_ref().ok_or_else(missing)
    }
}

/// Those of `bytes`, which stand at `at`, that lie in `range`.
fn cut(bytes: &[u8], at: usize, range: Range<usize>) -> &[u8] {
    let start = range.start.saturating_sub(at);
    let end = range.end.saturating_sub(at).min(bytes.len());
    bytes.get(start..end).unwrap_or_default()
}
