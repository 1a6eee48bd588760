//! The carrier: a small ELF object with the two symbols a host looks for.
//!
//! Layout: ELF header, one read-only data section (instructions, then data), symbol table, string
//! table, section headers. Field names and values: System V gABI, chapters 4 and 5.

const EHDR_SIZE: u16 = 64;
const SHDR_SIZE: u16 = 64;
const SYM_SIZE: u64 = 24;
const ET_REL: u16 = 1;
const EM_BPF: u16 = 247;
const EV_CURRENT: u8 = 1;
const ELFCLASS64: u8 = 2;
const ELFDATA2LSB: u8 = 1;
const SHT_PROGBITS: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;
const SHF_ALLOC: u64 = 2;
/// Binding GLOBAL, type OBJECT.
const SYM_GLOBAL_OBJECT: u8 = (1 << 4) | 1;

/// Names at fixed offsets; both section names and symbol names.
const STRINGS: &[u8] = b"\0.rodata\0.symtab\0.strtab\0opts_insn\0opts_data\0";
const NAME_RODATA: u32 = 1;
const NAME_SYMTAB: u32 = 9;
const NAME_STRTAB: u32 = 17;
const NAME_OPTS_INSN: u32 = 25;
const NAME_OPTS_DATA: u32 = 35;

/// Index of the data section and of the string table.
const SECTION_RODATA: u16 = 1;
const SECTION_STRTAB: u16 = 3;
const SECTION_COUNT: u16 = 4;

/// Wraps a loader program and its data: an ELF64 little-endian BPF relocatable with the global
/// object symbols `opts_insn` and `opts_data`, values relative to their section, exact sizes.
///
/// [`link`](crate::link) ends with this; on its own it serves skeletons of other producers.
#[must_use]
pub fn carrier(opts_insn: &[u8], opts_data: &[u8]) -> Vec<u8> {
    let mut content = opts_insn.to_vec();
    pad(&mut content);
    let data_at = content.len() as u64;
    content.extend_from_slice(opts_data);

    let mut symbols = vec![0; SYM_SIZE as usize];
    put_symbol(&mut symbols, NAME_OPTS_INSN, 0, opts_insn.len() as u64);
    put_symbol(
        &mut symbols,
        NAME_OPTS_DATA,
        data_at,
        opts_data.len() as u64,
    );

    let content_at = u64::from(EHDR_SIZE);
    let symbols_at = (content_at + content.len() as u64).next_multiple_of(8);
    let strings_at = symbols_at + symbols.len() as u64;
    let headers_at = (strings_at + STRINGS.len() as u64).next_multiple_of(8);

    let mut out = file_header(headers_at);
    out.extend_from_slice(&content);
    pad(&mut out);
    out.extend_from_slice(&symbols);
    out.extend_from_slice(STRINGS);
    pad(&mut out);
    put_section(&mut out, &Section::default());
    put_section(
        &mut out,
        &Section {
            name: NAME_RODATA,
            kind: SHT_PROGBITS,
            flags: SHF_ALLOC,
            offset: content_at,
            size: content.len() as u64,
            align: 8,
            ..Section::default()
        },
    );
    put_section(
        &mut out,
        &Section {
            name: NAME_SYMTAB,
            kind: SHT_SYMTAB,
            offset: symbols_at,
            size: symbols.len() as u64,
            link: u32::from(SECTION_STRTAB),
            // Index of the first global symbol.
            info: 1,
            align: 8,
            entry_size: SYM_SIZE,
            ..Section::default()
        },
    );
    put_section(
        &mut out,
        &Section {
            name: NAME_STRTAB,
            kind: SHT_STRTAB,
            offset: strings_at,
            size: STRINGS.len() as u64,
            align: 1,
            ..Section::default()
        },
    );
    out
}

#[derive(Default)]
struct Section {
    name: u32,
    kind: u32,
    flags: u64,
    offset: u64,
    size: u64,
    link: u32,
    info: u32,
    align: u64,
    entry_size: u64,
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(8), 0);
}

