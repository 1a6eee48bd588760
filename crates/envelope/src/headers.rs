//! The headers of a PE image: every field checked that stands for itself.
//!
//! Source: Microsoft PE Format; `include/linux/pe.h`.

use super::error::{Class, Error, Needed, Result};
use super::pe::{DIRECTORY_CERTIFICATE, MAX_SECTIONS};
use super::reader::{sub, Reader};

/// Size of one data directory entry in bytes.
pub const DIRECTORY_SIZE: usize = 8;

const DOS_MAGIC: [u8; 2] = *b"MZ";
const LFANEW_OFFSET: u64 = 0x3c;
const DOS_HEADER_SIZE: u64 = 0x40;
const PE_SIGNATURE: [u8; 4] = *b"PE\0\0";
const COFF_HEADER_SIZE: usize = 20;
const MAGIC_PE32: u16 = 0x10b;
const MAGIC_PE32_PLUS: u16 = 0x20b;
/// Optional header up to and without the data directories.
const OPTIONAL_HEADER_SIZE: usize = 112;
const MAX_DIRECTORIES: u32 = 16;
/// Offset of CheckSum in the optional header.
const CHECK_SUM_OFFSET: usize = 64;

/// The header fields, as they stand in the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Headers {
    /// File offset of the COFF header.
    pub coff_offset: usize,
    /// `Machine`.
    pub machine: u16,
    /// `NumberOfSections`.
    pub number_of_sections: u16,
    /// `TimeDateStamp`.
    pub time_date_stamp: u32,
    /// `PointerToSymbolTable`; 0 without COFF symbols.
    pub pointer_to_symbol_table: u32,
    /// `NumberOfSymbols`.
    pub number_of_symbols: u32,
    /// `SizeOfOptionalHeader`.
    pub size_of_optional_header: u16,
    /// `Characteristics`.
    pub characteristics: u16,
    /// `AddressOfEntryPoint`, an RVA.
    pub entry_point: u32,
    /// `ImageBase`.
    pub image_base: u64,
    /// `SectionAlignment`.
    pub section_alignment: u32,
    /// `FileAlignment`.
    pub file_alignment: u32,
    /// `SizeOfImage`: bytes in memory.
    pub size_of_image: u32,
    /// `SizeOfHeaders`: bytes of the file before section data.
    pub size_of_headers: u32,
    /// `CheckSum`; 0 means none.
    pub check_sum: u32,
    /// `Subsystem`.
    pub subsystem: u16,
    /// `DllCharacteristics`.
    pub dll_characteristics: u16,
    /// `NumberOfRvaAndSizes`.
    pub number_of_directories: u32,
    /// The certificate directory entry: file offset and size; both 0 without one.
    pub certificate: (u32, u32),
}

/// Whether bytes start like a PE image at all; a plain kernel may not.
#[must_use]
pub fn looks_like_pe(bytes: &[u8]) -> bool {
    bytes.starts_with(&DOS_MAGIC)
        && Reader::at(bytes, LFANEW_OFFSET, "e_lfanew")
            .and_then(|mut dos| dos.u32("e_lfanew"))
            .and_then(|offset| sub(bytes, offset.into(), PE_SIGNATURE.len() as u64, "Signature"))
            .is_ok_and(|signature| signature == PE_SIGNATURE)
}

