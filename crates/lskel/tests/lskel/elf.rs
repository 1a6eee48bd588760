//! Writes BPF relocatables field by field, sound or not.

pub const HANDLE: &str = "fentry.s/bpf_handle_pefile";
pub const POST: &str = "fentry.s/bpf_post_handle_pefile";
pub const ABS64: u32 = 2;
pub const PTR64: u32 = 1;
pub const CALL32: u32 = 10;
pub const PROGBITS: u32 = 1;
pub const NOBITS: u32 = 8;
pub const WRITE: u64 = 1;
pub const ALLOC: u64 = 2;
pub const EXEC: u64 = 4;

const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;
const SHT_RELA: u32 = 4;
const SHT_REL: u32 = 9;

/// `(code, dst, src, off, imm)`.
pub fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> [u8; 8] {
    let mut bytes = [code, src << 4 | dst, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&off.to_le_bytes());
    bytes[4..].copy_from_slice(&imm.to_le_bytes());
    bytes
}

pub const CALL: u8 = 0x85;
pub const LD64: u8 = 0x18;

pub fn exit() -> [u8; 8] {
    insn(0x95, 0, 0, 0, 0)
}

pub fn mov(dst: u8, imm: i32) -> [u8; 8] {
    insn(0xb7, dst, 0, 0, imm)
}

#[derive(Clone)]
pub struct Section {
    pub name: String,
    pub kind: u32,
    pub flags: u64,
    pub align: u64,
    pub data: Vec<u8>,
    /// Offset, type, symbol index.
    pub relocations: Vec<(u64, u32, u32)>,
}

#[derive(Clone)]
pub struct Symbol {
    pub name: String,
    pub info: u8,
    /// ELF section index.
    pub section: u16,
    pub value: u64,
    pub size: u64,
}

#[derive(Clone)]
pub struct Object {
    pub class: u8,
    pub encoding: u8,
    pub kind: u16,
    pub machine: u16,
    pub rela: bool,
    /// Added to the `sh_link` of relocation sections.
    pub skew: u32,
    /// The ELF index is one more.
    pub sections: Vec<Section>,
    /// The ELF index is one more.
    pub symbols: Vec<Symbol>,
}

pub const LOCAL_FUNC: u8 = 2;
pub const GLOBAL_FUNC: u8 = 0x12;
pub const LOCAL_SECTION: u8 = 3;
pub const GLOBAL_NOTYPE: u8 = 0x10;
pub const WEAK_NOTYPE: u8 = 0x20;

/// Places in [`sound`], for tests that change it.
pub const PARSE: usize = 0;
pub const TEXT: usize = 1;
pub const RODATA: usize = 2;
pub const LICENSE: usize = 3;
pub const SYM_SUB: u32 = 2;
pub const SYM_RODATA: u32 = 3;
pub const SYM_COPY: u32 = 4;
pub const SYM_VERDICT: u32 = 5;

/// Constants of [`sound`].
pub const STRINGS: &[u8] = b"kexec:kernel\0field\0";
const FIELD_AT: i32 = 13;

pub fn code(insns: &[[u8; 8]]) -> Vec<u8> {
    insns.concat()
}

/// A parser that reports a verdict from a subprogram, then publishes its image.
pub fn sound() -> Object {
    let parse = code(&[
        insn(0x79, 6, 1, 0, 0),
        insn(CALL, 0, 1, 0, -1),
        insn(LD64, 1, 0, 0, 0),
        insn(0, 0, 0, 0, 0),
        insn(0x79, 2, 6, 8, 0),
        insn(0x61, 3, 6, 16, 0),
        insn(CALL, 0, 1, 0, -1),
        mov(0, 0),
        exit(),
    ]);
    let sub = code(&[
        mov(1, 4),
        insn(LD64, 2, 0, 0, FIELD_AT),
        insn(0, 0, 0, 0, 0),
        mov(3, 7),
        mov(4, 9),
        insn(CALL, 0, 1, 0, -1),
        exit(),
    ]);
    let (parse_len, sub_len) = (parse.len() as u64, sub.len() as u64);
    let mut object = Object {
        class: 2,
        encoding: 1,
        kind: 1,
        machine: 247,
        rela: false,
        skew: 0,
        sections: Vec::new(),
        symbols: Vec::new(),
    };
    object.section(HANDLE, PROGBITS, ALLOC | EXEC, 8, parse);
    object.section(".text", PROGBITS, ALLOC | EXEC, 8, sub);
    object.section(".rodata.str1.1", PROGBITS, ALLOC, 1, STRINGS.to_vec());
    let license = b"Dual MIT/GPL\0".to_vec();
    object.section("license", PROGBITS, ALLOC | WRITE, 1, license);
    object.symbol("parse", GLOBAL_FUNC, 1, 0, parse_len);
    object.symbol("sub", LOCAL_FUNC, 2, 0, sub_len);
    object.symbol("", LOCAL_SECTION, 3, 0, 0);
    object.symbol("bpf_copy_to_kernel", GLOBAL_NOTYPE, 0, 0, 0);
    object.symbol("bpf_kexec_verdict", GLOBAL_NOTYPE, 0, 0, 0);
    object.sections[PARSE].relocations = vec![
        (8, CALL32, SYM_SUB),
        (16, PTR64, SYM_RODATA),
        (48, CALL32, SYM_COPY),
    ];
    object.sections[TEXT].relocations = vec![(8, PTR64, SYM_RODATA), (40, CALL32, SYM_VERDICT)];
    object
}

