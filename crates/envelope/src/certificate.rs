//! The attribute certificate table: where signatures stand.
//!
//! Source: Microsoft PE Format, "The Attribute Certificate Table (Image Only)".

use super::error::{Error, Needed, Result};
use super::reader::Reader;

/// Entries start at multiples of this, and so does the table.
pub const CERTIFICATE_ALIGNMENT: usize = 8;
/// Bytes of an entry before its certificate: dwLength, wRevision, wCertificateType.
pub const CERTIFICATE_HEADER_SIZE: usize = 8;
/// `WIN_CERT_TYPE_PKCS_SIGNED_DATA`.
pub const CERT_TYPE_PKCS_SIGNED_DATA: u16 = 0x0002;

/// One `WIN_CERTIFICATE`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Certificate<'a> {
    /// `wRevision`; 0x0200 is current.
    pub revision: u16,
    /// `wCertificateType`.
    pub kind: u16,
    /// The certificate itself.
    pub data: &'a [u8],
}

/// Walks the entries of a table.
#[derive(Clone, Debug)]
pub struct Certificates<'a> {
    table: &'a [u8],
    rest: Reader<'a>,
    index: u32,
}

impl<'a> Certificates<'a> {
    /// The entries of `table`, the bytes the certificate directory names.
    #[must_use]
    pub const fn new(table: &'a [u8]) -> Self {
        Self {
            table,
            rest: Reader::new(table),
            index: 0,
        }
    }

    fn entry(&mut self) -> Result<Certificate<'a>> {
        let left = self.table.len().saturating_sub(self.rest.offset());
        let length = self.rest.u32("dwLength")? as usize;
        let revision = self.rest.u16("wRevision")?;
        let kind = self.rest.u16("wCertificateType")?;
        let least = CERTIFICATE_HEADER_SIZE;
        if length < least {
            return Err(Error::malformed(
                "dwLength",
                length as u64,
                Needed::AtLeast(least as u64),
            ));
        }
        if length > left {
            return Err(Error::malformed(
                "dwLength",
                length as u64,
                Needed::AtMost(left as u64),
            ));
        }
        let data = self
            .rest
            .take(length.saturating_sub(least), "bCertificate")?;
        // The last entry's padding may be missing only when the table ends there.
        let padding = length.wrapping_neg() % CERTIFICATE_ALIGNMENT;
        let left = left.saturating_sub(length);
        self.rest.take(padding.min(left), "padding")?;
        Ok(Certificate {
            revision,
            kind,
            data,
        })
    }
}

impl<'a> Iterator for Certificates<'a> {
    type Item = Result<Certificate<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.offset() >= self.table.len() {
            return None;
        }
        let entry = self.entry().map_err(|error| error.of_entry(self.index));
        self.index = self.index.saturating_add(1);
        if entry.is_err() {
            // Nothing behind a broken entry can be found.
            self.rest = Reader::new(&[]);
            self.table = &[];
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: [u8; 32] = [
        10, 0, 0, 0, 0, 2, 2, 0, 0xaa, 0xbb, 0, 0, 0, 0, 0, 0, // padded to 16
        16, 0, 0, 0, 0, 2, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8,
    ];

    #[test]
    fn walks_two_entries() {
        let mut all = Certificates::new(&TWO);
        let first = all.next().unwrap().unwrap();
        assert_eq!(
            (first.revision, first.kind, first.data),
            (0x200, 2, &[0xaa, 0xbb][..])
        );
        assert_eq!(all.next().unwrap().unwrap().data.len(), 8);
        assert!(all.next().is_none());
    }

    #[test]
    fn rejects_lengths_that_do_not_fit_and_then_stops() {
        for (length, needed) in [(7, Needed::AtLeast(8)), (33, Needed::AtMost(32))] {
            let mut table = TWO;
            table[0] = length;
            let mut all = Certificates::new(&table);
            let error = Error::malformed("dwLength", length.into(), needed).of_entry(0);
            assert_eq!(all.next(), Some(Err(error)));
            assert_eq!(all.next(), None);
        }
    }
}
