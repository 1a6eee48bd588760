//! Lays out the parser's programs: an entry function, then the functions it reaches, with calls and
//! references to constants resolved and kfunc calls listed for the loader.

use std::collections::{BTreeMap, BTreeSet};

use kpeel_abi::{ANCHOR, KFUNCS, POST_ANCHOR};
use object::elf::{R_BPF_64_32, R_BPF_64_64};

use crate::Error;
use crate::input::{Kind, Object, Place, Relocation, Symbol};
use crate::insn::{CALL, Insn, LD_IMM64, PSEUDO_CALL, PSEUDO_KFUNC_CALL, PSEUDO_MAP_IDX_VALUE};
use crate::rodata::Rodata;
use crate::site::{Site, function_code};

/// What sections of programs begin with: sleepable fentry.
const PROGRAM_PREFIX: &str = "fentry.s/";
/// Longest program name Linux keeps, without its NUL (`BPF_OBJ_NAME_LEN`).
const MAX_PROGRAM_NAME: usize = 15;
/// Most instructions Linux looks at in one program, and our own machine takes.
const MAX_INSNS: usize = 1_000_000;
/// Index of the constants' map in the fd array.
const RODATA_FD_INDEX: i32 = 0;

/// The parser, ready for a loader to be made for it.
#[derive(Debug)]
pub(crate) struct Parser {
    pub(crate) license: String,
    /// Contents of the one map; empty if the programs need none.
    pub(crate) rodata: Vec<u8>,
    /// Every kfunc called, once.
    pub(crate) kfuncs: Vec<&'static str>,
    /// The one for [`ANCHOR`], then, if there is one, that for [`POST_ANCHOR`].
    pub(crate) programs: Vec<Program>,
}

#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) anchor: &'static str,
    pub(crate) insns: Vec<Insn>,
    pub(crate) kfunc_calls: Vec<KfuncCall>,
}

/// A call whose immediate (and offset, for a module's kfunc) only the loader can know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KfuncCall {
    /// Index of the call instruction.
    pub(crate) insn: usize,
    /// Index in [`Parser::kfuncs`].
    pub(crate) kfunc: usize,
}

impl Parser {
    pub(crate) fn link(object: &Object<'_>) -> Result<Self, Error> {
        let mut linker = Linker::new(object);
        let mut programs = Vec::new();
        for anchor in [ANCHOR, POST_ANCHOR] {
            if let Some(entry) = linker.entry(anchor)? {
                programs.push(linker.program(anchor, entry)?);
            } else if anchor == ANCHOR {
                let at = format!("section `{PROGRAM_PREFIX}{anchor}`");
                return Err(Error::unsupported(at, "none", "one"));
            }
        }
        linker.refuse_other_programs()?;
        Ok(Self {
            license: object.license.to_owned(),
            rodata: linker.rodata.into_bytes(),
            kfuncs: linker.kfuncs,
            programs,
        })
    }
}

/// A function by section index and offset.
type FunctionKey = (usize, u64);

struct Linker<'a> {
    object: &'a Object<'a>,
    /// Functions of all sections; the first symbol of an address names it.
    functions: BTreeMap<FunctionKey, &'a Symbol<'a>>,
    /// Sections with a function in some program.
    reached: BTreeSet<usize>,
    rodata: Rodata,
    kfuncs: Vec<&'static str>,
}

/// A program while functions are added to it.
#[derive(Default)]
struct Layout {
    insns: Vec<Insn>,
    kfunc_calls: Vec<KfuncCall>,
    /// Functions in the order in which they are first called.
    queue: Vec<FunctionKey>,
    /// Where each function of the queue starts, once it is placed.
    starts: BTreeMap<FunctionKey, Option<usize>>,
    /// Calls between functions: instruction and callee.
    calls: Vec<(usize, FunctionKey)>,
}

impl<'a> Linker<'a> {
    fn new(object: &'a Object<'a>) -> Self {
        let mut functions = BTreeMap::new();
        for symbol in &object.symbols {
            if let (Place::Section(section), true) = (symbol.place, symbol.function) {
                functions.entry((section, symbol.value)).or_insert(symbol);
            }
        }
        Self {
            object,
            functions,
            reached: BTreeSet::new(),
            rodata: Rodata::default(),
            kfuncs: Vec::new(),
        }
    }

