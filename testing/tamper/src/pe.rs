//! Places in a PE image, and changes to them. Only images made here come in, so what is read is not
//! checked.
//!
//! Source: Microsoft PE Format.

/// A PE32+ image that is being changed.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) bytes: Vec<u8>,
}

/// Offsets in the COFF header.
pub(crate) mod coff {
    pub(crate) const TIME_DATE_STAMP: usize = 4;
    pub(crate) const POINTER_TO_SYMBOL_TABLE: usize = 8;
    pub(crate) const NUMBER_OF_SYMBOLS: usize = 12;
    pub(crate) const NUMBER_OF_SECTIONS: usize = 2;
    pub(crate) const SIZE_OF_OPTIONAL_HEADER: usize = 16;
    pub(crate) const CHARACTERISTICS: usize = 18;
    pub(crate) const SIZE: usize = 20;
}

/// Offsets in the optional header.
pub(crate) mod optional {
    pub(crate) const LINKER_VERSION: usize = 2;
    pub(crate) const SIZE_OF_CODE: usize = 4;
    pub(crate) const ENTRY_POINT: usize = 16;
    pub(crate) const BASE_OF_CODE: usize = 20;
    pub(crate) const IMAGE_BASE: usize = 24;
    pub(crate) const FILE_ALIGNMENT: usize = 36;
    pub(crate) const OPERATING_SYSTEM_VERSION: usize = 40;
    pub(crate) const SIZE_OF_IMAGE: usize = 56;
    pub(crate) const SIZE_OF_HEADERS: usize = 60;
    pub(crate) const CHECK_SUM: usize = 64;
    pub(crate) const DLL_CHARACTERISTICS: usize = 70;
    pub(crate) const SIZE_OF_STACK_RESERVE: usize = 72;
    pub(crate) const LOADER_FLAGS: usize = 104;
    pub(crate) const NUMBER_OF_DIRECTORIES: usize = 108;
    pub(crate) const DIRECTORIES: usize = 112;
}

/// Offsets in an entry of the section table.
pub(crate) mod section {
    pub(crate) const VIRTUAL_SIZE: usize = 8;
    pub(crate) const SIZE_OF_RAW_DATA: usize = 16;
    pub(crate) const POINTER_TO_RAW_DATA: usize = 20;
    pub(crate) const CHARACTERISTICS: usize = 36;
    pub(crate) const SIZE: usize = 40;
}

/// Offsets in an entry of the certificate table.
pub(crate) mod certificate {
    pub(crate) const LENGTH: usize = 0;
    pub(crate) const REVISION: usize = 4;
    pub(crate) const TYPE: usize = 6;
    /// Length of the header.
    pub(crate) const SIZE: usize = 8;
    /// Entries start at multiples of this.
    pub(crate) const ALIGNMENT: usize = 8;
    /// `WIN_CERT_REVISION_2_0`.
    pub(crate) const REVISION_2: u16 = 0x0200;
    /// `WIN_CERT_TYPE_PKCS_SIGNED_DATA`.
    pub(crate) const PKCS_SIGNED_DATA: u16 = 0x0002;
}

const E_LFANEW: usize = 0x3c;
/// Index of the certificate table's directory entry.
const CERTIFICATES: usize = 4;

impl Image {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    pub(crate) fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }

    /// Writes these bytes at this offset.
    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn put_u32(&mut self, at: usize, value: usize) {
        self.put(at, &(value as u32).to_le_bytes());
    }

    /// Flips bits of one byte.
    pub(crate) fn flip(&mut self, at: usize, bits: u8) {
        self.bytes[at] ^= bits;
    }

    /// Offset of the COFF header.
    pub(crate) fn coff(&self) -> usize {
        self.u32(E_LFANEW) as usize + 4
    }

    /// Offset of the optional header.
    pub(crate) fn optional(&self) -> usize {
        self.coff() + coff::SIZE
    }

    pub(crate) fn check_sum(&self) -> usize {
        self.optional() + optional::CHECK_SUM
    }

    pub(crate) fn size_of_headers(&self) -> usize {
        self.optional() + optional::SIZE_OF_HEADERS
    }

    /// Offset of a data directory's entry.
    pub(crate) fn directory(&self, index: usize) -> usize {
        self.optional() + optional::DIRECTORIES + 8 * index
    }

    /// How many sections there are.
    pub(crate) fn sections(&self) -> usize {
        self.u16(self.coff() + coff::NUMBER_OF_SECTIONS).into()
    }

    /// Offset of a section's entry in the section table.
    pub(crate) fn section(&self, index: usize) -> usize {
        let size = self.u16(self.coff() + coff::SIZE_OF_OPTIONAL_HEADER);
        self.optional() + usize::from(size) + section::SIZE * index
    }

    /// Offset and length of a section's data in the file.
    pub(crate) fn raw(&self, index: usize) -> (usize, usize) {
        let entry = self.section(index);
        (
            self.u32(entry + section::POINTER_TO_RAW_DATA) as usize,
            self.u32(entry + section::SIZE_OF_RAW_DATA) as usize,
        )
    }

    /// End of the last section's data in the file.
    pub(crate) fn end_of_sections(&self) -> usize {
        let ends = (0..self.sections()).map(|index| self.raw(index));
        ends.map(|(start, len)| start + len).max().unwrap_or(0)
    }

    /// Offset and length of the certificate table, if there is one.
    pub(crate) fn table(&self) -> Option<(usize, usize)> {
        let entry = self.directory(CERTIFICATES);
        let (start, len) = (self.u32(entry), self.u32(entry + 4));
        (len != 0).then_some((start as usize, len as usize))
    }

    /// Says where the certificate table is.
    pub(crate) fn put_table(&mut self, start: usize, len: usize) {
        let entry = self.directory(CERTIFICATES);
        self.put_u32(entry, start);
        self.put_u32(entry + 4, len);
    }

    /// Cuts the certificate table off.
    pub(crate) fn without_table(mut self) -> Self {
        if let Some((start, _)) = self.table() {
            self.bytes.truncate(start);
            self.put_table(0, 0);
        }
        self
    }

    /// Fills up to a place where a certificate table may start. To be done before the image is
    /// hashed.
    pub(crate) fn padded(mut self) -> Self {
        let len = self.bytes.len().next_multiple_of(certificate::ALIGNMENT);
        self.bytes.resize(len, 0);
        self
    }

    /// Puts a certificate table of these entries at the end.
    pub(crate) fn with_table(mut self, entries: &[&[u8]]) -> Self {
        let start = self.bytes.len();
        for entry in entries {
            self.bytes.extend_from_slice(entry);
        }
        self.put_table(start, self.bytes.len() - start);
        self
    }
}

/// An entry of the certificate table around these bytes, padded with zeros.
pub(crate) fn entry(content: &[u8]) -> Vec<u8> {
    let len = certificate::SIZE + content.len();
    let mut out = (len as u32).to_le_bytes().to_vec();
    out.extend_from_slice(&certificate::REVISION_2.to_le_bytes());
    out.extend_from_slice(&certificate::PKCS_SIGNED_DATA.to_le_bytes());
    out.extend_from_slice(content);
    out.resize(len.next_multiple_of(certificate::ALIGNMENT), 0);
    out
}