impl Object {
    /// Appends a section; its ELF index.
    pub fn section(&mut self, name: &str, kind: u32, flags: u64, align: u64, data: Vec<u8>) -> u16 {
        self.sections.push(Section {
            name: name.to_owned(),
            kind,
            flags,
            align,
            data,
            relocations: Vec::new(),
        });
        self.sections.len() as u16
    }

    /// Appends a symbol; its ELF index.
    pub fn symbol(&mut self, name: &str, info: u8, section: u16, value: u64, size: u64) -> u32 {
        self.symbols.push(Symbol {
            name: name.to_owned(),
            info,
            section,
            value,
            size,
        });
        self.symbols.len() as u32
    }

    /// Appends a code section with one function that fills it; the symbol's ELF index.
    pub fn function(&mut self, section: &str, info: u8, insns: &[[u8; 8]]) -> u32 {
        let data = code(insns);
        let len = data.len() as u64;
        let index = self.section(section, PROGBITS, ALLOC | EXEC, 8, data);
        self.symbol("function", info, index, 0, len)
    }

    /// Replaces instruction `at` of a section.
    pub fn patch(&mut self, section: usize, at: usize, with: [u8; 8]) {
        self.sections[section].data[at * 8..][..8].copy_from_slice(&with);
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut strings = vec![0];
        let mut headers = vec![[0; 64]];
        let mut out = vec![0; 64];
        let count = self.sections.len() as u32;
        let relocated = self.sections.iter().filter(|s| !s.relocations.is_empty());
        let symtab_index = 1 + count + relocated.count() as u32;
        for section in &self.sections {
            let name = intern(&mut strings, &section.name);
            let offset = append(&mut out, section);
            let size = section.data.len() as u64;
            let fields = (name, section.kind, section.flags, offset, size);
            headers.push(header(fields, 0, 0, section.align, 0));
        }
        for (index, section) in (1..).zip(&self.sections) {
            if section.relocations.is_empty() {
                continue;
            }
            let name = intern(&mut strings, &format!(".rel{}", section.name));
            let kind = if self.rela { SHT_RELA } else { SHT_REL };
            let offset = out.len() as u64;
            for (at, kind, symbol) in &section.relocations {
                out.extend(at.to_le_bytes());
                out.extend(kind.to_le_bytes());
                out.extend(symbol.to_le_bytes());
                out.extend(self.rela.then_some([0; 8]).into_iter().flatten());
            }
            let fields = (name, kind, 0, offset, out.len() as u64 - offset);
            headers.push(header(fields, symtab_index + self.skew, index, 8, 16));
        }
        let symtab = out.len() as u64;
        out.extend([0; 24]);
        for symbol in &self.symbols {
            out.extend(intern(&mut strings, &symbol.name).to_le_bytes());
            out.extend([symbol.info, 0]);
            out.extend(symbol.section.to_le_bytes());
            out.extend(symbol.value.to_le_bytes());
            out.extend(symbol.size.to_le_bytes());
        }
        let fields = (0, SHT_SYMTAB, 0, symtab, out.len() as u64 - symtab);
        headers.push(header(fields, symtab_index + 1, 1, 8, 24));
        let strtab = out.len() as u64;
        headers.push(header(
            (0, SHT_STRTAB, 0, strtab, strings.len() as u64),
            0,
            0,
            1,
            0,
        ));
        out.extend(strings);
        out.resize(out.len().next_multiple_of(8), 0);
        self.file_header(&mut out, headers.len() as u16);
        out.extend(headers.concat());
        out
    }

    fn file_header(&self, out: &mut [u8], sections: u16) {
        let headers_at = out.len() as u64;
        out[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', self.class, self.encoding, 1]);
        let mut half =
            |at: usize, value: u16| out[at..at + 2].copy_from_slice(&value.to_le_bytes());
        half(16, self.kind);
        half(18, self.machine);
        half(20, 1);
        half(52, 64);
        half(58, 64);
        half(60, sections);
        half(62, sections - 1);
        out[40..48].copy_from_slice(&headers_at.to_le_bytes());
    }
}

fn append(out: &mut Vec<u8>, section: &Section) -> u64 {
    out.resize(out.len().next_multiple_of(8), 0);
    let offset = out.len() as u64;
    if section.kind != NOBITS {
        out.extend(&section.data);
        out.resize(out.len().next_multiple_of(8), 0);
    }
    offset
}

fn intern(strings: &mut Vec<u8>, text: &str) -> u32 {
    let at = strings.len() as u32;
    strings.extend(text.as_bytes());
    strings.push(0);
    at
}

/// `(name, type, flags, offset, size)`, link, info, alignment, entry size.
fn header(
    (name, kind, flags, offset, size): (u32, u32, u64, u64, u64),
    link: u32,
    info: u32,
    align: u64,
    entry: u64,
) -> [u8; 64] {
    let mut out = Vec::new();
    out.extend(name.to_le_bytes());
    out.extend(kind.to_le_bytes());
    for word in [flags, 0, offset, size] {
        out.extend(word.to_le_bytes());
    }
    out.extend(link.to_le_bytes());
    out.extend(info.to_le_bytes());
    out.extend(align.to_le_bytes());
    out.extend(entry.to_le_bytes());
    out.try_into().unwrap()
}