    /// The one global function of the anchor's program section.
    fn entry(&self, anchor: &str) -> Result<Option<FunctionKey>, Error> {
        let name = format!("{PROGRAM_PREFIX}{anchor}");
        let sections = self.object.sections.iter().enumerate();
        let sections: Vec<usize> = sections
            .filter(|(_, section)| section.kind == Kind::Code && section.name == name)
            .map(|(index, _)| index)
            .collect();
        let at = format!("section `{name}`");
        let section = match sections.as_slice() {
            [] => return Ok(None),
            [section] => *section,
            more => {
                let found = format!("{} such sections", more.len());
                return Err(Error::unsupported(at, found, "one"));
            }
        };
        let mut entries = self
            .functions
            .iter()
            .filter(|((of, _), symbol)| *of == section && !symbol.local)
            .map(|(key, _)| *key);
        match (entries.next(), entries.count()) {
            (Some(key), 0) => Ok(Some(key)),
            (first, rest) => {
                let found = format!("{} global functions", rest + usize::from(first.is_some()));
                Err(Error::unsupported(at, found, "one"))
            }
        }
    }

    fn program(&mut self, anchor: &'static str, entry: FunctionKey) -> Result<Program, Error> {
        let mut layout = Layout::default();
        layout.enqueue(entry);
        let mut next = 0;
        while let Some(key) = layout.queue.get(next).copied() {
            self.place(key, &mut layout)?;
            next += 1;
        }
        layout.resolve_calls()?;
        let name = self.functions.get(&entry).map_or(anchor, |s| s.name);
        Ok(Program {
            name: program_name(name),
            anchor,
            insns: layout.insns,
            kfunc_calls: layout.kfunc_calls,
        })
    }

    /// Appends one function, noting what it calls.
    fn place(&mut self, key: FunctionKey, layout: &mut Layout) -> Result<(), Error> {
        let object = self.object;
        let section = object.section(key.0)?;
        let Some(function) = self.functions.get(&key).copied() else {
            return Err(Error::malformed(
                format_args!("call into section `{}`", section.name),
                format_args!("offset {:#x}", key.1),
                "the start of a function",
            ));
        };
        let code = function_code(section, function)?;
        // Symbols may overlap, so that a small object can ask for much.
        if code.len() > MAX_INSNS - layout.insns.len().min(MAX_INSNS) {
            return Err(Error::unsupported(
                format_args!("{}, function `{}`", section.name, function.name),
                format_args!("{} instructions so far", layout.insns.len() + code.len()),
                format_args!("at most {MAX_INSNS} in a program"),
            ));
        }
        self.reached.insert(key.0);
        layout.starts.insert(key, Some(layout.insns.len()));
        let mut slots = code.iter().enumerate();
        while let Some((slot, insn)) = slots.next() {
            let site = Site::new(section, function, slot);
            site.check_jump(*insn, code.len())?;
            match insn.code {
                LD_IMM64 => {
                    let second = slots.next().map(|(_, second)| *second);
                    let pair = self.load(&site, *insn, second)?;
                    layout.insns.extend(pair);
                }
                CALL => self.call(&site, key.0, *insn, layout)?,
                _ => {
                    if let Some(relocation) = site.relocation(1)? {
                        return Err(site.unexpected(object, relocation));
                    }
                    layout.insns.push(*insn);
                }
            }
        }
        Ok(())
    }

    /// `ld_imm64`: a number stays, a reference becomes an address in the constants' map.
    fn load(
        &mut self,
        site: &Site<'_>,
        mut first: Insn,
        second: Option<Insn>,
    ) -> Result<[Insn; 2], Error> {
        let Some(mut second) = second.filter(|second| second.code == 0) else {
            let found = second.map_or("the function's end".to_owned(), |second| {
                format!("opcode {:#04x}", second.code)
            });
            return Err(Error::malformed(
                format_args!("{site}, second slot of ld_imm64"),
                found,
                "opcode 0",
            ));
        };
        let Some(relocation) = site.relocation(2)? else {
            if first.src == 0 {
                return Ok([first, second]);
            }
            let found = format!("ld_imm64 with src {} and no relocation", first.src);
            return Err(Error::unsupported(site, found, "src 0"));
        };
        let symbol = self.object.symbol(relocation.symbol)?;
        if let (Place::Section(index), R_BPF_64_64) = (symbol.place, relocation.kind) {
            let section = self.object.section(index)?;
            if section.kind == Kind::Rodata {
                second.imm = self
                    .rodata
                    .address(site, index, section, symbol, first.imm)?;
                first.imm = RODATA_FD_INDEX;
                first.src = PSEUDO_MAP_IDX_VALUE;
                return Ok([first, second]);
            }
        }
        Err(site.unexpected(self.object, relocation))
    }

    fn call(
        &mut self,
        site: &Site<'_>,
        section: usize,
        insn: Insn,
        layout: &mut Layout,
    ) -> Result<(), Error> {
        match (site.relocation(1)?, insn.src) {
            (None, 0) => {
                site.check_helper(insn.imm)?;
                layout.insns.push(insn);
                Ok(())
            }
            // Inside one section no relocation is needed: the distance is known.
            (None, PSEUDO_CALL) => {
                let callee = site.callee(site.offset(), insn.imm)?;
                layout.push_call(insn, (section, callee));
                Ok(())
            }
            (None, src) => {
                let found = format!("call with src {src} and no relocation");
                Err(Error::unsupported(site, found, "src 0 or 1"))
            }
            (Some(relocation), src) => {
                if relocation.kind != R_BPF_64_32 || src != PSEUDO_CALL {
                    return Err(site.unexpected(self.object, relocation));
                }
                self.call_symbol(site, insn, relocation, layout)
            }
        }
    }

