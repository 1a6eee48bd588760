//! A maker of small PE images that shares no code with the writers under test.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod judge;

pub const MACHINE_AMD64: u16 = 0x8664;
pub const MACHINE_ARM64: u16 = 0xaa64;
pub const OPTIONAL: usize = 20;
pub const DIRECTORIES: usize = OPTIONAL + 112;

/// One section to make.
#[derive(Clone)]
pub struct Part {
    pub name: &'static str,
    pub data: Vec<u8>,
    pub virtual_size: u32,
    /// Bytes of raw data; `data` is padded to it.
    pub raw_size: usize,
}

/// An image to make.
#[derive(Clone)]
pub struct Maker {
    pub machine: u16,
    /// Bytes from 0x0 on, put over the DOS header but for `MZ` and e_lfanew.
    pub dos: Vec<(usize, Vec<u8>)>,
    pub lfanew: usize,
    pub headers: usize,
    /// Where section data begin; `headers` unless there is a gap.
    pub first: usize,
    pub first_address: u32,
    pub file_alignment: u32,
    pub section_alignment: u32,
    pub parts: Vec<Part>,
    pub overlay: Vec<u8>,
    pub certificate: Vec<u8>,
    pub symbols: bool,
    pub check_sum: bool,
    pub debug: Option<(u32, usize)>,
}

pub fn part(name: &'static str, len: usize) -> Part {
    let seed = name.bytes().map(u32::from).sum::<u32>();
    let data = (0..len as u32)
        .map(|at| (at.wrapping_mul(seed) >> 3) as u8 | 1)
        .collect();
    Part {
        name,
        data,
        virtual_size: len as u32,
        raw_size: len.next_multiple_of(512),
    }
}

impl Default for Maker {
    fn default() -> Self {
        Self {
            machine: MACHINE_AMD64,
            dos: Vec::new(),
            lfanew: 0x80,
            headers: 0x400,
            first: 0x400,
            first_address: 0x1000,
            file_alignment: 512,
            section_alignment: 4096,
            parts: vec![
                part(".text", 700),
                part(".data", 5000),
                part(".linux", 9000),
            ],
            overlay: Vec::new(),
            certificate: Vec::new(),
            symbols: false,
            check_sum: false,
            debug: None,
        }
    }
}

impl Maker {
    pub fn make(&self) -> Vec<u8> {
        let mut image = self.headers();
        let table = self.lfanew + 4 + DIRECTORIES + 16 * 8;
        let mut address = self.first_address;
        image.resize(self.first, 0);
        for (index, part) in self.parts.iter().enumerate() {
            let at = table + index * 40;
            put(&mut image, at, part.name.as_bytes());
            let pointer = if part.raw_size == 0 {
                0
            } else {
                image.len() as u32
            };
            let size = part.raw_size as u32;
            for (field, value) in [
                (8, part.virtual_size),
                (12, address),
                (16, size),
                (20, pointer),
                (36, 0x4000_0040),
            ] {
                put(&mut image, at + field, &value.to_le_bytes());
            }
            let start = image.len();
            image.extend(part.data.iter().take(part.raw_size));
            image.resize(start + part.raw_size, 0);
            let in_memory = part.virtual_size.max(size);
            address = (address + in_memory).next_multiple_of(self.section_alignment);
        }
        put(
            &mut image,
            self.lfanew + 4 + OPTIONAL + 56,
            &address.to_le_bytes(),
        );
        if self.symbols {
            let at = image.len() as u32;
            put(&mut image, self.lfanew + 4 + 8, &at.to_le_bytes());
            put(&mut image, self.lfanew + 4 + 12, &1_u32.to_le_bytes());
            let mut symbol = [0_u8; 18];
            symbol[..5].copy_from_slice(b"_text");
            symbol[12..14].copy_from_slice(&1_i16.to_le_bytes());
            image.extend(symbol);
            image.extend(4_u32.to_le_bytes());
        }
        image.extend(&self.overlay);
        self.finish(image)
    }

    fn headers(&self) -> Vec<u8> {
        let mut image = vec![0; self.headers];
        put(&mut image, 0, b"MZ");
        for (at, bytes) in &self.dos {
            put(&mut image, *at, bytes);
        }
        put(&mut image, 0x3c, &(self.lfanew as u32).to_le_bytes());
        let pe = self.lfanew;
        put(&mut image, pe, b"PE\0\0");
        let coff = pe + 4;
        put(&mut image, coff, &self.machine.to_le_bytes());
        put(
            &mut image,
            coff + 2,
            &(self.parts.len() as u16).to_le_bytes(),
        );
        put(&mut image, coff + 16, &240_u16.to_le_bytes());
        put(&mut image, coff + 18, &0x206_u16.to_le_bytes());
        let optional = coff + OPTIONAL;
        put(&mut image, optional, &0x20b_u16.to_le_bytes());
        put(&mut image, optional + 16, &self.first_address.to_le_bytes());
        put(
            &mut image,
            optional + 32,
            &self.section_alignment.to_le_bytes(),
        );
        put(
            &mut image,
            optional + 36,
            &self.file_alignment.to_le_bytes(),
        );
        put(
            &mut image,
            optional + 60,
            &(self.headers as u32).to_le_bytes(),
        );
        put(&mut image, optional + 68, &10_u16.to_le_bytes());
        put(&mut image, optional + 108, &16_u32.to_le_bytes());
        if let Some((address, _)) = self.debug {
            put(
                &mut image,
                coff + DIRECTORIES + 6 * 8,
                &address.to_le_bytes(),
            );
            put(
                &mut image,
                coff + DIRECTORIES + 6 * 8 + 4,
                &28_u32.to_le_bytes(),
            );
        }
        image
    }

