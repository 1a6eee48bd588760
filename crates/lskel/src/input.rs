//! Reads a parser object: sections, symbols, relocations; refuses the sections a carrier cannot
//! hold. The bytes are not trusted.

use std::collections::BTreeMap;
use std::fmt::Display;

use object::elf::{
    EM_BPF, ET_REL, FileHeader64, RelocationType, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE,
    SHT_PROGBITS, SHT_REL, SHT_RELA, SHT_SYMTAB, STT_FUNC, SectionFlags,
};
use object::read::elf::{FileHeader, Rel, SectionHeader, SectionTable, Sym, SymbolTable};
use object::{LittleEndian, SectionIndex, SymbolIndex};

use crate::Error;

type Elf = FileHeader64<LittleEndian>;
type Sections<'a> = SectionTable<'a, Elf>;
type Symbols<'a> = SymbolTable<'a, Elf>;
const LE: LittleEndian = LittleEndian;

/// Section of the licence string.
const LICENSE: &str = "license";
/// What names of sections of constants begin with.
const RODATA: &str = ".rodata";
/// Section of BTF's line, function and CO-RE records.
const BTF_EXT: &str = ".BTF.ext";
/// Where `.BTF.ext`'s header holds the length of its CO-RE records (`struct btf_ext_header`).
const CORE_RELO_LEN_AT: usize = 28;

/// Longest name of a section or symbol; names may share bytes, so that a small object can hold many long ones.
const MAX_NAME: usize = 4096;

/// Licences under which Linux lets a program call kfuncs (`license_is_gpl_compatible`).
const GPL_COMPATIBLE: &[&str] = &[
    "GPL",
    "GPL v2",
    "GPL and additional rights",
    "Dual BSD/GPL",
    "Dual MIT/GPL",
    "Dual MPL/GPL",
];

/// A parser object that holds nothing but code, constants and a licence.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    /// By section index; those of no interest are [`Kind::Other`].
    pub(crate) sections: Vec<Section<'a>>,
    /// By symbol index.
    pub(crate) symbols: Vec<Symbol<'a>>,
    pub(crate) license: &'a str,
}

#[derive(Debug)]
pub(crate) struct Section<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: Kind,
    pub(crate) align: u64,
    pub(crate) data: &'a [u8],
    /// By offset in the section; only code has any.
    pub(crate) relocations: BTreeMap<u64, Relocation>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Code,
    Rodata,
    Other,
}

#[derive(Debug)]
pub(crate) struct Symbol<'a> {
    pub(crate) name: &'a str,
    pub(crate) function: bool,
    pub(crate) local: bool,
    pub(crate) weak: bool,
    pub(crate) place: Place,
    pub(crate) value: u64,
    pub(crate) size: u64,
}

/// Where a symbol is defined.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// In the section with this index, which exists.
    Section(usize),
    /// Not here (`SHN_UNDEF`).
    Extern,
    /// Absolute or common.
    Elsewhere,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Relocation {
    /// `R_BPF_*`.
    pub(crate) kind: RelocationType,
    pub(crate) symbol: usize,
}

impl<'a> Object<'a> {
    pub(crate) fn parse(file: &'a [u8]) -> Result<Self, Error> {
        let elf = Elf::parse(file).map_err(|e| broken("ELF header", e))?;
        check_header(elf)?;
        let table = elf
            .sections(LE, file)
            .map_err(|e| broken("section headers", e))?;
        let symbol_table = table
            .symbols(LE, file, SHT_SYMTAB)
            .map_err(|e| broken("symbol table", e))?;
        let mut sections = Vec::new();
        let mut left = file.len();
        for header in table.iter() {
            let section = read_section(&table, header, file)?;
            left = left.checked_sub(section.data.len()).ok_or_else(|| {
                let at = format!("section `{}`", section.name);
                Error::malformed(at, "bytes that other sections hold too", "bytes of its own")
            })?;
            sections.push(section);
        }
        for header in table.iter() {
            attach_relocations(&mut sections, header, file, &symbol_table)?;
        }
        let symbols = symbol_table
            .enumerate()
            .map(|(index, symbol)| read_symbol(&symbol_table, index, symbol, sections.len()))
            .collect::<Result<Vec<_>, _>>()?;
        let license = read_license(&sections)?;
        Ok(Self {
            sections,
            symbols,
            license,
        })
    }

