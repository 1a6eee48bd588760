//! Builds small PE images, field by field, so that tests can break one at a time.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub const E_LFANEW: usize = 0x40;
pub const COFF: usize = E_LFANEW + 4;
pub const OPTIONAL: usize = COFF + 20;
pub const DIRECTORIES: usize = 6;
pub const TABLE: usize = OPTIONAL + 112 + DIRECTORIES * 8;
pub const CERTIFICATE_ENTRY: usize = OPTIONAL + 112 + 4 * 8;
pub const CHECK_SUM: usize = OPTIONAL + 64;
pub const HEADERS: usize = 0x400;
pub const FILE_ALIGNMENT: usize = 0x200;
pub const SECTION_ALIGNMENT: usize = 0x1000;

/// File offset of a field of section header `index`.
pub const fn section_field(index: usize, offset: usize) -> usize {
    TABLE + index * 40 + offset
}

pub fn put16(image: &mut [u8], at: usize, value: u16) {
    image[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

pub fn put32(image: &mut [u8], at: usize, value: u32) {
    image[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub fn get32(image: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(image[at..at + 4].try_into().unwrap())
}

/// An EFI application with these sections, unsigned.
pub fn image(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut image = vec![0; HEADERS];
    image[..2].copy_from_slice(b"MZ");
    put32(&mut image, 0x3c, E_LFANEW as u32);
    image[E_LFANEW..COFF].copy_from_slice(b"PE\0\0");
    put16(&mut image, COFF, 0x8664);
    put16(&mut image, COFF + 2, sections.len() as u16);
    put16(&mut image, COFF + 16, (112 + DIRECTORIES * 8) as u16);
    put16(&mut image, OPTIONAL, 0x20b);
    put32(&mut image, OPTIONAL + 32, SECTION_ALIGNMENT as u32);
    put32(&mut image, OPTIONAL + 36, FILE_ALIGNMENT as u32);
    put32(&mut image, OPTIONAL + 60, HEADERS as u32);
    put32(&mut image, CHECK_SUM, 0x1234_5678);
    put16(&mut image, OPTIONAL + 68, 10);
    put32(&mut image, OPTIONAL + 108, DIRECTORIES as u32);
    let mut address = SECTION_ALIGNMENT;
    for (index, (name, data)) in sections.iter().enumerate() {
        let header = section_field(index, 0);
        image[header..header + name.len()].copy_from_slice(name.as_bytes());
        let raw = data.len().next_multiple_of(FILE_ALIGNMENT);
        let offset = image.len();
        put32(&mut image, header + 8, data.len() as u32);
        put32(&mut image, header + 12, address as u32);
        put32(&mut image, header + 16, raw as u32);
        put32(&mut image, header + 20, offset as u32);
        image.extend_from_slice(data);
        image.resize(offset + raw, 0);
        address += data
            .len()
            .next_multiple_of(SECTION_ALIGNMENT)
            .max(SECTION_ALIGNMENT);
    }
    put32(&mut image, OPTIONAL + 56, address as u32);
    image
}

/// The image with a certificate table of these certificates behind it.
pub fn signed(mut image: Vec<u8>, certificates: &[&[u8]]) -> Vec<u8> {
    let start = image.len();
    assert_eq!(start % 8, 0);
    for certificate in certificates {
        let length = 8 + certificate.len();
        image.extend_from_slice(&(length as u32).to_le_bytes());
        image.extend_from_slice(&[0, 2, 2, 0]);
        image.extend_from_slice(certificate);
        image.resize(image.len().next_multiple_of(8), 0);
    }
    let size = image.len() - start;
    put32(&mut image, CERTIFICATE_ENTRY, start as u32);
    put32(&mut image, CERTIFICATE_ENTRY + 4, size as u32);
    image
}

/// A relocatable ELF object whose only contents are these two symbols.
pub fn carrier(insns: &[u8], data: &[u8]) -> Vec<u8> {
    let strings = b"\0opts_insn\0opts_data\0";
    let mut elf = vec![0; 64];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    elf[16] = 1;
    let contents = elf.len();
    elf.extend_from_slice(insns);
    elf.extend_from_slice(data);
    let names = elf.len();
    elf.extend_from_slice(strings);
    let symbols = elf.len();
    elf.resize(symbols + 24, 0);
    for (name, value, size) in [(1_u32, 0, insns.len()), (11, insns.len(), data.len())] {
        elf.extend_from_slice(&name.to_le_bytes());
        elf.extend_from_slice(&[1, 0, 1, 0]);
        elf.extend_from_slice(&(value as u64).to_le_bytes());
        elf.extend_from_slice(&(size as u64).to_le_bytes());
    }
    let table = elf.len();
    let sections = [
        (0_u32, 0, 0, 0_u32),
        (1, contents, insns.len() + data.len(), 0),
        (3, names, strings.len(), 0),
        (2, symbols, 72, 2),
    ];
    for (kind, offset, size, link) in sections {
        let start = elf.len();
        elf.resize(start + 64, 0);
        put32(&mut elf, start + 4, kind);
        elf[start + 24..start + 32].copy_from_slice(&(offset as u64).to_le_bytes());
        elf[start + 32..start + 40].copy_from_slice(&(size as u64).to_le_bytes());
        put32(&mut elf, start + 40, link);
    }
    elf[40..48].copy_from_slice(&(table as u64).to_le_bytes());
    put16(&mut elf, 58, 64);
    put16(&mut elf, 60, 4);
    elf
}