    fn finish(&self, mut image: Vec<u8>) -> Vec<u8> {
        let coff = self.lfanew + 4;
        if let Some((_, at)) = self.debug {
            // The entry's data: the 8 bytes behind it.
            let pointer = at as u32 + 28;
            put(&mut image, at, &[0; 28]);
            put(&mut image, at + 24, &pointer.to_le_bytes());
            put(&mut image, at + 28, b"debugged");
        }
        if !self.certificate.is_empty() {
            image.resize(image.len().next_multiple_of(8), 0);
            let mut table = (8 + self.certificate.len() as u32).to_le_bytes().to_vec();
            table.extend([0, 2, 2, 0]);
            table.extend(&self.certificate);
            table.resize(table.len().next_multiple_of(8), 0);
            let entry = coff + DIRECTORIES + 4 * 8;
            let offset = image.len() as u32;
            put(&mut image, entry, &offset.to_le_bytes());
            put(&mut image, entry + 4, &(table.len() as u32).to_le_bytes());
            image.extend(table);
        }
        if self.check_sum {
            let at = coff + OPTIONAL + 64;
            let sum = slow_check_sum(&image, at);
            put(&mut image, at, &sum.to_le_bytes());
        }
        image
    }
}

/// The checksum word by word, as the specification tells it.
pub fn slow_check_sum(image: &[u8], field: usize) -> u32 {
    let mut copy = image.to_vec();
    copy[field..field + 4].fill(0);
    copy.resize(image.len().next_multiple_of(2), 0);
    let add = |sum: u32, pair: &[u8]| {
        let sum = sum + u32::from(pair[0]) + (u32::from(pair[1]) << 8);
        (sum & 0xffff) + (sum >> 16)
    };
    copy.chunks(2).fold(0, add) + image.len() as u32
}

pub fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The smallest ELF object that carries both symbols.
pub fn carrier() -> Vec<u8> {
    carrier_of(
        &[0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0],
        b"opts data",
    )
}

/// An ELF object whose symbols hold these bytes.
pub fn carrier_of(insns: &[u8], data: &[u8]) -> Vec<u8> {
    let strings = b"\0opts_insn\0opts_data\0";
    let contents = [insns, data].concat();
    let (contents_at, strings_at) = (64, 64 + contents.len());
    let symbols_at = (strings_at + strings.len()).next_multiple_of(8);
    let headers_at = symbols_at + 3 * 24;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\xf7\0\x01\0\0\0".to_vec();
    elf.resize(64, 0);
    put(&mut elf, 40, &(headers_at as u64).to_le_bytes());
    put(&mut elf, 52, &64_u16.to_le_bytes());
    put(&mut elf, 58, &64_u16.to_le_bytes());
    put(&mut elf, 60, &4_u16.to_le_bytes());
    elf.extend(&contents);
    elf.extend(strings);
    elf.resize(symbols_at, 0);
    elf.extend([0; 24]);
    let symbol = |name: u32, value: usize, size: usize| {
        let mut entry = name.to_le_bytes().to_vec();
        entry.extend([0x11, 0, 1, 0]);
        entry.extend((value as u64).to_le_bytes());
        entry.extend((size as u64).to_le_bytes());
        entry
    };
    elf.extend(symbol(1, 0, insns.len()));
    elf.extend(symbol(11, insns.len(), data.len()));
    elf.extend([0; 64]);
    let header = |kind: u32, offset: usize, size: usize, link: u32| {
        let mut entry = vec![0; 64];
        put(&mut entry, 4, &kind.to_le_bytes());
        put(&mut entry, 24, &(offset as u64).to_le_bytes());
        put(&mut entry, 32, &(size as u64).to_le_bytes());
        put(&mut entry, 40, &link.to_le_bytes());
        entry
    };
    elf.extend(header(1, contents_at, contents.len(), 0));
    elf.extend(header(2, symbols_at, 3 * 24, 3));
    elf.extend(header(3, strings_at, strings.len(), 0));
    elf
}

/// Fails naming the first difference, not with all the bytes.
#[track_caller]
pub fn assert_same(one: &[u8], other: &[u8]) {
    let differs = one.iter().zip(other).position(|(one, other)| one != other);
    assert!(
        one == other,
        "lengths {:#x} and {:#x}, first difference at {differs:#x?}",
        one.len(),
        other.len()
    );
}