    pub(crate) fn section(&self, index: usize) -> Result<&Section<'a>, Error> {
        self.sections.get(index).ok_or_else(|| {
            Error::malformed("section index", index, format!("< {}", self.sections.len()))
        })
    }

    pub(crate) fn symbol(&self, index: usize) -> Result<&Symbol<'a>, Error> {
        self.symbols.get(index).ok_or_else(|| {
            Error::malformed("symbol index", index, format!("< {}", self.symbols.len()))
        })
    }
}

fn broken(at: impl Display, error: object::read::Error) -> Error {
    Error::malformed(at, error, "a sound ELF64 little-endian object")
}

fn check_header(elf: &Elf) -> Result<(), Error> {
    if !elf.is_little_endian() {
        return Err(Error::unsupported("e_ident[EI_DATA]", "2 (MSB)", "1 (LSB)"));
    }
    let kind = elf.e_type.get(LE);
    if kind != ET_REL {
        return Err(Error::unsupported("e_type", kind, "1 (ET_REL)"));
    }
    let machine = elf.e_machine.get(LE);
    if machine != EM_BPF {
        return Err(Error::unsupported("e_machine", machine, "247 (EM_BPF)"));
    }
    Ok(())
}

fn text(at: impl Display, bytes: &[u8]) -> Result<&str, Error> {
    if bytes.len() > MAX_NAME {
        let (found, needed) = (bytes.len(), format!("at most {MAX_NAME} bytes"));
        return Err(Error::malformed(at, format_args!("{found} bytes"), needed));
    }
    core::str::from_utf8(bytes)
        .map_err(|_| Error::malformed(at, String::from_utf8_lossy(bytes), "UTF-8"))
}

fn read_section<'a>(
    table: &Sections<'a>,
    header: &'a <Elf as FileHeader>::SectionHeader,
    file: &'a [u8],
) -> Result<Section<'a>, Error> {
    let name = table
        .section_name(LE, header)
        .map_err(|e| broken("section name", e))?;
    let name = text("section name", name)?;
    let data = header
        .data(LE, file)
        .map_err(|e| broken(format_args!("section `{name}`"), e))?;
    let kind = section_kind(name, header, data)?;
    Ok(Section {
        name,
        kind,
        align: header.sh_addralign(LE).max(1),
        data,
        relocations: BTreeMap::new(),
    })
}

/// Sorts a section by what the program would need of it at run time.
fn section_kind(
    name: &str,
    header: &<Elf as FileHeader>::SectionHeader,
    data: &[u8],
) -> Result<Kind, Error> {
    let flags = header.sh_flags(LE);
    let has = |flag: SectionFlags| flags & flag == flag;
    let progbits = header.sh_type(LE) == SHT_PROGBITS;
    if name == BTF_EXT {
        check_no_core(data)?;
    }
    if !has(SHF_ALLOC) || name == LICENSE || header.sh_size(LE) == 0 {
        return Ok(Kind::Other);
    }
    if progbits && has(SHF_EXECINSTR) && !has(SHF_WRITE) {
        return Ok(Kind::Code);
    }
    if progbits && name.starts_with(RODATA) && !has(SHF_WRITE) {
        return Ok(Kind::Rodata);
    }
    let access = if has(SHF_WRITE) {
        "writable"
    } else {
        "read-only"
    };
    Err(Error::unsupported(
        format_args!("section `{name}`"),
        format_args!(
            "{} {access} bytes of type {}",
            header.sh_size(LE),
            header.sh_type(LE)
        ),
        "code, `.rodata*` or `license`",
    ))
}

