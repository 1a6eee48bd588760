//! The carrier: an ELF object in the `.bpf` section whose symbols `opts_insn` and `opts_data` are
//! a light skeleton.
//!
//! Accepted: any ELF64 little-endian relocatable object, whatever machine it names, since the C
//! toolchain's carriers are compiled for the build host.
//!
//! Source: System V ABI, "Object Files"; `tools/lib/bpf/skel_internal.h`.

use super::error::{Class, Error, Needed, Result};
use super::reader::{sub, Reader};

/// Symbol of the loader program's instructions.
pub const SYMBOL_INSNS: &str = "opts_insn";
/// Symbol of the loader program's data.
pub const SYMBOL_DATA: &str = "opts_data";
/// Size of one BPF instruction in bytes.
pub const INSN_SIZE: usize = 8;

const ELF_MAGIC: [u8; 4] = *b"\x7fELF";
const ELF_CLASS_64: u8 = 2;
const ELF_DATA_LSB: u8 = 1;
const ELF_TYPE_REL: u16 = 1;
const ELF_IDENT_REST: usize = 10;
const SECTION_HEADER_SIZE: u16 = 64;
const SYMBOL_SIZE: u64 = 24;
const SECTION_TYPE_SYMTAB: u32 = 2;
const SECTION_TYPE_NOBITS: u32 = 8;
const SYMBOL_TYPE_OBJECT: u8 = 1;
/// Section indices from here on are reserved (`SHN_LORESERVE`).
const SECTION_INDEX_RESERVED: u16 = 0xff00;

/// A light skeleton: the loader program and its data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Carrier<'a> {
    /// Instructions of the loader program; a multiple of 8 bytes, not empty.
    pub insns: &'a [u8],
    /// Its data: becomes the loader's only map; not empty.
    pub data: &'a [u8],
}

struct Elf<'a> {
    bytes: &'a [u8],
    table: &'a [u8],
}

#[derive(Clone, Copy)]
struct SectionHeader {
    kind: u32,
    offset: u64,
    size: u64,
    link: u32,
}

impl<'a> Carrier<'a> {
    /// Finds the two symbols and checks that their bytes lie inside their sections.
    ///
    /// # Errors
    /// `Malformed` with the ELF field concerned; `Unsupported` for other kinds of ELF.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let elf = Elf::parse(bytes)?;
        let insns = elf
            .symbol(SYMBOL_INSNS)?
            .ok_or(Error::absent(Class::Malformed, SYMBOL_INSNS))?;
        let data = elf
            .symbol(SYMBOL_DATA)?
            .ok_or(Error::absent(Class::Malformed, SYMBOL_DATA))?;
        Ok(Self {
            insns: trim_insns(insns)?,
            data: not_empty(data, SYMBOL_DATA)?,
        })
    }
}

/// The C toolchain writes the instructions as a string, so one NUL follows them.
fn trim_insns(insns: &[u8]) -> Result<&[u8]> {
    let insns = not_empty(insns, SYMBOL_INSNS)?;
    let whole = match insns.split_last() {
        Some((0, rest)) if rest.len().checked_rem(INSN_SIZE) == Some(0) => rest,
        _ => insns,
    };
    if whole.len().checked_rem(INSN_SIZE) != Some(0) {
        let needed = Needed::MultipleOf(INSN_SIZE as u64);
        return Err(Error::malformed(SYMBOL_INSNS, whole.len() as u64, needed));
    }
    not_empty(whole, SYMBOL_INSNS)
}

fn not_empty<'a>(bytes: &'a [u8], field: &'static str) -> Result<&'a [u8]> {
    if bytes.is_empty() {
        return Err(Error::malformed(field, 0, Needed::AtLeast(1)));
    }
    Ok(bytes)
}