fn file_header(headers_at: u64) -> Vec<u8> {
    let mut out = vec![
        0x7f,
        b'E',
        b'L',
        b'F',
        ELFCLASS64,
        ELFDATA2LSB,
        EV_CURRENT,
        0,
    ];
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&ET_REL.to_le_bytes());
    out.extend_from_slice(&EM_BPF.to_le_bytes());
    out.extend_from_slice(&u32::from(EV_CURRENT).to_le_bytes());
    // e_entry, e_phoff
    out.extend_from_slice(&[0; 16]);
    out.extend_from_slice(&headers_at.to_le_bytes());
    // e_flags
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&EHDR_SIZE.to_le_bytes());
    // e_phentsize, e_phnum
    out.extend_from_slice(&[0; 4]);
    for half in [SHDR_SIZE, SECTION_COUNT, SECTION_STRTAB] {
        out.extend_from_slice(&half.to_le_bytes());
    }
    out
}

fn put_symbol(out: &mut Vec<u8>, name: u32, value: u64, size: u64) {
    out.extend_from_slice(&name.to_le_bytes());
    out.extend_from_slice(&[SYM_GLOBAL_OBJECT, 0]);
    out.extend_from_slice(&SECTION_RODATA.to_le_bytes());
    out.extend_from_slice(&value.to_le_bytes());
    out.extend_from_slice(&size.to_le_bytes());
}

fn put_section(out: &mut Vec<u8>, section: &Section) {
    let addr = 0;
    out.extend_from_slice(&section.name.to_le_bytes());
    out.extend_from_slice(&section.kind.to_le_bytes());
    for word in [section.flags, addr, section.offset, section.size] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&section.link.to_le_bytes());
    out.extend_from_slice(&section.info.to_le_bytes());
    for word in [section.align, section.entry_size] {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::LittleEndian;
    use object::elf::FileHeader64;
    use object::read::elf::{FileHeader, SectionHeader, Sym};

    #[test]
    fn symbols_give_back_the_bytes_for_every_padding() {
        for sizes in [(8, 1), (16, 8), (0, 0), (9, 3)] {
            let (insn, data) = (vec![0xa5; sizes.0], vec![0x5a; sizes.1]);
            let file = carrier(&insn, &data);
            let endian = LittleEndian;
            let header = FileHeader64::<LittleEndian>::parse(file.as_slice()).unwrap();
            let sections = header.sections(endian, file.as_slice()).unwrap();
            let symbols = sections
                .symbols(endian, file.as_slice(), object::elf::SHT_SYMTAB)
                .unwrap();
            let found: Vec<_> = symbols
                .enumerate()
                .skip(1)
                .map(|(index, symbol)| {
                    let section = sections
                        .section(
                            symbols
                                .symbol_section(endian, symbol, index)
                                .unwrap()
                                .unwrap(),
                        )
                        .unwrap();
                    let content = section.data(endian, file.as_slice()).unwrap();
                    let start = symbol.st_value(endian) as usize;
                    let end = start + symbol.st_size(endian) as usize;
                    let name = symbol.name(endian, symbols.strings()).unwrap();
                    (name.to_vec(), content[start..end].to_vec())
                })
                .collect();
            assert_eq!(
                found,
                [(b"opts_insn".to_vec(), insn), (b"opts_data".to_vec(), data)]
            );
        }
    }

    #[test]
    fn symbol_table_counts_one_local_symbol() {
        let file = carrier(&[0; 8], &[0]);
        let header = FileHeader64::<LittleEndian>::parse(file.as_slice()).unwrap();
        let sections = header.sections(LittleEndian, file.as_slice()).unwrap();
        let table = sections
            .iter()
            .find(|section| section.sh_type(LittleEndian) == object::elf::SHT_SYMTAB)
            .unwrap();
        assert_eq!(table.sh_info(LittleEndian), 1);
    }

    #[test]
    fn section_names_stand_at_their_offsets() {
        let at = |offset: u32| {
            let rest = &STRINGS[offset as usize..];
            rest.split(|byte| *byte == 0).next().unwrap()
        };
        assert_eq!(at(NAME_RODATA), b".rodata");
        assert_eq!(at(NAME_SYMTAB), b".symtab");
        assert_eq!(at(NAME_STRTAB), b".strtab");
        assert_eq!(at(NAME_OPTS_INSN), b"opts_insn");
        assert_eq!(at(NAME_OPTS_DATA), b"opts_data");
    }
}