    /// A call by relocation: of a function in some section, or of a kfunc.
    fn call_symbol(
        &mut self,
        site: &Site<'_>,
        mut insn: Insn,
        relocation: Relocation,
        layout: &mut Layout,
    ) -> Result<(), Error> {
        let symbol = self.object.symbol(relocation.symbol)?;
        match symbol.place {
            Place::Section(index) if self.object.section(index)?.kind == Kind::Code => {
                let callee = site.callee(symbol.value, insn.imm)?;
                layout.push_call(insn, (index, callee));
                return Ok(());
            }
            Place::Extern => {}
            Place::Section(_) | Place::Elsewhere => {
                return Err(site.unexpected(self.object, relocation));
            }
        }
        let kfunc = self.kfunc(site, symbol)?;
        insn.src = PSEUDO_KFUNC_CALL;
        insn.imm = 0;
        insn.off = 0;
        layout.kfunc_calls.push(KfuncCall {
            insn: layout.insns.len(),
            kfunc,
        });
        layout.insns.push(insn);
        Ok(())
    }

    /// Index of an extern among the kfuncs.
    fn kfunc(&mut self, site: &Site<'_>, symbol: &Symbol<'_>) -> Result<usize, Error> {
        let name = symbol.name;
        if symbol.weak {
            let at = format!("{site}, extern `{name}`");
            return Err(Error::unsupported(at, "a weak symbol", "a strong one"));
        }
        let Some(kfunc) = KFUNCS.iter().find(|kfunc| kfunc.name == name) else {
            let offered: Vec<_> = KFUNCS.iter().map(|kfunc| kfunc.name).collect();
            return Err(Error::unsupported(
                format_args!("{site}, extern"),
                format_args!("`{name}`"),
                format_args!("one of {}", offered.join(", ")),
            ));
        };
        if let Some(index) = self.kfuncs.iter().position(|known| *known == name) {
            return Ok(index);
        }
        self.kfuncs.push(kfunc.name);
        Ok(self.kfuncs.len() - 1)
    }

    /// A code section nobody calls, other than `.text`, is a program of another kind.
    fn refuse_other_programs(&self) -> Result<(), Error> {
        for (index, section) in self.object.sections.iter().enumerate() {
            let text = section.name == ".text" || section.name.starts_with(".text.");
            if section.kind == Kind::Code && !text && !self.reached.contains(&index) {
                return Err(Error::unsupported(
                    format_args!("program section `{}`", section.name),
                    format_args!("{} bytes of code", section.data.len()),
                    format_args!(
                        "`{PROGRAM_PREFIX}{ANCHOR}` and `{PROGRAM_PREFIX}{POST_ANCHOR}` only"
                    ),
                ));
            }
        }
        Ok(())
    }
}

impl Layout {
    fn enqueue(&mut self, key: FunctionKey) {
        self.starts.entry(key).or_insert_with(|| {
            self.queue.push(key);
            None
        });
    }

    fn push_call(&mut self, insn: Insn, callee: FunctionKey) {
        self.enqueue(callee);
        self.calls.push((self.insns.len(), callee));
        self.insns.push(insn);
    }

    /// Gives calls between functions their distances, counted from the slot after the call.
    fn resolve_calls(&mut self) -> Result<(), Error> {
        for (at, callee) in &self.calls {
            let start = self.starts.get(callee).copied().flatten();
            let distance = start.and_then(|start| {
                let next = i64::try_from(*at).ok()?.checked_add(1)?;
                let distance = i64::try_from(start).ok()?.checked_sub(next)?;
                i32::try_from(distance).ok()
            });
            let (Some(distance), Some(insn)) = (distance, self.insns.get_mut(*at)) else {
                return Err(Error::unsupported(
                    format_args!("call at instruction {at}"),
                    "a distance that does not fit",
                    "32 bits",
                ));
            };
            insn.imm = distance;
        }
        Ok(())
    }
}

/// A name Linux accepts: letters, digits, `_`, `.`; at most 15.
fn program_name(symbol: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    symbol
        .chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .take(MAX_PROGRAM_NAME)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::program_name;

    #[test]
    fn program_names_are_cut_and_cleaned() {
        assert_eq!(program_name("parse_zboot"), "parse_zboot");
        assert_eq!(program_name("_ZN5a$LT$b"), "_ZN5a_LT_b");
        assert_eq!(program_name("bpf_handle_pefile"), "bpf_handle_pefi");
        assert_eq!(program_name("bpf_handle_pefile").len(), 15);
    }
}