impl<'a> Elf<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut header = Reader::new(bytes);
        let magic: [u8; 4] = header.take_array("e_ident magic")?;
        if magic != ELF_MAGIC {
            let needed = Needed::Exactly(u32::from_le_bytes(ELF_MAGIC).into());
            let found = u32::from_le_bytes(magic).into();
            return Err(Error::malformed("e_ident magic", found, needed));
        }
        let [class, data]: [u8; 2] = header.take_array("EI_CLASS")?;
        supported("EI_CLASS", class.into(), ELF_CLASS_64.into())?;
        supported("EI_DATA", data.into(), ELF_DATA_LSB.into())?;
        header.take(ELF_IDENT_REST, "e_ident")?;
        supported("e_type", header.u16("e_type")?.into(), ELF_TYPE_REL.into())?;
        // Machine, version, entry, program header offset.
        header.take(2 + 4 + 8 + 8, "e_phoff")?;
        let offset = header.u64("e_shoff")?;
        // Flags, header size, program header entry size and count.
        header.take(4 + 3 * 2, "e_phnum")?;
        let entry_size = header.u16("e_shentsize")?;
        let count = header.u16("e_shnum")?;
        if entry_size != SECTION_HEADER_SIZE {
            let needed = Needed::Exactly(SECTION_HEADER_SIZE.into());
            return Err(Error::malformed("e_shentsize", entry_size.into(), needed));
        }
        let len = u64::from(entry_size).saturating_mul(count.into());
        let table = sub(bytes, offset, len, "e_shoff + e_shnum * e_shentsize")?;
        Ok(Self { bytes, table })
    }

    /// The only symbol table: an object has one (System V ABI, `SHT_SYMTAB`). More would let a
    /// small table of sections cost as much as a large file.
    fn symbol_table(&self) -> Result<SectionHeader> {
        let mut found = None;
        for (entry, index) in self.table.chunks_exact(SECTION_HEADER_SIZE.into()).zip(0..) {
            let section = SectionHeader::parse(entry)?;
            if section.kind == SECTION_TYPE_SYMTAB && found.replace(section).is_some() {
                let needed = Needed::Words("one symbol table");
                let error = Error::malformed("sh_type", section.kind.into(), needed);
                return Err(error.of_entry(index));
            }
        }
        found.ok_or(Error::absent(Class::Malformed, "symbol table"))
    }

    fn section(&self, index: u32, field: &'static str) -> Result<SectionHeader> {
        let size = usize::from(SECTION_HEADER_SIZE);
        let last = (self.table.len().checked_div(size).unwrap_or(0) as u64).saturating_sub(1);
        let start = (index as usize).saturating_mul(size);
        let entry = self.table.get(start..start.saturating_add(size));
        let entry = entry.ok_or(Error::malformed(field, index.into(), Needed::AtMost(last)))?;
        SectionHeader::parse(entry)
    }

    fn contents(&self, section: SectionHeader) -> Result<&'a [u8]> {
        if section.kind == SECTION_TYPE_NOBITS {
            let needed = Needed::Words("a section with contents");
            return Err(Error::malformed("sh_type", section.kind.into(), needed));
        }
        sub(
            self.bytes,
            section.offset,
            section.size,
            "sh_offset + sh_size",
        )
    }

    /// The bytes of the object symbol `name`; twice the same name is malformed.
    fn symbol(&self, name: &'static str) -> Result<Option<&'a [u8]>> {
        let table = self.symbol_table()?;
        let strings = self.contents(self.section(table.link, "sh_link")?)?;
        let mut found = None;
        for entry in self.contents(table)?.chunks_exact(SYMBOL_SIZE as usize) {
            if let Some(bytes) = self.object_named(entry, strings, name)? {
                if found.replace(bytes).is_some() {
                    let reason = "stands twice in the symbol table";
                    return Err(Error::reason(Class::Malformed, name, reason));
                }
            }
        }
        Ok(found)
    }

    /// The bytes of a symbol table entry, if it is a defined object of this name.
    fn object_named(
        &self,
        entry: &'a [u8],
        strings: &'a [u8],
        name: &str,
    ) -> Result<Option<&'a [u8]>> {
        let mut reader = Reader::new(entry);
        let name_offset = reader.u32("st_name")? as usize;
        let [info, _other]: [u8; 2] = reader.take_array("st_info")?;
        let section = reader.u16("st_shndx")?;
        let (value, size) = (reader.u64("st_value")?, reader.u64("st_size")?);
        let rest = strings.get(name_offset..).unwrap_or(&[]);
        let is_it = rest
            .strip_prefix(name.as_bytes())
            .is_some_and(|tail| tail.starts_with(&[0]));
        if !is_it || info & 0xf != SYMBOL_TYPE_OBJECT {
            return Ok(None);
        }
        if section == 0 || section >= SECTION_INDEX_RESERVED {
            let needed = Needed::Words("a section of the object");
            return Err(Error::malformed("st_shndx", section.into(), needed));
        }
        let contents = self.contents(self.section(section.into(), "st_shndx")?)?;
        sub(contents, value, size, "st_value + st_size").map(Some)
    }
}

impl SectionHeader {
    fn parse(entry: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(entry);
        reader.take(4, "sh_name")?;
        let kind = reader.u32("sh_type")?;
        // Flags and address.
        reader.take(8 + 8, "sh_addr")?;
        let (offset, size) = (reader.u64("sh_offset")?, reader.u64("sh_size")?);
        Ok(Self {
            kind,
            offset,
            size,
            link: reader.u32("sh_link")?,
        })
    }
}

fn supported(field: &'static str, found: u64, needed: u64) -> Result<()> {
    if found != needed {
        return Err(Error::value(
            Class::Unsupported,
            field,
            found,
            Needed::Exactly(needed),
        ));
    }
    Ok(())
}