fn check_no_core(btf_ext: &[u8]) -> Result<(), Error> {
    let length = btf_ext
        .get(CORE_RELO_LEN_AT..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u32::from_le_bytes(*bytes));
    if length == 0 {
        return Ok(());
    }
    Err(Error::unsupported(
        "section `.BTF.ext`, CO-RE records",
        format_args!("{length} bytes"),
        "none: the context's layout is frozen",
    ))
}

fn attach_relocations<'a>(
    sections: &mut [Section<'a>],
    header: &'a <Elf as FileHeader>::SectionHeader,
    file: &'a [u8],
    symbols: &Symbols<'a>,
) -> Result<(), Error> {
    let kind = header.sh_type(LE);
    if kind != SHT_REL && kind != SHT_RELA {
        return Ok(());
    }
    let index = header.sh_info(LE) as usize;
    let count = sections.len();
    let target = sections.get_mut(index).ok_or_else(|| {
        Error::malformed(
            "sh_info of a relocation section",
            index,
            format!("< {count}"),
        )
    })?;
    let at = format!("relocations of section `{}`", target.name);
    if target.kind == Kind::Other {
        return Ok(());
    }
    if target.kind == Kind::Rodata {
        return Err(Error::unsupported(at, "addresses in constants", "none"));
    }
    let entries = header
        .rel(LE, file)
        .map_err(|e| broken(&at, e))?
        .ok_or_else(|| Error::unsupported(&at, "type SHT_RELA", "SHT_REL"))?;
    if header.link(LE) != symbols.section() {
        return Err(Error::malformed(
            at,
            format_args!("sh_link {}", header.link(LE).0),
            format_args!("{}, the symbol table", symbols.section().0),
        ));
    }
    for entry in entries.0 {
        let offset = entry.r_offset(LE);
        let relocation = Relocation {
            kind: entry.r_type(LE),
            symbol: entry.r_sym(LE) as usize,
        };
        if target.relocations.insert(offset, relocation).is_some() {
            return Err(Error::malformed(
                format_args!("{at}, offset {offset:#x}"),
                "two relocations",
                "one",
            ));
        }
    }
    Ok(())
}

fn read_symbol<'a>(
    table: &Symbols<'a>,
    index: SymbolIndex,
    symbol: &'a <Elf as FileHeader>::Sym,
    sections: usize,
) -> Result<Symbol<'a>, Error> {
    let name = symbol
        .name(LE, table.strings())
        .map_err(|e| broken(format_args!("name of symbol {}", index.0), e))?;
    let name = text(format_args!("name of symbol {}", index.0), name)?;
    let at = format!("section of symbol `{name}`");
    let section = table.symbol_section(LE, symbol, index);
    let place = match section.map_err(|e| broken(&at, e))? {
        Some(SectionIndex(section)) if section < sections => Place::Section(section),
        Some(SectionIndex(section)) => {
            let needed = format!("< {sections}");
            return Err(Error::malformed(at, section, needed));
        }
        None if symbol.is_undefined(LE) => Place::Extern,
        None => Place::Elsewhere,
    };
    Ok(Symbol {
        name,
        function: symbol.st_type() == STT_FUNC,
        local: symbol.is_local(),
        weak: symbol.is_weak(),
        place,
        value: symbol.st_value(LE),
        size: symbol.st_size(LE),
    })
}

fn read_license<'a>(sections: &[Section<'a>]) -> Result<&'a str, Error> {
    let needed = format!("one of {GPL_COMPATIBLE:?}");
    let mut found = sections.iter().filter(|section| section.name == LICENSE);
    let (Some(section), None) = (found.next(), found.next()) else {
        let count = sections.iter().filter(|s| s.name == LICENSE).count();
        return Err(Error::unsupported(
            "section `license`",
            format_args!("{count} such sections"),
            needed,
        ));
    };
    let bytes = section.data.split(|byte| *byte == 0).next().unwrap_or(&[]);
    let license = text("section `license`", bytes)?;
    if !GPL_COMPATIBLE.contains(&license) {
        return Err(Error::unsupported(
            "section `license`",
            format_args!("{license:?}"),
            needed,
        ));
    }
    Ok(license)
}