impl Headers {
    /// Reads the fields from an image or from its first bytes, which have to reach to the end of the
    /// headers. Only [`Pe::parse`](super::pe::Pe::parse) checks the tables that they point at.
    ///
    /// # Errors
    /// `Malformed` with field, found and needed; `Unsupported` for PE32.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let coff_offset = find_coff_header(bytes)?;
        let mut coff = Reader::at(bytes, coff_offset, "e_lfanew")?;
        let mut headers = Self {
            coff_offset: coff.offset(),
            machine: coff.u16("Machine")?,
            number_of_sections: coff.u16("NumberOfSections")?,
            time_date_stamp: coff.u32("TimeDateStamp")?,
            pointer_to_symbol_table: coff.u32("PointerToSymbolTable")?,
            number_of_symbols: coff.u32("NumberOfSymbols")?,
            size_of_optional_header: coff.u16("SizeOfOptionalHeader")?,
            characteristics: coff.u16("Characteristics")?,
            entry_point: 0,
            image_base: 0,
            section_alignment: 0,
            file_alignment: 0,
            size_of_image: 0,
            size_of_headers: 0,
            check_sum: 0,
            subsystem: 0,
            dll_characteristics: 0,
            number_of_directories: 0,
            certificate: (0, 0),
        };
        if headers.number_of_sections > MAX_SECTIONS {
            let found = headers.number_of_sections.into();
            let needed = Needed::AtMost(MAX_SECTIONS.into());
            return Err(Error::malformed("NumberOfSections", found, needed));
        }
        headers.parse_optional(&mut coff)?;
        headers.check(bytes.len() as u64)?;
        Ok(headers)
    }

    /// Reads the optional header, which follows the COFF header, and its directories.
    fn parse_optional(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        match reader.u16("Magic")? {
            MAGIC_PE32_PLUS => {}
            MAGIC_PE32 => {
                let needed = Needed::Exactly(MAGIC_PE32_PLUS.into());
                return Err(Error::value(
                    Class::Unsupported,
                    "Magic",
                    MAGIC_PE32.into(),
                    needed,
                ));
            }
            other => {
                let needed = Needed::Exactly(MAGIC_PE32_PLUS.into());
                return Err(Error::malformed("Magic", other.into(), needed));
            }
        }
        // Linker version, SizeOfCode, SizeOfInitializedData, SizeOfUninitializedData.
        reader.take(2 + 3 * 4, "SizeOfCode")?;
        self.entry_point = reader.u32("AddressOfEntryPoint")?;
        reader.take(4, "BaseOfCode")?;
        self.image_base = reader.u64("ImageBase")?;
        self.section_alignment = reader.u32("SectionAlignment")?;
        self.file_alignment = reader.u32("FileAlignment")?;
        // Three version pairs and a reserved field.
        reader.take(3 * 4 + 4, "Win32VersionValue")?;
        self.size_of_image = reader.u32("SizeOfImage")?;
        self.size_of_headers = reader.u32("SizeOfHeaders")?;
        self.check_sum = reader.u32("CheckSum")?;
        self.subsystem = reader.u16("Subsystem")?;
        self.dll_characteristics = reader.u16("DllCharacteristics")?;
        // Stack and heap reserves, LoaderFlags.
        reader.take(4 * 8 + 4, "LoaderFlags")?;
        self.number_of_directories = reader.u32("NumberOfRvaAndSizes")?;
        self.parse_directories(reader)
    }

    fn parse_directories(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let count = self.number_of_directories;
        if count > MAX_DIRECTORIES {
            let needed = Needed::AtMost(MAX_DIRECTORIES.into());
            return Err(Error::malformed(
                "NumberOfRvaAndSizes",
                count.into(),
                needed,
            ));
        }
        // Linux finds the section table behind the directories, firmware behind
        // SizeOfOptionalHeader: both must mean the same place.
        let directories = (count as usize).saturating_mul(DIRECTORY_SIZE);
        let size = OPTIONAL_HEADER_SIZE.saturating_add(directories) as u64;
        if u64::from(self.size_of_optional_header) != size {
            let found = self.size_of_optional_header.into();
            return Err(Error::malformed(
                "SizeOfOptionalHeader",
                found,
                Needed::Exactly(size),
            ));
        }
        for index in 0..count {
            let entry = (reader.u32("VirtualAddress")?, reader.u32("Size")?);
            if index == DIRECTORY_CERTIFICATE {
                self.certificate = entry;
            }
        }
        Ok(())
    }

    /// Checks the fields that stand for themselves.
    fn check(&self, len: u64) -> Result<()> {
        for (field, alignment) in [
            ("SectionAlignment", self.section_alignment),
            ("FileAlignment", self.file_alignment),
        ] {
            if !alignment.is_power_of_two() {
                return Err(Error::malformed(
                    field,
                    alignment.into(),
                    Needed::PowerOfTwo,
                ));
            }
        }
        if self.section_alignment < self.file_alignment {
            let needed = Needed::AtLeast(self.file_alignment.into());
            return Err(Error::malformed(
                "SectionAlignment",
                self.section_alignment.into(),
                needed,
            ));
        }
        let size_of_headers = u64::from(self.size_of_headers);
        if size_of_headers > len {
            return Err(Error::malformed(
                "SizeOfHeaders",
                size_of_headers,
                Needed::AtMost(len),
            ));
        }
        Ok(())
    }

    /// File offset of the optional header.
    #[must_use]
    pub const fn optional_header_offset(&self) -> usize {
        self.coff_offset.saturating_add(COFF_HEADER_SIZE)
    }

    /// File offset of the section table.
    #[must_use]
    pub const fn section_table_offset(&self) -> usize {
        self.optional_header_offset()
            .saturating_add(self.size_of_optional_header as usize)
    }

    /// File offset of `CheckSum`.
    #[must_use]
    pub const fn check_sum_offset(&self) -> usize {
        self.optional_header_offset()
            .saturating_add(CHECK_SUM_OFFSET)
    }

    /// File offset of data directory `index`, if the image has that many.
    #[must_use]
    pub const fn directory_offset(&self, index: u32) -> Option<usize> {
        if index >= self.number_of_directories {
            return None;
        }
        let before = (index as usize).saturating_mul(DIRECTORY_SIZE);
        Some(
            self.optional_header_offset()
                .saturating_add(OPTIONAL_HEADER_SIZE)
                .saturating_add(before),
        )
    }
}

/// File offset of the COFF header: behind the DOS header and the PE signature.
fn find_coff_header(bytes: &[u8]) -> Result<u64> {
    let mut dos = Reader::new(bytes);
    let magic: [u8; 2] = dos.take_array("e_magic")?;
    if magic != DOS_MAGIC {
        let needed = Needed::Exactly(u16::from_le_bytes(DOS_MAGIC).into());
        return Err(Error::malformed(
            "e_magic",
            u16::from_le_bytes(magic).into(),
            needed,
        ));
    }
    let lfanew = u64::from(Reader::at(bytes, LFANEW_OFFSET, "e_lfanew")?.u32("e_lfanew")?);
    if lfanew < DOS_HEADER_SIZE {
        return Err(Error::malformed(
            "e_lfanew",
            lfanew,
            Needed::AtLeast(DOS_HEADER_SIZE),
        ));
    }
    let mut reader = Reader::at(bytes, lfanew, "e_lfanew")?;
    let signature: [u8; 4] = reader.take_array("Signature")?;
    if signature != PE_SIGNATURE {
        let needed = Needed::Exactly(u32::from_le_bytes(PE_SIGNATURE).into());
        return Err(Error::malformed(
            "Signature",
            u32::from_le_bytes(signature).into(),
            needed,
        ));
    }
    Ok(reader.offset() as u64)
}
